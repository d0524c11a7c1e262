"""`ketchup.judge`: the command as a function."""

from collections.abc import Sequence
from pathlib import Path

from ketchup import checks
from ketchup.choices import Split
from ketchup.runs import Run
from ketchup_eval.inputs import RowsFrom
from ketchup_eval.judge.judge_settings import DEFAULT_MODEL, ReplySettings
from ketchup_eval.judge.plan import make_plan
from ketchup_eval.judge.results import JudgeResult
from ketchup_eval.judge.run import LOCAL, Asking, judge_settings, run_judge


def judge(
    a: str | Sequence[str],
    b: str,
    *,
    task: str | None = None,
    split: Split = "test",
    data: str | Path | None = None,
    references: str | Path | None = None,
    sources: str | Path | None = None,
    limit: int = 500,
    criteria: Sequence[str] = (),
    prompts: str | Path | None = None,
    model: str = DEFAULT_MODEL,
    base_url: str = LOCAL,
    serve: str | None = None,
    serve_python: str | None = None,
    serve_options: str = "",
    temperature: float = 0.0,
    max_tokens: int = 256,
    logprobs: bool = False,
    constrained: bool = False,
    concurrency: int = 64,
    attempts: int = 8,
    timeout: float = 600.0,
    repeat_check: int = 0,
    retry_unparsed: bool = False,
    reparse: bool = False,
    human: str | Path | None = None,
    resamples: int = 2000,
    seed: int = 0,
    name: str = "judge",
    runs_dir: str | Path = "runs",
) -> JudgeResult:
    """Outputs of the systems `a`, each compared with those of `b` by a language model: both orders, both IDs.

    Systems are names of evaluated runs under `runs_dir`, or files of outputs. The judge is the `model` of an
    OpenAI-compatible server at `base_url`, or one that vLLM serves for the time of the call (`serve`). `limit` items
    are drawn by a hash of the seed and their id. The other options are those of `ketchup judge`, with its defaults.

    The result has `comparisons`, one for each of `a` and of `criteria`: the share of all votes that prefer `a`
    (`effects.vote_share`, an `Estimate` whose unit of resampling is the item), position and ID bias, agreement, and the
    `counts` of votes by what became of them. A reply without a choice is no vote. It is `complete` where at most 1% of
    the votes are missing; calls that failed are among these. Every reply is kept in the run `name`, which goes on with
    the same call, beside `judge.json`.

    Example:

        from pathlib import Path

        for name in ("articles", "a", "b"):
            Path(f"{name}.txt").write_text(f"A sentence of {name}.")
        found = ketchup.judge("a.txt", "b.txt", task="xsum", sources="articles.txt", base_url=url, model=model)
        print(found.comparisons[0].effects.vote_share.value, found.comparisons[0].counts, found.complete)

    Raises `DataError` and `UsageError` for systems, rows and options that do not fit, before anything is asked, and
    `ServerError` where the server is gone, refuses all requests, or gives no choice in any of its first replies.
    """
    checks.several(criteria=criteria)
    rows = RowsFrom(*(None if place is None else Path(place) for place in (data, references, sources)))
    sampling = ReplySettings(serve or model, temperature, max_tokens, seed, logprobs, constrained)
    asking = Asking(
        base_url, serve, serve_python, serve_options, concurrency, attempts, timeout, retry_unparsed, reparse
    )
    run = Run.new(name, Path(runs_dir)).folder
    settings = judge_settings(
        [a] if isinstance(a, str) else a,
        b,
        Path(runs_dir),
        sampling=sampling,
        task=task,
        split=split,
        rows=rows,
        criteria=criteria,
        prompts=None if prompts is None else Path(prompts),
        limit=limit,
        repeat_check=repeat_check,
        human=None if human is None else Path(human),
        resamples=resamples,
    )
    return run_judge(make_plan(settings, Path(runs_dir)), run, asking)[0]
