"""What is planned from the record is applied once, exactly, and by one process."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bridge import config as configuration
from bridge import plan_operator
from bridge.apply_route import ApplyRoute
from bridge.cli import main
from bridge.complaints import Complaints
from bridge.config import Config
from bridge.demo.homeserver import free_port
from bridge.direct import Direct
from bridge.homeserver import Homeserver
from bridge.observe import Observer
from bridge.perform import Performer
from bridge.plan_operator import apply_from_outside, plan_from_record, said
from bridge.planning import Applied, Moved, Planner, Stopped
from bridge.policy_file import load
from bridge.store import NewEvent, Store
from policy.action import Remove
from policy.model import Policy, UserId
from policy.observation import Settings
from policy.reconcile import chat_actions

BOT = "@qwil:school.test"
PARENTS = [f"p{number:02}" for number in range(12)]


def policy_text(*, network: str = "network: trust", left: tuple[str, ...] = (), tests: str = "") -> str:
    parents = "\n".join(
        f'      {name}: {{name: "Parent {name}", role: client, email: {name}@hill.example,'
        f' matrix: "@{name}:school.test",'
        f" status: {'left' if name in left else 'active'}}}"
        for name in PARENTS
    )
    return f"""
networks: {{trust: {{name: Trust}}}}
organisations:
  hill:
    name: Hill School
    network: trust
    mobile: optional
    people:
      head: {{name: Ada Head, role: staff, admin: system, email: head@hill.example, matrix: "@head:school.test"}}
      kim: {{name: Kim Teacher, role: staff, email: kim@hill.example, matrix: "@kim:school.test"}}
{parents}
    books:
      year-1: {{name: Year 1, members: [kim, {", ".join(PARENTS)}]}}
  river:
    name: River School
    {network}
    mobile: optional
    people:
      ode: {{name: Ben Ode, role: staff, admin: system, email: ode@river.example, matrix: "@ode:school.test"}}
    books: {{}}
{tests}
"""


UNMET = """
tests:
  - {name: clients reach the head, ask: {do: start_chat, who: hill/p00, with: [hill/head]}, allowed: true}
