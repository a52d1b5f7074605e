"""What gets past a chat's own events: places Synapse fills by itself, and what people say of themselves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from policy.rooms import DRAFT
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, begun, bridged
from tests.homeserver.conftest import BOT, PASSWORD
from tests.homeserver.matrix_client import Client, eventually, refusal_of

PEOPLE = ["head", "okafor", "lowe", "chan", "diaz", "north", "rest", "ode", "reed", "kemp"]
NOBODY = "@nobody7:qwil.test"
WITH_LEFT_ROOMS = json.dumps({"room": {"include_leave": True}})


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridged]:
    async with bridged(tmp_path_factory.mktemp("beside"), two_schools.policy(), PEOPLE) as running:
        yield running


async def opened(creator: Client, *others: Client, **request: Any) -> str:
    """A chat that has begun, in which its creator has the powers of staff."""
    room = await begun(creator, *others, **request)
    await eventually(
        lambda: creator.state(room, "m.room.power_levels"), lambda state: creator.user_id in state["users"]
    )
    return room


async def test_a_topic_too_long_for_its_event_leaves_no_room_behind(school: Bridged) -> None:
    chan, diaz = await school.clients("chan", "diaz")
    before = await made_by(chan)

    refused = await refusal_of(chan.create_room(diaz.user_id, topic="x" * 60_000))

    assert (refused.status, refused.rules) == (403, ["CHAT-6"])
    assert refused.error == "A topic has at most 4,000 bytes. Shorten it, or write it as a message."
    assert await made_by(chan) == before


async def made_by(client: Client) -> set[str]:
    """The rooms that somebody made and is in; the bridge may be bringing them into others."""
    states = {room: await client.request("GET", f"rooms/{quote(room)}/state") for room in await client.joined_rooms()}
    # Of a room that they have left meanwhile there is no state.
    return {
        room
        for room, answer in states.items()
        if answer.status == 200
        for event in answer.body
        if (event["type"], event["sender"]) == ("m.room.create", client.user_id)
    }


@pytest.mark.parametrize("topic", ["\x07" * 4_000, "😀" * 1_000, "x" * 4_000])
async def test_the_longest_topic_makes_a_chat(school: Bridged, topic: str) -> None:
    okafor, chan = await school.clients("okafor", "chan")

    room = await okafor.create_room(chan.user_id, topic=topic)

    assert (await okafor.state(room, "m.room.topic"))["topic"] == topic


async def test_somebody_outside_a_chat_cannot_be_handed_it_by_being_removed(school: Bridged) -> None:
    okafor, chan, kemp = await school.clients("okafor", "chan", "kemp")
    room = await opened(okafor, chan, name="Trip")

    for stranger in (kemp.user_id, NOBODY):
        path = f"rooms/{quote(room)}/state/m.room.member/{quote(stranger)}"
        refused = await refusal_of(okafor.ask("PUT", path, {"membership": "leave", "reason": "for your eyes"}))
        assert (refused.status, refused.rules) == (403, ["PART-7"])
        assert refused.error == f"{stranger} is not in this chat and cannot be removed from it."

    assert room not in json.dumps(await kemp.ask("GET", "sync", filter=WITH_LEFT_ROOMS))


async def test_a_draft_is_shown_to_nobody_who_is_named_for_it(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    draft = await okafor.create_room(chan.user_id, name="Not yet")
    await eventually(lambda: okafor.members(draft), lambda members: BOT in members)

    path = f"rooms/{quote(draft)}/state/m.room.member/{quote(chan.user_id)}"
    refused = await refusal_of(okafor.ask("PUT", path, {"membership": "leave", "reason": "psst"}))

    assert refused.rules == ["PART-7"]
    assert (await okafor.state(draft, DRAFT))["with"] == [chan.user_id]
    assert draft not in json.dumps(await chan.ask("GET", "sync", filter=WITH_LEFT_ROOMS))


async def test_of_a_chat_left_for_good_nothing_is_in_notifications_or_behind_an_old_token(school: Bridged) -> None:
    okafor, chan, diaz = await school.clients("okafor", "chan", "diaz")
    room = await opened(okafor, chan, diaz, name="A title of its own")
    before = (await chan.ask("GET", "sync"))["next_batch"]
    await okafor.send(room, "A secret of its own")
    for client in (chan, diaz):
        await eventually(
            lambda one=client: one.ask("GET", "notifications"), lambda seen: "A secret of its own" in json.dumps(seen)
        )
    # As the bridge does for somebody who is suspended (USR-1).
    await chan.leave(room)
    await chan.ask("POST", f"rooms/{quote(room)}/forget")

    notified = json.dumps(await chan.ask("GET", "notifications", limit=100))
    since = await chan.ask("GET", "sync", since=before)
    whole = await chan.ask("GET", "sync", since=before, full_state="true")

    assert "A secret of its own" not in notified
    for news in (since, whole):
        shown = json.dumps(news["rooms"]["leave"][room])
        assert chan.user_id in shown
        assert "A title of its own" not in shown
        assert diaz.user_id not in shown
    assert "A secret of its own" in json.dumps(await diaz.ask("GET", "notifications", limit=100))


async def test_who_was_removed_keeps_the_notifications_of_what_they_saw(school: Bridged) -> None:
    okafor, chan, diaz = await school.clients("okafor", "chan", "diaz")
    room = await opened(okafor, chan, diaz)
    await okafor.send(room, "Seen while inside")
    await eventually(
        lambda: chan.ask("GET", "notifications", limit=100), lambda seen: "Seen while inside" in json.dumps(seen)
    )

    await okafor.kick(room, chan.user_id)

    assert "Seen while inside" in json.dumps(await chan.ask("GET", "notifications", limit=100))


async def test_a_former_participant_tells_nobody_how_far_they_have_read(school: Bridged) -> None:
    okafor, chan, diaz = await school.clients("okafor", "chan", "diaz")
    room = await opened(okafor, chan, diaz)
    event = await okafor.send(room, "Read this")
    await okafor.kick(room, chan.user_id)

    refused = await refusal_of(chan.ask("POST", f"rooms/{quote(room)}/receipt/m.read/{quote(event)}"))

    assert (refused.status, refused.rules) == (403, ["PART-8"])
    await diaz.ask("POST", f"rooms/{quote(room)}/receipt/m.read/{quote(event)}")


async def test_nobody_gives_themselves_a_title_or_a_line_of_presence(school: Bridged) -> None:
    chan, diaz = await school.clients("chan", "diaz")
    own = f"profile/{quote(chan.user_id)}"

    for field, value in {"org.example.title": "Headteacher", "m.tz": "Europe/London", "displayname": "CEO"}.items():
        refused = await refusal_of(chan.ask("PUT", f"{own}/{field}", {field: value}))
        assert (refused.status, refused.rules) == (403, ["USR-5"])
    line = {"presence": "online", "status_msg": "I am the head"}
    await chan.ask("PUT", f"presence/{quote(chan.user_id)}/status", line)

    assert "Headteacher" not in json.dumps(await diaz.ask("GET", own))
    assert "status_msg" not in await chan.ask("GET", f"presence/{quote(chan.user_id)}/status")


async def test_whoever_is_not_in_a_chat_is_told_so_with_the_rule(school: Bridged) -> None:
    okafor, lowe, chan, diaz = await school.clients("okafor", "lowe", "chan", "diaz")
    room = await opened(okafor, chan)
    await okafor.invite(room, lowe.user_id)
    await eventually(lambda: okafor.members(room), lambda members: lowe.user_id in members)
    await okafor.kick(room, chan.user_id)

    former = await refusal_of(chan.send(room, "And another thing"))
    stranger = await refusal_of(diaz.send(room, "Hello?"))
    gone = await refusal_of(diaz.leave(room))
    absent = await refusal_of(okafor.kick(room, chan.user_id))
    await eventually(lambda: okafor.state(room, "m.room.power_levels"), lambda state: lowe.user_id in state["users"])
    colleague = await refusal_of(okafor.kick(room, lowe.user_id))

    assert former.error == "You are no longer in this chat: you keep what you saw, and cannot act in it."
    assert stranger.error == gone.error == "You are not in this chat and cannot act in it."
    assert former.rules == stranger.rules == gone.rules == ["PART-8"]
    assert absent.error == f"{chan.user_id} is not in this chat and cannot be removed from it."
    assert colleague.error.startswith("Your client cannot remove colleagues. Write !remove")
    assert absent.rules == colleague.rules == ["PART-7"]


async def test_signing_somebodys_keys_does_not_tell_whether_they_are_there(school: Bridged) -> None:
    chan, kemp = await school.clients("chan", "kemp")
    key = {"usage": ["master"], "keys": {"ed25519:A": "A" * 43}, "signatures": {}}

    answers = [
        await chan.ask("POST", "keys/signatures/upload", {user: {"A" * 43: {**key, "user_id": user}}})
        for user in (kemp.user_id, NOBODY)
    ]

    assert answers == [{"failures": {}}] * 2


async def test_who_closes_their_account_takes_nothing_out_of_the_chats(school: Bridged) -> None:
    okafor, diaz, chan = await school.clients("okafor", "diaz", "chan")
    room = await opened(okafor, diaz)
    said = await diaz.send(room, "Pia wrote this")
    who = {"type": "m.id.user", "user": diaz.user_id}
    proof = {"type": "m.login.password", "identifier": who, "password": PASSWORD}
    await diaz.ask("POST", "account/deactivate", {"auth": proof, "erase": True})

    await okafor.invite(room, chan.user_id)
    await eventually(chan.joined_rooms, lambda rooms: room in rooms)

    shown = {event["event_id"]: event["content"].get("body") for event in await chan.messages(room)}
    assert shown[said] == "Pia wrote this"
