"""One export of one chat, from the order to the signed folder.

The chat is completed from the homeserver first, its events are written out of the record into the work folder, and the
rest is done by `bridge.transcript` in a thread. The work folder bears the order: an export that was killed goes on with
the same order, number and time, and with all that it had fetched and drawn.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from bridge.completion import complete
from bridge.config import Config
from bridge.export_order import Order, digest, read_order
from bridge.homeserver import Homeserver
from bridge.media_hashes import received
from bridge.media_repository import PATIENCE, MediaRepository
from bridge.reviewing import as_chat
from bridge.stoppable import Stoppable
from bridge.store import Store
from bridge.transcript import bundle, fonts, signature
from bridge.transcript.assemble import Settings, export
from bridge.transcript.collect import Spooled, spool
from bridge.transcript.model import Account, Person, Range, Received
from policy.model import Membership, Moment, PersonId, Policy, UserId
from policy.observation import Room
from policy.reach import see
from policy.rooms import shown_badge, shown_name, stood_for
from policy.rules.company import current_kind
from policy.rules.record import organisations

ORDER = "order.json"
EVENTS = "events.jsonl"


class Made(NamedTuple):
    """A finished export, read from its manifest."""

    folder: Path
    title: str
    entries: int
    missing: tuple[str, ...]
    """What could not be had, a sentence each."""
    organisations: tuple[str, ...]
    """Identifiers of those that take or took part."""
    inside: tuple[str, ...]
    """Identifiers of those that take part now."""
    sha256: str
    """Of the manifest, which holds the hashes of everything else."""


class _Told(NamedTuple):
    """What an export is made of."""

    account: Account
    events: Spooled
    people: dict[str, Person]
    known: dict[str, Received]


class ExportMaker:
    """Makes exports, one at a time for each order."""

    def __init__(
        self, config: Config, store: Store, homeserver: Homeserver, bot: UserId, *, patience: float = PATIENCE
    ) -> None:
        self._config = config
        self._store = store
        self._homeserver = homeserver
        self._bot = bot
        self._patience = patience

    def place(self, order: Order) -> Path:
        """The work folder of an order."""
        return self._config.exports.folder / digest(order.key)[:32]

    async def make(
        self,
        order: Order,
        policy: Policy,
        room: Room,
        *,
        out: Path | None = None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
        completed: tuple[str, ...] | None = None,
    ) -> Made:
        """Make the export, or find it made before, by default in the work folder.

        `completed` are the notes of whoever has completed the record before. Raises what `assemble.export` raises,
        `FontsMissing` and `WrongKey`.
        """
        place = self.place(order)
        out = out or place / "export"
        if not out.exists():
            await asyncio.to_thread(_prepare, place)
            order = await asyncio.to_thread(_kept, order, place / ORDER)
            notes = await complete(self._store, self._homeserver, room.id) if completed is None else completed
            events = await spool(self._events(room.id), place / EVENTS)
            told = _Told(
                _account(order, policy, room, self._bot, self._config.exports.handling, notes),
                events,
                _people(order, policy, room, self._bot),
                await received(self._store, room.id),
            )
            stoppable = Stoppable()
            await stoppable.do(partial(self._make_in, place, out, told, order.rsmf, stoppable, progress))
        now = order.asked
        taking, inside = taking_part(policy, room, self._bot, now), inside_of(policy, room, self._bot, now)
        return await asyncio.to_thread(_read_made, out, taking, inside)

    async def forget(self, order: Order) -> None:
        """Nothing of it is kept here any longer."""
        await asyncio.to_thread(shutil.rmtree, self.place(order), ignore_errors=True)

    async def _events(self, room: str) -> AsyncIterator[str]:
        async for event in self._store.history(room):
            yield event.json

    def _make_in(
        self,
        place: Path,
        out: Path,
        told: _Told,
        rsmf: bool,
        stoppable: Stoppable,
        progress: Callable[[int, int], None],
    ) -> None:
        """In a thread; it stops at the next event, file or volume."""
        media = MediaRepository(
            self._config.homeserver.address,
            self._config.appservice.as_token,
            patience=self._patience,
            pause=stoppable.pause,
        )
        export(
            told.account,
            lambda: stoppable.each(told.events()),
            told.people,
            media.fetch,
            work=place,
            out=out,
            settings=Settings(
                signature.signing_key(self._config.exports.key), fonts.find(self._config.exports.fonts), rsmf=rsmf
            ),
            received=told.known,
            progress=stoppable.before(progress),
        )


def _prepare(place: Path) -> None:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)


def _kept(order: Order, path: Path) -> Order:
    """The order as it was when it was first begun, so that what is made of it is the same."""
    if not path.exists():
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(asdict(order)))
        unfinished.replace(path)
    return read_order(json.loads(path.read_text()))


def _account(order: Order, policy: Policy, room: Room, bot: UserId, handling: str, notes: tuple[str, ...]) -> Account:
    chat = as_chat(policy, room, bot, order.asked)
    taking = taking_part(policy, room, bot, order.asked)
    names = {one: policy.organisations[one].name if one in policy.organisations else one for one in taking}
    home = policy.organisations.get(room.home)
    kind = current_kind(policy, chat) if chat is not None else str(room.chat.get("kind", ""))
    return Account(
        export_id=order.export_id,
        exporter=_exporter(order, policy, room),
        made=int(order.asked * 1000),
        room_id=room.id,
        kind=kind,
        organisations=tuple(names[one] for one in taking),
        took_part={
            names[one]: users for one, users in _by_organisation(policy, room, order.asked).items() if one in names
        },
        purpose=order.purpose,
        range=Range(until=order.until, last_event=order.last_event, only_event=order.only_event),
        timezone=home.timezone if home is not None else "UTC",
        notes=notes,
        handling=handling,
        software=f"qwil {version('qwil')}",
    )


def _by_organisation(policy: Policy, room: Room, now: Moment) -> dict[str, frozenset[str]]:
    """Who is or was in the chat for which organisation."""
    users: dict[str, set[str]] = {}
    for user in room.members:
        member = stood_for(policy, room.home, user, now)
        for one in {member.organisation if member is not None else room.home, *room.took_part.get(user, ())}:
            users.setdefault(one, set()).add(user)
    return {one: frozenset(those) for one, those in users.items()}


def _exporter(order: Order, policy: Policy, room: Room) -> Person:
    """For a review by the membership whose level allows it, of several."""
    if (reviewer := policy.people.get(PersonId(order.reviewing))) is not None:
        return _person(policy, room.home, UserId(order.by), reviewer)
    person = person_in(policy, room.home, UserId(order.by), order.asked)
    return person or Person(order.by, order.by)


def _people(order: Order, policy: Policy, room: Room, bot: UserId) -> dict[str, Person]:
    """Everybody who is or was in the chat, as the policy has them for it (EXT-8); the bot, too."""
    people = {bot: Person(bot, "qwil", "bot")}
    for user, member in room.members.items():
        if user != bot:
            person = person_in(policy, room.home, user, order.asked) or Person(user, member.name or user)
            people[user] = person if _may_know_title(order, policy, room.home, user) else person._replace(job_title="")
    return {str(user): person for user, person in people.items()}


def _may_know_title(order: Order, policy: Policy, home: str, user: UserId) -> bool:
    """A parent's title names a child (INV-3): another parent is told it as their contact list does, or not (BOOK-8)."""
    reader = stood_for(policy, home, UserId(order.by), order.asked)
    member = stood_for(policy, home, user, order.asked)
    if reader is None or member is None or reader is member or "staff" in (reader.role, member.role):
        return True
    return see(policy, reader, member, order.asked)