"""


ACCOUNTS = "/_synapse/admin/v2/users"


class FakeHomeserver:
    """Says yes to everything but what it was told to refuse, and keeps what it was asked."""

    def __init__(self, bridge: str) -> None:
        self.bridge = bridge
        """Where events are sent to while a bridge listens there."""
        self.asked: list[tuple[str, str, Any]] = []
        self.refuses: tuple[str, str] | None = None
        self.accounts: dict[str, dict[str, Any]] = {}
        self.rooms: list[str] = []
        """Where the bot is; its direct chat is none of the chats."""
        self._rooms = itertools.count()

    def changes(self) -> list[tuple[str, str, Any]]:
        """What changed something; a look changes nothing."""
        return [each for each in self.asked if each[0] != "GET"]

    def kicks(self) -> list[str]:
        """Whoever was taken out of a chat; the rooms made here are direct chats and spaces."""
        return [body["user_id"] for _, path, body in self.asked if path.endswith("/kick") and "!made" not in path]

    def said(self) -> list[str]:
        return [body["body"] for _, path, body in self.asked if "/send/m.room.message/" in path]

    async def answer(self, request: web.Request) -> web.Response:
        raw = await request.read()
        body = json.loads(raw) if request.content_type == "application/json" and raw else None
        if request.path.endswith("/login"):
            return web.json_response({"access_token": "the bot's"})
        self.asked.append((request.method, request.path, body))
        if self.refuses and self.refuses[0] in request.path and self.refuses[1] in str(body):
            return web.json_response(
                {"errcode": "M_FORBIDDEN", "error": "The power levels do not allow it."}, status=403
            )
        if request.path.startswith(ACCOUNTS):
            return web.json_response(self._account(request.path.removeprefix(ACCOUNTS).removeprefix("/"), body))
        if request.path.endswith("/joined_rooms"):
            return web.json_response({"joined_rooms": self.rooms})
        if request.method == "GET" and "!direct" in request.path:
            return web.json_response({"errcode": "M_NOT_FOUND", "error": "Event not found."}, status=404)
        made = f"!made{next(self._rooms)}:school.test"
        await self._send(list(events_of(request.path, body or {}, request.query.get("user_id", BOT), made)))
        if request.path.endswith("/createRoom"):
            return web.json_response({"room_id": made})
        if request.path.endswith("/upload"):
            return web.json_response({"content_uri": f"mxc://school.test/{len(self.asked)}"})
        return web.json_response({"event_id": f"$sent{len(self.asked)}"})

    def _account(self, user: str, body: Any) -> Any:
        if user and body is not None:
            self.accounts[user] = {"name": user, **body}
        return self.accounts.get(user, {}) if user else {"users": list(self.accounts.values())}

    async def _send(self, events: list[NewEvent]) -> None:
        url = f"{self.bridge}/_matrix/app/v1/transactions/{len(self.asked)}"
        headers = {"Authorization": "Bearer hs-secret"}
        with suppress(aiohttp.ClientConnectorError):
            async with aiohttp.ClientSession() as session:
                whole = {"events": [json.loads(each.json) for each in events]}
                await session.put(url, json=whole, headers=headers)


def events_of(path: str, body: dict[str, Any], user: str, made: str) -> Iterator[NewEvent]:
    """What a homeserver sends to the bridge after it did what was asked of it."""
    parts = path.split("/")
    if path.endswith("/createRoom"):
        yield event(made, "m.room.create", {}, sender=user)
        yield event(made, "m.room.member", {"membership": "join"}, key=user)
        yield event(made, "m.room.name", {"name": body.get("name", "")})
        for one in body["initial_state"]:
            yield event(made, one["type"], one["content"], key=one["state_key"])
    elif "/join/" in path:
        yield event(parts[-1], "m.room.member", {"membership": "join"}, key=user)
    elif path.endswith(("/invite", "/kick")):
        membership = "invite" if path.endswith("/invite") else "leave"
        yield event(parts[-2], "m.room.member", {"membership": membership}, key=body["user_id"])
    elif "/state/" in path:
        at = parts.index("state")
        yield event(parts[at - 1], parts[at + 1], body, key="".join(parts[at + 2 :]), sender=user)


@asynccontextmanager
async def serving(application: web.Application, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


numbers = itertools.count()


def event(room: str, kind: str, content: dict[str, Any], key: str | None = "", sender: str = BOT) -> NewEvent:
    name = f"$event{next(numbers)}"
    whole = {"event_id": name, "room_id": room, "sender": sender, "type": kind, "state_key": key, "content": content}
    return NewEvent(name, room, sender, kind, key, 1_700_000_000_000, None, json.dumps(whole))


def chat(room: str, title: str, *inside: str, kind: str) -> Iterator[NewEvent]:
    yield event(room, "m.room.create", {}, sender=f"@{inside[0]}:school.test")
    yield event(room, "m.room.member", {"membership": "join"}, key=BOT)
    for name in inside:
        yield event(room, "m.room.member", {"membership": "join", "displayname": name}, key=f"@{name}:school.test")
    content = {"organisation": "hill", "kind": kind, "draft": False, "staff_only": False}
    yield event(room, "org.qwil.chat", content)
    yield event(room, "m.room.name", {"name": title})


class School:
    """A school whose record is filled and whose homeserver keeps what it is asked."""

    def __init__(self, folder: Path, database: str, homeserver: FakeHomeserver, config: Config) -> None:
        self.folder, self.database, self.homeserver, self.config = folder, database, homeserver, config

    def save(self, text: str) -> Policy:
        self.config.policy.write_text(text)
        policy = load(self.config.policy)
        assert isinstance(policy, Policy), policy
        return policy

    async def record(self, *rooms: Iterator[NewEvent]) -> None:
        store = await Store.open(self.config.database)
        for events in rooms:
            await store.receive(f"transaction{next(numbers)}", list(events), received=0)
        await store.close()


@pytest.fixture
async def school(tmp_path: Path, database: str) -> AsyncIterator[School]:
    port, bridge = free_port(), free_port()
    homeserver = FakeHomeserver(f"http://127.0.0.1:{bridge}")
    text = f"""
