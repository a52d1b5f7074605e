"""What was refused lately, kept in memory until it is fetched: noting it costs Synapse no I/O.

A client that asks the same thing over and over is one entry that counts; whoever asks a million different things pushes
out the oldest ones, and how many were lost is told. An entry is kept until somebody asks for what came after it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from policy.model import Moment, UserId

MOST = 10_000
"""Entries that are kept."""

PAGE = 500
"""Entries that are handed out at once."""

# What was refused ends with who asked for it, and where: neither holds a space, whatever type an event claims to have.
_WHO = re.compile(r".* (?:by|of) (@\S+)(?: (?:in|into) \S+)?", re.DOTALL)

_OWN_MOVES = {"join": "entering", "leave": "leaving", "knock": "asking to enter"}
_MOVES = {"invite": "inviting", "leave": "removing", "ban": "banning"}


class Refusal(NamedTuple):
    """Something that was refused, once or several times."""

    number: int
    first: Moment
    last: Moment
    what: str
    """`m.room.message by @ann:example.org in !room:example.org`, `inviting @kim:example.org by …`"""
    rules: tuple[str, ...]
    text: str
    times: int


class Refusals:
    """The memory of one process; `process` tells it from others, whose numbers mean something else."""

    def __init__(self, process: str, most: int = MOST) -> None:
        self._process = process
        self._most = most
        self._number = 0
        self._lost = 0
        self._kept: OrderedDict[tuple[str, str], Refusal] = OrderedDict()

    def note(self, what: str, rules: Sequence[str], text: str, now: Moment) -> None:
        """Something was refused."""
        self._number += 1
        known = self._kept.pop((what, text), None)
        first, times = (known.first, known.times) if known else (now, 0)
        self._kept[what, text] = Refusal(self._number, first, now, what, tuple(rules), text, times + 1)
        if len(self._kept) > self._most:
            self._lost += self._kept.popitem(last=False)[1].times

    def after(self, seen: str) -> dict[str, Any]:
        """The oldest entries after what was seen, as JSON has them; what was seen is forgotten.

        `seen` names processes with the number last seen of each, `ID:12,ID:40`: behind a load balancer several answer,
        each for itself.
        """
        number = numbers_seen(seen).get(self._process, 0)
        for key in [key for key, one in self._kept.items() if one.number <= number]:
            del self._kept[key]
        page = list(self._kept.values())[:PAGE]
        lost, self._lost = self._lost, 0
        return {
            "process": self._process,
            "refusals": [one._asdict() for one in page],
            "more": len(self._kept) > len(page),
            "lost": lost,
        }


def numbers_seen(text: str) -> dict[str, int]:
    """What was seen of which process, from `ID:12,ID:40`."""
    pairs = (entry.partition(":") for entry in text.split(","))
    return {process: int(number) for process, _, number in pairs if number.isascii() and number.isdecimal()}


def doing(kind: str, sender: str, state_key: str | None, membership: object) -> str:
    """What an event does, for people: `inviting @kim:example.org`; other types than of members as they are called."""
    if kind != "m.room.member":
        return kind
    own = state_key == sender
    word = _OWN_MOVES.get(str(membership), "") if own else _MOVES.get(str(membership), "")
    return (word if own else f"{word} {state_key}") if word else kind


def who_asked(what: str) -> UserId | None:
    """Who asked for what was refused."""
    found = _WHO.fullmatch(what)
    return UserId(found[1]) if found else None
