"""What counts as a room of ours, and how it looks, whatever its state says and whenever the bridge was stopped."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.observe import Observer
from bridge.store import NewEvent, Store
from policy.model import UserId
from policy.rooms import CHAT, SPACE

ROOM = "!r:school.test"
BOT, ADA = UserId("@qwil:school.test"), UserId("@ada:school.test")
CONTENT = {"organisation": "hill", "kind": "staff", "draft": True, "staff_only": False}


def event(number: int, kind: str, content: Any, key: str = "", sender: str = ADA) -> NewEvent:
    whole = {"event_id": f"${number}", "room_id": ROOM, "sender": sender, "type": kind, "content": content}
    return NewEvent(f"${number}", ROOM, sender, kind, key, number, None, json.dumps({**whole, "state_key": key}))


async def observed(store: Store, *events: NewEvent, **settings: bool) -> Observer:
    await store.receive("t", events, received=1.0)
    observer = Observer(store, bot=BOT, server="school.test")
    observer.trusts_creators = settings.get("trusts_creators", True)
    await observer.load()
    return observer


async def test_a_room_whose_beginning_was_handled_before_a_stop_is_known_whole(store: Store) -> None:
    observer = await observed(
        store, event(1, "m.room.create", {}), event(2, "m.room.member", {"membership": "join"}, ADA)
    )
    await store.receive("u", [event(3, CHAT, CONTENT)], received=2.0)

    await observer.refresh(ROOM, CHAT, "")

    room = observer.room(ROOM)
    assert room is not None
    assert (room.creator, set(room.members), room.draft) == (ADA, {ADA}, True)


@pytest.mark.parametrize("content", [{"book": {"a": []}}, {"external": ["x"]}, {"book": None}, {"x": [[]]}])
async def test_a_space_says_nothing_that_is_no_text(store: Store, content: Any) -> None:
    observer = await observed(store, event(1, "m.room.create", {}, sender=BOT), event(2, SPACE, content, sender=BOT))

    assert observer.rooms[ROOM].space == {}


async def test_nobody_but_the_bot_makes_a_space_of_ours(store: Store) -> None:
    observer = await observed(store, event(1, "m.room.create", {}), event(2, SPACE, {"external": ADA}))

    assert observer.rooms[ROOM].space == {}


async def test_without_the_module_nobody_but_the_bot_makes_a_room_one_of_ours(store: Store) -> None:
    forged = await observed(store, event(1, "m.room.create", {}), event(2, CHAT, CONTENT), trusts_creators=False)

    assert forged.room(ROOM) is None
    await store.receive("u", [event(3, CHAT, CONTENT, sender=BOT)], received=2.0)
    await forged.refresh(ROOM, CHAT, "")
    assert forged.room(ROOM) is not None
