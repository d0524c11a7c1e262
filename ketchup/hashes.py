"""What tells two files, two values or two model folders apart."""

import hashlib
import json
from pathlib import Path

from ketchup.errors import ModelError

MODEL_FILES = ("config.json", "*.safetensors", "tokenizer*")
"""The files of a model folder that decide what the model computes."""


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(value: object) -> str:
    """The first 16 hexadecimal digits of a JSON value's SHA-256; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def folder_hash(folder: Path) -> str:
    """A hash of what a model folder computes: its configuration, weights and tokenizer, by name, size and content.

    A folder without configuration or weights raises a `ModelError`.
    """
    files = sorted({file for pattern in MODEL_FILES for file in folder.glob(pattern) if file.is_file()})
    if not (folder / "config.json").exists() or not any(file.suffix == ".safetensors" for file in files):
        raise ModelError(f"{folder} is no model folder; it needs config.json and weights in *.safetensors.")
    return content_hash([[file.name, file.stat().st_size, file_hash(file)] for file in files])
