"""Which rooms from before become chats, and what is said of those that do not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policy.action import StepDown, TakeOver
from policy.before import RoomBefore, as_data, from_data, room_before
from policy.model import Policy, UserId
from policy.observation import Member, Observation, Room, Settings
from policy.parse import parse
from policy.plan import lines, plan
from policy.takeover import Stays, shape, take_over

BOT = UserId("@qwil:hs")
NOW = 1_000_000.0
POLICY = """
networks: {oak: {name: Oak}}
organisations:
  hill:
    name: Hill
    network: oak
    mobile: optional
    max_participants: 4
    people:
      head: {name: Helen, role: staff, matrix: "@head:hs", email: h@x.example, admin: system}
      ann: {name: Ann, role: staff, matrix: "@ann:hs", email: a@x.example}
      bo: {name: Bo, role: staff, matrix: "@bo:hs", email: b@x.example}
      sue: {name: Sue, role: staff, matrix: "@sue:hs", email: s@x.example, status: suspended}
      new: {name: Newt, role: staff, matrix: "@new:hs", email: n@x.example, status: invited}
      gone: {name: Gil, role: staff, matrix: "@gone:hs", email: g@x.example, status: left}
      away: {name: Abe, role: staff, matrix: "@abe:elsewhere", email: e@x.example}
      pat: {name: Pat, role: client, matrix: "@pat:hs", email: p@x.example}
      pia: {name: Pia, role: client, matrix: "@pia:hs", email: q@x.example}
    books: {one: {name: One, members: [head, pat]}, two: {name: Two, members: [ann, pia]}}
  river:
    name: River
    network: oak
    mobile: optional
    people:
      ben: {name: Ben, role: staff, matrix: "@ben:hs", email: b@x.example, admin: system}
    books: {}
  far:
    name: Far
    mobile: optional
    people:
      kay: {name: Kay, role: staff, matrix: "@kay:hs", email: k@x.example, admin: system}
    books: {}
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    parsed = parse(POLICY, lambda name: (_ for _ in ()).throw(FileNotFoundError(name)))
    assert isinstance(parsed, Policy), parsed
    return parsed


def user(name: str) -> UserId:
    return UserId(f"@{name}:hs")


def room(*members: str, levels: dict[str, Any] | None = None, **more: Any) -> RoomBefore:
    """A room that the first of them made and administers, as clients make them."""
    people = tuple(user(name) for name in members)
    powers = {"users": {people[0]: 100}, **(levels or {})}
    return RoomBefore("!old:hs", people[0], people, **{"name": "Old", "version": "10", "levels": powers, **more})


def result(policy: Policy, before: RoomBefore) -> TakeOver | Stays | None:
    return take_over(policy, before, NOW, bot=BOT, server="hs")


def taken(policy: Policy, before: RoomBefore) -> TakeOver:
    found = result(policy, before)
    assert isinstance(found, TakeOver), found
    return found


def why(policy: Policy, before: RoomBefore) -> str:
    found = result(policy, before)
    assert isinstance(found, Stays), found
    return found.text.partition(": ")[2]


def test_colleagues_and_clients_of_one_school_become_a_chat_of_it(policy: Policy) -> None:
    found = taken(policy, room("head", "ann", "pat", invited=(user("pia"),)))

    assert found.chat == {"organisation": "hill", "kind": "client", "draft": False, "staff_only": False}
    assert (found.giver, found.withdrawn) == (user("head"), (user("pia"),))
    assert found.levels == {"users": {user("head"): 100, BOT: 100}}


def test_people_who_share_no_book_may_stay_together_as_books_govern_starting_alone(policy: Policy) -> None:
    assert taken(policy, room("pat", "pia")).chat["kind"] == "client"


def test_suspended_people_do_not_keep_a_room_from_becoming_a_chat(policy: Policy) -> None:
    assert taken(policy, room("head", "sue")).members == (user("head"), user("sue"))


def test_the_creators_school_is_its_home_and_where_there_is_none_the_one_with_the_most_people(policy: Policy) -> None:
    theirs = taken(policy, room("ben", "head", "ann"))
    orphaned = room("head", "ann", "ben", levels={"users": {user("ben"): 100}})
    by_number = taken(policy, RoomBefore("!old:hs", user("x"), orphaned.members, version="9", levels=orphaned.levels))

    assert (theirs.chat["organisation"], theirs.chat["kind"]) == ("river", "external")
    assert (by_number.chat["organisation"], by_number.giver) == ("hill", user("ben"))


