"""A whole judgement in a run's folder: what is missing is asked, then everything is computed from what is stored."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from ketchup import checks
from ketchup.choices import Split
from ketchup.files import run_lock
from ketchup.models.served.starting import check_words, started
from ketchup.remote.calls import Patience
from ketchup.remote.endpoint import Endpoint
from ketchup.remote.serving import CHAT
from ketchup.tasks import task_named
from ketchup_eval.inputs import RowsFrom
from ketchup_eval.judge.asking import ask_missing
from ketchup_eval.judge.criteria import criteria as criteria_of
from ketchup_eval.judge.files import write_result
from ketchup_eval.judge.health import check_constrained
from ketchup_eval.judge.judge_settings import JudgeSettings, ReplySettings
from ketchup_eval.judge.plan import Plan, task_and_rows
from ketchup_eval.judge.results import JudgeResult, judge_result
from ketchup_eval.judge.verdicts import VerdictStore

LOCAL = "http://127.0.0.1:8000/v1"
MOST_CALLS = 10_000
LONGEST_TIMEOUT = 24 * 3600.0


@dataclass(frozen=True)
class Asking:
    """How missing verdicts are asked for; none of it decides a reply.

    The judge is at `base_url`, or a vLLM that is started with the model `serve` and ends with the run: by the Python
    `serve_python`, by default this one, with more `serve_options`. `concurrency` calls are in flight, each tried
    `attempts` times for at most `timeout` seconds. `retry_unparsed` asks again where a reply had no choice; `reparse`
    asks nothing.
    """

    base_url: str = LOCAL
    serve: str | None = None
    serve_python: str | None = None
    serve_options: str = ""
    concurrency: int = 64
    attempts: int = 8
    timeout: float = 600.0
    retry_unparsed: bool = False
    reparse: bool = False

    def __post_init__(self) -> None:
        checks.whole("--concurrency", self.concurrency, most=MOST_CALLS)
        checks.whole("--attempts", self.attempts, most=MOST_CALLS)
        checks.finite("--timeout", self.timeout, above=0, most=LONGEST_TIMEOUT)
        Endpoint(self.base_url)  # an address that is none must not wait for the files
        _ = self.words

    @property
    def words(self) -> list[str]:
        """The words of `serve_options`."""
        return check_words(self.serve, self.serve_python, self.serve_options)

    def server(self, run: Path) -> tuple[AbstractContextManager[str], str | None]:
        """The address of the server while the block runs, and the key that it is asked with if it is our own."""
        if self.serve is None:
            return nullcontext(self.base_url), None
        return started(run, self.serve, self.serve_python, self.words, CHAT)


def judge_settings(
    a: Sequence[str],
    b: str,
    runs_dir: Path,
    *,
    sampling: ReplySettings,
    task: str | None,
    split: Split,
    rows: RowsFrom,
    criteria: Sequence[str],
    prompts: Path | None,
    limit: int,
    repeat_check: int,
    human: Path | None,
    resamples: int,
) -> JudgeSettings:
    """What is judged; task, rows and criteria that are left open are those of run `b` and of its task's kind."""
    check_extent(split, limit, repeat_check, resamples)
    task_name, rows = task_and_rows(b, runs_dir, split, task, rows)
    return JudgeSettings(
        a=tuple(a),
        b=b,
        task=task_name,
        split=split,
        criteria=tuple(criteria or criteria_of(task_named(task_name).kind, prompts)),
        sampling=sampling,
        data=rows.data,
        references=rows.references,
        sources=rows.sources,
        prompts=prompts,
        limit=limit,
        repeat_check=repeat_check,
        human=human,
        resamples=resamples,
    )


def check_extent(split: Split, limit: int, repeat_check: int, resamples: int) -> None:
    """Raises `UsageError` for numbers that none of these can be."""
    checks.choice("--split", split, Split)
    checks.whole("--limit", limit)
    checks.whole("--repeat-check", repeat_check, least=0)
    checks.resamples("--resamples", resamples)


def run_judge(
    plan: Plan,
    run: Path,
    asking: Asking = Asking(),
    finish: Callable[[JudgeResult, VerdictStore], None] = lambda *_: None,
) -> tuple[JudgeResult, Mapping[str, Sequence[str]]]:
    """Asks what the store in `run` lacks, computes the results and writes `judge.json`.

    Each reply is on disk before the next step, so that a stopped judgement goes on with the same call. `finish` gets
    the result while the run is still locked. Returns it with the items of failed calls by reason: those stay missing.
    Raises `ServerError` when the server is gone, refuses all requests, or gives no choice in any reply of the trial.
    """
    failed: Mapping[str, Sequence[str]] = {}
    with run_lock(run):
        store = VerdictStore(run)
        if not asking.reparse and plan.to_ask(store, retry_unparsed=asking.retry_unparsed):
            server, key = asking.server(run)
            with server as url:
                failed = _ask(plan, store, url, key, asking)
        result = judge_result(plan, store)
        write_result(result, run)
        finish(result, store)
    return result, failed


def _ask(plan: Plan, store: VerdictStore, url: str, key: str | None, asking: Asking) -> Mapping[str, Sequence[str]]:
    if plan.settings.sampling.constrained:
        check_constrained(url, plan.settings.sampling, key)
    asked = ask_missing(
        plan,
        store,
        url,
        concurrency=asking.concurrency,
        patience=Patience(attempts=asking.attempts, timeout=asking.timeout),
        retry_unparsed=asking.retry_unparsed,
        key=key,
    )
    return asked.failed
