"""CL-2: a new message takes a chat out of the archive of everybody who had put it there.

The archive is the client's own low-priority tag, which no callback tells of. So the rooms that were written in are
gathered, and once a second the tags of all of them are looked up together: a message costs no look-up of its own. One
looked up since anybody last changed a tag is not looked up again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable

from policy.model import UserId

ARCHIVED = "m.lowpriority"
"""The room tag of the archive (Client-Server API, "Room tagging")."""

EVERY = 1.0
"""Seconds between two look-ups."""

LookUp = Callable[[Collection[str]], Awaitable[Iterable[tuple[UserId, str]]]]
"""Who has which of these rooms in the archive."""

Tags = Callable[[], int]
"""A number that is another one as soon as anybody's tags have changed."""

TakeOut = Callable[[UserId, str], Awaitable[object]]


class Archive:
    """Gathers the rooms that were written in and takes them out of archives."""

    def __init__(self, tags: Tags, look_up: LookUp, take_out: TakeOut) -> None:
        self._tags = tags
        self._look_up = look_up
        self._take_out = take_out
        self._written_in: set[str] = set()
        self._in_no_archive: set[str] = set()
        self._looked_up_at: int | None = None

    def written_in(self, room: str) -> None:
        """Somebody wrote a message there."""
        self._written_in.add(room)

    async def take_out(self) -> None:
        """Take every room that was written in since the last time out of every archive it is in."""
        rooms, self._written_in = self._written_in, set()
        if (tags := self._tags()) != self._looked_up_at:
            self._looked_up_at = tags
            self._in_no_archive.clear()
        if not (unknown := rooms - self._in_no_archive):
            return
        found = list(await self._look_up(unknown))
        for user, room in found:
            await self._take_out(user, room)
        if tags == self._looked_up_at:
            self._in_no_archive |= unknown - {room for _, room in found}
