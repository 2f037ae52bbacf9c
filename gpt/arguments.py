"""A command line into a dataclass, by tyro; what is wrong with it in one sentence."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from typing import TypeVar, get_type_hints

import tyro

from gpt.config import nearest

Arguments = TypeVar("Arguments")


class UsageError(ValueError):
    """The command line is wrong; the message says where."""


def parse(
    kind: type[Arguments], program: str, argv: Sequence[str], default: Arguments | None = None
) -> Arguments:
    """The dataclass that argv describes; fields left out are those of `default`.

    UsageError where it is wrong. SystemExit after --help.
    """
    known = {"--help", *option_names(kind)}
    for option in options_in(argv):
        if option not in known:
            raise UsageError(f"unknown option {option!r}{nearest(option, sorted(known))}")
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            if default is None:
                return tyro.cli(kind, prog=program, args=argv)
            return tyro.cli(kind, prog=program, args=argv, default=default)
    except SystemExit as end:
        if not end.code:
            raise
        raise UsageError(sentence_in(message.getvalue())) from None


def option_names(kind: type) -> Iterator[str]:
    """Every --option of a dataclass, those of dataclasses within it included."""
    for name, hint in get_type_hints(kind).items():
        if is_dataclass(hint) and isinstance(hint, type):
            yield from option_names(hint)
        else:
            yield f"--{name.replace('_', '-')}"
            if hint is bool:
                yield f"--no-{name.replace('_', '-')}"


def options_in(argv: Sequence[str]) -> list[str]:
    """The options that a command line names, as they are written in the help."""
    names = (word.partition("=")[0] for word in argv if word.startswith("--"))
    return [name.replace("_", "-") for name in names]


def value_of(option: str, argv: Sequence[str]) -> str | None:
    """The value that a command line gives to an option."""
    for index, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name == option:
            return value if equals else "".join(argv[index + 1 : index + 2])
    return None


def sentence_in(box: str) -> str:
    """What a message of tyro says between its title and the first rule; frames may be ASCII."""
    paragraphs: list[list[str]] = [[]]
    for line in box.splitlines():
        words = line.strip("│╭╮╰╯─-| ").split()
        if words:
            paragraphs[-1] += words
        if not words or line.startswith("╭"):
            paragraphs.append([])
    sentences = [" ".join(words) for words in paragraphs if words]
    return "".join(sentences[1:2]) or box.strip()
