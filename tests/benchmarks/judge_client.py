"""What the judge costs beside its server: throughput and CPU per call at a fixed latency, and the time to resume.

python -m tests.benchmarks.judge_client [--calls 2560] [--latency 0.5] [--stored 100000]

Ideal throughput is calls in flight / latency. The server runs in a process of its own.
"""

import argparse
import gc
import multiprocessing
import resource
import tempfile
import threading
import time
from pathlib import Path

from ketchup.tasks.base import Input
from ketchup_eval.cli.program import OBJECTS_PER_COLLECTION
from ketchup_eval.judge import plan as plan_module
from ketchup_eval.judge.asking import ask_missing
from ketchup_eval.judge.judge_settings import JudgeSettings, ReplySettings
from ketchup_eval.judge.plan import make_plan
from ketchup_eval.judge.verdicts import VerdictStore
from tests.judge.given import write_jsonl
from tests.judge.mock_server import MODEL, Answer, MockServer

SOURCE = "The council of Leeds voted on Monday to close the old bridge for a year of repairs. " * 25


def serve(latency, pipe):
    with MockServer(lambda *_: Answer(delay=latency)).running() as server:
        pipe.send(server.base_url)
        threading.Event().wait()


def settings_of(folder, items):
    """Predictions of two systems as files, and settings that judge them."""
    rows = [Input(f"id-{n}", f"{n} {SOURCE}", "Closed.") for n in range(items)]
    plan_module.find_inputs = lambda *_: rows
    for system in "ab":
        outputs = [{"id": row.id, "prediction": f"{system} on {row.id}"} for row in rows]
        write_jsonl(folder / f"{system}.jsonl", outputs)
    names = str(folder / "a.jsonl"), str(folder / "b.jsonl")
    return JudgeSettings((names[0],), names[1], "xsum", "test", ("overall",), ReplySettings(MODEL), limit=None)


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def throughput(base_url, calls, in_flight, latency):
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(settings_of(Path(folder), calls // 4), Path(folder))
        store = VerdictStore(Path(folder) / "judge")
        before = cpu()
        asked = ask_missing(plan, store, base_url, concurrency=in_flight)
        spent = cpu() - before
    trial = latency  # the first item goes alone
    ideal = (calls - 4) * latency / in_flight + trial
    print(
        f"{in_flight} in flight: {calls} calls in {asked.seconds:.2f} s, ideal {ideal:.2f} s: "
        f"{ideal / asked.seconds:.1%}; {1000 * spent / calls:.2f} ms CPU per call"
    )


def resume(stored):
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of(Path(folder), stored // 4)
        store = VerdictStore(Path(folder) / "judge")
        reply = "Overall quality: Summary A names the place and the time, and Summary B does not.\nPreferred: A"
        rows = [
            {"key": call.key, "reply": reply, "finish_reason": "stop", "item": "id"}
            for call in make_plan(settings, Path(folder)).calls
        ]
        write_jsonl(store.path, rows)
        start, spent = time.monotonic(), cpu()
        store = VerdictStore(Path(folder) / "judge")
        waiting = make_plan(settings, Path(folder)).to_ask(store)
        seconds, spent = time.monotonic() - start, cpu() - spent
    print(f"{len(rows):,} verdicts: {seconds:.2f} s to resume, {spent:.2f} s CPU; {len(waiting)} to ask")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2560)
    parser.add_argument("--latency", type=float, default=0.5)
    parser.add_argument("--stored", type=int, default=100_000)
    options = parser.parse_args()
    gc.set_threshold(OBJECTS_PER_COLLECTION)  # as the command does
    resume(options.stored)
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(options.latency, theirs), daemon=True)
    server.start()
    base_url = ours.recv()
    for in_flight in (64, 128):
        throughput(base_url, options.calls, in_flight, options.latency)
    server.kill()


if __name__ == "__main__":
    main()
