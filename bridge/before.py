"""Looking at the rooms from before: which there are that are none of ours, for the plan to say what becomes of them.

The homeserver's administration lists every room, also those that were made before anything was sent to the bridge. What
was seen is kept in the record, where `qwil plan` finds it without asking the homeserver. A room is looked at again when
something in it has changed, and its history is put on record once it has become a chat.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from mautrix.api import Method, SynapseAdminPath

from bridge.completion import complete
from bridge.homeserver import Homeserver, Refused
from bridge.observe import MARKS, Observer
from bridge.retry import Unavailable, until_available
from bridge.store import Store, StoredEvent
from bridge.takeover import HISTORY
from policy.before import room_before
from policy.model import Moment

EVERY = 3600.0
"""Seconds between two looks where nothing seems to have changed."""

BREATH = 2.0
"""Seconds before a look that an event asked for: what follows it is looked at together."""

PAGE = 500
"""Rooms asked for at once."""

ROOMS = SynapseAdminPath.v1.rooms

log = logging.getLogger("qwil.before")


class Survey:
    """Keeps what is known of the rooms from before."""

    def __init__(
        self,
        *,
        store: Store,
        observer: Observer,
        homeserver: Homeserver,
        admin: bool,
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._store = store
        self._observer = observer
        self._homeserver = homeserver
        self._admin = admin
        self._clock = clock
        self._looked = False
        self._changed: set[str] = set()
        """The rooms that are to be looked at again."""
        self._wanted = asyncio.Event()

    def note(self, event: StoredEvent) -> None:
        """Something happened: where it changed a room that is none of ours, that one is looked at again."""
        if event.state_key is not None and self._observer.room(event.room_id) is None:
            self._changed.add(event.room_id)
            self._wanted.set()

    async def run(self) -> NoReturn:
        """Look again and again until cancelled; only administrators of the homeserver are shown its rooms."""
        while True:
            self._wanted.clear()
            await until_available(self.look)
            await until_available(self.complete_histories)
            try:
                async with asyncio.timeout(EVERY):
                    await self._wanted.wait()
            except TimeoutError:
                self._looked = False
            else:
                await asyncio.sleep(BREATH)

    async def look(self) -> None:
        """See every room that is none of ours as it is now: the first time all, later those that have changed."""
        if not self._admin:
            return
        try:
            if not self._looked:
                await self._look_at_all()
            for room in sorted(self._changed):
                await self._look_again_at(room)
        except Refused as refusal:
            log.warning("The rooms from before cannot be looked at: %s", refusal)

    async def _look_at_all(self) -> None:
        there = set()
        start: object = 0
        while isinstance(start, int):
            query = {"from": str(start), "limit": str(PAGE), "order_by": "name"}
            answer = await self._homeserver.ask(Method.GET, ROOMS, query=query)
            for entry in _entries(answer):
                there.add(str(entry["room_id"]))
                await self._see(entry)
            start = answer.get("next_batch")
        for room in [room for room in self._observer.before if room not in there or self._observer.room(room)]:
            await self._observer.forget_before(room)
        self._looked = True

    async def _look_again_at(self, room: str) -> None:
        # Before it is looked at: what happens meanwhile is a change of its own.
        self._changed.discard(room)
        try:
            await self._look_at(room)
        except Unavailable:
            self._changed.add(room)
            raise

    async def _look_at(self, room: str) -> None:
        try:
            entry = await self._homeserver.ask(Method.GET, ROOMS[room])
        except Refused as refusal:
            if refusal.status != 404:
                raise
            entry = {}
        for seen in _entries({"rooms": [entry]}):
            await self._see(seen)

    async def _see(self, entry: Mapping[str, Any]) -> None:
        room = str(entry["room_id"])
        if self._observer.room(room) is not None:
            return
        answer = await self._homeserver.ask(Method.GET, ROOMS[room].state)
        state = answer.get("state", [])
        # With a mark it is one of ours, of which the record has yet to learn.
        marked = any(isinstance(event, dict) and event.get("type") in MARKS for event in state)
        if not (marked and self._observer.trusts_creators):
            await self._observer.remember_before(room_before(room, state, published=entry.get("public") is True))

    async def complete_histories(self) -> None:
        """Put on record what was written in the rooms that became chats before they did."""
        for key, room in (await self._store.recall_all(HISTORY)).items():
            notes = await complete(self._store, self._homeserver, room, everything=self._admin, clock=self._clock)
            for note in notes:
                log.warning("The history of %s: %s", room, note)
            await self._store.forget(key)


def _entries(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The rooms in one answer."""
    for entry in answer.get("rooms", []):
        if isinstance(entry, dict) and "room_id" in entry and entry.get("joined_local_members"):
            yield entry
