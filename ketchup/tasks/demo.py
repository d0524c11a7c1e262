"""The rows of the demo task: generated grade-school arithmetic word problems in GSM8K's own format.

Small enough for a two-million-parameter model to learn, so that every command has something to run on without a
download. A problem is a chain: its sentences change one amount, step by step, and the answer repeats the chain
in the same order. There is no number that is not needed, and the question alone fixes the answer.
"""

import operator
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from ketchup.choices import Split
from ketchup.user_files import Row

MOST_STEPS = 4
LARGEST_NUMBER = 20
LARGEST_FACTOR = 12
"""The largest number to multiply with or divide by."""
LARGEST_VALUE = 200
"""The largest value of a step."""


@dataclass(frozen=True)
class Sentence:
    """One sentence of a question, with the step it adds to the answer.

    `text` states the numbers `{a}` (and `{b}`) in an opening, `{n}` elsewhere. `operation` combines `{a}` with `{b}`,
    or the amount so far with `{n}`; it is empty for a sentence that adds no step. `line` is the step's line of the
    answer, in which `{result}` becomes `3*4=<<3*4=12>>12`.
    """

    text: str
    operation: str = ""
    line: str = ""


@dataclass(frozen=True)
class Scenario:
    """A small world: one opening, then any different changes in any order, then one ending, make a problem."""

    openings: tuple[Sentence, ...]
    changes: tuple[Sentence, ...]
    endings: tuple[Sentence, ...]


PEOPLE = (
    *((name, "She") for name in ("Anna", "Emma", "Julia", "Lily", "Maria", "Nora", "Rosa", "Sara")),
    *((name, "He") for name in ("Adam", "Ben", "David", "Jack", "Leo", "Omar", "Paul", "Tom")),
)
THINGS = ("apples", "balls", "books", "cards", "coins", "pencils", "shells", "stamps", "stickers", "toys")
PLANTS = ("beans", "bushes", "carrots", "flowers", "lemons", "pumpkins", "roses", "tomatoes", "trees")
TREATS = ("buns", "cakes", "cookies", "muffins", "pies", "rolls", "tarts")
GOODS = ("bag", "ball", "chair", "coat", "hat", "kite", "lamp", "toy")
PLACES = ("beach", "bridge", "church", "market", "museum", "park", "school", "station", "zoo")
VEHICLES = ("boat", "bus", "ferry", "train", "tram")

COLLECTION = Scenario(
    openings=(
        Sentence("{name} has {a} {things}."),
        Sentence("{name} has {a} boxes with {b} {things} in each box.", "*", "{name} has {result} {things}."),
        Sentence("{name} has {a} red {things} and {b} blue {things}.", "+", "{name} has {result} {things}."),
    ),
    changes=(
        Sentence("{friend} gives {name} {n} more.", "+", "With the gift {he} has {result}."),
        Sentence("{He} finds {n} more at the {place}.", "+", "After the {place} {he} has {result}."),
        Sentence("{He} loses {n} of them.", "-", "{He} still has {result} {things}."),
        Sentence("{He} gives {n} of them to {friend}.", "-", "{He} keeps {result} {things}."),
        Sentence("{He} makes {n} equal piles and keeps one pile.", "/", "One pile has {result} {things}."),
    ),
    endings=(
        Sentence("How many {things} does {name} have now?"),
        Sentence("{He} fills bags with {n} {things} each. How many bags are there?", "/", "There are {result} bags."),
        Sentence("{He} sells them for {n} dollars each. How many dollars does {he} get?", "*", "{He} gets {result}."),
        Sentence(
            "{other} has {n} times as many. How many {things} does {other} have?",
            "*",
            "{other} has {result} {things}.",
        ),
    ),
)

MONEY = Scenario(
    openings=(
        Sentence("{name} has {a} dollars."),
        Sentence("{name} works {a} hours for {b} dollars an hour.", "*", "{name} earns {result} dollars."),
        Sentence("{name} saves {a} dollars a week for {b} weeks.", "*", "{name} saves {result} dollars."),
        Sentence("{name} has {a} dollars at home and {b} dollars in the bank.", "+", "{name} has {result} dollars."),
    ),
    changes=(
        Sentence("{He} buys a {good} for {n} dollars.", "-", "After the {good} {he} has {result}."),
        Sentence("{He} pays {n} dollars for lunch.", "-", "After lunch {he} has {result}."),
        Sentence("{He} gets {n} dollars from {friend}.", "+", "With the gift {he} has {result}."),
        Sentence("{He} finds {n} dollars at the {place}.", "+", "After the {place} {he} has {result}."),
        Sentence("The money grows to {n} times as much.", "*", "The money grows to {result}."),
    ),
    endings=(
        Sentence("How much money does {name} have now?"),
        Sentence("Books cost {n} dollars each. How many books can {he} buy?", "/", "{He} can buy {result} books."),
        Sentence("{He} gives it to {n} friends in equal parts. How much does each get?", "/", "Each gets {result}."),
        Sentence(
            "{other} has {n} times as much. How much money does {other} have?",
            "*",
            "{other} has {result} dollars.",
        ),
    ),
)

