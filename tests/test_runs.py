"""Runs that go on as they began, and say what they were."""

import subprocess
import sys
from pathlib import Path

import pytest

from ketchup.errors import RunError
from ketchup.manifests import check_same_settings, manifest, read_manifest


def test_a_manifest_holds_the_circumstances(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ketchup", "train", "--k", "4"])
    recorded = manifest({"k": 4, "seed": 7, "out": Path("runs/a"), "milestones": (1, 2)})
    assert recorded["settings"] == {"k": 4, "seed": 7, "out": "runs/a", "milestones": [1, 2]}
    assert recorded["command"] == ["ketchup", "train", "--k", "4"]
    assert recorded["started"].endswith("+00:00")
    assert set(recorded["versions"]) >= {"ketchup", "torch", "transformers", "ctranslate2"}
    assert all(recorded["versions"].values())


def test_the_commit_is_that_of_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert manifest({})["git"] is None
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert manifest({})["git"] == {"commit": commit, "dirty": False}
    (tmp_path / "changed").write_text("")
    assert manifest({})["git"] == {"commit": commit, "dirty": True}


def test_a_machine_without_git_has_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert manifest({})["git"] is None


def test_the_same_settings_go_on_and_are_recorded(tmp_path):
    settings = {"k": 4, "rate": float("nan"), "schedule": (1, 2), "model": {"name": "t5"}}
    check_same_settings(tmp_path, settings)
    started = read_manifest(tmp_path)["started"]
    check_same_settings(tmp_path, settings)
    recorded = read_manifest(tmp_path)
    assert recorded["started"] == started
    assert [sorted(again) for again in recorded["resumed"]] == [
        ["command", "git", "platform", "python", "started", "threads", "versions"]
    ]


def test_each_setting_that_differs_is_named(tmp_path):
    check_same_settings(tmp_path, {"k": 4, "seed": 1, "gone": True, "model": {"name": "a", "dtype": "float32"}})
    before = (tmp_path / "manifest.json").read_bytes()
    with pytest.raises(RunError) as caught:
        check_same_settings(tmp_path, {"k": 8, "seed": 1, "new": None, "model": {"name": "b", "dtype": "float32"}})
    assert str(caught.value) == (
        f"{tmp_path} holds a run with other settings: gone was true and is now unset, k was 4 and is now 8, "
        'model.name was "a" and is now "b", new was unset and is now null; '
        "use another --name or delete the folder."
    )
    assert (tmp_path / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"k": 1}', "no manifest"),
        ('{"settings": [], "resumed": []}', "no manifest"),
        ('{"settings": {}, "resumed": {}}', "no manifest"),
        ('{"settings": {"task": 1}, "resumed": []}', "no manifest"),
    ],
)
def test_a_damaged_manifest_is_one_sentence(tmp_path, text, message):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RunError, match=rf"manifest\.json is .*{message}"):
        check_same_settings(tmp_path, {})


def test_a_lost_manifest_is_no_licence(tmp_path):
    patterns = ("parts/*/part-*", "log")
    (tmp_path / "parts" / "1-student").mkdir(parents=True)
    check_same_settings(tmp_path, {"temperature": 1.0}, results=patterns)
    (tmp_path / "parts/1-student/part-0").touch()
    check_same_settings(tmp_path, {"temperature": 1.0}, results=patterns)
    (tmp_path / "manifest.json").unlink()
    for temperature in (0.5, 1.0):
        with pytest.raises(RunError, match=r"has parts/1-student/part-0 but lost its manifest\.json; put a copy"):
            check_same_settings(tmp_path, {"temperature": temperature}, results=patterns)
    assert not (tmp_path / "manifest.json").exists()


def test_a_run_that_has_nothing_yet_may_begin_with_other_settings(tmp_path):
    """As after an engine that is not installed: the corrected command needs no other name."""
    patterns = ("parts/part-*", "log")
    for engine in ("vllm", "transformers"):
        check_same_settings(tmp_path, {"engine": engine}, results=patterns)
        recorded = read_manifest(tmp_path)
        assert (recorded["settings"], recorded["resumed"]) == ({"engine": engine}, [])
    (tmp_path / "log").touch()
    with pytest.raises(RunError, match=r'engine was "transformers" and is now "vllm"'):
        check_same_settings(tmp_path, {"engine": "vllm"}, results=patterns)


def test_a_changed_manifest_is_noticed(tmp_path):
    check_same_settings(tmp_path, {"temperature": 1.0})
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"temperature": 1.0', '"temperature": 0.5'))
    with pytest.raises(
        RunError, match=r"manifest\.json is damaged, as it has changed since it was written \(.*\); put"
    ):
        check_same_settings(tmp_path, {"temperature": 0.5})


def test_a_folder_without_manifest_is_no_run(tmp_path):
    with pytest.raises(RunError, match=r"is no run, as it has no manifest\.json"):
        read_manifest(tmp_path)
