"""Where a vLLM computes: within this process or in processes of its own, and on which GPUs.

It is within this process where that is alone, so that weights pass from the model to vLLM in memory. vLLM would take a
group of processes that work together for its own, and end it; so where there is one, and where the model is spread over
several GPUs, vLLM runs in processes of its own, which know nothing of the group.
"""

import json
import os
import re
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ketchup.devices import gpus_of
from ketchup.errors import UsageError
from ketchup.models.language_model import LanguageModel
from ketchup.rollouts.vllm_worker import WorkerExtension

SHARE_OF_FREE_MEMORY = 0.5
"""Of a GPU, for vLLM's weights and key-value cache; training has yet to allocate gradients and optimiser state."""
CPU_CACHE_BYTES = 1 << 30
OF_LAUNCHERS = re.compile(
    r"(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(ADDR|PORT)|(TORCHELASTIC|ACCELERATE|FSDP)_.*"
)
"""Variables by which processes find each other, or are told what they are in their group."""
QUIET = {"PYTHONWARNINGS": "ignore", "TORCH_CPP_LOG_LEVEL": "ERROR"}
"""For processes that are started so: what libraries say to each other there is not for us."""

OF_LOGGING = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_LOGGING_STREAM": "ext://sys.stderr"}
"""What vLLM writes where nothing else was asked for; standard output is for results."""
STDERR = 2
RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception): (.+)$", re.MULTILINE)


class Log:
    """What vLLM's own processes say when they fail, with tracebacks, in a file that is there as long as this."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._file = self._folder / "errors.log"
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """Lets them write there; nothing where the user has said what vLLM logs."""
        names = ("VLLM_LOGGING_CONFIG_PATH", *OF_LOGGING)
        if any(os.environ.get(name, OF_LOGGING.get(name)) != OF_LOGGING.get(name) for name in names):
            return {}
        handler = {"class": "logging.FileHandler", "filename": str(self._file), "formatter": "plain"}
        config = {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": {"format": "%(message)s"}},
            "handlers": {"file": handler},
            "loggers": {"vllm": {"handlers": ["file"], "level": "ERROR", "propagate": False}},
        }
        path = self._folder / "logging.json"
        path.write_text(json.dumps(config))
        return {"VLLM_LOGGING_CONFIG_PATH": str(path)}

    @contextmanager
    def instead_of_stderr(self) -> Iterator[None]:
        """Processes that start meanwhile have a file for their standard error: Python's last words go there too."""
        sys.stderr.flush()
        ours = os.dup(STDERR)
        with (self._folder / "stderr.log").open("ab") as file:
            os.dup2(file.fileno(), STDERR)
        try:
            yield
        finally:
            os.dup2(ours, STDERR)
            os.close(ours)

    def reason(self, error: Exception) -> str:
        """The first thing that failed there, else what came of it here, in a line."""
        found = RAISED.search(self._file.read_text(errors="replace")) if self._file.exists() else None
        return found[1] if found else str(error).strip().split("\n")[-1]


@dataclass(frozen=True)
class Place:
    """`parts` processes hold a part of all weights each, on `gpus` if there are any; `apart` from this process."""

    gpus: tuple[int, ...]
    parts: int
    apart: bool

    @property
    def options(self) -> dict[str, Any]:
        """Those of vLLM. On a CPU it cannot split a prompt of a row that has a seed."""
        found: dict[str, Any] = {"tensor_parallel_size": self.parts}
        if self.apart:
            found["worker_extension_cls"] = f"{WorkerExtension.__module__}.{WorkerExtension.__qualname__}"
        if not self.gpus:
            return found | {"kv_cache_memory_bytes": CPU_CACHE_BYTES, "enable_chunked_prefill": False}
        rooms = [torch.cuda.mem_get_info(index) for index in self.gpus]
        share = min(free / total for free, total in rooms)
        return found | {"device_ids": list(self.gpus), "gpu_memory_utilization": SHARE_OF_FREE_MEMORY * share}

    @contextmanager
    def environment(self, log: Log) -> Iterator[None]:
        """What vLLM starts in: without the variables of a launcher, all of which are put back as they were.

        On a CPU its workers share the threads of this process, on whichever cores are free.
        """
        before = dict(os.environ)
        logged = log.environment if self.apart else {}
        for name in filter(OF_LAUNCHERS.fullmatch, before):
            del os.environ[name]
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = str(int(self.apart))
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
        if self.apart:
            for name, value in QUIET.items():
                os.environ.setdefault(name, value)
            os.environ.update(logged)
        if not self.gpus:
            os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
            os.environ["OMP_NUM_THREADS"] = str(max(1, torch.get_num_threads() // self.parts))
        try:
            with log.instead_of_stderr() if logged else nullcontext():
                yield
        finally:
            for name in os.environ.keys() - before.keys():
                del os.environ[name]
            os.environ.update(before)


def place_of(model: LanguageModel, parts: int, vllm: Any) -> Place:
    """Where a vLLM of this model computes, in so many `parts`; raises `UsageError` where that cannot be."""
    on_cpu = model.device.type == "cpu"
    if vllm.platforms.current_platform.is_cpu() != on_cpu:
        built = "a GPU" if on_cpu else "the CPU"
        raise UsageError(
            f"The vLLM that is installed computes on {built}, and {model.name!r} is on {model.device}; use "
            f"--device {'cuda' if on_cpu else 'cpu'}, another build of vLLM, or --engine transformers."
        )
    if any(weight.is_meta for weight in model.network.parameters()):
        raise UsageError(
            f"vLLM cannot take over {model.name!r}, which is in part in memory or on disk; use --engine transformers."
        )
    _check_parts(model, parts)
    apart = parts > 1 or torch.distributed.is_initialized()
    return Place(() if on_cpu else gpus_of(model.device, parts), parts, apart)


def _check_parts(model: LanguageModel, parts: int) -> None:
    """Raises `UsageError` unless each part gets as many heads, and as much of the wide layer; keys may be copied."""
    config = model.network.config.get_text_config()
    heads = int(getattr(config, "num_attention_heads", None) or 0)
    of_keys = int(getattr(config, "num_key_value_heads", None) or heads)
    width = int(getattr(config, "intermediate_size", None) or 0)

    def fits(count: int) -> bool:
        alike = of_keys % count == 0 if of_keys >= count else count % of_keys == 0
        return heads % count == 0 and width % count == 0 and alike

    if parts == 1 or fits(parts):
        return
    able = ", ".join(str(count) for count in range(2, heads + 1) if fits(count))
    raise UsageError(
        f"vLLM cannot spread {model.name!r} over {parts} GPUs: it has {heads} attention heads, {of_keys} of keys and a "
        f"layer of width {width:,}; use --engine vllm" + (f":tpN with N = {able}." if able else ".")
    )
