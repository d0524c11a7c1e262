"""Progress on a terminal and elsewhere, with the clock in the test's hands."""

import io
import subprocess
import sys
import threading

import pytest

from ketchup import progress as module
from ketchup.progress import clock, progress


class Clock:
    """Stands in for `time`."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def time(monkeypatch):
    time = Clock()
    monkeypatch.setattr(module, "time", time)
    return time


def test_lines_come_every_five_seconds_and_at_the_end(time, capsys):
    with progress("sampling", total=40, unit="inputs") as bar:
        for step in range(40):
            time.now += 0.5
            bar.advance(1, note=f"loss {step}")
    assert capsys.readouterr().err.splitlines() == [
        "sampling: 10/40 inputs (25%), 0:05 elapsed, 0:15 left, loss 9",
        "sampling: 20/40 inputs (50%), 0:10 elapsed, 0:10 left, loss 19",
        "sampling: 30/40 inputs (75%), 0:15 elapsed, 0:05 left, loss 29",
        "sampling: 40/40 inputs (100%), 0:20 elapsed, finished, loss 39",
    ]


def test_resumed_work_does_not_count_as_done_in_the_pace(time, capsys):
    with progress("training", total=100, unit="steps", done=90) as bar:
        time.now += 6
        bar.advance(2)
    # 2 steps in 6 s leave 8 steps, hence 24 s
    assert "training: 92/100 steps (92%), 0:06 elapsed, 0:24 left" in capsys.readouterr().err


def test_interrupted_work_says_where_it_stopped(time, capsys):
    def work():
        with progress("training", total=100, unit="steps") as bar:
            time.now += 2
            bar.advance(3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert capsys.readouterr().err == "training: 3/100 steps (3%), 0:02 elapsed, stopped\n"


def test_quick_or_empty_work_is_silent(time, capsys):
    with progress("sampling", total=3, unit="inputs") as bar:
        time.now += 0.9
        bar.advance(3)
    with progress("sampling", total=0, unit="inputs"):
        pass
    assert capsys.readouterr() == ("", "")


def test_only_the_first_process_reports(time, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with progress("training", total=100, unit="steps") as bar:
        time.now += 6
        bar.advance()
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Calls a function with a terminal as stderr and returns what that shows."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    def run(work):
        terminal = Terminal()
        with monkeypatch.context() as during:
            during.setattr(sys, "stderr", terminal)
            work()
        return terminal.getvalue()

    return run


def test_a_terminal_shows_a_bar_and_the_thread_ends(terminal):
    def work():
        with progress("sampling", total=50, unit="inputs", done=10) as bar:
            bar.advance(40, note="[loss] 1.23")

    threads = threading.enumerate()
    shown = terminal(work)
    assert "50/50 inputs" in shown
    assert "[loss] 1.23" in shown
    for thread in set(threading.enumerate()) - set(threads):
        thread.join(timeout=2)  # told to end, it may take a moment
    assert threading.enumerate() == threads


def test_results_printed_under_a_bar_reach_stdout(terminal, capsys):
    def work():
        with progress("sampling", total=1, unit="inputs"):
            print("result")

    assert "0/1 inputs" in terminal(work)
    assert capsys.readouterr().out == "result\n"


def test_an_inner_bar_shares_the_display_and_leaves_it(terminal):
    def work():
        with progress("training", total=2, unit="steps") as outer:
            with progress("validation", total=5, unit="inputs") as inner:
                inner.advance(5)
                assert inner.display is outer.display
                assert len(outer.display.tasks) == 2
            assert [task.description for task in outer.display.tasks] == ["training"]
        with progress("second", total=2, unit="steps") as later:
            assert later.display is not outer.display

    terminal(work)


def test_a_dumb_terminal_gets_lines(terminal, monkeypatch, time):
    def work():
        with progress("sampling", total=2, unit="inputs") as bar:
            time.now += 2
            bar.advance(2)

    monkeypatch.setenv("TERM", "dumb")
    assert terminal(work) == "sampling: 2/2 inputs (100%), 0:02 elapsed, finished\n"


def test_clock():
    assert [clock(s) for s in (0, 59.4, 61, 3599.6, 7325)] == ["0:00", "0:59", "1:01", "1:00:00", "2:02:05"]


def test_importing_does_not_load_rich():
    script = "import sys, ketchup.progress; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
