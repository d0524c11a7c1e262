"""What a judge is asked to do, in two parts: what decides a reply, and which pairs are judged."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ketchup import checks
from ketchup.choices import Split
from ketchup.errors import UsageError
from ketchup_eval.inputs import RowsFrom

DEFAULT_MODEL = "Qwen/Qwen2.5-72B-Instruct"


@dataclass(frozen=True)
class ReplySettings:
    """What decides a reply beside the prompt; part of every verdict's key."""

    model: str = DEFAULT_MODEL
    temperature: float = 0.0
    max_tokens: int = 256
    seed: int = 0
    logprobs: bool = False
    constrained: bool = False

    def __post_init__(self) -> None:
        checks.finite("--temperature", self.temperature, least=0, most=checks.HOTTEST)
        checks.whole("--max-tokens", self.max_tokens, most=checks.LONGEST)
        checks.seed("--seed", self.seed)

    def as_key(self) -> dict[str, Any]:
        """The settings as part of a key."""
        return asdict(self)


@dataclass(frozen=True)
class JudgeSettings:
    """One call of `ketchup judge`: the systems `a`, each against `b`, by which criteria and on how many items.

    `a`, `b` are names of runs or files of predictions; `data`, `references` or `sources` says where the rows are.
    `limit` items are drawn by a hash of seed and id, so a smaller limit takes a subset of a larger one's.
    `repeat_check` questions are asked twice.
    """

    a: tuple[str, ...]
    b: str
    task: str
    split: Split
    criteria: tuple[str, ...]
    sampling: ReplySettings
    data: Path | None = None
    references: Path | None = None
    sources: Path | None = None
    prompts: Path | None = None
    limit: int | None = 500
    repeat_check: int = 0
    human: Path | None = None
    resamples: int = 2000

    @property
    def rows(self) -> RowsFrom:
        """Where the inputs' rows are."""
        return RowsFrom(self.data, self.references, self.sources)

    def __post_init__(self) -> None:
        if len({*self.a, self.b}) <= len(self.a):
            raise UsageError("A system is named twice; name each of --a and --b once.")
        if len(set(self.criteria)) < len(self.criteria):
            raise UsageError("A criterion is named twice; name each of --criteria once.")
        checks.whole("--limit", self.limit)
        checks.whole("--repeat-check", self.repeat_check, least=0)
        checks.resamples("--resamples", self.resamples)
