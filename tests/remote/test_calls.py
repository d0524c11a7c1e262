"""Calls over raw sockets: each reply is the one to its own request, each try ends in time, each wait is worth it."""

import asyncio
import re
import socket
import time

import pytest

from ketchup.remote import calls
from ketchup.remote.calls import Patience, Server
from ketchup.remote.endpoint import Endpoint
from ketchup.remote.failures import CallError, NoReply
from tests.remote.raw_server import raw_server, request, response


def ask(url, *bodies, attempts=1, timeout=20.0, read=lambda reply: reply, at_once=1):
    """The replies to the bodies, or the failures; `at_once` of them are in flight."""

    async def main():
        server = Server(Endpoint(url), Patience(attempts, first_wait=0.001, timeout=timeout))
        slots = asyncio.Semaphore(at_once)

        async def one(body):
            async with slots:
                try:
                    return await server.call("/x", body, read)
                except CallError as error:
                    return error

        async with server.client:
            return await asyncio.gather(*map(one, bodies))

    return asyncio.run(main())


def twice(delay):
    """A server that sends every response twice, the second after `delay` seconds, and keeps the connection."""

    async def handle(reader, writer):
        while True:
            _, body = await request(reader)
            content = response({"echo": body["n"]})
            if delay is None:
                writer.write(content + content)
            else:
                writer.write(content)
                await writer.drain()
                await asyncio.sleep(delay)
                writer.write(content)
            await writer.drain()

    return handle


@pytest.mark.parametrize("delay", [None, 0.0, 0.003])
def test_a_second_copy_of_a_reply_is_not_taken_for_the_next_one(delay):
    """On a kept connection the client reads the copy as the reply to the next request on it."""
    with raw_server(twice(delay)) as url:
        found = ask(url, *({"n": n} for n in range(60)), at_once=4)
    assert [answer.content["echo"] for answer in found] == list(range(60))


@pytest.mark.parametrize("form", ["chatcmpl-{}", "{}", "cmpl-{}-0"])
def test_a_reply_that_names_another_request_is_asked_for_again(form):
    """vLLM repeats the request's `X-Request-Id` in `id`; here a proxy gives the first of each two the other's reply."""
    numbers = []

    async def handle(reader, writer):
        head, body = await request(reader)
        numbers.append(re.search(r"x-request-id: (\S+)", head, re.IGNORECASE)[1])
        crossed = len(numbers) % 2 == 1 and len(numbers) > 1
        writer.write(response({"id": form.format(numbers[-2] if crossed else numbers[-1]), "n": body["n"]}))
        await writer.drain()

    with raw_server(handle) as url:
        found = ask(url, *({"n": n} for n in range(6)), attempts=2)
        numbers.clear()
        numbers += [f"ketchup-{'0' * 32}"] * 2
        (failed,) = ask(url, {"n": 0})
    assert [answer.content["n"] for answer in found] == list(range(6))
    assert max(answer.attempts for answer in found) == 2
    assert "belongs to another request" in str(failed)


@pytest.mark.parametrize("id", ["x", "ketchup-judge-1", None, 7, ["x"]])
def test_an_id_that_says_nothing_of_the_request_is_no_sign(id):
    async def handle(reader, writer):
        await request(reader)
        writer.write(response({"id": id}))
        await writer.drain()

    with raw_server(handle) as url:
        (first, second) = ask(url, {}, {})
    assert first.content == second.content == {"id": id}


async def silent(reader, writer):
    await asyncio.sleep(30)


async def dripping(reader, writer):
    await request(reader)
    for byte in response({"n": 1}):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def dripping_body(reader, writer):
    await request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("handle", [silent, dripping, dripping_body])
def test_the_limit_bounds_a_try_altogether(handle):
    with raw_server(handle) as url:
        started = time.monotonic()
        (failed,) = ask(url, {}, timeout=0.4)
        seconds = time.monotonic() - started
    assert "no whole reply" in str(failed)
    assert failed.failure.kind == "passing"
    assert seconds < 3


