"""What every command of `qwil` is made of: its row, how it fails, what it reads and how it speaks.

Answers go to standard output, everything said to people to standard error.
"""

from __future__ import annotations

import errno
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bridge.config import Config
    from policy.mistake import Mistakes
    from policy.model import Policy

GOOD, BAD, NO_QUESTION = 0, 1, 2
"""Exit statuses."""

UNREADABLE = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "there is no such file",
    errno.EISDIR: "this is a folder; name a file in it",
    errno.EACCES: "you may not read or write this file",
    errno.ENAMETOOLONG: "no file has so long a name",
}


class Failure(Exception):
    """The command cannot do its work; the text is a whole sentence for whoever typed it."""


class Command(NamedTuple):
    """One word after `qwil`."""

    name: str
    does: str
    example: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
    failed: int = BAD
    """The exit status when it cannot do its work at all."""
    extra: str = ""
    """The extra of the package that brings what it imports."""


def no_arguments(_parser: ArgumentParser) -> None:
    """The command takes none."""


def policy_argument(parser: ArgumentParser) -> None:
    """The command is about one policy file."""
    parser.add_argument("policy", metavar="POLICY", type=Path, help="the policy file; its spreadsheets lie beside it")


def config_argument(parser: ArgumentParser) -> None:
    """The command is about one bridge."""
    parser.add_argument("-c", "--config", metavar="CONFIG", type=Path, required=True, help="the bridge's config.yaml")


def read_policy(path: Path) -> Policy | Mistakes:
    """The policy in the file or its mistakes, of which not being readable is one."""
    from bridge.policy_file import load
    from policy.mistake import Mistake, Place

    try:
        return load(path)
    except (OSError, ValueError) as error:
        text = UNREADABLE.get(getattr(error, "errno", 0), getattr(error, "strerror", None) or str(error))
        return (Mistake(Place(path.name, 1, 1), f"this file cannot be read: {text}"),)


def good_policy(path: Path) -> Policy:
    """The policy in the file; with mistakes in it there is nothing to ask."""
    found = read_policy(path)
    if not isinstance(found, tuple):
        return found
    print_each(found, sys.stderr)
    number = f"{len(found)} mistakes" if len(found) > 1 else "a mistake"
    raise Failure(f"the policy has {number}, see above: nothing can be asked of it until qwil check {path} finds none")


def read_config(path: Path) -> Config:
    """The configuration in the file; raises `Failure` with all its mistakes."""
    from bridge.config import ConfigError, load

    try:
        return load(path)
    except ConfigError as error:
        raise Failure(f"{path} has mistakes:\n{error}") from error


def print_each(texts: Iterable[object], to: IO[str]) -> None:
    """A line each."""
    for text in texts:
        print(text, file=to)


def print_json(value: object) -> None:
    """One line that programs read."""
    print(as_json(value))


def as_json(value: object) -> str:
    """Compact, in every script as it is written."""
    return json.dumps(value, ensure_ascii=False)


def say_progress(text: str) -> None:
    """What is being done, over what was said before; to a terminal, and not among the answers on it."""
    if sys.stderr.isatty() and not sys.stdout.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
