"""The word `broadcast` of system administrators (BUT-3): to whom, what to say, and with which file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from bridge import spreadsheet
from bridge.arrival.broadcast import Broadcasts
from bridge.arrival.recipients import LIST, Recipients, listed, named, split
from bridge.arrival.welcome import PLACEHOLDERS, unknown_placeholders
from bridge.attachments import NoFile
from bridge.commands import Answer, Asked, Commands, Declined, Word
from bridge.office import Desk, Office
from bridge.store import Store, StoredEvent
from policy.decide import decide
from policy.decision import Decision, Objection
from policy.model import PersonId, UserId
from policy.question import Administer

USAGE = "broadcast staff|clients|everybody|BOOK|PERSON,… TEXT | broadcast list [TEXT]"
LONGEST = 10_000
"""Characters; an event of Matrix holds 64 KiB."""

LIST_LIFE = 86_400.0
"""Seconds for which a list that was sent counts: nobody means last month's."""

SHOWN = 50
"""Rows in one answer."""

_FILES = ("m.file", "m.image", "m.audio", "m.video")
_TEXTS = ("body", "filename", "url", "msgtype")
_FACTS = ("mimetype", "size", "w", "h", "duration")


class FileCarrier(Protocol):
    """Whoever brings the files of direct chats."""

    async def fetch(self, content: Mapping[str, Any], most: int) -> bytes: ...


