"""The bridge is killed at every request that changes something, before it is sent and after it was answered.

What it was at is finished by the next one, and nothing is done twice.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from mautrix.api import Method

from bridge.homeserver import Homeserver
from bridge.store import Store
from policy.rooms import CHAT, DRAFT
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.conftest import BOT
from tests.homeserver.matrix_client import Client
from tests.homeserver.matrix_client import eventually as in_the_end

# While a bridge is away Synapse tries it ever more rarely. The bot's own /sync is compared every 20 s, and what that
# finds is given 5 s to come by itself (`bridge.catch_up`).
eventually = partial(in_the_end, patience=180)

TEACHERS = [f"t{number}" for number in range(6)]
MORE = [two_schools.person(name, "staff", name=f"Teacher {name}") for name in TEACHERS]
PEOPLE = ["head", "okafor", "chan", *TEACHERS]
ANSWERED = pytest.mark.parametrize("answered", [False, True], ids=["before it is sent", "after it was answered"])


def policy(*, chan: str = "active", books: int = 0) -> str:
    """With so many books of five teachers each, which show as spaces."""
    people = [line.replace("name: Pat Chan", f"status: {chan}, name: Pat Chan") for line in two_schools.HILLSIDE]
    members = ", ".join(TEACHERS[:5])
    more = "".join(f"      b{number}: {{name: Book {number}, members: [{members}]}}\n" for number in range(books))
    return two_schools.policy(hillside=[*people, *MORE]).replace("    books:\n", f"    books:\n{more}", 1)


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridged]:
    async with bridged(tmp_path_factory.mktemp("killed"), policy(), PEOPLE) as running:
        yield running


class Fate:
    """Stops the bridge dead at one of its requests; `came` says whether it came to that one."""

    def __init__(self, patch: pytest.MonkeyPatch, number: int, *, answered: bool) -> None:
        self.came = asyncio.Event()
        self._left, self._answered = number, answered
        self._ask: Any = Homeserver._patiently
        patch.setattr(Homeserver, "_patiently", self._dying())

    def _dying(self) -> Callable[..., Awaitable[Any]]:
        async def patiently(server: Homeserver, api: Any, method: Method, path: Any, *more: Any) -> Any:
            if method == Method.GET:
                return await self._ask(server, api, method, path, *more)
            await self._fated(unquote(str(path)), answered=False)
            answer = await self._ask(server, api, method, path, *more)
            await self._fated(unquote(str(path)), answered=True)
            return answer

        return patiently

    async def _fated(self, _path: str, *, answered: bool) -> None:
        self._left -= not answered
        if self._left == 0 and answered is self._answered:
            self._left = -1
            await self._die()

    async def _die(self) -> None:
        self.came.set()
        await asyncio.Event().wait()


async def killed_at(
    school: Bridged,
    patch: pytest.MonkeyPatch,
    number: int,
    *,
    answered: bool,
    by: Awaitable[Any],
    shows: Callable[[], Awaitable[Any]],
) -> bool:
    """Whether the bridge came to that request after `by` had been done; it was killed there, and another one runs.

    Where it did not, what it was at `shows` by then, and it had three more seconds.
    """
    fate = Fate(patch, number, answered=answered)
    await by

    async def over() -> bool:
        return fate.came.is_set() or bool(await shows())

    await eventually(over, bool)
    with suppress(TimeoutError):
        async with asyncio.timeout(3):
            await fate.came.wait()
    await school.stop()
    patch.undo()
    await school.start()
    return fate.came.is_set()


async def said_by_the_bot(client: Client, room: str) -> Counter[str]:
    return Counter(
        event["content"].get("body", "")
        for event in await client.messages(room)
        if event["sender"] == BOT and event["type"] == "m.room.message"
    )


async def begun_whole(creator: Client, others: list[Client], room: str) -> Counter[str]:
    """What the bot said in the chat, once everybody is in it and it is what a chat should be."""
    everybody = {creator.user_id, *(other.user_id for other in others)}
    await eventually(lambda: creator.members(room), lambda members: members == {BOT, *everybody})
    await eventually(lambda: creator.state(room, CHAT), lambda content: content["draft"] is False)
    await eventually(lambda: creator.state(room, DRAFT), lambda content: content == {})
    await eventually(
        lambda: creator.state(room, "m.room.power_levels"),
        lambda levels: levels["users"] == {BOT: 100, **dict.fromkeys(everybody, 50)},
    )
    return Counter(await eventually(lambda: said_by_the_bot(creator, room), bool))


@ANSWERED
async def test_a_chat_begins_whole(school: Bridged, monkeypatch: pytest.MonkeyPatch, answered: bool) -> None:
    okafor, *others = await school.clients("okafor", *TEACHERS)
    came, number = True, 0
    while came:
        number += 1
        room = await okafor.create_room(*(other.user_id for other in others), name=f"Trip {number}")
        await until_the_bot_is_in(okafor, room)
        first, shows = okafor.send(room, "Good morning"), partial(said_by_the_bot, okafor, room)

        came = await killed_at(school, monkeypatch, number, answered=answered, by=first, shows=shows)

        said = await begun_whole(okafor, others, room)
        assert said == {f"“Trip {number}” has begun.": 1}, (number, answered)
    assert "did not join" not in str(await school.said(okafor))


async def until_the_bot_is_in(client: Client, room: str) -> None:
    await eventually(lambda: client.members(room), lambda members: BOT in members)


async def spaces(client: Client) -> Counter[str]:
    """The names of the spaces that somebody is in."""
    found: Counter[str] = Counter()
    for room in await client.joined_rooms():
        create, name = [
            await client.request("GET", f"rooms/{room}/state/{kind}/") for kind in ("m.room.create", "m.room.name")
        ]
        if create.body.get("type") == "m.space":
            found[name.body.get("name", "")] += 1
    return found


@ANSWERED
async def test_a_book_becomes_one_space(school: Bridged, monkeypatch: pytest.MonkeyPatch, answered: bool) -> None:
    teachers = await school.clients(*TEACHERS[:5])
    came, number = True, 0
    while came:
        number += 1

        async def save(books: int = number) -> None:
            school.edit(policy(books=books))

        async def is_there(space: str = f"Book {number - 1}") -> bool:
            return space in await spaces(teachers[-1])

        came = await killed_at(school, monkeypatch, number, answered=answered, by=save(), shows=is_there)

        for teacher in teachers:
            await eventually(partial(spaces, teacher), Counter({f"Book {book}": 1 for book in range(number)}).__eq__)
    await school.follow(policy())
    assert not await spaces(teachers[0])
    await eventually(lambda: unhandled(school), lambda events: events == [])


async def unhandled(school: Bridged) -> list[str]:
    """The events on record that nobody could handle yet."""
    store = await Store.open(school.settings.database)
    try:
        late = time.time() + 3600
        waiting = [one.event.type for one in await store.waiting(late)]
        return waiting + [one.event.type for one in await store.set_asides()]
    finally:
        await store.close()


@ANSWERED
async def test_somebody_has_one_direct_chat_with_the_bot(
    school: Bridged, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    people = await school.clients(*(TEACHERS[:3] if answered else TEACHERS[3:]))
    for number, one in enumerate(people, 1):
        other = (await school.client("okafor")).user_id
        room = await one.create_room(other)
        await until_the_bot_is_in(one, room)

        asked, shows = one.send(room, "!why nobody"), partial(school.said, one)
        assert await killed_at(school, monkeypatch, number, answered=answered, by=asked, shows=shows)

        await eventually(partial(school.said, one), bool)
        await eventually(lambda: unhandled(school), lambda events: events == [])
        assert len(await school.said(one)) == 1
        assert len(await school.directs(one)) == 1


async def is_in(looking: Client, room: str, other: Client) -> bool:
    return other.user_id in await looking.members(room)


@ANSWERED
async def test_a_suspended_client_is_out_and_comes_back(
    school: Bridged, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room = await okafor.create_room(chan.user_id)
    await until_the_bot_is_in(okafor, room)
    await okafor.send(room, "Good morning")
    await eventually(lambda: okafor.members(room), lambda members: chan.user_id in members)
    came, number = True, 0
    while came:
        number += 1
        for standing, inside in (("suspended", False), ("active", True)):

            async def save(chan: str = standing) -> None:
                school.edit(policy(chan=chan))

            async def is_so(inside: bool = inside) -> bool:
                return await is_in(okafor, room, chan) is inside

            killed = await killed_at(school, monkeypatch, number, answered=answered, by=save(), shows=is_so)
            came = came and killed

            await eventually(partial(is_in, okafor, room, chan), inside.__eq__)
    assert "Good morning" in str(await chan.messages(room, limit=1000))


async def powers(client: Client, room: str) -> dict[str, int]:
    return dict((await client.state(room, "m.room.power_levels"))["users"])


OLD_ROOMS = 14


class Fates(Fate):
    """Stops it once in each room, in the first at its first request, in the second at its second, and so on."""

    def __init__(self, patch: pytest.MonkeyPatch, left: dict[str, int]) -> None:
        super().__init__(patch, 0, answered=False)
        self._counts = left

    async def _fated(self, path: str, *, answered: bool) -> None:
        for room, left in self._counts.items():
            if room in path and left > 0 and answered:
                self._counts[room] = left - 1
            elif room in path and left == 1:
                self._counts[room] = 0
                await self._die()


async def test_rooms_from_before_are_taken_over_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old: list[str] = []

    async def first(client: Callable[[str], Awaitable[Client]]) -> None:
        okafor, chan, diaz = await client("okafor"), await client("chan"), await client("diaz")
        invited = (chan.user_id, diaz.user_id)
        for _ in range(OLD_ROOMS):
            old.append(await okafor.create_room(*invited, preset="trusted_private_chat", room_version="11"))
            await chan.join(old[-1])

    async with bridged(tmp_path, two_schools.policy(), ["head", "okafor", "chan", "diaz"], first=first) as school:
        head, okafor, chan = await school.clients("head", "okafor", "chan")
        await school.say(head, "help")
        left = {room: number for number, room in enumerate(old, 1)}
        fates = Fates(monkeypatch, left)
        await head.send(await school.direct(head), "apply")
        # The last fate may come while the bridge is still starting.
        while any(left.values()) or fates.came.is_set():
            async with asyncio.timeout(180):
                await fates.came.wait()
            await school.stop()
            fates.came.clear()
            await school.start()

        levels = {BOT: 100, okafor.user_id: 50, "@diaz:qwil.test": 100}
        for room in old:
            await eventually(partial(powers, okafor, room), levels.__eq__)
            assert (await okafor.state(room, CHAT))["kind"] == "client"
            assert await okafor.members(room) == {BOT, okafor.user_id, chan.user_id}
            assert set((await said_by_the_bot(okafor, room)).values()) == {1}
