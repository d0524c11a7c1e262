"""Loading models and checking that teacher and student speak of the same tokens."""

import logging
import shutil
import tempfile
import weakref
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from ketchup.errors import KetchupError, ModelError, first_line
from ketchup.hashes import check_sums
from ketchup.models.builtin import resolve
from ketchup.models.folder import check_contents, check_files, code_refused, fingerprint
from ketchup.models.language_model import LanguageModel
from ketchup.models.memory import GIGABYTE, check_room
from ketchup.models.probe import with_reading
from ketchup.models.weights import not_finite

NO_CODE = {"trust_remote_code": False}
"""Left open, transformers asks on the terminal, and runs what a folder brings along on "y"."""

Memory = Mapping[int | str, int]
"""Most bytes of a model's weights by device: numbers of GPUs, filled in turn, then "cpu"; the disk takes the rest."""

_log = logging.getLogger(__name__)


def load(
    name: str,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    memory: Memory | None = None,
) -> LanguageModel:
    """A model by built-in name, folder or hub id, in evaluation mode, on `device` or spread as `memory` says.

    Layers of a spread one fetch their weights as a pass comes to them, and hand on what they computed (Accelerate).

    Weights are read from safetensors only, and no code of the folder is run. Raises `ModelError` for an unknown name,
    missing files, a model without eos token, an encoder-decoder model without decoder start token, and a network whose
    own logits of a text are not what any pass computes.
    """
    place = str(resolve(name))
    check_sums(Path(place), unread="trainer.pt")
    check_files(Path(place))
    transformers_logging.disable_progress_bar()
    with _reading(name, "its config.json"):
        config = AutoConfig.from_pretrained(place, **NO_CODE)
    with _reading(name, "its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(place, **NO_CODE)
        tokenizer.decode(tokenizer("1 + 1 = 2").input_ids)  # some faults of its files show in its use alone
    with _reading(name, "the network of its config.json"):
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        check_contents(name, place, config)
        if memory is None:
            _check_room(name, kind, config, dtype, torch.device(device))
    with _reading(name, "its weights"):
        if memory is None:
            network = read_network(kind, place, dtype).eval().to(device)
        else:
            network = _read_spread(name, kind, place, dtype, memory).eval()
    # What is not at hand now is on disk; the probe below ends in NaN for it.
    here = (named for named in network.named_parameters() if not named[1].is_meta)
    if strange := not_finite(here):
        raise ModelError(
            f"The weights of {name!r} are not all finite as {dtype} (first {strange}); use another checkpoint or type."
        )
    vocabulary = min(max(tokenizer.get_vocab().values()) + 1, network.get_output_embeddings().weight.shape[0])
    eos_ids = _eos_ids(name, config, getattr(network, "generation_config", None), tokenizer, vocabulary)
    pad = tokenizer.pad_token_id
    if pad is None or pad >= network.get_input_embeddings().weight.shape[0]:  # added without a row, and any id may pad
        pad = eos_ids[0]
    model = LanguageModel(
        name=name,
        network=network,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        eos_ids=eos_ids,
        pad_id=pad,
        start_id=_start_id(name, config),
        fingerprint=fingerprint(place),
        max_tokens=_max_tokens(config),
    )
    return with_reading(model)


@contextmanager
def _reading(name: str, part: str) -> Iterator[None]:
    """Whatever is wrong with a part of a model becomes one sentence."""
    try:
        yield
    except KetchupError:
        raise
    except Exception as error:  # transformers, tokenizers and safetensors raise too many kinds to list
        if "trust_remote_code" in str(error):
            raise code_refused(name) from error
        raise ModelError(
            f"Cannot load the model {name!r}, as {part} cannot be read ({first_line(error)}); give a built-in name, a "
            "whole folder made by save_pretrained, or a hub id that is cached or reachable."
        ) from error


def read_network(kind: Any, place: str | Path, dtype: torch.dtype, **spread: Any) -> Any:
    """A network of the class `kind` with the weights of a folder or hub id; `ModelError` if some are not there.

    transformers would draw those at random, with no more than a warning. Weights that no part of the model asks for
    are a warning here too. `spread` is what it is told about where weights go.
    """
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        network, report = kind.from_pretrained(
            place,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # those are refused below, by name
            **NO_CODE,
            **spread,
        )
    finally:
        transformers_logging.set_verbosity(verbosity)
    for weight, here, wanted in sorted(report["mismatched_keys"]):
        raise ModelError(
            f"The weights in {str(place)!r} have {weight} as {list(here)} and its config.json wants {list(wanted)}; "
            "mend config.json, or save the model again by save_pretrained."
        )
    if report["missing_keys"]:
        raise ModelError(
            f"The weights in {str(place)!r} lack {_some(report['missing_keys'])}; put a whole copy of them there, or "
            "save the model again by save_pretrained."
        )
    if report["unexpected_keys"]:
        _log.warning(
            "The weights in %s have %s, of which config.json says nothing.", place, _some(report["unexpected_keys"])
        )
    return network


def _read_spread(name: str, kind: Any, place: str, dtype: torch.dtype, memory: Memory) -> Any:
    """What fits nowhere else is read from a folder that lives as long as the network.

    Raises `ModelError` where the first of the devices has no room for the largest layer, which it must hold to compute.
    """
    folder = tempfile.mkdtemp(prefix="ketchup-weights-")
    logging.getLogger("accelerate.big_modeling").setLevel(logging.ERROR)  # it speaks of what is said below
    try:
        network = read_network(kind, place, dtype, device_map="auto", max_memory=dict(memory), offload_folder=folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(network, shutil.rmtree, folder, ignore_errors=True)
    places = set(network.hf_device_map.values())
    if not places - {"disk"} or (places <= {"cpu", "disk"} and len(memory) > 1):
        raise ModelError(
            f"The largest layer of {name!r} finds no room in {next(iter(memory.values())) / GIGABYTE:.2g} GB, what it "
            "may take of a device; give it more (--teacher-memory), or use a narrower type (--teacher-dtype)."
        )
    others = places - {next(iter(memory))}
    waiting = [word for place, word in (("cpu", "memory"), ("disk", "a folder")) if place in others]
    if waiting:
        where = " and ".join(waiting)
        _log.warning("%s is larger than the room it has: what waits in %s is fetched in each pass.", name, where)
    return network


def _some(names: Collection[str]) -> str:
    first, *others = sorted(names)
    return f"{first} and {len(others)} others" if others else first


def parameters_of(name: str) -> int:
    """How many numbers a model's weights are, by its configuration alone."""
    config = AutoConfig.from_pretrained(str(resolve(name)), **NO_CODE)
    return _parameters(AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM, config)


def _parameters(kind: Any, config: Any) -> int:
    with torch.device("meta"):  # shapes without memory
        return sum(weight.numel() for weight in kind.from_config(config, **NO_CODE).parameters())


def _check_room(name: str, kind: Any, config: Any, dtype: torch.dtype, device: torch.device) -> None:
    remedy = "use a smaller model, a narrower type (--teacher-dtype, --student-dtype) or a device with more memory"
    check_room(f"The model {name!r}", _parameters(kind, config), dtype.itemsize, device, remedy)


def _eos_ids(name: str, config: Any, generation: Any, tokenizer: Any, vocabulary: int) -> tuple[int, ...]:
    """The tokenizer's eos and all others that the model's files list: chat models also end with the end of a turn."""
    eos = tokenizer.eos_token_id
    if eos is None:
        raise ModelError(f"The tokenizer of {name!r} has no eos token; set eos_token in its tokenizer_config.json.")
    if eos >= vocabulary:
        raise ModelError(f"The eos token {eos} of {name!r} has no row in its head; resize its embeddings.")
    stated = _stated(name, config) or _stated(name, config.get_text_config(decoder=True))
    listed = _stated(name, generation)
    # Llama 3's config.json names one end and its generation_config.json both; two files that disagree are a mistake.
    if stated and eos not in stated and not {eos, *stated} <= set(listed):
        raise ModelError(
            f"{name!r} ends with token {stated} by its config but with {eos} by its tokenizer; make eos_token_id of "
            "config.json and eos_token of the tokenizer agree."
        )
    others = {*stated, *listed} - {eos}
    return (eos, *sorted(index for index in others if index < vocabulary))


def _stated(name: str, config: Any) -> list[int]:
    """The ids that a configuration has as `eos_token_id`: one, several or none."""
    stated = getattr(config, "eos_token_id", None)
    ids = stated if isinstance(stated, list | tuple) else [] if stated is None else [stated]
    if not all(isinstance(index, int) and index >= 0 for index in ids):
        raise ModelError(f"{name!r} has {stated!r} as eos_token_id; write an id or a list of ids into its config.json.")
    return list(ids)


def _max_tokens(config: Any) -> int | None:
    text = config.get_text_config(decoder=True)
    stated: int | None = getattr(text, "max_position_embeddings", None) or getattr(text, "max_seq_len", None)
    return stated


def _start_id(name: str, config: object) -> int | None:
    if not getattr(config, "is_encoder_decoder", False):
        return None
    start = getattr(config, "decoder_start_token_id", None)
    if type(start) is not int:
        raise ModelError(
            f"{name!r} has {start!r} as decoder_start_token_id; set an id in config.json (T5's is the pad)."
        )
    return start


def check_same_vocabulary(teacher: LanguageModel, student: LanguageModel) -> None:
    """Raises `ModelError` unless every token has the same id in both, and the same tokens end an output.

    Heads may differ by padding rows.

    Bellman rewards (Eq. 2) read the teacher's logit of the student's token by its id, so one shifted id would make
    every number wrong without any sign of it. So would a token that ends an output for one of the two only.
    """
    teachers, students = teacher.tokenizer.get_vocab(), student.tokenizer.get_vocab()
    if teachers != students:
        different = sorted(
            token for token in teachers.keys() | students.keys() if teachers.get(token) != students.get(token)
        )
        token = different[0]
        raise ModelError(
            f"Teacher {teacher.name!r} and student {student.name!r} differ in {len(different)} tokens, first {token!r} "
            f"(id {teachers.get(token)} and {students.get(token)}); use two models with the same tokenizer."
        )
    if set(teacher.eos_ids) != set(student.eos_ids):
        raise ModelError(
            f"Teacher {teacher.name!r} ends with token {_listed(teacher.eos_ids)} and student {student.name!r} with "
            f"{_listed(student.eos_ids)}; give both the same eos_token, and eos_token_id in config.json and "
            "generation_config.json."
        )
    if teacher.vocabulary != student.vocabulary:
        raise ModelError(
            f"The heads of {teacher.name!r} and {student.name!r} cover {teacher.vocabulary} and {student.vocabulary} "
            "of the shared tokens; resize the smaller one's embeddings."
        )


def _listed(ids: tuple[int, ...]) -> str:
    return " or ".join(map(str, ids))
