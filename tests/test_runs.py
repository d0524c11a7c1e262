"""Run directories that survive kills, full disks, second processes and changed settings."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ketchup.errors import RunError
from ketchup.runs import (
    append_jsonl,
    atomic_folder,
    atomic_path,
    atomic_write_json,
    atomic_write_text,
    check_same_settings,
    manifest,
    read_jsonl,
    read_manifest,
    run_lock,
)


def raise_disk_full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# Whole files


def test_a_write_makes_folders_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "run" / "a.json"
    atomic_write_json(path, {"old": 1})
    atomic_write_json(path, {"naïve": [1, float("inf")]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"naïve": [1, float("inf")]}
    assert "naïve" in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


def test_a_file_can_be_read_by_others(tmp_path):
    """Files made by `tempfile` could not."""
    atomic_write_text(tmp_path / "a", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("failing", ["os.replace", "os.fsync", "pathlib.Path.write_bytes"])
def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path, monkeypatch, failing):
    path = tmp_path / "a.json"
    atomic_write_json(path, "old")
    monkeypatch.setattr(failing, raise_disk_full)
    with pytest.raises(RunError, match=r"disk is full and .*a\.json"):
        atomic_write_json(path, "new")
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert json.loads(path.read_text()) == "old"


def test_a_full_disk_reported_by_a_library_counts_too(tmp_path):
    def write():
        with atomic_path(tmp_path / "a") as temporary:
            temporary.write_text("half")
            raise RuntimeError("I/O error: No space left on device (os error 28)")

    with pytest.raises(RunError, match="disk is full"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_another_failure_to_write_names_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/a cannot be written \((Not a directory|File exists)\)"):
        atomic_write_text(tmp_path / "file" / "a", "x")


def test_a_bug_in_the_block_stays_a_bug_and_leaves_no_file(tmp_path):
    def write():
        with atomic_path(tmp_path / "a") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_the_temporary_name_keeps_the_suffix_and_no_pattern_matches_it(tmp_path):
    with atomic_path(tmp_path / "part-0.parquet") as temporary:
        temporary.write_bytes(b"x")
        assert temporary.suffix == ".parquet"
        assert list(tmp_path.glob("part-*.parquet")) == []


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "models" / "m"

    def write():
        with atomic_folder(path) as temporary:
            (temporary / "weights").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert list(path.parent.iterdir()) == []
    with atomic_folder(path) as temporary:
        (temporary / "weights").write_text("whole")
        assert not path.exists()
    assert (path / "weights").read_text() == "whole"
    assert [file.name for file in path.parent.iterdir()] == ["m"]


# JSON lines


def test_rows_come_back_in_order(tmp_path):
    path = tmp_path / "run" / "rows.jsonl"
    rows = [{"id": 1, "text": "eén\nline\u2028"}, {"id": 2, "text": ""}]
    for row in rows:
        append_jsonl(path, row)
    assert read_jsonl(path) == (rows, False)


def test_no_file_has_no_rows(tmp_path):
    assert read_jsonl(tmp_path / "rows.jsonl") == ([], False)


def test_half_a_surrogate_pair_survives(tmp_path):
    append_jsonl(tmp_path / "rows.jsonl", {"reply": "cut \ud83d"})
    assert read_jsonl(tmp_path / "rows.jsonl") == ([{"reply": "cut \ud83d"}], False)
    (tmp_path / "rows.jsonl").read_text(encoding="utf-8")  # the file is UTF-8 all the same


@pytest.mark.parametrize("kept", range(1, len(b'{"id": 2, "text": "b"}\n')))
def test_a_torn_line_is_dropped_and_removed_before_the_next_row(tmp_path, kept):
    path = tmp_path / "rows.jsonl"
    append_jsonl(path, {"id": 1, "text": "a"})
    whole = path.read_bytes()
    append_jsonl(path, {"id": 2, "text": "b"})
    path.write_bytes(path.read_bytes()[: len(whole) + kept])
    assert read_jsonl(path) == ([{"id": 1, "text": "a"}], True)
    append_jsonl(path, {"id": 3, "text": "c"})
    assert read_jsonl(path) == ([{"id": 1, "text": "a"}, {"id": 3, "text": "c"}], False)


def test_a_torn_first_line_leaves_an_empty_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id"')
    append_jsonl(path, {"id": 2})
    assert path.read_text() == '{"id": 2}\n'


@pytest.mark.parametrize("line", ["{oops", "[1]", ""])
def test_a_bad_line_inside_names_its_number(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"id": 1}}\n{line}\n{{"id": 3}}\n')
    with pytest.raises(RunError, match=r"rows\.jsonl line 2 is not"):
        read_jsonl(path)


def test_a_full_disk_while_appending_is_one_sentence(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, whose writes fail for want of space")
    (tmp_path / "rows.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"disk is full and .*rows\.jsonl"):
        append_jsonl(tmp_path / "rows.jsonl", {"id": 1})


# One process at a time

HOLD_LOCK = """
import sys, time
from pathlib import Path
from ketchup.runs import run_lock
with run_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock_owner(tmp_path):
    """Another process that holds the lock of `tmp_path / "run"`."""
    command = [sys.executable, "-c", HOLD_LOCK, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "locked\n"
        yield owner
        owner.kill()


def test_a_second_process_is_refused_by_number(tmp_path, lock_owner):
    with pytest.raises(RunError, match=f"run is in use by process {lock_owner.pid};"), run_lock(tmp_path / "run"):
        pass


def test_a_kill_frees_the_lock(tmp_path, lock_owner):
    lock_owner.send_signal(signal.SIGKILL)
    lock_owner.wait()
    with run_lock(tmp_path / "run"):
        pass


def test_waiting_ends_with_the_owner(tmp_path, lock_owner):
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK.replace("[1]))", "[1]), wait=True)"), str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        text=True,
    )
    with waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=0.5)
        lock_owner.kill()
        assert waiting.stdout.readline() == "locked\n"
        waiting.kill()


def test_a_lock_can_be_taken_again(tmp_path):
    for _ in range(2):
        with run_lock(tmp_path):
            pass
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path):
        raise ZeroDivisionError
    with run_lock(tmp_path):
        pass


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)
    with run_lock(tmp_path):
        assert "cannot be locked" in caplog.text


# What a run was


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


@pytest.mark.parametrize(("text", "message"), [("{", "damaged"), ("[]", "no manifest"), ('{"k": 1}', "no manifest")])
def test_a_damaged_manifest_is_one_sentence(tmp_path, text, message):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RunError, match=rf"manifest\.json is .*{message}"):
        check_same_settings(tmp_path, {})


def test_a_folder_without_manifest_is_no_run(tmp_path):
    with pytest.raises(RunError, match=r"is no run, as it has no manifest\.json"):
        read_manifest(tmp_path)
