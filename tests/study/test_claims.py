"""The rules of the claims, on studies whose answer is known because they were made up to have it."""

import math

import pytest

from ketchup_eval.stats.correlation import rank_correlation
from ketchup_eval.stats.seeds import difference_of_means
from ketchup_eval.study.claims import CLAIMS, judge_claims
from ketchup_eval.study.claims.base import claims_json


def number(value, half=0.1):
    return {"value": value, "low": value - half, "high": value + half, "n": 50}


def student(name, kl, variances, biases, cosines=None):
    """One student of a variance study, with K = 1, 2, 4."""
    ks = (1, 2, 4)
    rows = [
        {
            "k": k,
            "tail": "segment",
            "variance": number(v),
            "bias": number(b),
            "variance_ratio": number(v / variances[0]) if k > 1 else {"value": 1.0, "low": None, "high": None, "n": 50},
        }
        for k, v, b in zip(ks, variances, biases, strict=True)
    ]
    found = {"name": name, "kl": number(kl), "estimates": rows}
    if cosines:
        found["gradient"] = {
            "rows": [
                {
                    "estimator": f"{row}|baseline:none",
                    "baseline": "none",
                    "objective": "state-kl" if row.startswith("reverse-kl") else "expected-return",
                    "batch_cosine": {"256": {"value": cosine}},
                }
                for row, cosine in cosines.items()
            ]
        }
    return found


def method(name, algorithm, seeds, options=None, best=0.0, student="s", **scores):
    """A trained method: `scores` by seed, the return among them."""
    return {
        "task": "t",
        "student": student,
        "method": name,
        "algorithm": algorithm,
        "options": options or {},
        "best_validation": best,
        "seeds": list(range(seeds)),
        "runs": [f"{student}-{name}-s{seed}" for seed in range(seeds)],
        "scores": {score: {"value": sum(values) / len(values)} for score, values in scores.items()},
        "by_seed": scores,
    }


def content(**parts):
    empty = {"runs": [], "methods": [], "comparisons": [], "variance": [], "rankings": [], "judge": []}
    return {"plan": {"students": ["small", "large", "near", "far", "s"]}, **empty, **parts}


def verdicts(study):
    return {one.claim.name: one.verdict for one in judge_claims(study)}


def variance(*students):
    """By falling KL, as results have it; the plan, which calls their models so, has them from near to far."""
    names = [one["name"] for one in students][::-1]
    models = [f"models/{name}" for name in names]
    result = {"students": [{**one, "name": f"models/{one['name']}", "run": "v"} for one in students]}
    return [{"task": "t", "students": names, "models": models, "result": result}]


def test_every_statistic_names_the_results_that_it_comes_from():
    far, near = student("far", 1.0, (9, 4, 2), (0, 1, 2)), student("near", 0.1, (5, 3, 1), (0, 0.5, 1))
    arms = (("llmr", "llmr", 2), ("k4", "ketchup", 2, K4))
    methods = [method(*arm, student="near", accuracy=[1.0, 2.0]) for arm in arms]
    studies = [content(variance=variance(far, near), methods=methods), judged(60.0, -3.0)]
    for study in studies:
        known = {"v", "judge-large-t", *(row["run"] for row in study["runs"])}
        known |= {run for row in study["methods"] for run in row["runs"]}
        for one in judge_claims(study):
            for row in one.evidence:
                assert row.sources
                assert known.issuperset(row.sources)


def test_a_study_without_results_decides_nothing():
    assert set(verdicts(content()).values()) == {"undecided"}
    assert len(verdicts(content())) == len(CLAIMS)


def test_falling_variance_and_growing_bias_are_seen():
    near = student("near", 0.1, (9.0, 4.0, 2.0), (0.0, 1.0, 2.0))
    far = student("far", 1.0, (90.0, 40.0, 20.0), (0.0, 10.0, 20.0))
    found = verdicts(content(variance=variance(far, near)))
    assert found["variance-falls"] == "supported"
    assert found["bias-grows"] == "supported"
    assert found["nearer-is-better"] == "supported"


def test_one_student_to_the_contrary_contradicts():
    near = student("near", 0.1, (9.0, 4.0, 2.0), (0.0, 1.0, 2.0))
    odd = student("far", 1.0, (5.0, 9.0, 2.0), (0.0, 1.0, -2.0))
    found = verdicts(content(variance=variance(odd, near)))
    assert found["variance-falls"] == "contradicted"
    assert found["bias-grows"] == "contradicted"
    assert found["nearer-is-better"] == "contradicted"


def test_an_interval_across_zero_leaves_a_claim_undecided():
    weak = student("weak", 0.1, (9.0, 8.95, 2.0), (0.0, 0.05, 2.0))
    found = verdicts(content(variance=variance(weak)))
    assert found["variance-falls"] == "undecided"
    assert found["bias-grows"] == "undecided"