def test_the_limit_bounds_the_start_of_a_secure_connection():
    with raw_server(silent) as url:
        started = time.monotonic()
        (failed,) = ask(url.replace("http:", "https:"), {}, timeout=1.0)
    assert "no whole reply" in str(failed)
    assert time.monotonic() - started < 3


def test_the_limit_bounds_connecting():
    """A listener whose queue is full lets further connections wait."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        started = time.monotonic()
        (failed,) = ask(f"http://127.0.0.1:{full.getsockname()[1]}/v1", {}, timeout=0.4)
        for one in waiting:
            one.close()
    assert "no whole reply" in str(failed)
    assert time.monotonic() - started < 3


def refusing(status, *headers):
    async def handle(reader, writer):
        await request(reader)
        writer.write(response({"error": {"message": "slower"}}, status, *headers))
        await writer.drain()

    return handle


@pytest.fixture
def waits(monkeypatch):
    """The seconds that calls would have waited."""
    found = []

    async def pause(seconds, stop):
        found.append(seconds)

    monkeypatch.setattr(calls, "_pause", pause)
    return found


def test_a_call_waits_as_long_as_it_is_asked_to(waits):
    with raw_server(refusing("429 X", "Retry-After: 7")) as url:
        (failed,) = ask(url, {}, attempts=3)
    assert str(failed) == "429: slower"
    assert [round(seconds, 2) for seconds in waits] == [7, 7]


@pytest.mark.parametrize("header", ["Retry-After: 3600", "retry-after-ms: 3600000", "Retry-After: 1e999"])
def test_a_wait_that_is_too_long_ends_the_call(waits, header):
    with raw_server(refusing("503 X", header)) as url:
        (failed,) = ask(url, {}, attempts=8)
    assert waits == []
    assert str(failed).startswith("the server asks to wait ")
    assert failed.failure.kind == "passing"


@pytest.mark.parametrize(("header", "expected"), [("Retry-After: 0", 0.001), ("X: 1", 0.001)])
def test_without_such_a_wish_a_call_waits_by_its_own_rule(waits, header, expected):
    with raw_server(refusing("429 X", header)) as url:
        ask(url, {}, attempts=2)
    assert len(waits) == 1
    assert expected / 2 <= waits[0] <= expected


@pytest.mark.parametrize("status", ["400 X", "401 X", "403 X", "404 X", "413 X", "422 X"])
def test_a_refusal_is_not_tried_again(waits, status):
    with raw_server(refusing(status)) as url:
        (failed,) = ask(url, {}, attempts=5)
    assert waits == []
    assert failed.failure.status == int(status[:3])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nplain tex", "the reply is no JSON (plain tex)"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "the reply is no JSON (it is empty)"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{x",
            "the reply is no JSON ({x)",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", "Connection error"),
        (b"nonsense\r\n\r\n", "Connection error"),
        (b"", "Connection error"),
    ],
)
def test_what_is_no_reply_is_tried_again(waits, content, reason):
    async def handle(reader, writer):
        await request(reader)
        writer.write(content)
        await writer.drain()

    with raw_server(handle) as url:
        (failed,) = ask(url, {}, attempts=2)
    assert str(failed).startswith(reason)
    assert failed.failure.kind == "passing"
    assert not failed.failure.unreachable
    assert len(waits) == 1


def test_a_reader_that_finds_no_reply_has_it_asked_for_again(waits):
    seen = []

    def read(reply):
        seen.append(reply)
        if len(seen) == 1:
            raise NoReply("half")
        return reply

    async def handle(reader, writer):
        await request(reader)
        writer.write(response({"n": 1}))
        await writer.drain()

    with raw_server(handle) as url:
        (answer,) = ask(url, {}, attempts=2, read=read)
    assert answer.content == {"n": 1}
    assert answer.attempts == 2


def test_a_port_where_nobody_listens_is_unreachable(waits):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        (failed,) = ask(f"http://127.0.0.1:{unused.getsockname()[1]}/v1", {}, attempts=2)
    assert failed.failure.unreachable
