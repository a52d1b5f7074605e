"""What a policy file means: text and spreadsheets in, people with their books and days out."""

from __future__ import annotations

import gc
import random
from datetime import UTC, date, datetime
from math import inf
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from policy.mistake import Mistake, Place
from policy.model import Network, Policy, Welcome
from policy.parse import changed_roles, parse, parse_steps

POLICY = """\
networks:
  oakfield: {name: Oakfield Learning Trust}
organisations:
  hillside:
    name: Hillside Primary
    network: oakfield
    mobile: {client: optional}
    clients_see_each_other: false
    timezone: Europe/London
    welcome: {text: "Welcome {first_name}", link: "https://hillside.example/chat"}
    default_book: year-1
    people: hillside.csv
    books:
      year-1:
        name: Year 1
        clients_see_each_other: true
        members: [head, p.chan]
      no:
        name: Norwegian
        members: [m.lowe]
    covers:
      - {absent: head, stand_in: m.lowe, from: 2026-07-01, until: 2026-07-31}
  riverside:
    name: "2026"
    people:
      b.ode: {name: Ben Ode, role: staff, email: b@riverside.example, mobile: "+44 7700 900010", admin: system}
      p.chan:
        first_name: Pat
        last_name: No
        role: client
        status: left
        matrix: "@p.chan:example.org"
    books: {}
tests:
  - name: a question
    ask: {do: search, who: hillside/head, text: 2026, limit: 5}
    allowed: false
    because: [DIR-3]
"""
PEOPLE = """\
identifier,first_name,last_name,role,email,mobile,matrix,contact_books,admin,status,until,unlisted,job_title
head,Ada,Hill,staff,head@hillside.example,+44 7700 900001,@head:example.org,,system,,,,Head
m.lowe,Mia,Lowe,staff,m.lowe@hillside.example,+44 (7700) 900-003,,year-1;no,,,2027-07-31,TRUE,Violin
p.chan, Pat ,Chan,client,p.chan@mail.example,,@p.chan:example.org,no,,invited,,,"Mia Chan, Year 1"
"""


def read(text: str | bytes = POLICY, people: str | bytes = PEOPLE) -> Policy:
    """The policy, which has to be one."""
    data = people.encode() if isinstance(people, str) else people
    policy = parse(text, {"hillside.csv": data}.__getitem__)
    assert isinstance(policy, Policy), [str(mistake) for mistake in policy]
    return policy


def test_a_person_is_in_the_books_that_list_them_and_in_those_their_row_names() -> None:
    policy = read()

    assert {person: set(member.books) for person, member in policy.people.items()} == {
        "hillside/head": {"year-1"},
        "hillside/m.lowe": {"year-1", "no"},
        "hillside/p.chan": {"year-1", "no"},
        "riverside/b.ode": set(),
        "riverside/p.chan": set(),
    }
    assert {book.identifier: set(book.members) for book in policy.organisations["hillside"].books.values()} == {
        "year-1": {"hillside/head", "hillside/m.lowe", "hillside/p.chan"},
        "no": {"hillside/m.lowe", "hillside/p.chan"},
    }


def test_a_row_says_everything_about_a_person() -> None:
    member = read().people["hillside/p.chan"]  # type: ignore[index]

    assert member.name == "Pat Chan"
    assert (member.first_name, member.last_name, member.job_title) == ("Pat", "Chan", "Mia Chan, Year 1")
    assert (member.role, member.status, member.matrix) == ("client", "invited", "@p.chan:example.org")
    assert (member.admin, member.review, member.unlisted, member.until, member.ends) == ("", "", False, None, inf)


def test_a_matrix_id_holds_its_memberships_in_the_order_of_the_file() -> None:
    policy = read()

    assert [member.id for member in policy.accounts["@p.chan:example.org"]] == [  # type: ignore[index]
        "hillside/p.chan",
        "riverside/p.chan",
    ]
    assert [member.id for member in policy.accounts["@head:example.org"]] == ["hillside/head"]  # type: ignore[index]


def test_a_matrix_id_may_stand_twice_in_an_organisation_when_one_has_left() -> None:
    people = PEOPLE + "old,Ada,Hill,client,old@mail.example,,@head:example.org,no,,left,,,\n"

    policy = read(people=people)

    assert [member.id for member in policy.accounts["@head:example.org"]] == [  # type: ignore[index]
        "hillside/head",
        "hillside/old",
    ]


