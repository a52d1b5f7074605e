"""Why two people may or may not meet, where that stands, and what would alter it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import pytest

from policy.decide import decide
from policy.explain import Explanation, explain, lines
from policy.locate import Places, places
from policy.model import PersonId, Policy
from policy.parse import parse
from policy.question import StartChat

NOW = 1_796_000_000.0  # 2026-11-30

POLICY = """\
networks:
  trust: {name: Trust}
organisations:
  hill:
    name: Hill School
    network: trust
    mobile: optional
    people: hill.csv
    books:
      year-1: {name: Year 1, members: [kim]}
      year-2:
        name: Year 2
        members:
          - lee
          - pat
      support: {name: Support, clients_see_each_other: false, members: [kim]}
    covers:
      - {absent: kim, stand_in: sam, from: 2026-11-28, until: 2026-12-04}
  river:
    name: River School
    network: trust
    mobile: optional
    people:
      ode: {name: Ben Ode, role: staff, admin: system, email: ode@river.example}
      ida: {name: Ida Away, role: staff, email: ida@river.example, unlisted: true}
    books: {}
  alone:
    name: Alone School
    mobile: optional
    people:
      lone: {name: Lone Head, role: staff, admin: system, email: lone@alone.example}
      cy: {name: Cy Client, role: client, email: cy@alone.example}
    books:
      all: {name: All, members: [lone, cy]}
