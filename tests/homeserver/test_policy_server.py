"""Another homeserver in a chat asks ours before it sends (Matrix 1.18, MSC4284), and its clients read our sentences."""

import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from signedjson.key import decode_verify_key_bytes
from signedjson.sign import verify_signed_json
from unpaddedbase64 import decode_base64

from bridge.demo.homeserver import Homeserver, StartError
from policy.module_refusals import PATH as REFUSALS
from policy.policy_server import KEY_ID, PATH, UNSTABLE_PATH
from tests.homeserver.conftest import Connect
from tests.homeserver.matrix_client import Answer, Client, eventually, refusal_of
from tests.homeserver.two_servers import Peer, People, TwoServers, shared_chat, two_servers

POLICY = "m.room.policy"


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory, postgres_for_a_file: str) -> Any:
    servers = two_servers(tmp_path_factory.mktemp("asking"), postgres=postgres_for_a_file)
    async with servers.here, servers.there:
        yield servers


@pytest.fixture(scope="module")
async def people(servers: TwoServers, connect: Connect) -> People:
    ours = {name: await connect(servers.here, name) for name in ("head", "tom", "qwil", "server-admin")}
    return ours | {name: await connect(servers.there, name) for name in ("ben", "ria")}


@pytest.fixture(scope="module")
async def room(people: People) -> str:
    return await shared_chat(people["qwil"], people["head"], people["ben"])


@pytest.fixture
async def peer(servers: TwoServers, http: aiohttp.ClientSession) -> Peer:
    return Peer(servers, http)


def stored(servers: TwoServers, event: str) -> dict[str, Any]:
    """An event as the other homeserver has it, signatures and all."""
    with closing(sqlite3.connect(f"file:{servers.there.folder / 'homeserver.db'}?mode=ro", uri=True)) as database:
        (text,) = database.execute("SELECT json FROM event_json WHERE event_id = ?", (event,)).fetchone()
    found: dict[str, Any] = json.loads(text)
    return found


def refused(answer: Answer) -> bool:
    return (answer.status, answer.errcode) == (400, "M_FORBIDDEN")


@asynccontextmanager
async def suspended(servers: TwoServers, people: People) -> AsyncIterator[None]:
    """Meanwhile Ben is suspended."""
    await servers.follow(people["qwil"], ben="suspended")
    try:
        yield
    finally:
        await servers.follow(people["qwil"])


async def test_a_new_chat_names_our_server_and_a_key_that_is_not_the_homeservers(
    servers: TwoServers, people: People, peer: Peer, room: str
) -> None:
    content = await people["head"].state(room, POLICY)
    keys = await peer.say("GET", "/_matrix/key/v2/server", None)

    assert content["via"] == servers.here.server_name
    assert list(content["public_keys"]) == ["ed25519"]
    assert content["public_keys"]["ed25519"] not in json.dumps(keys.body)
    assert KEY_ID not in keys.body["verify_keys"]
    (file,) = servers.here.folder.glob("*.policy.key")
    assert file.stat().st_mode & 0o777 == 0o600


async def test_what_the_other_server_sends_carries_our_signature(
    servers: TwoServers, people: People, room: str
) -> None:
    sent = stored(servers, await people["ben"].send(room, "Tuesday at four?"))

    ours = sent["signatures"][servers.here.server_name]
    assert list(ours) == [KEY_ID]
    named = (await people["ben"].state(room, POLICY))["public_keys"]["ed25519"]
    redacted = {key: value for key, value in sent.items() if key not in ("unsigned", "age_ts")} | {"content": {}}
    verify_signed_json(redacted, servers.here.server_name, decode_verify_key_bytes(KEY_ID, decode_base64(named)))


async def test_the_other_servers_client_reads_our_refusal(people: People, room: str) -> None:
    answer = await refusal_of(people["ben"].send_event(room, "m.room.encrypted", {"algorithm": "x", "ciphertext": "y"}))

    assert (answer.status, answer.errcode, answer.rules) == (400, "M_FORBIDDEN", ["REV-1"])
    assert answer.error.startswith("Chats here are on record and cannot be encrypted.")


async def test_what_another_servers_people_are_refused_is_on_record(people: People, room: str) -> None:
    ben = people["ben"]

    await refusal_of(ben.send_event(room, "org.qwil.chat", {"kind": "staff"}))
    refusals = (await people["qwil"].ask("GET", REFUSALS))["refusals"]

    found = [one for one in refusals if one["what"] == f"org.qwil.chat by {ben.user_id} in {room}"]
    assert [(one["rules"], one["times"]) for one in found] == [(["CHAT-9"], 1)]


