"""The hash of every shared file, taken when it comes, so that an export shows whether the file is still that one.

The files themselves stay with the homeserver. What is to be hashed is on record until it is done, so that nothing is
lost by a kill; a file that cannot be had is asked for a few times more and then left to the export, which says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from bridge.observe import Observer
from bridge.retry import until_available
from bridge.store import Store, StoredEvent
from bridge.transcript.markup import pictures
from bridge.transcript.model import Received
from bridge.transcript.offers import MOST_PICTURES
from policy.model import Moment

HASHED = "media:"
"""Under which names, `media:ROOM MXC`, the hash and the size of a file are remembered."""
DUE = "media-due:"
"""The same of files whose turn is to come: when, and how often they could not be had."""

PAUSES = (60.0, 600.0, 3600.0, 6 * 3600.0, 86_400.0)
"""Seconds until a file that could not be had is asked for again."""

LONGEST_IDLE = 600.0

SHARED = ("m.room.message", "m.sticker")

MXC = re.compile(r"mxc://[A-Za-z0-9.:\[\]-]{1,255}/[A-Za-z0-9_-]{1,255}")

log = logging.getLogger("qwil.media")

Fetch = Callable[[str], Iterable[bytes]]


class Turn(NamedTuple):
    """When a file is asked for, and how often it could not be had before."""

    due: Moment
    attempts: int


class MediaHashes:
    """Notes the files of chats as their messages come, and hashes them one after another."""

    def __init__(
        self, *, store: Store, observer: Observer, fetch: Fetch, clock: Callable[[], Moment] = time.time
    ) -> None:
        self._store = store
        self._observer = observer
        self._fetch = fetch
        self._clock = clock
        self._noted = asyncio.Event()
        self._turns: dict[str, Turn] = {}
        self._knows_the_record = False

    async def note(self, event: StoredEvent) -> None:
        """If the event shares files in a chat, their turn will come."""
        room = self._observer.room(event.room_id)
        if event.type not in SHARED or room is None or not room.chat:
            return
        for mxc in dict.fromkeys(uploads(event.content)):
            name = f"{event.room_id} {mxc}"
            if await self._store.recall(f"{HASHED}{name}") is None:
                await self._give_turn(name, Turn(self._clock(), 0))
                self._noted.set()

    async def run(self) -> NoReturn:
        """Hash what was noted, and then what will be, until cancelled."""
        while True:
            self._noted.clear()
            soonest = await until_available(self.catch_up)
            pause = LONGEST_IDLE if soonest is None else max(soonest - self._clock(), 0)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(pause, LONGEST_IDLE)):
                    await self._noted.wait()

    async def catch_up(self) -> Moment | None:
        """Hash every file whose turn it is; when the next one's turn comes, if there is one."""
        if not self._knows_the_record:
            kept = await self._store.recall_all(DUE)
            self._turns = {name.removeprefix(DUE): Turn(*turn) for name, turn in kept.items()} | self._turns
            self._knows_the_record = True
        for name, turn in sorted(self._turns.items(), key=lambda item: item[1]):
            if turn.due <= self._clock():
                await self._attempt(name, turn.attempts)
        return min((turn.due for turn in self._turns.values()), default=None)

    async def _attempt(self, name: str, attempts: int) -> None:
        try:
            found = await asyncio.to_thread(self._hashed, name.partition(" ")[2])
        except Exception as wrong:  # whatever goes wrong with one file, the others and the bridge go on
            if attempts < len(PAUSES):
                await self._give_turn(name, Turn(self._clock() + PAUSES[attempts], attempts + 1))
                return
            log.warning("The file %s was never to be had: %s", name, wrong)
        else:
            await self._store.remember(f"{HASHED}{name}", found)
        await self._store.forget(f"{DUE}{name}")
        self._turns.pop(name, None)

    async def _give_turn(self, name: str, turn: Turn) -> None:
        await self._store.remember(f"{DUE}{name}", turn)
        self._turns[name] = turn

    def _hashed(self, mxc: str) -> Received:
        digest, size = hashlib.sha256(), 0
        for piece in self._fetch(mxc):
            digest.update(piece)
            size += len(piece)
        return Received(digest.hexdigest(), size)


async def received(store: Store, room: str) -> dict[str, Received]:
    """The files of a chat as they were when they came, by their content URI."""
    prefix = f"{HASHED}{room} "
    return {name.removeprefix(prefix): Received(*kept) for name, kept in (await store.recall_all(prefix)).items()}


def uploads(content: Mapping[str, Any]) -> Iterator[str]:
    """The content URIs of the files that a message or an edit shares, and of the pictures in its text."""
    for holder in (content, content.get("m.new_content")):
        if isinstance(holder, dict):
            html = holder.get("formatted_body")
            named = [file.get("url") for file in (holder, holder.get("file")) if isinstance(file, dict)]
            shown = [mxc for mxc, _ in pictures(html)[:MOST_PICTURES]] if isinstance(html, str) else []
            yield from (mxc for mxc in (*named, *shown) if isinstance(mxc, str) and MXC.fullmatch(mxc))
