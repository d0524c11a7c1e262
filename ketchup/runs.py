"""Runs: one resolver of their names, and one list of where they keep what."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ketchup.choices import Which
from ketchup.errors import RunError, UsageError

MANIFEST = "manifest.json"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
PREDICTIONS = "predictions"
ROLLOUTS = "rollouts"
GRADIENTS = "gradients"
OF_TRAINING = (f"{CHECKPOINTS}/step-*", METRICS)
OF_VARIANCE = (f"{ROLLOUTS}/*/part-*.parquet",)
"""Patterns of the files that only a run with a manifest has."""
WHICH: tuple[Which, ...] = ("best", "last")
LONGEST_NAME = 200
"""Bytes: file systems allow 255, and files that are being written have longer names."""


@dataclass(frozen=True)
class Run:
    """A run: the folder where a command keeps what belongs together."""

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.name

    @property
    def manifest(self) -> Path:
        """Its settings and circumstances."""
        return self.folder / MANIFEST

    def has_manifest(self) -> bool:
        """Whether the folder says how it was made."""
        return self.manifest.is_file()

    @property
    def metrics(self) -> Path:
        """The log of a training run, a row a step."""
        return self.folder / METRICS

    @property
    def checkpoints(self) -> Path:
        """The folder of all checkpoints."""
        return self.folder / CHECKPOINTS

    def step(self, step: int) -> Path:
        """The checkpoint of a step."""
        return self.checkpoints / f"step-{step:06d}"

    def checkpoint(self, which: Which) -> Path:
        """The link to the checkpoint of highest validation, or to the newest one; it may not be there yet."""
        return self.folder / which

    def is_training(self) -> bool:
        """Whether this is where a model was trained; a model's folder may have a manifest too, of what made it."""
        return self.has_manifest() and (self.checkpoint("last").exists() or not (self.folder / "config.json").exists())

    def has_checkpoint(self) -> bool:
        """Whether a model was trained here, and saved."""
        return self.is_training() and any(self.checkpoint(which).exists() for which in WHICH)

    def model(self, which: Which | None = None) -> Path:
        """The best checkpoint, else the newest one, or the one that is asked for; a `RunError` without it."""
        links = [self.checkpoint(name) for name in ((which,) if which else WHICH)]
        found = next((link for link in links if link.exists()), None)
        if found is None:
            raise RunError(f"{self} has no {which or 'last'} checkpoint; train further, or name a model folder.")
        return found

    @property
    def rollouts(self) -> Path:
        """The folder of scored rollouts, a folder in it for each student."""
        return self.folder / ROLLOUTS

    @property
    def gradients(self) -> Path:
        """The folder of gradients of rollouts, a folder in it for each student."""
        return self.folder / GRADIENTS

    def predictions(self, split: str) -> Path:
        """The file of a split's outputs; while they are written, its parts are in the folder of the same stem."""
        return self.folder / PREDICTIONS / f"{split}.jsonl"

    @property
    def scores(self) -> Path:
        """What evaluations found out about the outputs, by split."""
        return self.folder / "scores.json"

    def segments(self, split: str) -> Path:
        """The folder of what metrics counted in each output of a split."""
        return self.folder / "segments" / split

    @classmethod
    def of_predictions(cls, file: Path) -> "Run | None":
        """The run whose outputs a file holds; `None` for a file that belongs to no run."""
        return cls(file.parents[1]) if file.parent.name == PREDICTIONS and len(file.parents) > 1 else None

    @classmethod
    def new(cls, name: str, runs_dir: Path) -> "Run":
        """The run of this name, whether it is there yet or not; a `UsageError` for what is no name of a folder."""
        if not _is_name(name):
            raise UsageError(
                f"A run cannot be called {name!r}; give it a --name without / and control characters, neither empty "
                f"nor . nor .., of at most {LONGEST_NAME} bytes."
            )
        return cls(runs_dir / name)

    @classmethod
    def find(cls, name: str, runs_dir: Path, fits: Callable[["Run"], bool] | None = None) -> "Run | None":
        """The run of this name under `runs_dir`, else the folder of this path, whichever first `fits`; else `None`.

        By default, a run fits that has a manifest.
        """
        if not name.strip():
            raise UsageError("The name of a run is empty; name a run or a folder.")
        places = [runs_dir / name] if _is_name(name) else []
        fits = fits or cls.has_manifest
        return next((run for run in map(cls, (*places, Path(name))) if _fits(run, fits)), None)

    @classmethod
    def named(cls, name: str, runs_dir: Path) -> "Run":
        """The same for a run that must be there, with a manifest; a `RunError` if it is not."""
        found = cls.find(name, runs_dir)
        if found is None:
            raise RunError(
                f'There is no run "{name}", as neither {runs_dir / name} nor the folder {name} has a {MANIFEST}; '
                "check the name and --runs-dir."
            )
        return found


def _is_name(name: str) -> bool:
    clean = name.isprintable() and "/" not in name and name.strip() not in ("", ".", "..")
    return clean and len(name.encode()) <= LONGEST_NAME


def _fits(run: Run, fits: Callable[[Run], bool]) -> bool:
    try:
        return fits(run)
    except OSError:  # no file system has such a path
        return False
