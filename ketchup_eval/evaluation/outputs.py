"""Outputs beside their references, item by item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ketchup.errors import DataError
from ketchup_eval.predictions import Prediction

SHOWN = 3
"""Ids named in an error."""


@dataclass(frozen=True)
class Outputs:
    """A system's outputs and the references, in one order."""

    predictions: list[Prediction]
    references: list[str]

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def ids(self) -> list[str]:
        """Ids of the items."""
        return [prediction.id for prediction in self.predictions]

    @property
    def texts(self) -> list[str]:
        """What the system wrote."""
        return [prediction.text for prediction in self.predictions]


def outputs_of(predictions: Sequence[Prediction], references: Mapping[str, str], place: str) -> Outputs:
    """The outputs in the order of the references; a `DataError` with counts and lines unless the ids are the same."""
    by_id = {prediction.id: prediction for prediction in predictions}
    missing = [f'"{name}"' for name in references if name not in by_id]
    extra = [f'"{name}" at line {line}' for line, name in enumerate(by_id, start=1) if name not in references]
    if missing or extra:
        raise DataError(
            f"{place}: ids do not match those of the data: {_counted(missing, 'missing')}, {_counted(extra, 'extra')}; "
            "use outputs of the same rows (see --task, --data, --references, --split and --limit; plain lines have the "
            "ids 1 to n)."
        )
    return Outputs([by_id[name] for name in references], list(references.values()))


def _counted(names: Sequence[str], what: str) -> str:
    if not names:
        return f"0 {what}"
    return f"{len(names):,} {what} ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"
