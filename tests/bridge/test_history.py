"""What was done is tried against another policy, as it stood at its moment."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest

from bridge.cli import main
from bridge.history import Refused, Tried, as_text, history, summary
from bridge.store import NewEvent, Store
from policy.model import Policy, UserId
from policy.parse import parse

BOT = UserId("@qwil:school.test")
DAY = 86_400.0
START = 1_796_000_000.0

POLICY = """
networks: {trust: {name: Trust}}
organisations:
  hill:
    name: Hill School
    network: trust
    mobile: optional
    people:
      kim: {name: Kim Teacher, role: staff, admin: system, email: k@hill.example, matrix: "@kim:school.test"}
      lee: {name: Lee Teacher, role: staff, email: l@hill.example, matrix: "@lee:school.test", until: 2026-12-04}
      pat: {name: Pat Parent, role: client, email: p@hill.example, matrix: "@pat:school.test"}
      quin: {name: Quin Parent, role: client, email: q@hill.example, matrix: "@quin:school.test"}
    books:
      year-1: {name: Year 1, members: [kim, lee, pat, quin]}
      year-2: {name: Year 2, members: [kim]}
"""
APART = POLICY.replace("members: [kim, lee, pat, quin]", "members: [kim, lee, pat]").replace(
    "members: [kim]", "members: [kim, quin]"
)


def policy(text: str = POLICY) -> Policy:
    parsed = parse(text, lambda name: (_ for _ in ()).throw(FileNotFoundError(name)))
    assert isinstance(parsed, Policy), parsed
    return parsed


class Chat:
    """A chat that is written down event by event, a minute apart."""

    def __init__(self, store: Store, room: str, title: str, *, start: float = START) -> None:
        self._store, self._room, self._now = store, room, start
        self._numbers = itertools.count()
        self._title = title

    async def put(self, sender: str, kind: str, content: dict[str, Any], key: str | None = None) -> None:
        name = f"${self._room}{next(self._numbers)}"
        self._now += 60
        sender = sender if sender.startswith("@") else f"@{sender}:school.test"
        whole = {"event_id": name, "room_id": self._room, "sender": sender, "type": kind, "content": content}
        moment = int(self._now * 1000)
        event = NewEvent(name, self._room, sender, kind, key, moment, None, json.dumps(whole))
        await self._store.receive(name, [event], received=self._now)

    async def begin(self, creator: str, *others: str, kind: str = "client") -> None:
        named = [f"@{other}:school.test" for other in others]
        content = {"organisation": "hill", "kind": kind, "draft": True, "staff_only": False}
        await self.put(creator, "m.room.create", {}, "")
        await self.member(creator, creator, "join")
        await self.put(creator, "org.qwil.chat", content, "")
        await self.put(creator, "org.qwil.draft", {"with": named}, "")
        await self.put(creator, "m.room.name", {"name": self._title}, "")
        await self.put(creator, "m.room.member", {"membership": "invite"}, BOT)
        for other in others:
            await self.member(creator, other, "invite")
            await self.member(other, other, "join")
        await self.say(creator, "Good morning")
        await self.put(BOT, "org.qwil.chat", {**content, "draft": False}, "")

    async def member(self, sender: str, whom: str, membership: str) -> None:
        await self.put(sender, "m.room.member", {"membership": membership}, f"@{whom}:school.test")

    async def say(self, sender: str, text: str) -> None:
        await self.put(sender, "m.room.message", {"msgtype": "m.text", "body": text})

    async def wait(self, seconds: float) -> None:
        self._now += seconds


async def tried(store: Store, text: str, since: float = 0) -> tuple[list[Refused], Tried]:
    counted = Tried()
    found = [each async for each in history(store, policy(text), bot=BOT, since=since, tried=counted)]
    return found, counted


async def test_under_the_policy_it_was_done_under_nothing_is_refused(store: Store) -> None:
    chat = Chat(store, "!one", "Trip")
    await chat.begin("pat", "kim")
    await chat.member("pat", "quin", "invite")
    await chat.member("quin", "quin", "join")
    await chat.say("quin", "Hello")

    found, counted = await tried(store, POLICY)

    assert found == []
    assert counted.acts == {"start_chat": 1, "send": 2, "add": 1}


async def test_a_client_who_is_in_another_book_now_could_not_have_been_added(store: Store) -> None:
    chat = Chat(store, "!one", "Trip")
    await chat.begin("pat", "kim")
    await chat.member("pat", "quin", "invite")

    found, counted = await tried(store, APART)

    (refused,) = found
    assert (refused.do, refused.who, refused.whom, refused.rules) == (
        "add",
        "Pat Parent (hill/pat)",
        "Quin Parent (hill/quin)",
        ("PART-1",),
    )
    assert as_text(refused).endswith(
        "Pat Parent (hill/pat) added Quin Parent (hill/quin) in “Trip”: @quin:school.test is not on your contact list; "
        "add people who are, or ask a member of staff. (PART-1)"
    )
    assert counted.refused == 1


async def test_a_chat_that_could_not_have_been_begun_is_found(store: Store) -> None:
    await Chat(store, "!one", "Between parents").begin("pat", "quin")

    found, _ = await tried(store, APART)

    assert [(each.do, each.rules) for each in found] == [("start_chat", ("BOOK-8",))]


async def test_an_act_is_judged_by_the_dates_of_its_moment(store: Store) -> None:
    """Lee's membership ends on 2026-12-04; the chat begins on 2026-11-30."""
    chat = Chat(store, "!one", "Staff")
    await chat.begin("lee", "kim", kind="staff")
    await chat.say("lee", "In time")
    await chat.wait(10 * DAY)
    await chat.say("lee", "Too late")
    await chat.say("lee", "Too late again")

    found, counted = await tried(store, POLICY)

    assert [(each.do, each.rules, each.times) for each in found] == [("send", ("USR-2",), 2)]
    assert "(2 times)" in as_text(found[0])
    assert summary(counted, 30) == (
        "Of what was done in 30 days (4 messages, 0 additions, 1 people in new chats) this policy would have refused 2."
    )


