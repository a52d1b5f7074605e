"""A plan says in plain words what is to be done, and waits where nobody should be surprised."""

from __future__ import annotations

from policy.differences import differences, fingerprint
from policy.model import Policy, UserId
from policy.observation import Look, Member, Observation, Room, Settings
from policy.parse import parse
from policy.plan import Plan, as_json, lines, plan, waits

BOT = UserId("@qwil:school.test")
NOW = 1_800_000_000.0
PARENTS = [f"p{number:02}" for number in range(12)]


def policy(
    *, network: str = "network: trust", statuses: dict[str, str] | None = None, limit: int = 100, extra: str = ""
) -> Policy:
    parents = "\n".join(
        f'      {name}: {{name: "Parent {name}", role: client, email: {name}@hill.example,'
        f' matrix: "@{name}:school.test",'
        f" status: {(statuses or {}).get(name, 'active')}}}"
        for name in PARENTS
    )
    text = f"""
networks: {{trust: {{name: Trust}}}}
organisations:
  hill:
    name: Hill School
    network: trust
    mobile: optional
    max_participants: {limit}
    people:
      head: {{name: Ada Head, role: staff, admin: system, email: head@hill.example, matrix: "@head:school.test"}}
      kim: {{name: Kim Teacher, role: staff, email: kim@hill.example, matrix: "@kim:school.test"}}
{parents}
    books:
      year-1: {{name: Year 1, members: [kim, {", ".join(PARENTS)}]}}
{extra}
  river:
    name: River School
    {network}
    mobile: optional
    people:
      ode: {{name: Ben Ode, role: staff, admin: system, email: ode@river.example, matrix: "@ode:school.test"}}
    books: {{}}
"""
    parsed = parse(text, lambda name: (_ for _ in ()).throw(FileNotFoundError(name)))
    assert isinstance(parsed, Policy), parsed
    return parsed


def user(name: str) -> UserId:
    return UserId(f"@{name}:school.test")


def chat(title: str, *inside: str, kind: str = "client") -> Room:
    members = {BOT: Member("join")} | {user(name): Member("join") for name in inside}
    content = {"organisation": "hill", "kind": kind, "draft": False, "staff_only": False}
    return Room(f"!{title}:school.test", user(inside[0]), members, chat=content, name=title)


def planned(given: Policy, *rooms: Room, above: int = 10, waited: frozenset[tuple[str, UserId]] = frozenset()) -> Plan:
    seen = Observation(BOT, "school.test", {room.id: room for room in rooms})
    return plan(given, seen, NOW, Settings(book_space_members=50), wait_above=above, waited=waited)


def test_removals_come_first_and_give_reason_and_rule() -> None:
    found = planned(policy(statuses={"p00": "left"}), chat("Reading", "kim", "p00", "p01"))

    text = list(lines(found))

    assert text[0] == "Removals from chats (1):"
    assert text[1] == (
        "- Parent p00 is removed from “Reading” of Hill School: The membership of Hill School has ended. (USR-2)"
    )


def test_people_of_an_organisation_that_left_the_network_wait_for_apply() -> None:
    found = planned(policy(network=""), chat("Festival", "head", "ode", kind="external"))

    assert [step.text for step in found.waiting] == [
        "Ben Ode (River School) is removed from “Festival” of Hill School: "
        "River School and Hill School no longer share a network. (EXT-13)"
    ]
    assert found.steps[0].waits
    assert "[waits for apply]" in list(lines(found))[1]


def test_the_rights_in_a_chat_are_set_when_those_have_gone_who_will_have_none() -> None:
    found = planned(policy(network=""), chat("Festival", "head", "ode", kind="external"))

    rights = next(step for step in found.steps if step.text.startswith("the rights in “Festival”"))
    assert rights.waits
    assert not [step for step in found.waiting if step is rights]


def test_up_to_the_setting_removals_are_done_by_themselves() -> None:
    found = planned(policy(statuses=dict.fromkeys(PARENTS[:10], "left")), chat("All", "kim", *PARENTS))

    assert [step for step in found.steps if step.section == "removals" and step.waits] == []
    assert len([step for step in found.steps if step.section == "removals"]) == 10


def test_more_people_than_the_setting_wait_all_together() -> None:
    found = planned(policy(statuses=dict.fromkeys(PARENTS[:11], "left")), chat("All", "kim", *PARENTS))

    assert len(found.waiting) == 11


def test_suspensions_of_many_wait_as_well() -> None:
    found = planned(policy(statuses=dict.fromkeys(PARENTS[:11], "suspended")), chat("All", "kim", *PARENTS))

    assert len(found.waiting) == 11


