"""Questions in words, and the words of their answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policy.ask import answer, answer_text, ask, read_question, run_tests
from policy.decision import Decision, Found, Objection
from policy.model import PersonId, Policy
from policy.parse import parse
from policy.question import Add, Administer, Chat, Search, See, StartChat

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()

TEXT = """\
networks: {oakfield: {name: Oakfield}}
organisations:
  hillside:
    name: Hillside Primary
    network: oakfield
    mobile: optional
    timezone: America/New_York
    people:
      head: {name: Ada Hill, role: staff, email: head@hillside.example, admin: system, matrix: "@head:example.org"}
      p.chan: {name: Pat Chan, role: client, email: pat@mail.example, matrix: "@pat:example.org"}
      old: {name: Pat Old, role: client, email: old@mail.example, status: left, matrix: "@twice:example.org"}
      new: {name: Pat New, role: staff, email: new@mail.example, matrix: "@twice:example.org"}
      gone: {name: Sue Spent, role: staff, email: sue@mail.example, status: suspended}
    books: {year-1: {name: Year 1, members: [head, p.chan, gone]}}
  riverside:
    name: Riverside Academy
    network: oakfield
    mobile: optional
    people:
      b.ode: {name: Ben Ode, role: staff, email: b@riverside.example, admin: system, matrix: "@pat:example.org"}
      m.day: {name: May Day, role: staff, email: may@riverside.example}
tests:
  - {name: they see each other, ask: {do: see, who: hillside/head, whom: hillside/p.chan}, allowed: true}
  - {name: wrong answer, ask: {do: see, who: hillside/head, whom: hillside/p.chan}, allowed: false}
  - name: reason among others
    ask: {do: start_chat, who: hillside/p.chan, with: [riverside/m.day]}
    allowed: false
    because: [EXT-1]
  - {name: wrong reason, ask: {do: see, who: hillside/head, whom: riverside/b.ode}, allowed: false, because: [CHAT-3]}
  - {name: no question, ask: {do: see, who: hillside/head, whom: hillside/nobody}, allowed: false}
