"""Whose account was given another name or picture lately, kept in memory until somebody asks for what came after it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

from policy.refusals import numbers_seen

MOST = 10_000
"""Accounts that are kept."""


class _Shown(NamedTuple):
    number: int
    displayname: str | None
    avatar_url: str | None


class ChangedProfiles:
    """The memory of one process; `process` tells it from others, whose numbers mean something else."""

    def __init__(self, process: str, most: int = MOST) -> None:
        self._process = process
        self._most = most
        self._number = 0
        self._kept: OrderedDict[str, _Shown] = OrderedDict()

    def note(self, user: str, displayname: str | None, avatar_url: str | None) -> None:
        """The account looks like this from now on."""
        self._number += 1
        self._kept.pop(user, None)
        self._kept[user] = _Shown(self._number, displayname, avatar_url)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def after(self, seen: str) -> dict[str, Any]:
        """What came after the number that was seen of this process, as JSON has it; what was seen is forgotten."""
        number = numbers_seen(seen).get(self._process, 0)
        for user in [user for user, shown in self._kept.items() if shown.number <= number]:
            del self._kept[user]
        return {
            "process": self._process,
            "number": self._number,
            "profiles": {
                user: {"displayname": shown.displayname, "avatar_url": shown.avatar_url}
                for user, shown in self._kept.items()
            },
        }
