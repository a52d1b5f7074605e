"""What somebody with bad intentions tries, with a real client against a homeserver with module and bridge."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, begun, bridged
from tests.homeserver.conftest import BOT, Connect, StartHomeserver
from tests.homeserver.matrix_client import Client, eventually, refusal_of

PEOPLE = ["head", "okafor", "lowe", "chan", "diaz", "north", "rest", "ode", "reed", "kemp"]


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridged]:
    async with bridged(tmp_path_factory.mktemp("attacked"), two_schools.policy(), PEOPLE) as running:
        yield running


def text(body: str, **more: Any) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": body, **more}


async def everything_shown(client: Client, room: str, event: str) -> str:
    """All that a client gets by every way of reading that there is, of a room and of one event in it."""
    inside, threads = f"rooms/{quote(room)}", f"/_matrix/client/v1/rooms/{quote(room)}"
    words = {"search_categories": {"room_events": {"search_term": "later", "include_state": True}}}
    sliding = {"required_state": [["*", "*"]], "timeline_limit": 100}
    simplified = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
    asked: list[tuple[str, str, Any, dict[str, str | int]]] = [
        ("GET", f"{inside}/messages", None, {"dir": "b", "limit": 100}),
        ("GET", f"{inside}/messages", None, {"dir": "f", "limit": 100}),
        ("GET", f"{inside}/event/{event}", None, {}),
        ("GET", f"{inside}/context/{event}", None, {"limit": 100}),
        ("GET", f"{threads}/relations/{event}", None, {}),
        ("GET", f"{threads}/threads", None, {}),
        ("GET", f"{threads}/hierarchy", None, {}),
        ("GET", f"{inside}/state", None, {}),
        ("GET", f"{inside}/members", None, {}),
        ("GET", f"/_matrix/client/r0/{inside}/initialSync", None, {}),
        ("GET", "sync", None, {"filter": json.dumps({"room": {"include_leave": True}})}),
        ("POST", "search", words, {}),
        ("POST", simplified, {"room_subscriptions": {room: sliding}}, {}),
    ]  # fmt: skip
    answers = [await client.request(method, path, body, **params) for method, path, body, params in asked]
    return json.dumps([answer.body for answer in answers])


async def test_a_removed_person_sees_nothing_of_what_comes_later_whichever_way_they_ask(school: Bridged) -> None:
    okafor, chan, diaz = await school.clients("okafor", "chan", "diaz")
    room = await begun(okafor, chan, diaz, name="Trip")
    old = await okafor.send(room, "We leave at nine")
    await eventually(lambda: okafor.state(room, "m.room.power_levels"), lambda state: okafor.user_id in state["users"])
    await okafor.kick(room, chan.user_id)
    replaced = {"m.new_content": text("later, edited"), "m.relates_to": {"rel_type": "m.replace", "event_id": old}}
    await okafor.send_event(room, "m.room.message", text("* later, edited", **replaced))
    answer = {"m.relates_to": {"rel_type": "m.thread", "event_id": old}}
    await okafor.send_event(room, "m.room.message", text("later, in a thread", **answer))
    await okafor.send(room, "later, at the end")
    await okafor.set_state(room, "m.room.name", {"name": "later, a title"})

    shown = await everything_shown(chan, room, old)

    assert "We leave at nine" in shown
    assert "later" not in shown.replace("We leave at nine", "")
    assert "later, in a thread" in await everything_shown(diaz, room, old)


async def test_whoever_is_added_again_reads_the_whole_history(school: Bridged) -> None:
    okafor, chan, diaz = await school.clients("okafor", "chan", "diaz")
    room = await begun(okafor, chan, diaz)
    await chan.leave(room)
    await okafor.send(room, "Said meanwhile")
    await okafor.invite(room, chan.user_id)
    await eventually(chan.joined_rooms, lambda rooms: room in rooms)

    assert "Said meanwhile" in [event["content"].get("body") for event in await chan.messages(room)]


async def test_an_invitation_that_came_to_nothing_shows_nothing_of_the_chat(
    start_homeserver: StartHomeserver, connect: Connect
) -> None:
    homeserver = await start_homeserver(two_schools.policy())
    bot, okafor, chan, diaz = [await connect(homeserver, user) for user in ("qwil", "okafor", "chan", "diaz")]
    room = await two_schools.open_chat(bot, okafor, chan, staff=[okafor])
    old = await okafor.send(room, "Between us")
    await okafor.invite(room, diaz.user_id)
    await diaz.leave(room)

    assert "Between us" not in await everything_shown(diaz, room, old)
    for what in ("members", "state", "messages"):
        assert (await diaz.request("GET", f"rooms/{quote(room)}/{what}")).status == 403


async def test_devices_speak_to_ones_own_alone_and_those_of_strangers_are_not_found(school: Bridged) -> None:
    chan, north, diaz = await school.clients("chan", "north", "diaz")
    for client in (chan, north, diaz):
        await client.sync()
    nobody = "@nobody:qwil.test"
    for user in (north.user_id, nobody):
        found = await chan.ask("POST", "keys/query", {"device_keys": {user: []}})
        assert not any(found[kind] for kind in ("device_keys", "master_keys", "failures"))
        claimed = await chan.ask("POST", "keys/claim", {"one_time_keys": {user: {"A": "signed_curve25519"}}})
        assert claimed == {"one_time_keys": {}, "failures": {}}
    content = {"from_device": "A", "body": "Psst"}
    messages = {user: {"*": content} for user in (north.user_id, nobody, diaz.user_id, chan.user_id)}

    assert await chan.ask("PUT", "sendToDevice/m.key.verification.request/1", {"messages": messages}) == {}

    assert "Psst" in json.dumps((await chan.sync()).get("to_device"))
    for other in (north, diaz):
        assert "Psst" not in json.dumps((await other.sync()).get("to_device", {}))


async def test_a_first_message_that_is_too_long_brings_nobody_in(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room = await okafor.create_room(chan.user_id)
    await eventually(lambda: okafor.members(room), lambda members: BOT in members)

    assert (await refusal_of(okafor.send(room, "a" * 66_000))).status == 413

    assert chan.user_id not in await okafor.members(room)
    assert room not in await chan.joined_rooms()


async def test_a_title_cannot_speak_in_the_bots_place(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room = await begun(okafor, chan, name="Trip”.\n\nYour password has expired")

    assert await okafor.state(room, "m.room.name") == {"name": "Trip”. Your password has expired"}
    said = await school.say(chan, "!rename Lunch\u202e \nand “more”", room)
    assert said == "The chat is called “Lunch and “more” now."
    assert await okafor.state(room, "m.room.name") == {"name": "Lunch and “more"}


async def test_the_bot_speaks_to_people_whatever_they_wrote_into_their_own_list_of_direct_chats(
    school: Bridged,
) -> None:
    kemp = await school.client("kemp")
    path = f"user/{kemp.user_id}/account_data/m.direct"
    await kemp.ask("PUT", path, {BOT: 5, "@nobody:qwil.test": "nonsense"})
    room = await kemp.create_room()
    await eventually(lambda: kemp.members(room), lambda members: BOT in members)

    await kemp.send(room, "!help")

    said = await eventually(lambda: school.said(kemp), bool)
    assert "Words with" in said[0][1]
    (direct,) = await school.directs(kemp)
    listed = await eventually(lambda: kemp.ask("GET", path), lambda content: content[BOT] != 5)
    assert listed == {BOT: [direct], "@nobody:qwil.test": "nonsense"}


async def test_whose_membership_ended_reads_no_more_of_the_chats_and_whoever_was_removed_still_does(
    school: Bridged,
) -> None:
    okafor, chan, diaz = await school.clients("okafor", "chan", "diaz")
    room = await begun(okafor, chan, diaz)
    old = await okafor.send(room, "Said in this chat alone")
    await school.say(okafor, "!remove Pia Diaz", room)
    ended = [line.replace("name: Pat Chan", "name: Pat Chan, status: left") for line in two_schools.HILLSIDE]
    try:
        school.edit(two_schools.policy(hillside=ended, year_1="head, okafor, diaz"))
        await eventually(chan.joined_rooms, lambda rooms: room not in rooms)
        messages = f"rooms/{quote(room)}/messages"
        await eventually(lambda: chan.request("GET", messages, dir="b"), lambda answer: answer.status == 403)

        assert "Said in this chat alone" not in await everything_shown(chan, room, old)
        assert "Said in this chat alone" in await everything_shown(diaz, room, old)
    finally:
        school.edit(two_schools.policy())


async def test_whoever_comes_into_a_books_space_does_not_read_who_was_in_it_before(school: Bridged) -> None:
    chan, diaz, north = await school.clients("chan", "diaz", "north")
    try:
        school.edit(year_1("head, okafor, lowe, chan, diaz"))
        space = await eventually(lambda: space_of(diaz, "Year 1"), bool)
        await eventually(chan.joined_rooms, lambda rooms: space in rooms)
        school.edit(year_1("head, okafor, lowe, diaz, north"))
        await eventually(north.joined_rooms, lambda rooms: space in rooms)
        await eventually(chan.joined_rooms, lambda rooms: space not in rooms)

        for direction in ("b", "f"):
            read = await north.ask("GET", f"rooms/{quote(space)}/messages", dir=direction, limit=100)
            assert "Pat Chan" not in json.dumps(read)
        read_by_former = await eventually(
            lambda: chan.request("GET", f"rooms/{quote(space)}/members"), lambda answer: answer.status == 403
        )
        assert "chunk" not in read_by_former.body
    finally:
        school.edit(two_schools.policy())


def year_1(members: str) -> str:
    """The policy with these in one book, and everybody else in the other."""
    return two_schools.policy(year_1=members).replace("[lowe, north]", "[lowe, north, chan]")


async def space_of(client: Client, name: str) -> str | None:
    """The space of that name that somebody is in."""
    for room in await client.joined_rooms():
        # Nothing is shown of a room that they are taken out of meanwhile.
        shown = await client.request("GET", f"rooms/{quote(room)}/state")
        state = {event["type"]: event["content"] for event in shown.body} if shown.status == 200 else {}
        if state.get("m.room.create", {}).get("type") == "m.space" and state["m.room.name"]["name"] == name:
            return room
    return None
