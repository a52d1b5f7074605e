"""What stands behind `review find`, taken apart: the words that are sought, and the filters behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import tzinfo
from typing import NamedTuple

from bridge.commands import Answer, Asked
from bridge.days import end_of, start_of, zone_of
from bridge.search_words import Phrase, phrases
from policy.mistake import quoted
from policy.model import Membership, Policy, UserId
from policy.naming import tokens
from policy.reach import linked
from policy.search import fold
from policy.yaml_nodes import DAY

KINDS = ("staff", "client", "external")
FILTERS = ("by", "from", "until", "kind")


class Wish(NamedTuple):
    """What stands behind `review find`."""

    phrases: list[Phrase]
    senders: tuple[UserId, ...]
    since: int | None
    until: int | None
    kind: str


def wish(asked: Asked, text: str) -> Wish:
    """The text with its filters, which stand at its end in any order."""
    words = tokens(text)
    first = next(
        (place for place, word in enumerate(words) if word.lower() in FILTERS and _all_filters(words[place:])), None
    )
    filters = dict(_pairs(words[first:])) if first is not None else {}
    own = _before(text, words, first)
    sought = phrases(own)
    if own and not sought:
        raise Answer(f"{quoted(own)} holds no word. Words of letters and digits are found, signs and emoji are not.")
    reviewing = next((member for member in asked.memberships if member.review), asked.memberships[0])
    zone = zone_of(asked.policy, reviewing.organisation)
    kind = filters.get("kind", "").lower()
    if kind not in ("", *KINDS):
        raise Answer(f"A chat's kind is one of {', '.join(KINDS)}, not {quoted(kind)}.")
    senders = _senders(asked, filters["by"]) if "by" in filters else ()
    return Wish(
        sought,
        senders,
        a_day(start_of, filters["from"], zone) if "from" in filters else None,
        a_day(end_of, filters["until"], zone) if "until" in filters else None,
        kind,
    )


def _all_filters(words: list[str]) -> bool:
    return len(words) % 2 == 0 and all(word.lower() in FILTERS for word in words[::2])


def _pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    return ((name.lower(), value) for name, value in zip(words[::2], words[1::2], strict=True))


def _before(text: str, words: list[str], first: int | None) -> str:
    """The text without its filters; phrases keep their quotation marks."""
    if first is None:
        return text
    return " ".join(f'"{word}"' if " " in word else word for word in words[:first])


def _senders(asked: Asked, word: str) -> tuple[UserId, ...]:
    """Everybody whom a word may mean, also those who left: the own organisation's people and the network's staff.

    That somebody is a client elsewhere is nothing a search tells (DIR-4).
    """
    if word.startswith("@"):
        return (UserId(word),)
    found = [
        member.matrix
        for member in asked.policy.people.values()
        if any(_known(asked.policy, own, member) for own in asked.memberships)
        and member.matrix is not None
        and (fold(member.name) == fold(word) or word in (member.id, member.identifier))
    ]
    if not found:
        raise Answer(f"Nobody is called {quoted(word)}. Write a whole name in quotation marks, or a Matrix ID.")
    return tuple(dict.fromkeys(found))


def _known(policy: Policy, own: Membership, other: Membership) -> bool:
    if own.organisation == other.organisation:
        return True
    return other.role == "staff" and linked(policy, own.organisation, other.organisation)


def a_day(moment: Callable[[str, tzinfo], int], word: str, zone: tzinfo) -> int:
    """A moment of the day that somebody wrote."""
    try:
        return moment(word, zone)
    except ValueError:
        if DAY.fullmatch(word):
            raise Answer(f"There is no {word}.") from None
        raise Answer(f"A date is written like 2026-12-24, not {quoted(word)}.") from None
