"""Two systems' summaries of XSum articles, to try a judge on: a language model's, and the article's first sentence.

python scripts/xsum_pairs.py --data DIR --out runs/xsum-pairs --articles 15 --words 120 \
    --base-url http://127.0.0.1:8000/v1 --model smollm2-135m

Writes OUT/data/test.jsonl (the articles, cut to so many words), OUT/lead-1.jsonl and OUT/<model>.jsonl.
"""

import argparse
import json
import re
from pathlib import Path

import openai

from ketchup.files import atomic_write_text
from ketchup.tasks import task_named
from ketchup.tasks.rows import load_inputs


def main() -> None:
    """Cut the articles, take their first sentences, and ask for summaries one by one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with XSum's test.jsonl")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--articles", type=int, default=15)
    parser.add_argument("--words", type=int, default=120)
    parser.add_argument("--base-url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--model", required=True, help="as the server calls it")
    options = parser.parse_args()
    client = openai.OpenAI(base_url=options.base_url, api_key="none")
    xsum = task_named("xsum")
    articles, leads, summaries = [], [], []
    for row in load_inputs(xsum, "test", options.data, options.articles):
        text = " ".join(row.source.split()[: options.words])
        articles.append({"id": row.id, "document": text, "summary": row.reference})
        leads.append({"id": row.id, "prediction": re.split(r"(?<=[.!?])\s", text)[0]})
        completion = client.chat.completions.create(
            model=options.model,
            messages=[{"role": "user", "content": xsum.prompts.chat.format(source=text)}],
            max_tokens=xsum.max_new_tokens,
            temperature=0,
        )
        summaries.append({"id": row.id, "prediction": (completion.choices[0].message.content or "").strip()})
    for name, rows in (("data/test", articles), ("lead-1", leads), (options.model, summaries)):
        atomic_write_text(options.out / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
