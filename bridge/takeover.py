"""Taking over a room from before, step by step: each may be done again, and until the last nothing has become a chat.

The bot cannot come into such a room by itself. One of its administrators, in whose name the bridge speaks, invites it
and gives it power; their own they give up afterwards, when the room is a chat (`policy.action.StepDown`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from mautrix.api import Method

from bridge.catch_up import as_events
from bridge.homeserver import Homeserver, Refused, room_path
from bridge.observe import Observer
from policy.action import TakeOver
from policy.before import RoomBefore, room_before
from policy.model import UserId
from policy.observation import RoomName
from policy.rooms import CHAT
from policy.template import FIXED_STATE

HISTORY = "history:"
"""Under which names the rooms are remembered whose history is to be put on record."""

TOLD = "This room is a chat of your organisation from now on, and like every chat it is on record."
WITHDRAWN = "This invitation was there before the rules. Ask somebody in the chat to add you."
MOVED = "Somebody has come into the room or left it since that plan: look at the plan again."


class Hands(Protocol):
    """Whoever changes things on the homeserver."""

    async def set_state(
        self, room: RoomName, kind: str, content: Mapping[str, Any], *, key: str = "", user: UserId | None = None
    ) -> None: ...

    async def invite(self, room: RoomName, user: UserId, *, inviter: UserId) -> None: ...

    async def join(self, room: RoomName, user: UserId) -> None: ...

    async def leave(self, room: RoomName, user: UserId, *, forget: bool = False, reason: str = "") -> None: ...

    async def kick(self, room: RoomName, user: UserId, reason: str) -> None: ...

    async def say_in(self, room: RoomName, text: str, *, about: str, quiet: bool = False) -> None: ...


async def take_over(hands: Hands, homeserver: Homeserver, observer: Observer, action: TakeOver) -> None:
    """Make the room a chat; raises `Refused`, also where others are in it than were judged."""
    room, bot = action.room, observer.bot
    before = await _seen(homeserver, room, action.giver)
    _require_the_same(before, action, bot)
    if bot not in before.members:
        if bot not in before.invited:
            await hands.invite(room, bot, inviter=action.giver)
        await hands.join(room, bot)
    if action.levels is not None:
        await hands.set_state(room, "m.room.power_levels", action.levels, user=action.giver)
    for user in action.withdrawn:
        if user in before.invited:
            await withdraw(hands, observer, room, user, WITHDRAWN)
    for kind, content in FIXED_STATE.items():
        await hands.set_state(room, kind, content)
    if action.name:
        await hands.set_state(room, "m.room.name", {"name": action.name})
    await _mark(hands, homeserver, observer, action)


async def _mark(hands: Hands, homeserver: Homeserver, observer: Observer, action: TakeOver) -> None:
    """The last step, which makes it a chat: the whole state is on record before, and nobody can come in any more."""
    asked = await observer.last_arrival()
    state = await homeserver.ask(Method.GET, room_path(action.room).state)
    _require_the_same(room_before(action.room, state), action, observer.bot)
    await observer.adopt(action.room, as_events(action.room, state), asked=asked, history=f"{HISTORY}{action.room}")
    # Said before it is so: a bridge that is stopped in between says it no second time, and none forgets to say it.
    await hands.say_in(action.room, TOLD, about="taken over")
    await hands.set_state(action.room, CHAT, action.chat)


async def withdraw(hands: Hands, observer: Observer, room: RoomName, user: UserId, reason: str) -> None:
    """End a place in the room in its holder's name: clients give those they invite as much power as the bot has."""
    if observer.local(user):
        await hands.leave(room, user, forget=True, reason=reason)
    else:
        await hands.kick(room, user, reason)


async def _seen(homeserver: Homeserver, room: RoomName, user: UserId) -> RoomBefore:
    """The room as somebody in it sees it now."""
    return room_before(room, await homeserver.ask(Method.GET, room_path(room).state, user=user))


def _require_the_same(before: RoomBefore, action: TakeOver, bot: UserId) -> None:
    if {*before.members, bot} != {*action.members, bot}:
        raise Refused(409, "", MOVED)
