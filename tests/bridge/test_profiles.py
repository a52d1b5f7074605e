"""What somebody else makes of an account's name and picture is seen without asking about everybody, and put right."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import pytest
from mautrix.api import Method, PathBuilder

from bridge.homeserver import HomeserverUnavailable, Refused
from bridge.observe import Observer
from bridge.perform import Performer
from bridge.planning import Planner
from bridge.profiles import Profiles
from bridge.store import Arrival, EventId, RoomId, Store, StoredEvent
from policy.changed_profiles import ChangedProfiles
from policy.model import Policy, UserId
from policy.observation import Settings
from policy.parse import parse

BOT = UserId("@qwil:school.test")
PEOPLE = 25


def policy() -> Policy:
    people = "".join(
        f'      p{n}: {{name: Person {n}, role: staff, email: p{n}@hill.example, matrix: "@p{n}:school.test"}}\n'
        for n in range(PEOPLE)
    )
    head = (
        '      head: {name: Ada Head, role: staff, admin: system, email: h@hill.example, matrix: "@head:school.test"}'
    )
    text = f"organisations:\n  hill:\n    name: Hill\n    mobile: optional\n    people:\n{head}\n{people}"
    found = parse(text, dict[str, bytes]().__getitem__)
    assert isinstance(found, Policy), found
    return found


class Accounts:
    """The administration of a homeserver: its accounts, and what it was asked."""

    def __init__(self) -> None:
        self.accounts: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.refuses = False
        self.was_asked, self.was_changed, self.was_heard = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.changed = ChangedProfiles("main")

    async def ask(self, method: Method, path: PathBuilder, content: Any = None, **_: Any) -> Any:
        if str(path).endswith("/qwil/profiles"):
            self.was_heard.set()
            return self.changed.after(str(_["query"]["seen"]))
        user = unquote(str(path)).partition("/v2/users")[2].removeprefix("/")
        self.asked.append((method.value, user))
        self.was_asked.set()
        if self.refuses:
            raise Refused(403, "M_FORBIDDEN", "You are not a server admin")
        if method is Method.PUT:
            self.accounts[user] = {"name": user, "deactivated": False, **content}
            self.was_changed.set()
            return {}
        return self.accounts[user]

    async def page(self, _path: PathBuilder, query: Mapping[str, str]) -> Any:
        self.asked.append(("GET", ""))
        self.was_asked.set()
        if self.refuses:
            raise Refused(403, "M_FORBIDDEN", "You are not a server admin")
        first, most = int(query["from"]), int(query["limit"])
        users = [self.accounts[name] for name in sorted(self.accounts)]
        more = {"next_token": str(first + most)} if first + most < len(users) else {}
        return {"users": users[first : first + most], "total": len(users), **more}

    async def upload(self, _data: bytes, *, name: str, **_: Any) -> str:
        return f"mxc://school.test/{name.replace(':', '-')}"


class Running:
    """The parts of a bridge that give names and look whether they are still there."""

    def __init__(self, store: Store) -> None:
        self.accounts = Accounts()
        self.policy = policy()
        self.observer = Observer(store, bot=BOT, server="school.test")
        self.performer = Performer(self.accounts, self.observer)  # type: ignore[arg-type]
        self.planner = Planner(
            source=self, store=store, observer=self.observer, settings=Settings(True, 50), removals_wait_above=10
        )
        self.profiles = self.made(admin=True)

    def made(self, *, admin: bool) -> Profiles:
        return Profiles(
            observer=self.observer,
            homeserver=self.accounts,  # type: ignore[arg-type]
            admin=admin,
            put_right=lambda: self.planner.settle_profiles(self.performer),
        )

    def direct(self, user: str, name: str, picture: str) -> None:
        room = f"!direct-{user}"
        self.observer.note(room, "m.room.create", "", {}, BOT)
        self.observer.note(room, "org.qwil.direct", "", {"user": user}, BOT)
        self.observer.note(room, "m.room.member", user, member(name, picture), UserId(user))

    def happens(self, user: str, content: dict[str, Any]) -> None:
        whole = json.dumps({"content": content})
        room = f"!direct-{user}"
        self.profiles.note(
            StoredEvent(
                Arrival(1), EventId("$event"), RoomId(room), UserId(user), "m.room.member", user, 0, 0.0, None, whole
            )
        )


def member(name: str, picture: str) -> dict[str, Any]:
    return {"membership": "join", "displayname": name, "avatar_url": picture}


@pytest.fixture
async def running(store: Store, monkeypatch: pytest.MonkeyPatch) -> Running:
    monkeypatch.setattr("bridge.perform.badge", lambda *_: b"a picture")
    monkeypatch.setattr("bridge.profiles.PAGE", 10)
    made = Running(store)
    await made.observer.load()
    await made.planner.settle_profiles(made.performer)
    made.accounts.asked.clear()
    made.accounts.was_changed.clear()
    return made


P3 = "@p3:school.test"


def steps(running: Running) -> list[str]:
    return [step.text for step in running.planner.plan().steps]


async def test_where_nobody_changed_anything_a_look_at_everybody_takes_a_few_pages_and_changes_nothing(
    running: Running,
) -> None:
    await running.profiles.look()

    assert running.accounts.asked == [("GET", "")] * 3
    assert steps(running) == []


@pytest.mark.parametrize(
    "changed", [{"displayname": "The Boss"}, {"avatar_url": "mxc://school.test/cat"}, {"avatar_url": None}]
)
async def test_a_name_or_picture_that_somebody_else_gave_is_given_anew(
    running: Running, changed: dict[str, Any]
) -> None:
    as_given = dict(running.accounts.accounts[P3])
    running.accounts.accounts[P3].update(changed)

    await running.profiles.look()

    assert running.accounts.accounts[P3] == as_given
    assert [method for method, user in running.accounts.asked if user == P3] == ["PUT"]
    running.accounts.asked.clear()
    await running.profiles.look()
    assert {method for method, _ in running.accounts.asked} == {"GET"}


async def test_drift_is_shown_in_the_plan_until_it_is_put_right(running: Running) -> None:
    running.accounts.accounts[P3]["displayname"] = "The Boss"
    shown: list[str] = []

    async def only_show() -> None:
        shown.extend(steps(running))

    profiles = Profiles(observer=running.observer, homeserver=running.accounts, admin=True, put_right=only_show)  # type: ignore[arg-type]
    await profiles.look()

    assert shown == ["@p3:school.test is called “Person 3” with badge S"]


async def test_a_member_event_that_shows_what_nobody_gave_is_a_sign_and_one_person_is_looked_at(
    running: Running,
) -> None:
    picture = running.accounts.accounts[P3]["avatar_url"]
    running.direct(P3, "Person 3", picture)
    running.accounts.accounts[P3]["displayname"] = "The Boss"

    running.happens(P3, member("The Boss", picture))
    await running.profiles.look_at_doubtful()

    assert running.accounts.asked == [("GET", P3), ("PUT", P3)]
    assert running.accounts.accounts[P3]["displayname"] == "Person 3"


async def test_what_somebody_changes_while_it_is_given_anew_is_a_sign_too(running: Running) -> None:
    picture = running.accounts.accounts[P3]["avatar_url"]
    running.direct(P3, "Person 3", picture)
    names = ["The Boss", "The Chief"]
    ask = running.accounts.ask

    def rename() -> None:
        name = names.pop(0)
        running.accounts.accounts[P3]["displayname"] = name
        running.happens(P3, member(name, picture))

    async def renamed_at_once(method: Method, path: PathBuilder, content: Any = None, **more: Any) -> Any:
        answer = await ask(method, path, content, **more)
        if method is Method.PUT and names:
            rename()
        return answer

    running.accounts.ask = renamed_at_once  # type: ignore[method-assign]
    rename()
    await running.profiles.look_at_doubtful()
    assert running.accounts.accounts[P3]["displayname"] == "The Chief"

    await running.profiles.look_at_doubtful()

    assert running.accounts.accounts[P3]["displayname"] == "Person 3"


async def test_who_could_not_be_looked_at_is_looked_at_later(running: Running) -> None:
    picture = running.accounts.accounts[P3]["avatar_url"]
    running.direct(P3, "Person 3", picture)
    running.accounts.accounts[P3]["displayname"] = "The Boss"
    ask = running.accounts.ask

    async def away(*_: Any, **__: Any) -> Any:
        raise HomeserverUnavailable("The homeserver is away.")

    running.happens(P3, member("The Boss", picture))
    running.accounts.ask = away  # type: ignore[method-assign]
    with pytest.raises(HomeserverUnavailable):
        await running.profiles.look_at_doubtful()
    running.accounts.ask = ask  # type: ignore[method-assign]
    await running.profiles.look_at_doubtful()

    assert running.accounts.accounts[P3]["displayname"] == "Person 3"


async def test_what_the_bridge_gave_itself_is_no_sign(running: Running) -> None:
    running.direct(P3, "", "")

    running.happens(P3, member("Person 3", running.accounts.accounts[P3]["avatar_url"]))
    running.happens(P3, {"membership": "leave"})
    await running.profiles.look_at_doubtful()

    assert running.accounts.asked == []


async def test_what_the_bridge_gives_while_it_looks_counts_for_more_than_the_answer(running: Running) -> None:
    running.accounts.accounts[P3]["displayname"] = "The Boss"
    asked = running.accounts.page

    async def slow(path: PathBuilder, query: Mapping[str, str]) -> Any:
        answer = await asked(path, query)
        await running.observer.remember_profile(UserId(P3), running.observer.profiles[UserId(P3)]._replace())
        return answer

    running.accounts.page = slow  # type: ignore[assignment, method-assign]
    await running.profiles.look()

    assert "PUT" not in {method for method, _ in running.accounts.asked}


async def test_whoever_is_no_administrator_of_the_homeserver_does_not_ask(running: Running) -> None:
    await running.made(admin=False).look()
    assert running.accounts.asked == []

    running.accounts.refuses = True
    await running.profiles.look()
    assert steps(running) == []


async def test_while_it_runs_a_sign_is_enough(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.profiles.BREATH", 0.0)
    picture = running.accounts.accounts[P3]["avatar_url"]
    running.direct(P3, "Person 3", picture)
    running.accounts.accounts[P3]["displayname"] = "The Boss"
    running.accounts.refuses = True
    task = asyncio.create_task(running.profiles.run())
    try:
        async with asyncio.timeout(60):
            await running.accounts.was_asked.wait()
            running.accounts.refuses = False
            running.happens(P3, member("The Boss", picture))
            await running.accounts.was_changed.wait()
    finally:
        task.cancel()

    assert running.accounts.accounts[P3]["displayname"] == "Person 3"


async def test_what_the_module_tells_of_is_enough_where_no_event_shows_it(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.profiles.BREATH", 0.0)
    running.accounts.accounts[P3]["displayname"] = "The Boss"
    running.accounts.changed.note(P3, "The Boss", running.accounts.accounts[P3]["avatar_url"])
    monkeypatch.setattr("bridge.profiles.Profiles.look", looks_at_somebody(Profiles.look))
    tasks = [asyncio.create_task(running.profiles.run()), asyncio.create_task(running.profiles.listen())]
    try:
        async with asyncio.timeout(60):
            await running.accounts.was_changed.wait()
    finally:
        for task in tasks:
            task.cancel()

    assert running.accounts.asked == [("GET", P3), ("PUT", P3)]
    assert running.accounts.accounts[P3]["displayname"] == "Person 3"


def looks_at_somebody(look: Any) -> Any:
    """No look at everybody, which would find it too."""

    async def only(profiles: Profiles, users: Any = None) -> None:
        if users is not None:
            await look(profiles, users)

    return only


async def test_what_the_bridge_gave_itself_is_no_sign_to_the_module_either(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.profiles.LISTEN_AGAIN", 0.0)
    running.accounts.changed.note(P3, "Person 3", running.accounts.accounts[P3]["avatar_url"])
    running.accounts.changed.note("@stranger:school.test", "Anybody", None)
    task = asyncio.create_task(running.profiles.listen())
    try:
        async with asyncio.timeout(60):
            for _ in range(2):
                running.accounts.was_heard.clear()
                await running.accounts.was_heard.wait()
    finally:
        task.cancel()
    await running.profiles.look_at_doubtful()

    assert running.accounts.asked == []


def test_a_change_is_handed_out_until_it_was_seen_and_the_last_one_counts() -> None:
    changed = ChangedProfiles("main")
    changed.note("@a:x", "A", None)
    changed.note("@b:x", "B", None)
    changed.note("@a:x", "AA", "mxc://x/1")

    first = changed.after("")
    again = changed.after("other:9")
    changed.note("@c:x", None, None)
    later = changed.after("other:9,main:3")

    assert first == again
    assert first["profiles"] == {
        "@b:x": {"displayname": "B", "avatar_url": None},
        "@a:x": {"displayname": "AA", "avatar_url": "mxc://x/1"},
    }
    assert (first["number"], later["number"]) == (3, 4)
    assert later["profiles"] == {"@c:x": {"displayname": None, "avatar_url": None}}


def test_of_many_changes_the_last_ones_are_kept() -> None:
    changed = ChangedProfiles("main", most=2)
    for name in "abc":
        changed.note(f"@{name}:x", name, None)

    assert list(changed.after("")["profiles"]) == ["@b:x", "@c:x"]
