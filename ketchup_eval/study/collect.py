"""What a study found, read from its runs: the content of `study.json`, from which tables, page and claims are made.

It can be read while the study still runs; what is not there yet is absent. Every number is {value, low, high, n}: over
seeds where a method has several (n seeds, Student's t), else over inputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ketchup.files import atomic_write_json, read_kept_json
from ketchup.manifests import read_manifest
from ketchup.runs import Run
from ketchup_eval.metrics import METRICS as TASK_METRICS
from ketchup_eval.scores_file import read_scores
from ketchup_eval.stats.multiplicity import holm
from ketchup_eval.stats.seeds import mean_over_seeds
from ketchup_eval.study.logs import training_log
from ketchup_eval.study.node import Node
from ketchup_eval.study.plan import Plan
from ketchup_eval.study.ranking import read_rankings
from ketchup_eval.study.shell import shell_line
from ketchup_eval.study.stamps import LOGS, read_stamps

SCHEMA = 1
STUDY = "study.json"
ABOUT_OUTPUTS = frozenset({"no-answer", "length", "empty", "truncated"})
"""Rows of `scores.json` that tell about outputs and are no scores."""
REMEDY = "delete it and run the study again"

Content = dict[str, Any]


def collect(plan: Plan, nodes: Mapping[str, Node], folder: Path) -> Content:
    """All that is there of a study. Paths in it are relative to `folder`."""
    runs = [_training(node, folder) for node in nodes.values() if node.kind == "train"]
    known = [run for run in runs if run is not None]
    begun = [_model(node, folder) for node in nodes.values() if node.kind == "evaluate"]
    return {
        "schema": SCHEMA,
        "name": plan.name,
        "plan": {
            "file": plan.file.name,
            "digest": plan.digest,
            "reference": {command: contest.reference for command, contest in plan.contests.items()},
            "seeds": list(plan.seeds),
            "tasks": list(plan.tasks),
            "students": list(plan.students),
            "teacher_of": {name: student.teacher for name, student in plan.students.items()},
            "methods": list(plan.methods),
        },
        "circumstances": _circumstances(nodes, folder),
        "commands": _commands(nodes, folder),
        "runs": known,
        "methods": [*(row for row in begun if row), *_methods(plan, known)],
        "comparisons": _comparisons(nodes, folder),
        "variance": list(_variances(nodes, folder)),
        "rankings": read_rankings(folder),
        "judge": _results(nodes, folder, "judge", "judge.json"),
    }


def write_study(content: Content, folder: Path) -> Path:
    """Writes `study.json` into the folder of the study."""
    path = folder / STUDY
    atomic_write_json(path, content)
    return path


def student_names(variance: Content) -> dict[str, str]:
    """By model, as a variance study names its students, what the plan calls them: its results are in another order."""
    return dict(zip(variance["models"], variance["students"], strict=True))


def distance(student: Content) -> float | None:
    """How far a student of a variance study is from the teacher, in nats per action, by the KL that is known."""
    value: float | None = (student["kl"] or student["reverse_kl"])["value"]
    return value


def higher_is_better(score: str) -> bool:
    """Whether more of a score is better; a return is a score too."""
    scales = [scale for metric in TASK_METRICS.values() for scale in metric.scales if scale.name == score]
    return scales[0].higher_is_better if scales else True


def _commands(nodes: Mapping[str, Node], folder: Path) -> list[Content]:
    stamps = read_stamps(folder, nodes)
    found = []
    for name, node in nodes.items():
        stamp = stamps.get(name)
        found.append(
            {
                "name": name,
                "kind": node.kind,
                "state": stamp.state if stamp else "to do",
                "seconds": round(stamp.seconds, 1) if stamp else None,
                "started": stamp.started if stamp else None,
                "command": shell_line(node),
                "log": f"{LOGS}/{name}.log" if stamp else None,
                "labels": dict(node.labels),
            }
        )
    return found


def _circumstances(nodes: Mapping[str, Node], folder: Path) -> Content | None:
    """Versions, commit and machine of the first run that says so."""
    for name in nodes:
        if Run(folder / name).has_manifest():
            recorded = read_manifest(folder / name)
            return {key: recorded.get(key) for key in ("versions", "python", "platform", "git")}
    return None


def _training(node: Node, folder: Path) -> Content | None:
    run = Run(folder / node.name)
    if not run.metrics.exists() or not run.has_manifest():
        return None
    settings = read_manifest(run.folder)["settings"]
    return {
        "run": node.name,
        **node.labels,
        "algorithm": settings["method"],
        "options": settings["options"],
        "learning_rate": settings["learning_rate"],
        "selected_by": settings.get("select"),
        **training_log(run, folder),
        "scores": _scores(run),
    }


def _scores(run: Run) -> Content:
    """The scores of a run's outputs, each {value, low, high, n, signature}; of the one split that was evaluated."""
    splits = read_scores(run.scores)
    for about in splits.values():
        return {name: score for name, score in about["scores"].items() if name not in ABOUT_OUTPUTS}
    return {}


