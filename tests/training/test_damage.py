"""Training runs whose files were damaged or lost: noticed before anything is computed from them."""

import shutil
import subprocess

import pytest

from ketchup import runs
from ketchup.errors import RunError
from ketchup.files import write_jsonl
from ketchup.models.loading import load
from ketchup.training.checkpoints import last_state
from ketchup.training.metrics import forget_after, read_metrics
from tests.commands import ketchup
from tests.training.runs import Run, assert_same

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "trainer.pt", "SHA256SUMS")


def train(folder, inputs, steps=3):
    words = ["train", "sft", "--student", inputs / "student", "--task", "gsm8k", "--data", inputs / "data"]
    return ketchup(folder, *words, "--steps", steps, "--save-every", 2, "--threads", 1, "--name", "one")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, inputs):
    folder = tmp_path_factory.mktemp("trained")
    done = train(folder, inputs)
    assert done.code == 0, done.stderr
    return Run(folder / "runs/one")


@pytest.fixture
def run(tmp_path, trained):
    shutil.copytree(trained.folder, tmp_path / "runs/one", symlinks=True)
    return Run(tmp_path / "runs/one")


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def assert_refused(done, *named):
    assert done.code == 1
    (line,) = done.stderr.splitlines()
    assert "Unexpected" not in line
    assert all(str(text) in line for text in named), line


def assert_not_resumed(run, *named):
    with pytest.raises(RunError) as caught:
        last_state(runs.Run(run))
    assert all(text in str(caught.value) for text in named), caught.value


@pytest.mark.parametrize("damage", [flip, lambda file: file.unlink()])
@pytest.mark.parametrize("name", FILES[:-1])
def test_a_checkpoint_with_a_damaged_file_is_neither_resumed_nor_loaded(run, name, damage):
    damage((run.folder / "last").resolve() / name)
    assert_not_resumed(run.folder, f"checkpoints/step-000003/{name} is", "put a copy of it back")
    if name == "trainer.pt":  # no part of the model, and older checkpoints lack it
        assert load(str(run.folder / "last")).vocabulary == 6
    else:
        with pytest.raises(RunError, match=rf"last/{name} is (damaged|missing)"):
            load(str(run.folder / "last"))


def test_damaged_hashes_are_damage(run):
    flip(run.folder / "last" / FILES[-1])
    assert_not_resumed(run.folder, "put a copy of it back; if you changed it yourself, delete SHA256SUMS")


def test_a_damaged_checkpoint_is_one_sentence(tmp_path, inputs, run):
    flip((run.folder / "last").resolve() / "trainer.pt")
    assert_refused(train(tmp_path, inputs), "checkpoints/step-000003/trainer.pt is damaged")


def test_the_hashes_are_those_of_sha256sum(run):
    if shutil.which("sha256sum") is None:
        pytest.skip("needs sha256sum")
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(check, cwd=run.folder / "last", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {line.split(":")[0] for line in done.stdout.splitlines()} >= set(FILES[:-1])


def test_checkpoints_of_earlier_versions_have_no_hashes_and_are_read(tmp_path, inputs, run, trained):
    (run.folder / "last" / "SHA256SUMS").unlink()
    assert load(str(run.folder / "last")).fingerprint == load(str(trained.folder / "last")).fingerprint
    assert train(tmp_path, inputs).code == 0
    assert_same(run, trained)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04", None])
def test_a_trainer_state_without_hashes_that_cannot_be_read(run, content):
    last = (run.folder / "last").resolve()
    (last / "SHA256SUMS").unlink()
    if content is None:
        import torch

        torch.save({"step": 3, "another": []}, last / "trainer.pt")
    else:
        (last / "trainer.pt").write_bytes(content)
    assert_not_resumed(run.folder, f"{last.name}/trainer.pt cannot be read", "put a copy of it back")


def test_weights_without_hashes_that_do_not_fit(tmp_path, inputs, run):
    last = (run.folder / "last").resolve()
    (last / "SHA256SUMS").unlink()
    (last / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    assert_refused(train(tmp_path, inputs), f"{last.name}' lack decoder", "put a whole copy of them there")


def test_a_run_whose_links_were_lost_goes_on(tmp_path, inputs, run, trained):
    for name in ("last", "best"):
        (run.folder / name).unlink()
    assert train(tmp_path, inputs).code == 0
    assert_same(run, trained)


def test_a_run_whose_links_became_folders_says_so(tmp_path, trained):
    shutil.copytree(trained.folder, tmp_path / "runs/one")
    assert_not_resumed(tmp_path / "runs/one", "last is a folder where a link should be", "cp -a")


def test_a_run_whose_last_checkpoint_is_gone_says_so(run):
    shutil.rmtree((run.folder / "last").resolve())
    assert_not_resumed(run.folder, "last leads to a folder that is gone", "put it back")


def test_a_run_without_its_manifest_is_refused(tmp_path, inputs, run):
    (run.folder / "manifest.json").unlink()
    assert_refused(train(tmp_path, inputs), "one has checkpoints/step-000003 but lost its manifest.json")


def test_lost_rows_are_reported_when_a_run_goes_on(tmp_path, inputs, run):
    lines = (run.folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run.folder / "metrics.jsonl").write_text(lines[0] + lines[2] + '{"step')
    done = train(tmp_path, inputs)
    assert done.code == 0
    assert "metrics.jsonl: a torn last line is dropped" in done.stderr
    assert "metrics.jsonl: the rows of step 1, 3 are lost" in done.stderr


def test_rows_after_the_checkpoint_are_forgotten_and_are_not_lost(tmp_path, caplog):
    write_jsonl(tmp_path / "metrics.jsonl", [{"step": step} for step in (0, 1, 2, 4, 7)])
    forget_after(runs.Run(tmp_path), 2)
    assert read_metrics(runs.Run(tmp_path)) == [{"step": 0}, {"step": 1}, {"step": 2}]
    assert caplog.text == ""
    forget_after(runs.Run(tmp_path), -1)
    assert not (tmp_path / "metrics.jsonl").exists()
