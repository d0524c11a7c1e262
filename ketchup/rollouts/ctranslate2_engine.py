"""The fast engine: CTranslate2, which runs the prompt once for all samples of an input and drops finished rows.

Weights are handed over in float32, so that it draws from the very distribution whose log-probabilities torch computes;
a short probe compares the two when a model is first handed over.
"""

import copy
import gc
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TypeAlias

import ctranslate2
import numpy as np
import torch
from ctranslate2.converters import transformers as converters

from ketchup.errors import ModelError
from ketchup.models.language_model import LanguageModel, context, hidden_states
from ketchup.rollouts.types import Decoding, Mends

Runner: TypeAlias = Any
"""A `ctranslate2.Translator` or `ctranslate2.Generator`, which come without types."""

BATCH_ROWS = 128
"""Rows decoded at once; more bring no speed on a CPU."""
PROBE_TOLERANCE = 1e-3
"""Largest difference in nats between CTranslate2's and torch's log-probabilities of the probe."""


def supports(model: LanguageModel) -> bool:
    """True when CTranslate2 has a converter for the architecture and the weights are float32 on the CPU."""
    known = type(model.network.config).__name__ in converters._MODEL_LOADERS
    return known and model.network.dtype == torch.float32 and model.device.type == "cpu"


class CTranslate2Engine:
    """Samples with CTranslate2 on the CPU."""

    name = "ctranslate2"
    mends: Mends = "few"

    def __init__(self, model: LanguageModel) -> None:
        self._strings = _token_strings(model)
        self._ids = {token: index for index, token in enumerate(self._strings)}
        self.update(model)
        self._probe()

    def update(self, model: LanguageModel) -> None:
        """Converts the model's current weights, in memory."""
        self.model = model
        self._files = _files(model, self._strings)

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]] | None,
        samples: int,
        decoding: Decoding,
        seed: int,
    ) -> list[list[int]]:
        """See `Engine.sample`. Prompts go in by falling length, so that each batch is nearly free of padding."""
        given = prefixes or [[] for _ in prompts]
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]) - len(given[index]))
        runner = self._runner(seed)
        size = max(1, BATCH_ROWS // samples)
        results: list[list[list[int]]] = [[] for _ in prompts]
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            rows = self._batch(runner, [prompts[i] for i in chosen], [given[i] for i in chosen], samples, decoding)
            for index, written in zip(chosen, rows, strict=True):
                results[index] = [list(row) for row in written for _ in range(samples // len(written))]
        return [row for rows in results for row in rows]

    def _runner(self, seed: int) -> Runner:
        """A fresh runner: only a new worker thread takes the seed, and reading the weights costs less than a draw."""
        ctranslate2.set_random_seed(seed)
        kind = ctranslate2.Translator if self.model.encoder_decoder else ctranslate2.Generator
        files = {name: io.BytesIO(content) for name, content in self._files.items()}
        threads = torch.get_num_threads()
        return kind(self.model.name, device="cpu", compute_type="float32", intra_threads=threads, files=files)

    def _batch(
        self,
        runner: Runner,
        prompts: list[Sequence[int]],
        prefixes: list[Sequence[int]],
        samples: int,
        decoding: Decoding,
    ) -> list[list[list[int]]]:
        top_k = decoding.top_k if decoding.top_k < self.model.vocabulary else 0
        settings = {
            "beam_size": 1,
            "num_hypotheses": 1 if decoding.greedy else samples,
            "sampling_topk": 1 if decoding.greedy else top_k,
            "sampling_temperature": 1.0 if decoding.greedy else decoding.temperature,
            "end_token": self._words(self.model.eos_ids),
            "return_end_token": True,
            "suppress_sequences": self._suppressed,
        }
        if self.model.encoder_decoder:
            return self._translate(runner, prompts, prefixes, decoding.max_new_tokens, settings)
        return self._generate(runner, prompts, prefixes, decoding.max_new_tokens, settings)

    def _translate(
        self,
        runner: Runner,
        prompts: list[Sequence[int]],
        prefixes: list[Sequence[int]],
        limit: int,
        settings: dict[str, Any],
    ) -> list[list[list[int]]]:
        results = runner.translate_batch(
            [self._words(prompt) for prompt in prompts],
            target_prefix=[self._words(prefix) for prefix in prefixes] if any(prefixes) else None,
            max_input_length=0,
            max_decoding_length=limit,
            min_decoding_length=0,
            **settings,
        )
        return [
            [[self._ids[word] for word in words[len(prefix) :]] for words in result.hypotheses]
            for result, prefix in zip(results, prefixes, strict=True)
        ]

    def _generate(
        self,
        runner: Runner,
        prompts: list[Sequence[int]],
        prefixes: list[Sequence[int]],
        limit: int,
        settings: dict[str, Any],
    ) -> list[list[list[int]]]:
        results = runner.generate_batch(
            [self._words([*prompt, *prefix]) for prompt, prefix in zip(prompts, prefixes, strict=True)],
            include_prompt_in_result=False,
            max_length=limit - min(len(prefix) for prefix in prefixes),
            min_length=0,
            **settings,
        )
        return [
            [row[: limit - len(prefix)] for row in result.sequences_ids]
            for result, prefix in zip(results, prefixes, strict=True)
        ]

    @property
    def _suppressed(self) -> list[list[str]] | None:
        """Rows of the head beyond the vocabulary, which must never be drawn."""
        return [[word] for word in self._strings[self.model.vocabulary :]] or None

    def _words(self, ids: Sequence[int]) -> list[str]:
        return [self._strings[index] for index in ids]

    def _probe(self) -> None:
        """Compares log-probabilities of a few tokens with torch's; a converter that misreads a config is found here."""
        model, runner = self.model, self._runner(0)
        special = (*model.eos_ids, model.pad_id, model.start_id)
        tokens = cycle(index for index in range(min(model.vocabulary, 64)) if index not in special)
        prompt, answer = list(islice(tokens, 8)), list(islice(tokens, 16))
        if model.encoder_decoder:
            scored = runner.score_batch([self._words(prompt)], [self._words(answer)])[0].log_probs
            theirs = scored[: len(answer)]
        else:
            theirs = runner.score_batch([self._words(prompt + answer)])[0].log_probs[-len(answer) :]
        actions = torch.tensor([answer])
        with torch.inference_mode():
            hidden = hidden_states(model, context(model, [prompt]), torch.tensor([0]), actions)
            # CTranslate2 normalises over all rows of the head, padding included.
            whole = model.network.get_output_embeddings()(hidden).log_softmax(-1)
            ours = whole.gather(-1, actions[..., None])[0, :, 0].numpy()
        gap = float(np.abs(np.asarray(theirs) - ours).max())
        if not gap < PROBE_TOLERANCE:
            raise ModelError(
                f"CTranslate2 computes other probabilities than torch for {model.name!r} (off by {gap:.3g} nats); "
                "use --engine transformers."
            )


def _token_strings(model: LanguageModel) -> list[str]:
    rows = model.network.get_output_embeddings().weight.shape[0]
    words = {index: token for token, index in model.tokenizer.get_vocab().items()}
    return [words.get(index, f"<row {index}>") for index in range(rows)]


def _files(model: LanguageModel, strings: list[str]) -> dict[str, bytes]:
    """The converted model as CTranslate2's own files, in memory."""
    loader = copy.copy(converters._MODEL_LOADERS[type(model.network.config).__name__])
    loader.get_vocabulary = lambda *_: strings  # its own names for padding rows differ by architecture
    with torch.no_grad(), _quick_collections(), tempfile.TemporaryDirectory(dir=_memory_folder()) as folder:
        spec = loader(_shadow(model), model.tokenizer)
        if spec.config.bos_token is None:  # Qwen has none, CTranslate2 wants a string and never uses it here
            spec.config.bos_token = model.tokenizer.eos_token
        spec.validate()
        spec.optimize()
        spec.save(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@contextmanager
def _quick_collections() -> Iterator[None]:
    """Converters call the garbage collector for every layer, which need not look at what was there before."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _shadow(model: LanguageModel) -> Any:
    """A copy that shares the weights: converters delete layers as they go and read settings under older names."""
    network = model.network
    weights: dict[int, Any] = {id(tensor): tensor for tensor in [*network.parameters(), *network.buffers()]}
    shadow = copy.deepcopy(network, weights)
    rope = getattr(network.config, "rope_parameters", None) or {}
    if "rope_theta" in rope:
        shadow.config.rope_theta = rope["rope_theta"]
    return shadow


def _memory_folder() -> str | None:
    """A folder that lives in memory, where the system has one: weights need not touch the disk."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() else None
