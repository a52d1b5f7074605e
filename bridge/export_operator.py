"""An export asked for at the machine itself, beside the bridge or while it is down; it is on record like every other.

A homeserver that does not answer costs a sentence in the notes, since the record may be all that is left of a chat.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mautrix.api import Method, PathBuilder

from bridge.completion import complete, gaps
from bridge.config import Config
from bridge.days import end_of, zone_of
from bridge.export import ExportMaker, Made
from bridge.export_jobs import details, subject
from bridge.export_order import Order
from bridge.homeserver import Homeserver, Refused
from bridge.observe import Observer
from bridge.store import Store
from bridge.transcript.assemble import UnderWay
from bridge.transcript.fonts import FontsMissing
from bridge.transcript.render_pdf import DrawingFailed
from bridge.transcript.signature import WrongKey
from policy.model import Moment, Policy, UserId
from policy.observation import Room
from policy.search import fold

PATIENCE = 10.0
"""Seconds in which the homeserver has to answer before the record alone is exported; likewise for the files."""

COMPLETING = 600.0
"""Seconds that completing a long chat may take."""


SAME_TIME = "SOURCE_DATE_EPOCH"
"""The environment variable by which what is made again bears the time of what it is compared with
(reproducible-builds.org, "SOURCE_DATE_EPOCH specification").
"""


class NotExported(Exception):
    """The export cannot be made; the text says what would have been right."""


async def export_room(
    config: Config,
    policy: Policy,
    name: str,
    *,
    by: str,
    until: str | None,
    out: Path | None,
    rsmf: bool,
    purpose: str,
    progress: Callable[[int, int], None],
) -> Made:
    """Export one chat into a folder; raises `NotExported`."""
    store = await Store.open(config.database)
    try:
        observer = Observer(store, bot=UserId(config.bot), server=config.homeserver.server_name)
        await observer.load()
        room = _room(observer, name)
        order = await _order(store, policy, room, by=by, until=until, out=out, rsmf=rsmf, purpose=purpose)
        folder = (out or Path(f"export-{order.export_id}")).absolute()
        if folder.exists():
            raise NotExported(f"{folder} is there already: an export is never written over another")
        async with Homeserver(config) as homeserver:
            maker = ExportMaker(config, store, homeserver, observer.bot, patience=PATIENCE)
            notes = await _completed(store, homeserver, room)
            made = await maker.make(order, policy, room, out=folder, progress=progress, completed=notes)
        await store.audit(by, subject(order), details(order, made), time=time.time())
        await maker.forget(order)
        return made
    except (UnderWay, DrawingFailed, FontsMissing, WrongKey) as wrong:
        raise NotExported(str(wrong)) from wrong
    finally:
        await store.close()


def _room(observer: Observer, name: str) -> Room:
    """The chat of that id, or the one of that title."""
    room = observer.room(name)
    if room is not None and room.chat:
        return room
    found = [room for room in observer.rooms.values() if room.chat and fold(room.name) == fold(name)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(room.id for room in found)
        raise NotExported(f"{len(found)} chats are called “{name}”: write which one, {ids}")
    raise NotExported(f"no chat on record is called “{name}”: write its id, !opaque:server, or its title")


async def _order(
    store: Store,
    policy: Policy,
    room: Room,
    *,
    by: str,
    until: str | None,
    out: Path | None,
    rsmf: bool,
    purpose: str,
) -> Order:
    """The same words in the same folder are the same order, so that a second try goes on with the first."""
    wanted, made = "\n".join((room.id, by, until or "", str(rsmf), purpose)), _made()
    named = f"{wanted}\n{made}"
    key = "\n".join((named if out is None else wanted, str((out or Path()).absolute())))
    order = Order(key=key, room=room.id, by=by, asked=made, purpose=purpose, rsmf=rsmf, named=named)
    if until is None:
        return order
    if until.startswith("$"):
        event = await store.event(until)
        if event is None or event.room_id != room.id:
            raise NotExported(f"no event {until} is on record in that chat: its id is in messages.jsonl of an export")
        return replace(order, last_event=until)
    try:
        return replace(order, until=end_of(until, zone_of(policy, room.home)))
    except ValueError:
        raise NotExported(f"--until is an event, $..., or a day like 2026-12-24, not {until!r}") from None


def _made() -> Moment:
    """The time that the export bears, in whole seconds: with the time of an earlier one it becomes the same bytes."""
    given = os.environ.get(SAME_TIME)
    try:
        return Moment(int(given) if given else int(time.time()))
    except ValueError:
        raise NotExported(f"{SAME_TIME} is a number of seconds since 1970, such as 1795510800, not {given!r}") from None


async def _completed(store: Store, homeserver: Homeserver, room: Room) -> tuple[str, ...]:
    """Complete the record, but for no longer than makes sense to somebody who waits at a terminal."""
    try:
        async with asyncio.timeout(PATIENCE):
            await homeserver.ask(Method.GET, PathBuilder("/_matrix/client/versions"))
        async with asyncio.timeout(COMPLETING):
            return await complete(store, homeserver, room.id)
    except (TimeoutError, Refused):
        away = "The homeserver did not answer: what never reached the record could not be looked for."
        return (away, *await gaps(store, room.id))