def test_days_end_with_their_last_moment_in_the_time_zone_of_the_organisation() -> None:
    policy = read()
    cover = policy.organisations["hillside"].covers[0]
    london = ZoneInfo("Europe/London")

    assert policy.people["hillside/m.lowe"].until == date(2027, 7, 31)  # type: ignore[index]
    assert policy.people["hillside/m.lowe"].ends == datetime(2027, 8, 1, tzinfo=london).timestamp()  # type: ignore[index]
    assert cover.starts == datetime(2026, 6, 30, 23, tzinfo=UTC).timestamp()
    assert cover.ends == datetime(2026, 7, 31, 23, tzinfo=UTC).timestamp()
    assert policy.stand_ins == {"hillside/m.lowe": (cover,)}


def test_a_book_overrides_what_the_organisation_says_of_clients_who_see_each_other() -> None:
    policy = read()

    assert policy.organisations["hillside"].books["year-1"].clients_see_each_other
    assert policy.closed_books == {("hillside", "no")}


def test_settings_of_an_organisation_are_read_and_others_have_their_defaults() -> None:
    policy = read()
    hillside, riverside = policy.organisations["hillside"], policy.organisations["riverside"]

    assert policy.networks == {"oakfield": Network("oakfield", "Oakfield Learning Trust")}
    assert (hillside.network, hillside.mobile_staff, hillside.mobile_client) == ("oakfield", "required", "optional")
    assert hillside.welcome == Welcome("Welcome {first_name}", "https://hillside.example/chat")
    assert (riverside.network, riverside.max_participants, riverside.language, riverside.timezone) == (
        *(None, 100, "en"),
        "UTC",
    )
    assert (hillside.rank, riverside.rank) == (0, 1)


def test_whoever_is_asked_for_a_number_on_accepting_needs_none_in_the_file() -> None:
    policy = read(POLICY.replace("{client: optional}", "{staff: required, client: asked}"))
    hillside = policy.organisations["hillside"]

    assert (hillside.mobile_staff, hillside.mobile_client) == ("required", "asked")
    assert policy.people["hillside/p.chan"].mobile == ""  # type: ignore[index]


def test_text_is_text_whatever_it_looks_like() -> None:
    policy = read()

    assert policy.organisations["riverside"].name == "2026"
    assert policy.organisations["hillside"].books["no"].name == "Norwegian"
    assert policy.people["riverside/p.chan"].last_name == "No"  # type: ignore[index]
    assert policy.tests[0].ask == {"do": "search", "who": "hillside/head", "text": "2026", "limit": 5}
    assert policy.tests[0].where == "policy.yaml:35:5"


@pytest.mark.parametrize(
    "people",
    [
        PEOPLE.replace("year-1;no", '"year-1;no"').replace(",", ";").replace("Mia Chan;", "Mia Chan,"),
        "\ufeff" + PEOPLE,
        PEOPLE.replace("\n", "\r\n"),
        PEOPLE.replace("\n", "\n\n"),
    ],
    ids=["semicolons", "byte order mark", "line ends of Windows", "empty lines"],
)
def test_a_spreadsheet_may_be_saved_in_different_ways(people: str) -> None:
    assert read(people=people) == read()


def test_columns_may_stand_in_any_order_and_be_missing() -> None:
    people = (
        "role,admin,last_name,email,identifier\nstaff,system,Hill,a@b.example,head\n"
        "staff,,Lowe,c@d.example,m.lowe\nclient,,Chan,e@f.example,p.chan\n"
    )
    text = POLICY.replace("{client: optional}", "optional")

    assert read(text, people).people["hillside/head"].name == "Hill"  # type: ignore[index]


def test_anchors_stand_for_what_they_mark() -> None:
    text = POLICY.replace("members: [head, p.chan]", "members: &all [head, p.chan, m.lowe]").replace(
        "members: [m.lowe]", "members: *all"
    )

    books = read(text).organisations["hillside"].books

    assert books["no"].members == books["year-1"].members


def test_the_order_of_rows_changes_nothing_but_the_order() -> None:
    head, *rows = PEOPLE.splitlines()
    random.Random(7).shuffle(rows)  # noqa: S311

    assert read(people="\n".join([head, *rows])).people == read().people


def test_a_changed_role_is_found_between_two_policies() -> None:
    after = read(
        people=PEOPLE.replace("Chan,client,p.chan@mail.example,", "Chan,staff,p.chan@mail.example,+447700900004")
    )

    assert [member.id for member in changed_roles(read(), after)] == ["hillside/p.chan"]
    assert changed_roles(read(), read()) == ()


