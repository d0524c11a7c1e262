"""The vocabularies of options, for whoever offers them without importing what they stand for."""

from typing import Literal

BleuTokenizer = Literal["13a", "intl", "zh", "char", "ja-mecab", "ko-mecab", "none"]
"""sacrebleu's tokenizers that need no download."""

SERVED = "served"
"""What is recorded in place of a teacher's type where only its server knows that."""
