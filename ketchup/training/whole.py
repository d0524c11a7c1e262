"""The student as one ordinary model, for the engine that samples from it and the folder it is saved in."""

from ketchup.models.language_model import LanguageModel


def whole(student: LanguageModel) -> LanguageModel:
    """The model itself, unless it is trained through adapters or in shards."""
    return student
