"""Everything that can be asked. Questions name memberships that exist; `policy.ask` reads them from words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from policy.decision import Kind
from policy.model import Moment, PersonId

Area = Literal["people", "books", "settings", "reviewers"]


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat as it stands: who is in it, who was, and what was settled about it."""

    organisation: str
    """The home organisation."""
    participants: tuple[PersonId, ...]
    """In the chat now; in a draft, those named so far with its creator."""
    former: tuple[PersonId, ...] = ()
    staff_only: bool = False
    draft: bool = False
    creator: PersonId | None = None
    """Of a draft; by default the first participant."""
    was: Kind | None = None
    """The kind kept with the chat: it never goes back, also when a former participant's row is gone."""
    took_part: frozenset[str] = frozenset()
    """Organisations whose staff were once in it, kept also when their rows are gone."""

    @property
    def author(self) -> PersonId | None:
        """Whoever alone may act while the chat is a draft (CHAT-1)."""
        return self.creator or (self.participants[0] if self.participants else None)


@dataclass(frozen=True, slots=True)
class See:
    who: PersonId
    whom: PersonId
    on: Moment | None = None


@dataclass(frozen=True, slots=True)
class Search:
    who: PersonId
    text: str
    limit: int = 20
    on: Moment | None = None


@dataclass(frozen=True, slots=True)
class StartChat:
    who: PersonId
    people: tuple[PersonId, ...]
    """`with` on the wire."""
    organisation: str | None = None
    staff_only: bool = False
    on: Moment | None = None


@dataclass(frozen=True, slots=True)
class Add:
    who: PersonId
    whom: PersonId
    chat: Chat
    on: Moment | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    who: PersonId
    whom: PersonId
    chat: Chat
    on: Moment | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    who: PersonId
    chat: Chat
    on: Moment | None = None


@dataclass(frozen=True, slots=True)
class Rename:
    who: PersonId
    chat: Chat
    on: Moment | None = None


@dataclass(frozen=True, slots=True)
class Send:
    who: PersonId
    chat: Chat
    on: Moment | None = None


@dataclass(frozen=True, slots=True)
class Export:
    who: PersonId
    chat: Chat
    on: Moment | None = None


@dataclass(frozen=True, slots=True)
class Review:
    who: PersonId
    chat: Chat
    on: Moment | None = None


@dataclass(frozen=True, slots=True)
class Administer:
    who: PersonId
    organisation: str
    what: Area
    on: Moment | None = None


@dataclass(frozen=True, slots=True)
class Enter:
    """May this person be in this chat at all? Asked of returns and of the bot's own invitations, not by people."""

    who: PersonId
    chat: Chat
    on: Moment | None = None


@dataclass(frozen=True, slots=True)
class BarClients:
    """May this person make the chat staff-only (CHAT-10)? Asked by the word `staff-only`."""

    who: PersonId
    chat: Chat
    on: Moment | None = None


Question = (
    See | Search | StartChat | Add | Remove | Leave | Rename | Send | Export | Review | Administer | Enter | BarClients
)
