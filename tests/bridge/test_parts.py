"""Whoever took part in an external chat reviews it, also when the rows of those who were in it are gone (EXT-9)."""

from __future__ import annotations

import json
from typing import Any

from bridge.observe import Observer
from bridge.parts import note_parts
from bridge.reviewing import access_to
from bridge.store import NewEvent, Store
from policy.model import PersonId, Policy, UserId
from policy.parse import parse
from policy.rooms import CHAT

ROOM = "!festival:school.test"
BOT, ADA, BEN, BO = (UserId(f"@{name}:school.test") for name in ("qwil", "ada", "ben", "bo"))
NOW = 1_800_000_000.0


def policy(ben: str | None = "river", *, bo: bool = False) -> Policy:
    """Two schools; `ben` says in which of them Ben is, if in any."""
    rows = {
        "river": ["      rita: {name: Rita, role: staff, email: r@x.example, admin: system, review: all}"],
        "hill": [
            f'      ada: {{name: Ada, role: staff, email: a@x.example, admin: system, matrix: "{ADA}", review: all}}'
        ],
        "lake": ["      lou: {name: Lou, role: staff, email: l@x.example, admin: system, review: all}"],
    }
    if ben is not None:
        rows[ben].append(f'      ben: {{name: Ben, role: staff, email: b@x.example, matrix: "{BEN}"}}')
    if bo:
        rows["river"].append(f'      bo: {{name: Bo, role: staff, email: o@x.example, matrix: "{BO}"}}')
    organisations = "".join(
        f"  {name}:\n    name: {name.title()}\n    network: oak\n    mobile: optional\n    people:\n"
        + "\n".join(people)
        + "\n    books: {}\n"
        for name, people in rows.items()
    )
    parsed = parse(f"networks: {{oak: {{name: Oak}}}}\norganisations:\n{organisations}", dict[str, str]().__getitem__)
    assert isinstance(parsed, Policy), parsed
    return parsed


def event(number: int, kind: str, content: Any, key: str | None = None, sender: str = ADA) -> NewEvent:
    whole = {
        "event_id": f"${number}",
        "room_id": ROOM,
        "sender": sender,
        "type": kind,
        "content": content,
        "origin_server_ts": number * 1000,
        **({} if key is None else {"state_key": key}),
    }
    return NewEvent(f"${number}", ROOM, sender, kind, key, number * 1000, None, json.dumps(whole))


def member(number: int, user: str, membership: str) -> NewEvent:
    return event(number, "m.room.member", {"membership": membership}, user)


def said(number: int) -> NewEvent:
    return event(number, "m.room.message", {"msgtype": "m.text", "body": f"message {number}"})


CREATED = [
    event(1, "m.room.create", {"room_version": "11"}, ""),
    member(2, ADA, "join"),
    member(3, BOT, "join"),
    event(4, CHAT, {"organisation": "hill", "kind": "external", "draft": False, "staff_only": False}, "", BOT),
    member(5, BEN, "join"),
    said(6),
]


async def observed(store: Store) -> Observer:
    observer = Observer(store, bot=BOT, server="school.test")
    await observer.load()
    return observer


async def noted(store: Store, given: Policy, now: float) -> None:
    """What the bridge does when it starts, when somebody comes or goes, and when the policy has changed."""
    observer = await observed(store)
    await note_parts(observer, given, observer.rooms[ROOM], now)


async def readable(store: Store, given: Policy, reviewer: str) -> list[str] | None:
    """The messages that this reviewer may read; None where the chat is not found."""
    observer = await observed(store)
    who = given.people[PersonId(reviewer)]
    access = await access_to(store, given, observer.rooms[ROOM], BOT, [who], NOW)
    if access is None:
        return None
    everything = [one async for one in store.history(ROOM)]
    return [one.event_id for one in everything if one.type == "m.room.message" and access.holds(one)]


async def test_a_former_participants_organisation_reviews_what_they_read_when_their_row_is_gone(store: Store) -> None:
    await store.receive("a", CREATED, received=10.0)
    await noted(store, policy(), 11.0)
    await store.receive("b", [member(7, BEN, "leave"), said(8)], received=20.0)

    gone = policy(None)
    await noted(store, gone, 21.0)

    assert await readable(store, gone, "river/rita") == ["$6"]
    assert await readable(store, gone, "hill/ada") == ["$6", "$8"]
    assert await readable(store, gone, "lake/lou") is None


async def test_a_row_that_goes_before_its_person_does_ends_what_the_organisation_reads(store: Store) -> None:
    await store.receive("a", CREATED, received=10.0)
    await noted(store, policy(), 11.0)
    await noted(store, policy(None), 12.0)
    await store.receive("b", [said(7), member(8, BEN, "leave"), said(9)], received=20.0)

    read = await readable(store, policy(None), "river/rita")

    assert read is not None
    assert "$6" in read
    assert "$9" not in read


async def test_who_changes_sides_leaves_the_first_organisation_what_was_said_until_then(store: Store) -> None:
    await store.receive("a", CREATED, received=10.0)
    await noted(store, policy("river"), 11.0)
    await noted(store, policy("lake"), 12.0)
    await store.receive("b", [said(7)], received=20.0)

    assert await readable(store, policy("lake"), "river/rita") == ["$6"]
    assert await readable(store, policy("lake"), "lake/lou") == ["$6", "$7"]


async def test_a_colleague_who_is_still_inside_keeps_it_open(store: Store) -> None:
    await store.receive("a", [*CREATED, member(7, BO, "join")], received=10.0)
    await noted(store, policy(bo=True), 11.0)
    await store.receive("b", [member(8, BEN, "leave"), said(9)], received=20.0)

    assert await readable(store, policy(None, bo=True), "river/rita") == ["$6", "$9"]


async def test_who_never_was_staff_of_another_organisation_opens_nothing(store: Store) -> None:
    await store.receive("a", [*CREATED, member(7, "@x:school.test", "join")], received=10.0)
    await noted(store, policy(None), 11.0)

    assert await readable(store, policy(None), "river/rita") is None
