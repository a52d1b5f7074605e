"""Who is suspended, or has left, downloads nothing of that organisation, even where they know the address (USR-1)."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import aiohttp
import pytest

from policy.rooms import CHAT
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.conftest import BOT
from tests.homeserver.matrix_client import Client, eventually

PEOPLE = ["head", "okafor", "lowe", "chan", "diaz", "ode"]
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
CLOSED = "This file is from a chat that you are not in. Please ask your organisation's office."


def policy(*, okafor: str = "active", chan: str = "active") -> str:
    """Tom Okafor is staff of both schools."""
    people = [
        line.replace("name: Tom Okafor", f"status: {okafor}, name: Tom Okafor").replace(
            "name: Pat Chan", f"status: {chan}, name: Pat Chan"
        )
        for line in two_schools.HILLSIDE
    ]
    text = two_schools.policy(hillside=people)
    second = two_schools.person("tom", "staff", name="Tom Okafor", matrix='"@okafor:qwil.test"')
    ode = two_schools.RIVERSIDE[0]
    assert text.count(ode) == 1
    return text.replace(ode, ode + second)


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridged]:
    async with bridged(tmp_path_factory.mktemp("downloads"), policy(), PEOPLE) as running:
        yield running


@pytest.fixture(autouse=True)
async def everybody_back(school: Bridged) -> AsyncIterator[None]:
    yield
    school.edit(policy())
    okafor, chan = await school.clients("okafor", "chan")
    for one, name in ((okafor, "Pat Chan"), (chan, "Tom Okafor")):
        await eventually(lambda one=one, name=name: one.find_people(name), bool)


async def chat(creator: Client, *others: Client) -> str:
    """A chat that has begun."""
    room = await creator.create_room(*(other.user_id for other in others))
    await eventually(lambda: creator.members(room), lambda members: BOT in members)
    await creator.send(room, "Good morning")
    for other in others:
        await eventually(other.joined_rooms, lambda rooms: room in rooms)
    await eventually(lambda: creator.state(room, CHAT), lambda content: content["draft"] is False)
    return room


async def picture_in(room: str, client: Client, http: aiohttp.ClientSession) -> str:
    """The address of a picture that somebody sent there."""
    url = f"{client.homeserver.url}/_matrix/media/v3/upload?filename=us.png"
    headers = {"Authorization": f"Bearer {client.access_token}", "Content-Type": "image/png"}
    async with http.post(url, data=PIXEL, headers=headers) as answer:
        address = str((await answer.json())["content_uri"])
    await client.send_event(room, "m.room.message", {"msgtype": "m.image", "body": "us.png", "url": address})
    return address


async def downloaded(client: Client, address: str, kind: str = "download") -> int | tuple[int, str, list[str]]:
    """200, or the status with what the client is told."""
    size = "?width=32&height=32" if kind == "thumbnail" else ""
    url = f"{client.homeserver.url}/_matrix/client/v1/media/{kind}/{address.removeprefix('mxc://')}{size}"
    headers = {"Authorization": f"Bearer {client.access_token}"}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        if answer.status == 200:
            assert await answer.read()
            return 200
        body = await answer.json()
        return answer.status, body["error"], body.get("org.qwil.rules", [])


async def status_in_force(client: Client, address: str, *, open_: bool) -> None:
    await eventually(lambda: downloaded(client, address), lambda seen: (seen == 200) is open_)


async def test_a_suspended_client_downloads_no_picture_of_their_chats_until_they_are_back(
    school: Bridged, http: aiohttp.ClientSession
) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    address = await picture_in(await chat(okafor, chan), okafor, http)
    assert [await downloaded(chan, address, kind) for kind in ("download", "thumbnail")] == [200, 200]

    school.edit(policy(chan="suspended"))
    await status_in_force(chan, address, open_=False)

    for kind in ("download", "thumbnail"):
        assert await downloaded(chan, address, kind) == (403, CLOSED, ["USR-1"])
    assert await downloaded(okafor, address) == 200

    school.edit(policy())
    await status_in_force(chan, address, open_=True)


async def test_files_of_other_servers_are_not_even_asked_for(school: Bridged) -> None:
    (chan,) = await school.clients("chan")
    school.edit(policy(chan="suspended"))
    refused = (403, CLOSED, ["USR-1"])

    await eventually(lambda: downloaded(chan, "mxc://elsewhere.test/abcdef"), lambda seen: seen == refused)
    assert await downloaded(chan, "mxc://qwil.test/%25") == refused


async def test_who_is_suspended_in_one_school_goes_on_in_the_other(
    school: Bridged, http: aiohttp.ClientSession
) -> None:
    okafor, ode, chan, head = await school.clients("okafor", "ode", "chan", "head")
    at_hillside = await picture_in(await chat(head, okafor, chan), chan, http)
    at_riverside = await picture_in(await chat(ode, okafor), ode, http)

    school.edit(policy(okafor="suspended"))
    await status_in_force(okafor, at_hillside, open_=False)

    assert await downloaded(okafor, at_riverside) == 200


async def test_a_badge_is_everybodys(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room = await chat(okafor, chan)
    seen = await eventually(
        lambda: okafor.state(room, "m.room.member", okafor.user_id), lambda one: "avatar_url" in one
    )
    school.edit(policy(chan="suspended"))
    await eventually(chan.joined_rooms, lambda rooms: room not in rooms)

    assert await downloaded(chan, seen["avatar_url"]) == 200


async def test_an_export_is_downloaded_only_while_its_organisation_is_theirs(school: Bridged) -> None:
    okafor, ode, chan = await school.clients("okafor", "ode", "chan")
    at_hillside = await exported(school, okafor, await chat(okafor, chan))
    at_riverside = await exported(school, okafor, await chat(ode, okafor))
    assert [await downloaded(okafor, address) for address in (at_hillside, at_riverside)] == [200, 200]

    school.edit(policy(okafor="suspended"))
    await status_in_force(okafor, at_hillside, open_=False)

    assert await downloaded(okafor, at_hillside) == (403, CLOSED, ["USR-1"])
    assert await downloaded(okafor, at_riverside) == 200


async def exported(school: Bridged, client: Client, room: str) -> str:
    """The address of the chat's export, which the bot sends in its direct chat."""

    async def files() -> list[str]:
        events = [event for direct in await school.directs(client) for event in await client.messages(direct)]
        return [event["content"]["url"] for event in events if event["content"].get("msgtype") == "m.file"]

    known = len(await files())
    await client.send(room, "!export pdf")
    return (await eventually(files, lambda found: len(found) > known))[-1]


async def test_without_an_account_nothing_is_given(school: Bridged, http: aiohttp.ClientSession) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    address = (await picture_in(await chat(okafor, chan), okafor, http)).removeprefix("mxc://")

    for path in (f"/_matrix/media/v3/download/{address}", f"/_matrix/media/r0/thumbnail/{address}?width=32&height=32"):
        async with http.get(f"{okafor.homeserver.url}{path}") as answer:
            assert answer.status == 404
