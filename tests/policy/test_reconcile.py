"""What the homeserver lacks is computed, and once it is done nothing is left to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from policy.action import (
    Accept,
    Action,
    EnterSpace,
    LeaveSpace,
    ListInSpace,
    MakeSpace,
    NameSpace,
    Release,
    Remove,
    Return,
    SetChat,
    SetLook,
    SetPower,
    SetProfile,
    ShowKind,
    UnlistInSpace,
    Wait,
    Withdraw,
)
from policy.model import Policy, UserId
from policy.observation import Look, Member, Observation, Room, Settings
from policy.parse import parse
from policy.reconcile import reconcile

BOT = UserId("@qwil:school.test")
NOW = 1_800_000_000.0

SCHOOLS = """
networks: {trust: {name: Trust}}
organisations:
  hill:
    name: Hill School
    network: trust
    mobile: optional
    people:
      head: {name: Ada Head, role: staff, admin: system, email: head@hill.example, matrix: "@head:school.test"}
      kim: {name: Kim Teacher, role: staff, email: kim@hill.example, matrix: "@kim:school.test"}
      pat: {name: Pat Parent, role: client, email: pat@hill.example, matrix: "@pat:school.test"}
      quin: {name: Quin Parent, role: client, email: quin@hill.example, matrix: "@quin:school.test"}
    books:
      year-1: {name: Year 1, members: [kim, pat]}
      all: {name: Everybody, members: [head, kim, pat, quin]}
  river:
    name: River School
    network: trust
    mobile: optional
    people:
      ode: {name: Ben Ode, role: staff, admin: system, email: ode@river.example, matrix: "@ode:school.test"}
    books: {}
