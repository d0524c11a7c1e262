"""Whether a server's model can be this student's teacher: all that can be known before work, a sentence each."""

from collections.abc import Sequence
from functools import partial

import openai

from ketchup.errors import ModelError, RunError, ServerError
from ketchup.files import read_kept_json, write_kept_json
from ketchup.models.language_model import LanguageModel
from ketchup.models.served.replies import places_of, read_values
from ketchup.models.served.teacher import URL_OPTION, ServedTeacher
from ketchup.remote.calls import Server
from ketchup.remote.failures import CallError, NoReply, failure_of
from ketchup.remote.listing import listing, named

TEXT = (
    "Question: Ada has 12 apples and buys 3 boxes of 24. How many are left if she eats 7?\n"
    "Answer: 3 * 24 = <<3*24=72>>72, and 12 + 72 - 7 = 77.\n#### 77\n"
    "The café's “naïve” coût: 5 €; if (x != y) { f(); }"
)
"""What the teacher is asked about first."""
IDS_AT_ONCE = 20_000
DIFFERENCE = 0.1
"""Mean nats a token by which the same model may differ from itself, on other devices or in other types."""
PROBE = "teacher.json"


def check_served(teacher: ServedTeacher, student: LanguageModel) -> None:
    """Raises an error of one sentence unless the server has this model and it reads the student's tokens.

    Asks for: the list of models, the numbers of one text, the texts of all tokens. From then on the teacher knows how
    much it can read. In a run's folder that it has taught before it must be the same as then.
    """
    if student.encoder_decoder:
        raise ModelError(
            f"The student {student.name!r} is an encoder-decoder model, and a teacher behind a server reads the tokens "
            f"of decoder-only ones; leave out {URL_OPTION}."
        )
    teacher.run(partial(_check_model, teacher))
    teacher.vocabulary = student.vocabulary
    ids = student.tokenizer(TEXT, add_special_tokens=False).input_ids
    ids = [index for index in ids if index < student.vocabulary][: min(256, teacher.max_tokens or 256)]
    ids = [student.eos_id, *ids][: teacher.max_tokens]
    texts = teacher.run(partial(_probed, teacher, ids))
    _check_tokens(teacher, student, texts)


async def _check_model(teacher: ServedTeacher, server: Server) -> None:
    try:
        listed = await listing(server.client)
    except openai.APIConnectionError as error:
        raise ServerError(teacher.asked.gone(failure_of(error).reason)) from error
    if listed.models and teacher.name not in listed.models:
        known = named(teacher.name, list(listed.models))
        raise ServerError(
            f"{teacher.endpoint.shown} has no model {teacher.name!r}; name one that it serves with --teacher: {known}."
        )
    if listed.odd:
        raise ServerError(
            f"{listed.fault}; check that {URL_OPTION} is the address of its API, which mostly ends in /v1."
        )
    length = listed.context(teacher.name)
    teacher.max_tokens = None if length is None else max(1, length - 1)  # one is left to be written


async def _probed(teacher: ServedTeacher, ids: Sequence[int], server: Server) -> dict[int, str]:
    """What the server calls the tokens of a text and those that it finds likeliest."""

    def read(reply: object) -> tuple[list[float], dict[int, str]]:
        values = read_values(reply, ids, 1, teacher.vocabulary)
        rows = {name: row for place in places_of(reply, ids) for name, row in place.items()}
        texts = {int(name): row.get("decoded_token") for name, row in rows.items()}
        return values.q, {index: text for index, text in texts.items() if isinstance(text, str)}

    answer = await server.call("/completions", teacher.body(ids), read)
    found, texts = answer.content
    _check_same_as_before(teacher, ids, found)
    return texts


def _check_same_as_before(teacher: ServedTeacher, ids: Sequence[int], found: Sequence[float]) -> None:
    """No server tells which weights it serves under a name, but they show in what they say of one text."""
    path = teacher.folder / PROBE
    if not path.exists():
        write_kept_json(path, {"teacher": teacher.name, "ids": list(ids), "log_probs": list(found)})
        return
    before = read_kept_json(path, "delete it and run the same command again")
    if before.get("teacher") != teacher.name or before.get("ids") != list(ids):
        return  # other settings, which the manifest tells apart
    gap = sum(abs(a - b) for a, b in zip(before["log_probs"], found, strict=True)) / max(1, len(found))
    if gap > DIFFERENCE:
        raise RunError(
            f"{teacher.endpoint.shown} serves another model as {teacher.name!r} than when this run began: log p of one "
            f"text differs by {gap:.2f} nats a token; serve the same one, or use another --name."
        )


def _check_tokens(teacher: ServedTeacher, student: LanguageModel, texts: dict[int, str]) -> None:
    """Raises `ModelError` for the first token that the two read differently."""
    known = sorted(index for index in student.tokenizer.get_vocab().values() if index < student.vocabulary)
    teacher_text = partial(_detokenized, teacher)
    try:
        teacher_text(known[:1])
    except ServerError as error:
        if not isinstance(error.__cause__, CallError) or error.__cause__.failure.unreachable:
            raise
        _check_texts(teacher, student, texts)
        return
    for start in range(0, len(known), IDS_AT_ONCE):
        ids = known[start : start + IDS_AT_ONCE]
        if _alike(teacher_text(ids), _text(student, ids)):
            continue
        same, different = 0, len(ids)  # of the first tokens of `ids`
        while different - same > 1:
            middle = (same + different) // 2
            if _alike(teacher_text(ids[:middle]), _text(student, ids[:middle])):
                same = middle
            else:
                different = middle
        raise _disagreement(teacher, student, ids[same], teacher_text([ids[same]]))


def _check_texts(teacher: ServedTeacher, student: LanguageModel, texts: dict[int, str]) -> None:
    """The same of the tokens that one reply was about, where a server does not turn tokens into text."""
    if not texts:
        raise ServerError(
            f"{teacher.endpoint.shown} says of no token what it is, so that it cannot be told whether it means the "
            "student's; serve the teacher with vLLM's own server and its tokenizer."
        )
    for index, text in texts.items():
        if not _alike(text, _text(student, [index])):
            raise _disagreement(teacher, student, index, text)


def _disagreement(teacher: ServedTeacher, student: LanguageModel, index: int, text: str) -> ModelError:
    return ModelError(
        f"The teacher {teacher.name!r} reads token {index} as {text!r} and the student {student.name!r} as "
        f"{_text(student, [index])!r}; serve a teacher with the student's tokenizer."
    )


def _detokenized(teacher: ServedTeacher, ids: Sequence[int]) -> str:
    """What the tokens are to the server; a `ServerError` where it does not tell."""
    root = teacher.endpoint.base_url.rstrip("/").removesuffix("/v1")

    def read(reply: object) -> str:
        text = reply.get("prompt") if isinstance(reply, dict) else None
        if not isinstance(text, str):
            raise NoReply("the reply has no text")
        return text

    async def asked(server: Server) -> str:
        answer = await server.call(f"{root}/detokenize", {"model": teacher.name, "tokens": list(ids)}, read)
        return answer.content

    return teacher.run(asked)


def _text(student: LanguageModel, ids: Sequence[int]) -> str:
    return str(student.tokenizer.decode(list(ids), skip_special_tokens=False))


def _alike(one: str, other: str) -> bool:
    """Equal but for spaces, which decoders clean up in ways of their own."""
    return one == other or "".join(one.split()) == "".join(other.split())
