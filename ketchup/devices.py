"""Where models compute and in which precision: what `--device`, `--teacher-dtype` and `--student-dtype` come to here.

Each process of a machine has a GPU of its own, or all compute on the CPU.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from ketchup.choices import SERVED
from ketchup.errors import UsageError
from ketchup.where import Where, check_name

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Placement:
    """Where this process computes, and the types of the weights that are read there."""

    device: torch.device
    teacher: torch.dtype
    student: torch.dtype
    teacher_memory: float | None = None
    teacher_url: str | None = None
    teacher_key: str | None = field(default=None, repr=False)

    @property
    def recorded(self) -> dict[str, str]:
        """What of it decides numbers, as a run's settings: not where a server is."""
        teacher = name_of(self.teacher) if self.teacher_url is None else SERVED
        return {"teacher_dtype": teacher, "student_dtype": name_of(self.student)}


def placement(device: torch.device, where: Where = Where()) -> Placement:  # noqa: B008 (it is frozen)
    """Resolves what was left open; raises `UsageError` for a type that the device does not compute in.

    A teacher is only read: on a GPU that has it, bfloat16 is enough. A student is sampled from, scored and moved by
    small steps, so that it stays in float32 unless told.
    """
    narrow = "bfloat16" if device.type == "cuda" and has_bfloat16(device) else "float32"
    return Placement(
        device,
        _dtype("--teacher-dtype", narrow if where.teacher_dtype == "auto" else where.teacher_dtype, device),
        _dtype("--student-dtype", "float32" if where.student_dtype == "auto" else where.student_dtype, device),
        where.teacher_memory,
        where.teacher_url,
        where.teacher_key,
    )


def own_device(name: str, each: int = 1) -> torch.device:
    """The device of this process by name: auto, cpu, cuda or cuda:N; `UsageError` for what is not here.

    `auto` is a GPU where there is one. Of several processes on a machine each takes the GPU of its own number, and is
    lent `each` - 1 further ones: see `gpus_of`.
    """
    beside = _beside()
    check_device(name, beside, each)
    if name == "cpu" or (name == "auto" and not gpus()):
        return torch.device("cpu")
    index = int(os.environ.get("LOCAL_RANK", "0")) if beside > 1 else _index(name)
    return torch.device("cuda", torch.cuda.current_device() if index is None else index)


def gpus_of(device: torch.device, each: int) -> tuple[int, ...]:
    """The numbers of `each` GPUs for a process that computes on the first: that one, and every P-th after it.

    P is the number of processes of this machine, which take the first P. Raises `UsageError` where there are too few.
    """
    beside = _beside()
    first = torch.cuda.current_device() if device.index is None else device.index
    check_device("cuda" if beside > 1 else f"cuda:{first}", beside, each)
    return tuple(range(first, first + each * beside, beside))


def check_device(name: str, processes: int = 1, each: int = 1) -> None:
    """Raises `UsageError` unless so many processes of this machine can compute there, with `each` GPUs a process."""
    check_name(name)
    index, found = _index(name), gpus()
    if name.startswith("cuda") and not found:
        why = "no GPU is to be seen" if torch.version.cuda else "the installed torch was built without CUDA"
        raise UsageError(f"--device {name} needs CUDA, and {why}; use --device cpu.")
    if index is not None and index >= found:
        raise UsageError(f"--device {name} is not there: the GPUs of this machine are {_listed(found)}.")
    if index is not None and processes > 1:
        raise UsageError(f"--device {name} is one GPU, and each of {processes} processes takes its own; use cuda.")
    if name != "cpu" and 0 < found < processes:
        raise UsageError(
            f"{processes} processes cannot share {_listed(found)}, as each takes a GPU of its own; start as many as "
            "there are, or use --device cpu."
        )
    if name != "cpu" and 0 < found < (index or 0) + processes * each:
        among = f"each of {processes} processes" if processes > 1 else "a model" + (f" from {name} on" if index else "")
        raise UsageError(
            f"An engine with :tp{each} takes {each} GPUs for {among}, and there are {_listed(found)}; use fewer."
        )


def gpus() -> int:
    """How many GPUs this process may use; none where the launcher was told to leave them alone."""
    told = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "on", "y", "t")
    return 0 if told or not torch.cuda.is_available() else torch.cuda.device_count()


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 itself: older GPUs do so by way of float32, which saves nothing."""
    if device.type != "cuda":
        return True
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """What is drawn within follows from `seed`; later draws are as if nothing had been drawn here.

    Generators of this device and of the CPU alone are touched: to look at those of every GPU, as torch does unless
    told, opens a context on each of them, in each process.
    """
    own = [device] if device is not None and device.type != "cpu" else []
    with torch.random.fork_rng(own, device_type=own[0].type if own else "cpu"):
        torch.manual_seed(seed)
        yield


def describe_device(device: torch.device) -> str:
    """The device as a manifest names it: cpu, or the GPU's number and what it is called."""
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


def name_of(dtype: torch.dtype) -> str:
    """The type as options name it."""
    return str(dtype).removeprefix("torch.")


def _dtype(option: str, name: str, device: torch.device) -> torch.dtype:
    if name not in DTYPES:
        raise UsageError(f"{option} must be auto, {', '.join(DTYPES)}, not {name!r}.")
    dtype = DTYPES[name]
    if (dtype == torch.bfloat16 and not has_bfloat16(device)) or not _computes(device, dtype):
        raise UsageError(f"{option} {name}: {describe_device(device)} does not compute in {name}; use float32.")
    return dtype


def _computes(device: torch.device, dtype: torch.dtype) -> bool:
    """Tries what every network needs."""
    try:
        numbers = torch.ones(2, 2, device=device, dtype=dtype)
        (numbers @ numbers).softmax(-1)
    except (RuntimeError, NotImplementedError):
        return False
    return True


def _beside() -> int:
    """How many processes share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _index(name: str) -> int | None:
    _, _, number = name.partition(":")
    return int(number) if number else None


def _listed(found: int) -> str:
    return "cuda:0" if found == 1 else f"cuda:0 to cuda:{found - 1}"
