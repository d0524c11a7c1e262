"""Scoring by a teacher behind vLLM against the same teacher here: tokens per second, and bytes on the wire.

KETCHUP_TEST_VLLM=PYTHON python -m tests.benchmarks.served_teacher [--inputs 8] [--samples 8] [--length 64] [--rounds 3]

Both are SmolLM2-135M in float32 with one thread; rounds alternate. Rollouts are random tokens of one length, so that
the work is the same in each round and no answer is known from another.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

from ketchup.models.builtin import resolve
from ketchup.models.loading import load
from ketchup.models.scoring import score_teacher
from ketchup.models.served import teacher as served_module
from ketchup.models.served.checks import check_served
from ketchup.models.served.teacher import ServedTeacher
from ketchup.remote.calls import Server
from ketchup.remote.endpoint import Endpoint
from ketchup.remote.serving import TEXT
from tests.judge.vllm_models import served

MODEL = "smollm2-135m"
OPTIONS = ["--enforce-eager", "--dtype", "float32", "--max-model-len", "2048"]


class CountingServer(Server):
    """Counts the bytes of bodies, both ways."""

    sent = received = 0

    def __post_init__(self):
        super().__post_init__()
        self.client._client.event_hooks = {"request": [self.request], "response": [self.response]}

    @staticmethod
    async def request(request):
        CountingServer.sent += len(request.content)

    @staticmethod
    async def response(response):
        size = len(await response.aread())  # before the sum is read, as other replies come meanwhile
        CountingServer.received += size


def timed(work):
    start = time.perf_counter()
    values = work()
    return time.perf_counter() - start, values


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=8)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "0"
    torch.set_num_threads(1)
    served_module.Server = CountingServer
    model = load(MODEL)
    generator = torch.Generator().manual_seed(0)
    rows = options.inputs * options.samples
    mask = torch.ones(rows, options.length, dtype=torch.bool)
    seconds = {"local": [], "served": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        served(resolve(MODEL), MODEL, Path(folder), OPTIONS, TEXT) as (url, _),
    ):
        remote = ServedTeacher(MODEL, Endpoint(url), Path(folder) / "answers")
        check_served(remote, model)
        for number in range(options.rounds + 1):
            prompts = torch.randint(3, 40_000, (options.inputs, options.prompt), generator=generator).tolist()
            tokens = torch.randint(3, 40_000, (rows, options.length), generator=generator)
            before = CountingServer.sent, CountingServer.received
            here, known = timed(lambda p=prompts, t=tokens: score_teacher(model, p, t, mask))
            there, found = timed(lambda p=prompts, t=tokens: remote.values(p, t, mask))
            gap = (found.q - known.q + known.logsumexp).abs().max()
            sent, received = CountingServer.sent - before[0], CountingServer.received - before[1]
            again, _ = timed(lambda p=prompts, t=tokens: remote.values(p, t, mask))
            if number:  # the first warms up
                seconds["local"].append(here)
                seconds["served"].append(there)
            count = rows * options.length
            print(
                f"round {number}: here {count / here:,.0f} tokens/s, behind the server {count / there:,.0f}, from its "
                f"kept answers {count / again:,.0f}; sent {sent / count:.1f} and received {received / count:.1f} "
                f"bytes a scored token; largest difference {gap:.1e} nats",
                flush=True,
            )
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    print(f"median of {options.rounds}: the server takes {medians['served'] / medians['local']:.2f} times as long")


if __name__ == "__main__":
    main()
