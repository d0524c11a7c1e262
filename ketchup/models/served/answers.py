"""Answers of a server, kept as they come, so that none is asked for again after a stop.

They are needed until what was made of them is stored, so that only the newest stay: a file that has grown to
`MOST_BYTES` makes room for the next, and the one before it goes. Each process has files of its own, and reads all.
"""

import os
from pathlib import Path

from ketchup.files import append_jsonl, read_jsonl
from ketchup.models.served.replies import TokenValues

MOST_BYTES = 32 * 2**20
"""Bytes of a file: some 10,000 rollouts of 64 tokens."""


class Answers:
    """The newest answers by the hash of what was asked; `folder` is made with the first."""

    def __init__(self, folder: Path) -> None:
        rank = os.environ.get("RANK", "0")
        self.file = folder / f"answers-{rank}.jsonl"
        self.before = folder / f"answers-{rank}-before.jsonl"
        self._known: dict[str, TokenValues] = {}
        self._new: dict[str, TokenValues] = {}
        for file in sorted(folder.glob("answers-*.jsonl")):
            for row in read_jsonl(file)[0]:
                self._known[row["key"]] = TokenValues(row["q"], row["v"])

    def get(self, key: str) -> TokenValues | None:
        """The answer, if it is there."""
        return self._new.get(key) or self._known.get(key)

    def add(self, key: str, values: TokenValues) -> None:
        """Keeps an answer; it survives a kill of this process as soon as this returns."""
        append_jsonl(self.file, {"key": key, "q": values.q, "v": values.v})
        self._new[key] = values
        if self.file.stat().st_size > MOST_BYTES:
            self.file.replace(self.before)
            self._known, self._new = self._new, {}
