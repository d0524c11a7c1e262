"""What needs a GPU: values and samples there are those of the CPU. `scripts/gpu_check.sh` runs these, and more."""

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from ketchup.devices import placement
from ketchup.models.placement import load_student, load_teacher
from ketchup.models.scoring import score
from ketchup.rollouts.engines import engine
from ketchup.where import Where
from ketchup_eval.cli import app
from tests import tiny
from tests.models.test_placement import PROMPTS, SAMPLES
from tests.rollouts import contract

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


@pytest.fixture(params=tiny.KINDS)
def kind(request):
    return request.param


def on_gpu(kind):
    model = tiny.language_model(kind)
    return replace(model, network=model.network.to("cuda"))


@pytest.mark.parametrize("memory", [None, 1e-5], ids=["whole", "spread"])
def test_values_are_those_of_the_cpu(kind, tmp_path, memory):
    folder = str(tiny.save(kind, tmp_path, seed=1))
    tokens = torch.randint(1, 6, (len(PROMPTS) * SAMPLES, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(7) < torch.tensor([7, 1, 4, 0, 6, 2])[:, None]
    found = []
    for device in ("cpu", "cuda"):
        where = Where(device, "float32", "float32", memory if device == "cuda" else None)
        placed = placement(torch.device(device), where)
        teacher, student = load_teacher(folder, placed), load_student(folder, placed)
        values, own = score(teacher, student, PROMPTS, tokens, mask)
        found.append(torch.stack([*vars(values).values(), *vars(own).values()]))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
@pytest.mark.parametrize("name", ["vllm", "vllm:tp2"])
def test_vllm_draws_from_the_models_distribution_also_after_an_update(name):
    if name == "vllm:tp2" and torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    model = on_gpu(tiny.WIDE)
    runner = engine(name, model)
    contract.check_samples_follow_the_distribution(runner, model)
    model.network.load_state_dict(tiny.network(tiny.WIDE, model.vocabulary, seed=5).state_dict())
    runner.update(model)
    contract.check_samples_follow_the_distribution(runner, model)


def test_a_student_made_on_the_gpu_is_that_of_the_cpu(kind, tmp_path):
    folder, ends = tiny.save(kind, tmp_path / "teacher"), []
    for device in ("cpu", "cuda"):
        words = ["init-student", "--teacher", str(folder), "--layers", "1", "--out", str(tmp_path / device)]
        done = CliRunner().invoke(app, [*words, "--device", device])
        assert done.exit_code == 0, done.output
        ends.append(load_file(tmp_path / device / "model.safetensors"))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("name", ["ctranslate2", "transformers"])
def test_samples_follow_the_models_distribution(kind, name):
    model = on_gpu(kind)
    contract.check_samples_follow_the_distribution(engine(name, model), model)


def test_a_decoder_in_bfloat16_is_sampled(kind):
    model = on_gpu(kind)
    narrow = replace(model, network=model.network.to(torch.bfloat16))
    assert engine("auto", narrow).name == "transformers"
