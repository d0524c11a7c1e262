"""The fast engine: CTranslate2, which runs the prompt once for all samples of an input and drops finished rows.

Weights are handed over in float32, so that it draws from the very distribution whose log-probabilities torch computes;
a short probe compares the two when a model is first handed over. It may be told to compute in another type: then it
draws from a slightly different one, and says with which probability it drew each token.
"""

import copy
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import ctranslate2
import numpy as np
import torch
from ctranslate2.converters import transformers as converters

from ketchup.devices import name_of
from ketchup.errors import ModelError
from ketchup.models.language_model import LanguageModel
from ketchup.models.probe import Text, plain_logits, reason_of, relative_error, trial_texts
from ketchup.rollouts.conversion import files_of, token_strings
from ketchup.rollouts.types import Decoding, Drawn, Mends

Runner: TypeAlias = Any
"""A `ctranslate2.Translator` or `ctranslate2.Generator`, which come without types."""

BATCH_ROWS = {"cpu": 128, "cuda": 1024}
"""Rows decoded at once; more bring no speed on a CPU. For a GPU it is a guess that nobody has measured."""
PROBE_TOLERANCE = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.2, "int8": 0.3}
"""Largest relative error of CTranslate2's logits in the probe, by the type it computes in.

Rounding alone makes some 1e-6 in float32, and some 1e-2 in int8; a layer that is misread makes it about 1.
"""
PROBE_TOKENS = 8
"""Actions of each row of the probe."""


