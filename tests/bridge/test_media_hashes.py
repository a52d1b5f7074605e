"""Hashes of shared files, taken when they come: what an export can say when a file is lost or another one later."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.media_hashes import DUE, PAUSES, MediaHashes, received
from bridge.observe import Observer
from bridge.store import Store
from bridge.transcript.media import MediaMissing
from bridge.transcript.model import Received
from bridge.transcript.offers import MOST_PICTURES
from tests.bridge.test_export_jobs import BOT, PAT, ROOM, a_chat, new, raw

MXC = "mxc://school.example/plan"


class Repository:
    """Uploads in memory."""

    def __init__(self, **files: bytes) -> None:
        self.files = {f"mxc://school.example/{name}": content for name, content in files.items()}
        self.asked: list[str] = []

    def fetch(self, mxc: str) -> Iterator[bytes]:
        self.asked.append(mxc)
        if mxc not in self.files:
            raise MediaMissing("The homeserver does not have it any more (HTTP 404).")
        yield self.files[mxc][:2]
        yield self.files[mxc][2:]


class World:
    """A chat, and the bridge that hears what is said in it."""

    def __init__(self, store: Store, repository: Repository) -> None:
        self.store, self.repository = store, repository
        self.now = 1000.0
        self.number = 100

    async def hashes(self) -> MediaHashes:
        """Those of a bridge that was just started."""
        observer = Observer(self.store, bot=BOT, server="school.example")
        await observer.load()
        return MediaHashes(store=self.store, observer=observer, fetch=self.repository.fetch, clock=lambda: self.now)

    async def shared(self, content: Any, *, kind: str = "m.room.message", room: str = ROOM) -> None:
        self.number += 1
        whole = raw(self.number, kind, content) | {"room_id": room}
        await self.store.receive(str(self.number), [new(whole)._replace(room_id=room)], received=1.0)
        event = await self.store.event(f"${self.number}")
        assert event is not None
        await (await self.hashes()).note(event)


@pytest.fixture
async def world(store: Store) -> World:
    await store.receive("t", [new(event) for event in a_chat(PAT)], received=1.0)
    return World(store, Repository(plan=b"a plan", photo=b"a photo"))


def as_it_came(content: bytes) -> Received:
    return Received(hashlib.sha256(content).hexdigest(), len(content))


def file(mxc: str = MXC) -> dict[str, Any]:
    return {"msgtype": "m.file", "body": "plan.pdf", "url": mxc}


async def test_a_file_is_hashed_once_however_often_it_is_shared(world: World) -> None:
    await world.shared(file())
    await world.shared(file())
    await (await world.hashes()).catch_up()
    await world.shared(file())
    await (await world.hashes()).catch_up()

    assert await received(world.store, ROOM) == {MXC: as_it_came(b"a plan")}
    assert world.repository.asked == [MXC]


async def test_stickers_edits_and_encrypted_attachments_hold_files_too(world: World) -> None:
    photo = "mxc://school.example/photo"
    await world.shared({"body": "bear", "url": MXC}, kind="m.sticker")
    await world.shared({"msgtype": "m.text", "body": "* x", "m.new_content": {"file": {"url": photo}}})
    await (await world.hashes()).catch_up()

    assert await received(world.store, ROOM) == {MXC: as_it_came(b"a plan"), photo: as_it_came(b"a photo")}


async def test_pictures_in_a_text_are_files_too(world: World) -> None:
    html = f'<b>look</b> <img src="{MXC}" alt="plan"> <img src="https://evil.example/x">'
    await world.shared({"msgtype": "m.text", "body": "look", "formatted_body": html})
    await (await world.hashes()).catch_up()

    assert await received(world.store, ROOM) == {MXC: as_it_came(b"a plan")}


async def test_no_more_pictures_of_a_text_are_asked_for_than_an_export_holds(world: World) -> None:
    html = "".join(f'<img src="mxc://school.example/{number}">' for number in range(1000))
    await world.shared({"msgtype": "m.text", "body": "look", "formatted_body": html})
    await (await world.hashes()).catch_up()

    assert len(world.repository.asked) == MOST_PICTURES


@pytest.mark.parametrize(
    "url", [None, 7, "https://evil.example/x", "mxc://a/../b", "mxc://a/" + "x" * 300, "mxc://a b/c"]
)
async def test_what_names_no_upload_is_not_asked_for(world: World, url: Any) -> None:
    await world.shared({"msgtype": "m.file", "body": "x", "url": url, "file": 3, "m.new_content": []})
    await (await world.hashes()).catch_up()

    assert world.repository.asked == []


async def test_what_is_sent_to_the_bot_alone_is_no_chats_file(world: World) -> None:
    direct = "!direct:school.example"
    mark = raw(90, "org.qwil.direct", {"user": PAT}, sender=BOT, key="") | {"room_id": direct}
    await world.store.receive("d", [new(mark)._replace(room_id=direct)], received=1.0)

    await world.shared(file(), room=direct)
    await world.shared(file(), room="!none:school.example")

    assert await world.store.recall_all(DUE) == {}


async def test_what_was_noted_is_hashed_by_the_bridge_that_comes_after_a_kill(world: World) -> None:
    await world.shared(file())

    hashes = await world.hashes()
    running = asyncio.create_task(hashes.run())
    try:
        async with asyncio.timeout(60):
            while await world.store.recall_all(DUE):  # noqa: ASYNC110 - looks at the record
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert await received(world.store, ROOM) == {MXC: as_it_came(b"a plan")}


async def test_a_file_that_cannot_be_had_yet_is_asked_for_again(world: World) -> None:
    late = "mxc://school.example/late"
    await world.shared(file(late))
    await world.shared(file())
    hashes = await world.hashes()

    assert await hashes.catch_up() == world.now + PAUSES[0]
    assert list(await received(world.store, ROOM)) == [MXC], "it holds up no other"
    await hashes.catch_up()
    assert world.repository.asked.count(late) == 1, "not before its time"
    world.now += PAUSES[0]
    world.repository.files[late] = b"here it is"
    assert await hashes.catch_up() is None

    assert (await received(world.store, ROOM))[late] == as_it_came(b"here it is")


async def test_what_is_shared_while_others_are_hashed_has_its_turn(world: World) -> None:
    photo = "mxc://school.example/photo"
    await world.shared(file())
    hashes = await world.hashes()
    await hashes.catch_up()
    event = raw(200, "m.room.message", file(photo))
    await world.store.receive("200", [new(event)], received=1.0)
    stored = await world.store.event("$200")
    assert stored is not None

    await hashes.note(stored)
    await hashes.catch_up()

    assert set(await received(world.store, ROOM)) == {MXC, photo}


async def test_a_file_that_is_never_to_be_had_is_left_to_the_export(world: World) -> None:
    lost = "mxc://school.example/lost"
    await world.shared(file(lost))
    hashes = await world.hashes()

    for pause in (*PAUSES, 0):
        await hashes.catch_up()
        world.now += pause

    assert world.repository.asked == [lost] * (len(PAUSES) + 1)
    assert await world.store.recall_all(DUE) == {}


async def test_a_full_disk_is_waited_for_like_a_homeserver_that_is_away(world: World) -> None:
    def full(_mxc: str) -> Iterator[bytes]:
        raise OSError(28, "No space left on device")

    await world.shared(file())
    hashes = await world.hashes()
    hashes._fetch = full

    assert await hashes.catch_up() == world.now + PAUSES[0]


async def test_files_of_another_chat_are_not_this_ones(world: World) -> None:
    await world.shared(file())
    await (await world.hashes()).catch_up()

    assert await received(world.store, "!other:school.example") == {}
    assert await received(world.store, ROOM[:-1]) == {}
