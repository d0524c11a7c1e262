"""What is read of a model folder, or of a repository on the hub: weights from safetensors alone, and never code."""

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    cached_file,
    extract_commit_hash,
    find_adapter_config_file,
)

from ketchup.errors import ModelError, first_line
from ketchup.files import parse_object
from ketchup.hashes import SUMS, content_hash, file_hash
from ketchup.runs import MANIFEST

SAFETENSORS = ".safetensors"
UNREAD = (
    *(".*", "README*", "LICENSE*", "NOTICE*", "*.md", "*.pdf", "*.png", "*.jpg", "*.svg", "*.log", "*.csv", "*.jsonl"),
    *("*.py", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "*.ot"),
    *(MANIFEST, "step.json", SUMS),
)
"""Files that no loading reads: descriptions, code, weights in other formats, and what training leaves."""
CHAT_TEMPLATES = "additional_chat_templates"
JSON_FILES = (
    *("config.json", "generation_config.json", "chat_template.json", "*.safetensors.index.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json"),
)
REMEDY = "put a whole copy of it there, or save the model again by save_pretrained"


def check_files(folder: Path) -> None:
    """Raises `ModelError`, with the file, where one that loading reads is not even of its kind.

    transformers leaves some of them out then, and says of others what no user understands.
    """
    for file in sorted(file for pattern in JSON_FILES for file in folder.glob(pattern)):
        try:
            parse_object(file.read_bytes())
        except OSError as error:
            raise ModelError(f"{file} cannot be read ({error.strerror or error}); {REMEDY}.") from error
        except ValueError as error:
            raise ModelError(f"{file} {error}; {REMEDY}.") from error
    for file in sorted(folder.glob(f"*{SAFETENSORS}")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except Exception as error:  # its own kinds derive from nothing else
            raise ModelError(f"{file} cannot be read ({first_line(error)}); {REMEDY}.") from error


def check_contents(name: str, place: str, config: Any) -> None:
    """Raises `ModelError` where weights would not come from safetensors alone, or another model would be loaded.

    `place` is a folder or hub id, `config` its configuration. An index, or the configuration, may name files of any
    kind, and a folder with adapters makes transformers load the model that *they* name. An attention named like a
    repository (`owner/name`) would be fetched from there and run.
    """
    if "/" in str(getattr(config, "_attn_implementation", None)):
        raise code_refused(name)
    if find_adapter_config_file(place):
        raise ModelError(
            f"{name!r} holds adapters beside or in place of a model (adapter_config.json); merge them into their model "
            "with PEFT's merge_and_unload, save that, and name its folder."
        )
    for file in _named_weights(place, config):
        if not file.endswith(SAFETENSORS) or Path(file).is_absolute() or ".." in Path(file).parts:
            raise ModelError(
                f"{name!r} names weights in {file!r}, and only its own *.safetensors are read; save it again with "
                "save_pretrained."
            )


def code_refused(name: str) -> ModelError:
    """The error of a model that cannot be had without running code which comes with it."""
    return ModelError(
        f"{name!r} wants to run code of its own (auto_map in its config.json or tokenizer_config.json, or an attention "
        "from the hub), which is never done; use a model whose architecture and tokenizer transformers knows."
    )


def fingerprint(place: str) -> str:
    """What tells two models apart in a manifest: the hash of a folder's files, or the hub's commit."""
    if Path(place).is_dir():
        return folder_hash(Path(place))
    return f"hub commit {extract_commit_hash(_file(place, 'config.json'), None)}"


def folder_hash(folder: Path) -> str:
    """A hash of all that decides what a model computes and is asked, by name, size and content.

    Those are its weights, in every file that an index names, and every file that loading may read: configurations,
    tokenizer, chat templates. A folder without configuration or weights raises a `ModelError`.
    """
    found = [file for file in folder.iterdir() if not any(fnmatch(file.name, pattern) for pattern in UNREAD)]
    found += (folder / CHAT_TEMPLATES).glob("*.jinja")
    found += [folder / name for index in folder.glob(f"*{SAFETENSORS}.index.json") for name in _files_of(index)]
    files = sorted({file for file in found if file.is_file()})
    if not (folder / "config.json").exists() or not any(file.suffix == SAFETENSORS for file in files):
        raise ModelError(f"{folder} is no model folder; it needs config.json and weights in *.safetensors.")
    return content_hash([[str(file.relative_to(folder)), file.stat().st_size, file_hash(file)] for file in files])


def _named_weights(place: str, config: Any) -> list[str]:
    """Files of weights that are read because another file names them."""
    stated = getattr(config, "transformers_weights", None)
    if stated is None and _file(place, SAFE_WEIGHTS_NAME):
        return []
    index = stated or SAFE_WEIGHTS_INDEX_NAME
    if not str(index).endswith(f"{SAFETENSORS}.index.json"):
        return [str(index)]
    path = _file(place, index)
    return _files_of(Path(path)) if path else []


def _files_of(index: Path) -> list[str]:
    """The files of weights that an index names."""
    try:
        return sorted({str(file) for file in json.loads(index.read_bytes())["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is damaged ({error}); save the model again by save_pretrained.") from error


def _file(place: str, name: str) -> str | None:
    found: str | None = cached_file(place, name, _raise_exceptions_for_missing_entries=False)
    return found
