"""Ctrl-C from the first moment, and terminals of few letters: in processes of their own."""

import logging
import os
import signal
import subprocess
import sys

import pytest

from ketchup_eval.cli import interrupts
from ketchup_eval.cli.output import PlainFormatter

PRESSED = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(20)\n"


def run(folder, *words, **environment):
    """`ketchup WORDS` with the modules in `folder` before all others; Ctrl-C counts, also where a shell ignores it."""
    script = f"import sys; sys.path.insert(0, {str(folder)!r}); from ketchup_eval.cli import main; main()"
    script = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {script}"
    command = [sys.executable, "-c", script, *words]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environment}, timeout=60)


@pytest.mark.parametrize(
    ("module", "content"),
    [
        ("typer", PRESSED),
        ("torch", PRESSED),
        ("torch", f"try: exec({PRESSED!r})\nexcept BaseException: pass\n"),  # as some imports do
    ],
)
def test_ctrl_c_while_modules_are_imported(tmp_path, module, content):
    (tmp_path / f"{module}.py").write_text(content)
    done = run(tmp_path, "variance", "--runs-dir", tmp_path)
    assert (done.returncode, done.stderr.decode(), done.stdout) == (130, "Interrupted.\n", b"")


def test_ctrl_c_while_work_is_done(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupts.leave_at_once()
        interrupts.raise_where_work_is_done()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_programs_and_background_jobs_keep_their_own_way():
    before = signal.getsignal(signal.SIGINT)
    try:
        for own in (signal.SIG_IGN, signal.default_int_handler):
            signal.signal(signal.SIGINT, own)
            interrupts.raise_where_work_is_done()
            assert signal.getsignal(signal.SIGINT) is own
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        interrupts.leave_at_once()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_terminal_without_a_letter_ends_no_command(tmp_path):
    done = run(tmp_path, "doctor", "--judge", "--base-url", "http://127.0.0.1:9/ρ", PYTHONIOENCODING="latin-1")
    assert done.returncode == 1
    assert done.stdout.startswith(rb"FAIL server: http://127.0.0.1:9/\u03c1 cannot be reached")


def test_warnings_are_harmless_too(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    record = logging.LogRecord("x", logging.WARNING, "", 1, "%s:\x1b[31m\n%s", ("a\u202e", "sk-secret"), None)
    assert PlainFormatter().format(record) == r"a\u202e:\x1b[31m ***"
