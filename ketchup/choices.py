"""The vocabularies of options, for whoever offers them without importing what they stand for.

A word that only one of a closed list can be is typed here once. What plug-ins add to - methods, estimators, baselines,
engines, metrics, tasks - are tables beside what they hold, whose names are read from there.
"""

from pathlib import Path
from typing import Literal

READY_TASKS = tuple(sorted(path.stem for path in Path(__file__).with_name("tasks").glob("*.toml")))
"""What `--task` takes beside a file of one's own."""
Split = Literal["train", "validation", "test"]

Tail = Literal["segment", "one-step"]
"""Of a K-step return: what stands where fewer than K actions are left, see `ketchup.maths.returns`."""
Tails = Literal["segment", "one-step", "both"]
Gauge = Literal["raw", "centered", "logprob"]
"""The constant of the teacher's logits in each state, see `ketchup.maths.gauges`."""
Clip = Literal["return", "step", "none"]
Truncation = Literal["terminal", "drop"]
"""What a rollout without eos is worth, and what is held within a range: see `ketchup.methods.credit`."""

PromptStyle = Literal["source", "chat", "plain"]
"""`source`: the prefixed source of an encoder-decoder model; `chat`: the tokenizer's chat template around the
task's instruction; `plain`: the instruction and a line that opens the answer, for base models."""
EngineName = str
"""One of `READY_ENGINES`, vLLM with `:tpN` behind it, or what a plug-in adds to `ketchup.rollouts.engines.ENGINES`."""
READY_ENGINES = (
    "auto",
    "ctranslate2",
    "ctranslate2:int8",
    "ctranslate2:bfloat16",
    "ctranslate2:float16",
    "vllm",
    "vllm:bfloat16",
    "transformers",
)
"""What `--engine` takes without a plug-in. What follows a colon is the type that it computes in, where that is not the
model's own; `vllm:tp2` and `vllm:bfloat16:tp2` spread the model over two GPUs."""

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""Of a model's weights."""
SavedDtype = Literal["float32", "bfloat16", "float16"]
Precision = Literal["auto", "float32", "bfloat16"]
"""Of matrix products."""
Schedule = Literal["constant", "linear", "cosine"]
Normalization = Literal["tokens", "sequence"]
"""What the loss of a step is divided by: its actions, or its trajectories."""
Which = Literal["best", "last"]
"""Of the checkpoints of a training run."""

BleuTokenizer = Literal["13a", "intl", "zh", "char", "ja-mecab", "ko-mecab", "none"]
"""sacrebleu's tokenizers that need no download."""
AuditSignature = Literal["weights", "loss", "trl", "verl", "tinker"]
"""How an audited function is called, see `ketchup_eval.audit.signatures`."""

SERVED = "served"
"""What is recorded in place of a teacher's type where only its server knows that."""
