"""Validation: the method's own loss, and what the student's own outputs are worth to the teacher."""

import torch

from ketchup.methods.base import Method, Sampling, Trajectory
from ketchup.models.teacher import Teacher, here, score
from ketchup.processes import Processes
from ketchup.rollouts.fill import BLOCK, of_all, seed_of
from ketchup.training.experience import Inputs, Measures, Student, add_returns, as_trajectories
from ketchup.training.gradient import micro_batches
from ketchup.training.metrics import VALIDATION
from ketchup.training.selection import Selection


@torch.no_grad()
def validate(
    method: Method,
    student: Student,
    teacher: Teacher | None,
    inputs: Inputs,
    batch_size: int,
    seed: int,
    processes: Processes,
) -> dict[str, float]:
    """Means over the validation inputs, each named `validation_...`; in nats where they have a unit.

    `loss` is the method's, per action (a policy gradient's has no meaning and is left out). Methods that compare with
    the teacher also get one rollout per input, drawn from the same seed each time: `return` (Eq. 10, raw logits),
    `kl` = KL(teacher‖student) and `entropy` per action, `length` and the share `ended`. Of a teacher that does not tell
    all its logits there is `reverse_kl` = KL(student‖teacher) in place of `kl`, estimated from these rollouts.

    Inputs are taken in blocks, whose seeds follow from them and whose sums are added in their order: the same weights
    have the same values, to the last bit, for any number of processes.
    """
    measures = Measures()
    for found in of_all(
        inputs.blocks(BLOCK),
        lambda block: _measured(method, student, teacher, block, batch_size, seed_of(seed, block.ids), processes),
        processes,
    ):
        measures.take(found)
    means = measures.means()
    parts = [means.pop(f"part {number}", None) for number in range(len(method.parts))]
    if method.credit is None and None not in parts:
        means["loss"] = sum(p.weight * mean for p, mean in zip(method.parts, parts, strict=True) if mean is not None)
    return {f"validation_{name}": value for name, value in sorted(means.items())}


def graded(chosen: Selection, student: Student, inputs: Inputs, processes: Processes) -> dict[str, float]:
    """The metric's score of what the student writes greedily for the validation inputs; nothing without a metric.

    All processes write their share, and all know the score.
    """
    if chosen.metric is None:
        return {}
    texts = [text for block in of_all(inputs.blocks(BLOCK), student.write, processes) for text in block]
    score = chosen.metric.score(chosen.inputs, texts)
    return {f"{VALIDATION}{chosen.name}": score}


def _measured(
    method: Method,
    student: Student,
    teacher: Teacher | None,
    block: Inputs,
    batch_size: int,
    seed: int,
    processes: Processes,
) -> Measures:
    measures = Measures()
    trajectories = dict(block.given)
    if method.compares:
        assert teacher is not None
        trajectories["student"] = _rolled_out(method, student, teacher, block, seed, processes, measures)
    if method.credit is None:
        for number, part in enumerate(method.parts):
            rows = trajectories[part.writer]
            total = torch.zeros(())
            with student.phases.phase("student"), processes.narrowed():
                for batch in micro_batches(rows, batch_size, processes):
                    total += part.loss(student.model, here(teacher), batch).total.cpu()
            measures.add(f"part {number}", total, sum(row.actions for row in rows))
    return measures


def _rolled_out(
    method: Method,
    student: Student,
    teacher: Teacher,
    block: Inputs,
    seed: int,
    processes: Processes,
    measures: Measures,
) -> list[Trajectory]:
    """One rollout of each input, after counting what it is worth."""
    drawn = method.sampling or Sampling()
    # One, however many training draws: a further sample of an input says less than a further input.
    one = Sampling(1, drawn.temperature, drawn.top_k)
    rollouts = student.draw(block, one, seed)
    with student.phases.phase("teacher"):
        written = (block.prompts, rollouts.tokens, rollouts.action_mask)
        values, own = score(teacher, student.model, *written, processes.in_step, one.temperature, one.top_k)
    actions = rollouts.action_mask.sum()
    add_returns(values, rollouts, measures)
    if own.kl is not None:
        measures.add("kl", own.kl.sum(), actions)
    else:
        log_p = (values.q - values.logsumexp)[rollouts.action_mask]
        measures.add("reverse_kl", (own.log_prob[rollouts.action_mask] - log_p).sum(), actions)
    measures.add("entropy", own.entropy.sum(), actions)
    measures.add("length", actions, len(rollouts.tokens))
    measures.add("ended", rollouts.ended.sum(), len(rollouts.tokens))
    return as_trajectories(block.prompts, rollouts)
