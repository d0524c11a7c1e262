"""Files that survive kills: whole files or none, JSON lines, and one process at a time in a folder.

A process may be killed between any two lines of this file. So every file is written beside its name and then
renamed, a row of JSON lines counts only with its line end, and the lock is one the operating system releases.
"""

import errno
import fcntl
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ketchup.errors import RunError

LOCK = ".lock"


# Whole files


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary file to write, which becomes `path` if the block ends well and vanishes if it does not.

    It lies in the same folder, which is made if need be, and ends in the same suffix. Only writing belongs in the
    block: an `OSError` there becomes a `RunError` that names `path`.
    """
    temporary = _beside(path)
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """The same for a folder: a temporary one to fill, renamed to `path` at the end; `path` must be absent or empty."""
    temporary = _beside(path)
    with _explained(path):
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for file in filter(Path.is_file, temporary.rglob("*")):
                _sync(file)
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or, with a `RunError`, leave what was there."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def atomic_write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file or, with a `RunError`, leave what was there."""
    atomic_write_bytes(path, text.encode())


def atomic_write_json(path: Path, value: object) -> None:
    """Write a whole, indented JSON file or, with a `RunError`, leave what was there."""
    atomic_write_bytes(path, _json_bytes(value, indent=2) + b"\n")


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed for want of space or quota."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # safetensors and other Rust libraries have errors of their own, with the number in the text
    return f"os error {errno.ENOSPC}" in str(error) or f"os error {errno.EDQUOT}" in str(error)


def _beside(path: Path) -> Path:
    return path.with_name(f".tmp-{secrets.token_hex(4)}-{path.name}")


def _sync(file: Path) -> None:
    """Bring a file's content to the disk, so that a power cut after the rename leaves no empty file."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns a failure to write `path` into one sentence."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise RunError(
                f"The disk is full and {path} could not be written; free some space and run the same command again."
            ) from error
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise RunError(f"{path} cannot be written ({reason}); choose a folder that you may write to.") from error
        raise


def _json_bytes(value: object, indent: int | None = None) -> bytes:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # Half a surrogate pair, which a server's reply may hold, is no UTF-8; as `\ud83d` it is valid JSON again.
    return text.encode("utf-8", "backslashreplace")


# JSON lines


def append_jsonl(path: Path, row: Mapping[str, Any]) -> None:
    """Add one row to a file of JSON lines, after removing a torn last line.

    The row survives a kill of this process as soon as the call returns. A failed write raises a `RunError`; what it
    left is the torn line that the next call removes.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            _truncate_torn_line(path, file.fileno())
            file.write(_json_bytes(row) + b"\n")


def read_jsonl(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """The rows of a file of JSON lines, and whether a torn last line was dropped; an absent file has no rows.

    A line that is not JSON, other than a torn last one, raises a `RunError` with its number.
    """
    if not path.exists():
        return [], False
    *lines, torn = path.read_bytes().split(b"\n")
    return [_parse_row(path, number, line) for number, line in enumerate(lines, start=1)], bool(torn)


def _parse_row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode())  # bytes would have their encoding guessed, line by line
    except ValueError as error:
        raise RunError(f"{path} line {number} is not JSON ({error}); remove that line and run again.") from error
    if not isinstance(row, dict):
        raise RunError(f"{path} line {number} is not a JSON object; remove that line and run again.")
    return row


def _truncate_torn_line(path: Path, descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.ftruncate(descriptor, path.read_bytes().rfind(b"\n") + 1)


# One process at a time


@contextmanager
def run_lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if need be, until the block ends or this process dies.

    If another process has it, `wait` until that one ends, or else raise a `RunError` with its number.
    """
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _take_lock(descriptor, folder, wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)  # releases the lock; the file stays, as its removal would race with the next owner


def _take_lock(descriptor: int, folder: Path, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        owner = os.pread(descriptor, 32, 0).decode() or "unknown"
        raise RunError(
            f"{folder} is in use by process {owner}; wait until it ends or stop it, or use another --name."
        ) from error
    except OSError as error:
        # Some cluster file systems are mounted without locks; a run there is better than none.
        logging.getLogger(__name__).warning("%s cannot be locked (%s); start no second run there.", folder, error)
