"""The bot's direct chat with each person: where it answers and gives notice (BUT-0)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable

from bridge.homeserver import Refused
from bridge.observe import Observer
from bridge.perform import Performer
from bridge.policy_file import PolicySource
from policy.model import Moment, UserId
from policy.observation import RoomName
from policy.reach import status

log = logging.getLogger("qwil.direct")


class Direct:
    """Finds, or makes, the direct chat of a person and speaks there."""

    def __init__(
        self, source: PolicySource, observer: Observer, performer: Performer, clock: Callable[[], Moment] = time.time
    ) -> None:
        self._source = source
        self._observer = observer
        self._performer = performer
        self._clock = clock
        self._opening: defaultdict[UserId, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def tell(
        self, user: UserId, text: str, *, about: str, quiet: bool = False, room: RoomName | None = None
    ) -> None:
        """Say something to one person, once for each occasion; who has no account yet is told nothing.

        `room` is one of the person's direct chats where that matters.
        """
        try:
            await self._performer.say_in(room or await self.room(user), text, about=about, quiet=quiet)
        except Refused as refusal:
            log.warning("%s could not be told “%s”: %s", user, text, refusal)

    async def room(self, user: UserId) -> RoomName:
        """The person's direct chat, made where there is none; raises `Refused`.

        Somebody whose homeserver does not answer keeps nobody else waiting.
        """
        async with self._opening[user]:
            if (room := self._observer.direct_with(user)) is not None:
                return room
            # A bridge that was stopped in between has made it, and not yet brought them in.
            if (begun := self._observer.direct_begun(user)) is None:
                return await self._performer.open_direct(user)
            await self._performer.enter_direct(begun, user)
            return begun

    async def tell_admins(self, organisation: str, text: str, *, about: str, but: str = "") -> None:
        """Say something to every system administrator of an organisation, but not to who knows already."""
        for user in self._system_admins(organisation):
            if user != but:
                await self.tell(user, text, about=about)

    def _system_admins(self, organisation: str) -> list[UserId]:
        now = self._clock()
        return [
            member.matrix
            for member in self._source.policy.people.values()
            if member.organisation == organisation
            and member.admin == "system"
            and member.matrix is not None
            and status(member, now) == "active"
        ]