K4 = {"k": 4}
K16 = {"k": 16}


def test_the_arm_that_validates_best_stands_for_its_kind():
    methods = [
        method("llmr", "llmr", 3, best=1.0, **{"return": [1.0, 1.1, 0.9], "accuracy": [50.0, 51.0, 49.0]}),
        # tests best of all LLMR but validated worse: it does not stand for them
        method("value", "llmr", 3, {"baseline": "mean"}, 0.0, **{"return": [9.0, 9.1, 9.2], "accuracy": [90, 91, 92]}),
        method("k4", "ketchup", 3, K4, 2.0, **{"return": [3.0, 3.1, 2.9], "accuracy": [40.0, 41.0, 39.0]}),
        method("k16", "ketchup", 3, K16, 1.0, **{"return": [8.0, 8.1, 8.2], "accuracy": [30.0, 31.0, 29.0]}),
    ]
    found = verdicts(content(methods=methods))
    assert found["return-is-higher"] == "supported"
    assert found["metrics-are-better"] == "contradicted"
    assert found["moderate-k-is-best"] == "contradicted"  # better than K = 16, worse than K = 1


def test_one_seed_decides_nothing():
    methods = [
        method("llmr", "llmr", 1, best=1.0, **{"return": [1.0], "accuracy": [50.0]}),
        method("k4", "ketchup", 1, K4, 2.0, **{"return": [9.0], "accuracy": [90.0]}),
    ]
    assert verdicts(content(methods=methods))["return-is-higher"] == "undecided"


def test_a_score_that_is_better_lower_counts_the_other_way():
    methods = [
        method("kl", "kl", 3, ter=[60.0, 61.0, 60.5]),
        method("js", "js", 3, ter=[50.0, 51.0, 50.5]),
    ]
    assert verdicts(content(methods=methods))["symmetric-is-better"] == "supported"


def curve(values):
    return [{"step": step, "return": value} for step, value in enumerate(values)]


def run(algorithm, student, values, options=None, seed=0):
    return {
        "run": f"{student}-{algorithm}-s{seed}",
        "task": "t",
        "student": student,
        "method": algorithm,
        "algorithm": algorithm,
        "options": options or {},
        "curve": curve(values),
    }


def test_instability_is_the_fall_from_a_peak():
    def runs(algorithm, student, values, options=None):
        return [run(algorithm, student, values(seed), options, seed) for seed in range(3)]

    steady = runs("llmr", "small", lambda seed: [x + 0.1 * seed for x in (0.0, 1.0, 2.0, 3.0)])
    fallen = runs("llmr", "large", lambda seed: [0.0, 3.0, 2.9, 0.5 + 0.1 * seed])
    level = runs("ketchup", "large", lambda seed: [0.0, 1.0, 2.0, 1.9 + 0.1 * seed], K4)
    assert verdicts(content(runs=steady + fallen + level))["llmr-is-unstable"] == "supported"
    calm = runs("llmr", "large", lambda seed: [0.0, 3.0, 2.9 + 0.05 * seed, 3.0])
    wild = runs("ketchup", "large", lambda seed: [0.0, 3.0, 1.0 + 0.1 * seed, 0.0], K4)
    assert verdicts(content(runs=calm + wild))["llmr-is-unstable"] == "contradicted"


def judged(rate, gain):
    row = {"a": "large-ketchup-s0", "criterion": "overall", "effects": {"vote_share": number(rate / 100, 0.02)}}
    return content(
        runs=[run("ketchup", "large", [0.0], K4)],
        judge=[
            {
                "run": "judge-large-t",
                "task": "t",
                "student": "large",
                "result": {"comparisons": [row]},
            }
        ],
        comparisons=[
            {
                "task": "t",
                "student": "large",
                "method": "ketchup",
                "score": "ter",
                "difference": number(gain),
                "higher_is_better": False,
            }
        ],
    )


def test_judge_and_metric_agree_where_their_signs_do():
    assert verdicts(judged(60.0, -3.0))["judge-agrees"] == "supported"  # less TER is better
    assert verdicts(judged(60.0, 3.0))["judge-agrees"] == "contradicted"
    assert verdicts(judged(51.0, 3.0))["judge-agrees"] == "undecided"


def test_what_was_measured_before_is_held_against_what_came_out():
    rows = {f"k-step:{k}|tail:one-step|gauge:raw": 0.9 - 0.1 * k for k in range(2, 8)}
    methods = [
        method(f"k{k}", "ketchup", 2, {"k": k}, student="near", **{"return": [10.0 - k, 10.1 - k]}) for k in range(2, 8)
    ]
    rows["reverse-kl:0|gauge:raw"] = 5.0  # along the gradient of something else
    worst = {"return": [0.0, 0.1]}
    methods.append(method("kl", "reinforce", 2, {"estimator": "reverse-kl:0"}, student="near", **worst))
    study = content(variance=variance(student("near", 0.1, (9, 4, 2), (0, 1, 2), rows)), methods=methods)
    assert verdicts(study)["measuring-predicts-training"] == "supported"
    for row in methods:
        row["by_seed"]["return"] = [-value for value in row["by_seed"]["return"]]
    assert verdicts(study)["measuring-predicts-training"] == "contradicted"


