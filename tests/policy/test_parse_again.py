"""A policy that is read again: what has not changed is not read anew, and nothing else comes out than would."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from policy.model import PersonId, Policy, UserId
from policy.parse import parse

POLICY = """
networks: {oak: {name: Oak}}
organisations:
  hill:
    name: Hill
    network: oak
    mobile: optional
    people: hill.csv
    books: {one: {name: One, members: [ann]}, two: {name: Two}}
  river:
    name: River
    network: oak
    mobile: optional
    people: river.csv
    books: {}
"""
HEADINGS = "identifier,first_name,role,email,mobile,matrix,contact_books,admin,until\n"
HILL = f"""{HEADINGS}\
head,Helen,staff,head@hill.example,,@head:hs,one;two,system,
ann,Ann,staff,ann@hill.example,,@ann:hs,,,2027-02-01
pat,Pat,client,pat@home.example,,@pat:hs,two,,
"""
RIVER = f"""{HEADINGS}\
ben,Ben,staff,ben@river.example,,@ben:hs,,system,
pat,Pat,staff,pat@river.example,,@pat:hs,,,
"""
SHEETS = {"hill.csv": HILL, "river.csv": RIVER}
PAT, ANN = PersonId("hill/pat"), PersonId("hill/ann")


def good(text: str, sheets: Mapping[str, str], before: Policy | None = None) -> Policy:
    parsed = parse(text, sheets.__getitem__, before=before)
    assert isinstance(parsed, Policy), parsed
    return parsed


def mistakes(text: str, sheets: Mapping[str, str], before: Policy | None = None) -> list[str]:
    parsed = parse(text, sheets.__getitem__, before=before)
    assert not isinstance(parsed, Policy)
    return [str(mistake) for mistake in parsed]


def test_who_stands_in_a_spreadsheet_that_has_not_changed_is_the_same_object() -> None:
    before = good(POLICY, SHEETS)

    after = good(POLICY, SHEETS | {"river.csv": RIVER.replace("Ben", "Benjamin")}, before)

    assert after.people[PAT] is before.people[PAT]
    assert after.people[PersonId("river/ben")].name == "Benjamin"
    assert after.people.keys() == before.people.keys()


@pytest.mark.parametrize(
    ("text", "sheets"),
    [
        (POLICY, {}),
        (POLICY.replace("Hill", "Hillside"), {}),
        (POLICY.replace("[ann]", "[ann, pat]"), {}),
        (POLICY.replace("name: Hill", "name: Hill\n    timezone: Pacific/Auckland"), {}),
        (POLICY.replace("name: Two", "name: Two, clients_see_each_other: false"), {}),
        (POLICY.replace("books: {}", "books: {three: {name: Three, members: [ben, pat]}}"), {}),
        (POLICY, {"hill.csv": HILL.replace("@pat:hs", "@other:hs")}),
        (POLICY, {"river.csv": RIVER.replace("@ben:hs", "@ann:hs")}),
        (POLICY, {"hill.csv": f"{HILL}zoe,Zoe,client,zoe@home.example,,@zoe:hs,one,,\n"}),
    ],
    ids=[
        *("nothing", "a name", "a book's members", "the time zone", "a book's setting", "the other's books"),
        *("a Matrix ID", "a Matrix ID of the other", "a row"),
    ],
)
def test_it_says_what_it_would_say_had_it_been_read_for_the_first_time(text: str, sheets: Mapping[str, str]) -> None:
    before = good(POLICY, SHEETS)
    now = SHEETS | sheets
    first = parse(text, now.__getitem__)

    again = parse(text, now.__getitem__, before=before)

    if isinstance(first, Policy):
        assert again == first
        assert isinstance(again, Policy)
        assert list(again.people) == list(first.people)
        assert list(again.accounts) == list(first.accounts)
    else:
        assert not isinstance(again, Policy)
        assert list(map(str, again)) == list(map(str, first))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("two: {name: Two}", ""), "unknown book “two”"),
        (("mobile: optional\n    people: hill.csv", "mobile: required\n    people: hill.csv"), "has no mobile"),
        (("people: hill.csv", "people: hill.csv\n    invitations: {staff_domains: [other.example]}"), "(INV-13)"),
        (("[ann]", "[anne]"), "unknown person “anne”"),
    ],
)
def test_rows_that_were_right_are_wrong_when_what_they_are_checked_against_changes(
    change: tuple[str, str], says: str
) -> None:
    before = good(POLICY, SHEETS)

    text = POLICY.replace(*change)

    assert says.replace("“", '"').replace("”", '"') in " ".join(mistakes(text, SHEETS, before)).replace(
        "“", '"'
    ).replace("”", '"')
    assert mistakes(text, SHEETS, before) == mistakes(text, SHEETS)


def test_a_mistake_in_one_spreadsheet_leaves_nothing_behind_for_the_next_reading() -> None:
    before = good(POLICY, SHEETS)
    unstaffed = POLICY.replace("[ann]", "[nobody]")
    assert mistakes(unstaffed, SHEETS, before)
    without_staff = HILL.replace("one;two,system", "two,system").replace("pat@home.example,,@pat:hs,two", "p@h.x,,,one")

    told = mistakes(POLICY.replace("[ann]", "[]"), SHEETS | {"hill.csv": without_staff}, before)

    assert any("BOOK-4" in one for one in told)


def test_somebody_with_memberships_in_both_keeps_them_in_the_order_of_the_file() -> None:
    before = good(POLICY, SHEETS)

    after = good(POLICY, SHEETS | {"hill.csv": HILL.replace("Pat", "Patricia")}, before)

    assert [member.id for member in after.accounts[UserId("@pat:hs")]] == [PAT, "river/pat"]
    assert after.accounts[UserId("@pat:hs")][0].name == "Patricia"


def test_a_role_is_compared_with_the_last_good_policy_also_where_only_one_spreadsheet_changed() -> None:
    before = good(POLICY, SHEETS)

    told = mistakes(POLICY, SHEETS | {"hill.csv": HILL.replace("ann,Ann,staff", "ann,Ann,client")}, before)

    assert any("ROLE-6" in one for one in told)


def test_a_third_reading_knows_what_the_second_did_not_read() -> None:
    first = good(POLICY, SHEETS)
    second = good(POLICY, SHEETS | {"river.csv": RIVER.replace("Ben", "Benjamin")}, first)

    third = good(POLICY, SHEETS, second)

    assert third == first
    assert third.people[ANN] is first.people[ANN]
