"""The policy as data: organisations in networks, their people, contact books and covers.

Only nouns live here. Nothing in this file reads a file or a clock; `policy.parse` makes these values from YAML and
CSV, `policy.reach` and `policy.rules` answer questions about them. Words are those of the field: a *membership* is a
person inside one organisation, and one Matrix ID may hold several (INV-12).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from math import inf
from typing import Any, Literal, NamedTuple, NewType

PersonId = NewType("PersonId", str)
"""`organisation/identifier`, the name of a membership."""

UserId = NewType("UserId", str)
"""A Matrix ID, `@localpart:server`."""

Moment = float
"""Seconds since the epoch, UTC."""

Role = Literal["staff", "client"]
Status = Literal["invited", "active", "suspended", "left"]
Admin = Literal["", "system", "user"]
ReviewLevel = Literal["", "connected", "clients", "all"]
Requirement = Literal["required", "optional", "asked"]
"""INV-8: whether the file gives everybody's number; `asked`: people give their own when they accept."""

MAX_PARTICIPANTS = 100
"""CHAT-3: more take part in no chat; an organisation may set less."""

DEFAULT_TITLE = "New chat"
"""CHAT-6: the title of a chat that was given none."""


class Membership(NamedTuple):
    """A person inside one organisation; `id` is unique, everything else may repeat."""

    id: PersonId
    organisation: str
    identifier: str
    name: str
    role: Role
    matrix: UserId | None
    books: frozenset[str]
    status: Status
    ends: Moment = inf
    """The moment after the day of `until`, in the organisation's time zone."""
    admin: Admin = ""
    review: ReviewLevel = ""
    unlisted: bool = False
    first_name: str = ""
    last_name: str = ""
    job_title: str = ""
    email: str = ""
    mobile: str = ""
    until: date | None = None


class Book(NamedTuple):
    """A contact book: its members become visible to each other (BOOK-2)."""

    organisation: str
    identifier: str
    name: str
    description: str
    clients_see_each_other: bool
    """Resolved: the book's own word, else the organisation's (BOOK-8)."""
    members: frozenset[PersonId]
    """Everybody the file puts in it, whatever their status; stand-ins are not among them (see `Cover`)."""


class Cover(NamedTuple):
    """Holiday cover: from `starts` until `ends` the stand-in is in all books of the absent member."""

    absent: PersonId
    stand_in: PersonId
    first_day: date
    last_day: date
    starts: Moment
    ends: Moment
    """The moment after `last_day`, in the organisation's time zone."""


class Network(NamedTuple):
    """Organisations whose staff may chat with each other."""

    identifier: str
    name: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the bot says to a new member (BUT-2)."""

    text: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """The organisation's terms; a new version has to be accepted again (TRM-1)."""

    version: str
    link: str


@dataclass(frozen=True, slots=True)
class Invitations:
    """How invitations are mailed (INV-5, INV-13)."""

    link_days: int = 7
    mail_days: int = 30
    staff_domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Organisation:
    """A school, firm or practice with its books and settings."""

    identifier: str
    name: str
    network: str | None = None
    max_participants: int = MAX_PARTICIPANTS
    clients_see_each_other: bool = True
    clients_may_export: bool = False
    mobile_staff: Requirement = "required"
    mobile_client: Requirement = "required"
    language: str = "en"
    logo: str = ""
    welcome: Welcome | None = None
    terms: Terms | None = None
    invitations: Invitations = Invitations()
    default_book: str = ""
    timezone: str = "UTC"
    books: Mapping[str, Book] = field(default_factory=dict)
    covers: tuple[Cover, ...] = ()
    rank: int = 0
    """Place in the file, which settles what several memberships would allow alike."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """One of the administrator's own tests: a question as written and the answer that is expected of it."""

    name: str
    ask: Mapping[str, Any]
    allowed: bool
    because: tuple[str, ...] | None
    where: str
    """`policy.yaml:12:7`"""


@dataclass(frozen=True, slots=True)
class Policy:
    """Who belongs where and who may do what: the whole truth, as the file said it."""

    networks: Mapping[str, Network] = field(default_factory=dict)
    organisations: Mapping[str, Organisation] = field(default_factory=dict)
    people: Mapping[PersonId, Membership] = field(default_factory=dict)
    accounts: Mapping[UserId, tuple[Membership, ...]] = field(default_factory=dict)
    """Every membership of a Matrix ID, those who left included, in the order of the file."""
    stand_ins: Mapping[PersonId, tuple[Cover, ...]] = field(default_factory=dict)
    """The covers of each stand-in; nearly always empty, so that nobody else pays for them."""
    closed_books: frozenset[tuple[str, str]] = frozenset()
    """(organisation, book) of the books in which clients do not see each other (BOOK-8)."""
    tests: tuple[Expectation, ...] = ()
    memo: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
    """Only ever what can be computed from the rest, such as the index of the people search."""
