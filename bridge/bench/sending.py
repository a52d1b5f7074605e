"""Sending a message through Synapse with the policy module against without, and while a large policy is read anew.

Two homeservers with the same room of the same people, one under the policy: messages go to each in turn, and what they
cost is what the kernel says that Synapse used of the processor.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import aiohttp

from bridge.bench.measure import Row
from bridge.bench.size import Say, Size
from bridge.bench.world import World, organisation
from bridge.demo.homeserver import Homeserver
from policy.model import Membership, UserId
from policy.rooms import CHAT, DRAFT
from policy.template import ROOM_VERSION, power_levels

NAME = "sending"
CPU, SLOWEST = 1.03, 3

SERVER = "school.example"
BOT = "qwil"
PASSWORD = "benchmark"  # noqa: S105 - of accounts that live for a minute on the loopback address
RAM = "/dev/shm"  # noqa: S108 - where there is one, a disk shared with others does not blur the picture

FOLDER = RAM if Path(RAM).is_dir() else None

HELD = 5
"""As many come in with the first message without the bridge."""

WARM_UP = 2
"""Half as many messages go before those that count."""

RELOADS = 4

IN_FORCE = b"is in force"
DONE = b"is searched from now on"
"""What the module logs when a saved policy decides, and when its index is made too and the old one thrown away."""

PATIENCE = 60.0


def measure(size: Size, say: Say) -> Iterator[Row]:
    """The rows: the cost of a message, then the slowest message."""
    yield from asyncio.run(_measured(size, say))


async def _measured(size: Size, say: Say) -> list[Row]:
    # Else each process lays out its dictionaries by a seed of its own, and two equal homeservers differ by a hundredth.
    os.environ.setdefault("PYTHONHASHSEED", "0")
    say(f"sending: writing a policy of {size.people:,} people")
    world = World(size.people)
    people = _room_mates(world, size.room)
    with TemporaryDirectory(prefix="qwil-bench-", dir=FOLDER) as folder:
        policy = _written(world, Path(folder, "policy"))
        cost = await _cost(Path(folder), policy, people, size, say)
        async with _homeservers(Path(folder, "reloads"), policy, people, say, without=1) as (governed, plain):
            slowest = [await _slowest(governed, plain, policy, edit, size, say) for edit in CHANGES]
    return [cost, *slowest]


@asynccontextmanager
async def _homeservers(
    folder: Path, policy: Path, people: Sequence[Membership], say: Say, *, without: int, last: bool = False
) -> AsyncIterator[list[Chat]]:
    """The same chat on a homeserver with the module, which is started first or last, and on so many without."""
    module = {"policy": str(policy), "bot": f"@{BOT}:{SERVER}"}
    plain = [Homeserver(folder / f"{number}" / "without", server_name=SERVER) for number in range(without)]
    governed = Homeserver(folder / "with", server_name=SERVER, module=module)
    async with AsyncExitStack() as running:
        begun = [
            await running.enter_async_context(_chat(one, people, say))
            for one in ([*plain, governed] if last else [governed, *plain])
        ]
        yield [begun[-1], *begun[:-1]] if last else begun


def _room_mates(world: World, count: int) -> list[Membership]:
    """Active people of the first class, a teacher first, each with an account of their own."""
    policy = world.policy
    home, *_ = policy.organisations[organisation(0)].books.values()
    members = [policy.people[person] for person in sorted(home.members)]
    fit = [one for one in members if one.status == "active" and one.until is None and one.matrix]
    single = [one for one in fit if one.matrix and len(policy.accounts[one.matrix]) == 1]
    return sorted(single, key=lambda one: one.role == "client")[:count]


def _written(world: World, folder: Path) -> Path:
    folder.mkdir()
    for name, data in world.sheets.items():
        (folder / name).write_bytes(data)
    policy = folder / "policy.yaml"
    policy.write_text(world.text, "utf-8")
    return policy


@dataclass(frozen=True)
class Device:
    """Somebody logged in."""

    user: UserId
    url: str
    token: str
    http: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer, which has to be a good one."""
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.url}/_matrix/client/v3/{path}"
        async with self.http.request(method, url, json=body if body is not None else {}, headers=headers) as response:
            answer = await response.json()
            if response.status != 200:
                raise AssertionError(f"{self.user} asked {method} {path} and was told {answer}")
            return answer

    async def set_state(self, room: str, kind: str, content: object) -> None:
        """Change the room's state."""
        await self.ask("PUT", f"rooms/{room}/state/{kind}/", content)


