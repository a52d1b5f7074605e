"""What people see of the bridge, on a real homeserver: drafts, names, badges, spaces, words, coming and going."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bridge import app
from bridge.store import Store
from policy.rooms import CHAT, DRAFT
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, begun, bridged
from tests.homeserver.conftest import BOT
from tests.homeserver.matrix_client import Client, eventually, refusal_of

PEOPLE = ["head", "okafor", "lowe", "chan", "diaz", "north", "rest", "ode", "reed", "kemp"]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
async def school(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridged]:
    folder = tmp_path_factory.mktemp("bridged")
    database = "sqlite:qwil.db" if request.param == "sqlite" else request.getfixturevalue("postgres_for_a_file")
    async with bridged(folder, two_schools.policy(), PEOPLE, database) as running:
        yield running


@pytest.fixture(autouse=True)
async def the_policy_as_it_was(school: Bridged) -> AsyncIterator[None]:
    yield
    await school.follow(two_schools.policy())


async def look_of(client: Client, room: str, user: str) -> dict[str, Any]:
    return await client.state(room, "m.room.member", user)


async def spaces_of(client: Client) -> dict[str, str]:
    """The names of the spaces somebody is in, with their ids."""
    found = {}
    for room in await client.joined_rooms():
        # Somebody may be taken out of it just now.
        create = await client.request("GET", f"rooms/{room}/state/m.room.create/")
        if create.body.get("type") == "m.space":
            found[await _name(client, room)] = room
    return found


async def test_a_chat_begins_with_its_first_message_and_is_unread_for_the_others(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    await chan.sync()
    room = await okafor.create_room(chan.user_id, name="Reading")
    await eventually(lambda: okafor.members(room), lambda members: BOT in members)

    assert room not in await chan.joined_rooms()
    await okafor.send(room, "Which book?")
    news = await chan.sync_until(lambda seen: room in seen["rooms"].get("join", {}))

    assert news["rooms"]["join"][room]["unread_notifications"]["notification_count"] == 1
    active = await eventually(lambda: okafor.state(room, CHAT), lambda content: content["draft"] is False)
    assert active == {"organisation": "hillside", "kind": "client", "draft": False, "staff_only": False}
    assert await eventually(lambda: okafor.state(room, DRAFT), lambda content: content == {}) == {}


async def test_whom_a_draft_named_and_did_not_join_is_nowhere_in_the_history(school: Bridged) -> None:
    okafor, chan, diaz = await school.clients("okafor", "chan", "diaz")
    room = await okafor.create_room(chan.user_id)
    await eventually(lambda: okafor.members(room), lambda members: BOT in members)
    assert "joins with your first message" in (await refusal_of(okafor.invite(room, diaz.user_id))).error
    await school.follow(two_schools.policy(year_1="head, okafor, chan").replace("[lowe, north]", "[lowe, north, diaz]"))

    await okafor.send(room, "Good morning")
    await eventually(lambda: okafor.state(room, CHAT), lambda content: content["draft"] is False)

    state = await chan.ask("GET", f"rooms/{room}/state")
    assert diaz.user_id not in str([*await chan.messages(room), state])
    assert diaz.user_id not in await okafor.members(room)

    await eventually(lambda: school.said(okafor), lambda said: "@diaz:qwil.test did not join “New chat”" in str(said))


async def test_names_and_badges_are_given_by_the_policy(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room = await begun(okafor, chan)

    look = await eventually(lambda: look_of(chan, room, okafor.user_id), lambda seen: "avatar_url" in seen)

    assert look["displayname"] == "Tom Okafor"
    assert look["avatar_url"].startswith("mxc://")


async def test_a_name_that_an_administrator_of_the_homeserver_gave_is_put_right_soon(school: Bridged) -> None:
    (chan,) = await school.clients("chan")

    async def profile() -> dict[str, Any]:
        return dict(await chan.ask("GET", f"profile/{chan.user_id}"))

    given = await eventually(profile, lambda seen: seen.get("displayname") == "Pat Chan" and "avatar_url" in seen)
    admin = school.homeserver.server_admin
    login = await school.homeserver.login(admin.user_id, admin.password)
    headers = {"Authorization": f"Bearer {login.access_token}"}
    for changed in ({"displayname": "The Boss"}, {"avatar_url": ""}):
        url = f"{school.homeserver.url}/_synapse/admin/v2/users/{chan.user_id}"
        async with aiohttp.ClientSession(headers=headers) as http, http.put(url, json=changed) as answer:
            assert answer.status == 200
            assert {key: (await answer.json())[key] or "" for key in changed} == changed

        await eventually(profile, lambda seen: seen == given)


async def test_names_and_pictures_of_ones_own_are_refused_in_a_chat(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room = await begun(okafor, chan)
    own = {"membership": "join", "displayname": "Headteacher"}
    picture = {"membership": "join", "displayname": "Pat Chan", "avatar_url": "mxc://qwil.test/somebody"}

    renamed = await refusal_of(chan.set_state(room, "m.room.member", own, chan.user_id))
    pictured = await refusal_of(chan.set_state(room, "m.room.member", picture, chan.user_id))

    assert (renamed.rules, renamed.error) == (
        ["USR-5"],
        "Names are given by your organisation; ask its office to change yours.",
    )
    assert pictured.rules == ["EXT-8"]
    assert (await look_of(okafor, room, chan.user_id))["displayname"] == "Pat Chan"


async def test_external_staff_bear_their_organisation_and_both_find_the_chat_in_external_chats(school: Bridged) -> None:
    okafor, ode = await school.clients("okafor", "ode")
    room = await begun(okafor, ode, name="Music")

    look = await eventually(lambda: look_of(okafor, room, ode.user_id), lambda seen: "(" in seen["displayname"])
    spaces = await eventually(lambda: spaces_of(ode), lambda seen: "External chats" in seen)

    assert look["displayname"] == "Ben Ode (Riverside Academy)"
    listed = await eventually(
        lambda: ode.ask("GET", f"rooms/{spaces['External chats']}/state"),
        lambda state: any(event["type"] == "m.space.child" and event["state_key"] == room for event in state),
    )
    assert {event["state_key"] for event in listed if event["type"] == "m.room.member"} == {BOT, ode.user_id}  # type: ignore[index]


async def test_a_colleague_from_outside_makes_the_chat_external_for_good_and_all_are_told(school: Bridged) -> None:
    okafor, head, ode = await school.clients("okafor", "head", "ode")
    room = await begun(okafor, head)

    await okafor.invite(room, ode.user_id)
    await eventually(ode.joined_rooms, lambda rooms: room in rooms)
    await eventually(lambda: okafor.state(room, CHAT), lambda content: content["kind"] == "external")

    async def told() -> list[str]:
        return [event["content"].get("body", "") for event in await head.messages(room) if event["sender"] == BOT]

    await eventually(told, lambda said: "This chat is now external: staff of another organisation take part." in said)


async def test_more_people_than_come_in_at_once_are_brought_in_after_the_first_message(school: Bridged) -> None:
    head = await school.client("head")
    others = await school.clients("okafor", "lowe", "ode", "reed", "okafor")
    colleagues = list({other.user_id: other for other in others}.values())

    room = await begun(head, *colleagues, name="Everybody")

    assert {other.user_id for other in colleagues} <= await head.members(room)


async def test_staff_remove_anybody_and_clients_nobody(school: Bridged) -> None:
    okafor, head, chan = await school.clients("okafor", "head", "chan")
    room = await begun(okafor, chan, head)

    refusal = await refusal_of(chan.kick(room, head.user_id))
    said = await school.say(okafor, "!remove Helen Head", room)

    assert refusal.rules == ["PART-7"]
    assert said == "Helen Head was removed from “New chat”."
    await eventually(head.joined_rooms, lambda rooms: room not in rooms)


async def test_a_former_participant_keeps_the_thread_and_sees_nothing_new(school: Bridged) -> None:
    okafor, head, chan = await school.clients("okafor", "head", "chan")
    room = await begun(okafor, chan, head)
    await school.say(okafor, "!remove @head:qwil.test", room)
    await okafor.send(room, "She has gone")

    kept = [event["content"].get("body") for event in await head.messages(room)]

    assert "Good morning" in kept
    assert "She has gone" not in kept
    assert (await refusal_of(head.send(room, "Hello?"))).status == 403


async def test_a_suspended_member_is_shown_as_unavailable_and_by_name_alone_afterwards(school: Bridged) -> None:
    (head,) = await school.clients("head")
    rest = f"@rest:{two_schools.SERVER}"
    back = [line.replace(", status: suspended", "") for line in two_schools.HILLSIDE]

    async def shown() -> tuple[str, list[str]]:
        profile = await head.ask("GET", f"profile/{rest}")
        return profile["displayname"], [one["display_name"] for one in await head.find_people("Sue Rest")]

    await eventually(shown, lambda seen: seen == ("Sue Rest (Unavailable)", ["Sue Rest (Unavailable)"]))
    school.edit(two_schools.policy(hillside=back))

    await eventually(shown, lambda seen: seen == ("Sue Rest", ["Sue Rest"]))


async def test_a_suspended_member_leaves_forgets_and_comes_back_to_everything(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room = await begun(okafor, chan)
    suspended = [line.replace("name: Pat Chan", "name: Pat Chan, status: suspended") for line in two_schools.HILLSIDE]

    school.edit(two_schools.policy(hillside=suspended))
    await eventually(chan.joined_rooms, lambda rooms: room not in rooms)
    messages = f"rooms/{room}/messages"
    await eventually(lambda: chan.request("GET", messages, dir="b"), lambda answer: answer.status == 403)
    await okafor.send(room, "Written meanwhile")
    school.edit(two_schools.policy())
    await eventually(chan.joined_rooms, lambda rooms: room in rooms)

    history = [event["content"].get("body") for event in await chan.messages(room)]
    assert {"Good morning", "Written meanwhile"} <= set(history)


async def test_a_broken_edit_changes_nothing_and_tells_the_system_administrators(school: Bridged) -> None:
    head, okafor, chan, ode = await school.clients("head", "okafor", "chan", "ode")

    school.edit(two_schools.policy(year_1="okafor, chna"))

    said = await eventually(lambda: school.said(head), lambda lines: any("has mistakes" in line for _, line in lines))
    assert 'unknown person "chna"' in str(said)
    elsewhere = await eventually(
        lambda: school.said(ode), lambda lines: any("has mistakes" in str(one) for one in lines)
    )
    assert "in what other organisations have written" in str(elsewhere)
    assert "chna" not in str(elsewhere)
    await begun(okafor, chan)


async def test_who_joins_a_book_is_reachable_soon(school: Bridged) -> None:
    okafor, north = await school.clients("okafor", "north")
    assert (await refusal_of(okafor.create_room(north.user_id))).rules == ["BOOK-6"]

    school.edit(two_schools.policy(year_1="head, okafor, chan, diaz, north"))

    async def start() -> bool:
        answer = await okafor.request("POST", "createRoom", {"invite": [north.user_id]})
        return answer.status == 200

    await eventually(start, bool)


async def test_a_book_that_is_large_enough_has_a_space(school: Bridged) -> None:
    diaz, north = await school.clients("diaz", "north")

    school.edit(two_schools.policy(year_1="head, okafor, lowe, chan, diaz"))

    await eventually(lambda: spaces_of(diaz), lambda spaces: "Year 1" in spaces)
    await eventually(lambda: spaces_of(north), lambda spaces: "Year 1" not in spaces)


async def test_a_chat_begun_while_the_bridge_was_away_becomes_active_when_it_is_back(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room = await okafor.create_room(chan.user_id)
    await eventually(lambda: okafor.members(room), lambda members: BOT in members)

    await school.stop()
    await okafor.send(room, "Are you there?")
    await school.start()

    await eventually(lambda: okafor.state(room, CHAT), lambda content: content["draft"] is False)
    assert "Are you there?" in [event["content"].get("body") for event in await chan.messages(room)]


async def test_the_bridge_goes_on_by_itself_when_the_homeserver_was_away(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room = await okafor.create_room(chan.user_id)

    await school.homeserver.stop()
    school.edit(two_schools.policy(year_1="head, okafor, lowe, chan, diaz"))
    await school.homeserver.start()
    await okafor.send(room, "Back again?")

    await eventually(lambda: okafor.state(room, CHAT), lambda content: content["draft"] is False, patience=180)
    assert await school.say(okafor, "contacts") != ""


@asynccontextmanager
async def swallowing(school: Bridged) -> AsyncIterator[list[dict[str, Any]]]:
    """Somebody takes the homeserver's events in the bridge's place and loses them."""
    lost: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        lost.extend((await request.json())["events"])
        return web.json_response({})

    application = web.Application()
    application.router.add_put("/_matrix/app/v1/transactions/{number}", take)
    runner = web.AppRunner(application)
    await runner.setup()
    appservice = school.settings.appservice
    try:
        await web.TCPSite(runner, appservice.hostname, appservice.port).start()
        yield lost
    finally:
        await runner.cleanup()


async def test_what_the_homeserver_lost_on_its_way_is_found_and_done(school: Bridged) -> None:
    okafor, chan, head = await school.clients("okafor", "chan", "head")
    begun_before = await begun(okafor, head)
    await school.stop()

    async with swallowing(school) as lost:
        draft = await okafor.create_room(chan.user_id, name="Lost")
        await okafor.send(draft, "Can anybody hear me?")
        last = await okafor.send(begun_before, "And here?")
        await eventually(lambda: [event["event_id"] for event in lost], lambda seen: last in seen)
    await school.start()

    await eventually(lambda: okafor.state(draft, CHAT), lambda content: content["draft"] is False, patience=180)
    await eventually(lambda: okafor.members(draft), lambda members: {BOT, chan.user_id} <= members)
    store = await Store.open(school.settings.database)
    try:
        await eventually(lambda: store.event(last), lambda event: event is not None)
    finally:
        await store.close()


async def test_without_the_module_the_bridge_does_not_start(tmp_path: Path) -> None:
    """A homeserver that knows the bridge but enforces nothing."""
    with pytest.raises(app.StartRefused, match="does not have the policy module"):
        async with bridged(tmp_path, two_schools.policy(), [], module=False):
            pass


async def test_the_module_tells_its_state_to_the_bot_alone(school: Bridged) -> None:
    okafor = await school.client("okafor")

    refused = await okafor.request("GET", "/_synapse/client/qwil/status")

    assert (refused.status, refused.error) == (403, f"This is for {BOT} alone.")


async def test_help_lists_the_words_and_leaves_out_those_of_staff_for_clients(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")

    staff, client = await school.say(okafor, "help"), await school.say(chan, "help")

    assert "remove PERSON" in staff
    assert "remove PERSON" not in client
    assert "contacts" in client


async def test_contacts_are_the_people_of_ones_own_books(school: Bridged) -> None:
    chan = await school.client("chan")

    said = await school.say(chan, "contacts")

    assert said.splitlines()[0] == "Hillside Primary:"
    assert "C Pia Diaz" in said
    assert "S Tom Okafor" in said
    assert "North" not in said


async def test_find_answers_staff_from_the_directory_and_clients_from_their_contacts(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")

    assert "E Ben Ode, Riverside Academy" in await school.say(okafor, "find riverside")
    assert "Ode" not in await school.say(chan, "find ode")


async def test_a_chat_is_started_grown_renamed_and_left_by_words(school: Bridged) -> None:
    okafor, chan, head = await school.clients("okafor", "chan", "head")

    said = await school.say(okafor, 'new "Trip to the zoo" Pat Chan')
    assert said == "The chat “Trip to the zoo” is ready for you. It begins with your first message."
    rooms = await okafor.joined_rooms()
    (room,) = [one for one in rooms if await _name(okafor, one) == "Trip to the zoo"]
    await okafor.send(room, "Who comes along?")
    await eventually(chan.joined_rooms, lambda joined: room in joined)

    assert await school.say(okafor, "!add head", room) == "Helen Head was added to “Trip to the zoo”."
    assert await school.say(chan, "!rename Zoo", room) == "The chat is called “Zoo” now."
    assert await _name(head, room) == "Zoo"
    assert await school.say(chan, "!leave", room) == "You have left “Zoo”."
    assert room not in await chan.joined_rooms()


async def _name(client: Client, room: str) -> str:
    answer = await client.request("GET", f"rooms/{room}/state/m.room.name/")
    return str(answer.body.get("name", ""))


async def test_a_refused_word_is_answered_with_the_reason(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room = await begun(okafor, chan)

    assert "PART-" not in (said := await school.say(chan, "!add @north:qwil.test", room))
    assert said.startswith("@north:qwil.test is not on your contact list")
    assert (await school.say(chan, "!remove okafor", room)) == (
        "Only staff can remove people; you can leave with “!leave”."
    )


async def test_staff_bar_clients_from_a_chat(school: Bridged) -> None:
    okafor, head, chan = await school.clients("okafor", "head", "chan")
    room = await begun(okafor, head)

    assert "for staff only now" in await school.say(head, "!staff-only", room)
    assert (await refusal_of(okafor.invite(room, chan.user_id))).rules == ["CHAT-10"]


async def begun_a_while_ago(creator: Client, other: Client) -> str:
    """A chat whose first message takes it out of no archive any more: what is written later takes out another one."""
    room, another = await begun(creator, other), await begun(creator, other)
    path = f"user/{other.user_id}/rooms/{another}/tags"
    await other.ask("PUT", f"{path}/m.lowpriority", {})
    await creator.send(another, "Good afternoon")
    await eventually(lambda: other.ask("GET", path), lambda answer: answer["tags"] == {})
    return room


async def test_archive_and_flag_are_ones_own_marks(school: Bridged) -> None:
    okafor, head = await school.clients("okafor", "head")
    room = await begun_a_while_ago(okafor, head)

    await school.say(okafor, "!archive", room)
    await school.say(okafor, "!flag", room)

    async def tags(client: Client) -> set[str]:
        return set((await client.ask("GET", f"user/{client.user_id}/rooms/{room}/tags"))["tags"])

    assert await tags(okafor) == {"m.lowpriority", "m.favourite"}
    assert await tags(head) == set()
    await school.say(okafor, "!unflag", room)
    await school.say(okafor, "!unarchive", room)
    assert await tags(okafor) == set()


async def test_a_new_message_takes_a_chat_out_of_the_archive(school: Bridged) -> None:
    okafor, head = await school.clients("okafor", "head")
    room = await begun_a_while_ago(okafor, head)
    path = f"user/{okafor.user_id}/rooms/{room}/tags"
    await okafor.ask("PUT", f"{path}/m.lowpriority", {})
    assert (await okafor.ask("GET", path))["tags"] != {}

    await head.send(room, "One more thing")

    await eventually(lambda: okafor.ask("GET", path), lambda answer: answer["tags"] == {})


async def test_a_draft_is_discarded_and_nobody_saw_it(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room = await okafor.create_room(chan.user_id)
    await eventually(lambda: okafor.members(room), lambda members: BOT in members)

    said = await school.say(okafor, "!discard", room)

    assert said == "The draft “New chat” was discarded; nobody saw it."
    assert room not in await okafor.joined_rooms()
    assert room not in (await chan.sync()).get("rooms", {}).get("invite", {})


async def test_a_link_carries_no_content_and_no_access(school: Bridged) -> None:
    okafor, head = await school.clients("okafor", "head")
    room = await begun(okafor, head)
    event = await okafor.send(room, "Minutes of the meeting")

    said = await school.say(head, "!link", room, **{"m.relates_to": {"m.in_reply_to": {"event_id": event}}})

    assert said.splitlines()[0] == f"https://matrix.to/#/{room}/{event}?via=qwil.test"
    assert "Minutes" not in said


async def test_why_says_the_rule_and_names_nobody_unseen(school: Bridged) -> None:
    chan, head = await school.clients("chan", "head")

    assert (await school.say(chan, "why Tom Okafor")).startswith("Yes")
    refused = await school.say(chan, "why @north:qwil.test")
    assert refused.endswith("(BOOK-8)")
    assert "Paul" not in refused
    assert "Only an administrator" in await school.say(chan, "why @north:qwil.test @okafor:qwil.test")
    assert "(BOOK-6)" in await school.say(head, "why @north:qwil.test @okafor:qwil.test")
