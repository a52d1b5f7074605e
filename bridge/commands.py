"""What people can type to the bot, as a table: in its direct chat the words alone, in a chat with `!` before them.

A word that changes a chat does what the same person could do in a client; the rules are those of the policy either way.
The bot answers in the direct chat.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from bridge.direct import Direct
from bridge.homeserver import Refused
from bridge.observe import Observer
from bridge.perform import ARCHIVED, FLAGGED, Performer
from bridge.policy_file import PolicySource
from bridge.store import Store, StoredEvent
from policy.decide import decide
from policy.decision import Decision, Objection
from policy.mistake import nearest
from policy.model import Membership, Moment, Policy, UserId
from policy.naming import people_named, tokens
from policy.observation import Room, RoomName
from policy.question import BarClients, Chat, Leave, Remove, Rename, Search
from policy.reach import see, status
from policy.rooms import chat_in_room, shown_badge, shown_name, stands_for, stood_for
from policy.template import room_name
from policy.words import command_word

LATEST = 3600.0
"""Seconds after which a command is not carried out any more."""

FORGOTTEN = 86_400.0
"""Seconds after which it is not answered either."""

LONGEST_LIST = 200
"""Lines in one answer; a longer list is cut with a sentence that says so."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One command: who wrote what, where."""

    event: StoredEvent
    user: UserId
    memberships: tuple[Membership, ...]
    """The active ones."""
    policy: Policy
    now: Moment
    rest: str
    """What stands behind the word."""
    room: Room | None
    """The chat it was written in; none in the direct chat."""

    @property
    def is_staff(self) -> bool:
        return any(member.role == "staff" for member in self.memberships)

    @property
    def is_admin(self) -> bool:
        return any(member.admin for member in self.memberships)

    @property
    def reply_to(self) -> str | None:
        """The event this is a reply to."""
        relation = self.event.content.get("m.relates_to")
        answered = relation.get("m.in_reply_to") if isinstance(relation, dict) else None
        event = answered.get("event_id") if isinstance(answered, dict) else None
        return event if isinstance(event, str) else None


class Answer(Exception):
    """What the bot says instead of doing it."""