homeserver: {{address: "http://127.0.0.1:{port}", server_name: school.test}}
appservice: {{port: {bridge}, address: "http://127.0.0.1:{bridge}", as_token: as-secret, hs_token: hs-secret}}
database: {json.dumps(database)}
"""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", homeserver.answer)
    async with serving(application, port):
        made = School(tmp_path, database, homeserver, configuration.load(file))
        made.save(policy_text())
        await made.record(
            chat("!all:school.test", "Everybody", "kim", *PARENTS, kind="client"),
            chat("!fest:school.test", "Festival", "head", "ode", kind="external"),
        )
        yield made


class Source:
    """A policy in force that a test can change."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy


class Parts:
    """The parts of a bridge that plan and apply need."""

    def __init__(self, school: School, store: Store, homeserver: Homeserver) -> None:
        self.store = store
        self.source = Source(school.save(policy_text()))
        self.observer = Observer(store, bot=UserId(BOT), server="school.test")
        self.performer = Performer(homeserver, self.observer)
        self.direct = Direct(self.source, self.observer, self.performer)  # type: ignore[arg-type]
        self.now = 0.0
        """Another moment than the present one."""
        self.planner = self.planner_above(10)

    def planner_above(self, above: int) -> Planner:
        return Planner(
            source=self.source,
            store=self.store,
            observer=self.observer,
            settings=Settings(True, 50),
            removals_wait_above=above,
            clock=lambda: self.now or time.time(),
        )

    async def settle(self) -> None:
        await self.planner.settle(self.performer, self.direct)
        await self.planner.settle_profiles(self.performer)

    async def apply(self, **named: Any) -> Applied:
        return await self.planner.apply(self.performer, self.direct, by="a test", **named)


@pytest.fixture
async def parts(school: School) -> AsyncIterator[Parts]:
    store = await Store.open(school.config.database)
    try:
        async with Homeserver(school.config) as homeserver:
            made = Parts(school, store, homeserver)
            await made.observer.load()
            await made.planner.load()
            yield made
    finally:
        await store.close()


async def test_a_plan_asks_the_homeserver_for_its_accounts_and_nothing_else(school: School) -> None:
    planned = await plan_from_record(school.config)

    assert not isinstance(planned, list)
    assert planned.plan.steps
    assert school.homeserver.asked == [("GET", ACCOUNTS, None)]


async def test_a_name_that_somebody_else_has_given_is_in_the_plan_and_put_right_while_no_bridge_runs(
    school: School,
) -> None:
    await apply_from_outside(school.config, None, "an operator")
    as_given = dict(school.homeserver.accounts["@kim:school.test"])
    school.homeserver.accounts["@kim:school.test"]["displayname"] = "The Boss"

    planned = await plan_from_record(school.config)
    again = await plan_from_record(school.config)
    assert not isinstance(planned, list)
    assert not isinstance(again, list)
    assert [step.text for step in planned.plan.steps] == ["@kim:school.test is called “Kim Teacher” with badge S"]
    assert again.plan.hash == planned.plan.hash, "a plan changes nothing"
    done = await apply_from_outside(school.config, planned.plan.hash, "an operator")

    assert done["status"] == 0
    assert school.homeserver.accounts["@kim:school.test"] == as_given
    afterwards = await plan_from_record(school.config)
    assert not isinstance(afterwards, list)
    assert afterwards.plan.steps == ()


