"""Completing a chat before it is exported: what its history on the homeserver has and the record lacks.

The history is walked back once to its beginning, later only to where the last walk began. What could not be had is
told in sentences for the completeness notes of the export, never passed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mautrix.api import Method, PathBuilder, SynapseAdminPath

from bridge.catch_up import as_events
from bridge.homeserver import Homeserver, Refused, room_path
from bridge.originals import with_originals
from bridge.store import Store
from policy.model import Moment

PAGE = 500
"""Events asked for at once."""

COMPLETE = "complete:"
"""Under which names it is remembered from which event back a room is complete."""


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
    walk = _Walk(store, homeserver, room, everything, clock)
    try:
        await walk.back()
    except Refused as refusal:
        why = str(refusal).rstrip(".")
        return (f"The homeserver does not show the chat's history ({why}): what never reached the record is missing.",)
    if walk.unreadable:
        number = f"{walk.unreadable} events" if walk.unreadable > 1 else "One event"
        return (f"{number} of the history had no sound id, sender or type and could not be kept.",)
    return ()


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
        self.unreadable = 0

    async def back(self) -> None:
        known = await self._store.recall(f"{COMPLETE}{self._room}")
        newest: str | None = None
        page: str | None = None
        while True:
            answer = await self._page(page)
            chunk = answer.get("chunk", [])
            ids = [event.get("event_id") for event in chunk if isinstance(event, dict)]
            newest = newest or (ids[0] if ids else None)
            await self._keep(chunk[::-1])
            if known in ids or not answer.get("end") or answer["end"] == page:
                break
            page = answer["end"]
        if newest is not None:
            await self._store.remember(f"{COMPLETE}{self._room}", newest)

    async def _page(self, start: str | None) -> dict[str, Any]:
        query = {"dir": "b", "limit": str(PAGE), **({"from": start} if start else {})}
        answer: dict[str, Any] = await self._homeserver.ask(Method.GET, self._messages, query=query)
        return answer

    async def _keep(self, chunk: list[Any]) -> None:
        events = as_events(self._room, chunk)
        self.unreadable += len(chunk) - len(events)
        unknown = await self._store.unknown([event.event_id for event in events])
        if not unknown:
            return
        missing = await with_originals(self._homeserver, [event for event in events if event.event_id in unknown])
        asked = await self._store.last_arrival()
        state = as_events(self._room, await self._homeserver.ask(Method.GET, room_path(self._room).state))
        await self._store.fill(self._room, missing, state, asked=asked, received=self._clock())
