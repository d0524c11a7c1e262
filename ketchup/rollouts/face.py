"""Models, what they write and what that is worth, for people's own programs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, overload

import torch
from torch import Tensor

from ketchup import checks
from ketchup.choices import Dtype, EngineName, Split
from ketchup.devices import own_device, placement
from ketchup.errors import UsageError
from ketchup.models.builtin import model_of
from ketchup.models.language_model import LanguageModel
from ketchup.models.loading import check_same_vocabulary
from ketchup.models.placement import load_student, load_teacher
from ketchup.models.prompts import check_prompt, default_style, output_text, prompt_ids
from ketchup.models.scoring import score as score_both
from ketchup.models.scoring import score_teacher
from ketchup.rollouts.engines import engine as engine_named
from ketchup.rollouts.names import check_engine
from ketchup.rollouts.sampling import sample as draw
from ketchup.rollouts.stopping import before_stop
from ketchup.rollouts.types import Decoding
from ketchup.tasks import task_named
from ketchup.tasks.base import Input, Task
from ketchup.tasks.rows import load_inputs
from ketchup.where import Where

Prompts = Sequence[str] | Sequence[Sequence[int]]
LONGEST = 128
"""Tokens of an output to a prompt that belongs to no task, unless told."""


class Pair(NamedTuple):
    """A teacher and a student that speak of the same tokens.

    Each has transformers' own `network` and `tokenizer`, and `eos_ids`, the tokens that end an output.
    """

    teacher: LanguageModel
    student: LanguageModel


@dataclass(frozen=True, eq=False)
class Sampled:
    """What `sample` gives: R = B x N rollouts of B inputs, the N of an input adjacent.

    `ids` and `prompts` (token ids) are those of the inputs. `tokens[R, T]` are right-padded; `mask[R, T]` is True at
    the tokens that the model chose, eos included, and False in padding and where a calculator wrote. `ended[R]` is True
    where the model chose eos or wrote a stop string within the limit, and `texts` are the outputs without these.
    `temperature` and `top_k` are those of the sampling.
    """

    ids: tuple[str, ...]
    prompts: list[list[int]]
    tokens: Tensor
    mask: Tensor
    ended: Tensor
    texts: list[str]
    temperature: float = 1.0
    top_k: int = 0

    @property
    def groups(self) -> Tensor:
        """The number of each rollout's input [R], as `credit` wants it."""
        return torch.arange(len(self.prompts)).repeat_interleave(len(self.tokens) // max(1, len(self.prompts)))


@dataclass(frozen=True, eq=False)
class Scored:
    """What `score` gives: numbers [R, T] of each action, in nats, float32; 0 where `mask[R, T]` is False.

    Of the teacher, all four up to one constant per state: `q`, the logit of the action, `v`, the largest logit, and the
    state's `mean` and `logsumexp`. Of the student, `None` without one: `log_prob` of the action, `collision` Σ_a π(a)²
    and `own_value` Σ_a π(a) q(a) under the distribution that was sampled; `kl` = KL(teacher‖student) and `entropy` of
    the student as it is. `groups[R]` numbers the inputs.
    """

    mask: Tensor
    groups: Tensor
    q: Tensor
    v: Tensor
    mean: Tensor
    logsumexp: Tensor
    log_prob: Tensor | None = None
    kl: Tensor | None = None
    entropy: Tensor | None = None
    collision: Tensor | None = None
    own_value: Tensor | None = None


@overload
def load(
    name: str,
    student: None = None,
    *,
    device: str = "auto",
    dtype: Dtype = "auto",
    runs_dir: str | Path = "runs",
) -> LanguageModel: ...


@overload
def load(
    name: str, student: str, *, device: str = "auto", dtype: Dtype = "auto", runs_dir: str | Path = "runs"
) -> Pair: ...


def load(
    name: str,
    student: str | None = None,
    *,
    device: str = "auto",
    dtype: Dtype = "auto",
    runs_dir: str | Path = "runs",
) -> LanguageModel | Pair:
    """A model, or a teacher with its student, by name, ready to sample and to score.

    Names are built-in ones (`demo-teacher`, `demo-student-1` to `demo-student-3`, `smollm2-135m`), training runs under
    `runs_dir`, of which the best checkpoint is taken, folders made by `save_pretrained` or hub ids. Encoder-decoder and
    decoder-only models are used alike. A model's `network` and `tokenizer` are those of transformers.

    `device` is `auto` (a GPU where there is one), `cpu`, `cuda` or `cuda:N`. `dtype` is that of the weights: `auto`,
    `float32`, `bfloat16` or `float16`; `auto` is float32, but bfloat16 for the teacher of a pair on a GPU that has it.

    Example:

        teacher, student = ketchup.load("demo-teacher", "demo-student-1", device="cpu")
        print(student.network.num_parameters(), student.eos_ids)

    Raises `ModelError` for a model that is not there or cannot be read, and for a pair whose tokens or ends of outputs
    differ; `UsageError` for a device or type that is not there.
    """
    for one in (name, *([] if student is None else [student])):
        checks.name("A model", one)
    placed = placement(own_device(device), Where(device, dtype, dtype))
    runs = Path(runs_dir)
    if student is None:
        return load_student(model_of(name, runs), placed)
    writes = load_student(model_of(student, runs), placed)
    pair = Pair(load_teacher(model_of(name, runs), placed), writes)
    check_same_vocabulary(*pair)
    return pair


def sample(
    model: LanguageModel,
    prompts: Prompts | None = None,
    *,
    task: str | None = None,
    split: Split = "test",
    data: str | Path | None = None,
    limit: int | None = None,
    samples: int = 1,
    max_new_tokens: int | None = None,
    stop: Sequence[str] | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int = 0,
    engine: EngineName = "auto",
) -> Sampled:
    """Draws `samples` rollouts of each prompt from the model, exactly from softmax(logits / temperature).

    `prompts` are texts, read as the tokenizer reads them, or token ids. With a `task` they are its sources, which get
    its instruction and the model's chat template, and its calculator writes into the outputs; without `prompts` they
    are the first `limit` rows of its `split` (those of the folder `data`, if given). `max_new_tokens` is by default
    that of the task, else 128. An output ends at eos or with the first of the strings `stop`, by default the task's. A
    `top_k` above 0 draws from the likeliest alone; `temperature=0` is greedy. The same `seed` draws the same rollouts,
    on one engine. `engine` is what `--engine` takes, such as `transformers`; `auto` is the fastest that is exact.

    Example:

        student = ketchup.load("demo-student-1", device="cpu")
        drawn = ketchup.sample(student, task="demo", limit=2, samples=3)
        print(drawn.texts[0], drawn.mask.sum(dim=1), drawn.ended)

    Raises `UsageError` for options that cannot be, `DataError` for rows that cannot be read, and `ModelError` for a
    prompt that the model has no room or no tokens for.
    """
    checks.whole("samples", samples)
    checks.seed("seed", seed)
    checks.choice("split", split, Split)
    check_engine(engine)
    _check_loaded(model)
    checks.several(prompts=prompts, stop=stop)
    known = None if task is None else task_named(task)
    longest = known.max_new_tokens if known else LONGEST
    decoding = Decoding(longest if max_new_tokens is None else max_new_tokens, temperature, top_k)
    decoding.check_fits(model)
    if known is None:
        ids, asked = _plain(model, prompts or [], decoding.max_new_tokens)
    else:
        inputs = _rows(known, split, data, limit) if prompts is None else _sources(prompts)
        ids, asked = _of_task(model, replace(known, max_new_tokens=decoding.max_new_tokens), inputs)
    if not asked:
        raise UsageError("sample takes prompts, or a task whose rows are the prompts; there are none.")
    ends = tuple(stop if stop is not None else known.stop if known else ())
    drawn = draw(
        engine_named(engine, model),
        model,
        ids,
        asked,
        samples,
        decoding,
        seed,
        calculator=known is not None and known.calculator,
        stop=ends,
    )
    written = [row[there].tolist() for row, there in zip(drawn.tokens, drawn.token_mask, strict=True)]
    texts = [before_stop(output_text(model, tokens), ends) for tokens in written]
    return Sampled(drawn.ids, asked, drawn.tokens, drawn.action_mask, drawn.ended, texts, temperature, top_k)


def score(teacher: LanguageModel, sampled: Sampled, student: LanguageModel | None = None) -> Scored:
    """The numbers of each action of some rollouts that returns, gauges and baselines are computed from.

    One teacher-forced pass; memory does not grow with the vocabulary. Without a `student` it is the teacher's half,
    for a third of the time or less. Outputs of other programs are scored as a `Sampled` of one's own.

    Example:

        teacher, student = ketchup.load("demo-teacher", "demo-student-1", device="cpu")
        found = ketchup.score(teacher, ketchup.sample(student, task="demo", limit=2, samples=2), student)
        given = {"q": found.q, "v": found.v, "mask": found.mask, "groups": found.groups}
        w = ketchup.credit(**given, estimator="k-step:4", baseline="leave-one-out")
        print(found.kl[found.mask].mean(), w.weights.shape)

    Raises `ModelError` where teacher and student differ in their tokens or in the tokens that end an output.
    """
    _check_loaded(teacher, *([] if student is None else [student]))
    rollouts = (sampled.prompts, sampled.tokens, sampled.mask)
    if student is None:
        return Scored(sampled.mask, sampled.groups, **vars(score_teacher(teacher, *rollouts)))
    check_same_vocabulary(teacher, student)
    drawn = (sampled.temperature, sampled.top_k)
    of_teacher, of_student = score_both(teacher, student, *rollouts, None, *drawn)
    return Scored(sampled.mask, sampled.groups, **vars(of_teacher), **vars(of_student))


Asked = tuple[list[str], list[list[int]]]
"""Names of inputs, and the token ids of their prompts."""


def _check_loaded(*models: object) -> None:
    for model in models:
        if not isinstance(model, LanguageModel):
            raise UsageError(f"{model!r} is no loaded model; write ketchup.load({model!r}).")


def _plain(model: LanguageModel, prompts: Prompts, longest: int) -> Asked:
    asked = [list(model.tokenizer(one).input_ids if isinstance(one, str) else one) for one in prompts]
    names = [str(number) for number in range(1, len(asked) + 1)]
    for name, ids in zip(names, asked, strict=True):
        check_prompt(name, ids, longest, model)
    return names, asked


def _of_task(model: LanguageModel, task: Task, inputs: Sequence[Input]) -> Asked:
    style = default_style(model)
    return [one.id for one in inputs], [prompt_ids(model, task, one, style) for one in inputs]


def _rows(task: Task, split: Split, data: str | Path | None, limit: int | None) -> list[Input]:
    return load_inputs(task, split, None if data is None else Path(data), limit)


def _sources(prompts: Prompts) -> list[Input]:
    sources = [one for one in prompts if isinstance(one, str)]
    if len(sources) < len(prompts):
        raise UsageError("With a task, prompts are its sources as texts; leave the task out to give token ids.")
    return [Input(str(number), source, "") for number, source in enumerate(sources, start=1)]
