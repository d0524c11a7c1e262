"""Where models are to compute and in which precision, as it is asked for: no torch is needed to refuse it."""

import math
import re
from dataclasses import dataclass, field

from ketchup.choices import Dtype
from ketchup.errors import UsageError


def check_name(name: str) -> None:
    """Raises `UsageError` for what is no name of a device on any machine."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", name):
        raise UsageError(f"--device must be auto, cpu, cuda or cuda:N, not {name!r}.")


@dataclass(frozen=True)
class Where:
    """What was asked for; see `own_device` and `placement` of `ketchup.devices`.

    `teacher_memory` is the most GB (1e9 bytes) of the teacher's weights on each device: what does not fit goes to the
    next GPU, then to the machine's memory, then to its disk. `None` puts all of it on the device of the process, or
    over all GPUs where it is larger than one. With `teacher_url` it computes behind that server, which `teacher_key` is
    the key of, and here are no weights of it.
    """

    device: str = "auto"
    teacher_dtype: Dtype = "auto"
    student_dtype: Dtype = "auto"
    teacher_memory: float | None = None
    teacher_url: str | None = None
    teacher_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_name(self.device)
        for option, given in (
            ("--teacher-dtype", self.teacher_dtype != "auto"),
            ("--teacher-memory", self.teacher_memory is not None),
        ):
            if given and self.teacher_url is not None:
                raise UsageError(f"{option} is of a teacher that is loaded here; leave it out with --teacher-url.")
        if self.teacher_memory is not None and not 0 < self.teacher_memory < math.inf:
            raise UsageError(f"--teacher-memory must be a number of GB above 0, not {self.teacher_memory:g}.")
