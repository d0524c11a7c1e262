"""Keys and passwords, left out of everything that is shown or kept: messages, tracebacks and recorded commands."""

import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from urllib.parse import quote, unquote

HIDDEN = "***"
OWN_VARIABLES = ("OPENAI_API_KEY", "VLLM_API_KEY")
SECRET = (
    r"(?:api[-_]?key|access[-_]?key|key|token|secret|passw(?:or)?d|pwd|credentials?|auth|authorization|sig(?:nature)?)"
)
"""How names of options, fields and variables end whose value is a secret."""
SHORTEST = 6
"""Characters of a secret that is looked for in any text; a shorter one may be part of a word."""
SHORTEST_OF_OTHERS = 8
"""The same for variables of the environment that are not known to hold a key."""

_NAME = re.compile(r"--?[\w.-]+")
_OPTION = re.compile(rf"(?!--signature$)--?(?:[\w-]*[-_.])?{SECRET}", re.IGNORECASE)  # that of `audit` is a word
_VARIABLE = re.compile(r".*(?:API_?KEY|ACCESS_?KEY|SECRET|PASSWORD|_TOKEN)", re.IGNORECASE)
# Who logs in: before the last @, in which a password may hold any character, unless a number follows the colon (a port)
_LOGIN = re.compile(r"""(?<=://)(?:[^\s/?#"'@:]*:(?!\d+[/\s?#])[^\s"']*|[^\s/?#"']*)@""")
_QUERY = re.compile(rf"""([?&;#][\w.-]*?{SECRET}=)([^&\s#"']+)""", re.IGNORECASE)
_FIELD = re.compile(rf"""(["'](?:[\w-]*[-_])?{SECRET}["']\s*:\s*\[?\s*)(["'])(.+?)\2""", re.IGNORECASE)


def redacted(text: str) -> str:
    """A text without the secrets of this process, wherever they stand, and without those that stand in URLs.

    The secrets are the keys in the environment and what options of the command line such as `--api-key` name.
    """
    return _without(_longest_first(), text)


def redacted_command(words: Sequence[str]) -> list[str]:
    """A command line as it may be kept, also where one of its words is itself a line of options."""
    secrets = _longest_first()
    return [_without(secrets, word) for word in _command(words, set())]


def _without(secrets: Sequence[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return _without_marked(text)


def _longest_first() -> list[str]:
    return sorted(_secrets(), key=len, reverse=True)


def _secrets() -> Iterator[str]:
    """Every form in which a secret of this process may turn up."""
    found: set[str] = set()
    _command(sys.argv[1:], found)
    found |= {os.environ.get(name, "").strip() for name in OWN_VARIABLES}
    others = {value.strip() for name, value in os.environ.items() if _VARIABLE.fullmatch(name)}
    found |= {value for value in others if len(value) >= SHORTEST_OF_OTHERS}
    for secret in found:
        if len(secret) >= SHORTEST:
            yield from {secret, unquote(secret), quote(secret, safe=""), secret.encode("unicode_escape").decode()}


def _command(words: Sequence[str], found: set[str]) -> list[str]:
    """The words with each secret hidden by its place; adds the secrets to `found`."""
    shown = []
    secret = url = False
    for word in words:
        name, equals, value = word.partition("=")
        if not _NAME.fullmatch(name):
            shown.append(_value(word, found, secret, url))
            continue
        secret, url = bool(_OPTION.fullmatch(name)), name.endswith("url")
        shown.append(f"{name}={_value(value, found, secret, url)}" if equals else word)
        if equals:
            secret = url = False
    return shown


def _value(value: str, found: set[str], secret: bool, url: bool) -> str:
    if secret:
        found.add(value)
        return HIDDEN
    if url and "://" not in value and "@" in value:  # a scheme was forgotten, and no message may show the rest
        login, _, host = value.rpartition("@")
        found |= {login, login.partition(":")[2]}
        return f"{HIDDEN}@{host}"
    for match in _LOGIN.finditer(value):
        found |= {match[0][:-1], match[0][:-1].partition(":")[2]}
    found |= {match[2] for match in _QUERY.finditer(value)} | {match[3] for match in _FIELD.finditer(value)}
    return _inner(_without_marked(value), found)


def _inner(line: str, found: set[str]) -> str:
    """A word that may itself be a line of options."""
    try:
        words = shlex.split(line)
    except ValueError:  # quotes that do not close
        words = line.split()
    if words == [line] and not _NAME.fullmatch(line.partition("=")[0]):
        return line  # nothing of it was taken off: looking into it again would never end
    shown = _command(words, found)
    return line if shown == words else shlex.join(shown).replace(shlex.quote(HIDDEN), HIDDEN)


def _without_marked(text: str) -> str:
    """Without what its place marks as a secret: log-ins and queries of URLs, and fields of JSON."""
    text = _LOGIN.sub(f"{HIDDEN}@", text)
    text = _QUERY.sub(rf"\g<1>{HIDDEN}", text)
    return _FIELD.sub(rf"\g<1>\g<2>{HIDDEN}\g<2>", text)
