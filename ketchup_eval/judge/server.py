"""A vLLM server of one's own, which ends with the run, whatever ends that."""

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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ketchup.errors import ServerError
from ketchup.progress import clock

MODULE = "vllm.entrypoints.openai.api_server"
LONGEST_START = 1800.0
"""Seconds that a server may take until its first completion; weights of 72B parameters take minutes to load."""
SECONDS_TO_END = 10
# Started with a pipe from this process as its input, the shell outlives it: once the pipe closes, even by SIGKILL, the
# whole group is told to end. vLLM itself would leave its engine behind.
SUPERVISOR = f"""
exec 3<&0
( trap : TERM; cat <&3 >/dev/null; kill -TERM 0; sleep {SECONDS_TO_END}; kill -KILL 0 ) &
trap : TERM
"$@" </dev/null 3<&- &
while wait $!; kill -0 $! 2>/dev/null; do :; done
"""


@contextmanager
def serving(
    model: str, name: str, log: Path, python: str | None = None, options: list[str] | None = None
) -> Iterator[str]:
    """Serves `model` under `name` on a free port while the block runs; yields the base URL.

    `python` is that of an environment with vLLM, by default this one. It uses all GPUs that it finds, caches prefixes,
    and counts as ready with its first real completion, since `/health` may be green before the engine is. Its
    output goes to `log`. Raises `ServerError` if it does not start.
    """
    port = _free_port()
    command = [python or sys.executable, "-m", MODULE, "--model", model, "--served-model-name", name]
    command += ["--host", "127.0.0.1", "--port", str(port), "--tensor-parallel-size", str(max(1, count_gpus()))]
    command += ["--enable-prefix-caching", "--enable-prompt-tokens-details", *(options or [])]
    shell = shutil.which("sh") or "/bin/sh"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [shell, "-c", SUPERVISOR, shell, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        base_url = f"http://127.0.0.1:{port}/v1"
        _wait_until_ready(process, base_url, name, log)
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


def complete(base_url: str, name: str, timeout: float = 60.0) -> bool:
    """Whether the server answers one real completion."""
    body = {"model": name, "messages": [{"role": "user", "content": "Say A."}], "max_tokens": 1}
    request = urllib.request.Request(
        f"{base_url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return bool(json.load(answer)["choices"])
    except (urllib.error.URLError, OSError, ValueError, KeyError):
        return False


def _wait_until_ready(process: "subprocess.Popen[bytes]", base_url: str, name: str, log: Path) -> None:
    start = last_line = time.monotonic()
    while not complete(base_url, name):
        now = time.monotonic()
        if process.poll() is not None:
            raise ServerError(f"The server ended before it was ready ({_last_line(log)}); see {log}.")
        if now - start > LONGEST_START:
            raise ServerError(f"The server was not ready after {clock(now - start)}; see {log}.")
        if now - last_line > 15:
            last_line = now
            sys.stderr.write(f"server: starting, {clock(now - start)} elapsed, log in {log}\n")
        time.sleep(1)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it printed nothing"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