def _model(node: Node, folder: Path) -> Content | None:
    """What a study begins with: a teacher, or a student before any method, raw before its pre-distillation."""
    if "run" in node.labels or node.labels["method"] not in ("raw", "start", "teacher"):
        return None
    scores = _scores(Run(folder / node.name))
    if not scores:
        return None
    shown = {name: {key: score[key] for key in ("value", "low", "high", "n")} for name, score in scores.items()}
    return {**node.labels, "seeds": [], "over": "inputs", "scores": shown, "runs": [node.name]}


def _methods(plan: Plan, runs: Sequence[Content]) -> Iterator[Content]:
    """Each method of each student on each task: its runs together."""
    for task in plan.tasks:
        for student in plan.students:
            for method in plan.methods:
                mine = [run for run in runs if (run["task"], run["student"], run["method"]) == (task, student, method)]
                if mine:
                    yield _together(mine)


def _together(runs: Sequence[Content]) -> Content:
    first = runs[0]
    shared = [name for name in first["scores"] if all(name in run["scores"] for run in runs)]
    known = {name: [run["scores"][name] for run in runs] for name in shared}
    known = {name: scores for name, scores in known.items() if all(score["value"] is not None for score in scores)}
    many = len(runs) > 1
    best = [run["best_validation"] for run in runs if run["best_validation"] is not None]
    return {
        **{key: first[key] for key in ("task", "student", "method", "algorithm", "options", "learning_rate")},
        "seeds": [run["seed"] for run in runs],
        "runs": [run["run"] for run in runs],
        "over": "seeds" if many else "inputs",
        "best_validation": sum(best) / len(best) if best else None,
        "scores": {
            name: asdict(mean_over_seeds([score["value"] for score in scores]))
            if many
            else {key: scores[0][key] for key in ("value", "low", "high", "n")}
            for name, scores in known.items()
        },
        "by_seed": {name: [score["value"] for score in scores] for name, scores in known.items()},
    }


def _comparisons(nodes: Mapping[str, Node], folder: Path) -> list[Content]:
    """Each method against the reference; p after Holm over all methods and scores of a student on a task.

    What is counted about outputs, as how many have no answer, is no score and none of the family.
    """
    found: list[Content] = []
    families: dict[tuple[str, str], list[Content]] = {}
    for node in nodes.values():
        path = folder / f"{node.name}.json"
        if node.kind != "compare" or not path.exists():
            continue
        study = read_kept_json(path, REMEDY)
        for row in (row for row in study["comparisons"] if row["score"] not in ABOUT_OUTPUTS):
            kept = {key: row[key] for key in ("score", "difference", "test", "p", "higher_is_better", "detectable")}
            one = {**node.labels, **kept}
            found.append(one)
            families.setdefault((node.labels["task"], node.labels["student"]), []).append(one)
    for family in families.values():
        for one, adjusted in zip(family, holm([one["p"] for one in family]), strict=True):
            one["holm"] = adjusted
    return found


def _variances(nodes: Mapping[str, Node], folder: Path) -> Iterator[Content]:
    """Of each task and teacher, the students that are measured, from the farthest to the nearest, each with its run."""
    found = _results(nodes, folder, "variance", "variance.json")
    for task, teacher in dict.fromkeys((one["task"], one["teacher"]) for one in found):
        mine = [one for one in found if (one["task"], one["teacher"]) == (task, teacher)]
        students = [{**student, "run": one["run"]} for one in mine for student in one["result"]["students"]]
        students.sort(key=lambda student: distance(student) or 0.0, reverse=True)
        yield {
            "task": task,
            "teacher": teacher,
            "students": [one["student"] for one in mine],
            "models": [one["model"] for one in mine],
            "result": {**mine[0]["result"], "students": students},
        }


def _results(nodes: Mapping[str, Node], folder: Path, kind: str, file: str) -> list[Content]:
    """The results that commands of a kind have written, with the labels of each."""
    found = []
    for node in nodes.values():
        path = folder / node.name / file
        if node.kind == kind and path.exists():
            found.append({"run": node.name, **node.labels, "result": read_kept_json(path, REMEDY)})
    return found
