"""A verdict that is kept may never outlive what it was given for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from policy import settled
from policy.judge import judge
from policy.model import Moment, Policy, UserId
from policy.parse import parse
from policy.room import Attempt, room_of
from policy.settled import has_passed, settle

BOT, HEAD, KIM = UserId("@qwil:hs"), UserId("@head:hs"), UserId("@kim:hs")
ROOM = "!room:hs"
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


@dataclass(frozen=True, eq=False)
class Event:
    """A state event, which as in Synapse is equal to itself alone."""

    sender: str
    content: Mapping[str, Any]


@pytest.fixture
def policy() -> Policy:
    parsed = parse(POLICY, {}.__getitem__)
    assert isinstance(parsed, Policy), parsed
    return parsed


State = dict[tuple[str, str], Event]


def state(*, draft: bool = False) -> State:
    """A chat of Hill with both of them, or a draft of Helen's."""
    chat = {"organisation": "hill", "kind": "staff", "draft": draft, "staff_only": False}
    inside = (HEAD, BOT) if draft else (HEAD, KIM, BOT)
    return {
        ("m.room.create", ""): Event(HEAD, {"room_version": "11"}),
        ("m.room.power_levels", ""): Event(BOT, {}),
        ("org.qwil.chat", ""): Event(BOT, chat),
        ("org.qwil.draft", ""): Event(HEAD, {"with": [KIM] if draft else []}),
        **{("m.room.member", user): Event(user, {"membership": "join"}) for user in inside},
    }


def said(policy: Policy, room: State, sender: UserId, kind: str = MESSAGE, now: Moment = NOW, **more: Any) -> None:
    """Judge an event and keep the verdict."""
    attempt = Attempt(kind, sender, {"msgtype": "m.text", "body": "Hello"}, **more)
    seen = room_of(room, BOT)
    settle(policy, ROOM, room.values(), seen, attempt, judge(policy, "refuse", seen, attempt, now), now)


def passed(policy: Policy, room: State, sender: UserId, kind: str = MESSAGE, now: Moment = NOW) -> bool:
    return has_passed(policy, ROOM, room.values(), sender, kind, now)


def test_a_message_like_the_last_one_has_passed(policy: Policy) -> None:
    room = state()

    said(policy, room, KIM)

    assert passed(policy, room, KIM)
    assert passed(policy, dict(room), KIM)


@pytest.mark.parametrize(("sender", "kind"), [(HEAD, MESSAGE), (KIM, REACTION), (KIM, "m.room.redaction")])
def test_another_person_and_another_type_are_judged_by_themselves(policy: Policy, sender: UserId, kind: str) -> None:
    room = state()

    said(policy, room, KIM)

    assert not passed(policy, room, sender, kind)


def test_the_same_in_another_room_is_judged_by_itself(policy: Policy) -> None:
    room = state()

    said(policy, room, KIM)

    assert not has_passed(policy, "!other:hs", room.values(), KIM, MESSAGE, NOW)


def test_any_change_of_the_rooms_state_ends_it(policy: Policy) -> None:
    room = state()
    said(policy, room, KIM)

    removed = room | {("m.room.member", KIM): Event(HEAD, {"membership": "leave"})}
    redacted = room | {("org.qwil.draft", ""): Event(HEAD, {"with": []})}

    assert not passed(policy, removed, KIM)
    assert not passed(policy, redacted, KIM)
    assert not passed(policy, room | {("m.room.topic", ""): Event(HEAD, {})}, KIM)


def test_it_ends_when_a_date_of_the_policy_turns_and_did_not_hold_before(policy: Policy) -> None:
    room = state()
    said(policy, room, KIM)

    assert passed(policy, room, KIM, now=KIM_IS_GONE - 1)
    assert not passed(policy, room, KIM, now=KIM_IS_GONE)

    said(policy, room, HEAD, now=KIM_IS_GONE)
    assert passed(policy, room, HEAD, now=KIM_IS_GONE)
    assert not passed(policy, room, HEAD, now=KIM_IS_GONE - 1)
    assert not passed(policy, room, KIM, now=KIM_IS_GONE - 1)


def test_another_policy_begins_with_nothing(policy: Policy) -> None:
    room = state()
    said(policy, room, KIM)

    again = parse(POLICY, {}.__getitem__)

    assert isinstance(again, Policy)
    assert not passed(again, room, KIM)


def test_refusals_are_judged_anew_each_time(policy: Policy) -> None:
    room = state()
    del room["m.room.member", KIM]

    said(policy, room, KIM)

    assert not passed(policy, room, KIM)


def test_words_in_a_draft_and_words_of_the_bot_and_deletions_are_judged_each_time(policy: Policy) -> None:
    draft, chat = state(draft=True), state()

    said(policy, draft, HEAD)
    said(policy, chat, BOT)
    said(policy, chat, KIM, "m.room.redaction")
    said(policy, chat, KIM, "m.room.name", state_key="")

    assert not passed(policy, draft, HEAD)
    assert not passed(policy, chat, BOT)
    assert not passed(policy, chat, KIM, "m.room.redaction")
    assert not passed(policy, chat, KIM, "m.room.name")


def test_no_more_is_kept_than_there_is_room_for(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = state(), state()
    monkeypatch.setattr(settled, "MOST", len(first) + 1)
    said(policy, first, KIM)

    seen = room_of(second, BOT)
    attempt = Attempt(MESSAGE, KIM, {"body": "Hello"})
    verdict = judge(policy, "refuse", seen, attempt, NOW)
    settle(policy, "!other:hs", second.values(), seen, attempt, verdict, NOW)

    assert not passed(policy, first, KIM)
    assert has_passed(policy, "!other:hs", second.values(), KIM, MESSAGE, NOW)
