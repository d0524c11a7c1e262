"""What a training is refused for before rows and models are there. Nothing here takes long to import."""

from ketchup.errors import UsageError
from ketchup.methods import method as method_named
from ketchup.methods.base import Method
from ketchup.models.served.needs import GAUGE, check_baseline, check_gauge, check_row, refusal
from ketchup.tasks.metric import TaskMetric
from ketchup.training.selection import Selection, selection
from ketchup.training.train_settings import TrainSettings


def check_training(settings: TrainSettings, metric: TaskMetric | None) -> tuple[Method, Selection]:
    """The method and what it selects by; a `UsageError` for what can be refused before rows and models are there."""
    method = method_of(settings)
    return method, selection(settings.select, method, metric, ())


def method_of(settings: TrainSettings) -> Method:
    """The method; a `UsageError` where the settings ask of it what it does not do."""
    served = settings.teacher_url is not None
    method = method_named(settings.method, settings.options)
    if served and method.credit and "gauge" not in settings.options:
        method = method_named(settings.method, {**settings.options, "gauge": GAUGE})
    wants_teacher = method.compares or "teacher" in method.writers
    if wants_teacher and settings.teacher is None:
        raise UsageError(f"The method {method.name!r} learns from a teacher; name one with --teacher.")
    if not wants_teacher and settings.teacher is not None:
        raise UsageError(f"The method {method.name!r} learns from references and takes no --teacher.")
    if settings.correct_sampler and method.credit is None:
        raise UsageError(
            f"The method {method.name!r} is no policy gradient, whose rollouts could be weighed; leave out "
            "--correct-sampler."
        )
    if settings.teacher_temperature and "teacher" not in method.writers:
        raise UsageError(
            f"The method {method.name!r} learns from no outputs of the teacher; leave out --teacher-temperature."
        )
    if served:
        _check_served(method)
    return method


def _check_served(method: Method) -> None:
    """Raises `UsageError` for a method that needs more of a teacher than a server gives."""
    if "teacher" in method.writers and not method.compares:
        raise UsageError(
            f"The method {method.name!r} learns from outputs that the teacher writes, and a server is only asked about "
            "the student's; load the teacher here, without --teacher-url, or let it answer your rows, put the answers "
            "into a train.jsonl and use the method sft with --data."
        )
    if method.credit is None:
        raise refusal(f"the method {method.name!r}")
    check_gauge(method.credit.gauge)
    check_row(method.credit.estimator)
    check_baseline(method.credit.baseline)
