"""Rooms that were there before the rules: some become chats when an administrator applies it, the others are listed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bridge.plan_operator import plan_from_record
from bridge.store import Store
from policy.action import TakeOver
from policy.plan import Plan
from policy.rooms import CHAT
from tests.homeserver import two_schools
from tests.homeserver.arriving import answer
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.conftest import BOT
from tests.homeserver.matrix_client import Client, eventually, refusal_of

PEOPLE = ["head", "okafor", "lowe", "chan", "diaz", "north", "rest", "ode", "reed", "kemp", "stranger"]
ENCRYPTED = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


async def made(
    creator: Client, *others: Client, invited: tuple[Client, ...] = (), said: str = "Written long ago", **request: Any
) -> str:
    """A room as clients make it without us, that everybody is in, with one message."""
    everybody = (*others, *invited)
    room = await creator.create_room(
        *(one.user_id for one in everybody), **{"preset": "trusted_private_chat", "room_version": "11", **request}
    )
    for other in others:
        await other.join(room)
    await creator.send(room, said)
    return room


@pytest.fixture(scope="module")
def old() -> dict[str, str]:
    """The rooms that there were, by name."""
    return {}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
async def school(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, old: dict[str, str]
) -> AsyncIterator[Bridged]:
    folder = tmp_path_factory.mktemp("before")
    database = "sqlite:qwil.db" if request.param == "sqlite" else request.getfixturevalue("postgres_for_a_file")

    async def first(client: Callable[[str], Awaitable[Client]]) -> None:
        old.update(await made_before({name: await client(name) for name in PEOPLE}))

    async with bridged(folder, two_schools.policy(), PEOPLE, database, first=first) as running:
        yield running


async def made_before(people: dict[str, Client]) -> dict[str, str]:
    head, okafor, lowe, ode = (people[name] for name in ("head", "okafor", "lowe", "ode"))
    chan, diaz, north, stranger = (people[name] for name in ("chan", "diaz", "north", "stranger"))
    direct = await made(head, lowe, is_direct=True)
    await head.ask("PUT", f"user/{head.user_id}/account_data/m.direct", {lowe.user_id: [direct]})
    return {
        "Reading": await made(okafor, chan, diaz, invited=(north, stranger), name="Reading", preset="private_chat"),
        "direct": direct,
        "Festival": await made(head, ode, people["rest"], name="Festival"),
        "Stranger": await made(head, lowe, stranger, name="Stranger"),
        "Mixed": await made(head, chan, ode, name="Mixed"),
        "Kept": await made(head, lowe, invited=(okafor,), name="Kept"),
        "Secret": await made(head, lowe, name="Secret", initial_state=[ENCRYPTED]),
        "Open": await made(head, lowe, name="Open", preset="public_chat"),
        "Newest": await made(head, lowe, name="Newest", room_version="12"),
        "Space": await made(head, lowe, name="Space", creation_content={"type": "m.space"}),
    }


async def recorded(school: Bridged) -> Plan:
    found = await plan_from_record(school.settings)
    assert not isinstance(found, list)
    return found.plan


async def test_the_plan_says_which_rooms_become_chats_and_why_the_others_do_not(
    school: Bridged, old: dict[str, str]
) -> None:
    plan = await eventually(lambda: recorded(school), lambda plan: len(plan.stays) >= 6 and len(rooms(plan)) >= 4)

    taken = {step.action.room: step for step in plan.steps if isinstance(step.action, TakeOver)}
    reasons = {room.room: room.text.partition(": ")[2] for room in plan.stays}
    assert set(taken) == {old["Reading"], old["direct"], old["Festival"], old["Kept"]}
    assert all(step.waits for step in taken.values())
    assert taken[old["Reading"]].text == (
        "the room from before “Reading” with 3 people becomes a chat of Hillside Primary of kind client; "
        "2 old invitations to it end"
    )
    assert reasons == {
        old["Stranger"]: "@stranger:qwil.test is in no organisation",
        old["Mixed"]: "Clients cannot be invited to external chats (EXT-3)",
        old["Secret"]: "it is encrypted, so that nothing in it can be put on record (REV-1)",
        old["Open"]: "it is public: anybody could have entered it",
        old["Newest"]: "it has room version 12, in which its creator keeps a power without limit",
        old["Space"]: "it is a space, and spaces follow from contact books (BOOK-9)",
    }


async def taken_over(school: Bridged, admin: Client, room: str, *members: Client) -> str:
    """The room as the chat it becomes when an administrator applies the plan."""

    async def planned_or_done() -> bool:
        return await is_chat(members[0], room) or room in rooms(await recorded(school))

    # An apply that was asked for already may be on its way to this room.
    await eventually(planned_or_done, bool)
    if not await is_chat(members[0], room):
        await school.say(admin, "apply")
    await eventually(lambda: members[0].members(room), lambda found: BOT in found)
    await eventually(lambda: is_chat(members[0], room), bool)
    return room


async def is_chat(member: Client, room: str) -> bool:
    return (await member.request("GET", f"rooms/{room}/state/{CHAT}/")).status == 200


def rooms(plan: Plan) -> set[str]:
    return {step.action.room for step in plan.steps if isinstance(step.action, TakeOver)}


async def powers(client: Client, room: str) -> dict[str, Any]:
    return await client.state(room, "m.room.power_levels")


async def powers_become(client: Client, room: str, wanted: dict[str, int]) -> None:
    await eventually(lambda: powers(client, room), lambda levels: levels["users"] == wanted)


async def test_until_it_is_applied_nobody_new_enters_and_nobody_takes_power(
    school: Bridged, old: dict[str, str]
) -> None:
    head, reed = await school.clients("head", "reed")
    room = old["Stranger"]
    levels = await powers(head, room)

    refused = [
        await refusal_of(head.invite(room, reed.user_id)),
        await refusal_of(head.set_state(room, "m.room.power_levels", {**levels, "invite": 0})),
        await refusal_of(
            head.set_state(room, "m.room.power_levels", {**levels, "users": {**levels["users"], reed.user_id: 100}})
        ),
    ]

    assert [answer.rules for answer in refused] == [["PART-1"], ["PART-7"], ["PART-7"]]
    assert await head.send(room, "This still works")


async def test_a_room_whose_people_may_be_together_becomes_a_chat_like_any_other(
    school: Bridged, old: dict[str, str]
) -> None:
    head, okafor, chan, diaz = await school.clients("head", "okafor", "chan", "diaz")
    room = await taken_over(school, head, old["Reading"], okafor, chan, diaz)

    assert await okafor.state(room, CHAT) == {
        "organisation": "hillside",
        "kind": "client",
        "draft": False,
        "staff_only": False,
    }
    await powers_become(okafor, room, {BOT: 100, okafor.user_id: 50})
    assert await okafor.members(room, "invite") == set()
    look = await eventually(
        lambda: okafor.state(room, "m.room.member", chan.user_id), lambda seen: "avatar_url" in seen
    )
    assert look["displayname"] == "Pat Chan"
    assert "is on record" in str(await okafor.messages(room))
    await chan.send(room, "Good morning")
    assert (await refusal_of(chan.kick(room, diaz.user_id))).rules == ["PART-7"]
    await okafor.invite(room, head.user_id)
    await eventually(lambda: okafor.members(room), lambda members: head.user_id in members)
    assert "Written long ago" in str(await head.messages(room))


async def test_what_was_written_before_is_on_record(school: Bridged, old: dict[str, str]) -> None:
    head, okafor = await school.clients("head", "okafor")
    room = await taken_over(school, head, old["Reading"], okafor)

    async def on_record() -> list[str]:
        store = await Store.open(school.settings.database)
        try:
            return [event.content.get("body", "") async for event in store.history(room)]
        finally:
            await store.close()

    await eventually(on_record, lambda bodies: "Written long ago" in bodies)


async def test_whose_people_are_of_two_schools_is_an_external_chat_and_suspended_people_are_out_of_it(
    school: Bridged, old: dict[str, str]
) -> None:
    head, ode = await school.clients("head", "ode")
    room = await taken_over(school, head, old["Festival"], head, ode)

    assert (await head.state(room, CHAT))["kind"] == "external"
    await eventually(lambda: head.members(room), lambda members: members == {BOT, head.user_id, ode.user_id})
    await powers_become(head, room, {BOT: 100, head.user_id: 50, ode.user_id: 50})


async def test_a_direct_chat_stays_one_and_is_named_after_its_people(school: Bridged, old: dict[str, str]) -> None:
    head, lowe = await school.clients("head", "lowe")
    room = await taken_over(school, head, old["direct"], head, lowe)

    assert (await lowe.state(room, "m.room.name"))["name"] == "Helen Head, Mary Lowe"
    direct = await head.ask("GET", f"user/{head.user_id}/account_data/m.direct")
    assert direct[lowe.user_id] == [room]


async def test_power_that_nobody_can_take_stays_with_those_who_are_out_until_they_come_back(
    school: Bridged, old: dict[str, str]
) -> None:
    head, okafor = await school.clients("head", "okafor")
    room = await taken_over(school, head, old["Kept"], head)
    without = {BOT: 100, head.user_id: 50, "@lowe:qwil.test": 50}

    await powers_become(head, room, {**without, okafor.user_id: 100})
    await head.invite(room, okafor.user_id)
    await powers_become(head, room, {**without, okafor.user_id: 50})


async def test_the_others_stay_as_they_are(school: Bridged, old: dict[str, str]) -> None:
    (head,) = await school.clients("head")
    await taken_over(school, head, old["Festival"], head)

    for name in ("Stranger", "Mixed", "Secret", "Open", "Newest", "Space"):
        assert BOT not in await head.members(old[name])
    shown = await answer(school, head, "plan", "Rooms from before that stay as they are")
    assert "Rooms from before that stay as they are, where people may write and leave (6):" in shown
    assert "of Hillside Primary: @stranger:qwil.test is in no organisation" in shown
