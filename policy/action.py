"""Everything that can be done on the homeserver to make it what the policy says, as data.

`policy.reconcile` computes these, `bridge.perform` does them, a plan shows them. Each is complete in itself: performing
one needs no decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policy.decision import Kind
from policy.model import UserId
from policy.observation import Look, RoomName


@dataclass(frozen=True, slots=True)
class SetProfile:
    """Give an account its name and badge everywhere."""

    user: UserId
    look: Look


@dataclass(frozen=True, slots=True)
class SetLook:
    """Give a member name and badge in one room, where they differ from the profile."""

    room: RoomName
    user: UserId
    look: Look
    picture: Look
    """What the avatar shows: the initials of the plain name."""


@dataclass(frozen=True, slots=True)
class SetPower:
    """Set the power levels of a room."""

    room: RoomName
    levels: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepDown:
    """Lower one's own power in a room, in one's own name: nobody else can lower the bot's equal."""

    room: RoomName
    user: UserId
    levels: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Make a room from before a chat: the bot comes in, gets its power, and marks it."""

    room: RoomName
    chat: Mapping[str, Any]
    """Content of `org.qwil.chat`."""
    members: tuple[UserId, ...]
    """Who has to be in it, nobody more and nobody less: these were judged."""
    giver: UserId
    """Who invites the bot and gives it power."""
    levels: Mapping[str, Any] | None
    """The power levels with the bot among them; none where it has its power already."""
    name: str = ""
    """What it is called from now on; empty where it has a name."""
    withdrawn: tuple[UserId, ...] = ()
    """Invitations from before, which end: nobody has judged them."""


@dataclass(frozen=True, slots=True)
class SetChat:
    """Set `org.qwil.chat`; `notice` is what everybody in the chat is told of it."""

    room: RoomName
    content: Mapping[str, Any]
    notice: str = ""


@dataclass(frozen=True, slots=True)
class ShowKind:
    """Set the chat's own avatar, which shows its kind (CHAT-9)."""

    room: RoomName
    kind: Kind


@dataclass(frozen=True, slots=True)
class Accept:
    """Join an invited member to the room, in their name."""

    room: RoomName
    user: UserId


@dataclass(frozen=True, slots=True)
class Remove:
    """Take somebody out of a chat for good."""

    room: RoomName
    user: UserId
    rule: str
    reason: str
    waits: bool = False
    """Only `apply` does it: the organisation left the network (EXT-13)."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take a suspended member out of a chat and forget it for that account; they return to it (USR-1)."""

    room: RoomName
    user: UserId


@dataclass(frozen=True, slots=True)
class Return:
    """Bring a member back whom suspension took out."""

    room: RoomName
    user: UserId


@dataclass(frozen=True, slots=True)
class Release:
    """Hold a seat in that chat no longer: the member may not return to it."""

    room: RoomName
    user: UserId
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The member's place is kept although they might return: the chat is full. Administrators are told."""

    room: RoomName
    user: UserId
    reason: str


@dataclass(frozen=True, slots=True)
class MakeSpace:
    """Make a space with its members."""

    key: Mapping[str, str]
    name: str
    members: tuple[UserId, ...]
    children: tuple[RoomName, ...] = ()


@dataclass(frozen=True, slots=True)
class NameSpace:
    """Rename a space."""

    room: RoomName
    name: str


@dataclass(frozen=True, slots=True)
class EnterSpace:
    """Bring somebody into a space."""

    room: RoomName
    user: UserId


@dataclass(frozen=True, slots=True)
class LeaveSpace:
    """Take somebody out of a space."""

    room: RoomName
    user: UserId


@dataclass(frozen=True, slots=True)
class ListInSpace:
    """Show a chat in a space."""

    room: RoomName
    child: RoomName


@dataclass(frozen=True, slots=True)
class UnlistInSpace:
    """Show a chat in a space no longer."""

    room: RoomName
    child: RoomName


Action = (
    SetProfile
    | SetLook
    | SetPower
    | StepDown
    | TakeOver
    | SetChat
    | ShowKind
    | Accept
    | Remove
    | Withdraw
    | Return
    | Release
    | Wait
    | MakeSpace
    | NameSpace
    | EnterSpace
    | LeaveSpace
    | ListInSpace
    | UnlistInSpace
)