def test_a_large_spreadsheet_is_read_in_many_steps_and_mistakes_keep_their_rows() -> None:
    rows = "".join(f"c{n},C,{n},client,c{n}@mail.example,,@c{n}:example.org,no,,,,,\n" for n in range(3000))
    people = PEOPLE + rows.replace("@c2500:example.org", "c2500").replace("c2700@mail", "c9@mail")

    steps = parse_steps(POLICY, {"hillside.csv": people.encode()}.__getitem__)
    waited = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result = end.value
            break
        waited += 1

    assert waited > 20
    assert [str(mistake) for mistake in result] == [
        'hillside.csv:2505:7: "c2500" is not a Matrix ID like @name:example.org',
        'hillside.csv:2705:5: e-mail "c9@mail.example" is used by hillside/c9 already: '
        "an address belongs to one person in an organisation (INV-11)",
    ]


def test_the_collector_runs_again_after_a_policy_was_read_or_given_up() -> None:
    steps = parse_steps(POLICY, {"hillside.csv": PEOPLE.encode()}.__getitem__)
    next(steps)
    given_up = gc.isenabled()
    steps.close()

    assert not given_up
    assert gc.isenabled()


def test_brackets_opened_without_end_are_a_mistake_and_no_crash() -> None:
    result = parse("a: " + "[" * 100_000, {}.__getitem__)

    assert result == (Mistake(Place("policy.yaml", 1, 26), "this is nested too deeply to be a policy"),)


def test_a_structure_that_contains_itself_is_a_mistake_and_no_crash() -> None:
    result = parse("organisations: &a\n  b: *a\ntests: &t\n - ask: &q {with: *q, chat: *q}\n", {}.__getitem__)

    assert not isinstance(result, Policy)


@pytest.mark.parametrize("scanner", ["libyaml", "pure Python"])
def test_both_scanners_of_yaml_say_the_same(scanner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if scanner == "pure Python":
        monkeypatch.setattr("policy.yaml_nodes.YAML", lambda typ: YAML(typ=typ, pure=True))

    assert read() == read()
    for broken, place in (
        ("a: [b", "1:4"),
        ('a: "b', "1:4"),
        ("a:\n\tb: c", "2:1"),
        ("a: b: c", "1:5"),
        ("a: @b", "1:4"),
    ):
        result = parse(broken, {}.__getitem__)
        assert isinstance(result, tuple)
        assert [str(mistake.place) for mistake in result] == [f"policy.yaml:{place}"]


PIECES = st.sampled_from(
    [
        *POLICY.split(),
        *PEOPLE.split(","),
        "\n",
        "\n  ",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        ";",
        '"',
        "&a ",
        "*a",
        "\ud800",
        "\x00",
    ]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES).map(" ".join), st.lists(PIECES).map("".join))


@given(TEXTS, st.binary())
@example("organisations: {a: {people: hillside.csv}}", b"")
@example("? [a]\n: b", b"")
@example('organisations: {a: {name: "\\ud800"}}', b"")
@example('a: "\\UFFFFFFFF"', b"")
@example("organisations: {a: {timezone: Europe}}", b"")
@example("organisations: {a: {people: {b: {until: 9999-12-31}, c: {until: 0001-01-01}}, timezone: Asia/Tokyo}}", b"")
def test_no_text_makes_parsing_raise(text: str, people: bytes) -> None:
    result = parse(text, {"hillside.csv": people}.__getitem__)

    assert isinstance(result, Policy) or all(mistake.place.line > 0 for mistake in result)


@given(st.one_of(st.binary(), TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass"))))
@example(b"\xff\xfeo\x00")
def test_no_bytes_make_parsing_raise(data: bytes) -> None:
    result = parse(data, {}.__getitem__)

    assert isinstance(result, Policy) or result


@given(st.data())
def test_no_slip_of_the_pen_makes_parsing_raise(data: st.DataObject) -> None:
    def slipped(text: str) -> str:
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        return text[:start] + data.draw(TEXTS) + text[end:]

    result = parse(slipped(POLICY), {"hillside.csv": slipped(PEOPLE).encode("utf-8", "surrogatepass")}.__getitem__)

    assert isinstance(result, Policy) or result


@given(st.integers(0, len(POLICY)))
def test_a_file_cut_short_never_loses_people_without_a_mistake(cut: int) -> None:
    result = parse(POLICY[:cut], {"hillside.csv": PEOPLE.encode()}.__getitem__)

    assert not isinstance(result, Policy) or "hillside/head" in result.people