def person_in(policy: Policy, home: str, user: UserId, now: Moment) -> Person | None:
    """Somebody as the chats of that organisation name them; none for an account that is in no organisation."""
    member = stood_for(policy, home, user, now)
    return _person(policy, home, user, member) if member is not None else None


def _person(policy: Policy, home: str, user: UserId, member: Membership) -> Person:
    return Person(
        matrix=user,
        name=shown_name(policy, member, home),
        role=member.role,
        organisation=policy.organisations[member.organisation].name,
        badge=shown_badge(member, home),
        job_title=member.job_title,
    )


def taking_part(policy: Policy, room: Room, bot: UserId, now: Moment) -> tuple[str, ...]:
    """The organisations that take or took part, the chat's own first."""
    chat = as_chat(policy, room, bot, now)
    found = organisations(policy, chat) if chat is not None else {room.home}
    return tuple(sorted(found, key=lambda one: (one != room.home, one)))


def inside_of(policy: Policy, room: Room, bot: UserId, now: Moment) -> tuple[str, ...]:
    """The organisations that take part now: the chat's own, and those of everybody who is inside."""
    members = (stood_for(policy, room.home, user, now) for user in room.inside(bot))
    return tuple(sorted({room.home, *(member.organisation for member in members if member is not None)}))


def _read_made(out: Path, taking: tuple[str, ...], inside: tuple[str, ...]) -> Made:
    content = (out / bundle.MANIFEST).read_bytes()
    manifest = json.loads(content)
    return Made(
        out,
        manifest["chat"]["title"],
        manifest["chat"]["entries"],
        tuple(manifest["missing"]),
        taking,
        inside,
        hashlib.sha256(content).hexdigest(),
    )
