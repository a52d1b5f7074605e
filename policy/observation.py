"""How the homeserver looks now, in the policy's words: rooms, who is in them, and what people are called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from policy.before import RoomBefore
from policy.decision import Badge
from policy.model import Moment, UserId

Presence = Literal["join", "invite", "leave", "ban", "knock"]
INSIDE = ("join", "invite")
RoomName = str
"""A room's id, `!opaque:server`."""


@dataclass(frozen=True, slots=True)
class Member:
    """One Matrix ID in one room, as its member event says."""

    presence: Presence
    name: str = ""
    avatar: str = ""

    @property
    def inside(self) -> bool:
        """Joined or invited: counts to the limit (CHAT-3)."""
        return self.presence in INSIDE


@dataclass(frozen=True, slots=True)
class Room:
    """A room of ours as it stands."""

    id: RoomName
    creator: UserId
    members: Mapping[UserId, Member] = field(default_factory=dict)
    chat: Mapping[str, Any] = field(default_factory=dict)
    """Content of `org.qwil.chat`, empty in other rooms."""
    held: tuple[UserId, ...] = ()
    """Whom the draft names (`org.qwil.draft`)."""
    direct: UserId | None = None
    """Whose direct chat with the bot it is."""
    space: Mapping[str, Any] = field(default_factory=dict)
    """Content of `org.qwil.space`, empty in other rooms."""
    power_levels: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    avatar: str = ""
    children: frozenset[RoomName] = frozenset()
    """Rooms a space lists."""
    took_part: Mapping[UserId, Mapping[str, Moment | None]] = field(default_factory=dict)
    """The other organisations for which somebody was in the chat as staff, whatever the policy says by now; until when,
    where they stand for it no longer although they are still inside."""

    @property
    def home(self) -> str:
        """The identifier of the chat's home organisation; empty in other rooms."""
        return str(self.chat.get("organisation", ""))

    @property
    def draft(self) -> bool:
        """Is it a chat before its first message (CHAT-1)?"""
        return self.chat.get("draft") is True

    def inside(self, bot: UserId) -> Iterator[UserId]:
        """Everybody joined or invited but the bot."""
        return (user for user, member in self.members.items() if member.presence in INSIDE and user != bot)

    def former(self) -> Iterator[UserId]:
        """Everybody who was in it and is not."""
        return (user for user, member in self.members.items() if member.presence in ("leave", "ban"))


class Look(NamedTuple):
    """What a person is called and which badge the avatar bears, globally or in one room."""

    name: str
    badge: Badge
    available: bool = True
    """False for whoever is suspended wherever they are a member (USR-1)."""


@dataclass(frozen=True, slots=True)
class Observation:
    """All of it; `server` is the homeserver whose accounts we can act for."""

    bot: UserId
    server: str
    rooms: Mapping[RoomName, Room] = field(default_factory=dict)
    profiles: Mapping[UserId, Look] = field(default_factory=dict)
    """What every account was last called by us."""
    avatars: Mapping[tuple[UserId, Look], str] = field(default_factory=dict)
    """The `mxc:` address of each look that was drawn already."""
    kind_avatars: Mapping[str, str] = field(default_factory=dict)
    withheld: frozenset[tuple[RoomName, UserId]] = frozenset()
    """Suspended people and the chats they return to (USR-1)."""
    before: Mapping[RoomName, RoomBefore] = field(default_factory=dict)
    """The rooms that are none of ours, as they were last looked at."""

    def local(self, user: UserId) -> bool:
        """Is the account on our homeserver, so that the bridge may act for it?"""
        return user.endswith(f":{self.server}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator chose, as far as it changes what is to be done."""

    auto_join: bool = True
    """Members with accounts on our server are joined at once."""
    book_space_members: int = 5
    """A book with fewer members gets no space."""