async def test_a_plan_says_what_it_could_not_see_where_the_homeserver_is_away(school: School) -> None:
    gone = replace(
        school.config, homeserver=replace(school.config.homeserver, address=f"http://127.0.0.1:{free_port()}")
    )

    planned = await plan_from_record(gone)

    assert not isinstance(planned, list)
    assert planned.plan.steps
    assert planned.unseen.startswith("names and pictures that somebody has changed on the homeserver may be missing")
    assert f"Note: {planned.unseen}" in said(planned)


async def test_an_empty_database_beside_chats_is_neither_planned_nor_applied_with(
    school: School, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    restored = school.config.file.with_name("restored.yaml")
    text = school.config.file.read_text().replace(json.dumps(school.database), f'"sqlite:{tmp_path}/empty.db"')
    restored.write_text(text)
    school.homeserver.rooms = ["!direct:school.test", "!all:school.test"]

    assert await cli("plan", "-c", str(restored)) == 1
    assert "The database is empty, though there are chats on the homeserver" in capsys.readouterr().err
    assert await cli("apply", "-c", str(restored)) == 1
    assert "Nothing was done. The database is empty, though there are chats" in capsys.readouterr().err
    assert school.homeserver.changes() == []

    school.homeserver.rooms = ["!direct:school.test"]
    assert await cli("plan", "-c", str(restored)) == 2


async def test_a_plan_of_an_empty_database_says_that_there_may_be_chats_where_the_homeserver_is_away(
    school: School, tmp_path: Path
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    away = replace(school.config.homeserver, address=address)

    planned = await plan_from_record(replace(school.config, homeserver=away, database=f"sqlite:{tmp_path}/empty.db"))

    assert not isinstance(planned, list)
    assert planned.unseen.startswith("the database is empty, and it is not known whether there are chats")


async def test_after_an_apply_a_second_one_does_nothing(school: School, parts: Parts) -> None:
    first = await parts.apply()
    asked = len(school.homeserver.changes())
    second = await parts.apply()

    assert first.plan.steps
    assert first.failed == ()
    assert second.plan.steps == ()
    assert len(school.homeserver.changes()) == asked


async def test_a_homeserver_that_is_as_the_policy_says_is_asked_nothing(school: School, parts: Parts) -> None:
    await parts.settle()
    asked = len(school.homeserver.asked)

    await parts.settle()

    assert len(school.homeserver.asked) == asked


async def test_apply_asks_the_homeserver_once_for_each_difference_and_then_nothing_more(
    school: School, parts: Parts
) -> None:
    await parts.settle()
    bot, everybody, festival = UserId(BOT), "!all:school.test", "!fest:school.test"
    parts.observer.note(everybody, "m.room.power_levels", "", {}, bot)
    parts.observer.note(festival, "m.room.power_levels", "", {}, bot)
    parts.observer.note(festival, "m.room.avatar", "", {"url": "mxc://school.test/cat"}, bot)
    for name in ("kim", "p00", "p01"):
        boss = {"membership": "join", "displayname": "The Boss"}
        parts.observer.note(everybody, "m.room.member", f"@{name}:school.test", boss, bot)
    await parts.observer.forget_profile(UserId("@p02:school.test"))
    asked = len(school.homeserver.asked)

    applied = await parts.apply()
    done = school.homeserver.asked[asked:]
    again = await parts.apply()

    assert len(applied.plan.steps) == 7
    assert [method for method, *_ in done] == ["PUT"] * 7
    assert again.plan.steps == ()
    assert len(school.homeserver.asked) == asked + 7


async def test_what_the_homeserver_refuses_is_said_in_words_to_the_administrators_it_concerns_once(
    school: School, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    complaints = Complaints(source=parts.source, observer=parts.observer, store=parts.store, direct=parts.direct)
    parts.performer.complain = complaints.note
    await parts.settle()
    everybody = "!all:school.test"
    parts.observer.note(everybody, "m.room.power_levels", "", {}, UserId(BOT))
    school.homeserver.refuses = ("m.room.power_levels", "users")

    await parts.settle()
    await parts.settle()
    asked_for = await parts.apply()

    line = (
        "the rights in “Everybody” of Hill School are set: its staff may remove people (PART-7): "
        "The power levels do not allow it."
    )
    told = [text for text in school.homeserver.said() if "refused what is due" in text]
    assert told == [
        f"The homeserver refused what is due (1):\n- {line}\n"
        "It is tried again whenever something changes. “plan” shows what is still due."
    ]
    assert line in caplog.text
    assert "SetPower(" not in caplog.text
    assert [text for text, _ in asked_for.failed] == [line.rpartition(":")[0]]


async def test_drift_is_shown_and_put_right(school: School, parts: Parts) -> None:
    await parts.settle()
    levels = parts.observer.rooms["!all:school.test"].power_levels
    parts.observer.note("!all:school.test", "m.room.power_levels", "", {**levels, "invite": 100}, UserId(BOT))

    drifted = parts.planner.plan()
    await parts.settle()

    assert [step.text for step in drifted.steps] == [
        "the rights in “Everybody” of Hill School are set: its staff may remove people (PART-7)"
    ]
    assert parts.planner.plan().steps == ()


async def test_whoever_leaves_the_network_stays_until_apply_and_the_admins_are_told_once(
    school: School, parts: Parts
) -> None:
    await parts.settle()
    parts.source.policy = school.save(policy_text(network=""))

    await parts.settle()
    await parts.settle()
    kicked_before = school.homeserver.kicks()
    await parts.apply()

    assert kicked_before == []
    assert school.homeserver.kicks() == ["@ode:school.test"]
    told = [text for text in school.homeserver.said() if "wait for “apply” (1)" in text]
    assert len(told) == 1
    assert "Ben Ode (River School) is removed from “Festival” of Hill School" in told[0]
    assert "The removals that waited were applied by a test (1)." in school.homeserver.said()


async def test_what_a_plan_shows_as_waiting_is_what_the_bridge_leaves_undone(school: School, parts: Parts) -> None:
    await parts.settle()
    parts.source.policy = school.save(policy_text(left=tuple(PARENTS[:11])))

    await parts.settle()
    shown = {step.action.user for step in parts.planner.plan().waiting}  # type: ignore[union-attr]

    assert shown == {f"@{name}:school.test" for name in PARENTS[:11]}
    assert school.homeserver.kicks() == []
    assert not [step for step in parts.planner.plan().steps if not step.waits]


async def test_removals_of_many_by_their_date_wait_from_the_first_moment_of_the_day(
    school: School, parts: Parts
) -> None:
    """An event in a chat may be handled before everything is looked at for the new day."""
    parts.source.policy = school.save(policy_text().replace("status: active}", "until: 2026-07-31}"))
    parts.now = datetime(2026, 7, 31, 23, 59, tzinfo=UTC).timestamp()
    await parts.settle()
    settings = Settings(True, 50)

    parts.now += 60
    seen = parts.observer.seen()
    room = seen.rooms["!all:school.test"]
    removals = [
        action
        for action in chat_actions(parts.source.policy, seen, room, parts.now, settings)
        if isinstance(action, Remove)
    ]

    assert len(removals) == len(PARENTS)
    assert all(map(parts.planner.waits, removals))


async def test_who_waits_waits_after_a_restart_too_also_when_fewer_than_the_setting_are_left(
    school: School, parts: Parts
) -> None:
    parts.source.policy = school.save(policy_text(left=tuple(PARENTS[:11])))
    await parts.settle()
    for name in PARENTS[:3]:
        parts.observer.note(
            "!all:school.test", "m.room.member", f"@{name}:school.test", {"membership": "leave"}, UserId(BOT)
        )

    parts.planner = parts.planner_above(10)
    await parts.planner.load()
    await parts.settle()

    assert school.homeserver.kicks() == []
    assert len(parts.planner.plan().waiting) == 8


async def test_removals_that_are_not_due_any_more_are_told_too(school: School, parts: Parts) -> None:
    parts.source.policy = school.save(policy_text(network=""))
    await parts.settle()
    parts.source.policy = school.save(policy_text())

    await parts.settle()

    assert "The removals that waited for “apply” are not due any more." in school.homeserver.said()
    assert parts.planner.plan().waiting == ()


async def test_a_plan_that_is_out_of_date_is_refused_and_nothing_is_done(school: School, parts: Parts) -> None:
    await parts.settle()
    parts.source.policy = school.save(policy_text(left=("p00",)))
    old = parts.planner.plan()
    parts.source.policy = school.save(policy_text(left=("p00", "p01")))
    asked = len(school.homeserver.asked)

    with pytest.raises(Moved) as moved:
        await parts.apply(expected=old.hash)

    assert len(school.homeserver.asked) == asked
    assert {step.action.user for step in moved.value.plan.steps if step.section == "removals"} == {  # type: ignore[union-attr]
        "@p00:school.test",
        "@p01:school.test",
    }


async def test_the_policys_own_tests_stop_an_apply(school: School, parts: Parts) -> None:
    parts.source.policy = school.save(policy_text(tests=UNMET))

    with pytest.raises(Stopped, match="clients reach the head"):
        await parts.apply()

    assert school.homeserver.asked == []


async def test_one_failed_action_stops_none_of_the_others(school: School, parts: Parts) -> None:
    await parts.settle()
    parts.source.policy = school.save(policy_text(left=("p00", "p01", "p02")))
    school.homeserver.refuses = ("/kick", "@p01:")

    applied = await parts.apply()

    assert school.homeserver.kicks().count("@p02:school.test") == 1
    assert applied.failed == (
        (
            "Parent p01 is removed from “Everybody” of Hill School: The membership of Hill School has ended. (USR-2)",
            "The power levels do not allow it.",
        ),
    )
    school.homeserver.refuses = None
    again = await parts.apply()
    assert [step.action.user for step in again.plan.steps if step.section == "removals"] == ["@p01:school.test"]  # type: ignore[union-attr]


async def test_administrators_apply_for_their_own_organisation_only(school: School, parts: Parts) -> None:
    await parts.apply(organisations={"river"})

    named = {path.rpartition("/")[2] for method, path, _ in school.homeserver.asked if "/_synapse/admin/" in path}
    assert named == {"@ode:school.test"}
    assert {step.organisations for step in parts.planner.plan().steps} == {frozenset({"hill"})}


async def test_an_apply_is_in_the_audit_with_who_and_what(parts: Parts) -> None:
    applied = await parts.apply()

    entry = (await parts.store.audit_entries())[-1]

    assert (entry.who, entry.what) == ("a test", "apply")
    assert json.loads(entry.details)["plan"] == applied.plan.hash


async def test_without_a_policy_nothing_is_planned(parts: Parts) -> None:
    parts.source.policy = Policy()

    assert parts.planner.plan().steps == ()


async def test_the_operator_applies_in_place_of_a_bridge_that_does_not_run(school: School) -> None:
    planned = await plan_from_record(school.config)
    assert not isinstance(planned, list)

    answer = await apply_from_outside(school.config, planned.plan.hash, "an operator")
    afterwards = await plan_from_record(school.config)

    assert answer["status"] == 0
    assert answer["plan"]["hash"] == planned.plan.hash
    assert not isinstance(afterwards, list)
    assert afterwards.plan.steps == ()


@asynccontextmanager
async def bridge_running(
    school: School, policy: Policy, apply: Callable[[str | None, str], Awaitable[Applied]]
) -> AsyncIterator[None]:
    application = web.Application()
    route = ApplyRoute(source=Source(policy), as_token="as-secret", settling=asyncio.Lock, apply=apply)
    route.add_routes(application)
    async with serving(application, school.config.appservice.port):
        yield


async def test_the_operator_asks_the_bridge_where_it_runs_and_does_nothing_besides(
    school: School, parts: Parts
) -> None:
    async def apply(expected: str | None, by: str) -> Applied:
        return await parts.planner.apply(parts.performer, parts.direct, by=by, expected=expected)

    async with bridge_running(school, parts.source.policy, apply):
        moved = await apply_from_outside(school.config, "0000000000000000", "an operator")
        untouched = len(school.homeserver.asked)
        done = await apply_from_outside(school.config, None, "an operator")

    assert (moved["status"], untouched) == (3, 0)
    assert done["status"] == 0
    assert (await parts.store.audit_entries())[-1].who == "an operator"


async def test_a_bridge_that_has_another_policy_in_force_is_not_asked_to_apply_it(
    school: School, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def apply(expected: str | None, by: str) -> Applied:
        raise AssertionError("this is the wrong policy")

    monkeypatch.setattr(plan_operator, "TAKING_UP", (0.0, 0.0))
    before = parts.source.policy
    school.save(policy_text(left=("p00",)))

    async with bridge_running(school, before, apply):
        with pytest.raises(Stopped, match="another policy in force"):
            await apply_from_outside(school.config, None, "an operator")


async def test_whoever_has_not_the_bridges_token_cannot_apply(school: School, parts: Parts) -> None:
    async def apply(expected: str | None, by: str) -> Applied:
        raise AssertionError("nobody may get here")

    stranger = configuration.parse(
        school.config.file.read_text().replace("as-secret", "another-secret"), school.config.file
    )

    async with bridge_running(school, parts.source.policy, apply):
        with pytest.raises(Stopped, match="HTTP 403"):
            await apply_from_outside(stranger, None, "a stranger")


async def cli(*words: str) -> int:
    """The program, which has a loop of its own."""
    return await asyncio.to_thread(main, list(words))


async def test_the_exit_status_of_plan_and_apply_say_what_came_of_them(
    school: School, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(school.config.file)

    assert await cli("plan", "-c", config, "--json") == 2
    planned = json.loads(capsys.readouterr().out)
    assert await cli("apply", "-c", config, "--plan", "0" * 16) == 3
    assert "Something has changed since that plan" in capsys.readouterr().out
    assert await cli("apply", "-c", config, "--plan", planned["hash"]) == 0
    capsys.readouterr()

    asked = len(school.homeserver.changes())
    assert await cli("plan", "-c", config) == 0
    assert capsys.readouterr().out == "Nothing is to be done on the homeserver.\n"
    assert await cli("apply", "-c", config) == 0
    assert len(school.homeserver.changes()) == asked


async def test_what_cannot_be_the_name_of_a_plan_is_a_usage_error(
    school: School, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        await cli("apply", "-c", str(school.config.file), "--plan", "all of it")

    assert ended.value.code == 2
    assert "--plan is the name that qwil plan prints" in capsys.readouterr().err
    assert school.homeserver.asked == []


async def test_a_candidate_is_planned_before_it_is_in_place(school: School, capsys: pytest.CaptureFixture[str]) -> None:
    candidate = school.folder / "next.yaml"
    candidate.write_text(policy_text(left=("p00",)))

    assert await cli("plan", "-c", str(school.config.file), "--policy", str(candidate)) == 2

    said = capsys.readouterr().out
    assert "- Parent p00 (hill/p00): status active → left" in said
    assert "- Parent p00 is removed from “Everybody” of Hill School" in said


async def test_a_candidate_with_mistakes_and_unmet_tests_is_told(
    school: School, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate = school.folder / "next.yaml"
    candidate.write_text(policy_text().replace("role: staff", "role: stuff", 1))

    assert await cli("plan", "-c", str(school.config.file), "--policy", str(candidate)) == 1
    assert 'unknown role "stuff"' in capsys.readouterr().err

    school.save(policy_text(tests=UNMET))
    assert await cli("plan", "-c", str(school.config.file)) == 2
    assert "Test not met, apply will refuse" in capsys.readouterr().out
    assert await cli("apply", "-c", str(school.config.file)) == 1
    assert school.homeserver.changes() == []
