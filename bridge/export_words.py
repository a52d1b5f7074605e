"""The words by which people get at the record: `export` in a chat, and `review` for data reviewers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import NoReturn, Protocol

from bridge.commands import Answer, Asked, Commands, Declined, Word
from bridge.days import end_of, zone_of
from bridge.export_order import PARTICIPANTS_COPY, REVIEW, TITLE_FOR, Order
from bridge.observe import Observer
from bridge.retry import until_available
from bridge.review_filters import Wish, a_day, wish
from bridge.review_hits import hit_line, how_to_go_on
from bridge.reviewing import Access, access_to, accesses, may_export, may_review
from bridge.search_words import WRITTEN
from bridge.store import Store, StoredEvent
from policy.decision import Objection
from policy.mistake import quoted
from policy.model import Membership, Moment
from policy.naming import tokens
from policy.observation import Room
from policy.search import fold

EXPORT_USAGE = "export [pdf|zip] [until DATE]"
REVIEW_FIND = "review find TEXT [by PERSON] [from DATE] [until DATE] [kind staff|client|external]"
REVIEW_EXPORT = "review export ROOM [pdf|zip] [until DATE]"
SENDS = ("pdf", "zip")

SHOWN = 30
"""Messages in one answer."""

PAGE = 500
RECENT = 30 * 86_400.0
"""Seconds back that `status` shows."""
RECENT_SHOWN = 10

READ_EVERY = 10.0
"""Seconds after which the words of new events are read."""
BREATH = 0.05
"""Seconds between two batches, in which others use the database."""

ON_RECORD = ("export", "export refused", "review find", "review export", "review export refused")
NOT_INSTALLED = "Exports are not installed with this bridge. Its operator adds them: pip install 'qwil[export]'."

NO_REVIEW = Objection(
    "REV-2", "Only data reviewers read chats they are not in; a system administrator can make you one."
)


class Jobs(Protocol):
    """Whoever makes what was ordered."""

    async def ask_for(self, order: Order) -> bool: ...


class ExportersWord(Word):
    """A word for staff, and for clients where their organisation lets them export (EXP-1)."""

    def known_to(self, asked: Asked) -> bool:
        return asked.is_staff or any(
            asked.policy.organisations[member.organisation].clients_may_export for member in asked.memberships
        )


class ReviewersWord(Word):
    """A word for data reviewers (REV-2)."""

    def known_to(self, asked: Asked) -> bool:
        return any(member.review for member in asked.memberships)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What stands behind `export`."""

    sends: str = ""
    until: int | None = None
    single: bool = False


