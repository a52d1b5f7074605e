"""Refusals wait in memory until they are fetched, and no flood makes them grow."""

from __future__ import annotations

from typing import Any

import pytest

from policy.refusals import PAGE, Refusals, doing, who_asked


def note(refusals: Refusals, who: str, text: str = "No.", now: float = 1.0) -> None:
    refusals.note(f"m.room.message by {who} in !room:example.org", ["PART-8"], text, now)


def handed_out(answer: dict[str, Any]) -> list[tuple[str, int]]:
    return [(one["what"].split()[2], one["times"]) for one in answer["refusals"]]


def test_what_was_fetched_and_seen_is_not_handed_out_again() -> None:
    refusals = Refusals("one")
    note(refusals, "@ann:example.org")
    first = refusals.after("")
    note(refusals, "@ben:example.org")

    second = refusals.after(f"one:{first['refusals'][-1]['number']}")

    assert handed_out(first) == [("@ann:example.org", 1)]
    assert handed_out(second) == [("@ben:example.org", 1)]


def test_what_was_fetched_and_not_kept_is_handed_out_again() -> None:
    refusals = Refusals("one")
    note(refusals, "@ann:example.org")

    assert handed_out(refusals.after("")) == handed_out(refusals.after("")) == [("@ann:example.org", 1)]


def test_numbers_of_other_processes_mean_nothing_here() -> None:
    refusals = Refusals("one")
    note(refusals, "@ann:example.org")

    assert len(refusals.after("another:999,nonsense,:,one:0")["refusals"]) == 1


def test_the_same_request_over_and_over_is_one_entry_that_counts() -> None:
    refusals = Refusals("one")
    for moment in range(1000):
        note(refusals, "@ann:example.org", now=float(moment))

    (entry,) = refusals.after("")["refusals"]

    assert (entry["times"], entry["first"], entry["last"]) == (1000, 0.0, 999.0)


def test_what_is_refused_again_after_it_was_fetched_is_handed_out_again() -> None:
    refusals = Refusals("one")
    note(refusals, "@ann:example.org")
    seen = refusals.after("")["refusals"][-1]["number"]
    note(refusals, "@ann:example.org")

    assert len(refusals.after(f"one:{seen}")["refusals"]) == 1


def test_a_flood_pushes_out_the_oldest_and_tells_how_many() -> None:
    refusals = Refusals("one", most=3)
    for number in range(5):
        note(refusals, f"@user{number}:example.org")

    answer = refusals.after("")

    assert [who for who, _ in handed_out(answer)] == [f"@user{number}:example.org" for number in (2, 3, 4)]
    assert (answer["lost"], refusals.after("")["lost"]) == (2, 0)


def test_many_are_handed_out_a_page_at_a_time() -> None:
    refusals = Refusals("one")
    for number in range(PAGE + 1):
        note(refusals, f"@user{number}:example.org")

    first = refusals.after("")
    second = refusals.after(f"one:{first['refusals'][-1]['number']}")

    assert (len(first["refusals"]), first["more"]) == (PAGE, True)
    assert (len(second["refusals"]), second["more"]) == (1, False)


@pytest.mark.parametrize(
    ("what", "who"),
    [
        ("m.room.message by @ann:example.org in !room:example.org", "@ann:example.org"),
        ("createRoom by @ann:example.org", "@ann:example.org"),
        ("an entry of @ann:example.org into !room:example.org", "@ann:example.org"),
        ("an invitation by e-mail by @ann:example.org", "@ann:example.org"),
        ("m.type by @head:example.org in !room by @ann:example.org in !room:example.org", "@ann:example.org"),
        ("something else", None),
    ],
)
def test_who_asked_is_known_whatever_an_event_calls_itself(what: str, who: str | None) -> None:
    assert who_asked(what) == who


@pytest.mark.parametrize(
    ("kind", "whom", "membership", "said"),
    [
        ("m.room.member", "@kim:far.example", "invite", "inviting @kim:far.example"),
        ("m.room.member", "@kim:far.example", "leave", "removing @kim:far.example"),
        ("m.room.member", "@ann:hill.example", "leave", "leaving"),
        ("m.room.member", "@ann:hill.example", "join", "entering"),
        ("m.room.member", "x by @eve:far.example in !y", "invite", "inviting x by @eve:far.example in !y"),
        ("m.room.member", "@kim:far.example", 7, "m.room.member"),
        ("m.room.message", None, None, "m.room.message"),
    ],
)
def test_what_was_refused_is_said_by_what_it_does(kind: str, whom: str | None, membership: object, said: str) -> None:
    what = doing(kind, "@ann:hill.example", whom, membership)

    assert what == said
    assert who_asked(f"{what} by @ann:hill.example in !room:hill.example") == "@ann:hill.example"
