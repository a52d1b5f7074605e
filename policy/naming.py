"""Whom the words of a chat command mean: a Matrix ID, `organisation/identifier`, an identifier, or a name.

By a name only people are found whom the asker may reach, and only where one alone bears it. Whoever is not found is
answered alike, whether they exist or not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from policy.decide import decide
from policy.model import Membership, Moment, PersonId, Policy, UserId
from policy.question import Search
from policy.reach import reach
from policy.search import fold

_TOKEN = re.compile(r'"([^"]*)"|“([^”]*)”|«([^»]*)»|([^\s,]+)')
_MATRIX_ID = re.compile(r"@[^:\s]+:\S+")
_ALIKE = 1000
"""As many people of one name are looked through."""
_LONGEST_NAME = 8
"""As many words are tried as one name; a longer one goes in quotation marks."""


_MOST_WORDS = 500
"""Looking up many takes a while, in which nobody else is answered; a full chat of long names stays below."""


class Named(NamedTuple):
    """Who was meant, and a sentence for every word that meant nobody."""

    users: tuple[UserId, ...]
    mistakes: tuple[str, ...]


def tokens(text: str) -> list[str]:
    """The words of a command; what stands in quotation marks is one."""
    return [next(group for group in found.groups() if group is not None) for found in _TOKEN.finditer(text)]


def people_named(policy: Policy, viewers: Sequence[Membership], words: Sequence[str], now: Moment) -> Named:
    """Everybody the words name, as the holder of these memberships may name them; names may take several words."""
    if len(words) > _MOST_WORDS:
        return Named((), ("These are more names than can be looked up at once. Name fewer people at a time.",))
    users: list[UserId] = []
    mistakes: list[str] = []
    rest = list(words)
    while rest:
        length, found = _longest(policy, viewers, rest, now)
        word, rest = " ".join(rest[:length]), rest[length:]
        if isinstance(found, str):
            users.append(found)
        elif not found:
            mistakes.append(_unknown(policy, viewers, word, now))
        elif len(found) > 1:
            mistakes.append(_ambiguous(policy, word, found))
        elif found[0].matrix is None:
            mistakes.append(f"{found[0].name} has no account yet.")
        else:
            users.append(found[0].matrix)
    return Named(tuple(dict.fromkeys(users)), tuple(mistakes))


def _longest(
    policy: Policy, viewers: Sequence[Membership], words: Sequence[str], now: Moment
) -> tuple[int, UserId | list[Membership]]:
    """As many of the first words as name somebody together, and whom."""
    for length in range(min(len(words), _LONGEST_NAME), 0, -1):
        found = _meant(policy, viewers, " ".join(words[:length]), now)
        if found:
            return length, found
    return 1, []


def _meant(policy: Policy, viewers: Sequence[Membership], word: str, now: Moment) -> UserId | list[Membership]:
    """A Matrix ID is taken as it stands: whether it may be reached is decided later, for known and unknown alike."""
    if _MATRIX_ID.fullmatch(word):
        return UserId(word)
    return _by_identifier(policy, viewers, word, now) or _by_name(policy, viewers, word, now)


def _by_identifier(policy: Policy, viewers: Sequence[Membership], word: str, now: Moment) -> list[Membership]:
    found = {}
    for viewer in viewers:
        for person in (word, f"{viewer.organisation}/{word}"):
            member = policy.people.get(PersonId(person))
            if member is not None and reach(policy, viewer, member, now):
                found[member.id] = member
    return list(found.values())


def _by_name(policy: Policy, viewers: Sequence[Membership], word: str, now: Moment) -> list[Membership]:
    found = {}
    for viewer in viewers:
        people = decide(policy, Search(viewer.id, word, _ALIKE), now).people or ()
        for one in people:
            if fold(one.name) == fold(word):
                found[one.person] = policy.people[one.person]
    return list({member.matrix or member.id: member for member in found.values()}.values())


def _unknown(policy: Policy, viewers: Sequence[Membership], word: str, now: Moment) -> str:
    near = [one for viewer in viewers for one in decide(policy, Search(viewer.id, word, 3), now).people or ()]
    if near:
        names = " or ".join(dict.fromkeys(f"{one.name} ({one.person})" for one in near))
        return f"You can reach nobody called “{word}”. Did you mean {names}?"
    return f"You can reach nobody called “{word}”. Write a whole name, organisation/identifier, or a Matrix ID."


def _ambiguous(policy: Policy, word: str, found: Sequence[Membership]) -> str:
    choices = ", ".join(f"{member.id} of {policy.organisations[member.organisation].name}" for member in found)
    return f"Several people are called “{word}”. Write which one: {choices}."