"""


def world() -> Policy:
    policy = parse(TEXT, {}.__getitem__)
    assert isinstance(policy, Policy), [str(mistake) for mistake in policy]
    return policy


WORLD = world()
HEAD, PAT, BEN = PersonId("hillside/head"), PersonId("hillside/p.chan"), PersonId("riverside/b.ode")
SEE = {"do": "see", "who": HEAD, "whom": PAT}
CHAT = {"organisation": "hillside", "participants": [HEAD]}


def test_words_become_the_question_they_ask() -> None:
    chat = {**CHAT, "former": [PAT], "staff_only": True, "draft": True, "creator": HEAD}

    assert read_question(WORLD, SEE) == See(HEAD, PAT)
    assert read_question(WORLD, {"do": "search", "who": HEAD, "text": "ode"}) == Search(HEAD, "ode", 20)
    assert read_question(WORLD, {"do": "start_chat", "who": HEAD, "with": [PAT, PAT, BEN]}) == StartChat(
        HEAD, (PAT, BEN)
    )
    assert read_question(WORLD, {"do": "add", "who": HEAD, "whom": PAT, "chat": chat}) == Add(
        HEAD, PAT, Chat("hillside", (HEAD,), (PAT,), staff_only=True, draft=True, creator=HEAD)
    )
    assert read_question(
        WORLD, {"do": "administer", "who": HEAD, "organisation": "riverside", "what": "books"}
    ) == Administer(HEAD, "riverside", "books")


def test_a_matrix_id_names_the_one_membership_that_has_not_left() -> None:
    assert read_question(WORLD, {**SEE, "who": "@head:example.org"}) == See(HEAD, PAT)
    assert read_question(WORLD, {**SEE, "who": "@twice:example.org"}) == See(PersonId("hillside/new"), PAT)


@pytest.mark.parametrize(
    ("on", "moment"),
    [
        ("2026-12-01", datetime(2026, 12, 1, 17, tzinfo=UTC)),
        ("2026-12-01T09:30:00", datetime(2026, 12, 1, 14, 30, tzinfo=UTC)),
        ("2026-12-01T09:30:00Z", datetime(2026, 12, 1, 9, 30, tzinfo=UTC)),
        ("2026-12-01T09:30:00+02:00", datetime(2026, 12, 1, 7, 30, tzinfo=UTC)),
    ],
)
def test_a_day_means_noon_and_a_time_means_that_of_the_askers_organisation(on: str, moment: datetime) -> None:
    assert read_question(WORLD, {**SEE, "on": on}) == See(HEAD, PAT, moment.timestamp())


ERRORS: list[tuple[Any, str]] = [
    ([], 'a question is an object like {"do": "see", "who": "...", "whom": "..."}'),
    ({**SEE, "do": "sea"}, 'do says what is asked: unknown word "sea" — did you mean "see"?'),
    ({**SEE, "whm": PAT}, 'unknown field of see "whm" — did you mean "whom"?'),
    ({"do": "see", "who": HEAD}, 'see needs a field "whom"'),
    ({**SEE, "whom": "hillside/p.chn"}, 'unknown person "hillside/p.chn" — did you mean "hillside/p.chan"?'),
    (
        {**SEE, "whom": "hilside/p.chan"},
        'unknown person "hilside/p.chan": unknown organisation "hilside" — did you mean "hillside"?',
    ),
    ({**SEE, "whom": "p.chan"}, 'unknown person "p.chan" — did you mean "hillside/p.chan"?'),
    (
        {**SEE, "whom": "nobody"},
        'unknown person "nobody": people are written organisation/identifier, or by their Matrix ID',
    ),
    ({**SEE, "whom": 7}, "whom is a person, written organisation/identifier, not a number"),
    (
        {**SEE, "whom": "@pat:example.org"},
        '"@pat:example.org" is several persons: hillside/p.chan, riverside/b.ode; say which',
    ),
    ({**SEE, "whom": "@haed:example.org"}, 'unknown person "@haed:example.org" — did you mean "@head:example.org"?'),
    ({**SEE, "on": "1 December"}, 'on is a time like 2026-12-01 or 2026-12-01T09:30:00Z, not "1 December"'),
    ({**SEE, "on": 1796083200}, "on is a time like 2026-12-01 or 2026-12-01T09:30:00Z, not a number"),
    ({"do": "search", "who": HEAD, "text": None}, "text is what to search for, in quotation marks, not null"),
    ({"do": "search", "who": HEAD, "text": "a", "limit": 0}, "limit is a whole number from 1, not a number"),
    ({"do": "search", "who": HEAD, "text": "a", "limit": True}, "limit is a whole number from 1, not true"),
    ({"do": "start_chat", "who": HEAD, "with": PAT}, 'with is a list of people, not "hillside/p.chan"'),
    ({"do": "start_chat", "who": HEAD, "with": [], "staff_only": "yes"}, 'staff_only is true or false, not "yes"'),
    (
        {"do": "start_chat", "who": HEAD, "with": [], "organisation": "rverside"},
        'unknown organisation "rverside" — did you mean "riverside"?',
    ),
    ({"do": "leave", "who": HEAD, "chat": []}, "chat is an object with organisation and participants, not a list"),
    ({"do": "leave", "who": HEAD, "chat": {"organisation": "hillside"}}, 'chat needs a field "participants"'),
    (
        {"do": "leave", "who": HEAD, "chat": {**CHAT, "kind": "client"}},
        'unknown field of chat "kind" — known: creator, draft, former, organisation, participants, staff_only',
    ),
    (
        {"do": "administer", "who": HEAD, "organisation": "hillside", "what": "peeple"},
        'unknown area "peeple" — did you mean "people"?',
    ),
]


@pytest.mark.parametrize(("words", "error"), ERRORS, ids=[error for _, error in ERRORS])
def test_what_is_no_question_is_refused_with_what_is_wrong(words: object, error: str) -> None:
    assert answer(ask(WORLD, words, NOW)) == {"allowed": False, "because": [], "error": error}


def test_an_answer_has_a_kind_and_people_only_where_there_are_any() -> None:
    found = (
        Found(BEN, "Ben Ode", "Riverside Academy", "E", available=True),
        Found(PAT, "Pat Chan", "Hillside Primary", "C", available=False),
    )

    assert answer(Decision(True)) == {"allowed": True, "because": []}
    assert answer(Decision(False, (Objection("EXT-3", "No."),), "external")) == {
        "allowed": False,
        "because": [{"rule": "EXT-3", "text": "No."}],
        "kind": "external",
    }
    assert answer(Decision(True, people=found))["people"] == [
        {"person": "riverside/b.ode", "name": "Ben Ode", "organisation": "Riverside Academy", "badge": "E"},
        {
            "person": "hillside/p.chan",
            "name": "Pat Chan",
            "organisation": "Hillside Primary",
            "badge": "C",
            "available": False,
        },
    ]


def test_a_line_of_a_batch_gets_the_answer_to_its_question() -> None:
    assert answer_text(WORLD, json.dumps(SEE), NOW) == {"allowed": True, "because": []}


@pytest.mark.parametrize(
    "line", ["", "{", '{"do": "see"', "[" * 100_000, '{"a":' * 100_000, "9" * 10_000, b"\xff\xfe", "nul", "\x00"]
)
def test_a_broken_line_gets_an_answer_too(line: str | bytes) -> None:
    said = answer_text(WORLD, line, NOW)

    assert (said["allowed"], said["because"]) == (False, [])
    assert "this is not JSON" in said["error"]


@given(st.text())
@example('"\\ud800"')
def test_no_line_makes_answering_raise(line: str) -> None:
    assert answer_text(WORLD, line, NOW)["allowed"] is False


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from([HEAD, PAT, "hillside"])
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)
FIELDS = ("who", "whom", "with", "chat", "text", "limit", "on", "organisation", "what", "staff_only")


@given(
    st.sampled_from(["see", "search", "start_chat", "add", "leave", "review", "administer"]),
    st.dictionaries(st.sampled_from(FIELDS), JSON),
)
@example("search", {"who": HEAD, "text": "\ud800", "limit": 10**30})
@example("see", {"who": HEAD, "whom": PAT, "on": "0001-01-01T00:00:00+14:00"})
@example("see", {"who": HEAD, "whom": PAT, "on": "9999-12-31T23:59:59-12:00"})
def test_no_words_make_asking_raise_and_every_answer_can_be_sent(do: str, fields: dict[str, Any]) -> None:
    said = answer(ask(WORLD, {"do": do, "who": HEAD, **fields}, NOW))

    assert json.loads(json.dumps(said)) == said


def test_the_administrators_tests_pass_for_the_answer_and_the_reasons_expected() -> None:
    outcomes = {outcome.expectation.name: outcome for outcome in run_tests(WORLD, NOW)}

    assert {name: outcome.passed for name, outcome in outcomes.items()} == {
        "they see each other": True,
        "wrong answer": False,
        "reason among others": True,
        "wrong reason": False,
        "no question": False,
    }
    assert outcomes["no question"].decision.error == 'unknown person "hillside/nobody"'
