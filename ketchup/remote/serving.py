"""A vLLM server of one's own, which ends with the run, whatever ends that."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ketchup.errors import ServerError
from ketchup.progress import clock
from ketchup.redaction import redacted
from ketchup.remote.endpoint import KEY_VARIABLE, environment_key
from ketchup.texts import one_line

MODULE = "vllm.entrypoints.openai.api_server"
LONGEST_START = 1800.0
"""Seconds that a server may take until its first completion; weights of 72B parameters take minutes to load."""
NOT_YET = frozenset({408, 425, 429})
"""Statuses, beside 5xx, of a server that may answer later; any other refusal stays one."""
SECONDS_TO_END = 10
SECRET_OPTIONS = {"--api-key": "VLLM_API_KEY", "--hf-token": "HF_TOKEN"}
"""vLLM's options that hold a secret, and the variables that it reads the same from."""
# Started with a pipe from this process as its input, the shell outlives it: once the pipe closes, even by SIGKILL, the
# whole group is told to end. vLLM itself would leave its engine behind.
SUPERVISOR = f"""
exec 3<&0
( trap : TERM; cat <&3 >/dev/null; kill -TERM 0; sleep {SECONDS_TO_END}; kill -KILL 0 ) &
trap : TERM
"$@" </dev/null 3<&- &
while wait $!; kill -0 $! 2>/dev/null; do :; done
"""


@dataclass(frozen=True)
class Trial:
    """A call that shows that a server is ready: its path, and its body but for the model."""

    path: str
    body: Mapping[str, Any]


CHAT = Trial("/chat/completions", {"messages": [{"role": "user", "content": "Say A."}], "max_tokens": 1})
TEXT = Trial("/completions", {"prompt": "A", "max_tokens": 1})
"""For models without a chat template too."""


@contextmanager
def serving(
    model: str,
    name: str,
    log: Path,
    python: str | None = None,
    options: list[str] | None = None,
    key: str | None = None,
    trial: Trial = CHAT,
) -> Iterator[str]:
    """Serves `model` under `name` on a free port while the block runs; yields the base URL.

    `python` is that of an environment with vLLM, by default this one. It uses all GPUs that it finds, caches prefixes,
    and counts as ready with its first real completion, since `/health` may be green before the engine is. Its
    output goes to `log`. With a `key` it answers nobody else; secrets among the `options` reach it by its environment,
    as a command line can be read by every user of a machine. Raises `ServerError` if it does not start.
    """
    options, secrets = without_secrets(options or [])
    secrets |= {SECRET_OPTIONS["--api-key"]: key} if key else {}
    port = _free_port()
    command = [python or sys.executable, "-m", MODULE, "--model", model, "--served-model-name", name]
    command += ["--host", "127.0.0.1", "--port", str(port), "--tensor-parallel-size", str(max(1, count_gpus()))]
    command += ["--enable-prefix-caching", "--enable-prompt-tokens-details", *options]
    shell = shutil.which("sh") or "/bin/sh"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [shell, "-c", SUPERVISOR, shell, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **secrets},
            start_new_session=True,
        )
    try:
        base_url = f"http://127.0.0.1:{port}/v1"
        _wait_until_ready(process, lambda: complete(base_url, name, key, trial=trial), log)
        yield base_url
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ends the whole process group, first politely."""
    if process.stdin:
        process.stdin.close()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def count_gpus() -> int:
    """How many GPUs this process may use."""
    import torch  # noqa: PLC0415  (it takes seconds, and only this function needs it)

    return torch.cuda.device_count()


def without_secrets(options: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The options without `SECRET_OPTIONS`, and these as variables of the environment; of several keys the first."""
    kept: list[str] = []
    secrets: dict[str, str] = {}
    current = None
    for option in options:
        name, equals, value = option.partition("=")
        if not current or option.startswith("-"):
            current = SECRET_OPTIONS.get(name)
            if not current:
                kept.append(option)
            elif equals:
                secrets[current] = value
        else:
            secrets.setdefault(current, option)
    return kept, secrets


def served_key(options: Sequence[str]) -> str | None:
    """The key that a server with these options is asked with: theirs, else vLLM's own variable, else the usual one."""
    variable = SECRET_OPTIONS["--api-key"]
    return without_secrets(options)[1].get(variable) or environment_key(variable, KEY_VARIABLE)


def complete(base_url: str, name: str, key: str | None = None, timeout: float = 60.0, *, trial: Trial = CHAT) -> bool:
    """Whether the server, which is on this machine, answers one real completion; a `ServerError` if it refuses to."""
    body = {"model": name, **trial.body}
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{base_url}{trial.path}", json.dumps(body).encode(), headers)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=timeout) as answer:
            return bool(json.load(answer)["choices"])
    except urllib.error.HTTPError as error:
        if error.code in NOT_YET or error.code >= 500:
            return False
        words = one_line(redacted(error.read(1000).decode(errors="replace")))[:200]
        remedy = f"put its own key into {KEY_VARIABLE}" if error.code in (401, 403) else "mend --serve-options"
        raise ServerError(f"The server answers, but refuses a completion ({error}: {words}); {remedy}.") from error
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False


def _wait_until_ready(process: "subprocess.Popen[bytes]", answers: Callable[[], bool], log: Path) -> None:
    start = last_line = time.monotonic()
    while not answers():
        now = time.monotonic()
        if process.poll() is not None:
            raise ServerError(f"The server ended before it was ready ({_last_line(log)}); see {log}.")
        if now - start > LONGEST_START:
            raise ServerError(f"The server was not ready after {clock(now - start)}; see {log}.")
        if now - last_line > 15:
            last_line = now
            sys.stderr.write(f"server: starting, {clock(now - start)} elapsed, log in {one_line(str(log))}\n")
        time.sleep(0.25)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return redacted(lines[-1])[:200] if lines else "it printed nothing"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