def test_what_was_frozen_counts_whatever_is_measured_since():
    ks = range(2, 8)
    rows = {f"k-step:{k}|tail:one-step|gauge:raw": 0.9 - 0.1 * k for k in ks}
    methods = [method(f"k{k}", "ketchup", 2, {"k": k}, student="near", ter=[10.0 - k, 10.1 - k]) for k in ks]
    frozen = {"task": "t", "student": "near", "frozen": "2026-01-01", "variance": "v-near"}
    frozen["ranking"] = [{"method": f"k{k}", "estimator": f"k-step:{k}", "cosine": {"value": 0.1 * k}} for k in ks]
    measured = variance(student("near", 0.1, (9, 4, 2), (0, 1, 2), rows))
    study = content(variance=measured, methods=methods, rankings=[frozen])
    study["plan"]["students"] = ["near"]
    (evidence,) = next(one for one in judge_claims(study) if one.claim.name == "measuring-predicts-training").evidence
    assert evidence.estimate.value == pytest.approx(1.0)  # K = 7 was foretold to be best, and has the least TER
    assert evidence.p == pytest.approx(2 / 720)  # the order and its reverse, of six
    assert evidence.sources[0] == "v-near"


def test_each_student_is_held_against_its_own_methods_whatever_the_order_of_the_results():
    against = {f"k-step:{k}|tail:one-step|gauge:raw": 0.1 * k for k in range(2, 8)}
    rows = {name: 1 - value for name, value in against.items()}
    methods = [
        method(f"k{k}", "ketchup", 2, {"k": k}, student="near", **{"return": [10.0 - k, 10.1 - k]}) for k in range(2, 8)
    ]
    far, near = student("far", 1.0, (9, 4, 2), (0, 1, 2), against), student("near", 0.1, (5, 3, 1), (0, 1, 2), rows)
    found = judge_claims(content(variance=variance(far, near), methods=methods))
    (evidence,) = next(one for one in found if one.claim.name == "measuring-predicts-training").evidence
    assert (evidence.place, evidence.estimate.value) == ("t: near", 1.0)  # by far's numbers it would be -1


def test_a_teacher_behind_a_server_tells_only_the_reverse_kl():
    far, near = student("far", 1.0, (9, 4, 2), (0, 1, 2)), student("near", 0.1, (5, 3, 1), (0, 0.5, 1))
    for one in (far, near):
        one["reverse_kl"], one["kl"] = one["kl"], None
    assert verdicts(content(variance=variance(far, near)))["nearer-is-better"] == "supported"


def test_claims_are_written_with_their_numbers():
    near = student("near", 0.1, (9.0, 4.0, 2.0), (0.0, 1.0, 2.0))
    written = claims_json(judge_claims(content(variance=variance(near))))
    falls = written["claims"][0]
    assert falls["verdict"] == "supported"
    assert [row["value"] for row in falls["evidence"]] == pytest.approx([1 - 4 / 9, 1 - 2 / 9])
    assert all(row["holm"] >= row["p"] for row in falls["evidence"])


def test_welch_by_hand():
    # a: mean 2, variance 1, n 3; b: mean 4, variance 4, n 3. t = 2 / sqrt(5/3), Welch's degrees of freedom 50/17.
    found = difference_of_means([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert found.difference.value == 2.0
    degrees = (1 / 3 + 4 / 3) ** 2 / ((1 / 3) ** 2 / 2 + (4 / 3) ** 2 / 2)
    assert degrees == pytest.approx(50 / 17)
    from scipy.stats import t

    half = t.ppf(0.975, degrees) * math.sqrt(5 / 3)
    assert found.difference.low == pytest.approx(2 - half)
    assert found.p == pytest.approx(2 * t.sf(2 / math.sqrt(5 / 3), degrees))


def test_a_rank_correlation_of_few_pairs_is_exact():
    rho, p = rank_correlation([(1, 1), (2, 2), (3, 3), (4, 4)])
    assert (rho.value, rho.low) == (pytest.approx(1.0), None)
    assert p == pytest.approx(2 / 24)  # the order itself and its reverse, of 4! orders
    rho, p = rank_correlation([(1, 1), (2, 3), (3, 2), (4, 4), (5, 5)])
    assert rho.value == pytest.approx(0.9)
    assert -1 < rho.low < 0.9 < rho.high < 1
