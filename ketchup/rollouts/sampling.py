"""From an engine's tokens to rollouts, with the task's calculator as part of the environment."""

from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor

from ketchup.models.language_model import LanguageModel, pad
from ketchup.rollouts import stepwise
from ketchup.rollouts.calculator import Calculator, Written
from ketchup.rollouts.stopping import stopped
from ketchup.rollouts.types import Decoding, Engine, Rollouts

PILOT_ROWS = 16
"""Rows drawn to see how often the calculator disagrees."""
MENDED_SHARE = 0.5
"""Share of a pilot's rows to be mended above which rows are written token by token.

About where the two ways are equally fast with CTranslate2 on a CPU (`tests/benchmarks/calculator.py`).
"""


def sample(
    engine: Engine,
    model: LanguageModel,
    ids: Sequence[str],
    prompts: Sequence[Sequence[int]],
    samples: int,
    decoding: Decoding,
    seed: int,
    *,
    calculator: bool,
    stop: Sequence[str] = (),
) -> Rollouts:
    """Draws `samples` rollouts of each prompt, up to the first of the strings `stop`.

    With the calculator, as soon as a row reads `<<3*4=` the environment writes `12>>`: these tokens belong to the
    state, they are no actions. There are two ways to the same distribution. Token by token, they are read as they are
    due. Or rows are drawn whole and mended: where what was drawn after the equals sign is the forced text it stands,
    otherwise the row is cut there, the forced text put in and the rest drawn again. That is exact too: whatever follows
    depends on the state only, however the state came about.

    The engine says which it is: see `Engine.mends`.
    """
    seeds = Random(seed)
    if not calculator:
        drawn = engine.sample(prompts, None, samples, decoding, seeds.getrandbits(31))
        rollouts = _as_rollouts(model, ids, [Written.drawn(*written) for written in drawn.with_log_probs])
        return stopped(model, rollouts, stop)
    machine = Calculator(model)
    if _token_by_token(engine, machine, prompts, decoding, seeds):
        rows = stepwise.write(engine.model, prompts, samples, decoding, seeds.getrandbits(31), machine)
    else:
        rows = _mended(engine, machine, prompts, samples, decoding, seeds)
    return stopped(model, _as_rollouts(model, ids, rows), stop)


def _token_by_token(
    engine: Engine, machine: Calculator, prompts: Sequence[Sequence[int]], decoding: Decoding, seeds: Random
) -> bool:
    if engine.mends == "always" or not stepwise.supports(engine.model):
        return False
    if engine.mends == "never":
        return True
    apart = max(1, -(-len(prompts) // PILOT_ROWS))
    pilot = engine.sample(prompts[::apart], None, 1, decoding, seeds.getrandbits(31))
    cut = sum(_cut(machine, Written.drawn(*written), decoding.max_new_tokens) for written in pilot.with_log_probs)
    return cut > MENDED_SHARE * len(pilot.rows)


def _mended(
    engine: Engine,
    machine: Calculator,
    prompts: Sequence[Sequence[int]],
    samples: int,
    decoding: Decoding,
    seeds: Random,
) -> list[Written]:
    drawn = engine.sample(prompts, None, samples, decoding, seeds.getrandbits(31))
    rows = [Written.drawn(*written) for written in drawn.with_log_probs]
    pending = _cut_rows(machine, rows, range(len(rows)), decoding.max_new_tokens)
    while pending:
        prefixes = [rows[index].tokens for index in pending]
        again = [prompts[index // samples] for index in pending]
        more = engine.sample(again, prefixes, 1, decoding, seeds.getrandbits(31))
        for index, written in zip(pending, more.with_log_probs, strict=True):
            rows[index].extend(*written)
        pending = _cut_rows(machine, rows, pending, decoding.max_new_tokens)
    return rows


def _cut_rows(machine: Calculator, rows: list[Written], indices: Sequence[int], limit: int) -> list[int]:
    """Cuts each row at the first place where the environment wrote something else; indices of those to be continued."""
    return [index for index in indices if _cut(machine, rows[index], limit) and len(rows[index].tokens) < limit]


def _cut(machine: Calculator, row: Written, limit: int) -> bool:
    found = machine.next_forced(row.tokens, row.read)
    while found:
        start, forced = found
        row.read = start + len(forced)
        forced = forced[: limit - start]
        if row.tokens[start : row.read] != forced:
            row.force(start, forced)
            return True
        row.action_mask[start : row.read] = [False] * len(forced)
        found = machine.next_forced(row.tokens, row.read)
    return False


def _as_rollouts(model: LanguageModel, ids: Sequence[str], rows: list[Written]) -> Rollouts:
    tokens, token_mask = pad([row.tokens for row in rows], model.pad_id)
    chose, _ = pad([[int(action) for action in row.action_mask] for row in rows], 0)
    ended = torch.tensor([bool(row.tokens) and row.tokens[-1] in model.eos_ids and row.action_mask[-1] for row in rows])
    actions = chose.bool() & token_mask
    return Rollouts(tuple(ids), tokens, token_mask, actions, ended, _log_probs(rows, actions))


def _log_probs(rows: list[Written], actions: Tensor) -> Tensor | None:
    """Of all actions `actions[R, T]`, as the engine drew them; `None` unless it tells of each."""
    found = torch.zeros(actions.shape)
    for index, row in enumerate(rows):
        found[index, : len(row.log_probs)] = torch.tensor(row.log_probs)
    return torch.where(actions, found, 0) if found[actions].isfinite().all() else None
