"""What the policy server signs, with which key, and how it keeps its word: each without a homeserver."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from signedjson.key import decode_verify_key_bytes, generate_signing_key, get_verify_key, write_signing_keys
from signedjson.sign import SignatureVerifyException, verify_signed_json
from synapse.api.errors import SynapseError
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.crypto.event_signing import add_hashes_and_signatures
from synapse.module_api.errors import ConfigError
from unpaddedbase64 import decode_base64

from policy.judge import Passes, Refused
from policy.policy_server import (
    KEY_ID,
    event_of,
    keep_in,
    load_key,
    make_table,
    policy_content,
    signature,
    trim,
    verdict_in,
)

SERVER = "hill.example"
KEY = generate_signing_key("policy_server")
ORIGINS_KEY = generate_signing_key("a_1")

LEVELS = {"ban": 100, "events": {}, "kick": 50, "redact": 100, "state_default": 100, "users": {}, "users_default": 0}
MEMBER = {"membership": "invite", "displayname": "Ben", "third_party_invite": {"display_name": "B", "signed": {"x": 1}}}
REDACTIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "10 message": ("m.room.message", {"body": "Hello"}, {}),
    "11 message": ("m.room.message", {"body": "Hello"}, {}),
    "12 message": ("m.room.message", {"body": "Hello"}, {}),
    "10 powers": ("m.room.power_levels", {**LEVELS, "events_default": 0, "invite": 5}, {**LEVELS, "events_default": 0}),
    "11 powers": ("m.room.power_levels", {**LEVELS, "invite": 5, "notifications": {}}, {**LEVELS, "invite": 5}),
    "12 powers": ("m.room.power_levels", {**LEVELS, "invite": 5, "notifications": {}}, {**LEVELS, "invite": 5}),
    "10 member": ("m.room.member", MEMBER, {"membership": "invite"}),
    "11 member": ("m.room.member", MEMBER, {"membership": "invite", "third_party_invite": {"signed": {"x": 1}}}),
    "10 deletion": ("m.room.redaction", {"reason": "typo", "redacts": "$e"}, {}),
    "11 deletion": ("m.room.redaction", {"reason": "typo", "redacts": "$e"}, {"redacts": "$e"}),
    "10 create": (
        "m.room.create",
        {"creator": "@ben:river.example", "m.federate": True},
        {"creator": "@ben:river.example"},
    ),
    "11 create": ("m.room.create", {"m.federate": True}, {"m.federate": True}),
}
"""By room version and event: its type, its content, and what is left of that when it is redacted."""


def sent(
    version: str, kind: str = "m.room.message", content: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """An event as its own server has signed it."""
    room = "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM" if version == "12" else "!room:hill.example"
    pdu = {
        "type": kind,
        "room_id": room,
        "sender": "@ben:river.example",
        "content": {"body": "Hello"} if content is None else content,
        "depth": 7,
        "prev_events": ["$before"],
        "auth_events": ["$power"],
        "origin_server_ts": 1_700_000_000_000,
        **more,
    }
    if kind != "m.room.message":
        pdu["state_key"] = ""
    add_hashes_and_signatures(KNOWN_ROOM_VERSIONS[version], pdu, "river.example", ORIGINS_KEY)
    return pdu


@pytest.mark.parametrize("case", REDACTIONS)
def test_the_signature_is_on_the_event_as_its_room_version_redacts_it(case: str) -> None:
    version = case.split()[0]
    kind, content, left = REDACTIONS[case]
    pdu = sent(version, kind, content, unsigned={"age": 4}, org_example="dropped")
    rules = KNOWN_ROOM_VERSIONS[version]

    signed = signature(event_of(dict(pdu), rules), rules, SERVER, KEY)

    redacted = {**pdu, "content": left, "signatures": signed}
    del redacted["unsigned"], redacted["org_example"]
    verify_signed_json(redacted, SERVER, get_verify_key(KEY))
    with pytest.raises(SignatureVerifyException):
        verify_signed_json({**redacted, "depth": 8}, SERVER, get_verify_key(KEY))


def test_the_key_others_check_with_is_the_one_that_the_state_event_names() -> None:
    rules = KNOWN_ROOM_VERSIONS["11"]
    pdu = sent("11")
    content = policy_content(SERVER, KEY)

    signed = signature(event_of(dict(pdu), rules), rules, SERVER, KEY)

    assert set(content) == {"via", "public_keys"}
    assert content["via"] == SERVER
    named = decode_verify_key_bytes(KEY_ID, decode_base64(content["public_keys"]["ed25519"]))
    verify_signed_json({**pdu, "content": {}, "signatures": signed}, SERVER, named)


def test_only_the_policy_servers_signature_is_answered_where_the_events_own_server_has_its_name() -> None:
    rules = KNOWN_ROOM_VERSIONS["11"]
    pdu = sent("11")
    add_hashes_and_signatures(rules, pdu, SERVER, ORIGINS_KEY)

    signed = signature(event_of(pdu, rules), rules, SERVER, KEY)

    assert {server: list(keys) for server, keys in signed.items()} == {SERVER: [KEY_ID]}


@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_a_content_that_is_not_the_hashed_one_is_no_event(version: str) -> None:
    pdu = {**sent(version), "content": {"body": "Harmless"}}

    with pytest.raises(SynapseError, match="hash is not that of its content") as refused:
        event_of(pdu, KNOWN_ROOM_VERSIONS[version])

    assert (refused.value.code, refused.value.errcode) == (400, "M_BAD_JSON")


@pytest.mark.parametrize(
    "broken",
    [
        {"content": "text"},
        {"content": {"length": 1.5}},
        {"sender": 7},
        {"sender": None},
        {"depth": "7"},
        {"depth": -1},
        {"hashes": []},
        {"hashes": {}},
        {"hashes": {"sha256": "not base64!"}},
        {"unsigned": 7},
        {"signatures": 7},
        {"state_key": 7},
        {"type": None},
        {"prev_events": {}},
    ],
    ids=str,
)
def test_what_is_no_event_is_said_to_be_none(broken: dict[str, Any]) -> None:
    with pytest.raises(SynapseError) as refused:
        event_of({**sent("11"), **broken}, KNOWN_ROOM_VERSIONS["11"])

    assert (refused.value.code, refused.value.errcode) == (400, "M_BAD_JSON")


def test_a_key_is_made_once_and_is_readable_for_us_alone(tmp_path: Path) -> None:
    file = tmp_path / "hill.policy.key"

    assert load_key(file, make=False) is None
    made, found = load_key(file, make=True), load_key(file, make=True)

    assert made is not None
    assert found is not None
    assert made.encode() == found.encode()
    assert f"{made.alg}:{made.version}" == KEY_ID
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("text", ["", "nonsense", "ed25519 policy_server !!!", "rsa policy_server AAAA", "a b c d"])
def test_a_file_that_holds_something_else_is_named_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "hill.policy.key"
    file.write_text(text)

    with pytest.raises(ConfigError, match=r"hill\.policy\.key has to hold one line"):
        load_key(file, make=True)

    assert file.read_text() == text


def test_a_key_of_another_kind_is_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    with file.open("w") as out:
        write_signing_keys(out, [ORIGINS_KEY])

    with pytest.raises(ConfigError, match="ed25519 policy_server"):
        load_key(file, make=True)


@pytest.fixture
def table() -> Iterator[sqlite3.Cursor]:
    database = sqlite3.connect(":memory:")
    cursor = database.cursor()
    make_table(cursor)
    make_table(cursor)
    yield cursor
    database.close()


def test_the_first_verdict_on_an_event_stays_whoever_comes_with_another(table: sqlite3.Cursor) -> None:
    refusal = Refused("Ben is suspended — “not now”.", ("USR-1", "EXT-2"))

    assert verdict_in(table, "$one") is None
    assert keep_in(table, "$one", refusal, 1) == refusal
    assert keep_in(table, "$one", Passes(), 2) == refusal
    assert keep_in(table, "$two", Passes(), 3) == Passes()
    assert keep_in(table, "$two", refusal, 4) == Passes()

    assert verdict_in(table, "$one") == refusal
    assert verdict_in(table, "$two") == Passes()


def test_the_newest_verdicts_are_kept(table: sqlite3.Cursor) -> None:
    for number in range(10):
        keep_in(table, f"${number}", Passes(), number)

    trim(table, 10)
    assert [verdict_in(table, f"${number}") for number in range(10)] == [Passes()] * 10
    trim(table, 3)
    assert [number for number in range(10) if verdict_in(table, f"${number}")] == [7, 8, 9]
