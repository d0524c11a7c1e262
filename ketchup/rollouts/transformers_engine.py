"""The reference engine: transformers' own `generate`, for any model and device."""

from collections.abc import Sequence

import torch
from transformers import GenerationConfig

from ketchup.models.language_model import LanguageModel, pad, until_eos
from ketchup.rollouts.generation_config import without_generation_config
from ketchup.rollouts.types import Decoding, Mends

BATCH_TOKENS = 32_768
"""Most padded prompt and answer tokens of one `generate` call."""


class TransformersEngine:
    """Samples with `generate`; slower than CTranslate2 on a CPU, exact everywhere."""

    name = "transformers"
    mends: Mends = "never"

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

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
    ) -> list[list[int]]:
        """See `Engine.sample`. Rows with a prefix of one length share a call, so that no decoder row is left-padded."""
        given = prefixes or [[] for _ in prompts]
        results: list[list[list[int]]] = [[] for _ in prompts]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for length in sorted({len(prefix) for prefix in given}):
                group = [index for index, prefix in enumerate(given) if len(prefix) == length]
                size = max(
                    1, BATCH_TOKENS // (samples * (max(len(prompts[i]) for i in group) + decoding.max_new_tokens))
                )
                for start in range(0, len(group), size):
                    chosen = group[start : start + size]
                    rows = self._generate([prompts[i] for i in chosen], [given[i] for i in chosen], samples, decoding)
                    for place, index in enumerate(chosen):
                        results[index] = rows[place * samples : (place + 1) * samples]
        return [row for rows in results for row in rows]

    @torch.inference_mode()
    def _generate(
        self, prompts: list[Sequence[int]], prefixes: list[Sequence[int]], samples: int, decoding: Decoding
    ) -> list[list[int]]:
        model = self.model
        device = model.device
        fresh = decoding.max_new_tokens - len(prefixes[0])
        if model.encoder_decoder:
            ids, mask = pad(prompts, model.pad_id)
            written = torch.tensor([[model.start_id, *prefix] for prefix in prefixes])
            extra = {"decoder_input_ids": written.to(device)}
            skip = written.shape[1]
        else:
            ids, mask = pad([[*a, *b] for a, b in zip(prompts, prefixes, strict=True)], model.pad_id, left=True)
            extra = {}
            skip = ids.shape[1]
        drawn = 1 if decoding.greedy else samples
        with without_generation_config(model):
            output = model.network.generate(  # type: ignore[operator]  # a mixin that the stubs do not show
                input_ids=ids.to(device),
                attention_mask=mask.long().to(device),
                generation_config=self._config(decoding, drawn, fresh),
                **extra,
            )
        rows = [until_eos(model, row) for row in output[:, skip:].tolist()]
        return [list(row) for row in rows for _ in range(samples // drawn)]

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
            **drawn,
        )