RIDE = Scenario(
    openings=(
        Sentence("A {vehicle} leaves with {a} people."),
        Sentence("A {vehicle} has {a} rows with {b} people each.", "*", "The {vehicle} has {result} people."),
        Sentence("A {vehicle} carries {a} women and {b} men.", "+", "The {vehicle} has {result} people."),
    ),
    changes=(
        Sentence("At the {place} {n} people get on.", "+", "After the {place} there are {result}."),
        Sentence("At the {stop} {n} people get off.", "-", "After the {stop} there are {result}."),
        Sentence("Then {n} more people join.", "+", "Then there are {result} people."),
        Sentence("Then {n} people go home.", "-", "Then there are still {result}."),
    ),
    endings=(
        Sentence("How many people are on the {vehicle} now?"),
        Sentence("They make groups of {n} people. How many groups are there?", "/", "There are {result} groups."),
        Sentence("Each of them pays {n} dollars. How much do they pay?", "*", "They pay {result} dollars."),
        Sentence("Each of them carries {n} bags. How many bags are there?", "*", "They carry {result} bags."),
    ),
)

FARM = Scenario(
    openings=(
        Sentence("A farmer has {a} {plants}."),
        Sentence("A farmer has {a} rows with {b} {plants} each.", "*", "The rows have {result} {plants}."),
        Sentence("A farmer has {a} old {plants} and {b} new {plants}.", "+", "The farmer has {result} {plants}."),
    ),
    changes=(
        Sentence("The farmer plants {n} more.", "+", "With those there are {result} {plants}."),
        Sentence("{friend} brings {n} more.", "+", "{friend} makes it {result}."),
        Sentence("A storm breaks {n} of them.", "-", "The storm leaves {result} {plants}."),
        Sentence("Goats eat {n} of them.", "-", "The goats leave {result} {plants}."),
        Sentence("In spring there are {n} times as many.", "*", "In spring there are {result}."),
    ),
    endings=(
        Sentence("How many {plants} does the farmer have now?"),
        Sentence("They fill carts with {n} {plants} each. How many carts are there?", "/", "There are {result} carts."),
        Sentence("Each needs {n} liters of water. How many liters is that?", "*", "They need {result} liters."),
    ),
)

BAKERY = Scenario(
    openings=(
        Sentence("{name} bakes {a} {treats}."),
        Sentence("{name} bakes {a} trays with {b} {treats} each.", "*", "{name} bakes {result} {treats}."),
        Sentence("{name} bakes {a} big {treats} and {b} small {treats}.", "+", "{name} bakes {result} {treats}."),
    ),
    changes=(
        Sentence("Then {he} bakes {n} more.", "+", "Then there are {result} {treats}."),
        Sentence("{friend} brings {n} more.", "+", "{friend} makes it {result}."),
        Sentence("{He} burns {n} of them.", "-", "{result} {treats} are good."),
        Sentence("{other} eats {n} of them.", "-", "{other} leaves {result} {treats}."),
        Sentence("{He} makes {n} equal piles and keeps one pile.", "/", "One pile has {result} {treats}."),
    ),
    endings=(
        Sentence("How many {treats} are there now?"),
        Sentence(
            "{He} fills boxes with {n} {treats} each. How many boxes are there?", "/", "There are {result} boxes."
        ),
        Sentence("Each is cut into {n} parts. How many parts are there?", "*", "There are {result} parts."),
        Sentence("{He} sells them for {n} dollars each. How many dollars does {he} get?", "*", "{He} gets {result}."),
    ),
)

TANK = Scenario(
    openings=(
        Sentence("A tank has {a} liters of water."),
        Sentence("{name} fills a tank with {a} cans of {b} liters each.", "*", "The tank has {result} liters."),
        Sentence("A tank gets {a} liters an hour for {b} hours.", "*", "The tank gets {result} liters."),
    ),
    changes=(
        Sentence("{friend} adds {n} liters.", "+", "{friend} makes it {result} liters."),
        Sentence("Rain adds {n} liters.", "+", "After the rain there are {result}."),
        Sentence("A leak loses {n} liters.", "-", "The leak leaves {result} liters."),
        Sentence("{other} takes {n} liters for the {plants}.", "-", "{other} leaves {result} liters."),
        Sentence("The water is poured into {n} equal tanks.", "/", "One tank has {result} liters."),
    ),
    endings=(
        Sentence("How many liters does one tank have now?"),
        Sentence("It fills cans of {n} liters each. How many cans are there?", "/", "There are {result} cans."),
        Sentence(
            "The tank at the {place} has {n} times as much. How many liters is that?",
            "*",
            "That tank has {result} liters.",
        ),
    ),
)