"""
CSV = """\
identifier,name,role,email,contact_books,admin,status,until
head,Ada Head,staff,head@hill.example,,system,,
kim,Kim Teacher,staff,kim@hill.example,,,,
lee,Lee Teacher,staff,lee@hill.example,,,,
sam,Sam Stand-In,staff,sam@hill.example,,,,
sue,Sue Suspended,staff,sue@hill.example,,,suspended,
end,Eve Ended,staff,end@hill.example,,,,2026-11-01
inv,Ivy Invited,client,inv@hill.example,year-1,,invited,
pat,Pat Parent,client,pat@hill.example,,,,
quin,Quin Parent,client,quin@hill.example,year-1;support,,,
ray,Ray Parent,client,ray@hill.example,support,,,
""".replace(",name,", ",first_name,")

BESIDE = {"hill.csv": CSV}


def policy(text: str = POLICY) -> Policy:
    parsed = parse(text, BESIDE.__getitem__)
    assert isinstance(parsed, Policy), [str(mistake) for mistake in parsed]
    return parsed


def located() -> Places:
    return places(POLICY, BESIDE.__getitem__)


def explained(one: str, other: str, text: str = POLICY) -> Explanation:
    return explain(policy(text), PersonId(one), PersonId(other), NOW, places(text, BESIDE.__getitem__))


def proposed(one: str, other: str, text: str = POLICY) -> list[str]:
    return [" + ".join(edit.text for edit in edits) for edits in explained(one, other, text).changes]


def facts(one: str, other: str) -> list[str]:
    return [f"{fact.place or ''} {fact.text}".strip() for fact in explained(one, other).facts]


def allowed(one: str, other: str) -> dict[str, bool]:
    first = explained(one, other).answers[:4]
    return {answer.do: answer.decision.allowed for answer in first}


def test_what_puts_somebody_in_a_book_is_named_with_file_line_and_column() -> None:
    assert facts("hill/pat", "hill/quin") == [
        "hill.csv:9:1 says that pat (Pat Parent) is client of Hill School",
        "policy.yaml:15:13 puts pat in year-2",
        "hill.csv:10:1 says that quin (Quin Parent) is client of Hill School",
        "hill.csv:10:5 puts quin in support and year-1",
    ]


def test_a_cover_a_status_and_an_end_are_named_with_their_lines() -> None:
    assert "policy.yaml:18:9 says that hill/sam stands in for hill/kim from 2026-11-28 to 2026-12-04" in facts(
        "hill/sam", "hill/quin"
    )
    assert "hill.csv:6:7 says that sue is suspended" in facts("hill/sue", "hill/quin")
    assert "hill.csv:7:8 says that the membership of end ended with 2026-11-01" in facts("hill/end", "hill/quin")
    assert "policy.yaml:16:7 is support, in which clients do not see each other" in facts("hill/quin", "hill/ray")
    assert "alone is in no network" in facts("hill/head", "alone/lone")


def test_all_four_questions_are_answered_both_ways() -> None:
    assert allowed("hill/kim", "hill/quin") == {"see": True, "find": True, "start_chat": True, "add": True}
    assert allowed("hill/lee", "hill/quin") == {"see": False, "find": False, "start_chat": False, "add": False}
    assert allowed("hill/head", "river/ode") == {"see": False, "find": True, "start_chat": True, "add": True}
    assert allowed("hill/head", "river/ida") == {"see": False, "find": False, "start_chat": True, "add": True}
    assert [answer.who for answer in explained("hill/kim", "hill/quin").answers[4:]] == ["hill/quin"] * 4


def test_a_client_comes_into_a_book_of_the_other_the_smallest_first() -> None:
    assert proposed("hill/pat", "hill/quin") == [
        "add hill/quin to book year-2",
        "add hill/pat to book year-1",
    ]


def test_a_book_in_which_clients_do_not_see_each_other_helps_only_when_that_changes() -> None:
    assert proposed("hill/quin", "hill/ray") == [
        "add hill/ray to book year-1",
        "let clients see each other in book support (clients_see_each_other: true)",
    ]


def test_whoever_is_suspended_and_shares_no_book_needs_both_undone() -> None:
    assert proposed("hill/sue", "hill/pat") == ["unsuspend hill/sue + add hill/sue to book year-2"]


def test_an_invitation_has_to_be_accepted_and_an_end_moved() -> None:
    assert proposed("hill/kim", "hill/inv") == ["have hill/inv accept the invitation (status: active)"]
    assert proposed("hill/head", "hill/end") == ["move the end date of hill/end (until: 2026-11-01) to a later day"]


def test_organisations_come_into_one_network() -> None:
    assert proposed("hill/head", "alone/lone") == ["put alone into network trust"]
    assert proposed("hill/head", "alone/lone", POLICY.replace("    network: trust\n", "")) == [
        "put hill and alone into one network (trust)"
    ]


def test_for_a_client_of_another_organisation_nothing_small_helps_and_that_is_said() -> None:
    found = explained("hill/head", "alone/cy")

    assert found.changes == ()
    assert list(lines(found))[-1] == (
        "No small change would allow it (hill/head may start a chat with alone/cy): clients reach people of "
        "their own organisation only (EXT-1); one of the two needs a membership there."
    )


def test_who_has_left_for_good_is_not_proposed_to_come_back_but_to_be_invited_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """USR-2."""
    monkeypatch.setitem(BESIDE, "hill.csv", f"{CSV}gus,Gus Gone,client,gus@hill.example,year-1,,left,\n")

    assert proposed("hill/kim", "hill/gus") == ["invite Gus Gone anew under another identifier, as hill/gus has left"]


def test_colleagues_without_a_book_are_told_how_to_be_on_the_contact_list() -> None:
    found = explained("hill/head", "hill/kim")

    assert found.altering.do == "see"
    assert [edits[0].text for edits in found.changes] == [
        "add hill/head to book support",
        "add hill/head to book year-1",
    ]


def test_what_is_allowed_is_undone_by_leaving_the_book_unless_that_breaks_a_rule() -> None:
    """Kim is the only staff of year 1 (BOOK-11), and Quin has another book to be in (BOOK-12)."""
    assert "take hill/kim out of book year-1" not in " ".join(proposed("hill/kim", "hill/quin"))
    assert proposed("hill/lee", "hill/pat") == []
    assert proposed("hill/head", "river/ode") == [
        "take hill out of network trust",
        "take river out of network trust",
    ]


PAIRS = [("hill/pat", "hill/quin"), ("hill/quin", "hill/ray"), ("hill/lee", "hill/quin"), ("hill/sue", "hill/pat"),
         ("hill/head", "alone/lone"), ("hill/kim", "hill/inv"), ("hill/head", "river/ode")]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_every_change_that_is_proposed_turns_the_answer_round(one: str, other: str) -> None:
    found = explained(one, other)
    question = StartChat(PersonId(one), (PersonId(other),))

    assert found.changes
    for edits in found.changes:
        after = reduce(lambda before, edit: edit.made(before), edits, policy())
        assert decide(after, question, NOW).allowed is not decide(policy(), question, NOW).allowed


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_no_part_of_a_proposed_change_is_enough_by_itself(one: str, other: str) -> None:
    question = StartChat(PersonId(one), (PersonId(other),))
    before = decide(policy(), question, NOW).allowed

    for edits in explained(one, other).changes:
        for left_out in edits if len(edits) > 1 else ():
            rest: Iterable[object] = [edit for edit in edits if edit is not left_out]
            after = reduce(lambda given, edit: edit.made(given), rest, policy())  # type: ignore[attr-defined]
            assert decide(after, question, NOW).allowed is before


def test_the_policy_that_was_asked_is_left_as_it_was() -> None:
    given = policy()

    explain(given, PersonId("hill/sue"), PersonId("hill/pat"), NOW)

    assert given == policy()


def test_without_places_the_same_is_said_without_lines() -> None:
    found = explain(policy(), PersonId("hill/pat"), PersonId("hill/quin"), NOW)

    assert "- puts pat in year-2" in list(lines(found))
    assert all(edit.place is None for edits in found.changes for edit in edits)


def test_places_are_found_for_people_in_yaml_and_in_csv() -> None:
    found = located()

    assert str(found.person(PersonId("river/ode"))) == "policy.yaml:24:7"
    assert str(found.person(PersonId("river/ida"), "unlisted")) == "policy.yaml:25:78"
    assert str(found.person(PersonId("hill/quin"), "contact_books")) == "hill.csv:10:5"
    assert found.membership(PersonId("hill/quin"), "year-2") is None
    assert str(found.books["hill", "year-2"]) == "policy.yaml:11:7"
    assert str(found.networks["trust"]) == "policy.yaml:2:3"
