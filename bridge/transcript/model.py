"""The nouns of an export: who asked for what, what a chat holds, and what could not be had.

Everything here is frozen. A chat may be of any length, so that no noun holds its entries: they stream through
`compose` into the record, `messages.jsonl`, and everything else is made from that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal["message", "edit", "deletion", "reaction", "join", "leave", "invite", "rename", "notice"]

Milliseconds = int
"""Since the epoch, UTC: how Matrix writes time."""


class Person(NamedTuple):
    """Somebody in the chat, as the policy or the room names them."""

    matrix: str
    name: str
    role: str = ""
    """`staff`, `client` or `bot`; empty for an account that is in no organisation."""
    organisation: str = ""
    """The organisation's name, not its identifier."""
    badge: str = ""
    """S, C or E as seen from the chat's home organisation."""
    job_title: str = ""


class Reference(NamedTuple):
    """Another entry; `number` is none where the entry is not on record."""

    number: int | None
    event_id: str


class File(NamedTuple):
    """A shared file: where it lies in `media.zip`, or why it is not there."""

    name: str
    """As the sender called it; nothing is ever stored under this name."""
    mimetype: str
    path: str | None = None
    size: int | None = None
    sha256: str | None = None
    missing: str | None = None
    changed: str | None = None
    """Why it is not the file that was received, where that is known."""


class Received(NamedTuple):
    """What is known of a file from when it came."""

    sha256: str
    size: int


class Entry(NamedTuple):
    """One line of the record: what every line has, then what some have, in the order in which it is written."""

    number: int
    event_id: str
    kind: Kind
    time: Milliseconds | None
    """None where the event bore no time that a calendar knows."""
    sender: Person
    text: str | None
    """None where the content is not on record."""
    reply_to: Reference | None = None
    file: File | None = None
    html: str | None = None
    thread: Reference | None = None
    target: Reference | None = None
    """What an edit, a deletion, a reaction or a vote is about."""
    member: Person | None = None
    """Who was invited, came or went."""
    reason: str | None = None
    reaction: str | None = None
    content: Mapping[str, Any] | None = None
    """The event's own content, where words cannot say all of it."""
    pictures: tuple[File, ...] | None = None
    """Those that stand in the text itself."""


@dataclass(frozen=True, slots=True)
class Range:
    """Which part of a chat is wanted; everything by default. Numbers do not depend on it."""

    since: Milliseconds | None = None
    """Included."""
    until: Milliseconds | None = None
    """Not included."""
    last_event: str | None = None
    """Up to this event and with it (EXP-3)."""
    only_event: str | None = None
    """One single message (EXP-3), with what was changed about it."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account an export gives of itself: by whom, when, why and of what."""

    export_id: str
    exporter: Person
    made: Milliseconds
    room_id: str
    kind: str
    """`staff`, `client` or `external`."""
    organisations: tuple[str, ...]
    """Names of the organisations that take or took part, the home organisation first."""
    took_part: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By whom each of them took part: those that came after the end of the range are not named."""
    purpose: str = ""
    range: Range = Range()
    timezone: str = "UTC"
    """IANA name of the zone that times are shown in; the record itself is in UTC."""
    notes: tuple[str, ...] = ()
    """What the caller knows to be incomplete, a sentence each."""
    handling: str = ""
    """A mark for the cover, such as "Confidential: child protection file"."""
    software: str = "qwil"


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody who is or was in the chat, with every name they bore in it and every time they came and went."""

    person: Person
    names: tuple[str, ...]
    stays: tuple[tuple[Milliseconds | None, Milliseconds | None], ...]
    """Joined and left; left is none while they are in the chat."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """All of an export but its entries, which are in the record."""

    account: Account
    title: str
    participants: tuple[Participant, ...]
    entries: int
    first: int | None
    last: int | None
    begins: Milliseconds | None
    ends: Milliseconds | None
    by_kind: Mapping[str, int]
    left_out: Mapping[str, int]
    """Events that say nothing to a reader (power levels, avatars), counted by type."""
    problems: tuple[str, ...]
    """What could not be had, a sentence each; the caller's notes come first."""
    remarks: Mapping[int, tuple[Remark, ...]] = field(default_factory=dict)
    quoted: frozenset[int] = frozenset()
    """Numbers of the entries that later ones quote."""


class Remark(NamedTuple):
    """What a later entry does to an earlier one, shown at the earlier one."""

    number: int
    kind: Kind
    who: str
    reaction: str | None = None
