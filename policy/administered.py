"""Whom an administrator's words mean: any member of the organisations they administer, invited or gone included."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import NamedTuple

from policy.mistake import instead, quoted
from policy.model import Membership, PersonId, Policy, UserId
from policy.search import fold

LONGEST_NAME = 8
"""As many words are tried as one name; a longer one goes in quotation marks."""

AND = frozenset({"and", "&"})
"""What may stand between two names, as in the bot's own answers."""

CHOICES = 10
"""As many people of one name are listed."""


class Members(NamedTuple):
    """Who was meant, and a sentence for every word that meant nobody."""

    members: tuple[Membership, ...]
    mistakes: tuple[str, ...]


def members_named(policy: Policy, organisations: Collection[str], words: Sequence[str]) -> Members:
    """Everybody the words name in these organisations; a name may take several words."""
    people = _People(policy, organisations)
    members: list[Membership] = []
    mistakes: list[str] = []
    rest = list(words)
    while rest:
        length, found = _longest(people, rest)
        word, rest = " ".join(rest[:length]), rest[length:]
        if not found and members and rest and word.lower() in AND:
            continue
        if not found:
            near = instead(word, [*(one.identifier for one in people.all), *(one.name for one in people.all)])
            # A short list of everybody is no help to somebody who mistyped one of them.
            hint = near if "did you mean" in near else ". Write an identifier, a whole name, or a Matrix ID."
            mistakes.append(f"There is nobody called {quoted(word)}{hint}")
        elif len(found) > 1:
            choices = ", ".join(f"{one.id} ({one.status})" for one in found[:CHOICES])
            mistakes.append(f"Several people are called {quoted(word)}. Write which one: {choices}.")
        else:
            members.append(found[0])
    return Members(tuple(dict.fromkeys(members)), tuple(mistakes))


def books_named(policy: Policy, organisations: Collection[str], word: str) -> list[tuple[str, str]]:
    """The books, with their organisation, that a word means: `organisation/book`, an identifier, or a name."""
    books = [(org, book) for org in organisations for book in policy.organisations[org].books.values()]
    exact = [(org, book.identifier) for org, book in books if word in (book.identifier, f"{org}/{book.identifier}")]
    return exact or [(org, book.identifier) for org, book in books if fold(book.name) == fold(word)]


class _People:
    """Everybody in some organisations, and by name those who are asked for by name."""

    def __init__(self, policy: Policy, organisations: Collection[str]) -> None:
        self._policy = policy
        self._organisations = organisations

    @cached_property
    def all(self) -> list[Membership]:
        return [member for member in self._policy.people.values() if member.organisation in self._organisations]

    @cached_property
    def _by_name(self) -> dict[str, list[Membership]]:
        found: dict[str, list[Membership]] = {}
        for member in self.all:
            found.setdefault(fold(member.name), []).append(member)
        return found

    def meant(self, word: str) -> list[Membership]:
        """Of several whom a word means, those who have left do not count beside those who have not."""
        by_id = (PersonId(word), *(PersonId(f"{org}/{word}") for org in self._organisations))
        found = [self._policy.people[person] for person in by_id if person in self._policy.people]
        found = found or list(self._policy.accounts.get(UserId(word), ()))
        found = [member for member in found if member.organisation in self._organisations]
        found = found or self._by_name.get(fold(word), [])
        return [member for member in found if member.status != "left"] or found


def _longest(people: _People, words: Sequence[str]) -> tuple[int, list[Membership]]:
    """As many of the first words as name somebody together, and whom."""
    for length in range(min(len(words), LONGEST_NAME), 0, -1):
        found = people.meant(" ".join(words[:length]))
        if found:
            return length, found
    return 1, []
