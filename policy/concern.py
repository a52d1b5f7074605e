"""Which mistakes of a policy file are which organisation's affair: others' people are named in theirs (DIR-4)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from policy.mistake import Mistake, Mistakes

_KEY = re.compile(r"""(?P<indent> *)["']?(?P<key>[^\s"':#]+)["']?\s*:(?P<value>.*)""")
_PEOPLE = re.compile(r"""[\s{,]people:\s*["']?(?P<file>[^\s"'{},#]+)""")


class Section(NamedTuple):
    """The lines of one organisation in the policy file, and the spreadsheet of its people where it has one."""

    organisation: str
    first: int
    last: int
    spreadsheet: str = ""


def sections(text: str) -> list[Section]:
    """Where every organisation stands, found by indentation alone: the file need not be right."""
    lines = text.splitlines()
    keys = list(_organisation_keys(lines))
    found = []
    for number, (first, name) in enumerate(keys):
        last = keys[number + 1][0] - 1 if number + 1 < len(keys) else _end(lines, first)
        named = next((match["file"] for line in lines[first - 1 : last] if (match := _PEOPLE.search(line))), "")
        found.append(Section(name, first, last, named))
    return found


def _organisation_keys(lines: list[str]) -> Iterator[tuple[int, str]]:
    inside, depth = False, 0
    for number, line in enumerate(lines, 1):
        key = _KEY.match(line)
        if key is None:
            continue
        if not key["indent"]:
            inside, depth = key["key"] == "organisations", 0
        elif inside and (not depth or len(key["indent"]) == depth):
            depth = len(key["indent"])
            yield number, key["key"]


def _end(lines: list[str], first: int) -> int:
    after = (number for number, line in enumerate(lines[first:], first) if _KEY.match(line) and line[0] != " ")
    return next(after, len(lines))


def mistakes_of(text: str, file: str, mistakes: Mistakes, organisations: Collection[str]) -> list[str]:
    """The mistakes in lines that administrators of these organisations may read, and how many others there are.

    What stands in no organisation is everybody's, unless it names somebody of another one.
    """
    whole = sections(text)
    own = [mistake for mistake in mistakes if _concerns(whole, file, mistake, organisations)]
    others = len(mistakes) - len(own)
    more = [f"and {others} in what other organisations have written"] if others else []
    return [*map(str, own), *more]


def _concerns(whole: list[Section], file: str, mistake: Mistake, organisations: Collection[str]) -> bool:
    if mistake.place.file == file:
        where = {part.organisation for part in whole if part.first <= mistake.place.line <= part.last}
    else:
        where = {part.organisation for part in whole if part.spreadsheet == mistake.place.file}
    named = {part.organisation for part in whole if re.search(rf"\b{re.escape(part.organisation)}/", mistake.text)}
    touched = where | named
    return touched <= set(organisations) if touched else mistake.place.file == file
