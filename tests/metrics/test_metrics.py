"""The metrics against the libraries that define them, as a whole and segment by segment."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest

from ketchup.errors import DataError, UsageError
from ketchup.tasks import task_named
from ketchup.tasks.answers import extract_answer
from ketchup_eval.metrics import METRICS, metrics_for
from ketchup_eval.metrics.base import references_of
from ketchup_eval.stats.bootstrap import Bootstrap
from ketchup_eval.stats.corpus import centred_p_value, percentile_estimate, randomisation_p_value, resampled_sums
from tests.metrics.given import items

SACREBLEU = {"bleu": BLEU, "chrf": CHRF, "ter": TER}
WORDS = ("de", "het", "een", "hond", "huis", "loopt", ".", ",", "(hi)", "é", "🙂", "don't", "3,5")
segments = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
pairs = st.lists(st.tuples(segments, segments), min_size=1, max_size=6)


@pytest.mark.parametrize("name", SACREBLEU)
@given(rows=pairs)
@settings(deadline=None)
def test_scores_of_sums_are_sacrebleus(name, rows):
    """Of any corpus, the degenerate ones included; sums of resamples are sums like any other."""
    texts, references = map(list, zip(*rows, strict=True))
    metric = METRICS[name]
    theirs = SACREBLEU[name]().corpus_score(texts, [references]).score
    (scale,) = metric.scales
    ours = scale.rule(metric.statistics(items(texts, references)).sum(axis=0), len(rows))
    assert float(ours) == pytest.approx(theirs, abs=1e-9)


@given(rows=pairs)
@settings(deadline=None)
def test_segments_have_sacrebleus_sentence_scores(rows):
    texts, references = map(list, zip(*rows, strict=True))
    for name, library in {"bleu": BLEU(effective_order=True), "chrf": CHRF(), "ter": TER()}.items():
        (scale,) = METRICS[name].scales
        ours = scale.of_segments(METRICS[name].statistics(items(texts, references)))
        theirs = [library.sentence_score(text, [reference]).score for text, reference in rows]
        assert ours == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("name", SACREBLEU)
def test_rules_take_many_sums_at_once(name):
    (scale,) = METRICS[name].scales
    statistics = METRICS[name].statistics(
        items(["de hond", "", "een huis loopt ."], ["de hond", "x", "het huis loopt ."])
    )
    assert scale.rule(statistics, 1) == pytest.approx([float(scale.rule(row, 1)) for row in statistics])


def test_signatures_of_sacrebleu_are_its_own():
    for name, kind in SACREBLEU.items():
        theirs = kind()
        theirs.corpus_score(["a b"], [["a b"]])
        assert METRICS[name].signature("1") == str(theirs.get_signature())


@given(rows=pairs)
@settings(deadline=None, max_examples=30)
def test_rouge_is_the_mean_of_rouge_scores(rows):
    texts, references = map(list, zip(*rows, strict=True))
    statistics = METRICS["rouge"].statistics(items(texts, references))
    for scale in METRICS["rouge"].scales:
        scorer = RougeScorer([scale.name], use_stemmer=True)
        scores = [scorer.score(reference, text)[scale.name].fmeasure for text, reference in rows]
        assert float(scale.rule(statistics.sum(axis=0), len(rows))) == pytest.approx(100 * np.mean(scores), abs=1e-9)


def test_rouge_stems():
    assert METRICS["rouge"].statistics(items(["houses"], ["house"]))[0, 0] == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [("accuracy", [1, 0, 0, 0]), ("accuracy-openai", [1, 1, 0, 0]), ("accuracy-flexible", [1, 0, 1, 0])],
)
def test_each_profile_finds_answers_its_own_way(name, expected):
    texts = ["so\n#### 12", "#### 12 or #### 13", "it is 12", "none"]
    statistics = METRICS[name].statistics(items(texts, ["x #### 12"] * 4))
    assert statistics[:, 0].tolist() == expected
    profile = name.removeprefix("accuracy").removeprefix("-") or "dpo-st"
    assert statistics[:, 1].tolist() == [extract_answer(text, profile) is None for text in texts]


def test_a_reference_without_an_answer_is_an_error():
    with pytest.raises(DataError, match="states no answer"):
        METRICS["accuracy"].statistics(items(["#### 1"], ["one"]))


def test_defaults_are_the_papers():
    chosen = {
        name: [metric.name for metric in metrics_for(task_named(name), None)] for name in ("xsum", "europarl", "gsm8k")
    }
    assert chosen == {"xsum": ["rouge"], "europarl": ["bleu", "chrf", "ter"], "gsm8k": ["accuracy"]}


def test_unknown_and_unfit_metrics_are_named():
    with pytest.raises(UsageError, match='no metric "blue": did you mean "bleu"'):
        metrics_for(task_named("europarl"), ["blue"])
    with pytest.raises(UsageError, match='"accuracy" does not fit xsum'):
        metrics_for(task_named("xsum"), ["accuracy"])


@pytest.mark.parametrize("name", SACREBLEU)
def test_tests_and_intervals_agree_with_sacrebleus_paired_test(name):
    """Within Monte-Carlo error. Its bootstrap counts one tail of a clear difference, ours both: twice its p."""
    rng = np.random.default_rng(0)
    references = [" ".join(rng.choice(WORDS, 12)) for _ in range(120)]
    shares = (0.3, 0.36)
    systems = [
        [" ".join(rng.choice(WORDS) if rng.random() < share else word for word in row.split()) for row in references]
        for share in shares
    ]
    statistics = [METRICS[name].statistics(items(texts, references)) for texts in systems]
    (scale,) = METRICS[name].scales

    def rule(sums):
        return scale.rule(sums, 120)

    def theirs(kind):
        named = [("a", systems[0]), ("b", systems[1])]
        _, results = PairedTest(named, {name: SACREBLEU[name]()}, [references], test_type=kind, n_samples=2000)()
        return next(rows for key, rows in results.items() if key != "System")[1]

    library = theirs("ar").p_value
    (own,) = randomisation_p_value(*statistics, [rule], seed=1, trials=2000)
    assert own == pytest.approx(library, abs=5 * (2 * library * (1 - library) / 2000) ** 0.5 + 2e-3)
    a, b = (rule(resampled_sums(Bootstrap(120, 1, 2000), system)) for system in statistics)
    observed = float(rule(statistics[1].sum(axis=0)) - rule(statistics[0].sum(axis=0)))
    library_bootstrap = theirs("bs")
    assert (
        0.9 * library_bootstrap.p_value - 0.01
        <= centred_p_value(observed, b - a)
        <= (2.4 * library_bootstrap.p_value + 0.01)
    )
    interval = percentile_estimate(observed, b, 120)
    assert (interval.high - interval.low) / 2 == pytest.approx(library_bootstrap.ci, rel=0.1)


SEVERAL = [
    ("de hond loopt", ("de hond rent", "de hond loopt nu", "een kat")),
    ("een huis .", ("het huis .", "een huis staat .")),
    ("", ("de hond", "x")),
]
"""Outputs and their references, whose number varies."""


@pytest.mark.parametrize("name", SACREBLEU)
def test_several_references_are_sacrebleus(name):
    """Its own corpus score with streams of references, where a missing one is None, and its own signature."""
    streams = [[refs[place] if place < len(refs) else None for _, refs in SEVERAL] for place in range(3)]
    library = SACREBLEU[name]()
    theirs = library.corpus_score([text for text, _ in SEVERAL], streams).score
    given = items(*zip(*SEVERAL, strict=True))
    (scale,) = METRICS[name].scales
    assert float(scale.rule(METRICS[name].statistics(given).sum(axis=0), 3)) == pytest.approx(theirs, abs=1e-9)
    assert references_of(given) == "var"
    assert METRICS[name].signature("var") == str(library.get_signature())
    three = SACREBLEU[name]()
    three.corpus_score(["x"], [["x"], ["y"], ["z"]])
    assert METRICS[name].signature("3") == str(three.get_signature())


@pytest.mark.parametrize("name", ["rouge", "rouge-unicode"])
def test_of_several_references_rouge_takes_the_best_for_each_type_and_says_so(name):
    found = METRICS[name].statistics(items(*zip(*SEVERAL, strict=True)))
    for row, (text, refs) in zip(found, SEVERAL, strict=True):
        alone = METRICS[name].statistics(items([text] * len(refs), refs))
        assert row == pytest.approx(alone.max(axis=0))
    assert METRICS[name].signature("1").startswith("nrefs:1|stemmer")
    assert METRICS[name].signature("3").startswith("nrefs:3|refs:best|stemmer")


def test_an_answer_is_right_if_it_is_that_of_any_reference():
    found = METRICS["accuracy"].statistics(items(["#### 2", "#### 3"], [("#### 1", "#### 2"), ("#### 1", "#### 2")]))
    assert found[:, 0].tolist() == [1, 0]
    assert METRICS["accuracy"].signature("2").startswith("nrefs:2|refs:any|profile:dpo-st")


def test_instructions_have_rouge():
    kinds = {name for name, metric in METRICS.items() if "instruction" in metric.default_for}
    assert kinds == {"rouge"}
    assert "rougeL" in {scale.name for scale in METRICS["rouge"].scales}
