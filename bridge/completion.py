"""Completing a chat before it is exported: what its history on the homeserver has and the record lacks.

The history is walked back once to its beginning, later only to where the last walk began. What could not be had is
told in sentences for the completeness notes of the export, never passed over.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

from mautrix.api import Method, PathBuilder, SynapseAdminPath

from bridge.catch_up import as_events
from bridge.homeserver import Homeserver, Refused, room_path
from bridge.ledger import as_json
from bridge.originals import with_originals
from bridge.store import NewEvent, Store
from bridge.transcript.events import LAST_TIME, iso
from policy.model import Moment

PAGE = 500
"""Events asked for at once."""

COMPLETE = "complete:"
"""Under which names it is remembered from which event back a room is complete."""
UNREADABLE = "unreadable:"
"""The same of what no walk could keep, by digests: later walks do not come by again, later exports tell it as well."""
BEGINS = "begins:"
"""The same of the time from which on a room's history is shown at all, where that is not its beginning."""


async def complete(
    store: Store,
    homeserver: Homeserver,
    room: str,
    *,
    everything: bool = False,
    clock: Callable[[], Moment] = time.time,
) -> tuple[str, ...]:
    """Put on record what is missing of the room; what could not be had, a sentence each.

    `everything` asks as an administrator of the homeserver, also for what was written before the bot could read it.
    """
    refused: tuple[str, ...] = ()
    try:
        await _Walk(store, homeserver, room, everything, clock).back()
    except Refused as refusal:
        why = str(refusal).rstrip(".")
        told = f"The homeserver does not show the chat's history ({why}): what never reached the record is missing."
        refused = (told,)
    return (*refused, *await gaps(store, room))


async def gaps(store: Store, room: str) -> tuple[str, ...]:
    """What no walk through the room's history could have so far, a sentence each."""
    begins, unreadable = await store.recall(f"{BEGINS}{room}"), await store.recall(f"{UNREADABLE}{room}", [])
    told = []
    if begins is not None:
        when = iso(begins) if 0 <= begins <= LAST_TIME else "an unknown time"
        told.append(f"The homeserver shows the chat's history from {when} on; what was before is not on record.")
    if unreadable:
        number = f"{len(unreadable)} events" if len(unreadable) > 1 else "One event"
        told.append(f"{number} of the history had no sound id, sender or type and could not be kept.")
    return tuple(told)


class _Walk:
    """One walk through the history of one room, from its end to its beginning."""

    def __init__(
        self, store: Store, homeserver: Homeserver, room: str, everything: bool, clock: Callable[[], Moment]
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._room = room
        self._messages: PathBuilder = (
            SynapseAdminPath.v1.rooms[room].messages if everything else room_path(room).messages
        )
        self._clock = clock
        self._oldest: NewEvent | None = None
        self._oldest_is_new = False

    async def back(self) -> None:
        known = await self._store.recall(f"{COMPLETE}{self._room}")
        newest: str | None = None
        page: str | None = None
        reached_the_end = False
        while True:
            answer = await self._page(page)
            chunk = answer.get("chunk", [])
            ids = [event.get("event_id") for event in chunk if isinstance(event, dict)]
            newest = newest or (ids[0] if ids else None)
            await self._keep(chunk[::-1])
            reached_the_end = not answer.get("end") or answer["end"] == page
            if known in ids or reached_the_end:
                break
            page = answer["end"]
        if reached_the_end:
            await self._note_beginning()
        if newest is not None:
            await self._store.remember(f"{COMPLETE}{self._room}", newest)

    async def _page(self, start: str | None) -> dict[str, Any]:
        query = {"dir": "b", "limit": str(PAGE), **({"from": start} if start else {})}
        answer: dict[str, Any] = await self._homeserver.ask(Method.GET, self._messages, query=query)
        return answer

    async def _keep(self, chunk: list[Any]) -> None:
        events = as_events(self._room, chunk)
        if len(events) < len(chunk):
            await self._note_unreadable([raw for raw in chunk if not as_events(self._room, [raw])])
        unknown = await self._store.unknown([event.event_id for event in events])
        if events:
            self._oldest, self._oldest_is_new = events[0], events[0].event_id in unknown
        if not unknown:
            return
        missing = await with_originals(self._homeserver, [event for event in events if event.event_id in unknown])
        asked = await self._store.last_arrival()
        state = as_events(self._room, await self._homeserver.ask(Method.GET, room_path(self._room).state))
        await self._store.fill(self._room, missing, state, asked=asked, received=self._clock())

    async def _note_beginning(self) -> None:
        """What the record had already when the walk came to it had been received since the room began."""
        if self._oldest is None:
            return
        if self._oldest.type == "m.room.create":
            await self._store.forget(f"{BEGINS}{self._room}")
        elif self._oldest_is_new:
            await self._store.remember(f"{BEGINS}{self._room}", self._oldest.origin_server_ts)

    async def _note_unreadable(self, raws: list[Any]) -> None:
        known = await self._store.recall(f"{UNREADABLE}{self._room}", [])
        digests = [hashlib.sha256(as_json(raw).encode()).hexdigest()[:16] for raw in raws]
        await self._store.remember(f"{UNREADABLE}{self._room}", sorted({*known, *digests}))
