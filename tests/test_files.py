"""Files that survive kills, full disks and second processes."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ketchup.errors import RunError
from ketchup.files import (
    append_jsonl,
    atomic_folder,
    atomic_path,
    atomic_write_json,
    atomic_write_text,
    read_jsonl,
    read_kept_json,
    run_lock,
    write_jsonl,
    write_kept_json,
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
    assert read_jsonl(path) == ([{"id": 2}], False)


@pytest.mark.parametrize("line", ["{oops", "[1]", ""])
def test_a_bad_line_inside_names_its_number(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"id": 1}}\n{line}\n{{"id": 3}}\n')
    with pytest.raises(RunError, match=r"rows\.jsonl line 2 is no JSON object"):
        read_jsonl(path)


def test_all_bad_lines_are_named_at_once(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id": 1}\n{\xff}\n{"id": 3}\n' + b"[" * 100_000 + b"\n7\n")
    with pytest.raises(RunError, match=r"line 2 is no .*byte 2 is not UTF-8.*, and lines 4, 5 are .*remove those"):
        read_jsonl(path)


def flipped(content):
    """The content with every third of its bits flipped in turn, and hence each place in a byte equally often."""
    for place in range(0, 8 * len(content), 3):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        yield bytes(damaged)


KEPT = [{"step": 1, "loss": 0.25, "text": "één"}, {}, {"step": 3, "loss": None, "more": {"a": [1, 2.5e-7]}}]


def test_a_flipped_bit_in_a_row_is_noticed_or_does_no_harm(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, KEPT)
    for row in KEPT:
        append_jsonl(tmp_path / "appended.jsonl", row)
    assert (tmp_path / "appended.jsonl").read_bytes() == path.read_bytes()
    for damaged in flipped(path.read_bytes()):
        path.write_bytes(damaged)
        try:
            rows, torn = read_jsonl(path)
        except RunError:
            continue
        # What is left: the last line end, whose row is dropped, or the name `crc32`, which becomes a field of its own.
        assert len(rows) == len(KEPT) - torn
        assert all(row | kept == row for row, kept in zip(rows, KEPT, strict=False))


@pytest.mark.parametrize("value", KEPT)
def test_a_flipped_bit_in_a_kept_file_is_noticed_or_does_no_harm(tmp_path, value):
    path = tmp_path / "a.json"
    write_kept_json(path, value)
    for damaged in flipped(path.read_bytes()):
        path.write_bytes(damaged)
        try:
            read = read_kept_json(path, "delete it")
        except RunError:
            continue
        assert read | value == read


def test_other_white_space_is_no_damage_and_another_value_is(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, KEPT)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    assert read_jsonl(path) == (KEPT, False)
    rows[0]["loss"] = 0.5
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RunError, match=r"line 1 has changed since it was written \(if .*\); remove that line"):
        read_jsonl(path)


def test_rows_of_others_have_no_checksum_and_are_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": 1}\n')
    append_jsonl(path, {"id": 2})
    assert read_jsonl(path) == ([{"id": 1}, {"id": 2}], False)


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(RunError, match=r"a cannot be read \(Is a directory\); move it away"):
        read_jsonl(tmp_path / "a")
    with pytest.raises(RunError, match=r"a cannot be read \(Is a directory\); delete it"):
        read_kept_json(tmp_path / "a", "delete it")


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
from ketchup.files import run_lock
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


WRITE = """
import sys, time
from pathlib import Path
from ketchup.files import atomic_folder, atomic_path
run = Path(sys.argv[1])
with atomic_path(run / "parts" / "part-0") as part, atomic_folder(run / "checkpoints" / "step-1") as folder:
    part.write_text("half")
    (folder / "weights").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def temporary_files(folder):
    return sorted(file.name[14:] for file in folder.rglob(".tmp-*"))


@pytest.mark.parametrize("again", ["lock", "write"])
def test_what_a_killed_process_was_writing_is_removed_and_what_a_living_one_writes_is_not(tmp_path, again):
    def start_again():
        if again == "lock":
            with run_lock(tmp_path):
                return
        atomic_write_text(tmp_path / "parts" / "part-0", "whole")
        with atomic_folder(tmp_path / "checkpoints" / "step-1"):
            pass
        (tmp_path / "checkpoints" / "step-1").rmdir()

    with subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "writing\n"
        start_again()
        assert temporary_files(tmp_path) == ["part-0", "step-1"]
        writer.kill()
    start_again()
    assert temporary_files(tmp_path) == []
    assert all(folder.name != ".lock" for folder in (tmp_path / "checkpoints").iterdir())


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
