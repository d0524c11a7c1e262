"""A teacher that is spread over devices, here memory and disk, says what it says on one."""

import gc
from pathlib import Path

import pytest
import torch

from ketchup.devices import placement
from ketchup.errors import ModelError
from ketchup.models.loading import load
from ketchup.models.placement import load_teacher
from ketchup.models.scoring import score, score_teacher
from ketchup.rollouts.transformers_engine import TransformersEngine
from ketchup.rollouts.types import Decoding
from ketchup.where import Where
from tests import tiny

PROMPTS = [[2, 3, 4, 5, 2], [3], [5, 4, 2]]
SAMPLES = 2


@pytest.fixture(scope="module", params=tiny.KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def models(kind, tmp_path_factory):
    """The same model on the CPU and with half of its weights on disk."""
    folder = tiny.save(kind, tmp_path_factory.mktemp(kind), seed=3)
    whole = load(str(folder))
    size = sum(weight.numel() * 4 for weight in whole.network.parameters())
    where = Where(teacher_memory=size / 2 / 1e9)
    return whole, load_teacher(str(folder), placement(torch.device("cpu"), where))


@pytest.fixture(scope="module")
def rows():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 6, (len(PROMPTS) * SAMPLES, 7), generator=generator)
    lengths = torch.tensor([7, 1, 4, 0, 6, 2])
    mask = torch.arange(7) < lengths[:, None]
    return tokens, mask


def test_some_of_it_is_on_disk(models):
    """Or the tests below would compare a model with itself."""
    _, spread = models
    places = set(spread.network.hf_device_map.values())
    assert places == {"cpu", "disk"}
    assert any(weight.device.type == "meta" for weight in spread.network.parameters())
    assert spread.spread
    assert spread.device == torch.device("cpu")


def test_values_are_those_of_the_whole_model(models, rows):
    """The pass without a head, and the head in chunks, under the hooks that fetch weights."""
    whole, spread = models
    for ours, plain in zip(
        vars(score_teacher(spread, PROMPTS, *rows)).values(),
        vars(score_teacher(whole, PROMPTS, *rows)).values(),
        strict=True,
    ):
        torch.testing.assert_close(ours, plain, rtol=0, atol=0)
    both = [score(teacher, whole, PROMPTS, *rows)[1].kl for teacher in models]
    torch.testing.assert_close(both[0], both[1], rtol=0, atol=0)
    assert both[0].abs().max() < 1e-5  # a model and itself


def test_it_is_read_in_the_same_way(models):
    whole, spread = models
    assert spread.reading == whole.reading == "shared"


def test_it_writes_the_same(models):
    """Outputs of a teacher that is spread, as `seqkd` learns from."""
    whole, spread = models
    written = [TransformersEngine(model).sample(PROMPTS, None, 1, Decoding(6, 0), 0) for model in (spread, whole)]
    assert written[0] == written[1]


def test_what_is_on_disk_goes_with_the_model(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tiny.save(kind, tmp_path / "model")
    model = load(str(folder), memory={"cpu": {"t5": 25_000, "llama": 10_000}[kind]})
    assert list(tmp_path.glob("ketchup-weights-*"))
    del model
    gc.collect()
    assert not list(Path(tmp_path).glob("ketchup-weights-*"))


def test_too_little_for_a_layer_is_a_sentence(kind, tmp_path):
    folder = str(tiny.save(kind, tmp_path))
    with pytest.raises(ModelError, match=r"The largest layer of .* finds no room in 1e-06 GB.*--teacher-memory"):
        load_teacher(folder, placement(torch.device("cpu"), Where(teacher_memory=1e-6)))
