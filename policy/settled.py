"""What was judged stands until the policy, the room or the date is another one.

Nearly every message is like one before it: by the same person, of the same type, into a room whose state is the same.
Such a verdict is kept with the policy that gave it, for as long as no date in that policy turns, and under the number
of the very state it was given for. A new policy begins with nothing, and only what passed is kept: refusals are judged
anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from policy.judge import Passes, Verdict
from policy.model import Moment, Policy, UserId
from policy.room import Attempt, Room
from policy.turns import steady

MOST = 10_000
"""Rooms remembered; then all are forgotten."""

StateNumber = int
"""Names one state of one room: in Synapse its state group, which never changes."""

_KEPT = "settled"

_COMMON = frozenset({"m.room.message", "m.reaction"})
"""What is written often enough to be worth it."""


@dataclass(slots=True)
class _Settled:
    """What passed in one room."""

    state: StateNumber
    since: Moment
    until: Moment
    passed: set[tuple[UserId, str]] = field(default_factory=set)

    def holds(self, state: StateNumber, now: Moment) -> bool:
        return self.state == state and self.since <= now < self.until


def settles(room: Room, attempt: Attempt, verdict: Verdict) -> bool:
    """Whether a verdict of `judge` depends on nothing but who writes what type of event in which state of the room.

    In a draft the words count, of other events what they are about, and the bot's are checked one by one.
    """
    said = attempt.state_key is None and attempt.type in _COMMON
    return said and verdict == Passes() and attempt.sender != room.bot and room.made and room.begun()


def settle(policy: Policy, room: str, state: StateNumber, sender: UserId, event_type: str, now: Moment) -> None:
    """Remember that this passed."""
    rooms = _rooms(policy)
    settled = rooms.get(room)
    if settled is None or not settled.holds(state, now):
        if len(rooms) >= MOST:
            rooms.clear()
        settled = rooms[room] = _Settled(state, *steady(policy, now))
    settled.passed.add((sender, event_type))


def has_passed(policy: Policy, room: str, state: StateNumber, sender: UserId, event_type: str, now: Moment) -> bool:
    """Whether an event of that type by that sender passed in exactly this state, and would again; no state event."""
    settled = _rooms(policy).get(room)
    return settled is not None and (sender, event_type) in settled.passed and settled.holds(state, now)


def _rooms(policy: Policy) -> dict[str, _Settled]:
    found: dict[str, _Settled] | None = policy.memo.get(_KEPT)
    if found is None:
        found = policy.memo[_KEPT] = {}
    return found