class BroadcastWords:
    """Does what system administrators say about messages to many."""

    def __init__(
        self, *, store: Store, office: Office, carrier: FileCarrier, broadcasts: Broadcasts, wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._office = office
        self._carrier = carrier
        self._broadcasts = broadcasts
        self._wake = wake

    def words(self) -> dict[str, Word]:
        """The table of words, for `Commands`."""

        async def run(_commands: Commands, asked: Asked) -> str:
            return await self.answer(asked)

        does = "a message to each of them; as a reply to a file, with that file (system administrators)"
        return {"broadcast": Word(USAGE, does, run, admins=True)}

    async def answer(self, asked: Asked) -> str:
        """Begin a broadcast, or read the list of people for one."""
        whom, text = split(asked.rest)
        desk = await self._office.desk(asked, "people")
        organisation, words = self._organisation(desk, whom)
        if words == [LIST] and not text:
            return await self._read_list(desk, organisation)
        if len(text) > LONGEST:
            raise Answer(f"The text has {len(text):,} characters, {LONGEST:,} at most: make it shorter.")
        if unknown := unknown_placeholders(text):
            right = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise Answer(f"I have nothing to put in for {', '.join(unknown)}: there are {right}. Nothing was sent.")
        file = await self._file(asked)
        if not text and file is None:
            raise Answer(f"Write what to say behind it, or send it as a reply to a file: “{USAGE}”.")
        people = await self._kept(desk, organisation) if words == [LIST] else _people(desk, organisation, words)
        if not people:
            raise Answer("Nobody active is among them.")
        # On record before it begins; what comes again after a crash stands there twice and is sent once.
        to = ", ".join(words)
        details = {"people": len(people), "text": text, "file": (file or {}).get("url", "")}
        await self._audit(desk, f"broadcast to {organisation}: {to}"[:500], details)
        name = str(asked.event.event_id)
        await self._broadcasts.begin(
            name, by=asked.user, organisation=organisation, people=people, text=text, file=file
        )
        self._wake()
        number = "one person" if len(people) == 1 else f"{len(people)} people"
        with_file = f", with the file {file.get('filename') or file.get('body')}" if file else ""
        return f"It goes to {number}{with_file}. I tell you here how far it is."

    def _organisation(self, desk: Desk, whom: Sequence[str]) -> tuple[str, list[str]]:
        """For which organisation it is, and the words without its name."""
        admins = [
            member.organisation
            for member in desk.admins
            if decide(desk.policy, Administer(member.id, member.organisation, "settings"), desk.asked.now).allowed
        ]
        if not admins:
            raise Declined(Decision(False, (Objection("BUT-3", "Only system administrators send messages to many."),)))
        if not whom:
            raise Answer(f"Write to whom, and what: “{USAGE}”.")
        homes = {home for word in whom if (home := word.partition("/")[0]) in admins and "/" in word}
        if len(homes) > 1 or (not homes and len(admins) > 1):
            raise Answer(f"Write for which one organisation: {' or '.join(f'{home}/{whom[0]}' for home in admins)}.")
        home = next(iter(homes), admins[0])
        return home, [word.removeprefix(f"{home}/") for word in whom]

    # Lists

    async def _read_list(self, desk: Desk, organisation: str) -> str:
        """A spreadsheet of people, kept for the message that follows: who is on it is shown before anything is sent."""
        event = await self._answered(desk.asked)
        if event is None:
            raise Answer(
                "Send me a spreadsheet with a column identifier, email or matrix, and write “broadcast list” as a "
                "reply to it; then “broadcast list TEXT”."
            )
        try:
            data = await self._carrier.fetch(event.content, spreadsheet.LARGEST)
            table = await asyncio.to_thread(spreadsheet.read, data)
        except (NoFile, spreadsheet.Unreadable) as error:
            raise Answer(str(error)) from error
        found = await asyncio.to_thread(listed, desk.policy, organisation, table)
        if not found.people:
            raise Answer("\n".join(["The list names nobody:", *_shown(found.mistakes)]))
        kept = {"people": found.people, "time": desk.asked.now, "event": event.event_id}
        await self._store.remember(_key(desk.asked.user, organisation), kept)
        return "\n".join([*_summary(desk, found), "Nothing is sent yet: write “broadcast list TEXT” to send it."])

    async def _kept(self, desk: Desk, organisation: str) -> list[PersonId]:
        kept = await self._store.recall(_key(desk.asked.user, organisation))
        if kept is None or desk.asked.now - kept["time"] > LIST_LIFE:
            raise Answer("There is no list of today: write “broadcast list” as a reply to a spreadsheet first.")
        if kept["event"] == desk.asked.reply_to:
            raise Answer(
                "That file is the list itself, which nobody on it should get: write this without replying to it, or as "
                "a reply to the file to send along."
            )
        return [PersonId(person) for person in kept["people"]]

    # Files

    async def _file(self, asked: Asked) -> dict[str, Any] | None:
        """The file of the message that this is a reply to; none where it is no reply, or one to a text."""
        event = await self._answered(asked)
        if event is None or event.content.get("msgtype") not in _FILES:
            return None
        if event.sender != asked.user:
            raise Answer("Only a file that you sent me yourself can go along: send it here, and reply to that.")
        redactions = await self._store.events_of_type(event.room_id, "m.room.redaction")
        if any(one.redacts == event.event_id for one in redactions):
            raise Answer("That file has been deleted: send it again, and reply to that.")
        content = event.content
        if not isinstance(content.get("url"), str) or not content["url"].startswith("mxc://"):
            raise Answer("That file is encrypted, or is none: send it again without encryption (FIL-1).")
        info = content.get("info")
        facts = {name: info[name] for name in _FACTS if name in info} if isinstance(info, dict) else {}
        return {**{name: content[name] for name in _TEXTS if isinstance(content.get(name), str)}, "info": facts}

    async def _answered(self, asked: Asked) -> StoredEvent | None:
        """The message of the same chat that this is a reply to."""
        if asked.reply_to is None:
            return None
        event = await self._store.event(asked.reply_to)
        if event is None or event.room_id != asked.event.room_id:
            raise Answer("I do not have the message that you reply to: send the file again, and reply to that.")
        return event

    async def _audit(self, desk: Desk, what: str, details: Mapping[str, Any]) -> None:
        event = desk.asked.event
        where = {"event": event.event_id, "room": event.room_id}
        await self._store.audit(desk.asked.user, what, {**details, **where}, time=desk.asked.now)


def _people(desk: Desk, organisation: str, words: Sequence[str]) -> list[PersonId]:
    if LIST in words:
        raise Answer("A list goes alone: “broadcast list TEXT”.")
    found = named(desk.policy, organisation, words, desk.asked.now)
    if found.mistakes:
        raise Answer("\n".join(found.mistakes))
    return found.people


def _summary(desk: Desk, found: Recipients) -> list[str]:
    """What a list says, before anything is sent."""
    absent = [member for person in found.people if (member := desk.policy.people[person]).status != "active"]
    number = "one person" if len(found.people) == 1 else f"{len(found.people)} people"
    lines = [f"The list names {number}."]
    if absent:
        lines.append("These of them are not active and will not be reached:")
        lines += _shown([f"{member.name} ({member.identifier}) is {member.status}" for member in absent])
    if found.mistakes:
        lines += ["These rows name nobody, and nothing is sent for them:", *_shown(found.mistakes)]
    return lines


def _shown(lines: Sequence[str]) -> list[str]:
    more = [f"… and {len(lines) - SHOWN} more."] if len(lines) > SHOWN else []
    return [*(f"- {line}" for line in lines[:SHOWN]), *more]


def _key(user: UserId, organisation: str) -> str:
    return f"broadcast list {organisation} {user}"
