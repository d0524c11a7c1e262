"""What tells two files or two values apart, and a file from what was written."""

import hashlib
import json
from pathlib import Path

from ketchup.errors import RunError

SUMS = "SHA256SUMS"
"""The hashes of a folder's files, in the format that `sha256sum --check` reads."""


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(value: object) -> str:
    """The first 16 hexadecimal digits of a JSON value's SHA-256; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_sums(folder: Path) -> None:
    """Adds `SHA256SUMS` to a folder that is complete, for `check_sums`; hidden files are none of it."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    lines = [f"{file_hash(file)}  {file.relative_to(folder)}\n" for file in files if file.name != SUMS]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check_sums(folder: Path, unread: str | None = None) -> None:
    """Raises `RunError` unless all files that `SHA256SUMS` names are there as they were written, but for one `unread`.

    A folder without `SHA256SUMS` passes: other programs write none.
    """
    sums = folder / SUMS
    if not sums.exists():
        return
    remedy = f"put a copy of it back; if you changed it yourself, delete {SUMS} there"
    try:
        rows = [line.split("  ", 1) for line in sums.read_text(encoding="utf-8").splitlines()]
        stated = {name: digest for digest, name in rows}
    except (OSError, ValueError) as error:
        raise RunError(f"{sums} is damaged; {remedy}.") from error
    for name, digest in stated.items():
        if name == unread:
            continue
        if not (folder / name).is_file():
            raise RunError(f"{folder / name} is missing; {remedy}.")
        if file_hash(folder / name) != digest:
            raise RunError(f"{folder / name} is damaged, as it is not what was written; {remedy}.")
