"""How rooms look from the record: what is ours, whose a direct chat is, and state that went on meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bridge.observe import Observer
from bridge.store import Store
from policy.model import UserId
from tests.bridge.test_export_jobs import ANN, BEN, BOT, ROOM, a_chat, joined, new, raw


def observer_on(store: Store) -> Observer:
    return Observer(store, bot=BOT, server="school.example")


async def observed(store: Store, *events: Mapping[str, Any]) -> Observer:
    await store.receive("t", [new(event) for event in events], received=1.0)
    observer = observer_on(store)
    await observer.load()
    return observer


def direct_room(creator: UserId, user: Any) -> list[dict[str, Any]]:
    """A room that somebody made and marked as the bot's direct chat with a person."""
    return [
        raw(1, "m.room.create", {}, sender=creator, key=""),
        raw(2, "org.qwil.direct", {"user": user}, sender=creator, key=""),
        joined(3, BOT),
        joined(4, ANN),
        joined(5, BEN),
    ]


@pytest.mark.parametrize("creator", [BOT, ANN], ids=["bot", "person"])
async def test_a_direct_chat_is_made_by_the_bot_or_the_person(store: Store, creator: UserId) -> None:
    observer = await observed(store, *direct_room(creator, ANN))

    assert observer.direct_with(ANN) == ROOM


async def test_nobody_makes_a_direct_chat_for_somebody_else(store: Store) -> None:
    """What the bot tells Ann would be read by Ben, who made it."""
    observer = await observed(store, *direct_room(BEN, ANN))

    assert observer.direct_with(ANN) is None
    assert observer.rooms[ROOM].direct is None


@pytest.mark.parametrize("user", [None, 7, [ANN], {"id": ANN}])
async def test_a_mark_of_the_wrong_shape_makes_no_direct_chat(store: Store, user: Any) -> None:
    observer = await observed(store, *direct_room(BOT, user))

    assert observer.rooms[ROOM].direct is None


async def test_a_direct_chat_that_one_of_the_two_left_is_none(store: Store) -> None:
    observer = await observed(store, *direct_room(BOT, ANN), joined(6, ANN, "leave"))

    assert observer.direct_with(ANN) is None


async def test_an_event_that_is_handled_late_does_not_bring_back_what_it_said(store: Store) -> None:
    observer = await observed(store, *a_chat(BEN))
    late, latest = joined(20, BEN, "leave"), joined(21, BEN)
    await store.receive("late", [new(late)], received=2.0)
    await store.receive("latest", [new(latest)], received=3.0)

    await observer.refresh(ROOM, "m.room.member", BEN)

    assert BEN in observer.rooms[ROOM].inside(BOT)


async def test_a_room_without_our_marks_is_none_of_ours(store: Store) -> None:
    observer = await observed(store, raw(1, "m.room.create", {}, key=""), joined(2, BOT), joined(3, ANN))

    assert observer.rooms == {}
    assert observer.direct_with(ANN) is None
