"""Parquet files that are known to be as they were written.

Parquet's own checksums cover pages of values, but not what says how these are to be read. So each file names the
SHA-256 of all its bytes, its own place counted as zeros; files written before that are read as they stand.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ketchup.errors import RunError, first_line
from ketchup.files import atomic_path, read_bytes

SEAL = b"ketchup-sha256"
"""The name of the hash among a file's metadata, and again before its value: a file that lost one is still known."""
BLANK = b"0" * 64
REMEDY = "delete this file and run the same command again"


def write_sealed(path: Path, table: pa.Table, facts: Mapping[bytes, bytes] | None = None, **options: object) -> None:
    """Writes a table with `facts` about it; the file appears whole or not at all."""
    table = table.replace_schema_metadata({**(facts or {}), SEAL: SEAL + b":" + BLANK})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True, **options)
        temporary.write_bytes(_sealed(temporary.read_bytes()))


def open_sealed(path: Path) -> pq.ParquetFile:
    """The file, read; `RunError` if it has changed since it was written."""
    content = read_bytes(path, REMEDY)
    if SEAL in content and content != _sealed(content):
        raise damaged(path, "it has changed since it was written")
    try:
        return pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise damaged(path, first_line(error)) from error


def damaged(path: Path, reason: str) -> RunError:
    """The error to raise for a file that is not what was written."""
    return RunError(f"{path} is damaged ({reason}); {REMEDY}.")


def _sealed(content: bytes) -> bytes:
    """The same bytes with the hash that belongs to them."""
    before, mark, after = content.rpartition(SEAL + b":")
    rest = after[len(BLANK) :]
    digest = hashlib.sha256(before + mark + BLANK + rest).hexdigest()
    return before + mark + digest.encode() + rest
