"""GSM8K's calculator: the environment, not the model, writes the result of an open annotation.

It reads and writes text only, so it works with any tokenizer. An annotation has one of two forms:

    native   3*4=<<3*4=12>>12            the model writes up to `=`, the calculator goes on with `12>>`
    spaced   3 * 4 = [ 3 * 4 = 12 ] 12   the same with ` 12 ]`, for tokenizers that cannot write `<<`

What a model writes is not trusted: expressions are parsed here, within bounds on length, depth and size.
"""

import re
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

MAX_LENGTH = 100
"""The longest expression that is read, in characters; the longest in GSM8K has 30."""
MAX_DEPTH = 20
"""How deep parentheses and signs may nest."""
MAX_MAGNITUDE = 10**12
"""No number and no intermediate value may be larger."""

_TOKEN = re.compile(r"\s*(?:\$?((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)|([-+*/()]))")
_OPEN_NATIVE = re.compile(r"<<([^<>\[\]=]*)=\Z")
_OPEN_SPACED = re.compile(r"\[ ([^\[\]=]*)= *\Z")
_ANNOTATION = re.compile(r"<<[^<>\n]*>>|\[ [^\[\]=\n]*=[^\[\]=\n]*\] ?")


class CalculationError(ValueError):
    """Text that is no arithmetic expression, or one out of bounds."""


def evaluate(expression: str) -> Fraction:
    """The exact value of an expression of numbers, `+ - * /`, signs and parentheses.

    Numbers may have decimals (`.5`, `5.`), commas between thousands and a dollar sign in front; there is no `%`,
    which GSM8K's annotations never use. Raises `CalculationError` for any other text, division by zero, and whatever
    exceeds `MAX_LENGTH`, `MAX_DEPTH` or `MAX_MAGNITUDE`.
    """
    if len(expression) > MAX_LENGTH:
        raise CalculationError(f"an expression has at most {MAX_LENGTH} characters, not {len(expression)}")
    return _Parser(_tokens(expression.rstrip())).parse()


def format_result(value: Fraction) -> str:
    """The value as annotations have it: at most two decimals, none of them a trailing zero (`12`, `2.5`, `0.33`).

    Halves are rounded away from zero, as at school: 0.125 is written `0.13`.
    """
    cents = (Decimal(value.numerator) / value.denominator).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
    # Adding zero turns a negative zero into zero.
    return f"{cents.normalize() + 0:f}"


def forced_text(text: str) -> str | None:
    """What the calculator writes after `text`, everything written so far; None when it is the model's turn.

    It writes when the text ends in an open annotation, `<<EXPRESSION=` or `[ EXPRESSION =`, whose expression is valid.
    Only the end of the text is looked at, so the cost does not grow with its length.
    """
    tail = text[-(MAX_LENGTH + len("[ = ")) :]
    for pattern, written in ((_OPEN_NATIVE, "{}>>"), (_OPEN_SPACED, " {} ]")):
        opened = pattern.search(tail)
        if opened:
            try:
                return written.format(format_result(evaluate(opened[1])))
            except CalculationError:
                return None
    return None


def strip_annotations(text: str) -> str:
    """The text without its complete annotations: `3*4=<<3*4=12>>12` becomes `3*4=12`."""
    return _ANNOTATION.sub("", text)


def _tokens(expression: str) -> list[str]:
    """Numbers, without `$` and commas, and single signs."""
    tokens = []
    position = 0
    while position < len(expression):
        token = _TOKEN.match(expression, position)
        if not token:
            raise CalculationError(f"cannot read {expression[position:]!r} as arithmetic")
        number, sign = token.groups()
        tokens.append(sign or number.replace(",", ""))
        position = token.end()
    return tokens


class _Parser:
    """Recursive descent, one method a rule:

    sum     = product (("+" | "-") product)*
    product = factor (("*" | "/") factor)*
    factor  = ("+" | "-") factor | "(" sum ")" | number
    """

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._position = 0

    def parse(self) -> Fraction:
        value = self._sum(0)
        if self._next:
            raise CalculationError(f"{self._next!r} stands where the expression should end")
        return value

    @property
    def _next(self) -> str:
        """The token that comes next; empty at the end."""
        return self._tokens[self._position] if self._position < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next
        self._position += 1
        return token

    def _sum(self, depth: int) -> Fraction:
        value = self._product(depth)
        while self._next in ("+", "-"):
            operation = self._take()
            term = self._product(depth)
            value = _bounded(value + term if operation == "+" else value - term)
        return value

    def _product(self, depth: int) -> Fraction:
        value = self._factor(depth)
        while self._next in ("*", "/"):
            operation = self._take()
            factor = self._factor(depth)
            if operation == "/" and factor == 0:
                raise CalculationError("division by zero")
            value = _bounded(value * factor if operation == "*" else value / factor)
        return value

    def _factor(self, depth: int) -> Fraction:
        if depth > MAX_DEPTH:
            raise CalculationError(f"parentheses and signs nest deeper than {MAX_DEPTH}")
        token = self._take()
        if token in ("+", "-"):
            value = self._factor(depth + 1)
            return value if token == "+" else -value
        if token == "(":
            value = self._sum(depth + 1)
            if self._take() != ")":
                raise CalculationError("a parenthesis is not closed")
            return value
        if token in ("", ")", "*", "/"):
            raise CalculationError("a number is missing")
        return _bounded(Fraction(token))


def _bounded(value: Fraction) -> Fraction:
    if abs(value) > MAX_MAGNITUDE:
        raise CalculationError(f"a value exceeds {MAX_MAGNITUDE}")
    return value
