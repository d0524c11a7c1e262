"""Two methods on the same inputs: differences with intervals, p-values and what this n could have found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ketchup import checks
from ketchup.errors import DataError, UsageError
from ketchup.runs import Run
from ketchup.tasks import task_named
from ketchup.tasks.base import Input, Task
from ketchup_eval.evaluation.evaluate import DEFAULT_TASK
from ketchup_eval.evaluation.evaluation_settings import EvaluationSettings
from ketchup_eval.evaluation.outputs import Outputs, outputs_of
from ketchup_eval.evaluation.scores import UNKNOWN_TEACHER, Series, describing_series
from ketchup_eval.evaluation.segments import segment_statistics
from ketchup_eval.inputs import find_inputs
from ketchup_eval.metrics import metrics_for, unread, with_bleu_tokenizer
from ketchup_eval.metrics.base import Metric, Scale, references_of
from ketchup_eval.predictions import predictions_file, read_outputs
from ketchup_eval.scores_file import recorded as recorded_of
from ketchup_eval.stats.bootstrap import Array, Bootstrap, Estimate
from ketchup_eval.stats.corpus import (
    centred_p_value,
    percentile_estimate,
    randomisation_p_value,
    resampled_sums,
    smallest_detectable,
)
from ketchup_eval.stats.multiplicity import holm
from ketchup_eval.stats.permutation import sign_flip_p_values
from ketchup_eval.stats.proportions import mcnemar_mid_p, paired_difference
from ketchup_eval.stats.seeds import compare_runs

SCHEMA = 1
COMPARED = ("task", "split", "references_fingerprint", "max_new_tokens")
"""What two evaluations must share for their numbers to be comparable, beside each score's signature."""
TIE = 1e-9


@dataclass(frozen=True)
class EvaluatedRun:
    """One run's outputs; `recorded` is what its `scores.json` says about them, `None` without that file."""

    name: str
    outputs: Outputs
    recorded: Mapping[str, Any] | None
    return_signature: str


@dataclass(frozen=True)
class Comparison:
    """b against a in one score, in its unit. `difference` is b - a; `improved`, `tied`, `worsened` count inputs.

    `p` is that of `test`, `holm` the same adjusted for all comparisons of the command; `bootstrap_p` is a second
    opinion on corpus scores. `detectable` is the smallest true difference found with power 80% at level 5%, absent
    where nothing differs. With several runs of a method, values are means over runs, and inputs count by that mean. The
    interval of a share of one run is Newcombe's, that of several runs a t interval, any other a bootstrap's.
    """

    a: str
    b: str
    score: str
    higher_is_better: bool
    value_a: float | None
    value_b: float | None
    difference: Estimate
    test: str
    p: float | None
    holm: float | None
    bootstrap_p: float | None
    improved: int
    tied: int
    worsened: int
    detectable: float | None
    signature: str


@dataclass(frozen=True)
class CompareResult:
    """All comparisons of a command, the differences that `--allow-different` let pass, and what metrics do not read."""

    task: str
    split: str
    n: int
    seed: int
    resamples: int
    trials: int
    comparisons: list[Comparison]
    notes: list[str]
    unread: list[str]


