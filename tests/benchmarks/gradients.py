"""What policy gradients cost: many rows against one, against a backward pass of each rollout, and beside a whole study.

* By the head of a student of SmolLM2-135M's size, 10 of its layers, with random weights: the cost is that of the real
  one. 32 rollouts of 48 actions of one input; five K x two tails x three baselines against LLMR alone, and either
  against a backward pass of every rollout for every row, which keeps nothing but a mean and squared norms. At most 1.5
  times and at least 20 times are wanted.
* `ketchup variance --gradient` against `ketchup variance` on the embedded demo, 32 rollouts of each of 64 inputs, a
  fresh process each: at most 3 times.

Seconds are those of a processor, which a busy machine stretches less than those of a clock.

    python tests/benchmarks/gradients.py [--quick]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

VOCABULARY = 49_152
SAMPLES, LENGTH, PROMPT = 32, 48, 64
KS, BASELINES = (1, 2, 4, 8, 16), ("none", "mean", "leave-one-out-per-step")
"""Five K, and with both tails and these baselines 30 rows, of which K = 1 with its three is LLMR's."""


def student():
    """Ten of SmolLM2-135M's thirty layers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from ketchup.models.language_model import LanguageModel

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=10,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
        eos_token_id=1,
    )
    return LanguageModel("random", LlamaForCausalLM(config).eval(), None, VOCABULARY, 1, 1, None, "seed 0", None)


def rows_asked(ks, baselines):
    from ketchup_eval.variance.gradient.rows import GradientRows, rows_of
    from ketchup_eval.variance.variance_settings import estimators_of

    return GradientRows(rows_of(estimators_of(ks, ["segment", "one-step"], []), baselines), "raw")


def numbers():
    """Random ones, all outputs of one length."""
    import torch

    from ketchup.estimators import Numbers

    torch.manual_seed(1)
    names = ("v", "mean", "logsumexp", "log_prob", "entropy", "collision", "own_value")
    values = dict(zip(names, torch.randn(len(names), SAMPLES, LENGTH, dtype=torch.float64), strict=True))
    mask = torch.ones(SAMPLES, LENGTH, dtype=torch.bool)
    return Numbers.of(mask, SAMPLES, q=values["v"] - torch.rand(SAMPLES, LENGTH), **values)


def rollouts():
    import torch

    from ketchup_eval.variance.gradient.of_rollouts import InputRollouts

    tokens = torch.randint(2, VOCABULARY, (SAMPLES, LENGTH)).tolist()
    return InputRollouts(list(range(2, 2 + PROMPT)), tokens, [[True] * LENGTH] * SAMPLES)


def seconds_of(action):
    start = time.process_time()
    action()
    return time.process_time() - start


def seconds_of_command(words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def passes(model, given, weights):
    """Mean gradient and squared norms by a backward pass of each rollout and row, [M, N, T] weights."""
    import torch

    from ketchup.models.language_model import context, hidden_states, logits

    head = model.network.get_output_embeddings().weight.requires_grad_()
    means = torch.zeros(len(weights), *head.shape)
    squares = torch.zeros(len(weights))
    for index, tokens in enumerate(given.tokens):
        ids = torch.tensor([tokens])
        for row, own in enumerate(weights):
            shared = context(model, [given.prompt])
            hidden = hidden_states(model, shared, torch.tensor([0]), ids).detach()
            log_pi = logits(model, hidden)[0].log_softmax(-1).gather(-1, ids[0][:, None])[:, 0]
            (found,) = torch.autograd.grad((log_pi * own[index].float()).sum(), [head])
            means[row] += found
            squares[row] += found.square().sum()


def of_head(quick):
    import torch

    from ketchup_eval.variance.gradient.of_rollouts import HeadGradients

    torch.set_num_threads(1)
    model, known, given = student(), numbers(), rollouts()
    taken = HeadGradients(model, 0)
    asked = {"LLMR alone": rows_asked([1], ["none"]), "30 rows": rows_asked(KS, BASELINES)}

    def ours(rows):
        taken.of(given, rows.weights(list(rows.measured), known))

    times = {name: [] for name in asked}
    ours(asked["LLMR alone"])  # first use
    for _ in range(2 if quick else 3):
        for name, rows in asked.items():
            times[name].append(seconds_of(lambda rows=rows: ours(rows)))
    few = 4 if quick else 8
    some = rollouts()
    some = type(some)(some.prompt, some.tokens[:few], some.actions[:few])
    weights = asked["LLMR alone"].weights(list(asked["LLMR alone"].measured)[:1], known)
    one_pass = seconds_of(lambda: passes(model, some, weights)) / few
    one, many = (median(times[name]) for name in asked)
    measured = len(asked["30 rows"].measured)
    print(
        f"head, 32 rollouts: LLMR alone {one:.2f} s, 30 rows ({measured} with what they are compared to) {many:.2f} s"
    )
    print(f"  ratio {many / one:.2f}")
    print(f"a backward pass of one rollout for one row {one_pass:.2f} s (mean of {few})")
    of_one, of_many = SAMPLES * one_pass / one, measured * SAMPLES * one_pass / many
    print(f"  32 rollouts take {of_one:.1f} times as long for one row, {of_many:.0f} times for {measured}")


def of_demo(quick):
    command = [
        sys.executable,
        "-m",
        "ketchup_eval.cli",
        "variance",
        "--threads",
        "1",
        *(["--limit", "16"] if quick else []),
    ]
    times = {"plain": [], "--gradient": []}
    for _ in range(1 if quick else 3):
        for name, found in times.items():
            with tempfile.TemporaryDirectory() as folder:
                words = [*command, *([name] if name != "plain" else []), "--runs-dir", folder]
                found.append(seconds_of_command(words))
    plain, gradient = (median(found) for found in times.values())
    print(f"demo: variance {plain:.0f} s, with --gradient {gradient:.0f} s, ratio {gradient / plain:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, 16 inputs of the demo")
    options = parser.parse_args()
    of_head(options.quick)
    of_demo(options.quick)


if __name__ == "__main__":
    main()
