"""Outputs beside the inputs that they are of."""

from collections.abc import Sequence
from dataclasses import dataclass

from ketchup.errors import DataError
from ketchup.tasks.base import Input
from ketchup_eval.metrics.base import Item
from ketchup_eval.predictions import Prediction

SHOWN = 3
"""Ids named in an error."""


@dataclass(frozen=True)
class Outputs:
    """A system's outputs and what they are of, in one order."""

    predictions: list[Prediction]
    inputs: list[Input]

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def ids(self) -> list[str]:
        """Ids of the inputs."""
        return [prediction.id for prediction in self.predictions]

    @property
    def texts(self) -> list[str]:
        """What the system wrote."""
        return [prediction.text for prediction in self.predictions]

    @property
    def references(self) -> list[str]:
        """All references of all inputs."""
        return [reference for one in self.inputs for reference in one.references]

    @property
    def items(self) -> list[Item]:
        """What metrics score."""
        return [
            Item(one.source, prediction.text, one.references)
            for prediction, one in zip(self.predictions, self.inputs, strict=True)
        ]


def outputs_of(predictions: Sequence[Prediction], inputs: Sequence[Input], place: str) -> Outputs:
    """The outputs in the order of the inputs; a `DataError` with counts and lines unless the ids are the same."""
    by_id = {prediction.id: prediction for prediction in predictions}
    wanted = {one.id for one in inputs}
    missing = [f'"{one.id}"' for one in inputs if one.id not in by_id]
    extra = [f'"{name}" at line {line}' for line, name in enumerate(by_id, start=1) if name not in wanted]
    if missing or extra:
        raise DataError(
            f"{place}: ids do not match those of the data: {_counted(missing, 'missing')}, {_counted(extra, 'extra')}; "
            "use outputs of the same rows (see --task, --data, --references, --split and --limit; plain lines have the "
            "ids 1 to n)."
        )
    return Outputs([by_id[one.id] for one in inputs], list(inputs))


def _counted(names: Sequence[str], what: str) -> str:
    if not names:
        return f"0 {what}"
    return f"{len(names):,} {what} ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"
