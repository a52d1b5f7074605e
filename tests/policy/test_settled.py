"""A verdict that is kept may never outlive what it was given for."""

from __future__ import annotations

import pytest

from policy import settled
from policy.judge import judge
from policy.model import Moment, Policy, UserId
from policy.parse import parse
from policy.room import Attempt, Member, Room
from policy.settled import has_passed, settle, settles

BOT, HEAD, KIM = UserId("@qwil:hs"), UserId("@head:hs"), UserId("@kim:hs")
ROOM, STATE = "!room:hs", 17
NOW = 1_800_000_000.0
KIM_IS_GONE = 1_800_403_200.0 + 13 * 86_400
MESSAGE, REACTION = "m.room.message", "m.reaction"

POLICY = """
organisations:
  hill:
    name: Hill
    mobile: optional
    people:
      head: {name: Helen, role: staff, matrix: "@head:hs", email: h@x.example, admin: system}
      kim: {name: Kim, role: staff, matrix: "@kim:hs", email: k@x.example, until: 2027-02-01}
    books: {one: {name: One, members: [head, kim]}}
"""


@pytest.fixture
def policy() -> Policy:
    parsed = parse(POLICY, {}.__getitem__)
    assert isinstance(parsed, Policy), parsed
    return parsed


def chat(*inside: UserId, draft: bool = False) -> Room:
    """A chat of Hill that Helen made."""
    content = {"organisation": "hill", "kind": "staff", "draft": draft, "staff_only": False}
    members = {user: Member("join", user, {"membership": "join"}) for user in (HEAD, *inside, BOT)}
    return Room(HEAD, BOT, members, chat=content, held=(KIM,) if draft else ())


def attempt(sender: UserId, kind: str = MESSAGE, state_key: str | None = None) -> Attempt:
    return Attempt(kind, sender, {"msgtype": "m.text", "body": "Hello"}, state_key)


def stands(policy: Policy, room: Room, attempted: Attempt) -> bool:
    return settles(room, attempted, judge(policy, "refuse", room, attempted, NOW))


def said(policy: Policy, sender: UserId, kind: str = MESSAGE, now: Moment = NOW) -> None:
    settle(policy, ROOM, STATE, sender, kind, now)


def passed(policy: Policy, sender: UserId, kind: str = MESSAGE, now: Moment = NOW) -> bool:
    return has_passed(policy, ROOM, STATE, sender, kind, now)


def test_a_message_and_a_reaction_in_a_chat_stand_for_more_of_their_kind(policy: Policy) -> None:
    room = chat(KIM)

    assert stands(policy, room, attempt(KIM))
    assert stands(policy, room, attempt(KIM, REACTION))


def test_what_hangs_on_the_words_or_on_other_events_is_judged_each_time(policy: Policy) -> None:
    begun, draft = chat(KIM), chat(draft=True)

    assert not stands(policy, draft, attempt(HEAD))
    assert not stands(policy, begun, attempt(BOT))
    assert not stands(policy, begun, attempt(KIM, "m.room.redaction"))
    assert not stands(policy, begun, attempt(KIM, "m.room.name", ""))


def test_refusals_are_judged_anew_each_time(policy: Policy) -> None:
    assert not stands(policy, chat(), attempt(KIM))


def test_a_message_like_the_last_one_has_passed(policy: Policy) -> None:
    said(policy, KIM)

    assert passed(policy, KIM)


@pytest.mark.parametrize(("sender", "kind"), [(HEAD, MESSAGE), (KIM, REACTION)])
def test_another_person_and_another_type_are_judged_by_themselves(policy: Policy, sender: UserId, kind: str) -> None:
    said(policy, KIM)

    assert not passed(policy, sender, kind)


def test_another_room_and_another_state_of_the_same_are_judged_by_themselves(policy: Policy) -> None:
    said(policy, KIM)

    assert not has_passed(policy, "!other:hs", STATE, KIM, MESSAGE, NOW)
    assert not has_passed(policy, ROOM, STATE + 1, KIM, MESSAGE, NOW)

    settle(policy, ROOM, STATE + 1, HEAD, MESSAGE, NOW)
    assert not passed(policy, KIM)
    assert not has_passed(policy, ROOM, STATE + 1, KIM, MESSAGE, NOW)


def test_it_ends_when_a_date_of_the_policy_turns_and_did_not_hold_before(policy: Policy) -> None:
    said(policy, KIM)

    assert passed(policy, KIM, now=KIM_IS_GONE - 1)
    assert not passed(policy, KIM, now=KIM_IS_GONE)

    said(policy, HEAD, now=KIM_IS_GONE)
    assert passed(policy, HEAD, now=KIM_IS_GONE)
    assert not passed(policy, HEAD, now=KIM_IS_GONE - 1)
    assert not passed(policy, KIM, now=KIM_IS_GONE - 1)


def test_another_policy_begins_with_nothing(policy: Policy) -> None:
    said(policy, KIM)

    again = parse(POLICY, {}.__getitem__)

    assert isinstance(again, Policy)
    assert not passed(again, KIM)


def test_no_more_is_kept_than_there_is_room_for(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settled, "MOST", 1)
    said(policy, KIM)

    settle(policy, "!other:hs", STATE, KIM, MESSAGE, NOW)

    assert not passed(policy, KIM)
    assert has_passed(policy, "!other:hs", STATE, KIM, MESSAGE, NOW)
