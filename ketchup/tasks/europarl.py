"""Europarl, English to Dutch: translated proceedings of the European Parliament (Koehn, 2005).

The hub has its 2,027,447 rows in one split, so ours are cut by row number: the first 10,016 rows are test, the next
10,014 validation, the following 1,167,808 train. The sizes are the paper's; which rows it took is not published.
"""

from ketchup.tasks.base import Task

TASK = Task(
    name="europarl",
    kind="translation",
    fields={"source": "translation.en", "reference": "translation.nl"},
    instruction="Translate the following text from English to Dutch. Reply with the translation only.\n\n{source}",
    prefix="translate English to Dutch: ",
    max_prompt_tokens=80,
    max_new_tokens=80,
    hub=("Helsinki-NLP/europarl", "en-nl"),
    hub_splits={"test": "train[:10016]", "validation": "train[10016:20030]", "train": "train[20030:1187838]"},
)
