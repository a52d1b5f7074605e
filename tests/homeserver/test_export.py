"""Exports and reviews as people have them: asked for in a client, handed out in the direct chat, checked offline."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bridge.export_order import Order
from bridge.media_hashes import received
from bridge.store import Store
from bridge.transcript.verify import verify
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.conftest import BOT
from tests.homeserver.matrix_client import Client, eventually
from tests.homeserver.two_schools import person

PEOPLE = ["head", "okafor", "lowe", "chan", "north", "ode", "reed"]
HILLSIDE = [
    person("head", "staff", name="Helen Head", admin="system", review="all"),
    person("okafor", "staff", name="Tom Okafor"),
    person("lowe", "staff", name="Mary Lowe", review="connected"),
    person("chan", "client", name="Pat Chan"),
    person("diaz", "client", name="Pia Diaz"),
    person("north", "client", name="Paul North"),
]


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridged]:
    policy = two_schools.policy(hillside=HILLSIDE).replace("name: Ben Ode,", "name: Ben Ode, review: all,")
    async with bridged(tmp_path_factory.mktemp("exported"), policy, PEOPLE) as running:
        yield running


async def chat(creator: Client, other: Client, title: str, *texts: str) -> tuple[str, list[str]]:
    """A chat with a few messages; the room and the events."""
    room = await creator.create_room(other.user_id, name=title)
    await eventually(lambda: creator.members(room), lambda members: BOT in members)
    events = [await creator.send(room, text) for text in texts]
    await eventually(other.joined_rooms, lambda rooms: room in rooms)
    return room, events


async def told(school: Bridged, client: Client) -> list[dict[str, Any]]:
    return [
        event["content"]
        for room in await school.directs(client)
        for event in await client.messages(room)
        if event["sender"] == BOT and event["type"] == "m.room.message"
    ]


async def ask(client: Client, room: str, text: str, reply_to: str | None = None) -> None:
    relation = {"m.relates_to": {"m.in_reply_to": {"event_id": reply_to}}} if reply_to else {}
    await client.send_event(room, "m.room.message", {"msgtype": "m.text", "body": text, **relation})


async def done(school: Bridged, client: Client, title: str) -> list[dict[str, Any]]:
    """The files of an export, once its last word is said."""

    def is_done(contents: list[dict[str, Any]]) -> bool:
        return any(content["body"].startswith(f"* The export of “{title}” is done") for content in contents)

    contents = await eventually(lambda: told(school, client), is_done, patience=180)
    return [content for content in contents if content["msgtype"] == "m.file"]


async def download(client: Client, content: dict[str, Any], to: Path) -> Path:
    server, media = content["url"].removeprefix("mxc://").split("/")
    url = f"{client.homeserver.url}/_matrix/client/v1/media/download/{server}/{media}"
    headers = {"Authorization": f"Bearer {client.access_token}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(url) as answer:
        assert answer.status == 200
        (to / content["body"]).write_bytes(await answer.read())
    return to / content["body"]


def record_of(export: Path) -> str:
    with zipfile.ZipFile(export) as archive:
        return archive.read("messages.jsonl").decode()


async def test_staff_export_a_chat_and_get_it_in_their_direct_chat(school: Bridged, tmp_path: Path) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room, events = await chat(okafor, chan, "Trip", "We leave at nine", "Bring a coat")
    await okafor.redact(room, events[1])

    await ask(okafor, room, "!export")

    files = await done(school, okafor, "Trip")
    assert sorted(Path(file["body"]).suffix for file in files) == [".pdf", ".zip"]
    export = await download(okafor, next(file for file in files if file["body"].endswith(".zip")), tmp_path)
    assert verify(export).good
    assert "We leave at nine" in record_of(export)
    assert "Bring a coat" in record_of(export), "what was deleted stays on record"
    assert '"name":"Tom Okafor","role":"staff","organisation":"Hillside Primary"' in record_of(export)
    in_chat = [event for event in await okafor.messages(room) if event["sender"] == BOT]
    assert not [event for event in in_chat if event["type"] == "m.room.message"]


async def test_a_reply_exports_up_to_that_message_and_no_further(school: Bridged, tmp_path: Path) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room, events = await chat(okafor, chan, "Choir", "first words", "second words", "third words")

    await ask(okafor, room, "!export zip", events[1])

    (file,) = [one for one in await done(school, okafor, "Choir") if one["body"].endswith(".zip")][-1:]
    record = record_of(await download(okafor, file, tmp_path))
    assert "second words" in record
    assert "third words" not in record


async def uploaded(client: Client, data: bytes) -> str:
    url = f"{client.homeserver.url}/_matrix/media/v3/upload?filename=plan.pdf"
    headers = {"Authorization": f"Bearer {client.access_token}", "Content-Type": "application/pdf"}
    async with aiohttp.ClientSession(headers=headers) as http, http.post(url, data=data) as answer:
        return str((await answer.json())["content_uri"])


async def test_a_shared_file_is_hashed_when_it_comes_and_is_in_the_export(school: Bridged, tmp_path: Path) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room, _ = await chat(okafor, chan, "Files", "the plan comes")
    mxc = await uploaded(chan, b"%PDF the plan")
    await chan.send_event(room, "m.room.message", {"msgtype": "m.file", "body": "plan.pdf", "url": mxc})
    store = await Store.open(school.settings.database)
    try:
        known = await eventually(lambda: received(store, room), bool)
    finally:
        await store.close()

    await ask(okafor, room, "!export zip")

    digest = hashlib.sha256(b"%PDF the plan").hexdigest()
    assert known == {mxc: (digest, 13)}
    file = (await done(school, okafor, "Files"))[-1]
    (line,) = [
        json.loads(line)
        for line in record_of(await download(okafor, file, tmp_path)).splitlines()
        if "plan.pdf" in line
    ]
    assert (line["file"]["sha256"], line["file"].get("changed")) == (digest, None)


async def test_who_left_before_the_export_is_made_gets_none(school: Bridged) -> None:
    okafor, chan, head = await school.clients("okafor", "chan", "head")
    room, _ = await chat(okafor, chan, "Put out", "hello")
    await okafor.invite(room, head.user_id)
    await eventually(lambda: okafor.members(room), lambda members: head.user_id in members)
    store = await Store.open(school.settings.database)
    try:
        now = time.time()
        order = Order(key="$later", room=room, by=head.user_id, asked=now)
        await store.add_job("export", order.key, asdict(order), due=now + 3600)
        await head.leave(room)
        (job,) = await store.due_jobs(now + 7200)
        await store.postpone_job(job, due=now, error="")
        await ask(okafor, room, "!export zip")  # whoever makes exports looks what is due

        def is_refused(contents: list[dict[str, Any]]) -> bool:
            return any(f"{order.export_id} is stopped" in content["body"] for content in contents)

        contents = await eventually(lambda: told(school, head), is_refused)
    finally:
        await store.close()

    assert not any(order.export_id in content["body"] and content["msgtype"] == "m.file" for content in contents)


async def test_a_single_message_is_exported_alone(school: Bridged, tmp_path: Path) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room, events = await chat(okafor, chan, "Lunch", "soup", "bread", "cheese")

    await ask(okafor, room, "!export message zip", events[1])

    file = (await done(school, okafor, "Lunch"))[-1]
    record = record_of(await download(okafor, file, tmp_path))
    assert "bread" in record
    assert "soup" not in record
    assert "cheese" not in record


async def test_clients_and_strangers_cannot_export(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room, _ = await chat(okafor, chan, "Closed", "hello")

    said = await school.say(chan, "!export", room)

    assert said == "Only staff can export a chat. Please ask a member of staff for a copy."


async def test_reviewers_find_what_their_level_allows(school: Bridged) -> None:
    okafor, chan, head, lowe, ode = await school.clients("okafor", "chan", "head", "lowe", "ode")
    room, _ = await chat(okafor, chan, "Swimming", "The xylophone is broken")

    assert f"“Swimming” (Hillside Primary, {room}): The xylophone is broken" in await school.say(
        head, "review find xylophone"
    )
    assert (await school.say(lowe, "review find xylophone")).startswith("Nothing was found")
    assert (await school.say(ode, "review find xylophone")).startswith("Nothing was found")
    assert (await school.say(okafor, "review find xylophone")).startswith("Only data reviewers")
    assert "EXT-9" in await refusal_rules(school, ode, room)


async def refusal_rules(school: Bridged, client: Client, room: str) -> str:
    """The rules by which a review was refused, from the audit."""
    from bridge.audit import entries

    await school.say(client, f"review export {room}")
    store = await Store.open(school.settings.database)
    try:
        return "".join([entry.details async for entry in entries(store, who=client.user_id, what="refused")])
    finally:
        await store.close()


async def test_both_organisations_review_an_external_chat_and_it_is_in_status(school: Bridged, tmp_path: Path) -> None:
    okafor, reed, head, ode = await school.clients("okafor", "reed", "head", "ode")
    room, _ = await chat(okafor, reed, "Network", "about the zeppelin")

    for reviewer in (head, ode):
        assert "about the zeppelin" in await school.say(reviewer, "review find zeppelin")
    await ask(ode, await school.direct(ode), f"review export {room} zip")

    (file,) = await done(school, ode, "Network")
    assert "about the zeppelin" in record_of(await download(ode, file, tmp_path))
    assert "review export “Network”" in await school.say(head, "status")
    assert "review find “zeppelin”" in await school.say(ode, "status")
