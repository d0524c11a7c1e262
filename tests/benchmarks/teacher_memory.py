"""Memory of the teacher pass: `ketchup.models.scoring.score` of two models against plain full logits of the teacher.

A random narrow Qwen2 with a vocabulary of 151,936 reads 32 rollouts of 300 tokens. Each variant runs in a process of
its own, and what counts is how far its peak rises above the loaded models.

    python tests/benchmarks/teacher_memory.py [--quick]
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

VOCABULARY = 151_936
ROWS, LENGTH = 32, 300
PROMPT = list(range(2, 22))
WANTED = 600


def peak() -> float:
    """Largest resident memory of this process so far, in MB of 2^20 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def network(seed):
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=False,
        eos_token_id=1,
    )
    return Qwen2ForCausalLM(config).eval()


def language_model(seed):
    """A model whose tokenizer is never asked for anything."""
    from ketchup.models.language_model import LanguageModel

    return LanguageModel("random", network(seed), None, VOCABULARY, 1, 1, None, f"seed {seed}", None)


def run_ours(length):
    """Teacher and student, as one variance study scores them."""
    import torch

    from ketchup.models.scoring import score

    teacher, student = language_model(0), language_model(1)
    tokens = torch.randint(2, VOCABULARY, (ROWS, length))
    loaded, start = peak(), time.monotonic()
    score(teacher, student, [PROMPT], tokens, torch.ones_like(tokens, dtype=torch.bool))
    return peak() - loaded, time.monotonic() - start


def run_full(length):
    """Teacher alone: float32 logits of all positions, q and v from them."""
    import torch

    teacher = network(0)
    tokens = torch.randint(2, VOCABULARY, (ROWS, length))
    loaded, start = peak(), time.monotonic()
    with torch.inference_mode():
        ids = torch.cat([torch.tensor([PROMPT]).expand(ROWS, -1), tokens], dim=1)
        logits = teacher(input_ids=ids, logits_to_keep=length + 1).logits[:, :-1]
        logits.gather(-1, tokens[:, :, None])
        logits.amax(-1)
    return peak() - loaded, time.monotonic() - start


RUNS = {"ours": run_ours, "full": run_full}


def measure(name, length):
    """MB and seconds of one variant, or `None` where the system ended its process for want of memory."""
    done = subprocess.run(
        [sys.executable, __file__, "--only", name, "--length", str(length)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        return None
    megabytes, seconds = map(float, done.stdout.split())
    return megabytes, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="rollouts of 60 tokens instead of 300")
    parser.add_argument("--only", choices=RUNS, help="one variant, in this process")
    parser.add_argument("--length", type=int, default=LENGTH)
    options = parser.parse_args()
    if options.only:
        print(*RUNS[options.only](options.length))
        return
    length = 60 if options.quick else options.length
    print(f"{ROWS} x {length} tokens, vocabulary {VOCABULARY:,}; peak above the loaded models")
    results = {name: measure(name, length) for name in RUNS}
    for name, label in (("ours", "chunked, teacher and student"), ("full", "full float32 logits, teacher alone")):
        found = results[name]
        shown = f"{found[0]:8,.0f} MB {found[1]:7.1f} s" if found else "not enough memory"
        print(f"{label:36s} {shown}")
    if all(results.values()):
        print(f"{'ratio':36s} {results['full'][0] / results['ours'][0]:8.1f}")
    print(f"wanted: at most {WANTED} MB for the first line")


if __name__ == "__main__":
    main()
