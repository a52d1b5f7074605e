"""The life of a chat: a draft, its first message, people who come and go, and what follows on the homeserver.

The module has decided already what may happen; here is what only an actor can do about it afterwards.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from bridge.direct import Direct
from bridge.homeserver import Refused
from bridge.observe import Observer
from bridge.parts import note_parts
from bridge.perform import Performer
from bridge.planning import Planner
from bridge.policy_file import PolicySource
from bridge.store import EventId, Store, StoredEvent
from policy.action import Action, Release, Wait
from policy.decide import decide
from policy.decision import Decision
from policy.model import Moment, UserId
from policy.observation import Member, Room, RoomName, Settings
from policy.question import Add
from policy.reach import status
from policy.reconcile import chat_actions
from policy.rooms import CHAT, DRAFT, chat_in_room, stands_for, stood_for
from policy.rules.company import current_kind
from policy.spaces import external_space_actions
from policy.words import is_command

NO_MESSAGE = frozenset({"m.room.redaction", "m.reaction"})
"""Message-like events that do not begin a chat."""

OUT = Member("leave")

NEWS = 86_400.0
"""Seconds after which an event is history, which nobody is told of."""

log = logging.getLogger("qwil.chats")


class Chats:
    """Keeps every room of ours what the policy and its own life make of it."""

    def __init__(
        self,
        *,
        source: PolicySource,
        store: Store,
        observer: Observer,
        performer: Performer,
        direct: Direct,
        settings: Settings,
        planner: Planner,
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._source = source
        self._store = store
        self._observer = observer
        self._performer = performer
        self._direct = direct
        self._settings = settings
        self._planner = planner
        self._clock = clock

    async def handle(self, event: StoredEvent) -> None:
        """What an event that happened asks for."""
        if event.type == "m.room.member" and event.state_key == self._observer.bot:
            await self._bot_moved(event)
        room = self._observer.room(event.room_id)
        if room is None:
            return
        if (first := event if self._begins(event, room) else await self._said_before(event, room)) is not None:
            await self._begin(room, first)
        elif event.state_key is not None:
            await self.settle(room.id)
            await self._tell_emptied(event, room)

    async def settle(self, room: RoomName) -> None:
        """Make one room, and the spaces that list it, what they should be."""
        now, policy = self._clock(), self._source.policy
        seen = self._observer.seen()
        if room in seen.rooms:
            await self._performer.all(
                action
                for action in chat_actions(policy, seen, seen.rooms[room], now, self._settings)
                if not self._planner.waits(action)
            )
        seen = self._observer.seen()
        if room in seen.rooms:
            await note_parts(self._observer, policy, seen.rooms[room], now)
            await self._performer.all(external_space_actions(seen, seen.rooms[room]))

    async def settle_all(self) -> None:
        """Make the whole homeserver what the policy says; removals of many wait for an administrator."""
        for room in list(self._observer.rooms.values()):
            await note_parts(self._observer, self._source.policy, room, self._clock())
        await self._tell_places(await self._planner.settle(self._performer, self._direct))

    async def _bot_moved(self, event: StoredEvent) -> None:
        """The bot enters the rooms made for it and no others."""
        room = self._observer.room(event.room_id)
        # Where it stands by now: it may have gone in or out since, in a room that is just being taken over.
        current = await self._store.state(event.room_id, "m.room.member", self._observer.bot)
        presence = (current or event).content.get("membership")
        try:
            if presence == "invite" and (room is None or not self._observer.local(room.creator)):
                await self._performer.decline(event.room_id)
            elif presence == "invite":
                await self._performer.join(event.room_id, self._observer.bot)
        except Refused as refusal:
            log.warning("The bot could not answer the invitation to %s: %s", event.room_id, refusal)

    def _begins(self, event: StoredEvent, room: Room) -> bool:
        """CHAT-1: is it the first message of a draft? After a crash in between somebody may still be held.

        Where somebody is inside already, whatever is said there begins it: what people talk in is no draft.
        """
        if not (room.draft or room.held) or event.state_key is not None or event.sender == self._observer.bot:
            return False
        if any(user != room.creator for user in room.inside(self._observer.bot)):
            return event.type not in NO_MESSAGE
        return event.sender == room.creator and event.type not in NO_MESSAGE and not is_command(event.content)

    async def _said_before(self, event: StoredEvent, room: Room) -> StoredEvent | None:
        """The first message of a draft that came while nothing told that the room is one of ours.

        A homeserver that is stopped may forget what it had to send of a new room, and then sends the message alone.
        """
        if event.type != CHAT or not room.draft or room.members.get(self._observer.bot, OUT).presence != "join":
            return None
        said = (each async for each in self._store.history(room.id) if self._begins(each, room))
        return await anext(said, None)

    async def _begin(self, room: Room, event: StoredEvent) -> None:
        """Make the chat active, bring in everybody held whom the module has not, tell the creator who was refused.

        In this order: nobody in the chat shall read who was named; an invitation into a draft is only noted; and those
        held are forgotten last, so that a crash in between lets the same event finish it.
        """
        for named in await self._drafts(room.id):
            await self._performer.redact(room.id, named)
        await self._performer.set_state(room.id, CHAT, {**room.chat, "draft": False, "kind": self._kind(room)})
        late = 0
        for user in room.held:
            now = self._observer.room(room.id) or room
            if user in set(now.inside(self._observer.bot)):
                late += await self._came_after(event, user)
                continue
            decision = self._judge(now, user)
            if decision.allowed:
                late += await self._bring_in(now, user)
            else:
                text = f"{user} did not join “{room.name}”. {decision.text}"
                await self._direct.tell(room.creator, text, about=f"{event.event_id} {user}")
        if late:
            await self._performer.say_in(room.id, f"“{room.name}” has begun.", about=f"begun {event.event_id}")
        await self._performer.set_state(room.id, DRAFT, {})
        await self.settle(room.id)

    async def _came_after(self, message: StoredEvent, user: UserId) -> bool:
        """Was this person brought in after the first message, by a bridge that was stopped before it said so?"""
        entry = await self._store.state(message.room_id, "m.room.member", user)
        return entry is not None and entry.arrival > message.arrival

    async def _drafts(self, room: RoomName) -> list[EventId]:
        """Every event that named people for the draft."""
        events = await self._store.events_of_type(room, DRAFT)
        return [event.event_id for event in events if event.content]

    def _judge(self, room: Room, user: UserId) -> Decision:
        """May the creator bring this person in, now that the chat begins?"""
        policy, now = self._source.policy, self._clock()
        inside = list(room.inside(self._observer.bot))
        chat = chat_in_room(policy, {**room.chat, "draft": False}, inside, (), now)
        creator = stood_for(policy, room.home, room.creator, now)
        member = stands_for(policy, room.home, user, now)
        if chat is None or creator is None or member is None:
            return Decision(False, error="This account is in no organisation that can take part in this chat.")
        return decide(policy, Add(creator.id, member.id, chat), now)

    async def _bring_in(self, room: Room, user: UserId) -> int:
        """1 if the person came in; suspended people have their place kept (USR-1)."""
        member = stands_for(self._source.policy, room.home, user, self._clock())
        if member is not None and status(member, self._clock()) == "suspended":
            await self._observer.withhold(room.id, user)
            return 0
        try:
            if self._settings.auto_join:
                await self._performer.bring_in(room.id, user, inviter=room.creator)
            else:
                await self._performer.invite(room.id, user, inviter=room.creator)
        except Refused as refusal:
            await self._direct.tell(
                room.creator, f"{user} did not join “{room.name}”. {refusal}", about=f"refused {room.id} {user}"
            )
            return 0
        return 1

    def _kind(self, room: Room) -> str:
        chat = chat_in_room(
            self._source.policy, room.chat, room.inside(self._observer.bot), room.former(), self._clock()
        )
        return current_kind(self._source.policy, chat) if chat is not None else str(room.chat.get("kind"))

    async def _tell_emptied(self, event: StoredEvent, room: Room) -> None:
        """When all staff or all people have left, the home organisation keeps the record and its admins are told."""
        policy, now = self._source.policy, self._clock()
        left_now = event.type == "m.room.member" and event.content.get("membership") in ("leave", "ban")
        if room.home not in policy.organisations or not left_now or room.draft:
            return
        if now - event.origin_server_ts / 1000 > NEWS:
            return
        members = [stands_for(policy, room.home, user, now) for user in room.inside(self._observer.bot)]
        if any(member is not None and member.role == "staff" for member in members):
            return
        left = stood_for(policy, room.home, UserId(event.state_key or ""), now)
        if left is None or left.role != "staff":
            return
        who = "Nobody is" if not any(members) else "No staff is"
        await self._direct.tell_admins(
            room.home, f"{who} left in the chat “{room.name}” ({room.id}). Its record is kept.", about=event.event_id
        )

    async def _tell_places(self, actions: list[Action]) -> None:
        """Suspended people who cannot return to a chat are told to the admins (CHAT-3)."""
        for action in actions:
            if not isinstance(action, Wait | Release):
                continue
            room = self._observer.room(action.room)
            if room is not None and room.home in self._source.policy.organisations:
                text = f"{action.user} could not return to “{room.name}”. {action.reason}"
                await self._direct.tell_admins(room.home, text, about=f"place {action.room} {action.user}")