def test_a_room_without_a_name_is_called_by_its_people(policy: Policy) -> None:
    assert taken(policy, room("head", "ann", name="")).name == "Helen, Ann"
    assert taken(policy, room("head", "ann", "pat", "pia", name="")).name == "Helen, Ann, Pat, Pia"
    assert taken(policy, room("head", "ann")).name == ""


def test_a_bot_that_has_its_power_already_needs_nobodys(policy: Policy) -> None:
    found = taken(policy, room("head", "ann", levels={"users": {BOT: 100}}))

    assert found.levels is None


def test_somebody_unknown_who_left_it_may_have_been_a_client(policy: Policy) -> None:
    among_colleagues = taken(policy, room("head", "ann", former=(user("x"),)))

    assert among_colleagues.chat["kind"] == "client"
    assert "(EXT-4)" in why(policy, room("head", "ben", former=(user("x"),)))
    assert "(EXT-4)" in why(policy, room("head", "ben", former=(user("pat"),)))


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (room("head", "x"), "@x:hs is in no organisation"),
        (room("head", "x", "y"), "@x:hs and 1 more are in no organisation"),
        (room("head", "kay"), "@kay:hs is no member of Hill or of its network"),
        (room("head", "new"), "@new:hs is no member of Hill or of its network"),
        (room("head", "gone"), "@gone:hs is no member of Hill or of its network"),
        (room("head", "pat", "ben"), "Clients cannot be invited to external chats (EXT-3)"),
        (room("head"), "nobody else is in it (CHAT-7)"),
        (room("head", "ann", encrypted=True), "it is encrypted, so that nothing in it can be put on record (REV-1)"),
        (room("head", "ann", join_rule="public"), "it is public: anybody could have entered it"),
        (room("head", "ann", published=True), "it stands in the public directory: take it out of there first"),
        (room("head", "ann", history="world_readable"), "anybody may read it without being in it"),
        (room("head", "ann", replaced=True), "it was replaced by another room"),
        (room("head", "ann", type="m.space"), "it is a space, and spaces follow from contact books (BOOK-9)"),
        (room("head", "ann", type="m.call"), "it is a room of a special type, m.call, which no chat is"),
        (room("head", "ann", version="12"), "it has room version 12, in which its creator keeps a power without limit"),
        (room("head", "ann", version="org.new"), "it has room version org.new, in which its creator keeps a power"),
        (room("head", "ann", levels={"users": {}}), "nobody in it has the power to hand it over"),
        (room("head", "ann", levels={"users_default": 100}), "its power levels go beyond 100"),
        (room("head", "ann", levels={"ban": 101}), "its power levels go beyond 100"),
        (room("head", "ann", levels={"ban": "50"}), "its power levels cannot be read"),
    ],
)
def test_why_a_room_stays_as_it_is(policy: Policy, before: RoomBefore, reason: str) -> None:
    assert why(policy, before).startswith(reason)


def test_too_many_people_for_a_chat(policy: Policy) -> None:
    full = room("head", "ann", "pat", "pia", "sue")

    assert taken(policy, full).members == full.members
    assert "can have at most 4 participants" in why(policy, room("head", "ann", "pat", "pia", "bo"))


def test_people_on_other_homeservers_are_named(policy: Policy) -> None:
    before = RoomBefore("!old:hs", user("head"), (user("head"), UserId("@abe:elsewhere")), levels=room("head").levels)

    assert why(policy, before) == "@abe:elsewhere is on another homeserver, where nobody can be made to leave"


def test_a_room_of_people_in_no_organisation_is_nobodys_affair(policy: Policy) -> None:
    assert result(policy, room("x", "y")) is None


def test_a_room_the_bot_made_is_none_of_these(policy: Policy) -> None:
    assert result(policy, RoomBefore("!own:hs", BOT, (BOT, user("head")))) is None


def event(kind: str, content: Any, key: str = "", sender: str = "@head:hs") -> dict[str, Any]:
    return {"type": kind, "state_key": key, "sender": sender, "content": content, "origin_server_ts": 7}


