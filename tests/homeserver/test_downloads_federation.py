"""Another server is given the files that one of its people may have: anybody can run one, also who was suspended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.homeserver.conftest import Connect
from tests.homeserver.matrix_client import Client, eventually, refusal_of
from tests.homeserver.test_downloads import show, uploaded
from tests.homeserver.two_servers import Peer, People, TwoServers, shared_chat, two_servers

GIVEN = "/_matrix/federation/v1/media/{}"


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    servers = two_servers(tmp_path_factory.mktemp("media"))
    async with servers.here, servers.there:
        yield servers


@pytest.fixture(scope="module")
async def people(servers: TwoServers, connect: Connect) -> People:
    ours = {name: await connect(servers.here, name) for name in ("head", "tom", "qwil")}
    return ours | {name: await connect(servers.there, name) for name in ("ben", "ria")}


@pytest.fixture(scope="module")
def peer(servers: TwoServers, http: aiohttp.ClientSession) -> Peer:
    return Peer(servers, http)


@pytest.fixture
async def room(people: People) -> str:
    """An active chat of both servers."""
    return await shared_chat(people["qwil"], people["head"], people["ben"])


@pytest.fixture
async def everybody_back(servers: TwoServers, people: People) -> AsyncIterator[None]:
    yield
    await servers.follow(people["qwil"])


async def picture_in(room: str, client: Client, http: aiohttp.ClientSession) -> str:
    """The address of a picture that somebody sent there."""
    address = await uploaded(client, http)
    await show(room, client, address)
    return address


async def downloaded(client: Client, address: str, http: aiohttp.ClientSession, kind: str = "download") -> int:
    """What the client's own server answers, which asks ours for what it does not have."""
    size = "?width=32&height=32" if kind == "thumbnail" else ""
    url = f"{client.homeserver.url}/_matrix/client/v1/media/{kind}/{address.removeprefix('mxc://')}{size}"
    async with http.get(url, headers={"Authorization": f"Bearer {client.access_token}"}) as answer:
        return answer.status


async def asked(peer: Peer, address: str, kind: str = "download") -> int:
    """What our server answers to the other one; what it gives is no JSON."""
    size = "?width=32&height=32" if kind == "thumbnail" else ""
    try:
        answer = await peer.ask("GET", GIVEN.format(kind) + "/" + address.rpartition("/")[2] + size)
    except ValueError:
        return 200
    return answer.status


@pytest.mark.parametrize("kind", ["download", "thumbnail"])
async def test_who_is_in_the_chat_is_given_its_pictures(
    people: People, room: str, http: aiohttp.ClientSession, kind: str
) -> None:
    address = await picture_in(room, people["head"], http)

    assert await downloaded(people["ben"], address, http, kind) == 200


async def test_who_has_left_the_chat_looks_at_its_pictures_again(
    people: People, room: str, http: aiohttp.ClientSession
) -> None:
    head, ben = people["head"], people["ben"]
    address = await picture_in(room, head, http)
    await ben.leave(room)
    await eventually(lambda: head.members(room), lambda members: ben.user_id not in members)

    assert await downloaded(ben, address, http) == 200


@pytest.mark.parametrize("kind", ["download", "thumbnail"])
async def test_pictures_of_a_chat_that_nobody_of_that_server_was_in_are_not_given_to_it(
    people: People, peer: Peer, room: str, http: aiohttp.ClientSession, kind: str
) -> None:
    head, tom, ben = people["head"], people["tom"], people["ben"]
    among_us = await head.create_room(tom.user_id)
    await people["qwil"].join(among_us)
    address = await picture_in(among_us, head, http)

    assert await asked(peer, address, kind) == 404
    # Whoever knows its address could show it to themselves.
    await show(room, ben, address)
    await eventually(lambda: head.messages(room), lambda events: events[-1]["content"].get("url") == address)
    assert await asked(peer, address, kind) == 404
    assert await asked(peer, "mxc://x/nothing") == 404


@pytest.mark.parametrize("kind", ["download", "thumbnail"])
async def test_the_server_of_who_was_suspended_is_given_nothing_of_their_chats(
    servers: TwoServers,
    people: People,
    peer: Peer,
    room: str,
    http: aiohttp.ClientSession,
    everybody_back: None,
    kind: str,
) -> None:
    address = await picture_in(room, people["head"], http)
    assert await asked(peer, address, kind) == 200

    await servers.follow(people["qwil"], ben="suspended")

    assert await asked(peer, address, kind) == 404


async def test_who_is_suspended_in_one_school_does_not_pass_its_files_on_in_the_other(
    servers: TwoServers, people: People, room: str, http: aiohttp.ClientSession, everybody_back: None
) -> None:
    head, tom, ben = people["head"], people["tom"], people["ben"]
    among_us = await head.create_room(tom.user_id)
    await people["qwil"].join(among_us)
    ours = await picture_in(among_us, head, http)
    brook = (
        "  brook:\n    name: Brook\n    mobile: optional\n    books: {}\n    people:\n"
        "      bob: {name: Bob, role: staff, admin: system, email: b@z.example}\n"
        f'      ben: {{name: Ben, role: staff, status: suspended, email: n@z.example, matrix: "{ben.user_id}"}}\n'
    )
    await servers.obey(people["qwil"], servers.policy.read_text() + brook)

    # Their own server asks before it sends, so that no third one is shown the file either.
    refused = await refusal_of(show(room, ben, ours))
    assert (refused.error, refused.rules) == ("You can pass on a file only from a chat that you are in.", ["USR-1"])
    their_own = await picture_in(room, ben, http)

    seen = await eventually(lambda: head.messages(room), lambda events: events[-1]["content"].get("url") == their_own)
    assert ours not in [event["content"].get("url") for event in seen]
