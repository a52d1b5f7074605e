"""A request for a room becomes a room of ours, or a refusal."""

from collections.abc import Mapping
from typing import Any

import pytest

from policy.creation import Making, request_objections, room_asked_for, spanning_steps, spans_servers
from policy.decision import Decision
from policy.model import Policy, UserId
from policy.parse import parse
from policy.template import creation_power_levels

BOT = UserId("@qwil:hs")
ANN, BEN, CAT, DAN = (UserId(f"@{name}:hs") for name in ("ann", "ben", "cat", "dan"))

POLICY = """
networks: {oak: {name: Oak}}
organisations:
  first:
    name: First
    network: oak
    mobile: optional
    people:
      ann: {name: Ann, role: staff, matrix: "@ann:hs", email: a@x.example, admin: system}
      cat: {name: Cat, role: client, matrix: "@cat:hs", email: c@x.example}
    books: {one: {name: One, members: [ann, cat]}}
  second:
    name: Second
    mobile: optional
    people:
      ann: {name: Ann, role: client, matrix: "@ann:hs", email: a@y.example}
      ben: {name: Ben, role: staff, matrix: "@ben:hs", email: b@y.example, admin: system}
    books: {two: {name: Two, members: [ann, ben]}}
  third:
    name: Third
    network: oak
    mobile: optional
    people:
      eve: {name: Eve, role: staff, matrix: "@eve:elsewhere", email: e@z.example, admin: system}
    books: {}
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    parsed = parse(POLICY, {}.__getitem__)
    assert isinstance(parsed, Policy), parsed
    list(spanning_steps(parsed, "hs"))
    return parsed


def asked(policy: Policy, creator: UserId, **request: Any) -> Making | Decision:
    return room_asked_for(policy, request, creator, BOT, now=1e6, room_version="11")


def made(policy: Policy, creator: UserId, **request: Any) -> Making:
    making = asked(policy, creator, **request)
    assert isinstance(making, Making), making
    return making


def refused(policy: Policy, creator: UserId, **request: Any) -> tuple[str, ...]:
    decision = asked(policy, creator, **request)
    assert isinstance(decision, Decision), decision
    return decision.rules


def test_a_chat_belongs_to_the_organisation_of_the_common_book_whatever_the_order(policy: Policy) -> None:
    assert made(policy, ANN, invite=[CAT]).organisation == "first"
    assert made(policy, ANN, invite=[BEN]).organisation == "second"


def test_a_chat_that_no_organisation_allows_is_refused_as_the_first_would(policy: Policy) -> None:
    assert refused(policy, ANN, invite=[BEN, CAT]) == ("DIR-4",)
    assert refused(policy, ANN, invite=[DAN]) == ("DIR-4",)


def test_nobody_invited_makes_an_empty_draft_and_the_bot_alone_the_direct_chat(policy: Policy) -> None:
    draft, direct = made(policy, ANN), made(policy, ANN, invite=[BOT])

    assert draft.state["org.qwil.draft"] == {"with": []}
    assert draft.state["org.qwil.chat"]["kind"] == "staff"
    assert direct.state["org.qwil.direct"] == {"user": ANN}
    assert "org.qwil.chat" not in direct.state
    assert direct.organisation is None


def test_an_empty_draft_of_a_client_is_a_clients_chat(policy: Policy) -> None:
    assert made(policy, CAT).state["org.qwil.chat"]["kind"] == "client"


def test_the_bot_and_oneself_among_the_invited_count_for_nothing(policy: Policy) -> None:
    assert made(policy, ANN, invite=[BOT, ANN, CAT, CAT]).state["org.qwil.draft"] == {"with": [CAT]}


def test_the_request_is_made_anew_so_that_nothing_unknown_passes(policy: Policy) -> None:
    making = made(policy, CAT, invite=[ANN], name="  ", topic="By bus", is_direct=True, org_example="x")

    assert making.request["name"] == "New chat"
    assert making.request["topic"] == "By bus"
    assert making.request["invite"] == [BOT]
    assert making.request["power_level_content_override"] == creation_power_levels(BOT, CAT)
    assert set(making.request) == {
        *("preset", "visibility", "room_version", "invite", "power_level_content_override", "initial_state"),
        *("topic", "name", "creation_content"),
    }


def test_a_name_in_the_initial_state_is_the_name(policy: Policy) -> None:
    state = [
        {"type": "m.room.name", "content": {"name": "Trip"}},
        {"type": "m.room.topic", "content": {"topic": "Bus"}},
    ]

    making = made(policy, CAT, initial_state=state)

    assert (making.request["name"], making.request["topic"]) == ("Trip", "Bus")


def test_rooms_are_open_to_other_servers_only_where_the_network_is(policy: Policy) -> None:
    assert made(policy, CAT).request["creation_content"] == {"m.federate": True}
    assert made(policy, BEN).request["creation_content"] == {"m.federate": False}
    assert not spans_servers(Policy(), "first")


def test_only_what_was_asked_for_begins_the_room(policy: Policy) -> None:
    making = made(policy, ANN, invite=[CAT], name="Trip")

    assert making.makes("m.room.create", {"m.federate": True, "room_version": "11"})
    assert not making.makes("m.room.create", {"m.federate": True, "room_version": "11", "predecessor": {}})
    assert making.makes("m.room.power_levels", {**creation_power_levels(BOT, ANN), "historical": 100})
    assert not making.makes("m.room.power_levels", {**creation_power_levels(BOT, ANN), "users": {ANN: 100}})
    assert making.makes("m.room.name", {"name": "Trip"})
    assert not making.makes("m.room.topic", {"topic": "None was asked for"})
    assert not making.makes("m.room.encryption", {"algorithm": "x"})
    assert not making.makes("org.qwil.chat", {**making.state["org.qwil.chat"], "draft": False})


@pytest.mark.parametrize(
    "levels",
    [
        {"users": {ANN: 1}},
        {"users": {ANN: "100"}},
        {"users_default": 1},
        {"users_default": None},
        {"ban": 0},
        {"redact": 49},
        {"state_default": "50"},
        {"events": {"m.room.encryption": 0}},
        {"events": {"m.space.child": 0}},
    ],
)
def test_powers_that_count_are_not_asked_for(levels: Mapping[str, Any]) -> None:
    objections = list(request_objections({"power_level_content_override": levels}, BOT))

    assert [objection.rule for objection in objections] == ["PART-7"]


@pytest.mark.parametrize(
    "levels",
    [
        {},
        {"users": {BOT: 100}},
        {"events": {"org.matrix.msc3401.call.member": 0, "m.room.name": 0}},
        {"events": {"m.room.avatar": 50, "m.room.power_levels": 100}, "kick": 50, "invite": 0},
    ],
)
def test_powers_that_are_a_clients_habit_are(levels: Mapping[str, Any]) -> None:
    assert list(request_objections({"power_level_content_override": levels}, BOT)) == []
