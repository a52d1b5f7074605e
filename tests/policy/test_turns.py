"""The moments at which the policy says something else without being changed."""

from __future__ import annotations

from math import inf

import pytest

from policy.model import Moment, Policy
from policy.parse import parse
from policy.turns import next_turn, steady

DAY = 86_400
FIRST, LAST, END = 1_800_403_200.0, 1_800_403_200.0 + 3 * DAY, 1_800_403_200.0 + 13 * DAY
"""20 January 2027, the end of the 22nd, and of 1 February."""

POLICY = """
organisations:
  hill:
    name: Hill
    mobile: optional
    people:
      head: {name: Helen, role: staff, email: h@x.example, admin: system}
      kim: {name: Kim, role: staff, email: k@x.example, until: 2027-02-01}
    books: {one: {name: One, members: [head, kim]}}
    covers: [{absent: kim, stand_in: head, from: 2027-01-20, until: 2027-01-22}]
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    parsed = parse(POLICY, {}.__getitem__)
    assert isinstance(parsed, Policy), parsed
    return parsed


def test_the_next_turn_is_the_end_of_a_membership_or_a_day_of_a_cover(policy: Policy) -> None:
    moments = []
    moment = next_turn(policy, 0)
    while moment is not None:
        moments.append(moment)
        moment = next_turn(policy, moment)

    assert moments == [FIRST, LAST, END]


@pytest.mark.parametrize(
    ("now", "span"),
    [
        (0.0, (-inf, FIRST)),
        (FIRST - 1, (-inf, FIRST)),
        (FIRST, (FIRST, LAST)),
        (LAST, (LAST, END)),
        (END, (END, inf)),
    ],
)
def test_everything_is_as_it_is_from_one_turn_until_before_the_next(
    policy: Policy, now: Moment, span: tuple[Moment, Moment]
) -> None:
    assert steady(policy, now) == span


def test_without_dates_nothing_ever_turns() -> None:
    assert steady(Policy(), 0.0) == (-inf, inf)
    assert next_turn(Policy(), 0.0) is None
