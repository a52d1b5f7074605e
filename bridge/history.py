"""Would a policy have refused what was done? The record is gone through again, act by act, and each is decided anew.

An act is judged as it stood at its moment: who was in the chat then, which covers and end dates were in force. What
people *are* (their books, their status) is taken from the policy that is tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from bridge.store import Store, StoredEvent
from policy.decide import decide
from policy.decision import Decision
from policy.model import Membership, Moment, Policy, UserId
from policy.question import Add, Chat, Question, Send, StartChat
from policy.rooms import CHAT, DRAFT, chat_in_room, stands_for, stood_for
from policy.words import is_command

Do = Literal["send", "add", "start_chat"]

NO_ACT = frozenset({"m.room.redaction", "m.reaction"})
PAGE = 1000

UNKNOWN = "{user} is in no organisation that takes part in this chat."
GONE = "The organisation of this chat is not in the policy."


class Act(NamedTuple):
    """Something that somebody did."""

    do: Do
    moment: Moment
    who: UserId
    whom: UserId | None
    decision: Decision
    """What the policy that is tried says to it."""


@dataclass
class Refused:
    """Acts of one kind, by one person in one chat, that would have been refused for the same reason."""

    do: Do
    who: str
    whom: str
    room: str
    title: str
    rules: tuple[str, ...]
    text: str
    first: Moment
    last: Moment
    times: int = 1


@dataclass
class Tried:
    """What went through the policy so far."""

    acts: Counter[str] = field(default_factory=Counter)
    refused: int = 0


async def history(store: Store, policy: Policy, *, bot: UserId, since: Moment, tried: Tried) -> AsyncIterator[Refused]:
    """What would have been refused of all that people did since that moment, chat by chat; `tried` counts along."""
    for room in await store.rooms_with(CHAT):
        replay = _Replay(policy, bot)
        found: dict[tuple[object, ...], Refused] = {}
        async for event in _events(store, room):
            for act in replay.see(event, since):
                tried.acts[act.do] += 1
                if not act.decision.allowed:
                    tried.refused += 1
                    _gather(found, policy, room, act)
        for refused in found.values():
            refused.title = replay.title or room
            yield refused


async def _events(store: Store, room: str) -> AsyncIterator[StoredEvent]:
    after = 0
    while page := await store.events(room, after=after, limit=PAGE):
        for event in page:
            yield event
        after = page[-1].arrival


def _gather(found: dict[tuple[object, ...], Refused], policy: Policy, room: str, act: Act) -> None:
    key = (act.do, act.who, act.whom, act.decision.rules, act.decision.text)
    known = found.get(key)
    if known is not None:
        known.times += 1
        known.last = act.moment
        return
    who, whom = _named(policy, act.who), _named(policy, act.whom) if act.whom else ""
    rules, text = act.decision.rules, act.decision.text
    found[key] = Refused(act.do, who, whom, room, "", rules, text, act.moment, act.moment)


def _named(policy: Policy, user: UserId) -> str:
    members = policy.accounts.get(user, ())
    return f"{members[0].name} ({members[0].id})" if members else user


class _Replay:
    """One room as it was from event to event."""

    def __init__(self, policy: Policy, bot: UserId) -> None:
        self._policy = policy
        self._bot = bot
        self._state: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._members: dict[UserId, str] = {}
        self._creator = UserId("")

    @property
    def title(self) -> str:
        """What the chat is called now."""
        return str(self._state.get(("m.room.name", ""), {}).get("name", ""))

    def see(self, event: StoredEvent, since: Moment) -> Iterator[Act]:
        """The act that the event was, if it was one, and is of the time asked about."""
        if event.origin_server_ts / 1000 >= since and event.sender != self._bot and (CHAT, "") in self._state:
            yield from self._act(event)
        self._note(event)

    def _note(self, event: StoredEvent) -> None:
        if event.state_key is None:
            return
        if event.type == "m.room.member":
            self._members[UserId(event.state_key)] = str(event.content.get("membership"))
        else:
            self._state[event.type, event.state_key] = event.content
        if event.type == "m.room.create":
            self._creator = event.sender

    def _act(self, event: StoredEvent) -> Iterator[Act]:
        moment = event.origin_server_ts / 1000
        if event.state_key is None:
            if event.type not in NO_ACT and not is_command(event.content):
                yield Act("send", moment, event.sender, None, self._judge(event.sender, None, moment))
            return
        invited = event.type == "m.room.member" and event.content.get("membership") == "invite"
        if invited and event.state_key not in (event.sender, self._bot):
            whom = UserId(event.state_key)
            if self._members.get(whom) not in ("invite", "join"):
                do: Do = "start_chat" if self._draft else "add"
                yield Act(do, moment, event.sender, whom, self._judge(event.sender, whom, moment))

    @property
    def _draft(self) -> bool:
        return self._state[CHAT, ""].get("draft") is True

    def _judge(self, sender: UserId, whom: UserId | None, moment: Moment) -> Decision:
        chat = self._chat(moment)
        if chat is None:
            return Decision(False, error=GONE)
        who = stood_for(self._policy, chat.organisation, sender, moment)
        if who is None:
            return Decision(False, error=UNKNOWN.format(user=sender))
        if whom is None:
            return decide(self._policy, Send(who.id, chat), moment)
        other = stands_for(self._policy, chat.organisation, whom, moment)
        if other is None:
            return Decision(False, error=UNKNOWN.format(user=whom))
        return decide(self._policy, self._bringing_in(who, other, chat), moment)

    def _bringing_in(self, who: Membership, other: Membership, chat: Chat) -> Question:
        return StartChat(who.id, (other.id,)) if self._draft else Add(who.id, other.id, chat)

    def _chat(self, moment: Moment) -> Chat | None:
        """With everybody who was in it; its first message found those who were named for it."""
        inside = [user for user, membership in self._members.items() if membership in ("invite", "join")]
        named = self._state.get((DRAFT, ""), {}).get("with") if self._draft else None
        held = [UserId(user) for user in named if isinstance(user, str)] if isinstance(named, list) else []
        present = [user for user in dict.fromkeys((*inside, *held)) if user != self._bot]
        former = [user for user, membership in self._members.items() if membership in ("leave", "ban")]
        chat = chat_in_room(self._policy, self._state[CHAT, ""], present, former, moment, creator=self._creator)
        return replace(chat, draft=False) if chat is not None and len(present) > 1 else chat


_DID = {"send": "wrote", "add": "added {whom}", "start_chat": "began a chat with {whom}"}


def as_text(refused: Refused) -> str:
    """What would have been refused, as a sentence."""
    day = datetime.fromtimestamp(refused.first, UTC).strftime("%Y-%m-%d %H:%M")
    times = f" ({refused.times} times)" if refused.times > 1 else ""
    did = _DID[refused.do].format(whom=refused.whom)
    rules = f" ({', '.join(refused.rules)})" if refused.rules else ""
    return f"{day}Z {refused.who} {did} in “{refused.title}”{times}: {refused.text}{rules}"


def summary(tried: Tried, days: float) -> str:
    """What all of it came to."""
    kinds = (("send", "messages"), ("add", "additions"), ("start_chat", "people in new chats"))
    acts = ", ".join(f"{tried.acts[do]:,} {what}" for do, what in kinds)
    return f"Of what was done in {days:g} days ({acts}) this policy would have refused {tried.refused:,}."
