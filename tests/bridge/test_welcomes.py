"""Greeting and announcing once, whenever the bridge is killed and whatever the homeserver has forgotten."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import pytest

from bridge.arrival.ledger import Ledger
from bridge.arrival.welcome import AGAIN, MEETING, Welcomes
from bridge.direct import Direct
from bridge.homeserver import Homeserver, Refused
from bridge.perform import Performer
from bridge.policy_file import PolicySource
from bridge.store import Store
from policy.model import UserId

NOW = 1_800_000_000.0
HEAD, OKAFOR, LATE = "@head:qwil.test", "@okafor:qwil.test", "@late:qwil.test"
POLICY = """\
organisations:
  hillside:
    name: Hillside
    language: de
    mobile: optional
    people:
      head: {name: Helen Head, role: staff, admin: system, email: head@hillside.example, matrix: "@head:qwil.test"}
      okafor: {name: Tom Okafor, role: staff, email: okafor@hillside.example, matrix: "@okafor:qwil.test"}
%s
    books:
      year-1: {name: Year 1, members: [head, okafor%s]}
"""
NEWCOMER = '      late: {name: Lee Late, role: client, email: late@home.example, matrix: "@late:qwil.test"}'


class Killed(BaseException):
    """The process ends here."""


class Forgetful:
    """A homeserver that was started anew: it has the messages, and knows no transaction of before."""

    def __init__(self) -> None:
        self.rooms: dict[str, list[dict[str, Any]]] = {}
        self.left = 100
        self.asked = 0
        self.gone: set[UserId] = set()

    async def room(self, user: UserId) -> str:
        if user in self.gone:
            raise Refused(404, "M_NOT_FOUND", "There is no such account.")
        return f"!{user}"

    async def say_in(self, room: str, text: str, *, about: str, marks: Mapping[str, str]) -> None:
        assert about
        if not self.left:
            raise Killed
        self.left -= 1
        self.rooms.setdefault(room, []).append({"body": text, **marks})

    async def ask(self, _method: object, path: Any, *, query: Mapping[str, str]) -> dict[str, Any]:
        self.asked += 1
        room = re.search(r"(!@\w+:qwil\.test)", str(path).replace("%21", "!").replace("%40", "@").replace("%3A", ":"))
        assert room
        latest = self.rooms.get(room[1], [])[::-1][: int(query["limit"])]
        return {"chunk": [{"content": content} for content in latest]}

    def heard(self, user: str) -> list[str]:
        return [content["body"] for content in self.rooms.get(f"!{user}", [])]


class School:
    """A policy, a record, a homeserver; `bridge` is one that has just started."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.source = PolicySource(folder / "policy.yaml")
        self.store = store
        self.server = Forgetful()
        self.now = NOW
        self.save()

    def save(self, newcomer: bool = False) -> None:
        self.source.path.write_text(POLICY % ((NEWCOMER, ", late") if newcomer else ("", "")))
        self.source.load()

    def bridge(self) -> Welcomes:
        ledger = Mock(spec=Ledger)
        ledger.get.return_value = None
        return Welcomes(
            source=self.source,
            store=self.store,
            direct=cast(Direct, self.server),
            homeserver=cast(Homeserver, self.server),
            performer=cast(Performer, self.server),
            ledger=cast(Ledger, ledger),
            clock=lambda: self.now,
        )


@pytest.fixture
async def school(tmp_path: Path, store: Store) -> School:
    school = School(tmp_path, store)
    await school.bridge().work()
    school.save(newcomer=True)
    return school


def everything_was_said_once(school: School) -> bool:
    joined = "Lee Late ist jetzt bei Hillside: Sie können nun miteinander chatten."
    server = school.server
    (welcome,) = server.heard(LATE)
    return welcome.startswith("Willkommen bei Hillside, Lee.") and server.heard(HEAD) == server.heard(OKAFOR) == [
        joined
    ]


async def test_a_newcomer_is_greeted_and_announced_once_and_nothing_is_searched_for_it(
    school: School, store: Store
) -> None:
    welcomes = school.bridge()
    await welcomes.work()
    await welcomes.work()
    await school.bridge().work()

    assert everything_was_said_once(school)
    assert school.server.asked == 0
    assert await store.recall_all(MEETING) == {}


@pytest.mark.parametrize("said", range(4))
async def test_a_kill_after_any_message_makes_nothing_said_twice_and_nothing_forgotten(
    school: School, said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    school.server.left = said
    remember = school.store.remember

    async def killed_at_the_end(key: str, value: Any) -> None:
        if key.startswith("met:"):
            raise Killed
        await remember(key, value)

    monkeypatch.setattr(school.store, "remember", killed_at_the_end)
    with pytest.raises(Killed):
        await school.bridge().work()
    assert sum(map(len, school.server.rooms.values())) == said

    monkeypatch.undo()
    school.server.left = 100
    await school.bridge().work()

    assert everything_was_said_once(school)
    assert await school.store.recall_all(MEETING) == {}


async def test_marks_name_nobody_to_whoever_reads_the_event(school: School) -> None:
    await school.bridge().work()

    fields = [value for room in school.server.rooms.values() for content in room for value in content.values()]
    assert not [value for value in fields if "hillside/late" in value]


async def test_staff_who_cannot_be_told_keep_nobody_else_waiting_and_a_newcomer_without_account_is_tried_again(
    school: School,
) -> None:
    school.server.gone = {UserId(OKAFOR), UserId(LATE)}
    welcomes = school.bridge()
    await welcomes.work()
    assert school.server.rooms == {}

    school.server.gone = {UserId(OKAFOR)}
    school.now += AGAIN + 1
    await welcomes.work()

    assert len(school.server.heard(LATE)) == len(school.server.heard(HEAD)) == 1
    assert school.server.heard(OKAFOR) == []