class Chat:
    """A room on one homeserver, and whoever writes in it."""

    def __init__(self, homeserver: Homeserver, writer: Device, room: str) -> None:
        self.homeserver = homeserver
        self._writer = writer
        self._room = room
        self._sent = 0

    async def send(self) -> float:
        """Write one message; the seconds until it was taken."""
        self._sent += 1
        body = {"msgtype": "m.text", "body": f"Message {self._sent}"}
        start = time.perf_counter()
        await self._writer.ask("PUT", f"rooms/{self._room}/send/m.room.message/{self._sent}", body)
        return time.perf_counter() - start

    def used(self) -> float:
        """Seconds of the processor that Synapse has used so far."""
        # The clock of another process (clock_getcpuclockid): all its threads, to the nanosecond.
        pid = self.homeserver.pid or os.getpid()
        return time.clock_gettime((~pid << 3) | 2)


@asynccontextmanager
async def _chat(homeserver: Homeserver, people: Sequence[Membership], say: Say) -> AsyncIterator[Chat]:
    """A running homeserver with one chat in which these people have begun to talk."""
    say("sending: starting a homeserver")
    async with AsyncExitStack() as running:
        await running.enter_async_context(homeserver)
        http = await running.enter_async_context(aiohttp.ClientSession())
        users = [UserId(f"@{BOT}:{SERVER}"), *(one.matrix for one in people if one.matrix)]
        bot, writer, *others = [await _device(homeserver, user, http) for user in users]
        under_policy = homeserver.folder.name == "with"
        room = await (_governed if under_policy else _ungoverned)(bot, writer, others, people)
        yield Chat(homeserver, writer, room)


async def _device(homeserver: Homeserver, user: UserId, http: aiohttp.ClientSession) -> Device:
    await homeserver.register(user.removeprefix("@").partition(":")[0], PASSWORD)
    login = await homeserver.login(user, PASSWORD)
    return Device(user, homeserver.url, login.access_token, http)


async def _governed(bot: Device, writer: Device, others: Sequence[Device], people: Sequence[Membership]) -> str:
    """A chat as people and bridge make it: a draft, the bot's rules, the first message, the others."""
    invited = [one.user for one in others[:HELD]]
    made = await writer.ask("POST", "createRoom", {"name": "Class 0", "invite": invited})
    room = quote(made["room_id"])
    await bot.ask("POST", f"rooms/{room}/join")
    await bot.set_state(room, "m.room.power_levels", _powers(bot, people))
    message = {"msgtype": "m.text", "body": "Good morning"}
    await writer.ask("PUT", f"rooms/{room}/send/m.room.message/first", message)
    chat = await bot.ask("GET", f"rooms/{room}/state/{CHAT}/")
    await bot.set_state(room, CHAT, {**chat, "draft": False})
    await bot.set_state(room, DRAFT, {})
    for one in others[HELD:]:
        await bot.ask("POST", f"rooms/{room}/invite", {"user_id": one.user})
        await one.ask("POST", f"rooms/{room}/join")
    return room


async def _ungoverned(bot: Device, writer: Device, others: Sequence[Device], people: Sequence[Membership]) -> str:
    """The same room where no policy is."""
    content = {"organisation": organisation(0), "kind": "client", "draft": False, "staff_only": False}
    state = [{"type": CHAT, "state_key": "", "content": content}, {"type": DRAFT, "state_key": "", "content": {}}]
    request = {
        "name": "Class 0",
        "preset": "private_chat",
        "room_version": ROOM_VERSION,
        "initial_state": state,
        "invite": [bot.user, *(one.user for one in others)],
    }
    room = quote((await writer.ask("POST", "createRoom", request))["room_id"])
    for one in (bot, *others):
        await one.ask("POST", f"rooms/{room}/join")
    await writer.set_state(room, "m.room.power_levels", _powers(bot, people))
    return room


def _powers(bot: Device, people: Sequence[Membership]) -> object:
    return power_levels(bot.user, [one.matrix for one in people if one.role == "staff" and one.matrix])


