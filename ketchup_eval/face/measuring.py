"""`ketchup.measure`: `ketchup variance` as a function."""

from collections.abc import Sequence
from pathlib import Path

from ketchup import checks
from ketchup.choices import Dtype, EngineName, Gauge, PromptStyle, Split, Tails
from ketchup.runs import Run
from ketchup.tasks import short_name
from ketchup.where import Where
from ketchup_eval.face.places import RUNS, check_alone, check_url, folder_of
from ketchup_eval.report.variance_files import write_variance
from ketchup_eval.variance.options import BATCH, GRADIENT_OF, KS, analysis_asked, rollouts_asked
from ketchup_eval.variance.result import VarianceResult
from ketchup_eval.variance.study import run_variance


def measure(
    teacher: str | None = None,
    students: str | Sequence[str] = (),
    *,
    k: Sequence[int] = KS,
    tail: Tails = "segment",
    estimators: Sequence[str] = (),
    gauge: Gauge | None = None,
    gradient: bool = False,
    baselines: Sequence[str] = (),
    gradient_of: str = GRADIENT_OF,
    projection: int | None = None,
    batch: int = BATCH,
    task: str = "demo",
    split: Split = "test",
    data: str | Path | None = None,
    limit: int | None = None,
    samples: int = 32,
    max_new_tokens: int | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    prompt_style: PromptStyle | None = None,
    engine: EngineName = "auto",
    correct_sampler: bool = False,
    resamples: int | None = None,
    seed: int = 0,
    device: str = "auto",
    teacher_dtype: Dtype = "auto",
    student_dtype: Dtype = "auto",
    teacher_memory: float | None = None,
    teacher_url: str | None = None,
    name: str | None = None,
    runs_dir: str | Path | None = None,
) -> VarianceResult:
    """Bias, variance and error of return estimators for a teacher and one or more of its students: a whole study.

    `samples` rollouts of each input are drawn from each student and scored by the teacher; from the same numbers come
    the K-step return of every `k` with each `tail` (`segment` is Eq. 7, `one-step` Algorithm 1, or `both`) and all
    further `estimators`, such as `shrink:0.25` or `soft`. With `gradient`, the policy gradients of all of them with
    the `baselines` are measured too, by the weights that `gradient_of` names (`head`, `last-block`, `all` or a
    pattern), and a row is recommended for a `batch` of so many rollouts. Models are named as for `load`; without them
    they are the demo's. With a `teacher_url` the teacher is behind vLLM's server there, and is called as the server
    calls it. Without a `limit` all inputs are taken, of the demo 64. The other options are those of
    `ketchup variance`, with its defaults.

    The result has `students`, by falling KL to the teacher, each with its `estimates`, one `ReturnEstimate` a row of
    the table, K-step returns first; units are nats, in the `gauge`. `frame()` is the same as a pandas
    frame. Every number is an `Estimate` with its 95% interval over inputs, and absent where it cannot be computed.

    With `runs_dir` the study is a run there, called `name` or `variance-TASK`: rollouts are kept, so that a stopped
    study goes on and other K, estimators or gauges sample nothing, and tables and figures are written as by the
    command. Without it nothing stays on disk.

    Example:

        study = ketchup.measure("demo-teacher", "demo-student-3", k=[1, 4], limit=4, samples=4, device="cpu")
        for row in study.students[0].estimates:
            print(row.estimator, row.variance.value, row.bias.value)
        print(study.frame().query("quantity == 'mse'"))

    Raises `UsageError` for options that cannot be or do not go together, `ModelError` and `DataError` for models and
    rows that cannot be used, and `RunError` where the run holds a study with other settings.
    """
    check_alone("measure", "variance")
    checks.several(k=k, estimators=estimators, baselines=baselines)
    check_url(teacher, teacher_url)
    rollouts = rollouts_asked(
        teacher=teacher,
        students=[students] if isinstance(students, str) else students,
        task=task,
        samples=samples,
        split=split,
        data=None if data is None else Path(data),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        prompt_style=prompt_style,
        engine=engine,
        seed=seed,
        runs_dir=Path(runs_dir or RUNS),
        served=teacher_url is not None,
    )
    analysis = analysis_asked(
        rollouts,
        k=k,
        tail=tail,
        estimators=estimators,
        gauge=gauge,
        limit=limit,
        gradient=gradient,
        baselines=baselines,
        gradient_of=gradient_of,
        projection=projection,
        batch=batch,
        resamples=resamples,
        correct_sampler=correct_sampler,
        served=teacher_url is not None,
    )
    where = Where(device, teacher_dtype, student_dtype, teacher_memory, teacher_url)
    found: list[VarianceResult] = []
    with folder_of(runs_dir) as place:
        run = Run.new(name or f"variance-{short_name(task)}", place)

        def finish(result: VarianceResult) -> None:
            if runs_dir is not None:
                write_variance(result, run.folder)
            found.append(result)

        run_variance(rollouts, analysis, run, finish, where)
    return found[0]
