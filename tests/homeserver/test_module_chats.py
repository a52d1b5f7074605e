"""Chats by any client on a real Synapse: made, opened by their first message, joined by others, left."""

from collections.abc import Mapping

import nio
import pytest

from bridge.demo.homeserver import Homeserver
from policy.model import UserId
from policy.rooms import CHAT, DIRECT, DRAFT
from policy.template import power_levels
from tests.homeserver.conftest import BOT, Connect, ConnectNio, StartHomeserver
from tests.homeserver.matrix_client import Client, refusal_of
from tests.homeserver.two_schools import open_chat, policy, tighten

NAMES = ("head", "okafor", "lowe", "chan", "diaz", "north", "rest", "ode", "reed", "kemp", "qwil", "nobody")


@pytest.fixture(scope="module")
async def homeserver(start_homeserver: StartHomeserver) -> Homeserver:
    return await start_homeserver(policy())


@pytest.fixture(scope="module")
async def people(homeserver: Homeserver, connect: Connect) -> Mapping[str, Client]:
    return {name: await connect(homeserver, name) for name in NAMES}


async def test_a_chat_of_staff_is_a_draft_of_its_creator_alone(people: Mapping[str, Client]) -> None:
    head, okafor, bot = people["head"], people["okafor"], people["qwil"]

    room = await head.create_room(okafor.user_id, name="Trip")

    assert await head.members(room) == {head.user_id}
    assert await head.members(room, "invite") == {BOT}
    assert await head.state(room, CHAT) == {
        "organisation": "hillside",
        "kind": "staff",
        "draft": True,
        "staff_only": False,
    }
    assert await head.state(room, DRAFT) == {"with": [okafor.user_id]}
    await tighten(bot, room, head)
    assert await okafor.joined_rooms() == set() or room not in await okafor.joined_rooms()


async def test_the_first_message_brings_everybody_in_and_notifies_them(people: Mapping[str, Client]) -> None:
    head, okafor, chan, bot = people["head"], people["okafor"], people["chan"], people["qwil"]
    room = await head.create_room(okafor.user_id, chan.user_id, name="Reading week")
    await tighten(bot, room, head, okafor)
    await okafor.sync()

    sent = await head.send(room, "Bring a book")

    assert await head.members(room) == {head.user_id, okafor.user_id, chan.user_id, BOT}
    news = await okafor.sync_until(lambda news: room in news["rooms"].get("join", {}))
    entered = news["rooms"]["join"][room]
    assert entered["timeline"]["events"][-1]["event_id"] == sent
    assert entered["unread_notifications"]["notification_count"] == 1
    assert (await chan.messages(room))[-1]["content"]["body"] == "Bring a book"


async def test_everybody_can_answer_before_the_bridge_has_marked_the_chat_active(people: Mapping[str, Client]) -> None:
    head, chan = people["head"], people["chan"]
    room = await head.create_room(chan.user_id)
    await head.send(room, "Are you there?")

    assert await chan.send(room, "I am")
    assert await head.send(room, "Good")


async def test_words_to_the_bot_and_reactions_do_not_open_a_draft(people: Mapping[str, Client]) -> None:
    head, okafor = people["head"], people["okafor"]
    room = await head.create_room(okafor.user_id)

    said = await head.send(room, "!rename Autumn term")
    await head.send_event(
        room, "m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": said, "key": "+"}}
    )
    await head.redact(room, said)
    assert await head.members(room) == {head.user_id}

    await head.send(room, "!!! Look")
    assert await head.members(room) == {head.user_id, okafor.user_id}


async def test_an_empty_draft_takes_words_to_the_bot_but_no_message(people: Mapping[str, Client]) -> None:
    head = people["head"]
    room = await head.create_room(name="Later")
    await head.send(room, "!add okafor")

    answer = await refusal_of(head.send(room, "Hello?"))

    assert (answer.status, answer.rules) == (403, ["CHAT-7"])
    assert "at least one other participant" in answer.error


@pytest.mark.parametrize("tightened", [True, False])
async def test_an_invitation_into_a_draft_is_noted(people: Mapping[str, Client], tightened: bool) -> None:
    head, okafor, ode = people["head"], people["okafor"], people["ode"]
    room = await head.create_room(okafor.user_id)
    if tightened:
        await tighten(people["qwil"], room, head)

    answer = await refusal_of(head.invite(room, ode.user_id))

    assert answer.error == "Noted: Ben Ode (Riverside Academy) joins with your first message."
    assert (answer.status, answer.errcode, answer.rules) == (403, "M_FORBIDDEN", ["CHAT-1"])
    assert await head.state(room, DRAFT) == {"with": [okafor.user_id, ode.user_id]}
    assert (await refusal_of(head.invite(room, people["chan"].user_id))).rules == ["EXT-3"]
    assert (await refusal_of(head.invite(room, ode.user_id))).error.endswith("is in this chat already.")
    await head.send(room, "Welcome")
    assert ode.user_id in await head.members(room)


async def test_a_refused_chat_leaves_no_room_behind(people: Mapping[str, Client]) -> None:
    chan, north = people["chan"], people["north"]
    before = await chan.joined_rooms()

    answer = await refusal_of(chan.create_room(north.user_id))

    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    assert answer.rules == ["BOOK-8"]
    assert "Paul" not in answer.error
    assert await chan.joined_rooms() == before


