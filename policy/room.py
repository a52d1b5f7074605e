"""A room as the homeserver holds it and an event somebody wants in it: what is judged, as data.

`policy.rooms` makes a `Chat` of the part that the rules know; here is the rest that only a homeserver sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from policy.decision import Badge
from policy.model import Moment, Policy, UserId
from policy.question import Chat
from policy.rooms import CHAT, DIRECT, DRAFT, chat_in_room, stands_for

PRESENT = ("join", "invite")


class Member(NamedTuple):
    """One member event of a room."""

    membership: str
    sender: UserId
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Room:
    """The state of a room. `chat` is there for a chat, `direct` names whose direct chat with the bot it is."""

    creator: UserId
    bot: UserId
    members: Mapping[UserId, Member]
    chat: Mapping[str, Any] | None = None
    held: tuple[UserId, ...] = ()
    """Whoever is named for the draft and comes in with its first message."""
    direct: UserId | None = None
    levels: Mapping[str, Any] | None = None
    """Content of `m.room.power_levels`."""
    made: bool = True
    """False while the homeserver is still making it: nobody but its creator's createRoom has sent anything yet."""

    @property
    def home(self) -> str | None:
        """The home organisation of a chat."""
        return str(self.chat.get("organisation")) if self.chat is not None else None

    @property
    def bots_own(self) -> bool:
        """A space or another room the bot made, which is neither a chat nor a direct chat."""
        return self.creator == self.bot and self.chat is None and self.direct is None

    @property
    def from_before(self) -> bool:
        """A room that is none of ours, and becomes a chat where the bot is let in and given power."""
        return self.chat is None and self.direct is None and not self.bots_own

    def membership(self, user: UserId) -> str:
        """`join`, `invite`, `leave`, `ban`, `knock`; `leave` also for who was never in it."""
        member = self.members.get(user)
        return member.membership if member else "leave"

    def inside(self) -> list[UserId]:
        """Everybody joined or invited but the bot."""
        return [user for user, member in self.members.items() if member.membership in PRESENT and user != self.bot]

    def begun(self) -> bool:
        """Whether a chat has had its first message: it is marked, or somebody came in, which only that brings about."""
        if self.chat is None or self.chat.get("draft") is not True:
            return True
        return any(user != self.creator for user in self.inside())


class Attempt(NamedTuple):
    """An event that somebody wants in a room."""

    type: str
    sender: UserId
    content: Mapping[str, Any]
    state_key: str | None = None
    badge: Badge | None = None
    """Of a member event: the letter of its picture where that is one of the bot's for this very person."""
    profile: Mapping[str, Any] = {}
    """Of a member event: name and picture of the account, which homeserver and clients put in by themselves."""
    closing: bool = False
    """The account that leaves is being closed."""


class Stated(Protocol):
    """A state event as the homeserver holds it."""

    @property
    def sender(self) -> str: ...

    @property
    def content(self) -> Mapping[str, Any]: ...


def room_of(state: Mapping[tuple[str, str], Stated], bot: UserId) -> Room:
    """The room with that state, by type and state key; it has to hold the create event."""

    def content(kind: str) -> Mapping[str, Any] | None:
        found = state.get((kind, ""))
        return found.content if found else None

    direct = (content(DIRECT) or {}).get("user")
    return Room(
        creator=UserId(state["m.room.create", ""].sender),
        bot=bot,
        members={UserId(key): _member(event) for (kind, key), event in state.items() if kind == "m.room.member"},
        chat=content(CHAT),
        held=user_ids((content(DRAFT) or {}).get("with")),
        direct=UserId(direct) if isinstance(direct, str) else None,
        levels=content("m.room.power_levels"),
        made=("m.room.power_levels", "") in state,
    )


def _member(event: Stated) -> Member:
    return Member(str(event.content.get("membership")), UserId(event.sender), event.content)


def user_ids(listed: object) -> tuple[UserId, ...]:
    """The Matrix IDs in a list from the wire, each once; whatever is none is left out."""
    if not isinstance(listed, list | tuple):
        return ()
    return tuple(dict.fromkeys(UserId(user) for user in listed if isinstance(user, str) and user.startswith("@")))


def chat_of(policy: Policy, room: Room, now: Moment, *, without: UserId | None = None) -> Chat | None:
    """The chat in the room as the rules see it, `without` somebody who is about to enter; none if it is not of ours."""
    if room.chat is None:
        return None
    home = str(room.home)
    # Who is named for the draft and can be in such a chat no more will not come in, and bars nobody.
    held = [user for user in room.held if home in policy.organisations and stands_for(policy, home, user, now)]
    present = [user for user in (*room.inside(), *held) if user != without]
    others = {*present, without, room.bot}
    former = [user for user in room.members if user not in others]
    chat = chat_in_room(policy, room.chat, present, former, now, creator=room.creator)
    return replace(chat, draft=False) if chat and chat.draft and room.begun() else chat
