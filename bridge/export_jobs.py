"""Exports that people asked the bot for: jobs on record, each done to its end whatever is killed in between.

One is made at a time. Whoever asked sees in one message how far it is, and gets the files in the direct chat; they go
nowhere else. Every export is in the audit before anybody has a file of it. Whether they may have it is judged when they
ask, again when it is begun, and again before every file.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import NoReturn

from mautrix.api import Method, PathBuilder

from bridge.attachments import Attachments
from bridge.bulletin import Bulletins
from bridge.completion import complete
from bridge.export import ExportMaker, Made, inside_of, taking_part
from bridge.export_order import TITLE_FOR, Order, read_order
from bridge.homeserver import Homeserver, Refused
from bridge.ledger import Job
from bridge.observe import Observer
from bridge.policy_file import PolicySource
from bridge.retry import Unavailable, until_available
from bridge.reviewing import still_allowed, title_until
from bridge.store import Store
from bridge.transcript import bundle
from policy.decision import Decision
from policy.model import Moment, UserId
from policy.observation import Room
from policy.reach import status
from policy.rooms import stands_for

KIND = "export"
NOTED = "export-noted:"
SENT = "export-sent:"
REFUSED = "export-refused:"

TRIES = 3
TRY_AGAIN_AFTER = 60.0
"""Seconds."""

LONGEST_IDLE = 60.0
SHOWN_EVERY = 3.0
"""Seconds between two looks at how far it is."""

LARGEST_PIECE = 100 * 2**20
"""Bytes; what is sent at once is in memory."""
DEFAULT_LIMIT = 50 * 2**20
"""Bytes; Synapse's own default."""

SHOWN = 10
"""What could not be had, in the message; all of it is in the manifest and on the cover."""

IN_PARTS = (
    "What is too large to be sent at once comes in parts (.001, .002, …): save them in one folder and open the first"
    " one with an archive program."
)

MIME = {".pdf": "application/pdf", ".zip": "application/zip"}

log = logging.getLogger("qwil.export")


