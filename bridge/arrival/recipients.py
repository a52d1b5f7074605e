"""Whom a message to many goes to (BUT-3): words for many, books, single people, or a spreadsheet that lists them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from policy.administered import books_named
from policy.mistake import instead, quoted
from policy.model import Membership, Moment, PersonId, Policy, UserId
from policy.reach import status

MANY: Mapping[str, Callable[[Membership], bool]] = {
    "staff": lambda member: member.role == "staff",
    "clients": lambda member: member.role == "client",
    "everybody": lambda _: True,
}
LIST = "list"
"""The word for the people of a spreadsheet."""

NAMING = ("identifier", "matrix", "email")
"""Headings that can name a person, the surest first."""

_WORDS = re.compile(r"((?:[^\s,]+\s*,\s*)*[^\s,]+)\s*(.*)\Z", re.DOTALL)


class Recipients(NamedTuple):
    """Who is meant, and a sentence for everything that meant nobody."""

    people: list[PersonId]
    mistakes: list[str]


class Sheet(Protocol):
    """As much of a spreadsheet as is looked at here."""

    @property
    def headings(self) -> Sequence[str]: ...
    @property
    def rows(self) -> Sequence[Sequence[str]]: ...
    @property
    def numbers(self) -> Sequence[int]: ...
    @property
    def wrong(self) -> Mapping[tuple[int, str], str]: ...


def split(text: str) -> tuple[list[str], str]:
    """The words that say whom, with commas between them, and what is to be said."""
    found = _WORDS.match(text)
    return (re.split(r"\s*,\s*", found[1]), found[2]) if found else ([], "")


def named(policy: Policy, organisation: str, words: Sequence[str], now: Moment) -> Recipients:
    """Everybody active whom the words mean in one organisation, each once."""
    found: dict[PersonId, None] = {}
    mistakes = []
    for word in words:
        books = [book for _, book in books_named(policy, (organisation,), word)]
        people = _meant(policy, organisation, word)
        if word in MANY:
            found |= dict.fromkeys(_active(policy, organisation, MANY[word], now))
        elif books and people:
            mistakes.append(f"{quoted(word)} is a contact book and a person: write the person's e-mail address.")
        elif len(books) == 1:
            found |= dict.fromkeys(_active(policy, organisation, _in(books[0]), now))
        elif len(people) == 1:
            found[people[0].id] = None
        else:
            known = [*MANY, LIST, *policy.organisations[organisation].books]
            mistakes.append(f"There is no contact book or person {quoted(word)}{instead(word, known)}")
    return Recipients(list(found), mistakes)


def listed(policy: Policy, organisation: str, sheet: Sheet) -> Recipients:
    """Everybody whom the rows of a spreadsheet name by identifier, Matrix ID or e-mail address."""
    naming = [heading for heading in NAMING if heading in sheet.headings]
    if not naming:
        return Recipients([], [f"The first row has to hold one of the headings {', '.join(NAMING)}."])
    found: dict[PersonId, None] = {}
    mistakes = []
    for number, row in zip(sheet.numbers, sheet.rows, strict=True):
        cells = {heading: row[sheet.headings.index(heading)] for heading in naming}
        wrong = [sheet.wrong[number, heading] for heading in sheet.headings if (number, heading) in sheet.wrong]
        heading = next((heading for heading in naming if cells[heading]), "")
        people = _meant(policy, organisation, cells[heading]) if heading else []
        if wrong:
            mistakes.append(f"row {number}: {wrong[0]}")
        elif not heading:
            mistakes.append(f"row {number}: it names nobody under {' or '.join(naming)}")
        elif len(people) != 1:
            mistakes.append(f"row {number}: there is nobody with the {heading} {quoted(cells[heading])}")
        else:
            found[people[0].id] = None
    return Recipients(list(found), mistakes)


def _in(book: str) -> Callable[[Membership], bool]:
    return lambda member: book in member.books


def _active(policy: Policy, organisation: str, takes: Callable[[Membership], bool], now: Moment) -> Iterator[PersonId]:
    for member in policy.people.values():
        if member.organisation == organisation and status(member, now) == "active" and takes(member):
            yield member.id


def _meant(policy: Policy, organisation: str, word: str) -> list[Membership]:
    """By identifier, Matrix ID or e-mail address; who has left counts only where nobody else is meant."""
    by_id = (PersonId(word), PersonId(f"{organisation}/{word}"))
    found = [policy.people[person] for person in by_id if person in policy.people]
    found = found or list(policy.accounts.get(UserId(word), ()))
    if not found and "@" in word:
        found = [member for member in policy.people.values() if member.email.lower() == word.lower()]
    found = [member for member in found if member.organisation == organisation]
    return [member for member in found if member.status != "left"] or found
