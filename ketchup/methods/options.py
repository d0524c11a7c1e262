"""Options that several methods have: the type of each, and what `ketchup train --help` says of it.

A builder's signature is where an option of its method is made: `alpha: Annotated[float, "what it does"] = 0.1`. What
lists the rows of a table is a function, since plug-ins add rows.
"""

from typing import Annotated

from ketchup import choices
from ketchup.estimators import BASELINES, ESTIMATORS, usage


def _estimators() -> str:
    return f"of the return: {', '.join(map(usage, ESTIMATORS))}"


def _baselines() -> str:
    return f"subtracted from the return: {', '.join(BASELINES)}"


EstimatorName = Annotated[str, _estimators]
BaselineName = Annotated[str, _baselines]
Tail = Annotated[choices.Tail, "one-step: Algorithm 1; segment: Eq. 7"]
Gauge = Annotated[choices.Gauge, "constant of the teacher's logits per state"]
Clip = Annotated[choices.Clip, "what is held within the range"]
ClipRange = Annotated[float, "how far a clipped number may be from 0"]
Truncation = Annotated[choices.Truncation, "of rollouts without eos; terminal: they count"]
SamplesPerInput = Annotated[int, "rollouts of each input"]
Temperature = Annotated[float, "of the student's rollouts"]
TopK = Annotated[int, "sample among the likeliest; 0: all"]
Beta = Annotated[float, "share of one distribution in the mixture that both are compared with"]
StudentShare = Annotated[float, "weight of the student's prefixes beside the teacher's"]
