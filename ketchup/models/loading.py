"""Loading models and checking that teacher and student speak of the same tokens."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from ketchup.errors import ModelError
from ketchup.models.builtin import resolve
from ketchup.models.folder import check_contents, code_refused, fingerprint
from ketchup.models.language_model import LanguageModel
from ketchup.models.memory import check_room

NO_CODE = {"trust_remote_code": False}
"""Left open, transformers asks on the terminal, and runs what a folder brings along on "y"."""


def load(name: str, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> LanguageModel:
    """A model by built-in name, folder or hub id, in evaluation mode.

    Weights are read from safetensors only, and no code of the folder is run. Raises `ModelError` for an unknown name,
    missing files, a model without eos token, an encoder-decoder model without decoder start token, and a head that
    caps its logits after the matrix product (the chunked pass would leave the cap out).
    """
    place = str(resolve(name))
    transformers_logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(place, **NO_CODE)
        tokenizer = AutoTokenizer.from_pretrained(place, **NO_CODE)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        check_contents(name, place, config)
        _check_room(name, kind, config, dtype, torch.device(device))
        network = kind.from_pretrained(place, dtype=dtype, use_safetensors=True, **NO_CODE).eval()
        network.to(device)
    except (OSError, ValueError, KeyError) as error:
        if "trust_remote_code" in str(error):
            raise code_refused(name) from error
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"Cannot load the model {name!r} ({reason}); give a built-in name, a folder made by save_pretrained, or a "
            "hub id that is cached or reachable."
        ) from error
    if getattr(config, "final_logit_softcapping", None):
        raise ModelError(f"{name!r} caps its final logits, which is not supported; use a model without such a cap.")
    eos = _eos_id(name, config, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else eos
    return LanguageModel(
        name=name,
        network=network,
        tokenizer=tokenizer,
        vocabulary=min(max(tokenizer.get_vocab().values()) + 1, network.get_output_embeddings().weight.shape[0]),
        eos_id=eos,
        pad_id=pad,
        start_id=_start_id(name, config),
        fingerprint=fingerprint(place),
        max_tokens=None if config.is_encoder_decoder else getattr(config, "max_position_embeddings", None),
    )


def _check_room(name: str, kind: Any, config: Any, dtype: torch.dtype, device: torch.device) -> None:
    with torch.device("meta"):  # shapes without memory
        parameters = sum(weight.numel() for weight in kind.from_config(config, **NO_CODE).parameters())
    remedy = "use a smaller model, a narrower type (--teacher-dtype) or a device with more memory"
    check_room(f"The model {name!r}", parameters, dtype.itemsize, device, remedy)


def _eos_id(name: str, config: object, tokenizer: object) -> int:
    eos = getattr(tokenizer, "eos_token_id", None)
    if eos is None:
        raise ModelError(f"The tokenizer of {name!r} has no eos token; set eos_token in its tokenizer_config.json.")
    stated = getattr(config, "eos_token_id", None)
    known = [stated] if isinstance(stated, int) else stated
    if known is not None and eos not in known:
        raise ModelError(
            f"{name!r} ends with token {known} by its config but with {eos} by its tokenizer; make eos_token_id of "
            "config.json and eos_token of the tokenizer agree."
        )
    return eos


def _start_id(name: str, config: object) -> int | None:
    if not getattr(config, "is_encoder_decoder", False):
        return None
    start = getattr(config, "decoder_start_token_id", None)
    if start is None:
        raise ModelError(f"{name!r} has no decoder_start_token_id; set it in config.json (T5 uses the pad id).")
    return int(start)


def check_same_vocabulary(teacher: LanguageModel, student: LanguageModel) -> None:
    """Raises `ModelError` unless every token, and eos, has the same id in both; heads may differ by padding rows.

    Bellman rewards (Eq. 2) read the teacher's logit of the student's token by its id, so one shifted id would make
    every number wrong without any sign of it.
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
    if teacher.eos_id != student.eos_id:
        raise ModelError(
            f"Teacher {teacher.name!r} ends with token {teacher.eos_id} and student {student.name!r} with "
            f"{student.eos_id}; set the same eos_token in both tokenizers."
        )
    if teacher.vocabulary != student.vocabulary:
        raise ModelError(
            f"The heads of {teacher.name!r} and {student.name!r} cover {teacher.vocabulary} and {student.vocabulary} "
            "of the shared tokens; resize the smaller one's embeddings."
        )
