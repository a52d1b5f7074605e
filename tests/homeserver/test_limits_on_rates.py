"""Synapse limits how often somebody may write, invite and enter; what is done for them does not count."""

import pytest

from bridge.demo.homeserver import Homeserver
from tests.homeserver.conftest import BOT, Connect, StartHomeserver
from tests.homeserver.matrix_client import Client, refusal_of
from tests.homeserver.two_schools import policy

CHATS = 2
_ONE = {"per_second": 0.001, "burst_count": 1}
LIMITS = {
    # Making a chat and writing its first message is one of these each.
    "rc_message": {"per_second": 0.001, "burst_count": 2 * CHATS},
    "rc_invites": {"per_room": _ONE, "per_user": _ONE, "per_issuer": _ONE},
    "rc_joins": {"local": _ONE, "remote": _ONE},
    "rc_joins_per_room": _ONE,
}


@pytest.fixture(scope="module")
async def homeserver(start_homeserver: StartHomeserver) -> Homeserver:
    return await start_homeserver(policy(), settings=LIMITS)


async def test_a_first_message_brings_everybody_in_whatever_the_limits_and_counts_as_one(
    homeserver: Homeserver, connect: Connect
) -> None:
    head = await connect(homeserver, "head")
    others: list[Client] = [await connect(homeserver, name) for name in ("okafor", "chan", "diaz")]
    named = [other.user_id for other in others]

    for number in range(CHATS):
        room = await head.create_room(*named, name=f"Trip {number}")
        await head.send(room, "Bring a coat")
        assert await head.members(room) == {head.user_id, *named}
        assert await head.members(room, "invite") == {BOT}

    beyond = await refusal_of(head.send(room, "And a hat"))
    assert beyond.errcode == "M_LIMIT_EXCEEDED"