def compare(
    a: Sequence[str],
    bs: Sequence[Sequence[str]],
    runs_dir: Path,
    settings: EvaluationSettings,
    trials: int,
    allow_different: bool,
) -> CompareResult:
    """Each b against a; every method is one run or several seeds of it."""
    checks.whole("--trials", trials, most=checks.MOST_DRAWS)
    names = [name for method in (a, *bs) for name in method]
    if len(set(names)) < len(names):
        raise UsageError("A run is named twice; name each run once.")
    files = {name: predictions_file(name, runs_dir, settings.split) for name in names}
    recorded = {name: recorded_of(files[name], settings.split) for name in names}
    of_a = recorded[a[0]] or {}
    settings = settings.completed(of_a)
    task = task_named(settings.task or DEFAULT_TASK)
    inputs = find_inputs(task, settings.split, settings.rows, settings.limit or of_a.get("n"))
    runs = {name: _run(name, files[name], inputs, recorded[name]) for name in names}
    notes = _differences([runs[name] for name in names], task, allow_different)
    metrics = metrics_for(task, settings.metrics, settings.bleu_tokenize)
    if settings.bleu_tokenize is None and of_a.get("bleu_tokenize"):
        metrics = with_bleu_tokenizer(metrics, of_a["bleu_tokenize"])
    statistics = {
        name: segment_statistics(metrics, run.outputs.items, settings.workers, _kept(files[name]))
        for name, run in runs.items()
    }
    found = []
    for b in bs:
        pair = _Pair([runs[name] for name in a], [runs[name] for name in b], settings, trials)
        found += [pair.of_metric(m, statistics, scale) for m in metrics for scale in m.scales]
        found += pair.of_series()
    adjusted = holm([one.p for one in found])
    found = [replace(one, holm=p) for one, p in zip(found, adjusted, strict=True)]
    return CompareResult(
        task=task.name,
        split=settings.split,
        n=len(inputs),
        seed=settings.seed,
        resamples=settings.resamples,
        trials=trials,
        comparisons=found,
        notes=notes,
        unread=unread(metrics, runs[a[0]].outputs.references, *(run.outputs.texts for run in runs.values())),
    )


def comparison_json(study: CompareResult) -> dict[str, Any]:
    """The content of `--json` and of the file written by `--out`."""
    return {"schema": SCHEMA, **asdict(study)}


@dataclass(frozen=True)
class _Pair:
    """Method a and method b, each its runs."""

    a: list[EvaluatedRun]
    b: list[EvaluatedRun]
    settings: EvaluationSettings
    trials: int

    def of_metric(self, metric: Metric, statistics: Mapping[str, Mapping[str, Array]], scale: Scale) -> Comparison:
        sides = [[statistics[run.name][metric.name] for run in side] for side in (self.a, self.b)]
        return self._compare(scale, sides[0], sides[1], metric.sign(references_of(self.a[0].outputs.items)))

    def of_series(self) -> list[Comparison]:
        """The return, over the inputs that all runs have it for."""
        columns = [[_return(run) for run in side] for side in (self.a, self.b)]
        if any(series is None for side in columns for series in side):
            return []
        known = [[series for series in side if series is not None] for side in columns]
        present = ~np.isnan(np.stack([series.values for side in known for series in side])).any(axis=0)
        if not present.any():
            return []
        sides = [[series.values[present][:, None] for series in side] for side in known]
        return [self._compare(known[0][0].scale, sides[0], sides[1], known[0][0].signature)]

    def _compare(self, scale: Scale, a: list[Array], b: list[Array], signature: str) -> Comparison:
        n = len(a[0])
        segments_a, segments_b = (np.mean([scale.of_segments(run) for run in side], axis=0) for side in (a, b))
        gains = (segments_b - segments_a) * (1 if scale.higher_is_better else -1)
        value_a, value_b = (np.mean([scale.of_sums(run.sum(axis=0), n) for run in side]) for side in (a, b))
        found = self._of_runs(scale, a, b) if len(a) + len(b) > 2 else self._of_pair(scale, a[0], b[0])
        return Comparison(
            a=" ".join(Path(run.name).name for run in self.a),
            b=" ".join(Path(run.name).name for run in self.b),
            score=scale.name,
            higher_is_better=scale.higher_is_better,
            value_a=None if np.isnan(value_a) else float(value_a),
            value_b=None if np.isnan(value_b) else float(value_b),
            difference=found.difference,
            test=found.test if n > 1 else "none",
            p=found.p if n > 1 else None,
            holm=None,
            bootstrap_p=found.bootstrap_p if n > 1 else None,
            improved=int((gains > TIE).sum()),
            tied=int((np.abs(gains) <= TIE).sum()),
            worsened=int((gains < -TIE).sum()),
            detectable=found.detectable if n > 1 else None,
            signature=signature,
        )

    def _of_runs(self, scale: Scale, a: list[Array], b: list[Array]) -> "_Found":
        n = len(a[0])
        bootstrap = Bootstrap(n, self.settings.seed, self.settings.resamples)
        result = compare_runs(a, b, lambda sums: scale.of_sums(sums, n), bootstrap)
        return _Found(result.difference, "t over runs and inputs", result.p, None, result.detectable)

    def _of_pair(self, scale: Scale, a: Array, b: Array) -> "_Found":
        n, seed = len(a), self.settings.seed
        rule = lambda sums: scale.of_sums(sums, n)  # noqa: E731
        bootstrap = Bootstrap(n, seed, self.settings.resamples)
        resampled = rule(resampled_sums(bootstrap, b)) - rule(resampled_sums(bootstrap, a))
        observed = float(rule(b.sum(axis=0)) - rule(a.sum(axis=0)))
        difference, bootstrap_p = percentile_estimate(observed, resampled, n), None
        segments_a, segments_b = scale.of_segments(a), scale.of_segments(b)
        if scale.nature == "corpus":
            test, (p, *_) = "approximate randomisation", randomisation_p_value(a, b, [rule], seed, self.trials)
            bootstrap_p = centred_p_value(observed, resampled)
        elif scale.nature == "share":
            only_a, only_b = int((segments_a > segments_b).sum()), int((segments_b > segments_a).sum())
            test, p = "McNemar mid-p", mcnemar_mid_p(only_a, only_b)
            both = int((np.minimum(segments_a, segments_b) > 0).sum())
            difference = paired_difference(both, only_a, only_b, n - both - only_a - only_b).scaled(100)
        else:
            gains = (segments_b - segments_a)[:, None]
            test, (p, *_) = "sign-flip permutation", sign_flip_p_values(gains, seed, self.trials)
        return _Found(difference, test, p, bootstrap_p, smallest_detectable(resampled))


