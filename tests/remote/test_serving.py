"""A server of one's own ends with the run, whatever ends that; a stand-in plays vLLM's part."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from ketchup.errors import ServerError
from ketchup.remote import serving as server
from ketchup.remote.serving import served_key, serving

STAND_IN = """
import os, subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        wanted = os.environ.get("VLLM_API_KEY")
        if wanted and self.headers["Authorization"] != "Bearer " + wanted:
            return self.send_error(401)
        body = b'{"choices": [{}]}'
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
engine = subprocess.Popen(["sleep", "600"])
print(*sys.argv, flush=True)
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Makes a Python whose `-m` runs the given code instead."""
    monkeypatch.setattr(server, "count_gpus", lambda: 2)

    def make(code):
        (tmp_path / "code.py").write_text(textwrap.dedent(code))
        path = tmp_path / "python"
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/code.py" "$@"\n')
        path.chmod(0o755)
        return str(path)

    return make


def members(group):
    """Processes of a group that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def until(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_the_whole_group_ends_with_the_block(tmp_path, python, monkeypatch, error):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    with (
        pytest.raises(error) if error else nullcontext(),
        serving("some/model", "judge", tmp_path / "log", python(STAND_IN), ["--dtype", "float32"]) as url,
    ):
        assert url.startswith("http://127.0.0.1:")
        assert len(members(started[0].pid)) >= 3
        if error:
            raise error
    until(lambda: members(started[0].pid) == [], seconds=2)
    words = (tmp_path / "log").read_text()
    assert "--model some/model --served-model-name judge" in words
    assert "--tensor-parallel-size 2 --enable-prefix-caching" in words
    assert "--dtype float32" in words


def test_a_server_that_does_not_start_is_explained(tmp_path, python):
    with (
        pytest.raises(ServerError, match=r"ended before it was ready \(RuntimeError: no GPU\); see .*log"),
        serving("m", "m", tmp_path / "log", python("raise RuntimeError('no GPU')")),
    ):
        pass


@pytest.mark.parametrize(
    "options", [["--api-key", "sk-secret"], ["--api-key=sk-secret"], ["--api-key", "sk-secret", "two"]]
)
def test_a_key_reaches_the_server_and_neither_its_command_nor_its_log(tmp_path, python, options):
    key = served_key(options)
    assert key == "sk-secret"
    with serving("m", "m", tmp_path / "log", python(STAND_IN), [*options, "--dtype", "float32"], key) as url:
        assert server.complete(url, "m", key)
        with pytest.raises(ServerError, match=r"refuses a completion .*OPENAI_API_KEY"):
            server.complete(url, "m", "sk-wrong")
    words = (tmp_path / "log").read_text()
    assert "--dtype float32" in words
    assert "secret" not in words


def test_the_key_of_the_environment(tmp_path, python, monkeypatch):
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-judge\n")
    assert served_key([]) == "sk-judge"
    monkeypatch.setenv("VLLM_API_KEY", "sk-vllm")
    assert served_key([]) == "sk-vllm"
    with serving("m", "m", tmp_path / "log", python(STAND_IN), [], served_key([])) as url:
        assert server.complete(url, "m", "sk-vllm")
    wants_another = STAND_IN.replace('os.environ.get("VLLM_API_KEY")', '"another"')
    with (
        pytest.raises(ServerError, match=r"refuses a completion \(HTTP Error 401.*OPENAI_API_KEY"),
        serving("m", "m", tmp_path / "log", python(wants_another), [], "sk-vllm"),
    ):
        pass


def test_a_server_that_answers_but_cannot_complete_is_not_waited_for(tmp_path, python, monkeypatch):
    monkeypatch.setattr(server, "LONGEST_START", 15)
    refuses = STAND_IN.replace("send_response(200)", "send_response(400)").replace("choices", "no chat template")
    with (
        pytest.raises(ServerError, match=r"HTTP Error 400: .*no chat template.*--serve-options"),
        serving("m", "m", tmp_path / "log", python(refuses)),
    ):
        pass
    count = "type(self).asked = getattr(self, 'asked', 0) + 1"
    loads = STAND_IN.replace("def do_POST(self):", f"def do_POST(self):\n        {count}")
    loads = loads.replace("send_response(200)", "send_response(503 if self.asked < 3 else 200)")
    with serving("m", "m", tmp_path / "log", python(loads)) as url:
        assert server.complete(url, "m")


@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
def test_no_proxy_stands_before_a_server_of_ones_own(tmp_path, python, monkeypatch, variable):
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setattr(server, "LONGEST_START", 15)
    with serving("m", "m", tmp_path / "log", python(STAND_IN)) as url:
        assert url.startswith("http://127.0.0.1:")


def test_not_even_sigkill_leaves_a_server_behind(tmp_path, python):
    script = f"""
    import time
    from pathlib import Path
    from ketchup.remote import serving as server
    server.count_gpus = lambda: 0
    with server.serving("m", "m", Path({str(tmp_path / "log")!r}), {python(STAND_IN)!r}) as url:
        print(url, flush=True)
        time.sleep(600)
    """
    run = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    assert run.stdout.readline().startswith("http")
    shells = [int(p) for p in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]
    assert len(members(shells[0])) >= 3
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    until(lambda: members(shells[0]) == [])
