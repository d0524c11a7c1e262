"""What sampling takes and gives.

Axes: B inputs, N samples an input, R = B x N rows (an input's samples adjacent), T actions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from ketchup import checks
from ketchup.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from ketchup.models.language_model import LanguageModel

Mends = Literal["never", "few", "always"]
"""Whether an engine draws rows whole and mends them where a calculator disagrees, or has them written token by token.

`never` where it draws token by token anyway (transformers); `always` where a second draw is cheap, as the prefix is
cached (vLLM); `few` where drawing is about twice as fast but mending takes rounds of ever fewer rows (CTranslate2): it
mends if a pilot says that the calculator rarely disagrees.
"""


@dataclass(frozen=True)
class Decoding:
    """How tokens are drawn: from softmax(logits / temperature) over the `top_k` likeliest (0: all); 0 is greedy."""

    max_new_tokens: int
    temperature: float = 1.0
    top_k: int = 0

    def __post_init__(self) -> None:
        checks.whole("--max-new-tokens", self.max_new_tokens, most=checks.LONGEST)
        checks.temperature("--temperature", self.temperature)
        checks.whole("--top-k", self.top_k, least=0, because=" (0: the whole vocabulary)")

    @property
    def greedy(self) -> bool:
        """True when the likeliest token is always taken, so that samples are copies."""
        return self.temperature == 0 or self.top_k == 1

    def check_fits(self, model: LanguageModel) -> None:
        """Raises `UsageError` for a top k that the model has not as many tokens for."""
        if self.top_k > model.vocabulary:
            raise UsageError(
                f"--top-k must be at most the {model.vocabulary:,} tokens of {model.name!r}, or 0 for all of them, not "
                f"{self.top_k}."
            )


class Drawn(NamedTuple):
    """What an engine drew: rows of tokens, and its own log-probability of each token, in nats.

    That is the one the token was drawn with, at the temperature and within the top k, as the engine computed it; `None`
    where it does not tell.
    """

    rows: list[list[int]]
    log_probs: list[list[float]] | None = None

    @property
    def with_log_probs(self) -> list[tuple[list[int], list[float]]]:
        """Each row beside its log-probabilities, NaN where the engine does not tell."""
        return list(zip(self.rows, self.log_probs or [[math.nan] * len(row) for row in self.rows], strict=True))


@dataclass(frozen=True)
class Rollouts:
    """What the student wrote for B inputs.

    `tokens[R, T]` is right-padded with the pad id; `action_mask[R, T]` is True for tokens that the student chose, eos
    included; it is False for padding and for tokens that the environment inserted (`token_mask` tells the two apart).
    `ended[R]` is True where eos was chosen within the limit; a row that did not end was truncated.
    `sampler_log_prob[R, T]` is the engine's own log-probability of each action, 0 elsewhere: see `Drawn`.
    """

    ids: tuple[str, ...]
    tokens: Tensor
    token_mask: Tensor
    action_mask: Tensor
    ended: Tensor
    sampler_log_prob: Tensor | None = None

    @property
    def samples(self) -> int:
        """N, the rollouts of each input."""
        return len(self.tokens) // len(self.ids)


class Engine(Protocol):
    """Draws tokens from a model. Engines differ in speed, in distribution by no more than the precision they have."""

    name: str
    mends: Mends

    @property
    def model(self) -> LanguageModel:
        """What it draws from: one ordinary model, with the weights of the last `update`."""
        ...

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]] | None,
        samples: int,
        decoding: Decoding,
        seed: int,
    ) -> Drawn:
        """Continues each prompt `samples` times; rows of an input are adjacent, each without its prefix.

        Greedy decoding gives `samples` copies.

        `prefixes` are tokens already written for each prompt (`None`: none); they count towards `max_new_tokens`.
        A row ends with the first of `eos_ids` that the model chose, and is shorter than the limit only then.
        """
        ...

    def tells(self, decoding: Decoding) -> bool:
        """Whether log-probabilities come with all rows that are drawn so."""
        ...

    def update(self, model: LanguageModel) -> None:
        """Takes over the model's current weights; later samples come from them."""
        ...
