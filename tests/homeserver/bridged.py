"""A homeserver with module and bridge, for tests of what people see; the bridge runs in the process of the tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from bridge import app, config, registration
from bridge.audit import FILES
from bridge.config import Config
from bridge.demo.homeserver import Homeserver, Login, free_port
from bridge.policy_file import load
from bridge.store import Store
from policy.differences import fingerprint
from policy.model import Policy
from policy.rooms import CHAT
from tests.homeserver.conftest import BOT, PASSWORD, SERVER_NAME
from tests.homeserver.matrix_client import Client, eventually, in_force

CONFIG = """\
homeserver: {{address: "{url}", server_name: {server}}}
appservice: {{address: "http://127.0.0.1:{port}", port: {port}, as_token: "{as_token}", hs_token: "{hs_token}"}}
database: {database}
policy: policy.yaml
"""


class Bridged:
    """A running homeserver and its bridge; `edit` saves another policy, `follow` sees it in force as well."""

    def __init__(self, homeserver: Homeserver, settings: Config, http: aiohttp.ClientSession) -> None:
        self.homeserver = homeserver
        self.settings = settings
        self._http = http
        self._task: asyncio.Task[None] | None = None
        self._clients: dict[str, Client] = {}
        self._followed = ""

    async def start(self, *, new_record: bool = False) -> None:
        """Start the bridge and wait until the homeserver reaches it."""
        self._task = asyncio.create_task(app.run(self.settings, new_record=new_record))
        path = f"/_matrix/client/v1/appservice/{self.settings.appservice.id}/ping"
        headers = {"Authorization": f"Bearer {self.settings.appservice.as_token}"}

        async def ping() -> int:
            assert self._task is not None
            if self._task.done():
                self._task.result()
            async with self._http.post(self.homeserver.url + path, json={}, headers=headers) as answer:
                return answer.status

        await eventually(ping, lambda status: status == 200)

    async def stop(self) -> None:
        """Stop the bridge; the homeserver goes on."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def edit(self, text: str) -> None:
        """Save another policy, at once and whole, as an editor does; it is in force some time later."""
        self._followed = ""
        fresh = self.settings.policy.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.settings.policy)

    async def follow(self, text: str) -> None:
        """Save another policy and wait until module and bridge decide by it and the bridge has done what is due.

        Returns at once where it is the one that was followed last.
        """
        if text == self._followed:
            return
        store = await Store.open(self.settings.database)
        try:
            # The bridge keeps the files of a policy when everything about it was done.
            await store.forget(FILES)
            self.edit(text)
            policy = load(self.settings.policy)
            assert isinstance(policy, Policy), policy
            mark = fingerprint(policy)
            kept = partial(store.recall, FILES, {})
            # Whoever found the homeserver away looks again after a minute at the most.
            await eventually(kept, lambda seen: seen.get("mark") == mark, patience=180)
        finally:
            await store.close()
        await in_force(self._bot(), text)
        self._followed = text

    def _bot(self) -> Client:
        """The bot's account, used by somebody else than the bridge."""
        return Client(self.homeserver, Login(self.settings.bot, "", self.settings.appservice.as_token), self._http)

    async def client(self, user: str) -> Client:
        """The person's client, logged in."""
        if user not in self._clients:
            login = await self.homeserver.login(user, PASSWORD)
            self._clients[user] = Client(self.homeserver, login, self._http)
        return self._clients[user]

    async def clients(self, *users: str) -> list[Client]:
        """Several people's clients."""
        return [await self.client(user) for user in users]

    async def directs(self, client: Client) -> list[str]:
        """The person's direct chats with the bot."""
        rooms = await client.joined_rooms()
        answers = [await client.request("GET", f"rooms/{room}/state/org.qwil.direct/") for room in rooms]
        return [room for room, answer in zip(rooms, answers, strict=True) if answer.status == 200]

    async def direct(self, client: Client) -> str:
        """One of them, made by the person where the bot has made none."""
        if rooms := await self.directs(client):
            return rooms[0]
        room = await client.create_room(BOT, is_direct=True)
        await eventually(lambda: client.members(room), lambda members: BOT in members)
        return room

    async def said(self, client: Client) -> list[tuple[str, str]]:
        """Everything the bot told the person, by event id."""
        return [
            (event["event_id"], event["content"].get("body", ""))
            for room in await self.directs(client)
            for event in await client.messages(room)
            if event["sender"] == BOT and event["type"] == "m.room.message"
        ]

    async def say(self, client: Client, text: str, room: str | None = None, **content: Any) -> str:
        """Write words to the bot, in its direct chat or in a chat; its next answer in the direct chat."""
        direct = await self.direct(client)
        known = {event for event, _ in await self.said(client)}
        await client.send_event(room or direct, "m.room.message", {"msgtype": "m.text", "body": text, **content})

        async def answers() -> list[str]:
            return [body for event, body in await self.said(client) if event not in known]

        return str((await eventually(answers, bool))[-1])


