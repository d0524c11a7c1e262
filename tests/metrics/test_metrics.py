"""The metrics against the libraries that define them, as a whole and segment by segment."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest

from ketchup.errors import DataError, UsageError
from ketchup.tasks import task
from ketchup.tasks.answers import extract_answer
from ketchup_eval.metrics import METRICS, metrics_for
from ketchup_eval.stats.bootstrap import Bootstrap
from ketchup_eval.stats.corpus import centred_p_value, percentile_estimate, randomisation_p_value, resampled_sums

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
    ours = scale.rule(metric.statistics(texts, references).sum(axis=0), len(rows))
    assert float(ours) == pytest.approx(theirs, abs=1e-9)


@given(rows=pairs)
@settings(deadline=None)
def test_segments_have_sacrebleus_sentence_scores(rows):
    texts, references = map(list, zip(*rows, strict=True))
    for name, library in {"bleu": BLEU(effective_order=True), "chrf": CHRF(), "ter": TER()}.items():
        (scale,) = METRICS[name].scales
        ours = scale.of_segments(METRICS[name].statistics(texts, references))
        theirs = [library.sentence_score(text, [reference]).score for text, reference in rows]
        assert ours == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("name", SACREBLEU)
def test_rules_take_many_sums_at_once(name):
    (scale,) = METRICS[name].scales
    statistics = METRICS[name].statistics(["de hond", "", "een huis loopt ."], ["de hond", "x", "het huis loopt ."])
    assert scale.rule(statistics, 1) == pytest.approx([float(scale.rule(row, 1)) for row in statistics])


def test_signatures_of_sacrebleu_are_its_own():
    for name, kind in SACREBLEU.items():
        theirs = kind()
        theirs.corpus_score(["a b"], [["a b"]])
        assert METRICS[name].signature() == str(theirs.get_signature())


@given(rows=pairs)
@settings(deadline=None, max_examples=30)
def test_rouge_is_the_mean_of_rouge_scores(rows):
    texts, references = map(list, zip(*rows, strict=True))
    statistics = METRICS["rouge"].statistics(texts, references)
    for scale in METRICS["rouge"].scales:
        scorer = RougeScorer([scale.name], use_stemmer=True)
        scores = [scorer.score(reference, text)[scale.name].fmeasure for text, reference in rows]
        assert float(scale.rule(statistics.sum(axis=0), len(rows))) == pytest.approx(100 * np.mean(scores), abs=1e-9)


def test_rouge_stems():
    assert METRICS["rouge"].statistics(["houses"], ["house"])[0, 0] == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [("accuracy", [1, 0, 0, 0]), ("accuracy-openai", [1, 1, 0, 0]), ("accuracy-flexible", [1, 0, 1, 0])],
)
def test_each_profile_finds_answers_its_own_way(name, expected):
    texts = ["so\n#### 12", "#### 12 or #### 13", "it is 12", "none"]
    statistics = METRICS[name].statistics(texts, ["x #### 12"] * 4)
    assert statistics[:, 0].tolist() == expected
    profile = name.removeprefix("accuracy").removeprefix("-") or "dpo-st"
    assert statistics[:, 1].tolist() == [extract_answer(text, profile) is None for text in texts]


def test_a_reference_without_an_answer_is_an_error():
    with pytest.raises(DataError, match="states no answer"):
        METRICS["accuracy"].statistics(["#### 1"], ["one"])


def test_defaults_are_the_papers():
    chosen = {name: [metric.name for metric in metrics_for(task(name), None)] for name in ("xsum", "europarl", "gsm8k")}
    assert chosen == {"xsum": ["rouge"], "europarl": ["bleu", "chrf", "ter"], "gsm8k": ["accuracy"]}


def test_unknown_and_unfit_metrics_are_named():
    with pytest.raises(UsageError, match='no metric "blue": did you mean "bleu"'):
        metrics_for(task("europarl"), ["blue"])
    with pytest.raises(UsageError, match='"accuracy" does not fit xsum'):
        metrics_for(task("xsum"), ["accuracy"])


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
    statistics = [METRICS[name].statistics(texts, references) for texts in systems]
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
