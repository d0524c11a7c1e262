"""An HTTP server in this process that speaks the part of the OpenAI API a judge needs, and fails as it is told to."""

import asyncio
import hashlib
import json
import re
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field

MODEL = "mock-judge"


@dataclass(frozen=True)
class Answer:
    """What the server does with one call: a completion, an `error`, or any `raw` body.

    `choice` are more fields of its choice. `cut_bytes` sends only the first part of the body and closes.
    """

    reply: str | None = "Why: because.\nPreferred: A"
    finish_reason: str = "stop"
    status: int = 200
    error: dict | None = None
    headers: dict = field(default_factory=dict)
    delay: float = 0.0
    cut_bytes: int | None = None
    raw: bytes | None = None
    hang_up: bool = False
    choice: dict = field(default_factory=dict)
    tokens: int = 9


def refusal(status, message, **headers):
    return Answer(status=status, error={"message": message, "type": "x", "code": status}, headers=headers)


STORM = (
    refusal(429, "slow down", **{"Retry-After": "0.01"}),
    refusal(429, "slow down", **{"Retry-After": "soon"}),
    refusal(500, "engine crashed"),
    refusal(503, "no capacity"),
    refusal(408, "timed out"),
    refusal(409, "conflict"),
    Answer(delay=5.0),  # longer than the client waits
    Answer(hang_up=True),
    Answer(cut_bytes=40),
    Answer(raw=b'{"choices": [{"mess'),
    Answer(raw=b"<html>bad gateway</html>"),
    Answer(raw=b'{"object": "chat.completion", "choices": []}'),
)


class MockServer:
    """`answer(prompt, attempt, body)` gives the `Answer` to the attempt-th call with a prompt, counted from 1."""

    def __init__(self, answer=None):
        self.answer = answer or (lambda prompt, attempt, body: Answer())
        self.attempts, self.served, self.bodies, self.authorisations = Counter(), Counter(), [], set()
        self.in_flight = self.most_in_flight = 0
        self.max_model_len = 32768
        self.listing = None  # instead of the list of models
        self.prompts = []

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    @contextmanager
    def running(self):
        ready = threading.Event()
        loop = asyncio.new_event_loop()

        async def main():
            server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=1024)
            self.port = server.sockets[0].getsockname()[1]
            self._stop = asyncio.Event()
            ready.set()
            await self._stop.wait()
            server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        thread = threading.Thread(target=loop.run_until_complete, args=(main(),), daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(self._stop.set)
            thread.join(10)
            loop.close()

    async def _connection(self, reader, writer):
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int((re.search(r"content-length: (\d+)", head, re.IGNORECASE) or [0, 0])[1])
        body = json.loads(await reader.readexactly(length) or b"{}")
        self.authorisations |= set(re.findall(r"authorization: (.*?)\r", head, re.IGNORECASE))
        if head.startswith("GET") and self.listing:
            content = json.dumps({"error": self.listing.error}).encode() if self.listing.error else self.listing.raw
            return await self._send(writer, self.listing.status, content, {})
        if head.startswith("GET"):
            models = [
                {"id": MODEL, "object": "model", "created": 0, "owned_by": "x", "max_model_len": self.max_model_len}
            ]
            return await self._send(writer, 200, json.dumps({"object": "list", "data": models}).encode(), {})
        if body["model"] != MODEL:
            content = json.dumps({"error": {"message": f"The model `{body['model']}` does not exist."}}).encode()
            return await self._send(writer, 404, content, {})
        prompt = body["messages"][0]["content"]
        self.attempts[prompt] += 1
        self.bodies.append(body)
        self.prompts.append(prompt)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._respond(writer, prompt, self.answer(prompt, self.attempts[prompt], body), body)
        finally:
            self.in_flight -= 1

    async def _respond(self, writer, prompt, answer, body):
        await asyncio.sleep(answer.delay)
        if answer.hang_up:
            return False
        if answer.error is not None:
            return await self._send(writer, answer.status, json.dumps({"error": answer.error}).encode(), answer.headers)
        content = answer.raw if answer.raw is not None else completion(answer, body)
        if answer.cut_bytes is not None:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
            writer.write(head.encode() + content[: answer.cut_bytes])
            await writer.drain()
            return False
        if answer.raw is None:
            self.served[prompt] += 1
        return await self._send(writer, answer.status, content, answer.headers)

    async def _send(self, writer, status, content, headers):
        lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        await writer.drain()
        return True


def completion(answer, body):
    choice = {"index": 0, "finish_reason": answer.finish_reason}
    choice["message"] = {"role": "assistant", "content": answer.reply}
    if body.get("logprobs"):
        letter = answer.reply[-1]
        likely = [{"token": f" {x}", "logprob": -0.5 if x == letter else -1.5, "bytes": None} for x in "AB"]
        tokens = [{"token": answer.reply[:-2], "logprob": 0.0, "bytes": None, "top_logprobs": []}]
        tokens += [{"token": f" {letter}", "logprob": -0.5, "bytes": None, "top_logprobs": likely}]
        choice["logprobs"] = {"content": tokens}
    choice |= answer.choice
    usage = {"prompt_tokens": 100, "completion_tokens": answer.tokens, "total_tokens": 100 + answer.tokens}
    whole = {"id": "x", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice], "usage": usage}
    return json.dumps(whole).encode()


def storm(prompt, attempt, body):
    """The first attempts at each prompt fail, in ways and a number that depend on the prompt alone."""
    digest = hashlib.sha256(prompt.encode()).digest()
    if attempt <= digest[0] % 4:
        return STORM[digest[attempt] % len(STORM)]
    return Answer(f"Why: because.\nPreferred: {'AB'[digest[9] % 2]}")