class CTranslate2Error(ModelError):
    """CTranslate2 would not draw from the model's distribution; `reason` is the sentence without its fix."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; use --engine transformers.")
        self.reason = reason


def reason_against(model: LanguageModel, computes: str = "float32") -> str | None:
    """Why CTranslate2 is not even tried on a model, as a sentence without its end; `None` if it is."""
    kind, dtype, device = type(model.network.config).__name__, model.network.dtype, model.device
    named = f"CTranslate2 does not support {model.name!r}"
    reasons = {
        f"{model.name!r} is spread over several places, which CTranslate2 cannot be": model.spread,
        f"{named} (it has no converter for {kind})": kind not in converters._MODEL_LOADERS,
        f"{named} (its weights are {name_of(dtype)})": dtype != torch.float32,
        f"{named} on {device} (its build has no CUDA, or no driver)": device.type != "cpu" and not _runs_on(device),
    }
    if reason := next((reason for reason, holds in reasons.items() if holds), None):
        return reason
    if computes not in (known := _types_of(device)):
        return f"CTranslate2 does not compute in {computes} on {device} (it does in {', '.join(sorted(known))})"
    return None


def _types_of(device: torch.device) -> set[str]:
    """The types that the installed build computes in there; float32 is one of every build."""
    try:
        return {"float32", *ctranslate2.get_supported_compute_types(device.type, device.index or 0)}
    except RuntimeError:  # there is no such device after all, which the probe will say
        return {"float32"}


def _runs_on(device: torch.device) -> bool:
    """Whether the installed build sees the GPU; libraries that it lacks show in the probe."""
    try:
        seen = int(ctranslate2.get_cuda_device_count())
    except RuntimeError:
        return False
    return device.type == "cuda" and (device.index or 0) < seen


class CTranslate2Engine:
    """Samples with CTranslate2 on the model's device.

    Raises `CTranslate2Error` for a model that it cannot convert or misreads, and where libraries for a GPU are missing.
    """

    def __init__(self, model: LanguageModel, computes: str = "float32") -> None:
        """`computes` is the type that it computes in: a key of `PROBE_TOLERANCE` that the device has."""
        self.name = "ctranslate2" if computes == "float32" else f"ctranslate2:{computes}"
        self._computes = computes
        # What is written token by token is drawn by torch: in float32 that is the same, else it is not what was asked.
        self.mends: Mends = "few" if computes == "float32" else "always"
        self._strings = token_strings(model)
        self._ids = {token: index for index, token in enumerate(self._strings)}
        try:
            self.update(model)
            gap = self._gap()
        except Exception as error:  # of any kind: converters read settings that an architecture no longer has
            raise CTranslate2Error(f"CTranslate2 cannot convert {model.name!r} ({reason_of(error)})") from error
        if not gap < PROBE_TOLERANCE[computes]:
            raise CTranslate2Error(
                f"CTranslate2 computes other probabilities than torch for {model.name!r} (off by {gap:.2g} of their "
                "spread)"
            )

    def tells(self, decoding: Decoding) -> bool:
        """At temperature 1 and over all tokens: it tells of the model as it is, whatever it draws from."""
        return decoding.temperature == 1 and (not decoding.top_k or decoding.top_k >= self.model.vocabulary)

    def update(self, model: LanguageModel) -> None:
        """Converts the model's current weights, in memory."""
        self.model = model
        self._files = files_of(model, self._strings)

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]] | None,
        samples: int,
        decoding: Decoding,
        seed: int,
    ) -> Drawn:
        """See `Engine.sample`. Prompts go in by falling length, so that each batch is nearly free of padding."""
        given = prefixes or [[] for _ in prompts]
        runner = self._runner(seed)
        results: list[list[_Row]] = [[] for _ in prompts]
        for batch in self._batches([len(a) + len(b) for a, b in zip(prompts, given, strict=True)], samples):
            rows = self._batch(runner, [prompts[i] for i in batch], [given[i] for i in batch], samples, decoding)
            for index, written in zip(batch, rows, strict=True):
                results[index] = [copy.deepcopy(row) for row in written for _ in range(samples // len(written))]
        # it returns the likeliest row of an input first; samples come in no order
        shuffled = np.random.default_rng(seed)
        drawn = [rows[place] for rows in results for place in shuffled.permutation(len(rows))]
        told = all(len(log_probs) == len(tokens) for tokens, log_probs in drawn)
        return Drawn([tokens for tokens, _ in drawn], [log_probs for _, log_probs in drawn] if told else None)

    def _batches(self, lengths: Sequence[int], samples: int) -> Iterator[list[int]]:
        """Indices of inputs, longest first. Beside a text of one token, CTranslate2 returns what others had read."""
        order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
        size = max(1, BATCH_ROWS[self.model.device.type] // samples)
        for single in (False, True):
            group = [index for index in order if (lengths[index] == 1) == single]
            yield from (group[start : start + size] for start in range(0, len(group), size))

    def _runner(self, seed: int) -> Runner:
        """A fresh runner: only a new worker thread takes the seed, and reading the weights costs less than a draw."""
        ctranslate2.set_random_seed(seed)
        kind = ctranslate2.Translator if self.model.encoder_decoder else ctranslate2.Generator
        files = {name: io.BytesIO(content) for name, content in self._files.items()}
        threads = torch.get_num_threads()
        device = self.model.device
        return kind(
            self.model.name,
            device=device.type,
            device_index=device.index or 0,
            compute_type=self._computes,
            intra_threads=threads,
            files=files,
        )

    def _batch(
        self,
        runner: Runner,
        prompts: list[Sequence[int]],
        prefixes: list[Sequence[int]],
        samples: int,
        decoding: Decoding,
    ) -> list[list["_Row"]]:
        settings, heard = self._settings(samples, decoding), _Heard()
        if self.tells(decoding):
            settings |= {"callback": heard, "return_scores": True}  # without the latter single rows have none
        write = self._translate if self.model.encoder_decoder else self._generate
        written = write(runner, prompts, prefixes, decoding.max_new_tokens, settings)
        limits = [decoding.max_new_tokens - len(prefix) for prefix in prefixes]
        told = prefixes if self.model.encoder_decoder else [[] for _ in prefixes]  # of a prompt it says nothing
        return [
            [(row[:limit], heard.log_probs(place, begun, row)[:limit]) for row in rows]
            for place, (rows, begun, limit) in enumerate(zip(written, told, limits, strict=True))
        ]

    def _settings(self, samples: int, decoding: Decoding) -> dict[str, Any]:
        top_k = decoding.top_k if decoding.top_k < self.model.vocabulary else 0
        return {
            "beam_size": 1,
            "num_hypotheses": 1 if decoding.greedy else samples,
            "sampling_topk": 1 if decoding.greedy else top_k,
            "sampling_temperature": 1.0 if decoding.greedy else decoding.temperature,
            "end_token": self._words(self.model.eos_ids),
            "return_end_token": True,
            "suppress_sequences": self._suppressed,
        }

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
        return [result.sequences_ids for result in results]

    @property
    def _suppressed(self) -> list[list[str]] | None:
        """Rows of the head beyond the vocabulary, which must never be drawn."""
        return [[word] for word in self._strings[self.model.vocabulary :]] or None

    def _words(self, ids: Sequence[int]) -> list[str]:
        return [self._strings[index] for index in ids]

    def _gap(self) -> float:
        """The worst relative error of the logits that rows are drawn from; a converter that misreads shows here.

        Rows are drawn as they always are, from long prompts and from short ones.
        """
        distance = getattr(self.model.network.config, "relative_attention_max_distance", None)  # T5's
        long, middle, single = (text.prompt for text in trial_texts(self.model, distance or 24))
        runner = self._runner(0)
        gaps = []
        for prompts in ([long, middle], [middle[:5], middle[:2]], [single]):
            for text, drawn_from in self._drawn(runner, prompts):
                plain = plain_logits(self.model, text).cpu()
                kept = drawn_from > np.finfo(np.float32).min  # CTranslate2 excludes tokens here and there
                gaps.append(relative_error(torch.from_numpy(np.where(kept, drawn_from, plain)), plain))
        return max(gaps)

    def _drawn(self, runner: Runner, prompts: Sequence[Sequence[int]]) -> Iterator[tuple[Text, Any]]:
        """Two rows of each prompt, with the logits `[T, V]` that their tokens were drawn from."""
        settings = {**self._settings(2, Decoding(PROBE_TOKENS)), "return_logits_vocab": True}
        words = [self._words(prompt) for prompt in prompts]
        if self.model.encoder_decoder:
            results = runner.translate_batch(
                words, max_input_length=0, max_decoding_length=PROBE_TOKENS, min_decoding_length=0, **settings
            )
        else:
            results = runner.generate_batch(words, include_prompt_in_result=False, max_length=PROBE_TOKENS, **settings)
        for prompt, result in zip(prompts, results, strict=True):
            written = result.hypotheses if self.model.encoder_decoder else result.sequences
            for row, drawn_from in zip(written, result.logits, strict=True):
                found = np.stack([np.asarray(step) for step in drawn_from[-len(row) :]])[:, : self.model.vocabulary]
                yield Text(list(prompt), [self._ids[word] for word in row]), found


_Row: TypeAlias = tuple[list[int], list[float]]
"""Tokens, and their log-probabilities if there are any."""


class _Heard:
    """What CTranslate2 tells of each token as it is drawn.

    Rows come back in another order than they are told of, so that a row is found by its tokens: two that are alike have
    the same log-probabilities.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[int, int], _Row] = defaultdict(lambda: ([], []))
        self._by_tokens: dict[tuple[int, ...], list[float]] = {}

    def __call__(self, step: Any) -> bool:
        """One token of a row of an input of the batch; drawing goes on."""
        tokens, log_probs = self._told[step.batch_id, step.hypothesis_id]
        tokens.append(step.token_id)
        log_probs.append(step.log_prob)
        return False

    def log_probs(self, place: int, begun: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Those of a row, after what it began with, of the input at that place of the batch; empty if none was told."""
        if not self._by_tokens:
            self._by_tokens = {(at, *row): found for (at, _), (row, found) in self._told.items()}
        return self._by_tokens.get((place, *begun, *tokens), [])[len(begun) :]
