"""How the homeserver looks, from the record: every room of ours with its state, kept in step event by event.

Rooms that are not ours (no chat, no direct chat, no space of the bot's) are left out; a room becomes ours when its
state says so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bridge.store import Arrival, NewEvent, Store
from policy.before import RoomBefore, as_data, from_data
from policy.model import Moment, UserId
from policy.observation import Look, Member, Observation, Presence, Room, RoomName
from policy.rooms import CHAT, DIRECT, DRAFT, SPACE

MARKS = (CHAT, DIRECT, SPACE)
PRESENCES: Mapping[str, Presence] = {
    "join": "join",
    "invite": "invite",
    "leave": "leave",
    "ban": "ban",
    "knock": "knock",
}
State = dict[tuple[str, str], Mapping[str, Any]]
PART = "part:"
"""Under which names it is kept for which organisations somebody was in a chat."""
UNDONE = "undone:"
"""Under which names those are kept who were brought into a chat against the rules and taken out again."""
BEFORE = "before:"
"""Under which names the rooms are kept that are none of ours."""


class Observer:
    """What is known of the homeserver now; `note` is what changes it."""

    def __init__(self, store: Store, *, bot: UserId, server: str) -> None:
        self._store = store
        self.bot = bot
        self.trusts_creators = True
        """Whether a room's creator marks it as one of ours, as the module lets them; else the bot alone does."""
        self.server = server
        self._states: dict[RoomName, State] = {}
        self._creators: dict[RoomName, UserId] = {}
        self._rooms: dict[RoomName, Room] = {}
        self._profiles: dict[UserId, Look] = {}
        self._avatars: dict[tuple[UserId, Look], str] = {}
        self._kind_avatars: dict[str, str] = {}
        self._withheld: set[tuple[RoomName, UserId]] = set()
        self._before: dict[RoomName, RoomBefore] = {}
        self._undone: dict[RoomName, set[UserId]] = {}
        self._parts: dict[RoomName, dict[UserId, Mapping[str, Moment | None]]] = {}

    async def load(self) -> None:
        """Read everything from the record."""
        for room, user, organisations in (await self._store.recall_all(PART)).values():
            self._parts.setdefault(room, {})[UserId(user)] = organisations
        for room, user in (await self._store.recall_all(UNDONE)).values():
            self._undone.setdefault(room, set()).add(UserId(user))
        for kind in MARKS:
            for room in await self._store.rooms_with(kind):
                if room not in self._rooms:
                    await self._load_room(room)
        for key, value in (await self._store.recall_all("profile:")).items():
            self._profiles[UserId(key.removeprefix("profile:"))] = Look(*value)
        for user, name, badge, address in (await self._store.recall_all("avatar:")).values():
            self._avatars[UserId(user), Look(name, badge)] = address
        for key, value in (await self._store.recall_all("kind:")).items():
            self._kind_avatars[key.removeprefix("kind:")] = value
        self._withheld = {(room, UserId(user)) for room, user in (await self._store.recall_all("withheld:")).values()}
        rooms = (await self._store.recall_all(BEFORE)).values()
        self._before = {room.id: room for room in map(from_data, rooms)}

    async def _load_room(self, room: RoomName) -> None:
        for event in await self._store.whole_state(room):
            self.note(room, event.type, event.state_key or "", event.content, event.sender)

    @property
    def rooms(self) -> Mapping[RoomName, Room]:
        """Every room of ours."""
        return self._rooms

    def room(self, room: RoomName) -> Room | None:
        """The room, if it is ours."""
        return self._rooms.get(room)

    def seen(self) -> Observation:
        """Everything, as it stands at this moment."""
        return Observation(
            bot=self.bot,
            server=self.server,
            rooms=dict(self._rooms),
            profiles=self._profiles,
            avatars=self._avatars,
            kind_avatars=self._kind_avatars,
            withheld=frozenset(self._withheld),
            before={room: before for room, before in self._before.items() if room not in self._rooms},
        )

    def note(self, room: RoomName, kind: str, key: str, content: Mapping[str, Any], sender: UserId) -> None:
        """A state event came, or was sent by us and is on its way back."""
        if kind in MARKS and sender != self.bot and not self.trusts_creators:
            return
        if kind == "m.room.create":
            self._creators[room] = sender
        state = self._states.setdefault(room, {})
        state[kind, key] = content
        if room in self._rooms or (kind in MARKS and key == ""):
            undone = self._undone.get(room, set())
            shown = _as_room(room, self._creators.get(room, UserId("")), state, self.bot, undone)
            parts = self._parts.get(room)
            self._rooms[room] = replace(shown, took_part=parts) if parts else shown

    async def refresh(self, room: RoomName, kind: str, key: str) -> None:
        """Look up what the record says now: an event may be handled late, after the state went on."""
        current = await self._store.state(room, kind, key)
        if current is not None and kind in MARKS and key == "" and room not in self._rooms:
            # What came before it may have been handled by a bridge that was stopped since.
            await self._load_room(room)
        elif current is not None:
            self.note(room, kind, key, current.content, current.sender)

    def local(self, user: UserId) -> bool:
        """Is the account on our homeserver, so that the bridge may act for it?"""
        return user.endswith(f":{self.server}")

    def direct_with(self, user: UserId) -> RoomName | None:
        """The direct chat of this person with the bot, if both are in it.

        Somebody of another homeserver enters in their own time: what waits for them there is read when they do.
        """
        direct = (room for room in self._rooms.values() if room.direct == user)
        theirs = [room for room in direct if self._presence(room, self.bot) == "join"]
        entered = (room.id for room in theirs if self._presence(room, user) == "join")
        asked = (room.id for room in theirs if not self.local(user) and self._presence(room, user) == "invite")
        return next(entered, None) or next(asked, None)

    def direct_begun(self, user: UserId) -> RoomName | None:
        """A direct chat that the bot has made and somebody of ours is invited to; the bridge brings them in at once."""
        direct = (room for room in self._rooms.values() if room.direct == user and room.creator == self.bot)
        mine = (room for room in direct if self._presence(room, self.bot) == "join" and self.local(user))
        return next((room.id for room in mine if self._presence(room, user) == "invite"), None)

    def _presence(self, room: Room, user: UserId) -> Presence:
        return room.members[user].presence if user in room.members else "leave"

    async def remember_profile(self, user: UserId, look: Look) -> None:
        """The account bears this name and badge now."""
        await self._store.remember(f"profile:{user}", list(look))
        self._profiles[user] = look

    @property
    def profiles(self) -> Mapping[UserId, Look]:
        """What every account was last called by us."""
        return self._profiles

    async def forget_profile(self, user: UserId) -> None:
        """Somebody else has changed it."""
        await self._store.forget(f"profile:{user}")
        self.overlook_profile(user)

    def overlook_profile(self, user: UserId) -> None:
        """The same for whoever only looks: nothing of it is kept."""
        self._profiles.pop(user, None)

    def avatar(self, user: UserId, look: Look) -> str | None:
        """The address of the person's picture, if it was uploaded."""
        return self._avatars.get((user, look))

    async def remember_avatar(self, user: UserId, look: Look, address: str) -> None:
        """The person's picture stands at this address."""
        await self._store.remember(f"avatar:{user}:{look.badge}", [user, look.name, look.badge, address])
        self._avatars[user, look] = address

    def kind_avatar(self, kind: str) -> str | None:
        """The address of the avatar of chats of this kind, if it was uploaded."""
        return self._kind_avatars.get(kind)

    async def remember_kind_avatar(self, kind: str, address: str) -> None:
        """Chats of this kind bear the picture at this address."""
        await self._store.remember(f"kind:{kind}", address)
        self._kind_avatars[kind] = address

    @property
    def before(self) -> Mapping[RoomName, RoomBefore]:
        """The rooms that are none of ours, as they were last looked at."""
        return self._before

    async def remember_before(self, before: RoomBefore) -> None:
        """A room that is none of ours looks like this."""
        if self._before.get(before.id) != before:
            await self._store.remember(f"{BEFORE}{before.id}", as_data(before))
            self._before[before.id] = before

    async def forget_before(self, room: RoomName) -> None:
        """There is no such room any more, or it is one of ours."""
        await self._store.forget(f"{BEFORE}{room}")
        self._before.pop(room, None)

    async def adopt(self, room: RoomName, state: Sequence[NewEvent], *, asked: Arrival, history: str) -> None:
        """A room from before becomes one of ours: its whole state is on record, and `history` says what is to come."""
        await self._store.remember(history, room)
        await self._store.fill(room, [], state, asked=asked, received=time.time())
        await self._load_room(room)

    async def remember_part(self, room: RoomName, user: UserId, parts: Mapping[str, Moment | None]) -> None:
        """For these organisations the person is or was in the chat."""
        await self._store.remember(f"{PART}{room}:{user}", [room, user, parts])
        known = {**self._parts.get(room, {}), user: parts}
        self._parts[room] = known
        if room in self._rooms:
            self._rooms[room] = replace(self._rooms[room], took_part=known)

    async def last_arrival(self) -> Arrival:
        """The place of the latest event on record."""
        return await self._store.last_arrival()

    async def undo(self, room: RoomName, user: UserId) -> None:
        """This person should never have come in, and does not count as a former participant."""
        await self._store.remember(f"{UNDONE}{room}:{user}", [room, user])
        self._undone.setdefault(room, set()).add(user)

    async def let_in(self, room: RoomName, user: UserId) -> None:
        """This person is in the chat by right."""
        if user in self._undone.get(room, ()):
            await self._store.forget(f"{UNDONE}{room}:{user}")
            self._undone[room].discard(user)

    async def withhold(self, room: RoomName, user: UserId) -> None:
        """The suspended person's place in the chat is kept."""
        await self._store.remember(f"withheld:{room}:{user}", [room, user])
        self._withheld.add((room, user))

    async def release(self, room: RoomName, user: UserId) -> None:
        """The place is kept no longer."""
        await self._store.forget(f"withheld:{room}:{user}")
        self._withheld.discard((room, user))