async def begun(creator: Client, *others: Client, **request: Any) -> str:
    """A chat with its first message, that everybody is in."""
    room = await creator.create_room(*(other.user_id for other in others), **request)
    await eventually(lambda: creator.members(room), lambda members: BOT in members)
    await creator.send(room, "Good morning")
    for other in others:
        await eventually(other.joined_rooms, lambda rooms: room in rooms)
    await eventually(lambda: creator.state(room, CHAT), lambda content: content["draft"] is False)
    return room


@asynccontextmanager
async def bridged(
    folder: Path,
    policy: str,
    people: list[str],
    database: str = "sqlite:qwil.db",
    *,
    module: bool = True,
    more: str = "",
    first: Callable[[Callable[[str], Awaitable[Client]]], Awaitable[None]] | None = None,
) -> AsyncIterator[Bridged]:
    """A homeserver with these accounts, the module with that policy, and the bridge on that database.

    `more` is further configuration of the bridge; `first` happens on the homeserver before it has module and bridge.
    """
    homeserver_port, port = free_port(), free_port()
    tokens = registration.fresh_tokens()
    file = folder / "config.yaml"
    text = CONFIG.format(
        url=f"http://127.0.0.1:{homeserver_port}",
        server=SERVER_NAME,
        port=port,
        database=database,
        as_token=tokens.as_token,
        hs_token=tokens.hs_token,
    )
    file.write_text(text + more)
    settings = config.load(file)
    (folder / "registration.yaml").write_text(registration.registration_text(settings, tokens))
    settings.policy.write_text(policy)
    if first is not None:
        await _before_us(folder, homeserver_port, people, first)
    enforcing = {"policy": str(settings.policy), "bot": BOT} if module else None
    async with (
        aiohttp.ClientSession() as http,
        Homeserver(
            folder / "homeserver",
            server_name=SERVER_NAME,
            port=homeserver_port,
            module=enforcing,
            app_services=[folder / "registration.yaml"],
        ) as homeserver,
    ):
        if first is None:
            await asyncio.gather(*(homeserver.register(user, PASSWORD) for user in people))
        await _make_administrator(homeserver, settings, http)
        both = Bridged(homeserver, settings, http)
        await both.start()
        try:
            yield both
        finally:
            await both.stop()


async def _before_us(
    folder: Path, port: int, people: list[str], first: Callable[[Callable[[str], Awaitable[Client]]], Awaitable[None]]
) -> None:
    """The same homeserver as it was before anything of ours was installed."""
    async with (
        aiohttp.ClientSession() as http,
        Homeserver(folder / "homeserver", server_name=SERVER_NAME, port=port) as homeserver,
    ):
        await asyncio.gather(*(homeserver.register(user, PASSWORD) for user in people))

        async def client(user: str) -> Client:
            return Client(homeserver, await homeserver.login(user, PASSWORD), http)

        await first(client)


async def _make_administrator(homeserver: Homeserver, settings: Config, http: aiohttp.ClientSession) -> None:
    body = {"type": "m.login.application_service", "username": settings.appservice.bot, "inhibit_login": True}
    headers = {"Authorization": f"Bearer {settings.appservice.as_token}"}
    async with http.post(f"{homeserver.url}/_matrix/client/v3/register", json=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    admin = await homeserver.login(homeserver.server_admin.user_id, homeserver.server_admin.password)
    rights = {"Authorization": f"Bearer {admin.access_token}"}
    path = f"{homeserver.url}/_synapse/admin/v2/users/{settings.bot}"
    async with http.put(path, json={"admin": True}, headers=rights) as answer:
        assert answer.status == 200, await answer.text()
