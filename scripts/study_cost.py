"""What a study of return estimators costs in GPU-hours, by phase: the paper's T5-base under FLAN-T5-XL.

    python scripts/study_cost.py                            # from FLOPs and assumed utilisations
    python scripts/study_cost.py --measured variance.json   # from what a run on your GPU took, same models and lengths

FLOPs are 2 for each weight that a token meets, and 4 for each number of a key that it attends to. Keys and values of
the prompt are computed for every rollout, encoder states once an input. No GPU was there to measure on: utilisations
are assumptions, printed with the result. `--measured` takes tokens per second from the `seconds` and lengths of a
`variance.json` of a study that was not resumed; sampling and scoring are measured then.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

VOCABULARY = 32128
PEAKS = {"h100": (989e12, 67e12), "a100": (312e12, 19.5e12)}
"""FLOPs per second by the data sheets: dense bfloat16, and float32 without TF32."""
BYTES_A_TOKEN = 44
"""Of stored numbers: ten float32 columns and the token's id, before compression."""
WIRE_BYTES = 150
"""That a server sends for each token it reads, measured: docs/scaling.md."""


@dataclass(frozen=True)
class Shape:
    """A T5 with gated layers and a head of its own; `inner` is heads times their width."""

    name: str
    width: int
    inner: int
    feed_forward: int
    layers: int
    bytes_a_weight: int

    @property
    def encoder(self) -> int:
        """Weights that a prompt token meets."""
        return self.layers * (4 * self.width * self.inner + 3 * self.width * self.feed_forward)

    @property
    def decoder(self) -> int:
        """Weights that an action meets: but for keys and values of the prompt."""
        return self.layers * (6 * self.width * self.inner + 3 * self.width * self.feed_forward) + self.head

    @property
    def cross(self) -> int:
        """Weights that a prompt token meets anew for each rollout: its keys and values in the decoder."""
        return self.layers * 2 * self.width * self.inner

    @property
    def head(self) -> int:
        """Of the vocabulary."""
        return self.width * VOCABULARY

    @property
    def weights(self) -> int:
        """All, the embedding of tokens included."""
        return self.encoder + self.decoder + self.cross + self.head

    def flops(self, inputs: int, samples: int, tokens: int, prompt: int) -> float:
        """Of one pass over all rollouts, or of drawing them."""
        rollouts = inputs * samples
        attention = 4 * self.layers * self.inner * (prompt + tokens / 2)
        each = tokens * (2 * self.decoder + attention) + 2 * prompt * self.cross
        return inputs * prompt * (2 * self.encoder + 4 * self.layers * self.inner * prompt) + rollouts * each


STUDENT = Shape("T5-base", 768, 768, 2048, 12, 4)
TEACHER = Shape("FLAN-T5-XL", 2048, 2048, 5120, 24, 2)


def rates(file: Path) -> dict[str, float]:
    """Tokens per second of sampling and of scoring in a run."""
    result = json.loads(file.read_text())
    lengths = sum(student["mean_length"]["value"] for student in result["students"])
    tokens = result["inputs"] * result["samples"] * lengths
    return {phase: tokens / result["seconds"][phase] for phase in ("sampling", "scoring")}


def seconds_of(options: argparse.Namespace, tokens: int) -> tuple[str, dict[str, float]]:
    """What the seconds rest on, in words, and those of each phase."""
    if options.measured:
        found = {phase: tokens / rate for phase, rate in rates(options.measured).items()}
        return f"tokens per second of {options.measured}: measured", found
    size = (options.inputs, options.samples, options.tokens, options.prompt)
    narrow, wide = PEAKS[options.gpu]
    student, teacher = STUDENT.flops(*size), TEACHER.flops(*size)
    basis = (
        f"{options.gpu.upper()}, {narrow / 1e12:g} TFLOP/s in bfloat16 (teacher), {wide / 1e12:g} in float32 (student)"
        f"\n       passes at {options.of_passes:.0%} of them and sampling at {options.of_sampling:.0%}: assumed"
    )
    return basis, {
        f"sampling ({STUDENT.name})": student / wide / options.of_sampling,
        f"scoring: {STUDENT.name}": student / wide / options.of_passes,
        f"scoring: {TEACHER.name}": teacher / narrow / options.of_passes,
    }


def report(options: argparse.Namespace) -> str:
    """The table, and what a study of the size needs beside time."""
    rollouts = options.inputs * options.samples
    tokens = rollouts * options.tokens
    basis, seconds = seconds_of(options, tokens)
    weights = sum(shape.weights * shape.bytes_a_weight for shape in (STUDENT, TEACHER))
    read, once = rollouts * (options.prompt + options.tokens), options.inputs * options.prompt + tokens
    lines = [
        f"{options.inputs:,} inputs of {options.prompt} tokens x {options.samples} rollouts of {options.tokens}",
        f"basis: {basis}",
        *(f"{phase:24s} {s / 3600:7.2f} GPU-hours {tokens / s:10,.0f} tokens/s" for phase, s in seconds.items()),
        f"{'together':24s} {sum(seconds.values()) / 3600:7.2f} GPU-hours",
        f"{'weights':24s} {weights / 1e9:7.1f} GB in each process",
        f"{'stored numbers':24s} {tokens * BYTES_A_TOKEN / 1e9:7.1f} GB at most",
        f"{'a served teacher':24s} {read * WIRE_BYTES / 1e9:7.1f} GB received, {read / once:.1f} times the tokens read",
    ]
    return "\n".join(lines) + "\n"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The size of the study and what its costs rest on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64, help="of a rollout")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of a prompt")
    parser.add_argument("--gpu", choices=PEAKS, default="h100")
    parser.add_argument("--of-passes", type=float, default=0.4, help="share of the peak that forward passes reach")
    parser.add_argument("--of-sampling", type=float, default=0.05, help="share of the peak in drawing token by token")
    parser.add_argument("--measured", type=Path, help="a variance.json: its tokens per second in place of both")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.stdout.write(report(arguments()))
