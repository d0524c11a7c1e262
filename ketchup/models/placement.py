"""Loading teacher and student where `ketchup.devices` puts them; a teacher may be larger than a GPU, or than all."""

import os
from collections.abc import Sequence

import torch

from ketchup.devices import Placement, check_device, gpus, placement
from ketchup.errors import UsageError
from ketchup.models.language_model import LanguageModel
from ketchup.models.loading import Memory, load, parameters_of
from ketchup.models.memory import GIGABYTE, free_bytes
from ketchup.where import Where

SHARE_OF_A_GPU = 0.8
"""Of a GPU's free memory, for a spread teacher's weights: the rest is for the student and for what passes compute."""


def load_student(name: str, placed: Placement) -> LanguageModel:
    """The student on the device of this process."""
    return load(name, dtype=placed.student, device=placed.device)


def load_teacher(name: str, placed: Placement) -> LanguageModel:
    """The teacher on the device of this process, or spread: as was asked for, or because it is larger than a GPU."""
    return load(name, dtype=placed.teacher, device=placed.device, memory=_memory(name, placed))


def usual_processes(where: Where, teachers: Sequence[str], each: int = 1) -> int:
    """How many processes of this machine share the work unless told: one a GPU, or one for a teacher that takes all.

    With an engine that takes `each` so many GPUs there are as many fewer. On a CPU it is one, which uses all threads.
    """
    check_device(where.device, each=each)
    count = gpus() // each if where.device in ("auto", "cuda") else 0
    if count < 2:
        return 1
    placed = placement(torch.device("cuda", 0), where)
    return 1 if any(_memory(name, placed) is not None for name in teachers) else count


def _memory(name: str, placed: Placement) -> Memory | None:
    """What a teacher may take of each device where it is to be spread."""
    on_gpu = placed.device.type == "cuda"
    cpu = free_bytes(torch.device("cpu"))
    if placed.teacher_memory is None:
        needed = parameters_of(name) * placed.teacher.itemsize if on_gpu and _alone() and gpus() > 1 else 0
        if not on_gpu or needed <= free_bytes(placed.device):
            return None
        rooms: list[int] = [int(SHARE_OF_A_GPU * free_bytes(torch.device("cuda", index))) for index in range(gpus())]
        return {**dict(enumerate(rooms)), "cpu": cpu}
    most = int(placed.teacher_memory * GIGABYTE)
    if not on_gpu:
        return {"cpu": most}
    if not _alone():
        raise UsageError(
            "--teacher-memory spreads the teacher over all GPUs of this machine, each of which has a process of its "
            "own; start one process (--processes 1)."
        )
    return {**dict.fromkeys(range(gpus()), most), "cpu": cpu}


def _alone() -> bool:
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) == 1
