"""The moments at which time alone changes what the policy says: a membership ends, a cover begins or ends.

Between two of them every question has one answer, whenever it is asked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from math import inf

from policy.model import Moment, Policy

STEP = 2_000
"""People between two steps: less than a millisecond."""

_KEPT = "turns"


def turn_steps(policy: Policy) -> Iterator[None]:
    """Make ready for the other questions here, in steps; what nobody made ready is made with the first of them."""
    found = {
        moment for covers in policy.stand_ins.values() for cover in covers for moment in (cover.starts, cover.ends)
    }
    people = iter(policy.people.values())
    while stretch := list(islice(people, STEP)):
        found.update([member.ends for member in stretch])
        yield
    policy.memo[_KEPT] = sorted(found - {inf})


def steady(policy: Policy, now: Moment) -> tuple[Moment, Moment]:
    """From when until before when everything is as it is now."""
    turns = _turns(policy)
    place = bisect_right(turns, now)
    return turns[place - 1] if place else -inf, turns[place] if place < len(turns) else inf


def next_turn(policy: Policy, now: Moment) -> Moment | None:
    """When time alone changes something next, if ever."""
    _, until = steady(policy, now)
    return until if until < inf else None


def _turns(policy: Policy) -> list[Moment]:
    if _KEPT not in policy.memo:
        for _ in turn_steps(policy):
            pass
    found: list[Moment] = policy.memo[_KEPT]
    return found
