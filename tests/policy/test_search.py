"""The people search against a reader of the whole list, and the promises a viewer notices."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import search as search_module
from policy.decision import Decision, Found
from policy.model import Book, Cover, Membership, Moment, Network, Organisation, PersonId, Policy
from policy.question import Search
from policy.reach import present, see
from policy.search import fold, index_steps, search

NOW: Moment = 1000.0
NAMES = ("Hillside Primary", "Riverside Academy", "Hill School", "Anna Trust", "Ode Primary")
FIRST = ("Ben", "Anna", "Anne-Marie", "Élodie", "Bo", "Søren", "Annabel", "Łucja", "Ann", "O")
LAST = ("Ode", "Bennett", "O'Neill", "Annan", "Müller", "Hill", "Bo", "Strauß", "", "de la Anna")
TEXTS = (*"abenolz", "an", "ann", "anna", "b o", "ode ben", "hill", "prim", "ann prim", "ben riverside", "nn", "ode o")
TEXTS = (
    *TEXTS,
    "oneill",
    "o'neill",
    "anne m",
    "ELODIE",
    "soren",
    "lucja",
    "müller",
    "strauss",
    "ide",
    "an an",
    "nn ode",
)


def person(organisation: str, identifier: str, name: str, **fields: Any) -> Membership:
    values: dict[str, Any] = {"role": "staff", "matrix": None, "books": frozenset(), "status": "active"} | fields
    return Membership(PersonId(f"{organisation}/{identifier}"), organisation, identifier, name, **values)


def policy_of(
    people: Sequence[Membership],
    networks: Sequence[str | None] = ("trust", "trust", None),
    closed: frozenset[tuple[str, str]] = frozenset(),
    covers: Sequence[Cover] = (),
) -> Policy:
    """Organisations o0, o1, ... with the names above."""
    organisations = {}
    for nth, network in enumerate(networks):
        home = f"o{nth}"
        books = {book: book_of(home, book, people) for one in people if one.organisation == home for book in one.books}
        organisations[home] = Organisation(home, NAMES[nth], network, books=books, rank=nth)
    return Policy(
        networks={one: Network(one, one) for one in networks if one},
        organisations=organisations,
        people={one.id: one for one in people},
        stand_ins={one.stand_in: tuple(c for c in covers if c.stand_in == one.stand_in) for one in covers},
        closed_books=closed,
    )


def book_of(home: str, book: str, people: Sequence[Membership]) -> Book:
    members = frozenset(one.id for one in people if one.organisation == home and book in one.books)
    return Book(home, book, book.title(), "", True, members)


def cover(absent: Membership, stand_in: Membership, starts: Moment, ends: Moment) -> Cover:
    return Cover(absent.id, stand_in.id, date(2026, 1, 1), date(2026, 1, 2), starts, ends)


def find(policy: Policy, who: str, text: str, limit: int = 20, now: Moment = NOW) -> Decision:
    return search(policy, Search(PersonId(who), text, limit), now)


def names(decision: Decision) -> list[str]:
    return [one.name for one in decision.people or ()]


# The whole list, read from its beginning to its end.


def reading(policy: Policy, viewer: Membership, text: str, limit: int, now: Moment) -> list[PersonId]:
    found = []
    for one in policy.people.values():
        rank = rank_of(fold(one.name), fold(policy.organisations[one.organisation].name), fold(text))
        if rank is not None and may_find(policy, viewer, one, now):
            found.append((rank, fold(one.name), fold(policy.organisations[one.organisation].name), one.id))
    return [entry[3] for entry in sorted(found)[:limit]]


def rank_of(name: str, organisation: str, text: str) -> int | None:
    if name.startswith(text):
        return 0
    ranks = [word_rank(name, organisation, word) for word in text.split()]
    return None if None in ranks else max(rank for rank in ranks if rank)


def word_rank(name: str, organisation: str, word: str) -> int | None:
    if any(one.startswith(word) for one in name.split()):
        return 1
    if any(one.startswith(word) for one in organisation.split()):
        return 2
    return 3 if word in name else None


def may_find(policy: Policy, viewer: Membership, one: Membership, now: Moment) -> bool:
    if see(policy, viewer, one, now):
        return True
    if viewer.role == "client" or one.role == "client" or viewer.id == one.id or not present(one, now):
        return False
    ours, theirs = (policy.organisations[home] for home in (viewer.organisation, one.organisation))
    return ours is theirs or (ours.network is not None and ours.network == theirs.network and not one.unlisted)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    people = []
    for nth in range(draw(st.integers(1, 12))):
        home = f"o{draw(st.integers(0, 4))}"
        name = f"{draw(st.sampled_from(FIRST))} {draw(st.sampled_from(LAST))}"
        people.append(
            person(
                home,
                f"p{nth}",
                name,
                role=draw(st.sampled_from(["staff", "client"])),
                books=draw(st.frozensets(st.sampled_from(["red", "blue", "green"]))),
                status=draw(st.sampled_from(["active"] * 4 + ["suspended", "invited", "left"])),
                ends=draw(st.sampled_from([inf, inf, NOW - 1, NOW, NOW + 1])),
                unlisted=draw(st.booleans()),
            )
        )
    covers = [
        cover(absent, stand_in, *draw(st.sampled_from([(NOW, NOW + 1), (NOW + 1, NOW + 2), (NOW - 1, NOW)])))
        for absent, stand_in in draw(st.lists(st.tuples(st.sampled_from(people), st.sampled_from(people)), max_size=2))
        if absent.organisation == stand_in.organisation and absent.id != stand_in.id
    ]
    closed = draw(st.frozensets(st.tuples(st.sampled_from(["o0", "o1"]), st.sampled_from(["red", "blue"]))))
    networks = draw(st.lists(st.sampled_from(["trust", "other", None]), min_size=5, max_size=5))
    return policy_of(people, networks, closed, covers)


texts = st.sampled_from(TEXTS) | st.text("abenol -'é", min_size=1, max_size=6).filter(fold)


@pytest.mark.parametrize("read_through", [1500, 0], ids=["contacts read through", "contacts looked up"])
@pytest.mark.parametrize("few", [True, False], ids=["places listed", "places as bits"])
@given(policy=policies(), text=texts, limit=st.integers(1, 25))
def test_search_finds_whom_a_reader_of_the_whole_list_finds_in_the_same_order(
    read_through: int, few: bool, policy: Policy, text: str, limit: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "_READ_THROUGH", read_through)
        if not few:
            patch.setattr(search_module, "_DENSE", 1000)
            patch.setattr(search_module, "_FEW", 1)
            patch.setattr(search_module, "_BLOCK", 8)
        for viewer in policy.people.values():
            if viewer.status == "active" and viewer.ends > NOW:
                people = find(policy, viewer.id, text, limit).people or ()

                assert reading(policy, viewer, text, limit, NOW) == [one.person for one in people]


@given(policy=policies(), text=texts)
def test_nobody_who_may_not_act_finds_anybody(policy: Policy, text: str) -> None:
    for viewer in policy.people.values():
        if viewer.status != "active" or viewer.ends <= NOW:
            decision = find(policy, viewer.id, text)

            assert not decision.allowed
            assert decision.rules[0] in {"INV-4", "USR-1", "USR-2"}
            assert decision.people == ()


@given(policy=policies())
def test_an_index_made_in_steps_finds_the_same(policy: Policy) -> None:
    for _ in index_steps(policy):
        assert policy.memo == {}
    ready = policy.memo["directory"]
    viewer = next(iter(policy.people.values()))

    find(policy, viewer.id, "a")
    list(index_steps(policy))

    assert policy.memo["directory"] is ready


def test_what_is_remembered_for_searching_makes_no_policy_another() -> None:
    searched, other = policy_of([person("o0", "a", "Ann")]), policy_of([person("o0", "a", "Ann")])

    find(searched, "o0/a", "ann")

    assert searched == other


def test_a_changed_policy_is_searched_afresh() -> None:
    policy = policy_of([person("o0", "me", "Me"), person("o0", "a", "Ann")])
    find(policy, "o0/me", "ann")

    changed = replace(policy, people={**policy.people, PersonId("o0/a"): person("o0", "a", "Zoe")})

    assert not find(changed, "o0/me", "ann").allowed
    assert names(find(changed, "o0/me", "zoe")) == ["Zoe"]


def test_frequent_letters_are_kept_as_bits_and_rare_ones_as_places() -> None:
    people = [person("o0", f"p{nth}", f"Zed Ann {nth}") for nth in range(200)]
    policy = policy_of([person("o0", "me", "Quentin"), *people])
    find(policy, "o0/me", "ann")

    index = policy.memo["directory"].colleagues["o0"]

    assert {"ann", " an", "z"} <= index.dense.keys()
    assert {"que", " qu", "q"} <= index.sparse.keys()


SCHOOL = policy_of(
    [
        person("o0", "head", "Hanna Head", books=frozenset({"year-1"})),
        person("o0", "anna", "Anna Berg"),
        person("o0", "hidden", "Annabel Hidden", unlisted=True),
        person("o0", "mum", "Annegret Chan", role="client", books=frozenset({"year-1"})),
        person("o0", "dad", "Joann Diaz", role="client", books=frozenset({"year-1", "chess"})),
        person("o0", "far", "Ann Faraway", role="client", books=frozenset({"year-2"})),
        person("o0", "new", "Ann Invited", status="invited"),
        person("o0", "gone", "Ann Gone", status="left"),
        person("o0", "away", "Berta Ann", status="suspended"),
        person("o1", "ann", "Ann Outside"),
        person("o1", "shy", "Ann Shy", unlisted=True),
        person("o1", "pa", "Ann Parent", role="client", books=frozenset({"year-1"})),
        person("o2", "ann", "Ann Stranger"),
    ]
)


def test_names_that_begin_so_come_before_words_that_do_and_those_before_the_rest() -> None:
    assert names(find(SCHOOL, "o0/head", "ann")) == [
        "Ann Outside",
        "Anna Berg",
        "Annabel Hidden",
        "Annegret Chan",
        "Berta Ann",
        "Joann Diaz",
    ]


def test_an_organisation_is_listed_by_its_name_before_names_with_the_word_elsewhere() -> None:
    people = [
        person("o0", "me", "Me"),
        person("o1", "zoe", "Zoe Last"),
        person("o0", "upriver", "Max Upriver"),
        person("o0", "river", "Max River"),
    ]

    assert names(find(policy_of(people), "o0/me", "river")) == ["Max River", "Zoe Last", "Max Upriver"]


@pytest.mark.parametrize("text", ["Riverside Academy", "academy", "ACAD river", "outside academy", "academy ann"])
def test_staff_find_staff_of_their_network_by_the_name_of_the_organisation(text: str) -> None:
    assert find(SCHOOL, "o0/head", text).people == (
        Found(PersonId("o1/ann"), "Ann Outside", "Riverside Academy", "E", True),
    )


def test_nothing_outside_the_network_is_found() -> None:
    for text in ("stranger", "hill school"):
        decision = find(SCHOOL, "o0/head", text)

        assert decision.rules == ("DIR-3",)
        assert "invited first" in decision.text
    assert find(SCHOOL, "o2/ann", "outside").rules == ("DIR-3",)


def test_a_client_finds_contacts_only() -> None:
    assert sorted(names(find(SCHOOL, "o0/mum", "a"))) == ["Hanna Head", "Joann Diaz"]
    for text in ("riverside", "outside", "berg", "faraway", "annegret"):
        decision = find(SCHOOL, "o0/mum", text)

        assert not decision.allowed
        assert decision.rules == ("DIR-2",)
        assert "contact list at Hillside Primary" in decision.text
        assert decision.people == ()


def test_badges_are_relative_to_the_viewer_and_suspended_people_are_unavailable() -> None:
    shown = {one.person: (one.badge, one.available) for one in find(SCHOOL, "o0/head", "ann").people or ()}

    assert shown["o0/anna"] == ("S", True)
    assert shown["o1/ann"] == ("E", True)
    assert shown["o0/mum"] == ("C", True)
    assert shown["o0/away"] == ("S", False)
    assert [one.badge for one in find(SCHOOL, "o1/ann", "hanna").people or ()] == ["E"]


def test_unlisted_people_are_found_at_home_only() -> None:
    assert names(find(SCHOOL, "o0/head", "hidden")) == ["Annabel Hidden"]
    assert not find(SCHOOL, "o1/ann", "hidden").allowed


def test_a_stand_in_finds_and_is_found_while_the_cover_lasts() -> None:
    absent = person("o0", "t", "Tess Teacher", books=frozenset({"year-1"}))
    stand_in = person("o0", "s", "Stan Standin")
    client = person("o0", "c", "Cleo Client", role="client", books=frozenset({"year-1"}))
    policy = policy_of([absent, stand_in, client], covers=[cover(absent, stand_in, NOW, NOW + 10)])

    assert names(find(policy, "o0/c", "stan")) == ["Stan Standin"]
    assert names(find(policy, "o0/s", "cleo")) == ["Cleo Client"]
    assert not find(policy, "o0/c", "stan", now=NOW + 10).allowed
    assert not find(policy, "o0/s", "cleo", now=NOW - 1).allowed


def test_a_book_that_keeps_clients_apart_shows_them_staff_alone() -> None:
    red = frozenset({"red"})
    people = [
        person("o0", "s", "Sam Staff", books=red),
        person("o0", "c", "Cleo", role="client", books=red),
        person("o0", "d", "Sandy", role="client", books=red),
    ]

    assert names(find(policy_of(people, closed=frozenset({("o0", "red")})), "o0/c", "sa")) == ["Sam Staff"]
    assert names(find(policy_of(people), "o0/c", "sa")) == ["Sam Staff", "Sandy"]


@pytest.mark.parametrize("text", ["", "   ", "\t", "-", "''"])
def test_without_a_name_the_answer_asks_for_one(text: str) -> None:
    assert find(SCHOOL, "o0/head", text).rules == ("DIR-3",)
    assert find(SCHOOL, "o0/mum", text).rules == ("DIR-2",)
    assert find(SCHOOL, "o0/mum", text).text.startswith("Please type the name")


@pytest.mark.parametrize(
    "text", ["x" * 65536, "é" * 65536, "\ufdfa" * 65536, "a " * 32768, "\ud800", "\0", "%_*[", "\u202e"]
)
def test_texts_nobody_means_find_nobody_and_harm_nothing(text: str) -> None:
    assert not find(SCHOOL, "o0/head", text).allowed


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Élodie Müller", "elodie muller"),
        ("Elodie Muller", "ÉLODIE MÜLLER"),
        ("Søren Strauß", "soren strauss"),
        ("Łucja Đorđević", "lucja dordevic"),
        ("Þór Æsir", "thor aesir"),
        ("İpek Işık", "ipek isik"),
        ("Anne-Marie O’Neill", "anne marie oneill"),
        ("Anne Marie ONeill", "anne-marie o'neill"),
        ("ΝΙΚΟΣ", "νίκος"),
        ("Фёдор", "федор"),
        ("김민수", unicodedata.normalize("NFD", "김민")),
        ("ﬁona", "FIONA"),
        ("山田 太郎", "太"),
    ],
)
def test_case_accents_and_what_people_leave_out_do_not_matter(name: str, text: str) -> None:
    policy = policy_of([person("o0", "me", "Zz"), person("o0", "other", name)])

    assert names(find(policy, "o0/me", text)) == [name]


@pytest.mark.parametrize("text", ["ode", "ben ode", "ode ben", "en od", "b od", "ben hillside", "primary ode"])
def test_every_word_has_to_match_in_whatever_order(text: str) -> None:
    policy = policy_of([person("o0", "me", "Zz"), person("o0", "ben", "Ben Ode"), person("o0", "bea", "Bea Low")])

    assert names(find(policy, "o0/me", text)) == ["Ben Ode"]
    assert not find(policy, "o0/me", f"{text} unknown").allowed


def test_the_best_come_first_up_to_the_limit() -> None:
    people = [person("o0", f"p{nth:03}", f"Zed Ann {nth:03}") for nth in range(300)]
    policy = policy_of([person("o0", "me", "Me"), person("o1", "a", "Ann Last"), *people])

    found = names(find(policy, "o0/me", "ann", limit=3))

    assert found == ["Ann Last", "Zed Ann 000", "Zed Ann 001"]