async def _cost(folder: Path, policy: Path, people: Sequence[Membership], size: Size, say: Say) -> Row:
    """Homeservers started anew each time: of two equal ones one is faster by hundredths for as long as it runs."""
    ratios: list[float] = []
    apart: list[float] = []
    for number in range(size.send_rounds):
        say(f"sending: round {number + 1} of {size.send_rounds}")
        there = _homeservers(folder / f"round-{number}", policy, people, say, without=2, last=number % 2 == 1)
        async with there as chats:
            await _round(chats, size.sends // WARM_UP)
            ours, *theirs = await _round(chats, size.sends)
        ratios.append(ours / mean(theirs))
        apart.append(max(theirs) / min(theirs) - 1)
    what = f"a message in a chat of {size.room}, {size.people:,} people: Synapse's CPU with the module against without"
    each = f"{ours / size.sends * 1e3:.2f} ms against {mean(theirs) / size.sends * 1e3:.2f} ms a message"
    detail = f"{each}; two homeservers without it differ by {median(apart):.1%} (up to {max(apart):.1%})"
    return Row(NAME, what, tuple(ratios), CPU, detail=detail)


async def _round(chats: Sequence[Chat], sends: int) -> list[float]:
    """Seconds of the processor for so many messages to each, one to one and one to the next.

    What a homeserver still does after it has answered is counted too: it goes on while the other ones are asked.
    """
    before = [chat.used() for chat in chats]
    for number in range(sends):
        for chat in chats if number % 2 == 0 else chats[::-1]:
            await chat.send()
    return [chat.used() - start for chat, start in zip(chats, before, strict=True)]


def _one_row(policy: Path) -> None:
    """Somebody of one school is called otherwise, as most changes are."""
    sheet = min(policy.parent.glob("*.csv"))
    head, first, rest = sheet.read_bytes().split(b"\n", 2)
    cells = first.split(b",")
    cells[1] = b"Renamed" if cells[1] != b"Renamed" else b"Named"
    sheet.write_bytes(b"\n".join((head, b",".join(cells), rest)))


def _every_sheet(policy: Path) -> None:
    """Every school has saved its file anew."""
    for sheet in policy.parent.glob("*.csv"):
        data = sheet.read_bytes()
        sheet.write_bytes(data.rstrip(b"\n") + b"\n" * (1 if data.endswith(b"\n\n") else 2))


CHANGES: Mapping[Callable[[Path], None], str] = {_one_row: "one row changed", _every_sheet: "every file changed"}


async def _slowest(
    governed: Chat, plain: Chat, policy: Path, edit: Callable[[Path], None], size: Size, say: Say
) -> Row:
    samples: list[float] = []
    calm: list[float] = []
    took: list[float] = []
    changed = CHANGES[edit]
    for number in range(RELOADS):
        say(f"sending: {changed}, reload {number + 1} of {RELOADS}")
        times = [await governed.send() for _ in range(size.reload_sends)]
        meanwhile, in_force = await _sends_during_reload(governed, partial(edit, policy))
        times += meanwhile
        took.append(in_force)
        samples.append(max(times) / median(times))
        alone = [await plain.send() for _ in range(len(times))]
        calm.append(max(alone) / median(alone))
    detail = (
        f"median {median(times) * 1e3:.1f} ms; in force {median(took):.1f} s after it was saved ({min(took):.1f} to "
        f"{max(took):.1f}); without module and reload the slowest is {median(calm):.1f} times the median"
    )
    what = f"a policy of {size.people:,} people read anew, {changed}: the slowest message against the median one"
    return Row(NAME, what, tuple(samples), SLOWEST, detail=detail)


async def _sends_during_reload(chat: Chat, save: Callable[[], object]) -> tuple[list[float], float]:
    """Save the policy, and write messages until it is in force, after which many seconds is told, and all is done."""
    log = chat.homeserver.log
    position = log.stat().st_size
    saved = time.monotonic()
    save()
    times: list[float] = []
    in_force = 0.0
    while time.monotonic() < saved + PATIENCE:
        times.append(await chat.send())
        told = _since(log, position)
        if not in_force and IN_FORCE in told:
            in_force = time.monotonic() - saved
        if DONE in told:
            return times, in_force
    raise AssertionError(f"a saved policy was not in force and searched after {PATIENCE:g} s, see {log}")


def _since(log: Path, position: int) -> bytes:
    with log.open("rb") as lines:
        lines.seek(position)
        return lines.read()
