"""The content of `study.json` by hand, for tests of the report."""

from ketchup.manifests import check_same_settings


def number(value, low=None, high=None, n=50):
    return {"value": value, "low": low, "high": high, "n": n}


def model(method, task, scores, **owner):
    """What a study begins with: a teacher, or a student as it begins."""
    return {
        "task": task,
        **owner,
        "method": method,
        "seeds": [],
        "over": "inputs",
        "scores": {name: number(*values) for name, values in scores.items()},
        "runs": [f"evaluate-{method}-{next(iter(owner.values()))}-{task}"],
    }


def method(name, task, student, by_seed, intervals=None, algorithm="llmr", options=None):
    """A trained method, its scores by seed; the value is their mean."""
    seeds = len(next(iter(by_seed.values())))
    return {
        "task": task,
        "student": student,
        "method": name,
        "algorithm": algorithm,
        "options": options or {},
        "learning_rate": 1e-5,
        "seeds": list(range(seeds)),
        "runs": [f"{student}-{task}-{name}-s{seed}" for seed in range(seeds)],
        "over": "seeds" if seeds > 1 else "inputs",
        "best_validation": 1.0,
        "scores": {
            score: number(sum(values) / seeds, *(intervals or {}).get(score, ()), n=seeds if seeds > 1 else 50)
            for score, values in by_seed.items()
        },
        "by_seed": by_seed,
    }


def comparison(name, task, student, score, p, holm):
    return {
        "task": task,
        "student": student,
        "method": name,
        "score": score,
        "difference": number(1.0, 0.5, 1.5),
        "test": "t over runs and inputs",
        "p": p,
        "higher_is_better": score != "ter",
        "detectable": 1.0,
        "holm": holm,
    }


def judged(task, student, rates, reference="llmr"):
    """A judge's result; `rates` by method and criterion: win rate and p after Holm."""
    return {
        "run": f"judge-{student}-{task}",
        "task": task,
        "student": student,
        "result": {
            "b": f"{student}-{task}-{reference}-s0",
            "judge": {"model": "judge-model"},
            "complete": True,
            "missing_share": 0.0,
            "comparisons": [
                {
                    "a": f"{student}-{task}-{name}-s0",
                    "b": f"{student}-{task}-{reference}-s0",
                    "criterion": criterion,
                    "p_holm": p,
                    "effects": {
                        "vote_share": number(rate, rate - 0.05, rate + 0.05),
                        "position": number(0.2, 0.1, 0.3),
                        "id": number(-0.1, -0.2, 0.0),
                        "consistent": number(0.6, 0.5, 0.7),
                    },
                }
                for name, criteria in rates.items()
                for criterion, (rate, p) in criteria.items()
            ],
        },
    }


def training(name, task, student, seed, curve=(), algorithm="llmr", options=None):
    return {
        "run": f"{student}-{task}-{name}-s{seed}",
        "task": task,
        "student": student,
        "method": name,
        "seed": seed,
        "algorithm": algorithm,
        "options": options or {},
        "learning_rate": 1e-5,
        "steps": 4 * max(0, len(curve) - 1),
        "curve": [{"step": 4 * at, "return": value, "kl": 0.1, "length": 20.0} for at, value in enumerate(curve)],
        "best_validation": max(curve, default=None),
        "seconds": {"sample": 1.0, "student": 2.0},
        "scores": {},
    }


def study(*, tasks=("demo",), students=("small",), arms=("llmr", "k4"), reference="llmr", **parts):
    """A study with these parts; what is not given is not there yet."""
    empty = {"commands": [], "runs": [], "methods": [], "comparisons": [], "variance": [], "rankings": [], "judge": []}
    return {
        "schema": 1,
        "name": "made-up",
        "plan": {
            "file": "plan.toml",
            "digest": "0123456789abcdef",
            "reference": {"compare": reference, "judge": reference} if reference else {},
            "seeds": [0, 1],
            "tasks": list(tasks),
            "students": list(students),
            "teacher_of": dict.fromkeys(students, "teacher"),
            "methods": list(arms),
        },
        "circumstances": None,
        **empty,
        **parts,
    }


