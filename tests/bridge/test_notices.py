"""Covers and ends of memberships are told once, on their day in the organisation's own time zone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from bridge.notices import Notices
from bridge.store import Store
from policy.model import Policy, UserId
from policy.parse import parse

ZONE = ZoneInfo("Pacific/Auckland")

POLICY = """
organisations:
  hill:
    name: Hill School
    mobile: optional
    timezone: Pacific/Auckland
    people:
      head: {name: Ada Head, role: staff, admin: system, email: head@hill.example, matrix: "@head:hill.example"}
      kim: {name: Kim Away, role: staff, email: kim@hill.example, matrix: "@kim:hill.example"}
      sam: {name: Sam Stand-In, role: staff, email: sam@hill.example, matrix: "@sam:hill.example", until: 2026-12-20}
      pat: {name: Pat Parent, role: client, email: pat@hill.example}
    books:
      year-1: {name: Year 1, members: [kim, pat]}
      year-2: {name: Year 2, members: [sam]}
    covers:
      - {absent: kim, stand_in: sam, from: 2026-12-01, until: 2026-12-04}
"""


def policy(text: str = POLICY) -> Policy:
    parsed = parse(text, lambda name: (_ for _ in ()).throw(FileNotFoundError(name)))
    assert isinstance(parsed, Policy), parsed
    return parsed


def at(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=ZONE).timestamp()


class Told:
    """Who was told what; the same occasion twice is told once, as by the homeserver."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self._occasions: set[tuple[str, str]] = set()

    async def tell(self, user: UserId, text: str, *, about: str) -> None:
        if (user, about) not in self._occasions:
            self._occasions.add((user, about))
            self.said.append((user, text))

    async def tell_admins(self, organisation: str, text: str, *, about: str) -> None:
        await self.tell(UserId(f"the admins of {organisation}"), text, about=about)

    def since_last(self) -> dict[str, str]:
        said, self.said = self.said, []
        return dict(said)


class Days:
    """The notices, at whatever moment the test sets."""

    def __init__(self, store: Store) -> None:
        self.told = Told()
        self.now = 0.0
        self.notices = Notices(store, self.told, clock=lambda: self.now)  # type: ignore[arg-type]

    async def on(self, day: str, text: str = POLICY) -> dict[str, str]:
        """What is said when that moment comes."""
        self.now = at(day)
        await self.notices.tell(policy(text))
        return self.told.since_last()


@pytest.fixture
def days(store: Store) -> Days:
    return Days(store)


async def test_both_people_and_the_admins_are_told_when_a_cover_begins_and_when_it_is_over(days: Days) -> None:
    assert await days.on("2026-11-30T23:59:59") == {}

    begun = await days.on("2026-12-01T00:00:00")
    assert begun == {
        "@sam:hill.example": "You stand in for Kim Away from 2026-12-01 to 2026-12-04: you share their contact books "
        "until then (Year 1).",
        "@kim:hill.example": "Sam Stand-In stands in for you from 2026-12-01 to 2026-12-04 and shares your contact "
        "books until then.",
        "the admins of hill": "Sam Stand-In stands in for Kim Away from 2026-12-01 to 2026-12-04.",
    }
    assert await days.on("2026-12-04T23:59:59") == {}

    over = await days.on("2026-12-05T00:00:00")
    assert set(over) == {"@sam:hill.example", "@kim:hill.example", "the admins of hill"}
    assert over["the admins of hill"] == "Sam Stand-In stands in for Kim Away no longer."
    assert await days.on("2026-12-06T12:00:00") == {}


@pytest.mark.parametrize(
    ("day", "first", "over"),
    [
        ("2027-04-04", "2027-04-03T11:00:00+00:00", "2027-04-04T12:00:00+00:00"),
        ("2027-09-26", "2027-09-25T12:00:00+00:00", "2027-09-26T11:00:00+00:00"),
    ],
    ids=["a day of 25 hours", "a day of 23 hours"],
)
async def test_a_cover_of_the_day_on_which_the_clock_is_changed_lasts_from_midnight_to_midnight(
    days: Days, day: str, first: str, over: str
) -> None:
    text = POLICY.replace("from: 2026-12-01, until: 2026-12-04", f"from: {day}, until: {day}").replace(
        "2026-12-20", day
    )
    begins, ends = (datetime.fromisoformat(moment).timestamp() for moment in (first, over))

    told = []
    for moment in (begins - 1, begins, ends - 1, ends):
        days.now = moment
        await days.notices.tell(policy(text))
        told.append(sorted(days.told.since_last()))

    both = ["@kim:hill.example", "@sam:hill.example", "the admins of hill"]
    assert told == [[], both, [], both]


async def test_a_restart_tells_nothing_again(days: Days, store: Store) -> None:
    await days.on("2026-12-02T12:00:00")

    assert await Days(store).on("2026-12-02T13:00:00") == {}


async def test_a_cover_that_is_taken_out_of_the_file_is_over_at_once(days: Days) -> None:
    await days.on("2026-12-02T12:00:00")

    over = await days.on("2026-12-02T13:00:00", POLICY[: POLICY.index("    covers:")])

    assert over["@kim:hill.example"] == "Sam Stand-In stands in for you no longer."


async def test_whose_membership_ends_is_told_with_the_admins_on_the_day_after_the_last(days: Days) -> None:
    await days.on("2026-12-06T12:00:00")
    assert await days.on("2026-12-20T23:59:59") == {}

    ended = await days.on("2026-12-21T00:00:00")

    assert ended == {
        "@sam:hill.example": "Your membership of Hill School has ended with 2026-12-20. Please ask its office.",
        "the admins of hill": "These memberships have ended (1):\n- Sam Stand-In (hill/sam), until 2026-12-20",
    }
    assert await days.on("2026-12-22T12:00:00") == {}


async def test_what_was_over_before_the_bridge_came_is_no_news(days: Days) -> None:
    assert await days.on("2027-01-10T12:00:00") == {}


async def test_a_later_end_is_told_anew(days: Days) -> None:
    await days.on("2026-12-06T12:00:00")
    await days.on("2026-12-21T12:00:00")
    longer = POLICY.replace("until: 2026-12-20", "until: 2027-01-31")

    assert await days.on("2026-12-22T12:00:00", longer) == {}
    assert "@sam:hill.example" in await days.on("2027-02-01T00:00:00", longer)


async def test_without_a_policy_nothing_begins_or_is_over(days: Days) -> None:
    await days.on("2026-12-02T12:00:00")

    days.now = at("2026-12-03T12:00:00")
    await days.notices.tell(Policy())

    assert days.told.since_last() == {}