class Declined(Answer):
    """The policy refuses it."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.text)
        self.decision = decision


@dataclass(frozen=True, slots=True)
class Word:
    """One word people can type."""

    usage: str
    does: str
    run: Callable[[Commands, Asked], Awaitable[str]]
    in_chat: bool = False
    """It is about the chat it is written in."""
    staff: bool = False
    admins: bool = False

    denied: Objection | None = None
    """What those are told for whom it is not; without it the policy is asked."""

    def known_to(self, asked: Asked) -> bool:
        """Is it a word of whoever asks? Others do not find it in `help`."""
        return (asked.is_staff or not self.staff) and (asked.is_admin or not self.admins)

    def objection_to(self, asked: Asked) -> Objection | None:
        """Why it is not for whoever asks, where that needs no look at the policy."""
        if self.known_to(asked):
            return None
        name = self.usage.partition(" ")[0]
        for_admins = f"“{name}” is for administrators of your organisation. “help” shows what you can write."
        return self.denied or (Objection("ROLE-1", for_admins) if self.admins else None)


class Commands:
    """Reads commands and answers them."""

    def __init__(
        self,
        *,
        source: PolicySource,
        store: Store,
        observer: Observer,
        performer: Performer,
        direct: Direct,
        message_link: str,
        more: Mapping[str, Word] = MappingProxyType({}),
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._source = source
        self._observer = observer
        self._performer = performer
        self._direct = direct
        self._store = store
        self._message_link = message_link
        self._words = {**WORDS, **more}
        self._clock = clock

    async def handle(self, event: StoredEvent) -> None:
        """Answer the event if it is a command."""
        said = self._said(event)
        if said is None:
            return
        word, rest, room = said
        policy, now = self._source.policy, self._clock()
        memberships = policy.accounts.get(event.sender, ())
        active = tuple(member for member in memberships if status(member, now) == "active")
        if not active:
            await self._explain_inaction(event, memberships, now)
            return
        age = now - event.origin_server_ts / 1000
        if age > LATEST:
            await self._explain_lateness(event, word, age)
            return
        asked = Asked(event, event.sender, active, policy, now, rest, room)
        await self._reply(event, await self._answer(word, asked))

    async def _reply(self, event: StoredEvent, text: str) -> None:
        """In the direct chat it was written in, else in the first one."""
        await self._direct.tell(event.sender, text, about=event.event_id, room=self._direct_room(event))

    def _direct_room(self, event: StoredEvent) -> RoomName | None:
        room = self._observer.room(event.room_id)
        return room.id if room is not None and room.direct == event.sender else None

    async def _explain_lateness(self, event: StoredEvent, word: str, age: float) -> None:
        """What was written while the bridge was away may be wanted no more; old history is not answered at all."""
        if age < FORGOTTEN:
            await self._reply(event, f"I was away when you wrote “{word}”. Write it again if you still want it.")

    async def _explain_inaction(self, event: StoredEvent, memberships: Sequence[Membership], now: Moment) -> None:
        """Somebody suspended learns why nothing happens; whoever is in no organisation is not answered."""
        for member in memberships[:1]:
            decision = decide(self._source.policy, Search(member.id, "me"), now)
            await self._write_down(event, str(event.content.get("body"))[:500], decision)
            await self._reply(event, decision.text)

    def _said(self, event: StoredEvent) -> tuple[str, str, Room | None] | None:
        """The word, the rest, and the chat it is about."""
        body, room = event.content.get("body"), self._observer.room(event.room_id)
        is_text = event.type == "m.room.message" and event.content.get("msgtype") == "m.text"
        if not is_text or room is None or not isinstance(body, str) or event.sender == self._observer.bot:
            return None
        text = _without_quote(body).strip()
        if "m.new_content" in event.content or not text:
            return None
        if room.direct == event.sender:
            word, _, rest = text.removeprefix("!").partition(" ")
            return word.lower(), rest.strip(), None
        known = command_word(text) if room.chat else None
        return (known, text.partition(" ")[2].strip(), room) if known is not None else None

    async def _answer(self, name: str, asked: Asked) -> str:
        word = self._words.get(name)
        if word is None:
            return self._unknown(name, asked)
        try:
            if objection := word.objection_to(asked):
                raise Declined(Decision(False, (objection,)))
            if word.in_chat and asked.room is None:
                return f"Write “!{word.usage}” in the chat it is about."
            return await word.run(self, asked)
        except Declined as declined:
            await self._write_down(asked.event, f"{name} {asked.rest}".strip(), declined.decision)
            return str(declined)
        except Answer as answer:
            return str(answer)
        except Refused as refusal:
            return str(refusal)

    def _unknown(self, name: str, asked: Asked) -> str:
        meant = nearest(name, [known for known, word in self._words.items() if word.known_to(asked)])
        near = f" — did you mean “{meant}”?" if meant else "."
        return f"I do not know “{name[:40]}”{near} Write “help” to see what I know."

    async def _write_down(self, event: StoredEvent, command: str, decision: Decision) -> None:
        """What the bridge refused itself; what the homeserver refused is noted there."""
        details = {
            "command": command,
            "because": list(decision.rules),
            "text": decision.text,
            "event": event.event_id,
            "room": event.room_id,
        }
        await self._store.audit(event.sender, "refused", details, time=self._clock())

    async def help(self, asked: Asked) -> str:
        about = asked.rest.removeprefix("!").partition(" ")[0].lower()
        words = {name: word for name, word in self._words.items() if word.known_to(asked)}
        if about and about not in words:
            return self._unknown(about, asked)
        shown = [words[about]] if about else words.values()
        lines = [f"{'!' if word.in_chat else ''}{word.usage}: {word.does}" for word in shown]
        return "Words with “!” are written in the chat they are about, the others here.\n" + "\n".join(lines)

    async def contacts(self, asked: Asked) -> str:
        wanted = asked.rest.casefold()
        lists = [
            "\n".join([f"{organisation.name}:", *_contacts(asked, member)])
            for member in asked.memberships
            if (organisation := asked.policy.organisations[member.organisation])
            and wanted in ("", organisation.identifier.casefold(), organisation.name.casefold())
        ]
        names = ", ".join(asked.policy.organisations[member.organisation].name for member in asked.memberships)
        return "\n\n".join(lists) or f"You are in no organisation called “{asked.rest}”; you are in {names}."

    async def find(self, asked: Asked) -> str:
        decisions = [decide(asked.policy, Search(member.id, asked.rest), asked.now) for member in asked.memberships]
        if not any(decision.allowed for decision in decisions):
            raise Declined(decisions[0])
        found = {one.person: one for decision in decisions for one in decision.people or ()}
        if not found:
            return decisions[0].text
        return "\n".join(
            f"{one.badge} {one.name}, {one.organisation} ({_matrix(asked.policy, one.person)})"
            + ("" if one.available else ", Unavailable")
            for one in found.values()
        )

    async def new(self, asked: Asked) -> str:
        title, *words = tokens(asked.rest) or [""]
        users = self._named(asked, words)
        if not await self._made_before(asked, title, users):
            await self._performer.create_chat(asked.user, title, users)
        begin = "It begins with your first message." if users else "Invite somebody and write the first message."
        return f"The chat “{room_name(title)}” is ready for you. {begin}"

    async def _made_before(self, asked: Asked, title: str, users: tuple[UserId, ...]) -> bool:
        """After a crash in between the same command comes again, and the chat it made is there already."""
        for room in self._observer.rooms.values():
            same = room.creator == asked.user and room.name == room_name(title)
            if same and room.draft and set(room.held) == set(users):
                made = await self._store.state(room.id, "m.room.create")
                if made is not None and made.arrival > asked.event.arrival:
                    return True
        return False

    async def add(self, asked: Asked) -> str:
        room = _chat(asked)
        users = self._named(asked, tokens(asked.rest))
        if not users:
            raise Answer("Write whom to add: “!add PERSON”.")
        return "\n".join([await self._added(asked, room, user) for user in users])

    async def _added(self, asked: Asked, room: Room, user: UserId) -> str:
        try:
            await self._performer.invite(room.id, user, inviter=asked.user)
        except Refused as refusal:
            return str(refusal)
        member = stands_for(asked.policy, room.home, user, asked.now)
        return f"{shown_name(asked.policy, member, room.home) if member else user} was added to “{room.name}”."

    async def remove(self, asked: Asked) -> str:
        room, chat = _chat(asked), self._as_chat(asked)
        if not asked.rest:
            raise Answer("Write whom to remove: “!remove PERSON”.")
        target = self._present(asked, room, asked.rest)
        whom = stood_for(asked.policy, room.home, target, asked.now)
        who = _membership(asked, room)
        if whom is None:
            raise Answer(f"{asked.rest} is not in this chat.")
        _require(decide(asked.policy, Remove(who.id, whom.id, chat), asked.now))
        reason = f"Removed by {shown_name(asked.policy, who, room.home)}."
        await self._performer.kick(room.id, target, reason)
        return f"{shown_name(asked.policy, whom, room.home)} was removed from “{room.name}”."

    def _present(self, asked: Asked, room: Room, text: str) -> UserId:
        """Whom a name means among those in the chat: everybody in it sees everybody."""
        people = {user: room.members[user].name for user in room.inside(self._observer.bot)}
        wanted = " ".join(tokens(text)).casefold()
        for user, name in people.items():
            member = stood_for(asked.policy, room.home, user, asked.now)
            known = {user, name, *((member.id, member.name, member.identifier) if member else ())}
            if wanted in {word.casefold() for word in known}:
                return user
        raise Answer(f"“{text}” is not in this chat. In it are: {', '.join(people.values())}.")

    async def leave(self, asked: Asked) -> str:
        room = _chat(asked)
        _require(decide(asked.policy, Leave(_membership(asked, room).id, self._as_chat(asked)), asked.now))
        await self._performer.leave(room.id, asked.user)
        return f"You have left “{room.name}”."

    async def rename(self, asked: Asked) -> str:
        room = _chat(asked)
        _require(decide(asked.policy, Rename(_membership(asked, room).id, self._as_chat(asked)), asked.now))
        if not asked.rest:
            raise Answer("Write what to call it: “!rename TITLE”.")
        title = room_name(asked.rest.strip('"“” '))
        await self._performer.set_state(room.id, "m.room.name", {"name": title}, user=asked.user)
        return f"The chat is called “{title}” now."

    async def staff_only(self, asked: Asked) -> str:
        room = _chat(asked)
        _require(decide(asked.policy, BarClients(_membership(asked, room).id, self._as_chat(asked)), asked.now))
        await self._performer.set_state(room.id, "org.qwil.chat", {**room.chat, "staff_only": True})
        return f"“{room.name}” is for staff only now: clients cannot be added to it."

    async def discard(self, asked: Asked) -> str:
        room = _chat(asked)
        if not room.draft or room.creator != asked.user:
            raise Answer("Only a chat that has not begun can be discarded, by its creator. To go, write “!leave”.")
        await self._performer.leave(room.id, asked.user, forget=True)
        await self._performer.leave(room.id, self._observer.bot)
        return f"The draft “{room.name}” was discarded; nobody saw it."

    async def archive(self, asked: Asked) -> str:
        await self._performer.tag(_chat(asked).id, asked.user, ARCHIVED, on=True)
        return f"“{_chat(asked).name}” is in your archive (low priority) until somebody writes in it."

    async def unarchive(self, asked: Asked) -> str:
        await self._performer.tag(_chat(asked).id, asked.user, ARCHIVED, on=False)
        return f"“{_chat(asked).name}” is back in your list."

    async def flag(self, asked: Asked) -> str:
        await self._performer.tag(_chat(asked).id, asked.user, FLAGGED, on=True)
        return f"“{_chat(asked).name}” is flagged for you (a favourite in your client)."

    async def unflag(self, asked: Asked) -> str:
        await self._performer.tag(_chat(asked).id, asked.user, FLAGGED, on=False)
        return f"“{_chat(asked).name}” is not flagged any more."

    async def link(self, asked: Asked) -> str:
        if asked.reply_to is None:
            raise Answer("Write “!link” as a reply to the message you want a link to.")
        room, server = _chat(asked).id, self._observer.server
        link = self._message_link.format(
            room=quote(room, safe="!:"), event=quote(asked.reply_to, safe="$"), server=server
        )
        return f"{link}\nIt opens the message for those who are in the chat, and for nobody else."

    def _named(self, asked: Asked, words: list[str]) -> tuple[UserId, ...]:
        named = people_named(asked.policy, asked.memberships, words, asked.now)
        if named.mistakes:
            raise Answer("\n".join(named.mistakes))
        return named.users

    def _as_chat(self, asked: Asked) -> Chat:
        room = _chat(asked)
        present = (*room.inside(self._observer.bot), *(room.held if room.draft else ()))
        chat = chat_in_room(asked.policy, room.chat, present, room.former(), asked.now, creator=room.creator)
        if chat is None:
            raise Answer("The organisation of this chat is in the policy no more; nobody can act in it.")
        return chat


def _chat(asked: Asked) -> Room:
    assert asked.room is not None  # noqa: S101 - the table says in_chat
    return asked.room


def _membership(asked: Asked, room: Room) -> Membership:
    """What the asker stands for in this chat."""
    member = stood_for(asked.policy, room.home, asked.user, asked.now)
    if member is None:
        raise Answer("You are in no organisation that takes part in this chat.")
    return member


def _require(decision: Decision) -> None:
    if not decision.allowed:
        raise Declined(decision)


def _contacts(asked: Asked, viewer: Membership) -> Iterator[str]:
    """Everybody on the contact list of one membership, by name."""
    policy, now = asked.policy, asked.now
    seen = [
        member
        for member in policy.people.values()
        if member.organisation == viewer.organisation and see(policy, viewer, member, now)
    ]
    for member in sorted(seen, key=lambda one: one.name.casefold())[:LONGEST_LIST]:
        unavailable = "" if status(member, now) == "active" else ", Unavailable"
        title = f", {member.job_title}" if member.job_title else ""
        badge = shown_badge(member, viewer.organisation)
        yield f"{badge} {member.name}{title} ({member.matrix or member.id}){unavailable}"
    if len(seen) > LONGEST_LIST:
        yield f"… and {len(seen) - LONGEST_LIST} more: search for a name in your client."
    if not seen:
        yield "nobody yet"


def _matrix(policy: Policy, person: Any) -> str:
    member = policy.people[person]
    return member.matrix or member.id


def _without_quote(body: str) -> str:
    """A reply's own words: older clients put the quoted message before them, line by line with `> `."""
    lines = body.split("\n")
    if not lines[0].startswith("> "):
        return body
    own = [index for index, line in enumerate(lines) if not line.startswith("> ")]
    return "\n".join(lines[own[0] :]) if own else ""


