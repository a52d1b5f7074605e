"""Every way round the rules that we know of, tried on a real Synapse as a client and as staff.

Each attempt has to be seen refused: 403, M_FORBIDDEN, a sentence of ours and the rules that object.
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest

from bridge.demo.homeserver import Homeserver
from policy.rooms import CHAT
from policy.template import power_levels
from tests.homeserver.conftest import BOT, Connect, StartHomeserver
from tests.homeserver.matrix_client import Answer, Client, refusal_of
from tests.homeserver.two_schools import open_chat, policy, tighten

People = Mapping[str, Client]

NAMES = ("head", "okafor", "lowe", "chan", "diaz", "north", "ode", "kemp", "qwil")


@pytest.fixture(scope="module")
async def homeserver(start_homeserver: StartHomeserver) -> Homeserver:
    return await start_homeserver(policy())


@pytest.fixture(scope="module")
async def people(homeserver: Homeserver, connect: Connect) -> People:
    people = {name: await connect(homeserver, name) for name in NAMES}
    return people | {"admin": await connect(homeserver, homeserver.server_admin.user_id)}


@pytest.fixture(scope="module")
async def room(people: People) -> str:
    """A chat of staff and a client."""
    return await open_chat(people["qwil"], people["head"], people["chan"], staff=[people["head"]], name="Year 1")


def seen(answer: Answer, *rules: str) -> None:
    """The refusal is ours: status, code, a sentence and these rules."""
    assert (answer.status, answer.errcode, answer.rules) == (403, "M_FORBIDDEN", list(rules)), answer
    assert answer.error.endswith(".")
    assert len(answer.error.split()) > 5


WHO = pytest.mark.parametrize("who", ["chan", "head"], ids=["client", "staff"])

STATE: list[tuple[str, dict[str, Any], str]] = [
    ("m.room.power_levels", {"users": {"@chan:qwil.test": 100}}, "PART-7"),
    ("m.room.join_rules", {"join_rule": "public"}, "PART-1"),
    ("m.room.join_rules", {"join_rule": "knock"}, "PART-1"),
    ("m.room.join_rules", {"join_rule": "restricted", "allow": []}, "PART-1"),
    ("m.room.guest_access", {"guest_access": "can_join"}, "INV-1"),
    ("m.room.history_visibility", {"history_visibility": "world_readable"}, "PART-5"),
    ("m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}, "REV-1"),
    ("m.room.server_acl", {"allow": ["*"]}, "DIR-4"),
    ("m.room.tombstone", {"body": "moved", "replacement_room": "!a:qwil.test"}, "REV-1"),
    ("m.room.canonical_alias", {"alias": "#year1:qwil.test"}, "DIR-4"),
    ("m.room.avatar", {"url": "mxc://qwil.test/abc"}, "CHAT-9"),
    ("m.room.policy", {}, "EXT-2"),
    ("m.space.child", {"via": ["qwil.test"]}, "BOOK-9"),
    ("m.space.parent", {"via": ["qwil.test"]}, "BOOK-9"),
    ("m.room.third_party_invite", {"display_name": "x", "key_validity_url": "https://x", "public_key": "y"}, "INV-1"),
    ("m.room.pinned_events", {"pinned": []}, "REV-1"),
    ("org.qwil.chat", {"organisation": "hillside", "kind": "staff", "draft": False}, "CHAT-9"),
    ("org.qwil.draft", {"with": ["@north:qwil.test"]}, "CHAT-1"),
    ("org.qwil.direct", {"user": "@chan:qwil.test"}, "BUT-1"),
    ("org.qwil.anything", {}, "CHAT-9"),
]


@WHO
@pytest.mark.parametrize(
    ("kind", "content", "rule"), STATE, ids=[f"{kind}-{number}" for number, (kind, _, _) in enumerate(STATE)]
)
async def test_a_participant_cannot_set(
    people: People, room: str, who: str, kind: str, content: dict[str, Any], rule: str
) -> None:
    before = await people["qwil"].request("GET", f"rooms/{quote(room)}/state/{kind}/")

    seen(await refusal_of(people[who].set_state(room, kind, content)), rule)

    assert await people["qwil"].request("GET", f"rooms/{quote(room)}/state/{kind}/") == before


@WHO
async def test_a_creator_cannot_use_the_moments_before_the_bot_has_entered(people: People, who: str) -> None:
    creator = people[who]
    room = await creator.create_room(people["okafor"].user_id)

    for kind, content, rule in STATE:
        seen(await refusal_of(creator.set_state(room, kind, content)), rule)

    seen(await refusal_of(creator.set_state(room, CHAT, {**await creator.state(room, CHAT), "draft": False})), "CHAT-9")


@WHO
async def test_nobody_writes_encrypted_messages(people: People, room: str, who: str) -> None:
    encrypted = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x", "session_id": "y"}

    seen(await refusal_of(people[who].send_event(room, "m.room.encrypted", encrypted)), "REV-1")


@WHO
async def test_nobody_has_a_name_or_a_picture_of_their_own_in_a_room(people: People, room: str, who: str) -> None:
    client = people[who]
    name = {"membership": "join", "displayname": "The CEO"}
    picture = {"membership": "join", "avatar_url": "mxc://qwil.test/mine"}

    renamed = await client.request("PUT", f"rooms/{quote(room)}/state/m.room.member/{quote(client.user_id)}", name)
    pictured = await client.request("PUT", f"rooms/{quote(room)}/state/m.room.member/{quote(client.user_id)}", picture)

    seen(renamed, "USR-5")
    seen(pictured, "EXT-8")
    names = {"chan": "Pat Chan", "head": "Helen Head"}
    assert (await client.state(room, "m.room.member", client.user_id))["displayname"] == names[who]


@WHO
async def test_whatever_else_a_member_event_carries_is_left_out(people: People, room: str, who: str) -> None:
    client = people[who]

    await client.set_state(room, "m.room.member", {"membership": "join", "org.extra": 1}, client.user_id)

    assert "org.extra" not in await client.state(room, "m.room.member", client.user_id)


@WHO
async def test_a_chat_is_not_published(people: People, room: str, who: str) -> None:
    for visibility in ("public", "private"):
        answer = await people[who].request("PUT", f"directory/list/room/{quote(room)}", {"visibility": visibility})
        seen(answer, "DIR-4")


@WHO
async def test_a_chat_has_no_alias(people: People, room: str, who: str) -> None:
    answer = await people[who].request("PUT", f"directory/room/{quote(f'#{who}:qwil.test')}", {"room_id": room})

    seen(answer, "DIR-4")


@WHO
@pytest.mark.parametrize("version", ["11", "12"])
async def test_a_chat_is_not_upgraded(people: People, room: str, who: str, version: str) -> None:
    joined = await people[who].joined_rooms()

    seen(await people[who].request("POST", f"rooms/{quote(room)}/upgrade", {"new_version": version}), "REV-1")

    assert await people[who].joined_rooms() == joined


@WHO
async def test_nobody_is_invited_by_e_mail(people: People, room: str, who: str) -> None:
    mail = {
        "medium": "email",
        "address": "someone@example.org",
        "id_server": "id.example.org",
        "id_access_token": "token",
    }

    seen(await people[who].request("POST", f"rooms/{quote(room)}/invite", mail), "INV-1")
    seen(await refusal_of(people[who].create_room(invite_3pid=[mail])), "INV-1")


@WHO
async def test_an_invitation_by_putting_a_member_event_is_one(people: People, room: str, who: str) -> None:
    invite = {"membership": "invite", "displayname": "Nobody to worry about"}

    seen(await refusal_of(people[who].set_state(room, "m.room.member", invite, people["ode"].user_id)), *EXTERNAL[who])
    seen(await refusal_of(people[who].set_state(room, "m.room.member", invite, people["kemp"].user_id)), "DIR-4")


EXTERNAL = {"chan": ("PART-1", "EXT-1", "EXT-4"), "head": ("EXT-4",)}


@WHO
async def test_nobody_is_banned_or_put_in_by_another(people: People, room: str, who: str) -> None:
    other = people["head" if who == "chan" else "chan"].user_id

    seen(await people[who].request("POST", f"rooms/{quote(room)}/ban", {"user_id": other}), "PART-7")
    join = {"membership": "join"}
    seen(await refusal_of(people[who].set_state(room, "m.room.member", join, people["lowe"].user_id)), "PART-1")


@WHO
async def test_the_bot_is_not_removed(people: People, room: str, who: str) -> None:
    seen(await refusal_of(people[who].kick(room, BOT)), "REV-1")


async def test_nobody_enters_or_knocks_without_an_invitation(people: People, room: str) -> None:
    for name in ("lowe", "diaz"):
        seen(await refusal_of(people[name].join(room)), "PART-1")
        seen(await people[name].request("POST", f"knock/{quote(room)}"), "PART-1")


@WHO
async def test_nobody_deletes_what_others_wrote(people: People, room: str, who: str) -> None:
    other = people["head" if who == "chan" else "chan"]
    theirs = await other.send(room, "Mine")
    own = await people[who].send(room, "Also mine")

    seen(await refusal_of(people[who].redact(room, theirs)), "REV-1")
    await people[who].redact(room, own)
    marks = next(event for event in await other.messages(room, 500) if event["type"] == CHAT)
    seen(await refusal_of(people[who].redact(room, marks["event_id"])), "EXT-12")


REQUESTS: list[tuple[dict[str, Any], str]] = [
    ({"preset": "public_chat"}, "PART-1"),
    ({"visibility": "public"}, "DIR-4"),
    ({"room_alias_name": "open"}, "DIR-4"),
    ({"creation_content": {"type": "m.space"}}, "BOOK-9"),
    ({"creation_content": {"additional_creators": ["@chan:qwil.test"]}, "room_version": "12"}, "PART-7"),
    ({"power_level_content_override": {"users": {"@head:qwil.test": 100, "@chan:qwil.test": 100}}}, "PART-7"),
    ({"power_level_content_override": {"users_default": 50}}, "PART-7"),
    ({"power_level_content_override": {"state_default": 0}}, "PART-7"),
    ({"power_level_content_override": {"kick": 0}}, "PART-7"),
    ({"power_level_content_override": {"events": {"m.room.power_levels": 0}}}, "PART-7"),
    ({"power_level_content_override": {"events": {"org.qwil.chat": 0}}}, "PART-7"),
    ({"power_level_content_override": {"ban": "0"}}, "PART-7"),
]
INITIAL: list[tuple[str, dict[str, Any], str]] = [
    ("m.room.power_levels", {"users": {"@chan:qwil.test": 100, "@head:qwil.test": 100}}, "PART-7"),
    ("m.room.join_rules", {"join_rule": "public"}, "PART-1"),
    ("m.room.join_rules", {"join_rule": "knock"}, "PART-1"),
    ("m.room.server_acl", {"allow": ["*"]}, "DIR-4"),
    ("m.room.canonical_alias", {"alias": "#a:qwil.test"}, "DIR-4"),
    ("m.room.policy", {"via": "elsewhere.test"}, "EXT-2"),
    ("m.space.parent", {"via": ["qwil.test"]}, "BOOK-9"),
    ("org.qwil.chat", {"organisation": "hillside", "kind": "staff", "draft": False}, "CHAT-9"),
    ("org.qwil.draft", {"with": ["@north:qwil.test"]}, "CHAT-1"),
    ("org.qwil.direct", {"user": "@head:qwil.test"}, "BUT-1"),
]
REQUESTS += [({"initial_state": [{"type": kind, "content": content}]}, rule) for kind, content, rule in INITIAL]


@WHO
@pytest.mark.parametrize(
    ("request_", "rule"), REQUESTS, ids=[f"{number}-{rule}" for number, (_, rule) in enumerate(REQUESTS)]
)
async def test_a_room_cannot_be_created_with(people: People, who: str, request_: dict[str, Any], rule: str) -> None:
    joined = await people[who].joined_rooms()

    seen(await refusal_of(people[who].create_room(people["okafor"].user_id, **request_)), rule)

    assert await people[who].joined_rooms() == joined


HABITS: dict[str, dict[str, Any]] = {
    "element": {
        "preset": "trusted_private_chat",
        "visibility": "private",
        "is_direct": True,
        "initial_state": [
            {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}},
            {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "can_join"}},
            {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "invited"}},
        ],
        "power_level_content_override": {
            "events": {"org.matrix.msc3401.call.member": 0, "m.room.avatar": 50, "m.room.tombstone": 100}
        },
    },
    "nheko": {"preset": "private_chat", "room_version": "12", "creation_content": {"m.federate": True}},
    "cinny": {
        "room_version": "12",
        "creation_content": {},
        "initial_state": [{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "invite"}}],
        "power_level_content_override": {"events": {"m.call": 0}},
    },
}


@WHO
@pytest.mark.parametrize("habit", HABITS)
async def test_a_clients_habits_give_way_silently(people: People, who: str, habit: str) -> None:
    creator, bot = people[who], people["qwil"]

    room = await creator.create_room(people["okafor"].user_id, name="Trip", topic="By bus", **HABITS[habit])

    created = await creator.state(room, "m.room.create")
    assert (created["room_version"], created["m.federate"]) == ("11", False)
    assert await creator.state(room, "m.room.guest_access") == {"guest_access": "forbidden"}
    assert await creator.state(room, "m.room.history_visibility") == {"history_visibility": "shared"}
    assert await creator.state(room, "m.room.join_rules") == {"join_rule": "invite"}
    assert (await creator.request("GET", f"rooms/{quote(room)}/state/m.room.encryption/")).status == 404
    assert (await creator.state(room, "m.room.topic"))["topic"] == "By bus"
    powers = (await creator.state(room, "m.room.power_levels"))["users"]
    assert powers == {BOT: 100, creator.user_id: 0}
    await tighten(bot, room)
    assert await creator.state(room, "m.room.power_levels") == power_levels(BOT, [])


@WHO
async def test_users_make_no_spaces(people: People, who: str) -> None:
    seen(await refusal_of(people[who].create_room(creation_content={"type": "m.space"}, name="Ours")), "BOOK-9")


@WHO
async def test_a_second_device_is_under_the_same_rules(
    people: People, homeserver: Homeserver, connect: Connect, room: str, who: str
) -> None:
    first, second = people[who], await connect(homeserver, who)
    assert first.device_id != second.device_id

    seen(await refusal_of(second.invite(room, people["kemp"].user_id)), "DIR-4")
    seen(await refusal_of(second.set_state(room, "m.room.join_rules", {"join_rule": "public"})), "PART-1")


@WHO
async def test_a_server_administrator_is_bound_by_the_same_rules(
    start_homeserver: StartHomeserver, people: People, room: str, who: str
) -> None:
    client = people[who]
    await people["admin"].ask("PUT", f"/_synapse/admin/v2/users/{client.user_id}", {"admin": True})
    try:
        seen(await refusal_of(client.invite(room, people["kemp"].user_id)), "DIR-4")
        seen(await refusal_of(client.create_room(people["kemp"].user_id)), "DIR-4")
        seen(
            await refusal_of(client.set_state(room, "m.room.power_levels", {"users": {client.user_id: 100}})), "PART-7"
        )
        seen(await client.request("POST", f"rooms/{quote(room)}/upgrade", {"new_version": "11"}), "REV-1")
        seen(await client.request("PUT", f"directory/list/room/{quote(room)}", {"visibility": "public"}), "DIR-4")
        seen(await client.request("PUT", f"directory/room/{quote('#x:qwil.test')}", {"room_id": room}), "DIR-4")
        seen(await client.request("GET", f"profile/{people['kemp'].user_id}"), "DIR-4")
    finally:
        await people["admin"].ask("PUT", f"/_synapse/admin/v2/users/{client.user_id}", {"admin": False})


@WHO
async def test_the_admin_api_makes_nobody_powerful_in_the_bots_name(people: People, room: str, who: str) -> None:
    for user in (people[who].user_id, people["admin"].user_id):
        answer = await people["admin"].request(
            "POST", f"/_synapse/admin/v1/rooms/{quote(room)}/make_room_admin", {"user_id": user}
        )
        seen(answer, "PART-7")


async def test_the_admin_api_puts_nobody_into_a_chat(people: People, room: str) -> None:
    for name in ("lowe", "kemp", "admin"):
        answer = await people["admin"].request(
            "POST", f"/_synapse/admin/v1/join/{quote(room)}", {"user_id": people[name].user_id}
        )
        assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
        assert people[name].user_id not in await people["head"].members(room)


@WHO
async def test_an_exact_matrix_id_finds_only_whom_one_may_find(people: People, who: str) -> None:
    for name in ("kemp", "admin", *(["north"] if who == "chan" else [])):
        assert await people[who].find_people(people[name].user_id) == []
        assert await people[who].find_people(people[name].user_id.split(":")[0]) == []

    assert [one["user_id"] for one in await people[who].find_people("@okafor:qwil.test")] == ["@okafor:qwil.test"]


@WHO
async def test_profiles_of_strangers_are_not_shown_nor_whether_they_exist(people: People, who: str) -> None:
    answers = [await people[who].request("GET", f"profile/{user}") for user in ("@kemp:qwil.test", "@wemp:qwil.test")]
    field = await people[who].request("GET", "profile/@kemp:qwil.test/displayname")

    for answer in (*answers, field):
        seen(answer, "DIR-4")
    assert answers[0].error == answers[1].error
    assert (await people[who].request("GET", "profile/@okafor:qwil.test")).status == 200


async def test_a_removed_member_does_not_come_back(people: People) -> None:
    head, diaz = people["head"], people["diaz"]
    room = await open_chat(people["qwil"], head, diaz, people["chan"], staff=[head])
    await head.kick(room, diaz.user_id)

    seen(await refusal_of(diaz.join(room)), "PART-8")
    seen(await refusal_of(diaz.set_state(room, "m.room.member", {"membership": "join"}, diaz.user_id)), "PART-8")
    assert (await refusal_of(diaz.send(room, "I am back"))).status == 403


async def test_the_bot_itself_keeps_to_the_template_and_the_kind_never_goes_back(people: People) -> None:
    head, ode, bot = people["head"], people["ode"], people["qwil"]
    room = await open_chat(bot, head, ode, staff=[head, ode])
    marks = await bot.state(room, CHAT)

    for change in ({"kind": "staff"}, {"kind": "client"}, {"draft": True}, {"organisation": "riverside"}):
        seen(await refusal_of(bot.set_state(room, CHAT, marks | change)), "EXT-12")
    levels = power_levels(BOT, [head.user_id])
    for change in (
        {"invite": 50},
        {"users": {BOT: 100, head.user_id: 100}},
        {"users": {BOT: 100, "@chan:qwil.test": 50}},
    ):
        seen(await refusal_of(bot.set_state(room, "m.room.power_levels", levels | change)), "PART-7")
    await bot.set_state(room, "m.room.power_levels", levels)
    await bot.set_state(room, CHAT, marks | {"staff_only": True})
    seen(await refusal_of(bot.set_state(room, CHAT, marks)), "EXT-12")


@WHO
async def test_disguised_events_are_seen_for_what_they_are(people: People, room: str, who: str) -> None:
    client, other = people[who], people["head" if who == "chan" else "chan"]
    theirs = await other.send(room, "Mine")
    message = {"msgtype": "m.text", "body": "as a setting"}

    seen(await refusal_of(client.send_event(room, "m.room.redaction", {"redacts": theirs})), "REV-1")
    seen(await refusal_of(client.set_state(room, "m.room.message", message)), "REV-1")
    seen(await refusal_of(client.set_state(room, "m.room.name", {"name": "x"}, "elsewhere")), "REV-1")
    seen(await refusal_of(client.send_event(room, "m.room.encryption", {"algorithm": "x"})), "REV-1")
    seen(await refusal_of(client.send_event(room, "org.qwil.chat", {"kind": "staff"})), "CHAT-9")
    third = {"membership": "invite", "third_party_invite": {"signed": {"mxid": "@ode:qwil.test", "token": "x"}}}
    answer = await refusal_of(client.set_state(room, "m.room.member", third, people["okafor"].user_id))
    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")


@WHO
async def test_a_second_hand_cannot_slip_anything_into_a_room_that_is_being_made(people: People, who: str) -> None:
    creator = people[who]

    async def meddle() -> list[Answer]:
        news = await creator.sync_until(lambda news: bool(news["rooms"].get("join")))
        answers = []
        for room in news["rooms"]["join"]:
            for kind, content, _ in STATE:
                answers.append(await creator.request("PUT", f"rooms/{quote(room)}/state/{kind}/", content))
        return answers

    await creator.sync()
    meddling = asyncio.create_task(meddle())
    room = await creator.create_room(people["okafor"].user_id)
    answers = await meddling

    assert {answer.status for answer in answers} == {403}
    assert (await creator.state(room, "m.room.power_levels"))["users"] == {BOT: 100, creator.user_id: 0}
    assert (await creator.state(room, "m.room.join_rules")) == {"join_rule": "invite"}


async def test_the_bot_brings_back_who_may_be_there_and_nobody_else(people: People) -> None:
    head, chan, bot = people["head"], people["chan"], people["qwil"]
    room = await open_chat(bot, head, chan, staff=[head])
    await chan.leave(room)

    await bot.invite(room, chan.user_id)
    await chan.join(room)
    await bot.invite(room, people["ode"].user_id)
    seen(await refusal_of(people["ode"].join(room)), "EXT-4")
    await bot.invite(room, people["kemp"].user_id)
    seen(await refusal_of(people["kemp"].join(room)), "PART-1")

    assert await head.members(room) == {head.user_id, chan.user_id, BOT}
