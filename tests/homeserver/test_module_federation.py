"""A network that spans two homeservers: what the other one sends is under the same policy."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.homeserver.conftest import Connect
from tests.homeserver.matrix_client import eventually, refusal_of
from tests.homeserver.two_servers import People, TwoServers, shared_chat, two_servers


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    servers = two_servers(tmp_path_factory.mktemp("two"))
    async with servers.here, servers.there:
        yield servers


@pytest.fixture(scope="module")
async def people(servers: TwoServers, connect: Connect) -> People:
    ours = {name: await connect(servers.here, name) for name in ("head", "tom", "qwil")}
    return ours | {name: await connect(servers.there, name) for name in ("ben", "ria", "eve")}


@pytest.fixture(scope="module")
async def room(people: People) -> str:
    """An active chat of both servers."""
    return await shared_chat(people["qwil"], people["head"], people["ben"])


async def test_colleagues_on_the_other_server_take_part(people: People, room: str) -> None:
    head, ben = people["head"], people["ben"]

    assert (await head.state(room, "m.room.create"))["m.federate"] is True
    await ben.send(room, "Gladly")

    await eventually(lambda: head.messages(room), lambda events: events[-1]["content"].get("body") == "Gladly")


async def test_what_the_other_servers_people_may_not_do_is_not_taken_over(people: People, room: str) -> None:
    head, ben, eve = people["head"], people["ben"], people["eve"]

    await ben.invite(room, eve.user_id)
    await eve.join(room)
    refused = await refusal_of(eve.send(room, "I am here as well"))
    await ben.send(room, "Last word")

    await eventually(lambda: head.messages(room), lambda events: events[-1]["content"].get("body") == "Last word")
    assert eve.user_id not in await head.members(room)
    assert eve.user_id not in await head.members(room, "invite")
    assert not [event for event in await head.messages(room) if event["sender"] == eve.user_id]
    assert refused.rules == ["INV-1"]


async def test_strangers_on_other_servers_invite_nobody_here(people: People) -> None:
    tom, eve, ria = people["tom"], people["eve"], people["ria"]

    refused = await refusal_of(eve.create_room(tom.user_id))
    assert (refused.status, refused.errcode) == (403, "M_FORBIDDEN")
    assert "people of their own network" in refused.error

    theirs = await ria.create_room(tom.user_id)
    await tom.ask("POST", f"join/{quote(theirs)}", server_name=ria.homeserver.server_name)


async def test_rooms_of_other_servers_are_not_entered_uninvited(people: People) -> None:
    tom, eve = people["tom"], people["eve"]
    public = await eve.create_room(preset="public_chat")

    answer = await tom.request("POST", f"join/{quote(public)}", server_name=eve.homeserver.server_name)

    assert (answer.status, answer.errcode, answer.rules) == (403, "M_FORBIDDEN", ["PART-1"])


async def test_chats_of_a_network_on_one_server_stay_on_it(people: People) -> None:
    assert (await refusal_of(people["head"].create_room(people["eve"].user_id))).rules == ["DIR-4"]