WORDS: dict[str, Word] = {
    "help": Word("help", "what I know", Commands.help),
    "contacts": Word("contacts [ORGANISATION]", "who is on your contact list", Commands.contacts),
    "find": Word("find TEXT", "people by name or organisation", Commands.find, staff=True),
    "new": Word('new "TITLE" PERSON…', "a new chat; it begins with your first message", Commands.new),
    "add": Word("add PERSON…", "bring people into this chat", Commands.add, in_chat=True),
    "remove": Word(
        "remove PERSON", "take somebody out of this chat", Commands.remove, in_chat=True, staff=True,
        denied=Objection("PART-7", "Only staff can remove people; you can leave with “!leave”."),
    ),
    "leave": Word("leave", "leave this chat", Commands.leave, in_chat=True),
    "rename": Word("rename TITLE", "give this chat another name", Commands.rename, in_chat=True),
    "staff-only": Word(
        "staff-only", "bar clients from this chat", Commands.staff_only, in_chat=True, staff=True,
        denied=Objection("CHAT-10", "Only staff can make a chat staff-only."),
    ),
    "discard": Word("discard", "throw away a chat that has not begun", Commands.discard, in_chat=True),
    "archive": Word("archive", "put this chat into your archive", Commands.archive, in_chat=True),
    "unarchive": Word("unarchive", "take it out again", Commands.unarchive, in_chat=True),
    "flag": Word("flag", "mark this chat for yourself", Commands.flag, in_chat=True),
    "unflag": Word("unflag", "take the mark off", Commands.unflag, in_chat=True),
    "link": Word("link", "as a reply: a link to that message", Commands.link, in_chat=True),
}  # fmt: skip