async def test_only_the_time_asked_about_is_tried_and_what_came_before_is_known(store: Store) -> None:
    chat = Chat(store, "!one", "Staff")
    await chat.begin("lee", "kim", kind="staff")
    await chat.wait(5 * DAY)
    await chat.say("kim", "Still here")

    found, counted = await tried(store, POLICY, since=START + 4 * DAY)

    assert (found, counted.acts) == ([], {"send": 1})


async def test_whoever_had_left_could_not_write_and_the_bots_own_words_are_not_tried(store: Store) -> None:
    chat = Chat(store, "!one", "Staff")
    await chat.begin("lee", "kim", kind="staff")
    await chat.member("lee", "lee", "leave")
    await chat.say(BOT, "Lee has left.")
    await chat.say("lee", "How can this be?")

    found, _ = await tried(store, POLICY)

    assert [each.rules for each in found] == [("PART-8",)]


async def test_accounts_and_organisations_that_are_in_the_policy_no_more_are_said_to_be(store: Store) -> None:
    await Chat(store, "!one", "Staff").begin("lee", "kim", kind="staff")

    found, _ = await tried(store, POLICY.replace("@lee:school.test", "@lea:school.test"))
    assert {each.text for each in found} == {"@lee:school.test is in no organisation that takes part in this chat."}

    found, _ = await tried(store, POLICY.replace("  hill:\n", "  dale:\n"))
    assert {each.text for each in found} == {"The organisation of this chat is not in the policy."}


async def test_commands_and_reactions_are_no_messages(store: Store) -> None:
    chat = Chat(store, "!one", "Staff")
    await chat.begin("lee", "kim", kind="staff")
    await chat.say("lee", "!rename Trip")
    await chat.put("lee", "m.reaction", {})

    _, counted = await tried(store, POLICY)

    assert counted.acts["send"] == 1


@pytest.mark.parametrize("days", ["0", "-3", "nan"])
def test_days_that_are_none_are_a_usage_error(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["history", "-c", "config.yaml", "--days", days])

    assert ended.value.code == 2
    assert f"--days is a number of days greater than 0, not {days}" in capsys.readouterr().err


async def test_the_program_tries_a_candidate_over_the_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, candidate = tmp_path / "config.yaml", tmp_path / "next.yaml"
    config.write_text(
        'homeserver: {address: "http://127.0.0.1:1", server_name: school.test}\ndatabase: "sqlite:qwil.db"\n'
    )
    (tmp_path / "policy.yaml").write_text(POLICY)
    candidate.write_text(APART)
    store = await Store.open(f"sqlite:{tmp_path}/qwil.db")
    await Chat(store, "!one", "Between parents", start=time.time() - DAY).begin("pat", "quin")
    await store.close()

    assert await asyncio.to_thread(main, ["history", "-c", str(config)]) == 0
    assert capsys.readouterr().out.endswith("would have refused 0.\n")
    assert await asyncio.to_thread(main, ["history", "-c", str(config), "--policy", str(candidate), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["title"] == "Between parents"
