"""Enforcing on a homeserver without the policy module: what should not have happened is undone as soon as it is seen.

Nobody can be refused anything beforehand, and there are no drafts: a room that somebody makes becomes a chat as soon as
somebody else is in it, and whoever may not be brought in is taken out of it again, with the reason. From then on the
powers of a chat let the homeserver itself refuse much of the rest. What cannot be a chat is said to its creator.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from mautrix.api import Method

from bridge.direct import Direct
from bridge.homeserver import Homeserver, Refused, room_path
from bridge.observe import Observer
from bridge.perform import Performer
from bridge.policy_file import PolicySource
from bridge.store import Store, StoredEvent
from bridge.takeover import withdraw
from policy.action import TakeOver
from policy.before import RoomBefore, room_before
from policy.decide import decide
from policy.decision import Decision
from policy.judge import UNLISTED, stranger
from policy.model import Moment, UserId
from policy.observation import INSIDE, Room
from policy.question import Add
from policy.reach import is_active
from policy.rooms import chat_in_room, stands_for, stood_for
from policy.takeover import shape

SINCE = "after_the_fact"
"""Under which name it is remembered since when rooms are shaped: those from before wait for `apply`."""

HERE = "Write to me here. “help” says what I know."

log = logging.getLogger("qwil.after_the_fact")


class AfterTheFact:
    """Shapes the rooms that people make, and judges who is brought into them."""

    def __init__(
        self,
        *,
        source: PolicySource,
        store: Store,
        observer: Observer,
        performer: Performer,
        direct: Direct,
        homeserver: Homeserver,
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._source = source
        self._store = store
        self._observer = observer
        self._performer = performer
        self._direct = direct
        self._homeserver = homeserver
        self._clock = clock
        self._since: Moment = 0.0
        self._of_others: dict[str, tuple[UserId, StoredEvent]] = {}
        """Rooms whose creator could make no chat, with the creator and an event."""

    async def load(self, began: Moment) -> None:
        """Remember since when rooms are shaped: since the first bridge without the module began, as this one did."""
        self._since = await self._store.recall(SINCE, 0.0)
        if not self._since:
            self._since = began
            await self._store.remember(SINCE, began)

    async def handle(self, event: StoredEvent) -> None:
        """What a state event asks for, before anything else is done about it."""
        if event.state_key is None:
            return
        room = self._observer.room(event.room_id)
        if room is None:
            await self._shape(event)
        elif event.type == "m.room.member" and event.content.get("membership") == "invite":
            await self._judge(room, UserId(event.sender), UserId(event.state_key), event.event_id)

    async def look_again(self) -> None:
        """A policy came into force: whoever it makes a member may have made a room a moment before."""
        for creator, event in list(self._of_others.values()):
            if self._observer.room(event.room_id) is None and self._is_active(creator):
                await self._shape(event)

    def _is_active(self, user: UserId) -> bool:
        return is_active(self._source.policy, user, self._clock())

    async def _shape(self, event: StoredEvent) -> None:
        """Make a new room a chat; who was invited into it is judged at once, before anybody is joined."""
        made = await self._store.state(event.room_id, "m.room.create")
        own = made is None or made.sender == self._observer.bot or not self._observer.local(made.sender)
        if made is None or own or made.origin_server_ts < self._since * 1000:
            return
        before = await self._seen(event.room_id, made.sender)
        if before is None:
            return
        if {*before.members, *before.invited} == {before.creator, self._observer.bot}:
            await self._direct.tell(before.creator, HERE, about=f"here {before.id}")
        wanted = shape(self._source.policy, before, self._clock(), bot=self._observer.bot)
        if self._is_active(before.creator):
            self._of_others.pop(event.room_id, None)
        else:
            self._of_others[event.room_id] = before.creator, event
        if isinstance(wanted, TakeOver):
            await self._performer.do(wanted)
            for user in before.invited:
                if (room := self._observer.room(before.id)) is not None:
                    await self._judge(room, before.creator, user, event.event_id)
        elif wanted is not None:
            text = f"Your room “{before.name or before.id}” is no chat of your organisation: {wanted}."
            await self._direct.tell(before.creator, text, about=f"no chat {before.id} {wanted}")

    async def _seen(self, room: str, creator: UserId) -> RoomBefore | None:
        """The room as its creator sees it; none where they are gone, and with them everybody who could let us in."""
        try:
            return room_before(room, await self._homeserver.ask(Method.GET, room_path(room).state, user=creator))
        except Refused as refusal:
            log.info("%s cannot be looked at: %s", room, refusal)
            return None

    async def _judge(self, room: Room, sender: UserId, user: UserId, occasion: str) -> None:
        """Take somebody out again who may not have been brought in, and say why to whoever did."""
        bot = self._observer.bot
        shown = room.members.get(user)
        if bot in (sender, user) or not room.chat or shown is None or shown.presence not in INSIDE:
            return
        decision = self._decided(room, sender, user)
        if decision.allowed:
            await self._observer.let_in(room.id, user)
            return
        await self._observer.undo(room.id, user)
        await withdraw(self._performer, self._observer, room.id, user, decision.text)
        details = {"room": room.id, "who": user, "because": list(decision.rules), "text": decision.text}
        await self._store.audit(sender, "undone", details, time=self._clock())
        text = f"{user} was taken out of “{room.name or room.id}” again. {decision.text}"
        await self._direct.tell(sender, text, about=f"undone {occasion} {user}")

    def _decided(self, room: Room, sender: UserId, user: UserId) -> Decision:
        policy, now = self._source.policy, self._clock()
        others = [one for one in room.inside(self._observer.bot) if one != user]
        former = [one for one in room.former() if one != user]
        chat = chat_in_room(policy, room.chat, others, former, now)
        who, whom = stood_for(policy, room.home, sender, now), stands_for(policy, room.home, user, now)
        if chat is None or who is None:
            return Decision(False, (UNLISTED,))
        if whom is None:
            return Decision(False, (stranger(policy, who, user),))
        return decide(policy, Add(who.id, whom.id, chat), now)