class Withdrawn(Exception):
    """Whoever asked for the export may not have it any more."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.text)
        self.rules = decision.rules


class ExportJobs:
    """Does them."""

    def __init__(
        self,
        *,
        maker: ExportMaker,
        source: PolicySource,
        store: Store,
        observer: Observer,
        homeserver: Homeserver,
        attachments: Attachments,
        bulletins: Bulletins,
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._maker = maker
        self._source = source
        self._store = store
        self._observer = observer
        self._homeserver = homeserver
        self._attachments = attachments
        self._bulletins = bulletins
        self._clock = clock
        self._asked = asyncio.Event()

    async def ask_for(self, order: Order) -> bool:
        """Have an export made and sent; False where one with this key was asked for before."""
        new = await self._store.add_job(KIND, order.key, asdict(order), due=self._clock())
        self._asked.set()
        return new

    async def run(self) -> NoReturn:
        """Make what was asked for, and then what will be, until cancelled."""
        while True:
            self._asked.clear()
            job = await until_available(self._next)
            if job is not None:
                await until_available(lambda job=job: self._attempt(job))  # type: ignore[misc]
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_IDLE):
                    await self._asked.wait()

    async def _next(self) -> Job | None:
        jobs = await self._store.due_jobs(self._clock(), limit=1000)
        return next((job for job in jobs if job.kind == KIND), None)

    async def _attempt(self, job: Job) -> None:
        order = read_order(job.payload)
        try:
            await self._do(order)
        except Unavailable:
            raise
        except Withdrawn as withdrawn:
            await self._refuse(order, withdrawn)
        except Exception as wrong:  # whatever goes wrong with one export, the next one is made
            log.exception("The export %s failed.", order.export_id)
            if job.attempts + 1 < TRIES:
                await self._store.postpone_job(job, due=self._clock() + TRY_AGAIN_AFTER, error=str(wrong))
                return
            await self._say(order, f"The export could not be made: {wrong} Your administrator finds more in the log.")
        # In this order: a kill in between leaves no files behind, and what was sent is known until the job is done.
        await self._maker.forget(order)
        await self._store.finish_job(job, done=self._clock())
        await self._bulletins.close(order.key)
        for what in (NOTED, SENT, REFUSED):
            await self._store.forget(f"{what}{order.key}")

    async def _do(self, order: Order) -> None:
        room, notes = await self._judged(order)
        title = await self._title(order, room)
        await self._say(order, f"The export of “{title}” is being made ({order.export_id}).")
        drawn: list[tuple[int, int]] = []
        showing = asyncio.create_task(self._show(order, title, drawn))
        try:
            made = await self._maker.make(
                order,
                self._source.policy,
                room,
                progress=lambda done, total: drawn.append((done, total)),
                completed=notes,
            )
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
        await self._judged(order)
        await self._note(order, made)
        sent = await self._send(order, made)
        await self._say(order, _report(order, made, sent))

    async def _title(self, order: Order, room: Room) -> str:
        """As those know it who asked."""
        last = await self._store.event(order.last_event) if order.reviewing and order.last_event else None
        return room.name if last is None else await title_until(self._store, room, last)

    async def _judged(self, order: Order) -> tuple[Room, tuple[str, ...]]:
        """The chat as it stands, and what cannot be had of it; raises `Withdrawn`.

        What put somebody out may still be on its way to the bridge: the homeserver is asked for it first.
        """
        notes = await complete(self._store, self._homeserver, order.room)
        room = await self._on_record(order.room)
        decision = await still_allowed(
            self._store,
            self._source.policy,
            room,
            self._observer.bot,
            UserId(order.by),
            reviewing=order.reviewing,
            last_event=order.last_event,
            now=self._clock(),
        )
        if room is None or not decision.allowed:
            raise Withdrawn(decision)
        return room, notes

    async def _on_record(self, name: str) -> Room | None:
        """The chat as the record has it now; what the bridge goes by follows as it handles what came."""
        latest = Observer(self._store, bot=self._observer.bot, server=self._observer.server)
        for event in await self._store.whole_state(name):
            latest.note(name, event.type, event.state_key or "", event.content, event.sender)
        handled, found = self._observer.room(name), latest.room(name)
        if handled is None or found is None:
            return handled
        # Whoever is left out as former there has come in against the rules and is left out here.
        known = {user: member for user, member in found.members.items() if member.inside or user in handled.members}
        return replace(handled, members=known, chat=found.chat)

    async def _refuse(self, order: Order, withdrawn: Withdrawn) -> None:
        """On record once, with what was handed over before; who is in no organisation any more is told nothing."""
        sent = await self._store.recall(f"{SENT}{order.key}", [])
        if not await self._store.recall(f"{REFUSED}{order.key}"):
            refusal = await self._refusal(order, withdrawn, sent)
            await self._store.audit(order.by, f"{subject(order)} refused", refusal, time=self._clock())
            await self._store.remember(f"{REFUSED}{order.key}", True)
        now = self._clock()
        if any(status(member, now) != "left" for member in self._source.policy.accounts.get(UserId(order.by), ())):
            rest = "Its other files are" if sent else "It is"
            await self._say(order, f"The export {order.export_id} is stopped. {withdrawn} {rest} not handed over.")

    async def _refusal(self, order: Order, withdrawn: Withdrawn, sent: list[str]) -> dict[str, object]:
        room = self._observer.room(order.room)
        policy, now = self._source.policy, self._clock()
        concerned: tuple[str, ...] = ()
        inside: tuple[str, ...] = ()
        if room is not None:
            bot = self._observer.bot
            concerned, inside = taking_part(policy, room, bot, now), inside_of(policy, room, bot, now)
        return {
            "export": order.export_id,
            "room": order.room,
            "title": await self._title(order, room) if room is not None else "",
            TITLE_FOR: _title_for(order, inside),
            "organisation": ", ".join(concerned),
            "because": list(withdrawn.rules),
            "text": str(withdrawn),
            "sent": sent,
            "as": order.reviewing,
        }

    async def _show(self, order: Order, title: str, drawn: list[tuple[int, int]]) -> None:
        while True:
            await asyncio.sleep(SHOWN_EVERY)
            if drawn:
                done, total = drawn[-1]
                await self._say(order, f"The export of “{title}” is being made: part {done} of {total} is drawn.")

    async def _say(self, order: Order, text: str) -> None:
        try:
            await self._bulletins.say(UserId(order.by), order.key, text)
        except Refused as refusal:
            log.warning("%s could not be told how far an export is: %s", order.by, refusal)

    async def _note(self, order: Order, made: Made) -> None:
        if await self._store.recall(f"{NOTED}{order.key}"):
            return
        await self._store.audit(order.by, subject(order), details(order, made), time=self._clock())
        await self._store.remember(f"{NOTED}{order.key}", True)

    async def _send(self, order: Order, made: Made) -> list[str]:
        """What was sent before a kill is not sent again: the same export makes the same pieces. All of their names."""
        sent: list[str] = await self._store.recall(f"{SENT}{order.key}", [])
        limit = await self._limit()
        for path in await asyncio.to_thread(_parcels, order, made, self._maker.place(order) / "parcels", limit):
            if path.name in sent:
                continue
            room, _ = await self._judged(order)
            data = await asyncio.to_thread(path.read_bytes)
            await self._attachments.send(
                UserId(order.by),
                data,
                name=path.name,
                mimetype=MIME.get(path.suffix, "application/octet-stream"),
                about=f"{order.key} {path.name}",
                organisation=self._given_for(order, room),
            )
            sent.append(path.name)
            await self._store.remember(f"{SENT}{order.key}", sent)
        return sent

    def _given_for(self, order: Order, room: Room) -> str:
        """The organisation by which somebody may have the export: of the membership that reviews or takes part."""
        if order.reviewing:
            return order.reviewing.partition("/")[0]
        member = stands_for(self._source.policy, room.home, UserId(order.by), self._clock())
        return member.organisation if member else ""

    async def _limit(self) -> int:
        """The largest upload the homeserver takes (Client-Server API, `/media/config`)."""
        try:
            answer = await self._homeserver.ask(Method.GET, PathBuilder("/_matrix/client/v1/media/config"))
        except Refused:
            return DEFAULT_LIMIT
        limit = answer.get("m.upload.size")
        return min(limit, LARGEST_PIECE) if isinstance(limit, int) and limit > 0 else DEFAULT_LIMIT


def subject(order: Order) -> str:
    """What the audit calls it."""
    return "review export" if order.reviewing else "export"


def details(order: Order, made: Made) -> dict[str, object]:
    """What the audit keeps of an export; it concerns every organisation that takes part in the chat."""
    wanted = {"until": order.until, "last_event": order.last_event, "only_event": order.only_event}
    return {
        "export": order.export_id,
        "room": order.room,
        "title": made.title,
        TITLE_FOR: _title_for(order, made.inside),
        "organisation": ", ".join(made.organisations),
        "entries": made.entries,
        "missing": len(made.missing),
        "manifest": made.sha256,
        "purpose": order.purpose,
        "as": order.reviewing,
        **{name: value for name, value in wanted.items() if value is not None},
    }


def _title_for(order: Order, inside: tuple[str, ...]) -> str:
    """Whoever left knows the chat by what it was called then, and the audit names it to them by its id alone."""
    return ", ".join(sorted({*inside, *filter(None, [order.reviewing.partition("/")[0]])}))


def _parcels(order: Order, made: Made, folder: Path, limit: int) -> list[Path]:
    """The files as they are sent, made anew: named after the export, none larger than the limit."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    whole: list[Path] = []
    if order.sends in ("", "pdf"):
        for pdf in sorted(made.folder.glob("*.pdf")):
            whole.append(folder / f"{order.export_id}-{pdf.name}")
            shutil.copyfile(pdf, whole[-1])
    if order.sends in ("", "zip"):
        whole.append(folder / f"{order.export_id}.zip")
        bundle.pack(made.folder, whole[-1])
    return [piece for path in whole for piece in bundle.split(path, limit)]


def _report(order: Order, made: Made, sent: list[str]) -> str:
    entries = f"{made.entries} entr{'y' if made.entries == 1 else 'ies'}"
    lines = [f"The export of “{made.title}” is done ({order.export_id}): {entries}. The files are here."]
    if any(name.endswith(".001") for name in sent):
        lines.append(IN_PARTS)
    lines += [f"- {sentence}" for sentence in made.missing[:SHOWN]]
    if len(made.missing) > SHOWN:
        lines.append(f"… and {len(made.missing) - SHOWN} more, see the cover.")
    return "\n".join(lines)