SCENARIOS = (COLLECTION, MONEY, RIDE, FARM, BAKERY, TANK)

_APPLY: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
}


def generate(split: Split) -> Iterator[Row]:
    """Endless rows `{"id", "question", "answer"}` of a split; the same ones in every process.

    No question is in two splits, because a hash of the question says which split it may belong to. Questions of
    `validation` and `test` never come twice; those of `train` may, rarely.
    """
    seen: set[str] = set()
    draw = 0
    index = 0
    while True:
        question, answer = problem(Random(f"{split}-{draw}"))
        draw += 1
        if split_of(question) != split or question in seen:
            continue
        if split != "train":
            seen.add(question)
        yield {"id": f"demo-{split}-{index}", "question": question, "answer": answer}
        index += 1


def split_of(question: str) -> Split:
    """The only split a question may belong to: one in 20 is test, one in 20 validation."""
    bucket = zlib.crc32(question.encode()) % 20
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def problem(rng: Random) -> tuple[str, str]:
    """A question and its answer, with one to four steps, each number of steps equally likely."""
    steps = rng.randint(1, MOST_STEPS)
    while True:
        chain = _chain(rng.choice(SCENARIOS), steps, rng)
        written = _write(chain, _words(rng), rng) if chain else None
        if written:
            return written


def _chain(scenario: Scenario, steps: int, rng: Random) -> list[Sentence] | None:
    """Sentences from opening to ending with the wanted number of steps; None if this opening and ending cannot."""
    opening, ending = rng.choice(scenario.openings), rng.choice(scenario.endings)
    changes = steps - bool(opening.operation) - bool(ending.operation)
    if not 0 <= changes <= len(scenario.changes):
        return None
    return [opening, *rng.sample(scenario.changes, changes), ending]


def _write(chain: list[Sentence], words: dict[str, str], rng: Random) -> tuple[str, str] | None:
    """Draws the numbers and writes question and answer; None when a step has no number that fits."""
    value = _first_number(chain[0], rng)
    numbers = {"a": value}
    texts, lines = [], []
    for sentence in chain:
        if sentence.operation:
            number = _number(sentence.operation, value, rng)
            if number is None:
                return None
            numbers |= {"b": number, "n": number}
            expression = f"{value}{sentence.operation}{number}"
            value = _APPLY[sentence.operation](value, number)
            lines.append(sentence.line.format(result=f"{expression}=<<{expression}={value}>>{value}", **words))
        texts.append(sentence.text.format(**numbers, **words))
    return " ".join(texts), "\n".join([*lines, f"#### {value}"])


def _first_number(opening: Sentence, rng: Random) -> int:
    if opening.operation == "*":
        return rng.randint(2, LARGEST_FACTOR)
    # Every third one is doubled, so that there is something to divide and to take away.
    return rng.randint(2, LARGEST_NUMBER) * rng.choice((1, 1, 2))


def _number(operation: str, value: int, rng: Random) -> int | None:
    """A number that keeps the result whole and small; None if there is none."""
    numbers = [number for number in range(2, LARGEST_NUMBER + 1) if _fits(operation, value, number)]
    return rng.choice(numbers) if numbers else None


def _fits(operation: str, value: int, number: int) -> bool:
    if operation in "*/" and number > LARGEST_FACTOR:
        return False
    if operation == "/" and value % number:
        return False
    # A result of 1 would need the singular of every noun.
    return 2 <= _APPLY[operation](value, number) <= LARGEST_VALUE


def _words(rng: Random) -> dict[str, str]:
    """The words of one problem: who, what and where."""
    (name, pronoun), (friend, _), (other, _) = rng.sample(PEOPLE, 3)
    place, stop = rng.sample(PLACES, 2)
    return {
        "name": name,
        "friend": friend,
        "other": other,
        "He": pronoun,
        "he": pronoun.lower(),
        "things": rng.choice(THINGS),
        "plants": rng.choice(PLANTS),
        "treats": rng.choice(TREATS),
        "good": rng.choice(GOODS),
        "place": place,
        "stop": stop,
        "vehicle": rng.choice(VEHICLES),
    }