class _Found(NamedTuple):
    """What a test says, whichever it was."""

    difference: Estimate
    test: str
    p: float | None
    bootstrap_p: float | None
    detectable: float | None


def _kept(predictions: Path) -> Path | None:
    """Where an evaluation keeps the statistics of a run's predictions; `None` for a file that belongs to no run."""
    run = Run.of_predictions(predictions)
    return run.segments(predictions.stem) if run else None


def _run(name: str, file: Path, inputs: Sequence[Input], recorded: Mapping[str, Any] | None) -> EvaluatedRun:
    predictions = read_outputs(file, [one.id for one in inputs])
    signature = ((recorded or {}).get("scores") or {}).get("return", {}).get("signature", UNKNOWN_TEACHER)
    return EvaluatedRun(name, outputs_of(predictions, inputs, str(file)), recorded, signature)


def _return(run: EvaluatedRun) -> Series | None:
    found = [one for one in describing_series(run.outputs, run.return_signature) if one.scale.name == "return"]
    return found[0] if found else None


def _differences(runs: Sequence[EvaluatedRun], task: Task, allowed: bool) -> list[str]:
    """Where the records of runs disagree; an error unless `allowed`."""
    known = [run for run in runs if run.recorded is not None]
    notes = []
    for run in known:
        keys = task.changed_since((run.recorded or {}).get("task_file") or {}) if task.path else []
        if keys and _hash(run.recorded or {}):
            notes.append(f"{', '.join(keys)} of {task.path} changed since {run.name} was evaluated")
    for other in known[1:]:
        first, second = known[0].recorded or {}, other.recorded or {}
        names = [name for name in COMPARED if name in first and name in second and first[name] != second[name]]
        if _hash(first) and _hash(first) == _hash(second):
            names = [name for name in names if name != "task"]  # one file by two paths
        notes += [f"{name}: {first[name]} ({known[0].name}), {second[name]} ({other.name})" for name in names]
        ours, theirs = first.get("scores", {}), second.get("scores", {})
        for score in ours.keys() & theirs.keys():
            if ours[score]["signature"] != theirs[score]["signature"]:
                notes.append(
                    f"signature of {score}: {ours[score]['signature']} ({known[0].name}), "
                    f"{theirs[score]['signature']} ({other.name})"
                )
    notes = sorted(set(notes))
    if notes and not allowed:
        raise DataError(
            f"Unlike things are not compared: {'; '.join(notes)}; evaluate both alike, or pass --allow-different."
        )
    return notes


def _hash(recorded: Mapping[str, Any]) -> str | None:
    """That of a user's own task file; `None` for a ready task."""
    found: str | None = (recorded.get("task_file") or {}).get("hash")
    return found
