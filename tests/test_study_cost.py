"""`scripts/study_cost.py`: its sizes are those of the real architectures; measured rates stand in for assumed ones."""

import json
import runpy

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from tests.test_api import ROOT

COST = runpy.run_path(str(ROOT / "scripts/study_cost.py"))


@pytest.mark.parametrize("name", ["STUDENT", "TEACHER"])
def test_weights_are_those_of_the_architecture(name):
    """transformers builds it without memory; it has norms and relative positions on top, a thousandth of all."""
    shape = COST[name]
    config = T5Config(
        vocab_size=COST["VOCABULARY"],
        d_model=shape.width,
        d_kv=64,
        num_heads=shape.inner // 64,
        d_ff=shape.feed_forward,
        num_layers=shape.layers,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        weights = T5ForConditionalGeneration(config).state_dict()
    once = [weight.numel() for name, weight in weights.items() if "embed_tokens" not in name]  # the same as `shared`
    assert shape.weights == pytest.approx(sum(once), rel=1e-3)


def test_measured_rates_take_the_place_of_assumed_ones(tmp_path):
    """2 students x 10 inputs x 4 samples x 16 tokens in 8 and 2 s are 160 and 640 tokens a second."""
    students = [{"mean_length": {"value": length}} for length in (12.0, 20.0)]
    seconds = {"sampling": 8.0, "scoring": 2.0, "estimates": 1.0}
    file = tmp_path / "variance.json"
    file.write_text(json.dumps({"inputs": 10, "samples": 4, "students": students, "seconds": seconds}))
    said = COST["report"](
        COST["arguments"](["--inputs", "18", "--samples", "32", "--tokens", "1000", "--measured", str(file)])
    )
    assert "assumed" not in said
    assert "sampling                    1.00 GPU-hours        160 tokens/s" in said
    assert "scoring                     0.25 GPU-hours        640 tokens/s" in said
