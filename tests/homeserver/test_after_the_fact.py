"""A homeserver without the policy module: what people make is shaped, and what should not have happened is undone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bridge.observe import Observer
from bridge.store import Store
from policy.rooms import CHAT
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.conftest import BOT
from tests.homeserver.matrix_client import Client, eventually, refusal_of

PEOPLE = ["head", "okafor", "lowe", "chan", "diaz", "north", "rest", "ode", "reed", "kemp", "stranger"]
ENCRYPTED = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


@pytest.fixture(scope="module")
def early() -> list[str]:
    """The room that was made while the bridge was starting."""
    return []


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory, early: list[str]) -> AsyncIterator[Bridged]:
    folder, more = tmp_path_factory.mktemp("afterwards"), "enforce: after_the_fact\n"
    made, load = asyncio.Event(), Observer.load

    async def late(observer: Observer) -> None:
        await made.wait()
        await load(observer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Observer, "load", late)
        async with bridged(folder, two_schools.policy(), PEOPLE, module=False, more=more) as running:
            lowe, head = await running.clients("lowe", "head")
            early.append(await lowe.create_room(head.user_id, preset="trusted_private_chat", room_version="11"))
            made.set()
            yield running


async def shaped(creator: Client, *invited: Client, **request: object) -> str:
    """A room as clients make it, once the bridge has made it a chat."""
    room = await creator.create_room(*(one.user_id for one in invited), **{"preset": "trusted_private_chat", **request})
    await eventually(lambda: creator.request("GET", f"rooms/{room}/state/{CHAT}/"), lambda seen: seen.status == 200)
    return room


async def told(school: Bridged, client: Client, words: str) -> None:
    await eventually(lambda: school.said(client), lambda said: words in str(said))


async def test_a_room_made_while_the_first_bridge_starts_becomes_a_chat(school: Bridged, early: list[str]) -> None:
    lowe = await school.client("lowe")
    (room,) = early

    await eventually(lambda: lowe.request("GET", f"rooms/{room}/state/{CHAT}/"), lambda seen: seen.status == 200)


async def test_a_room_that_somebody_makes_becomes_a_chat_and_those_invited_come_in(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")

    room = await shaped(okafor, chan, name="Reading", room_version="11")

    await eventually(lambda: okafor.members(room), lambda members: {BOT, chan.user_id} <= members)
    chat = await eventually(lambda: okafor.state(room, CHAT), lambda content: content["kind"] == "client")
    assert chat == {"organisation": "hillside", "kind": "client", "draft": False, "staff_only": False}
    await eventually(
        lambda: okafor.state(room, "m.room.power_levels"),
        lambda seen: seen["users"] == {BOT: 100, okafor.user_id: 50},
    )
    assert await chan.send(room, "Good morning")
    await refusal_of(okafor.set_state(room, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}))


async def test_who_may_not_be_in_it_is_taken_out_again_and_whoever_brought_them_in_is_told_why(school: Bridged) -> None:
    chan, north, stranger = await school.clients("chan", "north", "stranger")
    okafor = await school.client("okafor")

    room = await shaped(chan, okafor, north, stranger, room_version="11")

    await eventually(lambda: chan.members(room), lambda members: members == {BOT, chan.user_id, okafor.user_id})
    await eventually(lambda: chan.members(room, "invite"), lambda invited: invited == set())
    await told(school, chan, "@north:qwil.test was taken out of “New chat” again. ")
    await told(school, chan, "@stranger:qwil.test was taken out of “New chat” again. ")
    store = await Store.open(school.settings.database)
    undone = [entry for entry in await store.audit_entries() if entry.what == "undone"]
    await store.close()
    assert [(entry.who, '"PART-1"' in entry.details) for entry in undone if "@north" in entry.details] == [
        (chan.user_id, True)
    ]


async def test_external_staff_are_not_brought_into_a_chat_that_has_a_client(school: Bridged) -> None:
    head, chan, ode = await school.clients("head", "chan", "ode")
    room = await shaped(head, chan, room_version="11")
    await eventually(lambda: head.members(room), lambda members: chan.user_id in members)

    await head.invite(room, ode.user_id)

    await told(school, head, "External staff cannot join a chat that has, or once had, a client")
    await eventually(lambda: head.members(room, "invite"), lambda invited: ode.user_id not in invited)
    assert ode.user_id not in await head.members(room)
    assert (await head.state(room, CHAT))["kind"] == "client"


async def test_a_room_that_can_be_no_chat_is_left_alone_and_its_creator_told(school: Bridged) -> None:
    head, lowe = await school.clients("head", "lowe")

    room = await head.create_room(lowe.user_id, name="Secret", initial_state=[ENCRYPTED], room_version="11")

    await told(school, head, "Your room “Secret” is no chat of your organisation: it is encrypted")
    assert BOT not in await head.members(room)


async def test_a_room_of_the_newest_version_is_none_of_ours(school: Bridged) -> None:
    head, lowe = await school.clients("head", "lowe")

    await head.create_room(lowe.user_id, name="Newest", room_version="12")

    await told(school, head, "Your room “Newest” is no chat of your organisation: it has room version 12")


async def test_whoever_writes_to_the_bot_is_answered_in_its_own_direct_chat(school: Bridged) -> None:
    reed = await school.client("reed")

    room = await reed.create_room(BOT, is_direct=True, room_version="11")

    await eventually(lambda: school.directs(reed), bool)
    await told(school, reed, "Write to me here.")
    assert room not in await school.directs(reed)
    assert "new “TITLE”" in (await school.say(reed, "help")).replace('"TITLE"', "“TITLE”")


async def test_whose_membership_ends_is_taken_out_of_the_chats(school: Bridged) -> None:
    head, okafor = await school.clients("head", "okafor")
    room = await shaped(head, okafor, room_version="11")
    await eventually(lambda: head.members(room), lambda members: okafor.user_id in members)

    school.edit(two_schools.policy().replace("okafor: {name: Tom", "okafor: {status: left, name: Tom"))

    await eventually(lambda: head.members(room), lambda members: okafor.user_id not in members)
    before = await policies(school)
    school.edit(two_schools.policy())
    await eventually(lambda: policies(school), lambda number: number > before)


async def policies(school: Bridged) -> int:
    """How many have been in force, as the audit has it."""
    store = await Store.open(school.settings.database)
    try:
        return len([entry for entry in await store.audit_entries() if entry.what == "policy"])
    finally:
        await store.close()


async def test_marks_that_somebody_puts_on_a_room_count_for_nothing(school: Bridged) -> None:
    okafor, ode = await school.clients("okafor", "ode")
    forged = {"organisation": "riverside", "kind": "external", "draft": False, "staff_only": False}
    mark = {"type": CHAT, "state_key": "", "content": forged}

    room = await okafor.create_room(ode.user_id, initial_state=[mark], room_version="11")

    await eventually(lambda: okafor.members(room), lambda members: {BOT, ode.user_id} <= members)
    chat = await eventually(lambda: okafor.state(room, CHAT), lambda content: content["organisation"] == "hillside")
    assert chat["draft"] is False


async def test_a_room_made_a_moment_before_its_creator_was_a_member_becomes_a_chat_too(
    school: Bridged,
) -> None:
    okafor, lowe, stranger = await school.clients("okafor", "lowe", "stranger")
    room = await stranger.create_room(okafor.user_id, preset="trusted_private_chat", room_version="11")
    # What comes behind it has been handled, and so has it.
    await shaped(lowe, okafor, room_version="11")
    assert BOT not in await stranger.members(room)

    member = two_schools.person("stranger", "staff", name="Nia New")
    school.edit(two_schools.policy(hillside=[*two_schools.HILLSIDE, member]))

    await eventually(lambda: stranger.members(room), lambda members: {BOT, okafor.user_id} <= members)
    assert (await stranger.state(room, CHAT))["organisation"] == "hillside"
