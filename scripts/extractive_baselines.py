"""Writes two summaries of each article that need no model: its first sentence, and one drawn at random.

    python scripts/extractive_baselines.py DATA/test.jsonl OUT

gives OUT/lead-1.jsonl and OUT/random-sentence.jsonl, to be scored by `ketchup evaluate --predictions`.
"""

import json
import random
import re
import sys
from pathlib import Path

from ketchup.user_files import json_rows

SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n+")
SEED = 0


def sentences(article: str) -> list[str]:
    """The article cut after full stops and at line breaks; the whole of it where that leaves nothing."""
    return [part.strip() for part in SENTENCE_END.split(article) if part and part.strip()] or [article.strip()]


def main(rows: Path, out: Path) -> None:
    """Writes both files."""
    draw = random.Random(SEED)
    lead, drawn = [], []
    for _, _, row in json_rows(rows):
        found = sentences(row["document"])
        lead.append({"id": row["id"], "prediction": found[0]})
        drawn.append({"id": row["id"], "prediction": draw.choice(found)})
    out.mkdir(parents=True, exist_ok=True)
    for name, predictions in (("lead-1", lead), ("random-sentence", drawn)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in predictions)
        (out / f"{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