def _as_room(room: RoomName, creator: UserId, state: State, bot: UserId, undone: set[UserId]) -> Room:
    """The nouns of the policy, from what the events say; whatever has the wrong shape counts as missing."""
    everybody = {UserId(key): _as_member(content) for (kind, key), content in state.items() if kind == "m.room.member"}
    # Who came in against the rules makes no chat what it is by having been there.
    members = {user: member for user, member in everybody.items() if member.inside or user not in undone}
    direct = state.get((DIRECT, ""), {}).get("user")
    return Room(
        id=room,
        creator=creator,
        members=members,
        chat=state.get((CHAT, ""), {}),
        held=_users(state.get((DRAFT, ""), {}).get("with")),
        # Somebody else's room says in vain that it is this person's: what the bot tells them would be read there.
        direct=UserId(direct) if isinstance(direct, str) and creator in (bot, direct) else None,
        # The bot alone makes spaces; what anybody else's room says of itself is nothing to go by.
        space=_texts(state.get((SPACE, ""), {})) if creator == bot else {},
        power_levels=state.get(("m.room.power_levels", ""), {}),
        name=_text(state, "m.room.name", "name"),
        avatar=_text(state, "m.room.avatar", "url"),
        children=frozenset(
            key for (kind, key), content in state.items() if kind == "m.space.child" and "via" in content
        ),
    )


def _as_member(content: Mapping[str, Any]) -> Member:
    presence = PRESENCES.get(str(content.get("membership")), "leave")
    return Member(presence, _string(content.get("displayname")), _string(content.get("avatar_url")))


def _texts(content: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in content.items() if isinstance(value, str)}


def _users(named: Any) -> tuple[UserId, ...]:
    return tuple(UserId(user) for user in named if isinstance(user, str)) if isinstance(named, list) else ()


def _text(state: State, kind: str, field: str) -> str:
    return _string(state.get((kind, ""), {}).get(field))


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
