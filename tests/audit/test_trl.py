"""TRL's own functions, called through their own parameters; in the environment of a TRL, which is not ours."""

import pytest

pytest.importorskip("trl")
pytestmark = pytest.mark.filterwarnings("ignore")  # of TRL about its experiments

DIVERGENCES = """
from functools import partial
{source}
at_0, at_half, at_1 = (partial(divergence, beta=beta) for beta in (0.0, 0.5, 1.0))
"""
GKD = "from trl.experimental.gkd.gkd_trainer import GKDTrainer\ndivergence = GKDTrainer.generalized_jsd_loss"
STABLE = """
import inspect
from trl.trainer.distillation_trainer import _chunked_divergence_loss as divergence
if "chunk_size" in inspect.signature(divergence).parameters:  # up to TRL 1.14
    divergence = partial(divergence, chunk_size=8)
"""
MINILLM = """
from types import SimpleNamespace
from trl.experimental.minillm.minillm_trainer import MiniLLMTrainer

def made(gamma, length_normalization):
    settings = SimpleNamespace(gamma=gamma, length_normalization=length_normalization)
    def advantages(student_log_probs_on_labels, teacher_log_probs_on_labels, mask):
        return MiniLLMTrainer._compute_advantage(
            settings, student_log_probs_on_labels, teacher_log_probs_on_labels, mask
        )
    return advantages

default, summed, discounted, divided = made(0.0, True), made(1.0, False), made(0.9, False), made(1.0, True)
"""


def audited(folder, source, name):
    from ketchup_eval.audit.verdict import audit

    (folder / "theirs.py").write_text(source)
    return audit(f"{folder}/theirs.py:{name}", "trl")


@pytest.mark.parametrize(
    ("name", "objective"), [("at_0", "state-forward-kl"), ("at_half", "state-jsd:0.5"), ("at_1", "state-kl")]
)
@pytest.mark.parametrize("source", [GKD, STABLE], ids=["gkd", "stable"])
def test_divergences_are_those_of_states_as_they_come(tmp_path, source, name, objective):
    found = audited(tmp_path, DIVERGENCES.format(source=source), name)
    assert (found.match.name, found.faults) == (objective, [])


@pytest.mark.parametrize(
    ("name", "objective", "kinds"),
    [
        ("default", "state-kl", set()),
        ("summed", "sequence-kl", set()),
        ("discounted", "sequence-kl:from-the-start:0.9", {"padding-side", "prompt-lengths", "environment-tokens"}),
        ("divided", None, {"divided-by-remaining", "padding-side", "width", "environment-tokens"}),
    ],
)
def test_minillm(tmp_path, name, objective, kinds):
    pytest.importorskip("trl.experimental.minillm")  # up to TRL 1.14
    found = audited(tmp_path, MINILLM, name)
    assert {fault.kind for fault in found.faults} == kinds
    assert objective in (None, found.match.name)
