"""The judge behind a server: what a call asks for, which parameters the server takes, and the verdict in its reply."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import openai

from ketchup.remote.calls import Answer, Patience, Server
from ketchup.remote.endpoint import Endpoint
from ketchup.remote.failures import CallError, refused_parameter
from ketchup.remote.remedies import Asked
from ketchup_eval.judge.completions import Completion, read_completion
from ketchup_eval.judge.judge_settings import ReplySettings
from ketchup_eval.judge.replies import preference_for_a
from ketchup_eval.judge.verdicts import Verdict

TOKENS_OF_CHOICE = 20
"""More than any tokenizer needs for the last line."""
OTHER_NAMES = {"max_tokens": "max_completion_tokens", "max_completion_tokens": None, "temperature": None, "seed": None}
"""Parameters that a server may refuse, with what is sent instead: the same under another name, or nothing."""

_log = logging.getLogger(__name__)


@dataclass
class Judge:
    """A model behind a server. One per event loop: make it inside the one that uses it.

    `key` is the server's, by default that of the environment. `adapted` holds the parameters that the server refuses,
    with what is sent instead (see `OTHER_NAMES`); it grows until the first reply and then stays, so that all verdicts
    of a run come about alike.
    """

    base_url: str
    sampling: ReplySettings
    patience: Patience = Patience()  # noqa: RUF009  (it is frozen)
    key: str | None = None
    adapted: dict[str, str | None] = field(default_factory=dict)
    server: Server = field(init=False)
    answered: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.server = Server(self.endpoint, self.patience)

    @property
    def endpoint(self) -> Endpoint:
        """How the server is reached, and its address as it may be shown."""
        return Endpoint(self.base_url, self.key)

    @property
    def client(self) -> openai.AsyncOpenAI:
        """The client underneath, to be closed at the end."""
        return self.server.client

    @property
    def asked(self) -> Asked:
        """What it is, for sentences on what fails."""
        return Asked(self.endpoint, self.sampling.model, "--model")

    async def ask(self, prompt: str, key: str, seed: int, stop: asyncio.Event | None = None) -> Verdict:
        """The verdict on a prompt; raises `CallError`. Once `stop` is set, a call that would have to wait fails."""
        sampling = self.sampling
        parameters: dict[str, Any] = {
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "seed": seed,
        }
        if sampling.logprobs:
            parameters |= {"logprobs": True, "top_logprobs": 20}
        if sampling.constrained:
            parameters["structured_outputs"] = {"regex": reply_form(sampling.max_tokens)}
        answer = await self.complete(prompt, parameters, stop)
        completion = answer.content
        return Verdict(
            key=key,
            reply=completion.text,
            finish_reason=completion.finish_reason,
            usage=completion.usage,
            seconds=round(answer.seconds, 4),
            attempts=answer.attempts,
            server_model=completion.model,
            probability_of_a=preference_for_a(completion.text, completion.tokens, completion.likely),
            adapted=dict(self.adapted),
        )

    async def complete(
        self, prompt: str, parameters: Mapping[str, Any], stop: asyncio.Event | None = None
    ) -> Answer[Completion]:
        """The completion of a prompt, under the parameters that the server takes; raises `CallError`."""
        while True:
            sent = adapt(parameters, self.adapted)
            body = {"model": self.sampling.model, "messages": [{"role": "user", "content": prompt}], **sent}
            limit = sent.get("max_tokens", sent.get("max_completion_tokens"))
            try:
                answer = await self.server.call("/chat/completions", body, partial(read_completion, limit=limit), stop)
            except CallError as error:
                negotiable = [name for name in OTHER_NAMES if name in sent]
                refused = refused_parameter(error.failure, negotiable)
                if refused is None or (self.answered and refused not in self.adapted):
                    raise
                if refused not in self.adapted:  # else another call found that out in the meantime
                    self.adapted[refused] = OTHER_NAMES[refused]
                    instead = OTHER_NAMES[refused] or "its own default"
                    _log.warning("%s takes no %s; %s counts instead.", self.endpoint.shown, refused, instead)
            else:
                self.answered = True
                return answer


def adapt(parameters: Mapping[str, Any], adapted: Mapping[str, str | None]) -> dict[str, Any]:
    """The parameters under the names that a server takes, without those that it takes under none."""
    sent = {}
    for name, value in parameters.items():
        taken: str | None = name
        while taken is not None and taken in adapted:
            taken = adapted[taken]
        if taken is not None:
            sent[taken] = value
    return sent


def reply_form(max_tokens: int) -> str:
    """A regular expression of replies under `constrained`: one line of explanation, then the choice.

    A token has at least one character, so a line of that many leaves room for the choice.
    """
    return rf"[^\n]{{1,{max(1, max_tokens - TOKENS_OF_CHOICE)}}}\nPreferred: (A|B)"
