"""Administrators change the policy from their client, and what they change is so on the homeserver."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from bridge.policy_file import load
from policy.model import PersonId, Policy
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.conftest import BOT
from tests.homeserver.matrix_client import Client, eventually, refusal_of

PEOPLE = ["head", "okafor", "lowe", "chan", "north"]


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridged]:
    async with bridged(tmp_path_factory.mktemp("administered"), two_schools.policy(), PEOPLE) as running:
        yield running


async def uploaded(client: Client, data: bytes) -> str:
    """The address of a file in the media repository."""
    url = f"{client.homeserver.url}/_matrix/media/v3/upload?filename=people.csv"
    headers = {"Authorization": f"Bearer {client.access_token}", "Content-Type": "text/csv"}
    async with aiohttp.ClientSession(headers=headers) as http, http.post(url, data=data) as answer:
        return str((await answer.json())["content_uri"])


async def test_a_stand_in_put_into_a_book_reaches_its_clients_at_once(school: Bridged) -> None:
    head, lowe, chan = await school.clients("head", "lowe", "chan")
    before = await refusal_of(lowe.create_room(chan.user_id))

    said = await school.say(head, "book add year-1 Mary Lowe")

    assert before.rules == ["BOOK-6"]
    assert said == "Mary Lowe is in the contact book year-1. It takes effect within 2 seconds."
    assert await eventually(lambda: lowe.find_people("Chan"), bool)
    assert await lowe.create_room(chan.user_id)


async def test_a_suspended_client_leaves_the_chats_and_comes_back(school: Bridged) -> None:
    head, okafor, chan = await school.clients("head", "okafor", "chan")
    room = await okafor.create_room(chan.user_id)
    await eventually(lambda: okafor.members(room), lambda members: len(members) == 2)
    await okafor.send(room, "Good morning")
    await eventually(chan.joined_rooms, lambda rooms: room in rooms)

    await school.say(head, "suspend Pat Chan")
    await eventually(chan.joined_rooms, lambda rooms: room not in rooms)
    await school.say(head, "unsuspend Pat Chan")

    await eventually(chan.joined_rooms, lambda rooms: room in rooms)


async def test_words_of_administrators_are_refused_to_others(school: Bridged) -> None:
    okafor, head = await school.clients("okafor", "head")

    assert (await school.say(okafor, "suspend chan")).startswith("“suspend” is for administrators")
    assert "suspend PERSON" not in await school.say(okafor, "help")
    assert "suspend PERSON" in await school.say(head, "help")


async def test_a_spreadsheet_sent_to_the_bot_is_imported(school: Bridged) -> None:
    head = await school.client("head")
    direct = await school.direct(head)
    data = (
        b"identifier,first_name,role,email,contact_books\nn.new,Nia,client,n@home.example,year-1\nn.bad,Ned,client,,\n"
    )
    address = await uploaded(head, data)
    file = await head.send_event(
        direct,
        "m.room.message",
        {"msgtype": "m.file", "body": "people.csv", "url": address, "info": {"size": len(data)}},
    )

    async def told() -> list[str]:
        return [event["content"].get("body", "") for event in await head.messages(direct) if event["sender"] == BOT]

    await school.say(head, "import", **{"m.relates_to": {"m.in_reply_to": {"event_id": file}}})
    await eventually(told, lambda said: any(text.startswith("1 new, 1 refused.") for text in said))
    await school.say(head, "import apply")

    said = await eventually(told, lambda said: any(text.startswith("Imported: 1 new, 1 refused.") for text in said))
    assert "refused.csv" in said
    policy = load(school.settings.policy)
    assert isinstance(policy, Policy)
    assert policy.people[PersonId("hillside/n.new")].status == "invited"