def test_a_room_is_read_from_its_state_and_survives_nonsense_in_it() -> None:
    state = [
        event("m.room.create", {"room_version": "9"}),
        event("m.room.member", {"membership": "join"}, "@head:hs"),
        event("m.room.member", {"membership": "ban"}, "@x:hs"),
        event("m.room.member", {"membership": "invite"}, "@pat:hs"),
        event("m.room.join_rules", {"join_rule": "invite"}),
        event("m.room.name", {"name": 5}),
        event("m.room.power_levels", "nothing"),
        {"type": "m.room.topic"},
        "nonsense",
    ]

    seen = room_before("!r:hs", state)

    assert (seen.members, seen.invited, seen.former) == ((user("head"),), (user("pat"),), (user("x"),))
    assert (seen.creator, seen.version, seen.name, seen.levels, seen.made) == (user("head"), "9", "", {}, 7)
    assert seen.join_rule == "invite"
    assert room_before("!r:hs", []).join_rule == "public"


def test_a_room_comes_back_from_the_record_as_it_was() -> None:
    before = room("head", "ann", invited=(user("pat"),), former=(user("x"),))

    assert from_data(json.loads(json.dumps(as_data(before)))) == before


def test_the_plan_waits_for_apply_and_lists_the_others_for_those_they_concern(policy: Policy) -> None:
    other = RoomBefore("!far:hs", user("kay"), (user("kay"), user("x")), name="Far out", levels=room("kay").levels)
    seen = Observation(BOT, "hs", before={"!old:hs": room("head", "ann"), "!far:hs": other})

    planned = plan(policy, seen, NOW, Settings(book_space_members=50), wait_above=10)

    (step,) = [step for step in planned.steps if isinstance(step.action, TakeOver)]
    assert (step.waits, set(step.organisations)) == (True, {"hill"})
    assert planned.waiting == ()
    assert [text for text in lines(planned.of(["far"])) if "Far out" in text] == [
        "- “Far out” (!far:hs) of Far: @x:hs is in no organisation"
    ]
    assert "Far out" not in "\n".join(lines(planned.of(["hill"])))


def test_power_is_given_up_before_anybody_goes_who_has_it(policy: Policy) -> None:
    inside = {BOT: Member("join"), user("head"): Member("join"), user("gone"): Member("join")}
    chat = {"organisation": "hill", "kind": "staff", "draft": False, "staff_only": False}
    levels = {"users": {BOT: 100, user("head"): 100, user("gone"): 100}}
    seen = Observation(BOT, "hs", {"!r:hs": Room("!r:hs", user("head"), inside, chat=chat, power_levels=levels)})

    planned = plan(policy, seen, NOW, Settings(book_space_members=50), wait_above=10)

    does = [type(step.action).__name__ for step in planned.steps if step.section in ("removals", "chats")]
    assert does[:4] == ["StepDown", "StepDown", "Remove", "ShowKind"]
    second = planned.steps[1].action
    assert isinstance(second, StepDown)
    assert dict(second.levels) == {"users": {BOT: 100}}


def shaped(policy: Policy, before: RoomBefore) -> TakeOver | str | None:
    return shape(policy, before, NOW, bot=BOT)


def test_without_the_module_a_new_room_is_shaped_whoever_is_invited(policy: Policy) -> None:
    found = shaped(policy, room("head", name="", invited=(user("pat"), user("x"))))

    assert isinstance(found, TakeOver)
    assert (found.chat["organisation"], found.chat["kind"], found.name) == ("hill", "staff", "New chat")
    assert (found.members, found.withdrawn) == ((user("head"),), ())


def test_without_the_module_a_room_waits_for_somebody_else_and_for_a_member_who_made_it(policy: Policy) -> None:
    assert shaped(policy, room("head")) is None
    assert shaped(policy, room("head", invited=(BOT,))) is None
    assert shaped(policy, room("sue", "head")) is None
    assert shaped(policy, room("x", "head")) is None
    assert shaped(policy, room("head", "ann", encrypted=True)) == (
        "it is encrypted, so that nothing in it can be put on record (REV-1)"
    )


def test_power_that_nobody_can_take_does_not_keep_a_room_from_becoming_a_chat(policy: Policy) -> None:
    before = room("head", "ann", levels={"users": {user("head"): 100, user("x"): 100}})

    assert taken(policy, before).levels == {"users": {user("head"): 100, user("x"): 100, BOT: 100}}
