"""What an evaluation is asked to do: which system, on which rows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ketchup import checks
from ketchup.choices import BleuTokenizer, EngineName, Split, Which
from ketchup.errors import UsageError
from ketchup.manifests import read_manifest
from ketchup.rollouts.names import check_engine
from ketchup.runs import Run
from ketchup.texts import model_label
from ketchup_eval.inputs import RowsFrom

NO_TEACHER = "none"


@dataclass(frozen=True)
class System:
    """A model to evaluate, and the folder of its results. `settings` are those of the training run that made it."""

    model: str
    run: Run
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class EvaluationSettings:
    """Rows, metrics and numbers of resamples; `None` is what the training run says, else the task's own.

    Rows are those of the task, in `data` if need be, or the lines of a file of `references`.
    """

    task: str | None = None
    data: Path | None = None
    references: Path | None = None
    split: Split = "test"
    limit: int | None = None
    teacher: str | None = None
    max_new_tokens: int | None = None
    prompt_style: str | None = None
    engine: EngineName = "auto"
    metrics: tuple[str, ...] = ()
    bleu_tokenize: BleuTokenizer | None = None
    resamples: int = 2000
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        checks.whole("--limit", self.limit)
        checks.whole("--max-new-tokens", self.max_new_tokens, most=checks.LONGEST)
        checks.resamples("--resamples", self.resamples)
        checks.seed("--seed", self.seed)
        checks.whole("--workers", self.workers, most=checks.MOST_WORKERS)
        checks.choice("--split", self.split, Split)
        check_engine(self.engine)
        checks.choice("--bleu-tokenize", self.bleu_tokenize, BleuTokenizer)
        _ = self.rows

    @property
    def rows(self) -> RowsFrom:
        """Where the inputs' rows are."""
        return RowsFrom(self.data, self.references)

    def completed(self, trained: Mapping[str, Any]) -> "EvaluationSettings":
        """The same with what was left open taken from the settings of a training run or from an earlier evaluation."""
        names = ("task", "teacher", "max_new_tokens", "prompt_style")
        found: dict[str, Any] = {name: trained.get(name) for name in names if getattr(self, name) is None}
        if found.get("task", self.task) == trained.get("task"):
            rows = self.rows.or_those_of(trained)
            found |= {"data": rows.data, "references": rows.references}
        if self.teacher == NO_TEACHER:
            found["teacher"] = None
        return replace(self, **found)


def system_named(name: str, runs_dir: Path, checkpoint: Which | None, run_name: str | None) -> System:
    """A training run by name or folder, whose `best` checkpoint is taken, else its `last`; or any model."""
    trained = Run.find(name, runs_dir, Run.is_training)
    if trained is None and checkpoint is not None:
        raise UsageError(f'--checkpoint goes with a training run; "{name}" is none.')
    # A run is filed under its own name, also where it lies outside of `runs_dir`.
    own_name = trained.folder.resolve().name if trained else model_label(name, "-")
    run = Run.new(own_name if run_name is None else run_name, runs_dir)
    if trained is None:
        return System(name, run, {})
    return System(str(trained.model(checkpoint)), run, read_manifest(trained.folder)["settings"])