def test_one_person_in_many_chats_is_one_participant_and_does_not_wait() -> None:
    rooms = [chat(f"Chat {number}", "kim", "p00", "p01") for number in range(12)]

    found = planned(policy(statuses={"p00": "suspended"}), *rooms)

    assert found.waiting == ()
    assert len([step for step in found.steps if step.section == "removals"]) == 12


def test_who_waited_goes_on_waiting_when_some_of_the_others_have_gone_by_themselves() -> None:
    given = policy(statuses=dict.fromkeys(PARENTS[:11], "left"))
    first = planned(given, chat("All", "kim", *PARENTS))
    waited = frozenset((step.action.room, step.action.user) for step in first.waiting)  # type: ignore[union-attr]

    second = planned(given, chat("All", "kim", *PARENTS[3:]), waited=waited)

    assert len(second.waiting) == 8
    assert all(waits(step.action, waited) for step in second.waiting)


def test_the_hash_names_the_actions_whatever_their_order() -> None:
    one, other = chat("One", "kim", "p00"), chat("Two", "kim", "p01")

    assert planned(policy(), one, other).hash == planned(policy(), other, one).hash
    assert planned(policy(), one).hash != planned(policy(), other).hash
    assert planned(policy(), one).hash != planned(policy(statuses={"p00": "left"}), one).hash


def test_administrators_see_the_part_that_concerns_them() -> None:
    found = planned(policy(), chat("Reading", "kim", "p00"))

    ours, theirs = found.of({"hill"}), found.of({"river"})

    assert {step.text for step in theirs.steps} == {"@ode:school.test is called “Ben Ode” with badge S"}
    assert "“Reading” of Hill School shows the picture of its kind, client (CHAT-9)" in {
        step.text for step in ours.steps
    }
    assert len(ours.steps) + len(theirs.steps) == len(found.steps)


def test_a_chat_above_a_lowered_limit_is_a_note_and_nobody_is_thrown_out() -> None:
    found = planned(policy(limit=5), chat("All", "kim", *PARENTS))

    assert [step for step in found.steps if step.section == "removals"] == []
    assert found.notes == (
        "“All” of Hill School has 13 participants and may have 5: nobody can be added until some have left (CHAT-3)",
    )


def test_a_place_in_a_full_chat_is_a_note_and_no_change() -> None:
    room = chat("Small", "kim", "p00", "p01")
    seen = Observation(BOT, "school.test", {room.id: room}, withheld=frozenset({(room.id, user("p02"))}))

    found = plan(policy(limit=3), seen, NOW, Settings(book_space_members=50), wait_above=10)

    assert [action.user for action in found.full] == [user("p02")]
    assert found.notes[0].startswith("Parent p02 cannot come back to “Small” of Hill School yet: ")


def test_the_plan_for_programs_names_each_action_with_its_fields() -> None:
    found = as_json(planned(policy(statuses={"p00": "left"}), chat("Reading", "kim", "p00")))

    assert found["steps"][0]["action"] == {
        "do": "Remove",
        "room": "!Reading:school.test",
        "user": "@p00:school.test",
        "rule": "USR-2",
        "reason": "The membership of Hill School has ended.",
        "waits": False,
    }
    assert len(found["hash"]) == 16


def test_a_long_section_is_cut_and_says_how_much_more_there_is() -> None:
    text = list(lines(planned(policy()), 3))

    assert text[0] == "Names and badges (15):"
    assert text[-1] == "- … and 12 more"


def test_who_is_called_right_already_is_not_in_the_plan() -> None:
    profiles = {
        user(member.identifier): Look(member.name, "C" if member.role == "client" else "S")
        for member in policy().people.values()
    }
    seen = Observation(BOT, "school.test", profiles=profiles)

    found = plan(policy(), seen, NOW, Settings(book_space_members=50), wait_above=10)

    assert found.steps == ()


def test_changes_of_a_policy_are_told_in_words() -> None:
    extra = "      music: {name: Music, members: [kim, p01]}"

    told = [each.text for each in differences(policy(), policy(network="", statuses={"p00": "left"}, extra=extra))]

    assert told == [
        "book hill/music is new",
        "organisation river: network trust → none",
        "Kim Teacher (hill/kim): into book music",
        "Parent p00 (hill/p00): status active → left",
        "Parent p01 (hill/p01): into book music",
    ]


def test_the_same_policy_has_the_same_fingerprint_and_another_has_another() -> None:
    assert fingerprint(policy()) == fingerprint(policy())
    assert fingerprint(policy()) != fingerprint(policy(statuses={"p11": "suspended"}))
    assert list(differences(policy(), policy())) == []
