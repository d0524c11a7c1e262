"""Resampling tests of BLEU, chrF and TER against sacrebleu's own `PairedTest`, and scoring against the libraries.

    python tests/benchmarks/paired_tests.py [--segments 10000] [--resamples 1000] [--trials 10000] [--workers 2]

Both sides get the same segment statistics: what is timed is resampling alone. Scoring is timed apart.
"""

import argparse
import random
import time

import numpy as np
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest

from ketchup_eval.evaluation.segments import segment_statistics
from ketchup_eval.metrics import METRICS
from ketchup_eval.stats.bootstrap import Bootstrap
from ketchup_eval.stats.corpus import centred_p_value, randomisation_p_value, resampled_sums
from tests.metrics.given import items

NAMES = ("bleu", "chrf", "ter")
WORDS = ("de", "het", "een", "hond", "huis", "loopt", "ziet", "gaat", "niet", "met", ",", ".", "kleine", "rode", "weg")


def corpus(segments):
    """References of 5 to 25 words, and two systems that get a fifth of the words wrong."""
    draw = random.Random(0)
    references = [draw.choices(WORDS, k=draw.randint(5, 25)) for _ in range(segments)]
    systems = [
        [" ".join(draw.choice(WORDS) if draw.random() < share else word for word in row) for row in references]
        for share in (0.2, 0.21)
    ]
    return [" ".join(row) for row in references], systems


def cached(metric, texts_of):
    """The library's metric with statistics of known texts, so that its test only resamples."""
    statistics = {id(texts): metric._extract_corpus_statistics(texts, [references]) for texts, references in texts_of}
    metric._extract_corpus_statistics = lambda texts, _references: statistics[id(texts)]
    return metric


def ours(statistics, segments, resamples, trials):
    p_values = {}
    both = [np.concatenate([system[name] for name in NAMES], axis=1) for system in statistics]
    edges = np.cumsum([0, *(statistics[0][name].shape[1] for name in NAMES)])
    rules = [
        lambda sums, name=name, first=first, last=last: METRICS[name].scales[0].rule(sums[..., first:last], segments)
        for name, first, last in zip(NAMES, edges[:-1], edges[1:], strict=True)
    ]
    sums = [resampled_sums(Bootstrap(segments, 0, resamples), system) for system in both]
    for name, rule in zip(NAMES, rules, strict=True):
        observed = float(rule(both[1].sum(0)) - rule(both[0].sum(0)))
        p_values[name] = [centred_p_value(observed, rule(sums[1]) - rule(sums[0]))]
    for name, p in zip(NAMES, randomisation_p_value(*both, rules, 0, trials), strict=True):
        p_values[name].append(p)
    return p_values


def theirs(metrics, systems, references, resamples, trials):
    named = [("a", systems[0]), ("b", systems[1])]
    p_values = {name: [] for name in NAMES}
    for kind, count in (("bs", resamples), ("ar", trials)):
        _, results = PairedTest(named, metrics, [references], test_type=kind, n_samples=count)()
        for name, key in zip(NAMES, ("BLEU", "chrF2", "TER"), strict=True):
            p_values[name].append(results[key][1].p_value)
    return p_values


def main():
    parser = argparse.ArgumentParser()
    for name, default in (("segments", 10_000), ("resamples", 1_000), ("trials", 10_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    references, systems = corpus(given.segments)
    ours_by_name = [METRICS[name] for name in NAMES]
    began = time.perf_counter()
    statistics = [segment_statistics(ours_by_name, items(texts, references)) for texts in systems]
    scoring = time.perf_counter() - began
    began = time.perf_counter()
    for texts in systems:
        segment_statistics(ours_by_name, items(texts, references), given.workers)
    shared = time.perf_counter() - began
    print(f"scoring by {given.workers} processes: {shared:.1f} s, {scoring / shared:.2f} times faster than by one")
    pairs = [(texts, references) for texts in systems]
    began = time.perf_counter()
    metrics = {name: cached(kind(), pairs) for name, kind in zip(NAMES, (BLEU, CHRF, TER), strict=True)}
    print(f"scoring: {scoring:.1f} s against {time.perf_counter() - began:.1f} s by the library alone")
    for metric in metrics.values():
        metric.num_refs = 1
    began = time.perf_counter()
    own = ours(statistics, given.segments, given.resamples, given.trials)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    library = theirs(metrics, systems, references, given.resamples, given.trials)
    other = time.perf_counter() - began
    print(f"tests: {seconds:.2f} s against {other:.1f} s of PairedTest: {other / seconds:.1f} times")
    for name in NAMES:
        print(f"{name}: p by bootstrap and randomisation {own[name]}, PairedTest {library[name]}")


if __name__ == "__main__":
    main()
