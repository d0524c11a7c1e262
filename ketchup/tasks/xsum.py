"""XSum: one-sentence summaries of BBC articles (Narayan et al., 2018).

The hub has 204,045 / 11,332 / 11,334 rows and the paper counts 202,926 / 11,332 / 11,333; which it left out is not
published.
"""

from ketchup.tasks.base import Task

TASK = Task(
    name="xsum",
    kind="summarization",
    fields={"id": "id", "source": "document", "reference": "summary"},
    instruction="Summarize the following article in one sentence. Reply with the sentence only.\n\n{source}",
    prefix="summarize: ",
    max_prompt_tokens=1024,
    max_new_tokens=64,
    hub=("EdinburghNLP/xsum", None),
    hub_splits={"train": "train", "validation": "validation", "test": "test"},
)
