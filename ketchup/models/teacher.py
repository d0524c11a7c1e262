"""The teacher of a run, whether its weights are here or behind a server: loaded, checked and asked in one way."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from ketchup.devices import Placement
from ketchup.models import scoring
from ketchup.models.language_model import LanguageModel
from ketchup.models.loading import check_same_vocabulary
from ketchup.models.placement import load_teacher
from ketchup.models.scoring import StudentValues, TeacherValues
from ketchup.models.served.checks import check_served
from ketchup.models.served.teacher import URL_OPTION, ServedTeacher
from ketchup.remote.calls import Patience
from ketchup.remote.endpoint import Endpoint

ANSWERS = "teacher-answers"
"""The folder in a run's where the answers of a server are kept."""
PATIENCE = Patience()
"""How often a server is asked for the same, which is for some two minutes where it answers nothing."""
Teacher = LanguageModel | ServedTeacher


def teacher_of(name: str, placed: Placement, run: Path) -> Teacher:
    """The model of that name, loaded, or behind the server that `placed` names; `run` is where its answers are kept."""
    if placed.teacher_url is None:
        return load_teacher(name, placed)
    endpoint = Endpoint(placed.teacher_url, placed.teacher_key, URL_OPTION)
    return ServedTeacher(name, endpoint, run / ANSWERS, PATIENCE)


def check_same_tokens(teacher: Teacher, student: LanguageModel) -> None:
    """Raises an error of one sentence unless the two read the same tokens; see the two that it calls."""
    if isinstance(teacher, LanguageModel):
        check_same_vocabulary(teacher, student)
    else:
        check_served(teacher, student)


def here(teacher: Teacher | None) -> LanguageModel | None:
    """The teacher's network for losses that compare all logits; none of one behind a server, which has no such loss."""
    return teacher if isinstance(teacher, LanguageModel) else None


def score(
    teacher: Teacher,
    student: LanguageModel,
    prompts: Sequence[Sequence[int]],
    tokens: Tensor,
    mask: Tensor,
    in_step: Callable[[int], int] | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
) -> tuple[TeacherValues, StudentValues]:
    """`ketchup.models.scoring.score` under any teacher; behind a server, without what needs its whole vocabulary."""
    drawn = (temperature, top_k)
    if isinstance(teacher, LanguageModel):
        return scoring.score(teacher, student, prompts, tokens, mask, in_step, *drawn)
    own = scoring.score_student(student, prompts, tokens, mask, in_step, *drawn)
    return teacher.values(prompts, tokens, mask), own


def score_teacher(
    teacher: Teacher,
    prompts: Sequence[Sequence[int]],
    tokens: Tensor,
    mask: Tensor,
    in_step: Callable[[int], int] | None = None,
) -> TeacherValues:
    """The teacher's half of `score`."""
    if isinstance(teacher, LanguageModel):
        return scoring.score_teacher(teacher, prompts, tokens, mask, in_step)
    return teacher.values(prompts, tokens, mask)
