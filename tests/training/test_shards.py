"""Models in parts, in two real processes: who holds what, and passes in step where one process has more rows."""

import pytest
import torch
from torch.distributed.tensor import DTensor

from ketchup.methods import method
from ketchup.methods.base import Trajectory
from ketchup.methods.likelihood import cross_entropy
from ketchup.models import scoring
from ketchup.models.loading import load
from ketchup.processes import Processes
from ketchup.training.experience import Measures
from ketchup.training.gradient import accumulate
from ketchup.training.shards import ShardedWeights, shard
from tests import tiny, zoo
from tests.commands import together


def in_parts(words, prog_name):
    kind, *folders = words

    def model(seed):
        return load(folders[seed]) if folders else tiny.language_model(kind, seed)

    processes = Processes("float32", sharded=True)
    ordinary, teacher = model(0), model(1)
    weights = ShardedWeights(model(0), processes, samples=True)
    weights.begin(processes)
    parts = weights.model
    teacher_parts = shard(model(1), processes)
    network = parts.network

    def held(network):
        return sum(weight.to_local().numel() for weight in network.parameters())

    total = sum(weight.numel() for weight in ordinary.network.parameters())
    assert abs(held(network) - total / 2) < 0.02 * total, (held(network), total)
    assert abs(held(teacher_parts.network) - total / 2) < 0.02 * total

    # The first process has a chunk of rows for each of its rows, the second one only, or none at all.
    scoring.PASS_TOKENS = 1
    for rows in ((3, 1), (3, 0)):
        own = rows[processes.index]
        prompts = [[2, 3, 4], [5], [3, 3]]
        tokens = torch.tensor([[2, 3, 1], [4, 1, 0], [3, 1, 0]])
        mask = torch.tensor([[True, True, True], [True, True, False], [True, True, False]])
        mask[own:] = False
        given = scoring.score(teacher, ordinary, prompts, tokens, mask)
        found = scoring.score(teacher_parts, parts, prompts, tokens, mask, processes.in_step)
        for one, other in zip(given, found, strict=True):
            for name, value in vars(one).items():
                torch.testing.assert_close(getattr(other, name), value, rtol=1e-5, atol=1e-5)
    for name, weight in network.named_parameters():
        assert isinstance(weight, DTensor) == any(part in name for part in ("block.", "layers.")), (
            name
        )  # let go after use

    # Gradients of both processes' rows add up, though they need 2 and 1 micro-batches.
    texts = (([2, 3], [4, 1]), ([5], [3, 3, 1]), ([4], [1]))
    rows = [Trajectory.of(prompt, ids, [True] * len(ids)) for prompt, ids in texts]
    own = rows[:2] if processes.main else rows[2:]
    learn = method("sft", {})
    accumulate(learn, weights, None, {"reference": own}, 1, "tokens", processes, Measures())
    loss = cross_entropy(ordinary, None, rows).total / 6
    loss.backward()
    expected = {name: weight.grad for name, weight in ordinary.network.named_parameters()}
    for name, weight in network.named_parameters():
        assert weight.grad.to_local().numel() < expected[name].numel(), name
        torch.testing.assert_close(weight.grad.full_tensor(), expected[name], rtol=1e-4, atol=1e-6)

    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1)
    after = dict(weights.ordinary().network.named_parameters())
    for name, weight in ordinary.network.named_parameters():
        torch.testing.assert_close(after[name], weight + 1)
    processes.finish()


@pytest.mark.parametrize("kind", [*tiny.KINDS, "Gemma 2", "BART"])
def test_each_process_holds_half_and_passes_go_in_step(tmp_path, kind):
    """Those of the zoo cap their logits, or add a bias to them."""
    folders = [zoo.save(kind, tmp_path / str(seed), seed) for seed in (0, 1)] if kind in zoo.ZOO else []
    words = [kind, *folders]
    for done in together(tmp_path / "work", words, words, program="tests.training.test_shards.in_parts"):
        assert done.code == 0, done.stderr
