"""What people have in their ordinary client without our doing: history, devices, links, shared chats, chats by name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from policy.rooms import CHAT
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.conftest import BOT, PASSWORD
from tests.homeserver.matrix_client import Client, eventually


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridged]:
    folder = tmp_path_factory.mktemp("views")
    async with bridged(folder, two_schools.policy(), ["head", "okafor", "chan", "lowe", "reed"]) as running:
        yield running


async def begun(creator: Client, *others: Client, text: str = "Good morning", **request: Any) -> tuple[str, str]:
    """A chat that everybody is in, and its first message."""
    room = await creator.create_room(*(other.user_id for other in others), **request)
    await eventually(lambda: creator.members(room), lambda members: BOT in members)
    event = await creator.send(room, text)
    for other in others:
        await eventually(other.joined_rooms, lambda rooms: room in rooms)
    await eventually(lambda: creator.state(room, CHAT), lambda content: content["draft"] is False)
    return room, event


async def texts(client: Client, room: str) -> list[str]:
    return [event["content"].get("body", "") for event in await client.messages(room)]


async def test_a_newcomer_reads_the_whole_history(school: Bridged) -> None:
    okafor, head, reed = await school.clients("okafor", "head", "reed")
    room, _ = await begun(okafor, head, text="Before you came")

    await okafor.invite(room, reed.user_id)
    await eventually(reed.joined_rooms, lambda rooms: room in rooms)

    assert "Before you came" in await texts(reed, room)


async def test_a_message_sent_on_one_device_is_on_the_other(school: Bridged) -> None:
    okafor, head = await school.clients("okafor", "head")
    second = Client(school.homeserver, await school.homeserver.login("okafor", PASSWORD), okafor._http)
    room, _ = await begun(okafor, head)
    await second.sync()

    event = await okafor.send(room, "From my desk")
    await second.sync_until(lambda news: event in events_of(news, room), patience=60)

    assert second.device_id != okafor.device_id


def events_of(news: dict[str, Any], room: str) -> list[str]:
    """What is new in a room, of which there may be more than the one message."""
    joined = news.get("rooms", {}).get("join", {})
    return [event["event_id"] for event in joined[room]["timeline"]["events"]] if room in joined else []


async def test_a_participant_who_follows_a_link_is_at_the_message(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room, event = await begun(okafor, chan, text="The dates")

    answer = await chan.ask("GET", f"rooms/{quote(room)}/context/{quote(event)}")

    assert answer["event"]["content"]["body"] == "The dates"


@pytest.mark.parametrize("path", ["context", "event"])
async def test_whoever_is_not_in_the_chat_gets_an_error_and_no_content_from_a_link(school: Bridged, path: str) -> None:
    okafor, chan, lowe = await school.clients("okafor", "chan", "lowe")
    room, event = await begun(okafor, chan, text="For us alone")
    link = f"rooms/{quote(room)}/{path}/{quote(event)}"

    stranger = await lowe.request("GET", link)
    async with okafor._http.get(f"{school.homeserver.url}/_matrix/client/v3/{link}") as signed_out:
        asked_to_sign_in = await signed_out.json()

    assert stranger.status in (403, 404)
    assert "For us alone" not in json.dumps(stranger.body)
    assert signed_out.status == 401
    assert asked_to_sign_in["errcode"] == "M_MISSING_TOKEN"


async def test_a_chat_is_found_by_words_of_its_name_by_those_in_it(school: Bridged) -> None:
    okafor, chan, lowe = await school.clients("okafor", "chan", "lowe")
    room, _ = await begun(okafor, chan, name="Swimming gala")
    wanted = {"search_categories": {"room_events": {"search_term": "gala", "keys": ["content.name"]}}}

    async def found(client: Client) -> set[str]:
        answer = await client.ask("POST", "search", wanted)
        return {hit["result"]["room_id"] for hit in answer["search_categories"]["room_events"]["results"]}

    await eventually(lambda: found(chan), lambda rooms: room in rooms)
    assert room not in await found(lowe)


async def test_the_chats_and_documents_shared_with_a_contact_are_those_both_are_in(school: Bridged) -> None:
    okafor, head, chan = await school.clients("okafor", "head", "chan")
    shared, _ = await begun(okafor, chan)
    other, _ = await begun(okafor, head)
    letter = {"msgtype": "m.file", "body": "letter.pdf", "url": "mxc://qwil.test/letter"}
    await okafor.send_event(shared, "m.room.message", letter)

    with_chan = {room for room in await okafor.joined_rooms() if chan.user_id in await okafor.members(room)}
    only_files = json.dumps({"contains_url": True, "types": ["m.room.message"]})
    files = await okafor.ask("GET", f"rooms/{quote(shared)}/messages", dir="b", filter=only_files)

    assert shared in with_chan
    assert other not in with_chan
    assert [event["content"]["body"] for event in files["chunk"]] == ["letter.pdf"]
