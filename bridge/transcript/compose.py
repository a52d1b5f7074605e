"""Events of one room, in their order, become the entries of its record.

One pass, in memory that grows by a few words an event: every event that says something gets the next number, is
named as people were named then, and points back to what it answers, edits, deletes or votes on. An edit or a deletion
is an entry of its own and changes no earlier one. An event that cannot be read costs one sentence among the problems
and never the export. Numbers count the whole chat, whatever part of it is wanted, so that two exports of one chat
call the same message by the same number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from bridge.transcript import words
from bridge.transcript.events import NOTHING, Event, Unreadable, mapping, read, text
from bridge.transcript.legible import harmless
from bridge.transcript.message import (
    html_of,
    kept_beside,
    kept_beside_edit,
    replaced,
    thread_and_answered,
    without_original,
)
from bridge.transcript.model import (
    Account,
    Entry,
    File,
    Kind,
    Milliseconds,
    Person,
    Range,
    Reference,
    Remark,
    Transcript,
)
from bridge.transcript.offers import SHARED, Offer, beside_edit, carries, is_file, offered, pictured
from bridge.transcript.presence import Presence

DEFAULT_TITLE = "New chat"
"""CHAT-6: the title of a chat that was given none."""

ODD = (TypeError, ValueError, LookupError, AttributeError, RecursionError)
"""What an event of no sensible shape may lead to."""

Keep = Callable[[int, Person, Milliseconds | None, Offer], File]
"""Fetches a file for the entry of that number, sender and time, or says why it is missing."""


class Composer:
    """Composes one chat: run through `entries` once, then ask for the `transcript`."""

    def __init__(self, people: Mapping[str, Person], account: Account, keep: Keep) -> None:
        self._people = people
        self._account = account
        self._range: Range = account.range
        self._ends_with = frozenset({account.range.last_event, account.range.only_event} - {None})
        self._keep = keep
        self._title = DEFAULT_TITLE
        self._chat: Mapping[str, Any] = NOTHING
        self._numbers: dict[str, int] = {}
        self._senders: list[str] = []
        """Of all entries, in order: dictionaries and lists of plain values cost the garbage collector nothing."""
        self._edits: set[str] = set()
        self._present: dict[str, Presence] = {}
        self._polls: dict[str, dict[str, str]] = {}
        self._problems: list[str] = list(account.notes)
        self._left_out: Counter[str] = Counter()
        self._by_kind: Counter[str] = Counter()
        self._remarks: dict[int, list[Remark]] = {}
        self._quoted: set[int] = set()
        self._first: Entry | None = None
        self._last: Entry | None = None
        self._count = 0
        self._found_end = False

    def entries(self, events: Iterable[Mapping[str, Any] | str]) -> Iterator[Entry]:
        """The wanted entries in order; everything that goes wrong is a sentence in `transcript().problems`."""
        for place, raw in enumerate(events, 1):
            entry = self._attempt(place, raw)
            if entry is not None:
                self._note(entry)
                yield entry
            if self._found_end and self._range.only_event is None:
                break
        self._report_missing_end()

    def _attempt(self, place: int, raw: Mapping[str, Any] | str) -> Entry | None:
        try:
            event = read(raw)
        except Unreadable as wrong:
            self._problems.append(f"Event {place} of the history could not be read: {wrong}.")
            return None
        if event.event_id in self._numbers:
            return None
        return self._compose(event)

    def _compose(self, event: Event) -> Entry | None:
        # Also where it is younger than what is wanted: what comes behind it may bear an earlier time.
        self._found_end |= event.event_id in self._ends_with
        if self._range.until is not None and (event.time or 0) >= self._range.until:
            return None  # nor does it change the title or who takes part
        draft = self._drafted(event)
        if draft is None:
            return None
        self._count += 1
        self._numbers[event.event_id] = self._count
        self._senders.append(event.sender)
        return self._whole(event, draft) if self._wanted(event, draft) else None

    def _drafted(self, event: Event) -> Entry | None:
        """The entry with everything but its files; none if the event has nothing to say."""
        try:
            return self._composed(event)
        except ODD as wrong:
            self._report(event, wrong)
            said = f"sent an event of the type “{event.type}” that cannot be read; the record holds its content."
            return self._told(event, said, content=event.content)

    def _whole(self, event: Event, draft: Entry) -> Entry:
        try:
            return self._finished(event, draft)
        except ODD as wrong:
            self._report(event, wrong)
            return draft._replace(content=event.content)

    def _report(self, event: Event, wrong: Exception) -> None:
        why = f"{type(wrong).__name__}: {wrong}"
        self._problems.append(
            f"Event {event.event_id} cannot be read as what it is ({why}); the record holds its content."
        )

    def _composed(self, event: Event) -> Entry | None:
        compose = COMPOSERS.get(event.type)
        if compose is not None:
            return compose(self, event)
        if event.type in words.SAYS_NOTHING:
            self._left_out[event.type] += 1
            return None
        return self._other(event)

    def _finished(self, event: Event, draft: Entry) -> Entry:
        if draft.text is None and (missing := self._missing_from(event, draft)):
            self._problems.append(f"Message {draft.number}: {missing}")
        return self._with_files(event, draft) if event.type in SHARED and carries(event.content) else draft

    def _missing_from(self, event: Event, draft: Entry) -> str | None:
        """Why an entry has no text, if it should have one."""
        if event.type == "m.room.encrypted":
            return "it is encrypted and cannot be read."
        if draft.kind in ("message", "edit", "notice", "reaction") and not event.content:
            by = f" by {self.person(deleter).name}" if (deleter := text(event.redacted or NOTHING, "sender")) else ""
            return f"its content was deleted{by} before it came on record."
        return "it has no text; the record holds what it has." if draft.content is event.content else None

    def _with_files(self, event: Event, draft: Entry) -> Entry:
        offer, (shown, more) = offered(event, edits=draft.kind == "edit"), pictured(event, draft.html)
        if draft.kind == "edit":
            shown += beside_edit(event)
        if more:
            self._problems.append(f"Message {draft.number}: {more} more pictures in its text are not in this export.")
        return draft._replace(
            file=self._kept(draft, offer) if offer else None,
            pictures=tuple(self._kept(draft, picture) for picture in shown) or None,
        )

    def _kept(self, draft: Entry, offer: Offer) -> File:
        file = self._keep(draft.number, draft.sender, draft.time, offer)
        if file.missing:
            self._problems.append(f"Message {draft.number}: the file “{file.name}” is missing: {file.missing}")
        elif offer.encrypted:
            self._problems.append(
                f"Message {draft.number}: the file “{file.name}” is encrypted, and here as it was sent."
            )
        if file.changed:
            self._problems.append(f"Message {draft.number}: the file “{file.name}”: {file.changed}")
        return file

    def _wanted(self, event: Event, draft: Entry) -> bool:
        wanted = self._range
        if wanted.only_event is not None:
            return wanted.only_event in (event.event_id, draft.target.event_id if draft.target else None)
        return wanted.since is None or (draft.time or 0) >= wanted.since

    def _entry(self, event: Event, kind: Kind, said: str | None, **more: Any) -> Entry:
        return Entry(self._count + 1, event.event_id, kind, event.time, self.person(event.sender), said, **more)

    def person(self, user: str) -> Person:
        """Somebody as they are named in the chat at this point."""
        presence = self._present.get(user) or self._presence(user)
        return presence.person

    def _presence(self, user: str) -> Presence:
        presence = self._present.get(user)
        if presence is None:
            presence = self._present[user] = Presence(self._people.get(user) or Person(user, user))
        return presence

    # What was written

    def _message(self, event: Event) -> Entry:
        content = event.content
        relation = mapping(content, "m.relates_to") if "m.relates_to" in content else NOTHING
        if (original := replaced(relation)) is not None:
            new = mapping(content, "m.new_content")
            said, html = self._said(event, new or content, is_reply=False), html_of(new or content)
            return self._edit(event, original, said, html=html, content=kept_beside_edit(content, new))
        thread, answered = thread_and_answered(relation) if relation else (None, None)
        said = self._said(event, content, is_reply=answered is not None)
        # Also an m.notice: anybody can send one, and a page tells our own notices without a sender.
        return self._entry(
            event,
            "message",
            said,
            html=html_of(content),
            reply_to=self._quote(answered) if answered else None,
            thread=self._refer(thread) if thread else None,
            content=kept_beside(content, said if answered else None),
        )

    def _edit(self, event: Event, original: str, said: str | None, **more: Any) -> Entry:
        self._edits.add(event.event_id)
        reason = self._not_shown(event, original)
        return self._entry(event, "edit", said, target=self._quote(original), reason=reason, **more)

    def _not_shown(self, event: Event, original: str) -> str | None:
        """Why clients do not show an edit, if they do not (Client-Server API, validity of replacement events)."""
        number = self._numbers.get(original)
        if number is not None and self._senders[number - 1] != event.sender:
            return "not by the author of the message; clients do not show it"
        return "of what is an edit itself; clients do not show it" if original in self._edits else None

    def _said(self, event: Event, content: Mapping[str, Any], *, is_reply: bool) -> str | None:
        kind, body = content.get("msgtype"), text(content, "body")
        if kind == "m.location":
            return words.location(content)
        if kind == "m.emote":
            return f"* {self.person(event.sender).name} {body or ''}"
        if event.type == "m.sticker":
            return f"Sticker: {body or 'without a name'}"
        if body is not None and is_file(content):
            return "" if text(content, "filename") in (None, body) else body
        if body is not None and is_reply and body.startswith("> "):
            return without_original(body)
        return body

    def _encrypted(self, event: Event) -> Entry:
        return self._entry(event, "message", None, content={"type": event.type})

    def _reaction(self, event: Event) -> Entry:
        relation = mapping(event.content, "m.relates_to")
        return self._entry(
            event, "reaction", None, reaction=text(relation, "key"), target=self._refer(text(relation, "event_id"))
        )

    def _deletion(self, event: Event) -> Entry:
        return self._entry(
            event, "deletion", None, target=self._refer(event.redacts), reason=text(event.content, "reason")
        )

    # Polls

    def _poll(self, event: Event) -> Entry:
        original = replaced(mapping(event.content, "m.relates_to"))
        if original is None:
            said, self._polls[event.event_id] = words.poll(event.content)
            return self._entry(event, "message", said, content=event.content)
        said, answers = words.poll(mapping(event.content, "m.new_content") or event.content)
        if self._not_shown(event, original) is None:
            self._polls[original] = answers
        return self._edit(event, original, said, content=event.content)

    def _vote(self, event: Event) -> Entry:
        asked = text(mapping(event.content, "m.relates_to"), "event_id")
        said = words.vote(event.content, self._polls.get(asked or "", {}))
        return self._told(event, said, target=self._refer(asked), content=event.content)

    def _poll_end(self, event: Event) -> Entry:
        asked = text(mapping(event.content, "m.relates_to"), "event_id")
        return self._told(event, words.poll_end(event.content), target=self._refer(asked))

    def _beacon(self, event: Event) -> Entry:
        shared = text(mapping(event.content, "m.relates_to"), "event_id")
        return self._told(event, words.seen_at(event.content), target=self._refer(shared), content=event.content)

    # What became of the chat

    def _told(self, event: Event, predicate: str, **more: Any) -> Entry:
        return self._entry(event, "notice", f"{self.person(event.sender).name} {predicate}", **more)

    def _other(self, event: Event) -> Entry:
        predicate = words.predicate(event.type, event.content)
        if predicate is not None:
            return self._told(event, predicate)
        return self._told(
            event,
            f"sent an event of the type “{event.type}”, which has no words; the record holds its content.",
            content=event.content,
        )

    def _rename(self, event: Event) -> Entry:
        self._title = text(event.content, "name") or DEFAULT_TITLE
        return self._entry(event, "rename", f"{self.person(event.sender).name} named the chat “{self._title}”.")

    def _chat_settled(self, event: Event) -> Entry | None:
        before, self._chat = self._chat, event.content
        changed = words.chat_changed(before, event.content)
        if changed is None:
            self._left_out[event.type] += 1
            return None
        return self._entry(event, "notice", changed)

    # Who came and went

    def _member(self, event: Event) -> Entry | None:
        user, membership = event.state_key, text(event.content, "membership")
        if not user or membership is None or membership not in words.MEMBERSHIPS:
            raise ValueError(f"a member event for “{user}” with the membership “{membership}”")
        presence = self._presence(user)
        before, called = presence.membership, presence.person.name
        if membership in ("join", "invite"):
            presence.bears(text(event.content, "displayname"))
        if membership == "join":
            presence.joins(event.time)
        else:
            presence.goes(event.time)
        presence.membership = membership
        return self._came_or_went(event, presence, before, called)

    def _came_or_went(self, event: Event, presence: Presence, before: str, called: str) -> Entry | None:
        person, reason = presence.person, text(event.content, "reason")
        own = event.sender == person.matrix
        if before == presence.membership:
            if before != "join" or called == person.name:
                self._left_out["m.room.member, nothing new in it"] += 1
                return None
            return self._entry(event, "notice", f"{called} is called {person.name} from here on.", member=person)
        kind, sentence = words.MEMBERSHIPS[presence.membership](before, own)
        said = sentence.format(who=person.name, by=self.person(event.sender).name)
        return self._entry(event, kind, f"{said} ({reason})" if reason else said, member=person, reason=reason)

    # What one entry has to do with another

    def _refer(self, event_id: str | None) -> Reference | None:
        return Reference(self._numbers.get(event_id), event_id) if event_id is not None else None

    def _quote(self, event_id: str | None) -> Reference | None:
        reference = self._refer(event_id)
        if reference and reference.number:
            self._quoted.add(reference.number)
        return reference

    def _note(self, entry: Entry) -> None:
        """Keep what the cover and earlier entries have to say about this one."""
        self._by_kind[entry.kind] += 1
        self._first, self._last = self._first or entry, entry
        if entry.kind not in REMARKABLE or (entry.kind == "edit" and entry.reason):
            return
        if entry.target and entry.target.number:
            remark = Remark(entry.number, entry.kind, entry.sender.name, entry.reaction)
            self._remarks.setdefault(entry.target.number, []).append(remark)

    def _report_missing_end(self) -> None:
        end = self._range.only_event or self._range.last_event
        if end is not None and not self._found_end:
            self._problems.append(f"The event {end}, which was to be the end, is not in the history of this chat.")

    def transcript(self) -> Transcript:
        """Everything about the chat but its entries; whole once `entries` has come to its end."""
        first, last = self._first, self._last
        return Transcript(
            account=replace(self._account, kind=self._kind(), organisations=self._organisations()),
            title=harmless(self._title),
            participants=tuple(presence.participant() for presence in self._present.values() if presence.took_part),
            entries=self._by_kind.total(),
            first=first.number if first else None,
            last=last.number if last else None,
            begins=first.time if first else None,
            ends=last.time if last else None,
            by_kind=dict(sorted(self._by_kind.items())),
            left_out=dict(sorted(self._left_out.items())),
            problems=tuple(map(harmless, self._problems)),
            remarks={number: tuple(remarks) for number, remarks in self._remarks.items()},
            quoted=frozenset(self._quoted),
        )

    def _kind(self) -> str:
        """Of the chat as it was at the end of the range."""
        return text(self._chat, "kind") or self._account.kind

    def _organisations(self) -> tuple[str, ...]:
        """Those that had taken part by the end of the range; nobody learns from an earlier part who came later."""
        home, *others = self._account.organisations
        known = self._account.took_part
        return (home, *(name for name in others if name not in known or not known[name].isdisjoint(self._present)))


REMARKABLE: frozenset[Kind] = frozenset({"edit", "deletion", "reaction"})

COMPOSERS: Mapping[str, Callable[[Composer, Event], Entry | None]] = {
    "m.room.message": Composer._message,
    "m.sticker": Composer._message,
    "m.room.encrypted": Composer._encrypted,
    "m.reaction": Composer._reaction,
    "m.room.redaction": Composer._deletion,
    "m.room.member": Composer._member,
    "m.room.name": Composer._rename,
    "org.qwil.chat": Composer._chat_settled,
    **dict.fromkeys(words.POLL_STARTS, Composer._poll),
    **dict.fromkeys(words.POLL_VOTES, Composer._vote),
    **dict.fromkeys(words.POLL_ENDS, Composer._poll_end),
    **dict.fromkeys(words.BEACONS, Composer._beacon),
}
