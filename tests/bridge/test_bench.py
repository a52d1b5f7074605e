"""Every benchmark runs, at a size that only shows that it does; no test here looks at a time."""

import csv
import json
from io import StringIO

import pytest

from bridge.bench import lookups, run
from bridge.bench.cedar import Cedar
from bridge.bench.measure import Row, Turns, in_turns, percentile
from bridge.bench.questions import questions
from bridge.bench.run import BENCHMARKS, rows, table
from bridge.bench.size import FULL, TINY
from bridge.bench.world import NOW, World
from bridge.cli import main
from policy.decide import decide
from policy.question import Add, StartChat

ROWS = {
    "decisions": 6,
    "loading": 2,
    "search": 1,
    "sending": 3,
    "planning": 1,
    "editing": 1,
    "importing": 4,
    "record": 1,
    "export": 4,
}
"""How many each yields with one world to compare with."""


@pytest.fixture(scope="module")
def small() -> World:
    return World(1_000)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_yields_its_rows(name: str) -> None:
    said: list[str] = []

    measured = list(rows([name], said.append, TINY))

    assert [row.name for row in measured] == [name] * ROWS[name]
    assert all(sample > 0 for row in measured for sample in row.samples)
    assert all(text.startswith(f"{name}: ") for text in said)


def test_the_real_size_is_what_was_promised() -> None:
    assert (FULL.people, FULL.cedar_people, FULL.other_worlds) == (100_000, 5_000, (1_000, 1_000_000))


def test_a_world_has_the_people_and_books_that_were_asked_for(small: World) -> None:
    policy = small.policy

    assert len(policy.people) == 1_000
    assert sum(len(organisation.books) for organisation in policy.organisations.values()) == 50
    assert len(policy.organisations) == 10
    assert any(len(memberships) > 1 for memberships in policy.accounts.values())
    assert policy.stand_ins
    assert policy.closed_books


def test_a_world_is_the_same_every_time(small: World) -> None:
    again = World(1_000)

    assert (again.text, again.sheets) == (small.text, small.sheets)


def test_a_small_world_is_the_beginning_of_a_large_one(small: World) -> None:
    large = World(3_000)

    for name, data in small.sheets.items():
        ours, theirs = (list(csv.reader(StringIO(sheet.decode()))) for sheet in (data, large.sheets[name]))
        assert theirs[: len(ours)] == ours


def test_questions_about_a_small_world_have_the_same_answers_in_a_large_one(small: World) -> None:
    here, there = small.policy, World(3_000).policy

    for question in questions(small, 200):
        assert decide(here, question, NOW) == decide(there, question, NOW)


def test_about_half_of_the_questions_are_refused_and_chats_are_of_every_size(small: World) -> None:
    policy, asked = small.policy, questions(small, 800)

    allowed = sum(decide(policy, question, NOW).allowed for question in asked)
    sizes = {len(one.people) + 1 for one in asked if isinstance(one, StartChat)}
    sizes |= {len(one.chat.participants) for one in asked if isinstance(one, Add)}

    assert 0.3 < allowed / len(asked) < 0.7
    assert min(sizes) == 2
    assert max(sizes) >= 90


def test_cedar_answers_as_we_do(small: World) -> None:
    policy = small.policy
    cedar = Cedar(policy, NOW)

    for question in questions(small, 600, seed=7):
        assert cedar.answer(cedar.requests(question))[0] == decide(policy, question, NOW).allowed, question


def test_bare_look_ups_say_what_we_say(small: World) -> None:
    policy = small.policy
    facts = lookups.facts_of(policy, NOW)

    for question in questions(small, 3_000, seed=8):
        if isinstance(question, StartChat):
            looked_up = lookups.may_start(facts, question, NOW)
        else:
            looked_up = lookups.may_add(facts, question, NOW)
        assert looked_up == decide(policy, question, NOW).allowed, question


def test_two_sides_take_turns_and_who_begins_changes() -> None:
    called: list[str] = []

    turns = in_turns(lambda: called.append("a"), lambda: called.append("b"), rounds=3)

    assert "".join(called) == "ab" + "ab" + "ba" + "ab"
    assert (len(turns.ours), len(turns.theirs)) == (3, 3)


def test_ratios_are_those_of_each_round() -> None:
    turns = Turns((1.0, 3.0), (2.0, 2.0))

    assert turns.ratios == (0.5, 1.5)
    assert turns.inverse == (2.0, 2 / 3)


def test_a_percentile_leaves_the_larger_ones_above_it() -> None:
    assert percentile(list(range(100)), 0.99) == 99
    assert percentile([3, 1, 2], 0.5) == 2


def test_a_row_keeps_its_bound_with_its_median() -> None:
    within = Row("a", "b", (1.0, 1.2, 9.0), 1.5)
    beyond = Row("a", "b", (20.0, 24.0, 90.0), 25, "at least")

    assert (within.good, beyond.good) == (True, False)


def test_the_table_has_a_line_for_each_row() -> None:
    shown = table([Row("a", "apples against pears", (0.9, 1.0, 1.25), 4, detail="3 ms against 3 ms")])

    assert shown.splitlines()[1:] == [
        "apples against pears  1.000x  0.900 to 1.250  at most 4x  ok",
        "    3 ms against 3 ms",
    ]


def test_the_program_prints_a_json_object_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Row("loading", "apples against pears", (1.0, 2.0, 3.0), 4)
    monkeypatch.setattr(run, "BENCHMARKS", {"loading": lambda _size, _say: iter([row])})

    status = main(["bench", "loading", "--json"])

    printed = json.loads(capsys.readouterr().out)
    assert status == 0
    assert printed["benchmark"] == "loading"
    assert (printed["least"], printed["median"], printed["most"], printed["good"]) == (1.0, 2.0, 3.0, True)


def test_an_unknown_benchmark_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "cooking"])

    assert ended.value.code == 2
    assert ", ".join(BENCHMARKS) in capsys.readouterr().err


def test_the_plan_that_is_measured_is_one_of_a_homeserver_on_which_nothing_differs() -> None:
    (row,) = rows(["planning"], lambda _: None, TINY)

    assert row.detail.endswith("; 0 due")
