"""The content of `study.json` by hand, for tests of the report."""


def number(value, low=None, high=None, n=50):
    return {"value": value, "low": low, "high": high, "n": n}


def model(method, task, scores, **owner):
    """What a study begins with: a teacher, or a student as it begins."""
    return {
        "task": task,
        **owner,
        "method": method,
        "seeds": [],
        "over": "items",
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
        "over": "seeds" if seeds > 1 else "items",
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
        "test": "t over runs and items",
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
    empty = {"commands": [], "runs": [], "methods": [], "comparisons": [], "variance": [], "judge": []}
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
