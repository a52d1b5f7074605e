"""Finding what the homeserver never sent: events lost on its side between sending to a room and to the bridge.

A homeserver that is stopped forgets the events it had queued for its application services, and the bridge would never
hear of them: a draft would stay one, a record would have a hole. The bot's own `/sync` knows better. What it shows and
the record lacks after a while is fetched, with the state of the room, and handled like everything else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from mautrix.api import Method, Path

from bridge.homeserver import Homeserver, Refused, room_path
from bridge.originals import with_originals
from bridge.receive import as_event
from bridge.retry import until_available
from bridge.store import NewEvent, Store
from policy.model import Moment, UserId

EVERY = 20.0
"""Seconds between two looks."""

PATIENCE = 5.0
"""Seconds in which an event may still come by itself."""

PAGE = 100
"""Events asked for at once."""

POSTPONED = "postponed"
"""Under which name the rooms are remembered whose history or invitation was refused."""

MOST_TRIES = 30

UNSEEN: dict[str, Any] = {}
"""The timeline of a room that is looked through from its end."""

FILTER = json.dumps({
    "presence": {"types": []},
    "account_data": {"types": []},
    "room": {
        "timeline": {"limit": PAGE},
        "state": {"lazy_load_members": True},
        "ephemeral": {"types": []},
        "account_data": {"types": []},
    },
})  # fmt: skip

log = logging.getLogger("qwil.catch_up")


class CatchUp:
    """Compares what the bot can see with what is on record."""

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        *,
        bot: UserId,
        arrived: Callable[[], None],
        every: float = EVERY,
        patience: float = PATIENCE,
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._bot = bot
        self._arrived = arrived
        self._every = every
        self._patience = patience
        self._clock = clock

    async def look_at_start(self) -> None:
        """Have on record what a bridge that was stopped did last, before anything is done again."""
        await until_available(lambda: self._looked(0))

    async def run(self) -> NoReturn:
        """Look again and again until cancelled, at once where something was found."""
        found = 0
        while True:
            await asyncio.sleep(0 if found else self._every)
            found = await until_available(lambda: self._looked(self._patience))

    async def _looked(self, patience: float) -> int:
        try:
            return await self.look(patience)
        except Refused as refusal:
            log.error("What may be missing cannot be looked up: %s", refusal)
            return 0

    async def look(self, patience: float = 0.0) -> int:
        """Look once, giving what is on its way `patience` seconds; how many events and invitations had never come."""
        since = await self._store.recall("sync")
        # Synapse answers the same first request from its cache for two minutes; the milliseconds make it another one.
        query = {"since": since, "timeout": "0"} if since else {"timeout": str(int(self._clock() * 1000) % 1000)}
        news = await self._homeserver.sync(filter=FILTER, **query)
        await asyncio.sleep(patience)
        rooms = news.get("rooms", {})
        joined = {room: part.get("timeline", {}) for room, part in rooms.get("join", {}).items()}
        # The homeserver shows each only once: what it refuses for now is tried again at every later look.
        before: dict[str, tuple[str, int]] = await self._store.recall(POSTPONED, {})
        again = {room: UNSEEN for room, (what, _) in before.items() if what == "history"} | joined
        invited = {*rooms.get("invite", {}), *(room for room, (what, _) in before.items() if what == "invitation")}
        postponed: dict[str, tuple[str, int]] = {}
        found = 0
        for what, room, work in (
            *(("history", room, self._complete(room, timeline)) for room, timeline in again.items()),
            *(("invitation", room, self._answer(room)) for room in sorted(invited - again.keys())),
        ):
            try:
                found += await work
            except Refused as refusal:
                tries = before.get(room, (what, 0))[1] + 1
                log.warning("The %s of %s cannot be had (try %d): %s", what, room, tries, refusal)
                if tries < MOST_TRIES:
                    postponed[room] = (what, tries)
        await self._store.remember(POSTPONED, postponed)
        # Only now: a kill in between repeats the look, and loses nothing.
        await self._store.remember("sync", news["next_batch"])
        return found

    async def _complete(self, room: str, timeline: dict[str, Any]) -> int:
        """Fetch what is missing of a room; a limited timeline is followed back to what is known."""
        events = as_events(room, timeline.get("events", []))
        unknown = await self._store.unknown([event.event_id for event in events])
        missing = [event for event in events if event.event_id in unknown]
        page = timeline.get("prev_batch")
        if timeline is UNSEEN or (timeline.get("limited") and page and events and events[0].event_id in unknown):
            missing = [*await self._before(room, page), *missing]
        if not missing:
            return 0
        log.warning("%d events of %s had never come; they are fetched.", len(missing), room)
        missing = await with_originals(self._homeserver, missing)
        asked = await self._store.last_arrival()
        state = as_events(room, await self._homeserver.ask(Method.GET, room_path(room).state))
        await self._store.fill(room, missing, state, asked=asked, received=self._clock())
        self._arrived()
        return len(missing)

    async def _before(self, room: str, page: str | None) -> list[NewEvent]:
        """What is missing before a page of history, or its end, oldest first, back to an event that is on record."""
        pages: list[list[NewEvent]] = []
        while True:
            query = {"dir": "b", "limit": str(PAGE), **({"from": page} if page else {})}
            answer = await self._homeserver.ask(Method.GET, room_path(room).messages, query=query)
            events = as_events(room, answer.get("chunk", []))[::-1]
            unknown = await self._store.unknown([event.event_id for event in events])
            pages.append([event for event in events if event.event_id in unknown])
            page = answer.get("end")
            if not page or not events or events[0].event_id not in unknown:
                return [event for part in reversed(pages) for event in part]

    async def _answer(self, room: str) -> int:
        """An invitation of the bot that never came is one: inside, the next look shows what the room is."""
        if await self._store.state(room, "m.room.member", self._bot) is not None:
            return 0
        await self._homeserver.ask(Method.POST, Path.v3.join[room], {})
        return 1


def as_events(room: str, entries: Iterable[Any]) -> list[NewEvent]:
    """Events as the record keeps them; those of `/sync` do not say their room."""
    whole = ({**entry, "room_id": room} if isinstance(entry, dict) else entry for entry in entries)
    return [event for event in map(as_event, whole) if event is not None]
