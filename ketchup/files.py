"""Files that survive kills: whole files or none, JSON lines, and one process at a time in a folder.

A process may be killed between any two lines of this file. So every file is written beside its name and then
renamed, a row of JSON lines counts only with its line end, and the lock is one the operating system releases. What is
being written is locked as well: a temporary file that can be locked is what a killed process left, and is removed.

Disks and copies lie now and then. So each row of JSON lines, and each JSON file that is read again, ends in a field
`crc32` with the CRC-32 of the rest. What lacks that field was written by someone else, and is read as it stands.
"""

import errno
import fcntl
import glob
import json
import logging
import os
import secrets
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ketchup.errors import RunError

LOCK = ".lock"
TEMPORARY = ".tmp-????????-"
CHECKSUM = "crc32"


# Whole files


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary file to write, which becomes `path` if the block ends well and vanishes if it does not.

    It lies in the same folder, which is made if need be, and ends in the same suffix. Only writing belongs in the
    block: an `OSError` there becomes a `RunError` that names `path`.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            _can_lock(descriptor)
            yield temporary
            _sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(descriptor)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """The same for a folder: a temporary one to fill, renamed to `path` at the end; `path` must be absent or empty."""
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        try:
            with run_lock(temporary):
                yield temporary
                for file in filter(Path.is_file, temporary.rglob("*")):
                    _sync(file)
                temporary.rename(path)
                (path / LOCK).unlink(missing_ok=True)
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
    """Write a whole, indented JSON file or, with a `RunError`, leave what was there: for people and other programs."""
    atomic_write_bytes(path, _json_bytes(value, indent=2) + b"\n")


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed for want of space or quota."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # safetensors and other Rust libraries have errors of their own, with the number in the text
    return f"os error {errno.ENOSPC}" in str(error) or f"os error {errno.EDQUOT}" in str(error)


def remove_leftovers(folder: Path, pattern: str = f"**/{TEMPORARY}*") -> None:
    """Removes what killed processes were writing in a folder; what a living one writes is locked, and stays."""
    for found in list(folder.glob(pattern)):
        lock = found / LOCK if found.is_dir() else found
        with suppress(OSError):
            descriptor = os.open(lock, os.O_RDWR)
            try:
                if _can_lock(descriptor):
                    shutil.rmtree(found) if found.is_dir() else found.unlink()
            finally:
                os.close(descriptor)


def _beside(path: Path) -> Path:
    """A new temporary name for `path`; what a killed process had begun of it is removed."""
    remove_leftovers(path.parent, TEMPORARY + glob.escape(path.name))
    return path.with_name(TEMPORARY.replace("?" * 8, secrets.token_hex(4)) + path.name)


def _can_lock(descriptor: int) -> bool:
    """Whether nobody else had a file locked; it is locked now, unless the file system knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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


# JSON that is read again


def write_kept_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a whole JSON file with its checksum, for `read_kept_json`."""
    atomic_write_json(path, {**value, CHECKSUM: _checksum(_json_bytes(value))})


def read_kept_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object in a JSON file, without its checksum; a `RunError` with the `remedy` for one that is damaged."""
    content = read_bytes(path, remedy)
    try:
        return parse_object(content)
    except ValueError as error:
        raise RunError(f"{path} is damaged, as it {error}; {remedy}.") from error


def read_bytes(path: Path, remedy: str) -> bytes:
    """A whole file; a `RunError` with the `remedy` for one that cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror or error}); {remedy}.") from error


def parse_object(text: bytes) -> dict[str, Any]:
    """The JSON object that the text is, without its checksum.

    Raises `ValueError` for any other text and for an object that is no longer what was written; "it" and the error's
    text make a sentence.
    """
    try:
        value = json.loads(text.decode())  # bytes would have their encoding guessed, row by row
    except UnicodeDecodeError as error:
        raise ValueError(f"is no JSON object (byte {error.start + 1} is not UTF-8)") from error
    except RecursionError as error:
        raise ValueError("is no JSON object (nested too deeply)") from error
    except ValueError as error:
        raise ValueError(f"is no JSON object ({str(error)[:80]})") from error
    if not isinstance(value, dict):
        raise ValueError(f"is no JSON object but {json.dumps(value)[:40]}")  # noqa: TRY004  (it is about the text)
    stated = value.pop(CHECKSUM, None)
    if stated is None:
        return value
    row = text.removesuffix(f', "{CHECKSUM}": "{stated}"}}'.encode()) + b"}"
    # The second has no say in a row of ours; it lets pass what another program wrote anew with other white space.
    if stated != _checksum(row) and stated != _checksum(_json_bytes(value)):
        raise ValueError(f'has changed since it was written (if you did that, take its "{CHECKSUM}" out)')
    return value


def append_jsonl(path: Path, row: Mapping[str, Any]) -> None:
    """Add one row to a file of JSON lines, after removing a torn last line.

    The row survives a kill of this process as soon as the call returns. A failed write raises a `RunError`; what it
    left is the torn line that the next call removes.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            _truncate_torn_line(path, file.fileno())
            file.write(_line(row))


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a whole file of JSON lines or, with a `RunError`, leave what was there."""
    atomic_write_bytes(path, b"".join(map(_line, rows)))


def read_jsonl(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """The rows of a file of JSON lines, and whether a torn last line was dropped; an absent file has no rows.

    Lines that are no JSON objects, or not what was written, raise a `RunError` with their numbers; a torn last line
    does not.
    """
    if not path.exists():
        return [], False
    *lines, torn = read_bytes(path, "move it away and run again").split(b"\n")
    rows, damaged = [], {}
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(parse_object(line))
        except ValueError as error:
            damaged[number] = str(error)
    if damaged:
        (number, reason), *others = damaged.items()
        also = f", and lines {', '.join(str(other) for other, _ in others)} are damaged too" if others else ""
        these = "those lines" if others else "that line"
        raise RunError(f"{path} line {number} {reason}{also}; remove {these} and run again.")
    return rows, bool(torn)


def _line(row: Mapping[str, Any]) -> bytes:
    return _json_bytes({**row, CHECKSUM: _checksum(_json_bytes(row))}) + b"\n"


def _checksum(content: bytes) -> str:
    return f"{zlib.crc32(content):08x}"


def _json_bytes(value: object, indent: int | None = None) -> bytes:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # Half a surrogate pair, which a server's reply may hold, is no UTF-8; as `\ud83d` it is valid JSON again.
    return text.encode("utf-8", "backslashreplace")


def _truncate_torn_line(path: Path, descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.ftruncate(descriptor, path.read_bytes().rfind(b"\n") + 1)


# One process at a time


@contextmanager
def run_lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if need be, until the block ends or this process dies.

    What killed processes were writing there is removed.
    If another process has it, `wait` until that one ends, or else raise a `RunError` with its number.
    """
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _take_lock(descriptor, folder, wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        remove_leftovers(folder)
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