async def test_what_we_send_is_confirmed_to_the_other_server(servers: TwoServers, people: People, room: str) -> None:
    event = await people["head"].send(room, "In the hall")

    await eventually(
        lambda: people["ben"].messages(room), lambda seen: seen[-1]["content"].get("body") == "In the hall"
    )
    assert KEY_ID in stored(servers, event)["signatures"][servers.here.server_name]


@pytest.mark.parametrize("who", ["head", "ben", "qwil", "server-admin"])
@pytest.mark.parametrize("kind", [POLICY, "org.matrix.msc4284.policy"])
@pytest.mark.parametrize(
    "content", [{}, {"via": "evil.example", "public_keys": {"ed25519": "AAAA"}}], ids=["{}", "other"]
)
async def test_nobody_clears_or_changes_it(people: People, room: str, who: str, kind: str, content: Any) -> None:
    before = await people["head"].state(room, POLICY)

    answer = await refusal_of(people[who].set_state(room, kind, content))

    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    assert await people["head"].state(room, POLICY) == before
    if who in ("head", "qwil"):
        assert answer.error == "The policy of a chat cannot be switched off."


async def test_nobody_deletes_it_and_the_bot_may_only_set_it_again(people: People, room: str) -> None:
    bot = people["qwil"]
    state = await bot.ask("GET", f"rooms/{room}/state")
    (event,) = [event for event in state if event["type"] == POLICY]

    for who in ("head", "qwil"):
        assert (await refusal_of(people[who].redact(room, event["event_id"]))).rules
    await bot.set_state(room, POLICY, event["content"])

    assert await bot.state(room, POLICY) == event["content"]


async def test_changing_it_takes_the_power_of_the_bot(people: People, room: str) -> None:
    levels = await people["head"].state(room, "m.room.power_levels")

    assert levels["events"].get(POLICY, levels["state_default"]) == 100
    assert [user for user, level in levels["users"].items() if level >= 100] == [people["qwil"].user_id]


async def test_the_same_event_gets_the_same_answer_over_changes_and_restarts(
    servers: TwoServers, people: People, peer: Peer, room: str
) -> None:
    ben = people["ben"].user_id
    early, late = peer.event(room, ben, "While I was in"), peer.event(room, ben, "While I was out")

    async def asked(event: dict[str, Any]) -> Answer:
        return await peer.ask("POST", PATH, event)

    signed = await asked(early)
    async with suspended(servers, people):
        refusal = await asked(late)
        assert (await asked(early)).body == signed.body
    await servers.here.stop()
    await servers.here.start()

    assert (signed.status, refusal.status) == (200, 400)
    assert (await asked(early)).body == signed.body
    assert (await asked(late)).body == refusal.body


async def test_a_change_of_our_policy_refuses_in_the_other_servers_clients(
    servers: TwoServers, people: People, room: str
) -> None:
    async with suspended(servers, people):
        refusal = await refusal_of(people["ben"].send(room, "Am I in?"))

    assert refused(refusal)
    assert refusal.rules == ["USR-1"]
    assert await people["ben"].send(room, "Am I in?")


async def test_what_was_taken_over_is_signed_whatever_the_policy_says_now(
    servers: TwoServers, people: People, peer: Peer, room: str
) -> None:
    sent = stored(servers, await people["ben"].send(room, "Said in time"))

    async with suspended(servers, people):
        answer = await peer.ask("POST", PATH, sent)

    assert answer.status == 200


async def test_what_was_refused_stays_out_when_its_server_sends_it_later_all_the_same(
    servers: TwoServers, people: People, peer: Peer, room: str
) -> None:
    ben, head = people["ben"].user_id, people["head"]
    last = await people["ben"].send(room, "The last before")
    place = {"prev_events": [last], "auth_events": stored(servers, last)["auth_events"]}
    early, late = peer.event(room, ben, "Too early", **place), peer.event(room, ben, "In time", **place)

    async with suspended(servers, people):
        assert refused(await peer.ask("POST", PATH, early))
    transaction = {"origin": peer.name, "origin_server_ts": 0, "pdus": [early, late]}
    sent = await peer.ask("PUT", "/_matrix/federation/v1/send/by-hand", transaction)

    assert [outcome for outcome in sent.body["pdus"].values() if outcome] == []
    await eventually(lambda: head.messages(room), lambda seen: seen[-1]["content"].get("body") == "In time")
    assert "Too early" not in {event["content"].get("body") for event in await head.messages(room)}


async def test_a_refusal_on_the_unstable_path_is_an_answer_without_signatures(
    people: People, peer: Peer, room: str
) -> None:
    ben = people["ben"].user_id
    fine, closed = peer.event(room, ben, "Hello"), peer.event(room, ben, "", type="m.room.encrypted")

    assert (await peer.ask("POST", UNSTABLE_PATH, fine)).body == (await peer.ask("POST", PATH, fine)).body
    assert (await peer.ask("POST", UNSTABLE_PATH, closed)) == Answer(200, {})
    assert refused(await peer.ask("POST", PATH, closed))