class ExportWords:
    """Reads the words, asks the policy, and hands orders on."""

    def __init__(
        self, *, store: Store, observer: Observer, jobs: Jobs | None, clock: Callable[[], Moment] = time.time
    ) -> None:
        self._store = store
        self._observer = observer
        self._jobs = jobs
        self._clock = clock

    def words(self) -> dict[str, Word]:
        """The table of words, for `Commands`."""

        async def export(_commands: Commands, asked: Asked) -> str:
            return await self.export(asked)

        async def review(_commands: Commands, asked: Asked) -> str:
            return await self.review(asked)

        does = "this chat as PDF and zip, sent to you here; as a reply: up to that message; “export message”: that one"
        return {
            "export": ExportersWord(f"{EXPORT_USAGE} | export message", does, export, in_chat=True),
            "review": ReviewersWord(
                f"{REVIEW_FIND} | {REVIEW_EXPORT}",
                "find and export chats of your organisation",
                review,
                denied=NO_REVIEW,
            ),
        }

    async def keep_searchable(self) -> NoReturn:
        """Read the words of what comes, until cancelled, so that whoever searches waits for the last few only."""
        while True:
            read = await until_available(self._store.read_words)
            await asyncio.sleep(BREATH if read else READ_EVERY)

    # Export

    async def export(self, asked: Asked) -> str:
        """A participant's export (EXP-1, EXP-3)."""
        room = asked.room
        assert room is not None  # noqa: S101 - the table says in_chat
        wanted = _wanted(tokens(asked.rest), zone_of(asked.policy, room.home), f"!{EXPORT_USAGE}")
        decision = may_export(asked.policy, room, self._observer.bot, asked.user, asked.now)
        if not decision.allowed:
            raise Declined(decision)
        answered = await self._answered(asked, room)
        if wanted.single and answered is None:
            raise Answer("Write “!export message” as a reply to the message that you want.")
        return await self._ordered(
            asked,
            room,
            wanted,
            last_event=None if wanted.single else answered,
            only_event=answered if wanted.single else None,
        )

    async def _answered(self, asked: Asked, room: Room) -> str | None:
        """The message this is a reply to, if it is one of this chat."""
        if asked.reply_to is None:
            return None
        event = await self._store.event(asked.reply_to)
        if event is None or event.room_id != room.id:
            raise Answer("The message you answer is not on record in this chat; answer another one.")
        return asked.reply_to

    async def _ordered(
        self,
        asked: Asked,
        room: Room,
        wanted: Wanted,
        *,
        last_event: str | None = None,
        only_event: str | None = None,
        reviewing: str = "",
    ) -> str:
        """Nothing is answered: the message that says how far it is does that."""
        if self._jobs is None:
            raise Answer(NOT_INSTALLED)
        order = Order(
            key=asked.event.event_id,
            room=room.id,
            by=asked.user,
            asked=self._clock(),
            until=wanted.until,
            last_event=last_event,
            only_event=only_event,
            purpose=REVIEW if reviewing else PARTICIPANTS_COPY,
            sends=wanted.sends,
            reviewing=reviewing,
        )
        await self._jobs.ask_for(order)
        return ""

    # Review

    async def review(self, asked: Asked) -> str:
        """`review find` and `review export`."""
        word, _, rest = asked.rest.partition(" ")
        if word == "find" and rest.strip():
            return await self._find(asked, rest.strip())
        if word == "export" and rest.strip():
            return await self._review_export(asked, tokens(rest))
        raise Answer(f"Write “{REVIEW_FIND}” or “{REVIEW_EXPORT}”.")

    async def _find(self, asked: Asked, text: str) -> str:
        wanted = wish(asked, text)
        reach = await self._reach(asked)
        if wanted.kind:
            reach = {room: access for room, access in reach.items() if access.room.chat.get("kind") == wanted.kind}
        while await self._store.read_words():
            pass
        found, more = await self._found(wanted, reach)
        await self._store.audit(
            asked.user,
            "review find",
            {"text": text, "found": len(found), "organisation": _organisations(asked.memberships)},
            time=self._clock(),
        )
        if not found:
            return f"Nothing was found in the {len(reach)} chats that you may review."
        lines = [hit_line(asked, reach[event.room_id], event, wanted.phrases) for event in found]
        return "\n".join([*lines, *(["… and more: add a word or a date."] if more else []), how_to_go_on(found[0])])

    async def _found(self, wanted: Wish, reach: dict[str, Access]) -> tuple[list[StoredEvent], bool]:
        """What may be shown of what was found, the latest first, and whether there is more."""
        found: list[StoredEvent] = []
        before: int | None = None
        while reach:
            page = await self._store.search(
                wanted.phrases,
                senders=wanted.senders,
                since=wanted.since,
                until=wanted.until,
                before=before,
                limit=PAGE,
            )
            for event in page:
                access = reach.get(event.room_id)
                if access is not None and access.holds(event) and (wanted.phrases or event.type in WRITTEN):
                    if len(found) == SHOWN:
                        return found, True
                    found.append(event)
            if len(page) < PAGE:
                break
            before = page[-1].arrival
        return found, False

    async def _reach(self, asked: Asked) -> dict[str, Access]:
        return await accesses(
            self._store, asked.policy, self._observer.rooms, self._observer.bot, asked.memberships, asked.now
        )

    async def _review_export(self, asked: Asked, words: list[str]) -> str:
        room = self._observer.rooms.get(words[0])
        if room is None or not room.chat:
            room = await self._titled(asked, words[0])
        wanted = _wanted(words[1:], zone_of(asked.policy, room.home), REVIEW_EXPORT)
        if wanted.single:
            raise Answer("A single message is exported in its chat, by those who are in it.")
        access = await access_to(self._store, asked.policy, room, self._observer.bot, _reviewers(asked), asked.now)
        if access is None:
            self._refuse(asked, room, words[0])
        last = access.last.event_id if access.last is not None else None
        return await self._ordered(asked, room, wanted, last_event=last, reviewing=access.by.id)

    def _refuse(self, asked: Asked, room: Room, word: str) -> NoReturn:
        """With the rule that objects; a draft is hidden from everybody (CHAT-1)."""
        decisions = may_review(asked.policy, room, self._observer.bot, _reviewers(asked), asked.now)
        if not decisions or room.draft:
            raise Answer(_unknown(word))
        raise Declined(decisions[0][1])

    async def _titled(self, asked: Asked, title: str) -> Room:
        """A chat by its title, among those that may be reviewed."""
        reach = await self._reach(asked)
        found = [access.room for access in reach.values() if fold(access.title) == fold(title)]
        if not found:
            raise Answer(_unknown(title))
        if len(found) > 1:
            raise Answer(f"{len(found)} chats are called {quoted(title)}: write which, as “review find” shows them.")
        return found[0]

    # Status

    async def status_lines(self, organisations: frozenset[str], now: Moment) -> list[str]:
        """The exports and reviews of late that concern these organisations, for `status`."""
        entries = [
            (entry, details)
            for entry in await self._store.audit_about(ON_RECORD, since=now - RECENT)
            if organisations & _concerned(details := _details(entry.details))
        ]
        if not entries:
            return []
        lines = [f"Exports and reviews in the last 30 days: {len(entries)}."]
        for entry, details in entries[: -RECENT_SHOWN - 1 : -1]:
            moment = datetime.fromtimestamp(entry.time, UTC).strftime("%Y-%m-%d %H:%M")
            titled = TITLE_FOR not in details or organisations & _listed(details[TITLE_FOR])
            subject = (details.get("title") if titled else details.get("room")) or details.get("text") or ""
            lines.append(f"- {moment} UTC {entry.who}: {entry.what} “{subject}”")
        return lines


