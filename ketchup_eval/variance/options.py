"""From what a study is asked, option by option, to its settings: what is left open, and what does not go together."""

from collections.abc import Sequence
from pathlib import Path

from ketchup import checks
from ketchup.choices import EngineName, Gauge, PromptStyle, Split, Tail, Tails
from ketchup.errors import UsageError
from ketchup.models.builtin import model_of
from ketchup.rollouts.types import Decoding
from ketchup.tasks import task_named
from ketchup_eval.variance.gradient.gradient_settings import BASELINES, GradientSettings, check_numbers, controls
from ketchup_eval.variance.gradient.rows import rows_of
from ketchup_eval.variance.over_inputs import OverInputs
from ketchup_eval.variance.variance_settings import AnalysisSettings, RolloutSettings, estimators_of

KS = (1, 2, 4, 8, 16)
DEMO_TEACHER = "demo-teacher"
DEMO_STUDENTS = ("demo-student-1", "demo-student-2", "demo-student-3")
DEMO_LIMIT = 64
"""Inputs of the demo unless told: it makes as many as one likes."""
BATCH = 256
GRADIENT_OF = "head"


def rollouts_asked(
    *,
    teacher: str | None,
    students: Sequence[str],
    task: str,
    samples: int,
    split: Split,
    data: Path | None,
    max_new_tokens: int | None,
    temperature: float,
    top_k: int,
    prompt_style: PromptStyle | None,
    engine: EngineName,
    seed: int,
    runs_dir: Path,
    served: bool,
) -> RolloutSettings:
    """What decides the rollouts; without models they are the demo's, and runs under `runs_dir` are models too.

    A teacher that is `served` is called what its server calls it.
    """
    if (teacher is None) != (not students):
        raise UsageError("Name a --teacher together with its --student models, or neither for the demo's own.")
    longest = task_named(task).max_new_tokens if max_new_tokens is None else max_new_tokens
    return RolloutSettings(
        task=task,
        teacher=teacher if served and teacher else model_of(teacher or DEMO_TEACHER, runs_dir),
        students=tuple(model_of(name, runs_dir) for name in students or DEMO_STUDENTS),
        data=data,
        split=split,
        samples=samples,
        decoding=Decoding(longest, temperature, top_k),
        prompt_style=prompt_style,
        engine=engine,
        seed=seed,
    )


def analysis_asked(
    rollouts: RolloutSettings,
    *,
    k: Sequence[int],
    tail: Tails,
    estimators: Sequence[str],
    gauge: Gauge | None,
    limit: int | None,
    gradient: bool,
    baselines: Sequence[str],
    gradient_of: str,
    projection: int | None,
    batch: int,
    resamples: int | None,
    correct_sampler: bool,
    served: bool,
) -> AnalysisSettings:
    """What is computed of them; with `gradient`, the controls of `k` too unless other estimators are named."""
    checks.choice("--tail", tail, Tails)
    tails: list[Tail] = ["segment", "one-step"] if tail == "both" else [tail]
    asked = estimators_of(k, tails, estimators or (controls(k, served=served) if gradient else ()))
    if resamples is not None:
        checks.resamples("--resamples", resamples)
    check_numbers(batch, projection)
    of_gradients = {
        "--baseline": baselines,
        "--batch": batch != BATCH,
        "--gradient-of": gradient_of != GRADIENT_OF,
        "--projection": projection is not None,
    }
    for option, given in of_gradients.items():
        if given and not gradient:
            raise UsageError(f"{option} goes with --gradient.")
    if gradient and (rollouts.decoding.temperature != 1 or rollouts.decoding.top_k):
        raise UsageError("--gradient is that of the student as it is; leave out --temperature and --top-k.")
    rows = rows_of(asked, baselines or BASELINES) if gradient else ()
    demo = rollouts.task == "demo" and rollouts.data is None
    return AnalysisSettings(
        estimators=asked,
        gauge=gauge or ("logprob" if served else "raw"),
        limit=DEMO_LIMIT if limit is None and demo else limit,
        gradient=GradientSettings(rows, gradient_of, batch, projection, rollouts.seed) if gradient else None,
        intervals=OverInputs(resamples, rollouts.seed),
        correct_sampler=correct_sampler,
        served=served,
    )
