"""Training runs side by side: their validation curves, seeds of one setting taken together."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ketchup.errors import RunError
from ketchup.kinds import misfit
from ketchup.manifests import read_manifest
from ketchup.runs import CHECKPOINTS, Run
from ketchup.training.metrics import read_metrics
from ketchup_eval.scores_file import read_scores
from ketchup_eval.stats.bootstrap import Estimate
from ketchup_eval.stats.seeds import mean_over_seeds

MUST_AGREE = ("task", "teacher", "data", "validation_limit", "max_new_tokens")
"""Settings without which curves would not show the same thing."""
ABOUT_OUTPUTS = {"no-answer", "length", "empty", "truncated"}
"""Rows of `scores.json` that are no scores."""
SHOWN = ("return", "kl", "length", "entropy", "ended", "loss")
"""Validation quantities, in the order of the table."""


@dataclass(frozen=True)
class Curve:
    """One setting: by quantity and optimiser step, the mean over its seeds.

    `scores` are the task metrics on the test split, of those that `evaluate` has measured for all of its runs.
    """

    label: str
    seeds: tuple[int, ...]
    values: Mapping[str, Mapping[int, Estimate]]
    scores: Mapping[str, Estimate]

    def last(self, quantity: str) -> Estimate | None:
        """The estimate at the last step."""
        steps = self.values.get(quantity)
        return steps[max(steps)] if steps else None


def learning_curves(runs: Sequence[Run]) -> list[Curve]:
    """The runs grouped by settings but for the seed, in the order given.

    Raises `RunError` for a run without metrics, runs that validate or were scored on different things, and one seed
    given twice.
    """
    settings = {run: _settings(run) for run in runs}
    _check_alike(settings)
    scores = _test_scores(runs)
    groups: dict[str, list[Run]] = {}
    for run, given in settings.items():
        rest = {name: value for name, value in given.items() if name not in {"seed", "preset", "overridden"}}
        groups.setdefault(json.dumps(rest, sort_keys=True), []).append(run)
    labels = _labels([settings[members[0]] for members in groups.values()])
    return [_curve(label, members, settings, scores) for label, members in zip(labels, groups.values(), strict=True)]


def mean_over_runs(logged: Sequence[Mapping[int, Mapping[str, float]]], quantity: str) -> dict[int, Estimate]:
    """By step, the mean of a quantity over runs that differ in their seed, at the steps where all of them have it."""
    shared = sorted(set.intersection(*({step for step, row in rows.items() if quantity in row} for rows in logged)))
    return {step: mean_over_seeds([rows[step][quantity] for rows in logged]) for step in shared}


def curves_json(curves: Sequence[Curve], runs: Sequence[Run]) -> dict[str, Any]:
    """What `curves.json` holds; every number is {value, low, high, n} with n seeds."""
    return {
        "schema": 1,
        "runs": [str(run) for run in runs],
        "curves": [
            {
                "label": curve.label,
                "seeds": curve.seeds,
                "test": {name: vars(estimate) for name, estimate in curve.scores.items()},
                "validation": {
                    name: [{"step": step, **vars(estimate)} for step, estimate in steps.items()]
                    for name, steps in curve.values.items()
                },
            }
            for curve in curves
        ],
    }


def _curve(
    label: str,
    members: Sequence[Run],
    settings: Mapping[Run, Mapping[str, Any]],
    scores: Mapping[Run, Mapping[str, float]],
) -> Curve:
    seeds = tuple(settings[run]["seed"] for run in members)
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise RunError(f"{label} with seed {seed} is there {seeds.count(seed)} times; name each run once.")
    logged = [_validations(run) for run in members]
    values: dict[str, dict[int, Estimate]] = {}
    chosen = [given["select"] for given in map(settings.__getitem__, members) if given.get("select")]
    for name in dict.fromkeys((*SHOWN, *chosen)):
        if means := mean_over_runs(logged, name):
            values[name] = means
    measured = sorted(set.intersection(*(set(scores[run]) for run in members)))
    return Curve(
        label, seeds, values, {name: mean_over_seeds([scores[run][name] for run in members]) for name in measured}
    )


def _test_scores(runs: Sequence[Run]) -> dict[Run, dict[str, float]]:
    """The test scores of each run, none where it was not evaluated; all must come from the same inputs and metrics."""
    found: dict[Run, dict[str, float]] = {}
    first: tuple[Run, list[object]] | None = None
    for run in runs:
        about = read_scores(run.scores).get("test")
        scores = {} if about is None else {n: x for n, x in about["scores"].items() if n not in ABOUT_OUTPUTS}
        found[run] = {name: score["value"] for name, score in scores.items() if score["value"] is not None}
        if about is None:
            continue
        meaning = [about["n"], about["references_fingerprint"], [score["signature"] for score in scores.values()]]
        first = first or (run, meaning)
        if meaning != first[1]:
            raise RunError(
                f"{first[0]} and {run} were scored on other inputs or by other metrics ({first[1]} and {meaning}); "
                "evaluate them alike, or report them one by one."
            )
    return found


def _settings(run: Run) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = read_manifest(run.folder)["settings"]
    if wrong := misfit(settings, {"method": str, "seed": int, "options": dict}):
        raise RunError(f"{run} is no training run, as {wrong} in its manifest; name runs of `ketchup train`.")
    return settings


def _validations(run: Run) -> dict[int, dict[str, float]]:
    """By step, the quantities of each validation."""
    found = {
        row["step"]: {name.removeprefix("validation_"): x for name, x in row.items() if name.startswith("validation_")}
        for row in read_metrics(run)
    }
    found = {step: row for step, row in found.items() if row}
    if not found:
        raise RunError(f"{run} has no validation in {run.metrics.name} yet; let it train, or name another run.")
    return found


def _check_alike(settings: Mapping[Run, Mapping[str, Any]]) -> None:
    first, *others = settings
    for other in others:
        for name in MUST_AGREE:
            one, two = settings[first].get(name), settings[other].get(name)
            if one != two:
                raise RunError(f"{first} and {other} differ in {name} ({one} and {two}); report them one by one.")


def _labels(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """The method, its K and baseline, and whatever else tells groups of one method apart.

    A setting that some run's manifest lacks, as it is older, tells nothing.
    """
    labels = []
    for given in groups:
        alike = [other for other in groups if other["method"] == given["method"]]
        options = _flat(given)
        k, baseline = options.get("k"), options.get("baseline", "none")
        label = given["method"] + (f" K={k}" if k else "") + (f" + {baseline}" if baseline != "none" else "")
        apart = [
            f"{name} {_short(value)}"
            for name, value in options.items()
            if name not in {"k", "baseline", "method", "seed"}
            and any(_flat(other).get(name, value) != value for other in alike)
        ]
        labels.append(", ".join([label, *apart]))
    return labels


def _short(value: Any) -> Any:
    """The end of a path that tells runs and checkpoints apart."""
    if not (isinstance(value, str) and "/" in value):
        return value
    return "/".join([part for part in value.split("/") if part != CHECKPOINTS][-2:])


def _flat(given: Mapping[str, Any]) -> dict[str, Any]:
    prints = {f"{name}_fingerprint" for name in ("student", "teacher", "rows")}
    dull = prints | {"options", "preset", "overridden", "processes", "select_signature", "select_higher_is_better"}
    return {**{name: value for name, value in given.items() if name not in dull}, **given["options"]}