def _details(text: str) -> dict[str, object]:
    details = json.loads(text)
    return details if isinstance(details, dict) else {}


def _concerned(details: dict[str, object]) -> set[str]:
    return _listed(details.get("organisation"))


def _listed(names: object) -> set[str]:
    return set(str(names).split(", "))


def _reviewers(asked: Asked) -> list[Membership]:
    return [member for member in asked.memberships if member.review]


def _organisations(memberships: tuple[Membership, ...]) -> str:
    return ", ".join(member.organisation for member in memberships if member.review)


def _unknown(word: str) -> str:
    return f"You may review no chat called {quoted(word)}. “review find TEXT” shows those that you may."


def _wanted(words: list[str], zone: tzinfo, usage: str) -> Wanted:
    wanted = Wanted()
    rest = iter(words)
    for word in rest:
        if word.lower() in SENDS and not wanted.sends:
            wanted = Wanted(word.lower(), wanted.until, wanted.single)
        elif word.lower() == "message":
            wanted = Wanted(wanted.sends, wanted.until, True)
        elif word.lower() == "until":
            wanted = Wanted(wanted.sends, a_day(end_of, next(rest, ""), zone), wanted.single)
        else:
            raise Answer(f"I do not understand {quoted(word)} there. Write “{usage}”, the date as 2026-12-24.")
    return wanted
