"""What is said ahead: memberships that end, books that will have nobody, people without an account."""

from __future__ import annotations

from datetime import UTC, datetime

from policy.forewarn import warnings
from policy.model import Policy
from policy.parse import parse

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
DAY = 24 * 3600.0


def said(people: str, covers: str = "[]", members: str = "[head, p.chan]") -> list[str]:
    text = f"""\
organisations:
  hillside:
    name: Hillside Primary
    mobile: optional
    people:
      p.chan: {{name: Pat Chan, role: client, email: p@mail.example, matrix: "@p:example.org"}}
{people}
    books: {{year-1: {{name: Year 1, members: {members}}}}}
    covers: {covers}
"""
    policy = parse(text, {}.__getitem__)
    assert isinstance(policy, Policy), [str(mistake) for mistake in policy]
    return warnings(policy, NOW)


def person(identifier: str, more: str = "", matrix: bool = True) -> str:
    account = f', matrix: "@{identifier}:example.org"' if matrix else ""
    return f"      {identifier}: {{name: N, role: staff, email: {identifier}@mail.example{account}{more}}}\n"


HEAD = person("head", ", admin: system")


def test_a_policy_in_order_needs_no_warning() -> None:
    assert said(HEAD) == []


def test_active_people_without_a_matrix_id_are_named() -> None:
    assert said(HEAD + person("a", matrix=False)) == [
        "hillside: a is active without a Matrix ID: they can take no part yet"
    ]


def test_of_many_without_a_matrix_id_a_few_are_named_and_the_others_counted() -> None:
    many = "".join(person(f"a{number}", matrix=False) for number in range(8))

    assert said(HEAD + many) == [
        "hillside: a0, a1, a2, a3, a4 and 3 more are active without a Matrix ID: they can take no part yet"
    ]


def test_a_book_that_will_have_no_staff_is_told_weeks_ahead() -> None:
    assert said(HEAD + person("a", ", until: 2026-12-04"), members="[a, p.chan]") == [
        "hillside: book year-1 has clients and no staff from 2026-12-05, when the membership of hillside/a has ended: "
        "name somebody else"
    ]


def test_a_book_whose_other_staff_stay_is_no_matter() -> None:
    assert said(HEAD + person("a", ", until: 2026-12-04"), members="[a, head, p.chan]") == []


def test_an_end_far_away_is_no_matter_yet() -> None:
    assert said(HEAD + person("a", ", until: 2027-07-31"), members="[a, p.chan]") == []


def test_an_organisation_that_will_have_no_system_admin_is_told() -> None:
    warned = said(person("a", ", admin: system, until: 2026-12-04") + person("b"), members="[b, p.chan]")

    assert warned == [
        "hillside has no active system admin from 2026-12-05, when the membership of hillside/a has ended: "
        "name somebody else"
    ]


def test_a_membership_that_has_ended_is_to_be_closed() -> None:
    assert said(HEAD + person("a", ", until: 2026-11-19")) == [
        "hillside: a is past the end of the membership: set status: left"
    ]


def test_a_cover_whose_stand_in_is_gone_before_it_ends_is_told() -> None:
    covers = "[{absent: head, stand_in: a, from: 2026-12-01, until: 2026-12-19}]"

    assert said(HEAD + person("a", ", until: 2026-12-10"), covers) == [
        "hillside: book year-1 has nobody for part of 2026-12-01 to 2026-12-19: "
        "hillside/head is away and hillside/a is not there to stand in"
    ]


def test_a_cover_that_is_over_can_be_deleted() -> None:
    covers = "[{absent: head, stand_in: a, from: 2026-11-01, until: 2026-11-19}]"

    assert said(HEAD + person("a"), covers) == ["hillside: 1 cover is over and can be deleted"]
