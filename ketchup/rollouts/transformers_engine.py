"""The reference engine: transformers' own `generate`, for any model and device."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor

from ketchup.devices import seeded
from ketchup.errors import ModelError
from ketchup.models.language_model import LanguageModel, pad, until_eos
from ketchup.models.probe import TOLERANCE, Text, plain_logits, reason_of, relative_error, trial_texts
from ketchup.models.scoring import action_log_probs
from ketchup.rollouts.generation_config import without_generation_config
from ketchup.rollouts.types import Decoding, Drawn, Mends

BATCH_TOKENS = 32_768
"""Most padded prompt and answer tokens of one `generate` call."""


class TransformersEngine:
    """Samples with `generate`; slower than CTranslate2 on a CPU, exact everywhere.

    Some networks take padding before a prompt for text, others go on otherwise from a cache than without one. Both are
    tried when a model is first handed over, and done without where need be; raises `ModelError` where that is no help.
    """

    name = "transformers"
    mends: Mends = "never"

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self._padded, self._cached = self._manner()

    def tells(self, decoding: Decoding) -> bool:
        """Of all but greedy rows."""
        return not decoding.greedy

    def update(self, model: LanguageModel) -> None:
        """Takes over the model; `generate` reads its live weights."""
        self.model = model

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]] | None,
        samples: int,
        decoding: Decoding,
        seed: int,
    ) -> Drawn:
        """See `Engine.sample`. Rows with a prefix of one length share a call, so that no decoder row is left-padded."""
        given = prefixes or [[] for _ in prompts]
        results: list[list[tuple[list[int], list[float]]]] = [[] for _ in prompts]
        with seeded(seed, self.model.device):
            alike = [
                (len(prefix), 0 if self._padded else len(prompt)) for prompt, prefix in zip(prompts, given, strict=True)
            ]
            for kind in sorted(set(alike)):
                group = [index for index in range(len(prompts)) if alike[index] == kind]
                size = max(
                    1, BATCH_TOKENS // (samples * (max(len(prompts[i]) for i in group) + decoding.max_new_tokens))
                )
                for start in range(0, len(group), size):
                    batch = group[start : start + size]
                    rows = self._generate([prompts[i] for i in batch], [given[i] for i in batch], samples, decoding)
                    for place, index in enumerate(batch):
                        results[index] = rows[place * samples : (place + 1) * samples]
        drawn = [row for rows in results for row in rows]
        return Drawn([tokens for tokens, _ in drawn], None if decoding.greedy else [told for _, told in drawn])

    def _manner(self) -> tuple[bool, bool]:
        """Whether rows may be padded, and go on from a cache."""
        texts = trial_texts(self.model)
        found = ""
        for padded, cached in ((True, True), (False, True), (False, False)):
            self._cached = cached
            batches = [texts] if padded else [[text] for text in texts]
            try:
                gap = max(self._gap(batch) for batch in batches)
            except Exception as error:  # of any kind, as networks fail in their own ways
                found = reason_of(error)
                continue
            if gap < TOLERANCE.get(self.model.network.dtype, 0.0):
                return padded, cached
            found = f"off by {gap:.2g} of their spread"
        raise ModelError(
            f"transformers samples {self.model.name!r} from other probabilities than its forward pass gives ({found}); "
            "use another model."
        )

    def _gap(self, texts: Sequence[Text]) -> float:
        """The worst relative error of the logits that two rows of each prompt are drawn from."""
        prompts = [text.prompt for text in texts]
        length = len(texts[0].answer)
        config = self._config(Decoding(length), 2, length)
        config.eos_token_id = None  # all positions count
        config.output_logits = True
        with seeded(0, self.model.device):
            output, skip = self._output(prompts, [[]] * len(prompts), config)
        drawn_from = torch.stack(output.logits, dim=1)[..., : self.model.vocabulary].float()
        rows = output.sequences[:, skip:].tolist()
        return max(
            relative_error(found, plain_logits(self.model, Text(prompts[index // 2], row)))
            for index, (row, found) in enumerate(zip(rows, drawn_from, strict=True))
        )

    def _generate(
        self, prompts: list[Sequence[int]], prefixes: list[Sequence[int]], samples: int, decoding: Decoding
    ) -> list[tuple[list[int], list[float]]]:
        drawn = 1 if decoding.greedy else samples
        config = self._config(decoding, drawn, decoding.max_new_tokens - len(prefixes[0]))
        listener = _Listener(decoding)
        output, skip = self._output(prompts, prefixes, config, listener)
        rows = [until_eos(self.model, row) for row in output.sequences[:, skip:].tolist()]
        log_probs = listener.log_probs(output.sequences)
        return [
            (list(row), found[: len(row)])
            for row, found in zip(rows, log_probs, strict=True)
            for _ in range(samples // drawn)
        ]

    @torch.inference_mode()
    def _output(
        self,
        prompts: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]],
        config: GenerationConfig,
        listener: "_Listener | None" = None,
    ) -> tuple[Any, int]:
        """What `generate` returns, and the number of tokens that its rows begin with."""
        model = self.model
        if model.encoder_decoder:
            ids, mask = pad(prompts, model.pad_id)
            written = torch.tensor([[model.start_id, *prefix] for prefix in prefixes])
            extra = {"decoder_input_ids": written.to(model.device)}
            skip = written.shape[1]
        else:
            ids, mask = pad([[*a, *b] for a, b in zip(prompts, prefixes, strict=True)], model.pad_id, left=True)
            extra = {}
            skip = ids.shape[1]
        with without_generation_config(model):
            output = model.network.generate(  # type: ignore[operator]  # a mixin that the stubs do not show
                input_ids=ids.to(model.device),
                attention_mask=mask.long().to(model.device),
                generation_config=config,
                logits_processor=[listener] if listener else None,
                **extra,
            )
        return output, skip

    def _config(self, decoding: Decoding, samples: int, fresh: int) -> GenerationConfig:
        """What is left out here, and has no default that shapes the distribution, does not."""
        model = self.model
        rows = model.network.get_output_embeddings().weight.shape[0]
        drawn = {} if decoding.greedy else {"temperature": decoding.temperature, "top_k": decoding.top_k, "top_p": 1.0}
        return GenerationConfig(
            max_new_tokens=fresh,
            do_sample=not decoding.greedy,
            num_beams=1,
            num_return_sequences=samples,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            suppress_tokens=list(range(model.vocabulary, rows)) or None,
            eos_token_id=list(model.eos_ids),
            pad_token_id=model.pad_id,
            decoder_start_token_id=model.start_id,
            use_cache=self._cached,
            return_dict_in_generate=True,
            **drawn,
        )


class _Listener(LogitsProcessor):
    """Notes which log-probability each token is drawn with, and changes nothing.

    Of each step it sees the logits before temperature and top k, and in the next the tokens that were drawn.
    """

    def __init__(self, decoding: Decoding) -> None:
        self._decoding = decoding
        self._logits: Tensor | None = None
        self._columns: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The same scores."""
        if not self._decoding.greedy:
            self._note(input_ids)
            self._logits = scores
        return scores

    def log_probs(self, sequences: Tensor) -> list[list[float]]:
        """A row for each row of the tokens that were returned, of the drawn ones; empty of greedy ones."""
        self._note(sequences)
        if not self._columns:
            return [[] for _ in sequences]
        found: list[list[float]] = torch.stack(self._columns, dim=1).tolist()
        return found

    def _note(self, tokens: Tensor) -> None:
        if self._logits is None:
            return
        temperature, top_k = self._decoding.temperature, self._decoding.top_k
        self._columns.append(action_log_probs(temperature, top_k, self._logits, tokens[:, -1]))
