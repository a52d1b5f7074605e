"""What was judged stands until the policy, the room or the date is another one.

Nearly every message is like one before it: by the same person, of the same type, into a room that nothing has changed.
Such a verdict is kept with the policy that gave it, for as long as no date in that policy turns, and beside it the very
state events it was given for. A new policy begins with nothing, and only what passed is kept: refusals are judged anew.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from policy.judge import Passes, Verdict
from policy.model import Moment, Policy, UserId
from policy.room import Attempt, Room, Stated
from policy.turns import steady

MOST = 10_000
"""State events held; Synapse by default keeps as many in memory itself."""

_KEPT = "settled"

_COMMON = frozenset({"m.room.message", "m.reaction"})
"""What is written often enough to be worth it."""


@dataclass(slots=True)
class _Settled:
    """What passed in one room."""

    state: tuple[Stated, ...]
    since: Moment
    until: Moment
    passed: set[tuple[UserId, str]] = field(default_factory=set)

    def holds(self, state: tuple[Stated, ...], now: Moment) -> bool:
        return self.since <= now < self.until and self.state == state


@dataclass(slots=True)
class _Rooms:
    rooms: dict[str, _Settled] = field(default_factory=dict)
    events: int = 0


def has_passed(
    policy: Policy, room_id: str, state: Collection[Stated], sender: UserId, event_type: str, now: Moment
) -> bool:
    """Whether an event of that type by that sender passed in exactly this state, and would again; no state event."""
    settled = _rooms(policy).rooms.get(room_id)
    return settled is not None and (sender, event_type) in settled.passed and settled.holds(tuple(state), now)


def settle(
    policy: Policy, room_id: str, state: Collection[Stated], room: Room, attempt: Attempt, verdict: Verdict, now: Moment
) -> None:
    """Remember a verdict of `judge` that depends on nothing but who writes what type of event where."""
    if verdict != Passes() or not _depends_on_nothing_else(room, attempt):
        return
    kept, now_there = _rooms(policy), tuple(state)
    settled = kept.rooms.get(room_id)
    if settled is None or not settled.holds(now_there, now):
        if kept.events + len(now_there) > MOST:
            kept.rooms.clear()
            kept.events = 0
        before = kept.rooms.pop(room_id, None)
        kept.events += len(now_there) - (len(before.state) if before else 0)
        settled = kept.rooms[room_id] = _Settled(now_there, *steady(policy, now))
    settled.passed.add((attempt.sender, attempt.type))


def _depends_on_nothing_else(room: Room, attempt: Attempt) -> bool:
    """In a draft the words count, of other events what they are about, and the bot's are checked one by one."""
    said = attempt.state_key is None and attempt.type in _COMMON
    return said and attempt.sender != room.bot and room.made and room.begun()


def _rooms(policy: Policy) -> _Rooms:
    found: _Rooms | None = policy.memo.get(_KEPT)
    if found is None:
        found = policy.memo[_KEPT] = _Rooms()
    return found