def measured(task="demo", teacher="teacher", students=("small",), variances=(8.0, 4.0, 2.0), *, gradient=False):
    """A variance study with K = 1, 2, 4; the farther student, the last of the plan, comes first as in real results."""
    found = []
    for at, name in enumerate(students):
        biases = [(1 + at) * bias for bias in (0.0, 1.0, 2.0)]
        spread = [(1 + at) * value for value in variances]
        one = {
            "name": f"models/{name}",
            "run": f"variance-{name}-{task}",
            "kl": number(0.1 * (1 + at)),
            "reverse_kl": None,
            "estimates": [
                {
                    "estimator": f"k-step:{k}|tail:segment|gauge:raw",
                    "k": k,
                    "tail": "segment",
                    "variance": number(variance, 0.8 * variance, 1.2 * variance),
                    "bias": number(bias, 0.9 * bias, 1.1 * bias),
                    "variance_ratio": number(variance / spread[0], *((None, None) if k == 1 else (0.0, 0.9))),
                }
                for k, variance, bias in zip((1, 2, 4), spread, biases, strict=True)
            ],
            "gradient": _gradient() if gradient else None,
        }
        found.append(one)
    return {
        "task": task,
        "teacher": teacher,
        "students": list(students),
        "models": [f"models/{name}" for name in students],
        "result": {"inputs": 50, "samples": 32, "students": found[::-1]},
    }


def _gradient(rows=10):
    """The more, the worse a row points; every second has a baseline."""
    return {
        "where": "head",
        "recommendation": {"best": "row0"},
        "rows": [
            {
                "estimator": f"row{at}|gauge:raw",
                "baseline": "mean" if at % 2 else "none",
                "objective": "expected-return",
                "batch_cosine": {str(size): number(size / (size + 100 + at), 0.0, 1.2) for size in (1, 8, 256, 2048)},
                "noise_ratio": number(1 + at / 10, 0.5, 3.0),
                "relative_bias": number(0.0 if at == 0 else 0.1 * at, -0.1, 1.5),
            }
            for at in range(rows)
        ],
    }


def command(name, kind, state="done", **labels):
    return {
        "name": name,
        "kind": kind,
        "state": state,
        "seconds": 36.0 if state == "done" else None,
        "started": "2026-01-02T03:04:05+00:00" if state != "to do" else None,
        "command": f"ketchup {kind} --name {name}",
        "log": f"logs/{name}.log" if state != "to do" else None,
        "labels": labels,
    }


def whole(students=("near", "far"), arms=("llmr", "k2", "k4"), seeds=(0, 1), steps=5, tasks=("demo",), name="made-up"):
    """A finished study: curves that rise and differ by seed, scores, comparisons, a variance study and a judge."""
    runs, methods, comparisons, commands, variance, judge = [], [], [], [], [], []
    for task in tasks:
        variance.append(measured(task, students=students, gradient=True))
        for student in students:
            measuring = command(f"variance-{student}-{task}", "variance", task=task, teacher="teacher", student=student)
            commands.append({**measuring, "command": f"{measuring['command']} --gradient"})
            for at, arm in enumerate(arms):
                k = int(arm[1:]) if arm[1:].isdigit() else None
                algorithm, options = ("ketchup", {"k": k, "baseline": "none"}) if k else ("llmr", {"baseline": "none"})
                for seed in seeds:
                    curve = [at + step - 1 / (1 + seed + step) for step in range(steps)]
                    run = training(arm, task, student, seed, curve, algorithm, options)
                    runs.append(run)
                    commands.append(command(run["run"], "train", task=task, student=student, method=arm, seed=seed))
                scores = {"accuracy": [20.0 + at + seed for seed in seeds], "return": [3.0 + at for _ in seeds]}
                methods.append(method(arm, task, student, scores, None, algorithm, options))
                labels = {"task": task, "student": student, "method": arm}
                commands.append(command(f"evaluate-{student}-{task}-{arm}", "evaluate", **labels))
                if at:
                    comparisons.append(comparison(arm, task, student, "accuracy", p=0.01, holm=0.02))
                    commands.append(command(f"compare-{student}-{task}-{arm}", "compare", **labels))
            judge.append(judged(task, student, {arm: {"overall": (0.6, 0.01)} for arm in arms[1:]}, arms[0]))
            commands.append(command(f"judge-{student}-{task}", "judge", task=task, student=student))
    parts = {"runs": runs, "methods": methods, "comparisons": comparisons, "variance": variance, "judge": judge}
    made = study(tasks=tasks, students=students, arms=arms, reference=arms[0], commands=commands, **parts)
    git = {"commit": "0123456789abcdef", "dirty": False}
    machine = {"versions": {"torch": "2.9"}, "python": "3.12", "platform": "Linux", "git": git}
    return {**made, "name": name, "circumstances": machine}


def write_runs(content, folder):
    """The manifests and logs of a study's runs, and the audit pages of its judges."""
    for row in content["commands"]:
        (folder / "logs").mkdir(exist_ok=True)
        (folder / row["log"]).write_text("done\n")
        if row["kind"] != "compare":
            check_same_settings(folder / row["name"], {"what": row["name"], "learning_rate": 1e-5})
    for one in content["judge"]:
        (folder / one["run"] / "judge.html").write_text("<title>audit</title>")