"""


def policy_of(text: str) -> Policy:
    parsed = parse(text, lambda name: (_ for _ in ()).throw(FileNotFoundError(name)))
    assert isinstance(parsed, Policy), parsed
    return parsed


def user(name: str) -> UserId:
    return UserId(f"@{name}:school.test")


def chat(*inside: str, home: str = "hill", kind: str = "staff", invited: tuple[str, ...] = ()) -> Room:
    members = {BOT: Member("join")}
    members |= {user(name): Member("join") for name in inside} | {user(name): Member("invite") for name in invited}
    content = {"organisation": home, "kind": kind, "draft": False, "staff_only": False}
    return Room("!chat:school.test", user(inside[0]), members, chat=content, name="A chat")


def seen(*rooms: Room) -> Observation:
    return Observation(BOT, "school.test", {room.id: room for room in rooms})


def done(observation: Observation, actions: list[Action]) -> Observation:
    """The homeserver after it did all that was asked of it."""
    for action in actions:
        observation = _done(observation, action)
    return observation


def _room(observation: Observation, room: Room) -> Observation:
    return replace(observation, rooms={**observation.rooms, room.id: room})


def _moved(room: Room, who: UserId, member: Member) -> Room:
    return replace(room, members={**room.members, who: member})


def _done(observation: Observation, action: Action) -> Observation:  # noqa: C901 - one case an action
    known: Mapping[str, Room] = observation.rooms
    at = known.get(getattr(action, "room", ""))
    match action:
        case SetProfile(who, look):
            return replace(observation, profiles={**observation.profiles, who: look})
        case MakeSpace(key, name, members, children):
            joined = {BOT: Member("join")} | {who: Member("join") for who in members}
            made = Room(
                f"!space{len(known)}:school.test", BOT, joined, space=key, name=name, children=frozenset(children)
            )
            return _room(observation, made)
        case Wait():
            return observation
    assert at is not None
    changed: Any = None
    match action:
        case SetLook(_, who, look, picture):
            address = f"mxc://{who}/{picture.badge}"
            observation = replace(observation, avatars={**observation.avatars, (who, picture): address})
            changed = _moved(at, who, Member("join", look.name, address))
        case SetPower(_, levels):
            changed = replace(at, power_levels=levels)
        case SetChat(_, content):
            changed = replace(at, chat=content)
        case ShowKind(_, kind):
            observation = replace(observation, kind_avatars={**observation.kind_avatars, kind: f"mxc://kind/{kind}"})
            changed = replace(at, avatar=f"mxc://kind/{kind}")
        case Accept(_, who) | EnterSpace(_, who):
            changed = _moved(at, who, Member("join"))
        case Remove(_, who) | LeaveSpace(_, who):
            changed = _moved(at, who, Member("leave"))
        case Withdraw(_, who):
            observation = replace(observation, withheld=observation.withheld | {(at.id, who)})
            changed = _moved(at, who, Member("leave"))
        case Return(_, who):
            observation = replace(observation, withheld=observation.withheld - {(at.id, who)})
            changed = _moved(at, who, Member("join"))
        case Release(_, who, _):
            return replace(observation, withheld=observation.withheld - {(at.id, who)})
        case NameSpace(_, name):
            changed = replace(at, name=name)
        case ListInSpace(_, child):
            changed = replace(at, children=at.children | {child})
        case UnlistInSpace(_, child):
            changed = replace(at, children=at.children - {child})
    return _room(observation, changed)


def due(policy: Policy, observation: Observation, *, now: float = NOW, **settings: Any) -> list[Action]:
    return list(reconcile(policy, observation, now, Settings(**settings)))


def settled(policy: Policy, observation: Observation) -> Observation:
    for _ in range(4):
        observation = done(observation, due(policy, observation))
    return observation


@pytest.mark.parametrize(
    "room",
    [
        chat("kim", "head"),
        chat("kim", "pat", kind="client"),
        chat("kim", "ode"),
        chat("kim", "head", "ode", kind="external", invited=("pat",)),
        chat("kim", invited=("pat", "head")),
    ],
)
def test_once_everything_is_done_nothing_is_left_to_do(room: Room) -> None:
    policy = policy_of(SCHOOLS)

    assert due(policy, settled(policy, seen(room))) == []


def test_a_chat_becomes_external_with_its_first_external_colleague_and_everybody_is_told() -> None:
    actions = due(policy_of(SCHOOLS), seen(chat("kim", "ode")))

    (changed,) = [action for action in actions if isinstance(action, SetChat)]
    assert changed.content["kind"] == "external"
    assert changed.notice == "This chat is now external: staff of another organisation take part."


def test_a_chat_that_once_had_a_client_stays_a_client_chat() -> None:
    room = chat("kim", "head", kind="client")

    assert not [action for action in due(policy_of(SCHOOLS), seen(room)) if isinstance(action, SetChat)]


def test_staff_get_the_power_to_remove_clients_and_clients_none() -> None:
    actions = due(policy_of(SCHOOLS), seen(chat("kim", "pat", kind="client")))

    (power,) = [action for action in actions if isinstance(action, SetPower)]
    assert power.levels["users"] == {BOT: 100, user("kim"): 50}
    assert power.levels["kick"] == 50


def test_external_staff_bear_e_and_their_organisation_in_the_chat() -> None:
    actions = due(policy_of(SCHOOLS), seen(chat("kim", "ode", kind="external")))

    looks = {action.user: action.look for action in actions if isinstance(action, SetLook)}
    assert looks[user("ode")] == Look("Ben Ode (River School)", "E")
    assert looks[user("kim")] == Look("Kim Teacher", "S")


def test_a_suspended_member_is_withdrawn_and_returns_when_active_again() -> None:
    before, suspended = policy_of(SCHOOLS), policy_of(SCHOOLS.replace("pat: {", "pat: {status: suspended, "))
    room = chat("kim", "pat", kind="client")
    calm = settled(before, seen(room))

    away = due(suspended, calm)
    gone = done(calm, away)
    back = due(before, gone)

    assert Withdraw(room.id, user("pat")) in away
    assert (room.id, user("pat")) in gone.withheld
    assert Return(room.id, user("pat")) in back


def test_who_is_suspended_everywhere_is_called_unavailable() -> None:
    suspended = SCHOOLS.replace("pat: {", "pat: {status: suspended, ")

    def unavailable(text: str) -> list[UserId]:
        profiles = [one for one in due(policy_of(text), seen()) if isinstance(one, SetProfile)]
        return [one.user for one in profiles if not one.look.available]

    assert unavailable(SCHOOLS) == []
    assert unavailable(suspended) == [user("pat")]
    elsewhere = (
        '    people:\n      pat: {name: Pat Parent, role: staff, email: p@x.example, matrix: "@pat:school.test"}\n'
    )
    river = suspended.rindex("    people:\n")
    assert unavailable(suspended[:river] + elsewhere + suspended[river + len("    people:\n") :]) == []


def test_a_suspended_member_waits_when_the_chat_is_full_on_their_return() -> None:
    small = SCHOOLS.replace("name: Hill School", "name: Hill School\n    max_participants: 2")
    room = chat("kim", "head", kind="client")
    waiting = replace(seen(room), withheld=frozenset({(room.id, user("pat"))}))

    (place,) = [action for action in due(policy_of(small), waiting) if isinstance(action, Wait)]
    assert "at most 2 participants" in place.reason


def test_who_has_left_the_organisation_is_removed_with_the_reason() -> None:
    policy = policy_of(
        SCHOOLS.replace("kim: {", "kim: {status: left, ").replace("members: [kim, pat]", "members: [head, pat]")
    )

    removals = [action for action in due(policy, seen(chat("head", "kim"))) if isinstance(action, Remove)]

    assert removals == [Remove("!chat:school.test", user("kim"), "USR-2", "The membership of Hill School has ended.")]


def test_people_of_an_organisation_that_left_the_network_wait_for_apply() -> None:
    policy = policy_of(SCHOOLS.replace("    name: River School\n    network: trust\n", "    name: River School\n"))

    (removal,) = [
        action for action in due(policy, seen(chat("kim", "ode", kind="external"))) if isinstance(action, Remove)
    ]

    assert (removal.user, removal.rule, removal.waits) == (user("ode"), "EXT-13", True)


def test_a_staff_member_who_is_a_client_of_a_school_taking_part_leaves_its_external_chat() -> None:
    both = SCHOOLS.replace(
        "      quin: {",
        '      ben: {name: Ben Ode, role: client, email: b@x.example, matrix: "@ode:school.test"}\n      quin: {',
    )
    both = both.replace("members: [kim, pat]", "members: [kim, pat, ben]")

    removals = [
        action
        for action in due(policy_of(both), seen(chat("ode", "kim", home="river", kind="external")))
        if isinstance(action, Remove)
    ]

    assert [(removal.user, removal.rule) for removal in removals] == [(user("ode"), "EXT-3")]


def test_a_book_has_a_space_once_it_is_large_enough_and_staff_alone_where_clients_do_not_see_each_other() -> None:
    open_book, closed = (
        policy_of(SCHOOLS),
        policy_of(SCHOOLS.replace("{name: Everybody,", "{name: Everybody, clients_see_each_other: false,")),
    )

    def spaces(policy: Policy) -> dict[str, tuple[UserId, ...]]:
        actions = due(policy, seen(), book_space_members=4)
        return {action.name: action.members for action in actions if isinstance(action, MakeSpace)}

    assert spaces(open_book) == {"Everybody": (user("head"), user("kim"), user("pat"), user("quin"))}
    assert spaces(closed) == {"Everybody": (user("head"), user("kim"))}


def test_external_chats_are_listed_in_a_space_of_ones_own() -> None:
    policy = policy_of(SCHOOLS)

    calm = settled(policy, seen(chat("kim", "ode", kind="external")))

    spaces = {room.space["external"]: room for room in calm.rooms.values() if "external" in room.space}
    assert set(spaces) == {user("kim"), user("ode")}
    assert spaces[user("kim")].children == {"!chat:school.test"}


def test_a_draft_is_left_to_its_creator() -> None:
    room = chat("kim", "head")
    draft = replace(room, chat={**room.chat, "draft": True})

    kinds = {type(action) for action in due(policy_of(SCHOOLS), seen(draft)) if getattr(action, "room", "") == room.id}

    assert kinds == {SetPower}
