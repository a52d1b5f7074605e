"""The people search of clients: Matrix IDs and the names they bear, for somebody with all they belong to (INV-12)."""

from __future__ import annotations

from collections.abc import Iterator

from policy.decide import decide
from policy.model import Membership, Moment, Policy, UserId
from policy.question import Search
from policy.reach import reach
from policy.rooms import BOT_NAME, listed_name

_FEWEST = 3
"""Letters of the bot's Matrix ID or name that have to be typed."""

_WITHOUT_ACCOUNT = 50
"""So many more are searched for, as people without a Matrix ID cannot be offered."""


def people_found(
    policy: Policy, indexed: Policy, viewer: UserId, words: str, limit: int, now: Moment
) -> dict[UserId, str]:
    """Whom somebody finds with all their memberships, each Matrix ID once with the name it is shown under."""
    found: dict[UserId, str] = {}
    for member in policy.accounts.get(viewer, ()):
        for other in (*_bearing(policy, member, words, now), *_searched(policy, indexed, member, words, limit, now)):
            if other.matrix and other.matrix != viewer:
                found.setdefault(other.matrix, listed_name(policy, other, member.organisation, now))
    return found


def means_the_bot(words: str, bot: UserId) -> bool:
    """Do these words begin its Matrix ID or its name? Its direct chat is where everybody asks and administers."""
    typed = words.strip().casefold().removeprefix("@")
    names = (bot.removeprefix("@"), BOT_NAME)
    return len(typed) >= _FEWEST and any(name.casefold().startswith(typed) for name in names)


def _bearing(policy: Policy, viewer: Membership, words: str, now: Moment) -> list[Membership]:
    """Whoever bears exactly this Matrix ID, where the viewer reaches them and is not one they are unlisted for."""
    bearing = [one for one in policy.accounts.get(UserId(words.strip()), ()) if reach(policy, viewer, one, now)]
    return [one for one in bearing if not one.unlisted or one.organisation == viewer.organisation]


def _searched(
    policy: Policy, indexed: Policy, viewer: Membership, words: str, limit: int, now: Moment
) -> Iterator[Membership]:
    """What the search finds; where it is that of a policy no longer in force, only whom the viewer reaches now."""
    if viewer.id not in indexed.people:
        return
    answer = decide(indexed, Search(viewer.id, words, limit + _WITHOUT_ACCOUNT), now)
    for one in answer.people or ():
        other = policy.people.get(one.person)
        if other is not None and (indexed is policy or reach(policy, viewer, other, now)):
            yield other


def reaches(policy: Policy, viewer: UserId, whom: UserId, now: Moment) -> bool:
    ours, theirs = policy.accounts.get(viewer, ()), policy.accounts.get(whom, ())
    return any(reach(policy, one, other, now) for one in ours for other in theirs)