async def test_our_people_are_not_signed_for_by_others(people: People, peer: Peer, room: str) -> None:
    answer = await peer.ask("POST", PATH, peer.event(room, people["head"].user_id, "I never said this"))

    assert refused(answer)
    assert "did not send it" in answer.error


async def test_servers_outside_the_chat_are_told_nothing(people: People, peer: Peer) -> None:
    room = await people["head"].create_room(people["ria"].user_id, name="Not begun")
    await people["qwil"].join(room)

    answer = await peer.ask("POST", PATH, peer.event(room, people["ria"].user_id, "Hello?"))

    assert refused(answer)
    assert answer.error == "Only servers with somebody in the chat are told what may be sent in it."


async def test_an_event_of_the_largest_size_is_signed_and_a_larger_request_is_not_read(
    people: People, peer: Peer, room: str
) -> None:
    ben = people["ben"].user_id

    largest = await peer.ask("POST", PATH, peer.event(room, ben, "é" * 31_000, unsigned={"note": "x" * 40_000}))
    beyond = await peer.ask("POST", PATH, peer.event(room, ben, "x" * 300_000))

    assert largest.status == 200
    assert (beyond.status, beyond.errcode) == (413, "M_TOO_LARGE")


async def test_bad_requests_are_answered_as_the_specification_has_it(people: People, peer: Peer, room: str) -> None:
    ben = people["ben"].user_id
    fine = peer.event(room, ben, "Hello")

    async def codes(asked: Awaitable[Answer]) -> tuple[int, str]:
        answer = await asked
        return answer.status, answer.errcode

    assert await codes(peer.say("POST", PATH, json.dumps(fine))) == (401, "M_UNAUTHORIZED")
    assert await codes(peer.say("POST", PATH, "{")) == (400, "M_NOT_JSON")
    assert await codes(peer.say("POST", PATH, "[]")) == (400, "M_BAD_JSON")
    assert await codes(peer.ask("GET", PATH)) == (405, "M_UNRECOGNIZED")
    assert await codes(peer.ask("POST", PATH, {})) == (400, "M_BAD_JSON")
    assert await codes(peer.ask("POST", PATH, {**fine, "content": {"body": "Tampered"}})) == (400, "M_BAD_JSON")
    assert await codes(peer.ask("POST", PATH, {**fine, "sender": 5})) == (400, "M_BAD_JSON")
    assert await codes(peer.ask("POST", PATH, {**fine, "room_id": "!none:localhost"})) == (404, "M_NOT_FOUND")


async def test_rooms_of_other_servers_are_not_ours_to_judge(people: People, peer: Peer) -> None:
    ria: Client = people["ria"]
    theirs = await ria.create_room(people["head"].user_id, room_version="11")
    await people["head"].ask("POST", f"join/{theirs}", server_name=ria.homeserver.server_name)

    answer = await peer.ask("POST", PATH, peer.event(theirs, ria.user_id, "Hello"))

    assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND")


async def test_without_a_policy_nothing_is_signed_and_nothing_is_said_for_good(
    servers: TwoServers, people: People, peer: Peer, room: str
) -> None:
    event = peer.event(room, people["ben"].user_id, "Anybody there?")
    text = servers.policy.read_text()
    await servers.here.stop()
    servers.policy.write_text("networks: {")
    await servers.here.start()

    answer = await peer.ask("POST", PATH, event)
    await servers.obey(people["qwil"], text)

    assert refused(answer)
    assert answer.error.startswith("The rules of this server cannot be read at the moment")
    assert (await peer.ask("POST", PATH, event)).status == 200


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("missing/policy.key", "policy_key cannot be read or made"),
        ("signing.key", "has to hold one line `ed25519 policy_server SEED`"),
    ],
)
async def test_a_key_that_cannot_be_stops_the_start_with_a_sentence(tmp_path: Path, key: str, said: str) -> None:
    (tmp_path / "policy.yaml").write_text("")
    module = {"policy": str(tmp_path / "policy.yaml"), "bot": "@qwil:qwil.test", "policy_key": str(tmp_path / key)}

    with pytest.raises(StartError) as failed:
        await Homeserver(tmp_path, module=module).start()

    assert said in str(failed.value)


async def test_the_key_is_made_where_the_configuration_says(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("")
    key = tmp_path / "elsewhere.key"
    module = {"policy": str(tmp_path / "policy.yaml"), "bot": "@qwil:qwil.test", "policy_key": str(key)}

    async with Homeserver(tmp_path, module=module):
        made = key.read_text()

    assert made.startswith("ed25519 policy_server ")
    assert list(tmp_path.glob("*.policy.key")) == []
