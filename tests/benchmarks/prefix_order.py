"""What the order of the judge's calls is worth: prefix-cache hits and wall time, in our order and in a shuffled one.

KETCHUP_TEST_VLLM=PYTHON python -m tests.benchmarks.prefix_order --data DIR/xsum [--articles 24] [--rounds 2]

A real vLLM serves SmolLM2. Its cache holds far fewer tokens than the run has, as with a large judge and thousands of
items, and is emptied before each pass. References are compared with the articles' first sentences.
"""

import argparse
import os
import random
import re
import statistics
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

from ketchup.models.builtin import resolve
from ketchup.remote.serving import serving
from ketchup.tasks import task_named
from ketchup.tasks.rows import load_inputs
from ketchup_eval.judge.asking import ask_missing
from ketchup_eval.judge.judge_settings import JudgeSettings, ReplySettings
from ketchup_eval.judge.plan import make_plan
from ketchup_eval.judge.verdicts import VerdictStore
from tests.judge.given import write_jsonl
from tests.judge.vllm_models import OPTIONS, SETTINGS, python_with_vllm

MODEL = "smollm2-135m"
BLOCK = 128
"""Tokens that vLLM caches together on a CPU."""


def plan_of(folder, data, articles, words, max_tokens):
    rows, ours, theirs = [], [], []
    for row in load_inputs(task_named("xsum"), "test", data, articles):
        text = " ".join(row.source.split()[:words])
        rows.append({"id": row.id, "document": text, "summary": row.reference})
        ours.append({"id": row.id, "prediction": row.reference})
        theirs.append({"id": row.id, "prediction": re.split(r"(?<=[.!?])\s", text)[0]})
    for name, content in (("data/test", rows), ("reference", ours), ("lead-1", theirs)):
        (folder / f"{name}.jsonl").parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(folder / f"{name}.jsonl", content)
    names = str(folder / "reference.jsonl"), str(folder / "lead-1.jsonl")
    sampling = ReplySettings(MODEL, max_tokens=max_tokens, constrained=True)
    settings = JudgeSettings((names[0],), names[1], "xsum", "test", ("overall",), sampling, data=folder / "data")
    return make_plan(settings, folder)


def prefix_cache(base_url):
    """Tokens asked for and tokens found, since the server started."""
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/metrics") as answer:
        text = answer.read().decode()
    names = ("prefix_cache_queries_total", "prefix_cache_hits_total")
    return [sum(map(float, re.findall(rf"^vllm:{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))) for name in names]


def one_pass(plan, base_url, folder, concurrency):
    reset = urllib.request.Request(base_url.removesuffix("/v1") + "/reset_prefix_cache", method="POST")
    urllib.request.urlopen(reset).close()
    before, start = prefix_cache(base_url), time.monotonic()
    asked = ask_missing(plan, VerdictStore(folder), base_url, concurrency=concurrency)
    seconds = time.monotonic() - start
    queried, hit = (now - then for now, then in zip(prefix_cache(base_url), before, strict=True))
    assert asked.replies == len(plan.calls)
    assert not asked.failed
    return seconds, hit / queried, queried


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with XSum's test.jsonl")
    parser.add_argument("--articles", type=int, default=24)
    parser.add_argument("--words", type=int, default=300)
    parser.add_argument("--max-tokens", type=int, default=40)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--cached-tokens", type=int, default=4096, help="what the server's cache can hold")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    os.environ |= SETTINGS | {"VLLM_SERVER_DEV_MODE": "1"}  # which lets the cache be emptied
    serve_options = [*OPTIONS, "--num-gpu-blocks-override", str(options.cached_tokens // BLOCK)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = plan_of(folder, options.data, options.articles, options.words, options.max_tokens)
        shuffled = replace(ours, calls=random.Random(0).sample(ours.calls, len(ours.calls)))
        log = folder / "server.log"
        found = {"our order": [], "shuffled": []}
        with serving(str(resolve(MODEL)), MODEL, log, python_with_vllm(), serve_options) as base_url:
            for number in range(options.rounds):
                for order, plan in zip(found, (ours, shuffled), strict=True):
                    found[order].append(one_pass(plan, base_url, folder / f"{order} {number}", options.concurrency))
                    seconds, share, tokens = found[order][-1]
                    print(f"{order}: {tokens:,.0f} prompt tokens, {share:.0%} of them cached, {seconds:.1f} s")
    medians = {order: statistics.median(seconds for seconds, *_ in passes) for order, passes in found.items()}
    print(f"shuffled takes {medians['shuffled'] / medians['our order']:.2f} times as long")


if __name__ == "__main__":
    main()
