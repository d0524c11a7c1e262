"""A teacher that never enters this process: vLLM's OpenAI server says what it thinks of tokens."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from ketchup.errors import ServerError
from ketchup.hashes import content_hash
from ketchup.models.scoring import TeacherValues
from ketchup.models.served.answers import Answers
from ketchup.models.served.replies import TokenValues, read_values
from ketchup.remote.calls import Patience, Server
from ketchup.remote.crowd import work_through
from ketchup.remote.endpoint import Endpoint
from ketchup.remote.failures import CallError, Failure
from ketchup.remote.remedies import Asked

CALLS_IN_FLIGHT = 64
URL_OPTION = "--teacher-url"
Found = TypeVar("Found")


@dataclass(eq=False)
class ServedTeacher:
    """A decoder-only model behind a server, by the name that the server has for it.

    It is known by that name alone, as no server tells what its weights are. `max_tokens` is the most of prompt and
    rollout together that it scores, `None` if it does not say. `vocabulary` is the student's, whose tokens it reads.
    """

    name: str
    endpoint: Endpoint
    folder: Path
    patience: Patience = Patience()  # noqa: RUF009  (it is frozen)
    max_tokens: int | None = None
    vocabulary: int = 0
    encoder_decoder: bool = field(default=False, init=False)

    @property
    def fingerprint(self) -> str:
        """What a manifest says in place of a hash of weights."""
        return f"served as {self.name}"

    @property
    def asked(self) -> Asked:
        """What it is, for sentences on what fails."""
        return Asked(self.endpoint, self.name, "--teacher")

    @cached_property
    def answers(self) -> Answers:
        """Those that were kept, read when the first is needed: the run's folder is this command's by then."""
        return Answers(self.folder)

    def values(self, prompts: Sequence[Sequence[int]], tokens: Tensor, mask: Tensor) -> TeacherValues:
        """What `ketchup.models.scoring.score_teacher` gives, in log-probabilities, so that logsumexp is 0; no mean.

        Rows that are alike are asked for once, and none that was answered before. Raises a `ServerError` where the
        server fails for good; what it has said until then is kept.
        """
        samples = len(tokens) // len(prompts)
        q, v = torch.zeros(tokens.shape), torch.zeros(tokens.shape)
        wanted: dict[str, tuple[list[int], int]] = {}
        keys = []
        for index, (row, scored) in enumerate(zip(tokens, mask, strict=True)):
            written = row[: int(scored.nonzero().max()) + 1].tolist() if scored.any() else []
            prompt = list(prompts[index // samples])
            keys.append(self._key(prompt, written))
            if written and self.answers.get(keys[-1]) is None:
                wanted[keys[-1]] = (prompt + written, len(prompt))
        if wanted:
            self.run(partial(self._ask, wanted))
        for index, key in enumerate(keys):
            found = self.answers.get(key)
            if found and found.q:
                q[index, : len(found.q)] = torch.tensor(found.q)
                v[index, : len(found.v)] = torch.tensor(found.v)
        return TeacherValues(q * mask, v * mask, None, torch.zeros(tokens.shape))

    def run(self, work: Callable[[Server], Awaitable[Found]]) -> Found:
        """Does what talks to the server; a call that failed for good becomes a `ServerError`."""

        async def connected() -> Found:
            server = Server(self.endpoint, self.patience)
            async with server.client:
                return await work(server)

        try:
            return asyncio.run(connected())
        except CallError as error:
            raise ServerError(self._sentence(error.failure)) from error

    def body(self, tokens: Sequence[int]) -> dict[str, object]:
        """A call that reads the tokens; servers insist on one more being written."""
        return {
            "model": self.name,
            "prompt": list(tokens),
            "max_tokens": 1,
            "temperature": 1.0,
            "prompt_logprobs": 1,
            "add_special_tokens": False,
        }

    async def _ask(self, wanted: dict[str, tuple[list[int], int]], server: Server) -> None:
        failed: list[CallError] = []

        async def one(key: str, stop: asyncio.Event) -> None:
            tokens, start = wanted[key]

            def read(reply: object) -> TokenValues:
                return read_values(reply, tokens, start, self.vocabulary)

            try:
                answer = await server.call("/completions", self.body(tokens), read, stop)
            except CallError as error:
                failed.append(error)
                raise
            self.answers.add(key, answer.content)

        try:
            await work_through(list(wanted), one, CALLS_IN_FLIGHT)
        except CallError:
            raise failed[0] from None  # it stopped the others

    def _key(self, prompt: Sequence[int], written: Sequence[int]) -> str:
        return content_hash([self.name, prompt, written])

    def _sentence(self, failure: Failure) -> str:
        """What stops the work, with the fix."""
        again = "what it has answered is kept: start it and run the same command again"
        if failure.unreachable:
            return self.asked.gone(failure.reason, again)
        shown = f"{self.endpoint.shown}, the teacher's server,"
        if failure.kind == "passing":
            return f"{shown} answers no more ({failure.reason}); {again}."
        if failure.kind == "too_long":
            return f"{shown} finds a prompt and its rollout too long ({failure.reason}); lower --max-new-tokens."
        if "prompt logprobs" in failure.said or "max-logprobs" in failure.reason:
            fix = "start vLLM with --max-logprobs 1 or more"
            return f"{shown} does not give the likeliest token of each state ({failure.reason}); {fix}."
        remedy = self.asked.remedy(failure)
        return remedy or f"{shown} cannot be used ({failure.reason}); use vLLM's own server for this teacher."
