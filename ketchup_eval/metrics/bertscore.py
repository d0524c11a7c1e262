"""BERTScore (Zhang et al., 2020) by bert-score: mean over items of F1 x 100 of the words' vectors in a language model.

`bertscore` is the package's own choice for English, `bertscore:MODEL` another model (a folder or a hub id) at the layer
that the package recommends, `bertscore:MODEL@LAYER` one that it has no layer for. Neither idf weights nor rescaling. Of
several references the best counts, as the package has it.
"""

from collections.abc import Sequence
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ketchup.errors import UsageError
from ketchup.hashes import content_hash, file_hash
from ketchup_eval.metrics.base import Item, Metric, Scale, mean_of, nrefs
from ketchup_eval.stats.bootstrap import Array

MODEL = "roberta-large"


def metric(model: str = MODEL) -> Metric:
    """The metric with one model, `NAME` or `NAME@LAYER`."""
    return Metric(
        name="bertscore",
        kinds=frozenset({"summarization", "translation", "instruction"}),
        statistics=partial(statistics, model=model),
        scales=(Scale("bertscore", "mean", mean_of(0, 100)),),
        signature=partial(signature, model=model),
    )


def statistics(items: Sequence[Item], *, model: str) -> Array:
    """F1 of each item, [n, 1]; 0 where output or references are without a word, which has no vectors."""
    scores = np.zeros((len(items), 1))
    references = [[text for text in item.references if text.strip()] for item in items]
    known = [place for place, item in enumerate(items) if item.prediction.strip() and references[place]]
    if known:
        found = _scorer(model).score(
            [items[place].prediction for place in known], [references[place] for place in known]
        )
        scores[known, 0] = found[2].numpy()
    return scores


def signature(references: str, *, model: str) -> str:
    """The package's own hash has model, layer, weights of words and versions; a folder is told by its weights."""
    name, layer = _parts(model)
    weights = sorted(Path(name).glob("*.safetensors")) if Path(name).is_dir() else []
    known = f"{Path(name).name}-{content_hash([file_hash(file) for file in weights])}" if weights else name
    return "|".join(
        (nrefs(references, "best"), f"model:{known}", f"layer:{layer}", "idf:no", f"version:{version('bert-score')}")
    )


@cache
def _scorer(model: str) -> Any:
    from bert_score import BERTScorer  # noqa: PLC0415  (an extra)

    name, layer = _parts(model)
    return BERTScorer(model_type=name, num_layers=layer)


@cache
def _parts(model: str) -> tuple[str, int]:
    """Name and layer; a `UsageError` where the package is missing or knows no layer."""
    try:
        from bert_score.utils import model2layers  # noqa: PLC0415
    except ImportError as error:
        raise UsageError('bertscore needs bert-score; install it with pip install "ketchup-kd[bertscore]".') from error
    name, at, layer = model.rpartition("@")
    if at and layer.isdigit():
        return name, int(layer)
    if model not in model2layers:
        raise UsageError(f"bert-score recommends no layer of {model}; name one, as in bertscore:{model}@9.")
    return model, model2layers[model]


METRIC = metric()