async def test_strangers_read_alike_whether_they_are_known_or_not(people: Mapping[str, Client]) -> None:
    head = people["head"]

    known = await refusal_of(head.create_room(people["kemp"].user_id))
    unknown = await refusal_of(head.create_room("@wemp:qwil.test"))
    elsewhere = await refusal_of(head.create_room("@kemp:elsewhere.test"))

    assert known.rules == unknown.rules == elsewhere.rules == ["DIR-4"]
    assert known.error == unknown.error.replace("@wemp", "@kemp")
    assert known.error == elsewhere.error.replace("elsewhere.test", "qwil.test")


async def test_colleagues_of_the_network_come_in_under_their_organisations_name(people: Mapping[str, Client]) -> None:
    head, ode = people["head"], people["ode"]

    room = await open_chat(people["qwil"], head, ode, staff=[head, ode], name="Concert")

    assert (await head.state(room, CHAT))["kind"] == "external"
    assert (await head.state(room, "m.room.member", ode.user_id))["displayname"] == "Ben Ode (Riverside Academy)"
    assert (await head.state(room, "m.room.member", head.user_id))["displayname"] == "Helen Head"


async def test_participants_add_people_and_staff_remove_clients(people: Mapping[str, Client]) -> None:
    head, okafor, chan, diaz = people["head"], people["okafor"], people["chan"], people["diaz"]
    room = await open_chat(people["qwil"], head, chan, staff=[head, okafor])

    await chan.invite(room, diaz.user_id)
    await diaz.join(room)
    assert (await refusal_of(chan.invite(room, people["lowe"].user_id))).rules == ["PART-1"]
    assert (await refusal_of(chan.kick(room, diaz.user_id))).rules == ["PART-7"]
    await head.kick(room, diaz.user_id)

    assert diaz.user_id not in await head.members(room)
    answer = await refusal_of(diaz.join(room))
    assert (answer.status, answer.rules) == (403, ["PART-8"])


async def test_any_participant_renames_and_an_emptied_name_is_the_default(people: Mapping[str, Client]) -> None:
    head, chan = people["head"], people["chan"]
    room = await open_chat(people["qwil"], head, chan, staff=[head])
    assert (await chan.state(room, "m.room.name"))["name"] == "New chat"

    await chan.set_state(room, "m.room.name", {"name": "Homework"})
    assert (await head.state(room, "m.room.name"))["name"] == "Homework"
    await chan.set_state(room, "m.room.name", {"name": "  "})
    assert (await head.state(room, "m.room.name"))["name"] == "New chat"
    await chan.set_state(room, "m.room.topic", {"topic": "Until Friday"})


async def test_everybody_can_leave_a_chat(people: Mapping[str, Client]) -> None:
    head, chan = people["head"], people["chan"]
    room = await open_chat(people["qwil"], head, chan, staff=[head])

    await chan.leave(room)
    await head.leave(room)

    assert await people["qwil"].members(room) == {BOT}


async def test_a_room_with_the_bot_alone_is_the_direct_chat(people: Mapping[str, Client]) -> None:
    chan, bot = people["chan"], people["qwil"]

    room = await chan.create_room(BOT, is_direct=True, preset="trusted_private_chat")
    await bot.join(room)
    await bot.set_state(room, "m.room.power_levels", power_levels(UserId(BOT), []))

    assert await chan.state(room, DIRECT) == {"user": chan.user_id}
    await chan.send(room, "help")
    assert (await refusal_of(chan.leave(room))).rules == ["BUT-1"]
    assert (await refusal_of(chan.invite(room, people["diaz"].user_id))).rules == ["BUT-1"]
    assert (await refusal_of(chan.set_state(room, "m.room.name", {"name": "Mine"}))).rules == ["BUT-1"]


async def test_accounts_of_no_organisation_can_do_nothing(people: Mapping[str, Client]) -> None:
    nobody, head = people["nobody"], people["head"]

    alone = await refusal_of(nobody.create_room())
    together = await refusal_of(nobody.create_room(head.user_id))

    assert alone.rules == together.rules == ["INV-1"]
    assert alone.error == together.error


async def test_suspended_people_start_nothing(people: Mapping[str, Client]) -> None:
    answer = await refusal_of(people["rest"].create_room(people["head"].user_id))

    assert answer.rules == ["USR-1"]


async def test_matrix_nio_starts_a_chat_and_reads_why_another_is_refused(
    homeserver: Homeserver, people: Mapping[str, Client], connect_nio: ConnectNio
) -> None:
    pat = await connect_nio(homeserver, "chan")

    made = await pat.room_create(
        name="Homework",
        is_direct=True,
        preset=nio.RoomPreset.trusted_private_chat,
        invite=[people["okafor"].user_id],
        initial_state=[nio.EnableEncryptionBuilder().as_dict()],
    )
    assert isinstance(made, nio.RoomCreateResponse)
    sent = await pat.room_send(made.room_id, "m.room.message", {"msgtype": "m.text", "body": "I have a question"})
    assert isinstance(sent, nio.RoomSendResponse)
    assert (await people["okafor"].messages(made.room_id))[-1]["content"]["body"] == "I have a question"

    refused = await pat.room_create(invite=[people["north"].user_id])
    assert isinstance(refused, nio.RoomCreateError)
    assert refused.status_code == "M_FORBIDDEN"
    assert "not on your contact list" in refused.message
