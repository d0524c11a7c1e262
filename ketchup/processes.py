"""One process or many: what is done by all of them together, and what by the first alone.

`accelerate launch` starts the processes. Each takes its share of what there is to do; sums go over all of them.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object
from torch import Tensor

from ketchup import checks
from ketchup.choices import Precision
from ketchup.devices import describe_device, has_bfloat16, own_device
from ketchup.errors import UsageError

Item = TypeVar("Item")
Found = TypeVar("Found")
LONGEST_WAIT = timedelta(days=30)
"""A process waits for the others as long as their share takes; if one dies, its launcher ends them all."""


class Processes:
    """This process among all that work together.

    With `precision` "auto", matrix products are in bfloat16 where the GPU has it; sums are float32 always.
    `sharded` says that each holds a part of every model; raises `UsageError` where there is only one. `device` and
    `gpus_each` are what `own_device` knows, and refuses where it is not there.
    """

    def __init__(
        self,
        precision: Precision = "auto",
        trackers: Sequence[str] = (),
        folder: str | None = None,
        *,
        sharded: bool = False,
        device: str = "auto",
        gpus_each: int = 1,
    ) -> None:
        checks.trackers(trackers)
        self.device = own_device(device, gpus_each)
        """Where this process computes."""
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(self.device)
        self.sharded = sharded
        self.narrow = precision == "bfloat16" or (precision == "auto" and on_gpu and has_bfloat16(self.device))
        self._accelerator = Accelerator(
            cpu=not on_gpu,
            mixed_precision="bf16" if self.narrow else "no",
            log_with=list(trackers) or None,
            project_dir=folder,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
        )
        if sharded and self.count == 1:
            raise UsageError("--shard spreads models over processes, and there is one; start more with --processes.")

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._accelerator.num_processes)

    @property
    def index(self) -> int:
        """Which one this is."""
        return int(self._accelerator.process_index)

    @property
    def described(self) -> str:
        """What this process computes on, in words."""
        return describe_device(self.device)

    @property
    def main(self) -> bool:
        """True in the one that writes files."""
        return bool(self._accelerator.is_main_process)

    def share(self, rows: Sequence[Item]) -> Sequence[Item]:
        """This process's part of what all of them work on; parts differ by one row at most."""
        return rows[self.index :: self.count]

    def total(self, values: Tensor) -> Tensor:
        """The sum over processes. Vectors may differ in length, and shorter ones count as ending in zeros."""
        if self.count == 1:
            return values
        moved = values.to(self.device)
        if moved.dim():
            moved = self._accelerator.pad_across_processes(moved, dim=0)
        result: Tensor = self._accelerator.reduce(moved, "sum")
        return result.to(values.device)

    def add_up_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Every process ends up with the sum of all gradients; a parameter that took part nowhere keeps none."""
        if self.count == 1:
            return
        for parameter in parameters:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = self._accelerator.reduce(gradient, "sum")

    @property
    def in_step(self) -> Callable[[int], int] | None:
        """From the passes that this process needs to those that it has to make; `None` where no one waits for it.

        Sharded weights are gathered by all processes at once, so that each makes as many passes as the busiest.
        """
        return (lambda passes: max(gather_object([passes]))) if self.sharded else None

    def agreed(self, find: Callable[[], Found]) -> Found:
        """What the main process finds, in all of them."""
        if self.count == 1:
            return find()
        found = [find() if self.main else None]
        broadcast_object_list(found)
        return found[0]  # type: ignore[return-value]  # it is the main process's by now

    def everywhere(self, here: Found) -> list[Found]:
        """What each process has, in all of them, in the order of the processes."""
        return [here] if self.count == 1 else list(gather_object([here]))

    def union(self, names: Iterable[str]) -> list[str]:
        """The names that any process has, sorted."""
        found: list[str] = sorted(names) if self.count == 1 else gather_object(sorted(names))
        return sorted(set(found))

    def wait(self) -> None:
        """Until all are here."""
        self._accelerator.wait_for_everyone()

    def first(self, work: Callable[[], object]) -> None:
        """The main process does the work, the others wait for it."""
        if self.main:
            work()
        self.wait()

    def narrowed(self) -> AbstractContextManager[None]:
        """The context of forward passes: matrix products in bfloat16, if so chosen."""
        context: AbstractContextManager[None] = self._accelerator.autocast()
        return context

    def track(self, project: str, settings: dict[str, Any]) -> None:
        """Begins a run of the trackers that were asked for, if any."""
        if self._accelerator.log_with:
            self._accelerator.init_trackers(project, {name: str(value) for name, value in settings.items()})

    def log(self, entry: dict[str, Any], step: int) -> None:
        """Hands numbers to the trackers, if any."""
        if self._accelerator.log_with:
            self._accelerator.log({name: value for name, value in entry.items() if isinstance(value, float)}, step)

    def finish(self) -> None:
        """Ends the trackers' run and lets go of the other processes."""
        self._accelerator.end_training()
