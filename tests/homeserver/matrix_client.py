"""A Matrix client for tests that hides nothing: over plain HTTP, every refusal whole."""

import asyncio
import hashlib
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

import aiohttp

from bridge.demo.homeserver import Homeserver, Login
from bridge.module_check import STATUS

PATIENCE = 90.0
"""Seconds: whatever the bridge did not hear of, and whoever was away, is looked at again after a minute at the most."""


@dataclass(frozen=True)
class Answer:
    """What the homeserver said to one request."""

    status: int
    body: dict[str, Any]

    @property
    def errcode(self) -> str:
        return self.body.get("errcode", "")

    @property
    def error(self) -> str:
        return self.body.get("error", "")

    @property
    def rules(self) -> list[str]:
        """The ids of the rules that refused, as the policy module names them."""
        return self.body.get("org.qwil.rules", [])


class RefusedError(Exception):
    """The homeserver did not do what it was asked to; `answer` holds all it said."""

    def __init__(self, asked: str, answer: Answer) -> None:
        self.answer = answer
        super().__init__(f"{asked} was answered {answer.status} {answer.body}")


async def refusal_of(asked: Awaitable[object]) -> Answer:
    """The answer to something that must be refused: `answer = await refusal_of(ann.invite(room, bob))`."""
    try:
        granted = await asked
    except RefusedError as refused:
        return refused.answer
    raise AssertionError(f"This was granted and had to be refused; the answer was {granted!r}")


class Client:
    """One logged-in device. Its methods return the useful part of an answer and raise RefusedError on a refusal."""

    def __init__(self, homeserver: Homeserver, login: Login, http: aiohttp.ClientSession) -> None:
        self.homeserver = homeserver
        self.user_id = login.user_id
        self.device_id = login.device_id
        self.access_token = login.access_token
        self._http = http
        self._transactions = 0
        self._since: str | None = None

    async def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, **params: str | int
    ) -> Answer:
        """Ask anything and take any answer; a path without a leading slash is below /_matrix/client/v3/."""
        url = self.homeserver.url + (path if path.startswith("/") else f"/_matrix/client/v3/{path}")
        headers = {"Authorization": f"Bearer {self.access_token}"}
        json = {} if body is None and method in ("POST", "PUT") else body
        async with self._http.request(method, url, json=json, params=params, headers=headers) as response:
            return Answer(response.status, await response.json(content_type=None))

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, **params: str | int
    ) -> dict[str, Any]:
        """The body of the answer to a request; RefusedError unless it is 200."""
        answer = await self.request(method, path, body, **params)
        if answer.status != 200:
            raise RefusedError(f"{method} {path}", answer)
        return answer.body

    async def create_room(self, *invite: str, **request: Any) -> str:
        """A room with these Matrix IDs invited; keywords go into the request (name, preset, initial_state, ...)."""
        return (await self.ask("POST", "createRoom", {"invite": list(invite), **request}))["room_id"]

    async def invite(self, room: str, user: str) -> None:
        await self._in(room, "POST", "invite", {"user_id": user})

    async def join(self, room: str) -> None:
        await self._in(room, "POST", "join")

    async def leave(self, room: str) -> None:
        await self._in(room, "POST", "leave")

    async def kick(self, room: str, user: str, reason: str = "") -> None:
        await self._in(room, "POST", "kick", {"user_id": user, "reason": reason})

    async def send(self, room: str, text: str) -> str:
        """Send a text; its event id."""
        return await self.send_event(room, "m.room.message", {"msgtype": "m.text", "body": text})

    async def send_event(self, room: str, kind: str, content: Mapping[str, Any]) -> str:
        return (await self._in(room, "PUT", f"send/{kind}/{self._transaction()}", content))["event_id"]

    async def redact(self, room: str, event: str, reason: str = "") -> str:
        path = f"redact/{quote(event)}/{self._transaction()}"
        return (await self._in(room, "PUT", path, {"reason": reason}))["event_id"]

    async def set_state(self, room: str, kind: str, content: Mapping[str, Any], key: str = "") -> str:
        return (await self._in(room, "PUT", f"state/{kind}/{quote(key)}", content))["event_id"]

    async def state(self, room: str, kind: str, key: str = "") -> dict[str, Any]:
        """The content of one state event; RefusedError with status 404 where there is none."""
        return await self._in(room, "GET", f"state/{kind}/{quote(key)}")

    async def members(self, room: str, membership: str = "join") -> set[str]:
        """The Matrix IDs with this membership."""
        events = (await self._in(room, "GET", "members"))["chunk"]
        return {event["state_key"] for event in events if event["content"]["membership"] == membership}

    async def messages(self, room: str, limit: int = 100) -> list[dict[str, Any]]:
        """The newest events of a room, oldest first."""
        return (await self._in(room, "GET", "messages", dir="b", limit=limit))["chunk"][::-1]

    async def joined_rooms(self) -> set[str]:
        return set((await self.ask("GET", "joined_rooms"))["joined_rooms"])

    async def find_people(self, words: str, limit: int = 50) -> list[dict[str, Any]]:
        """The client's own people search: entries with user_id and display_name, best first."""
        return (await self.ask("POST", "user_directory/search", {"search_term": words, "limit": limit}))["results"]

    async def sync(self, *, patience: float = 0) -> dict[str, Any]:
        """What is new since the last call, at first everything; waits up to `patience` seconds for something."""
        since = {"since": self._since} if self._since else {}
        news = await self.ask("GET", "sync", timeout=int(patience * 1000), **since)
        self._since = news["next_batch"]
        return news

    async def sync_until(
        self, wanted: Callable[[dict[str, Any]], bool], *, patience: float = PATIENCE
    ) -> dict[str, Any]:
        """The first news that `wanted` says yes to; TimeoutError after `patience` seconds without."""
        async with asyncio.timeout(patience):
            while True:
                news = await self.sync(patience=5)
                if wanted(news):
                    return news

    async def _in(
        self, room: str, method: str, path: str, body: Mapping[str, Any] | None = None, **params: str | int
    ) -> dict[str, Any]:
        return await self.ask(method, f"rooms/{quote(room)}/{path}", body, **params)

    def _transaction(self) -> int:
        self._transactions += 1
        return self._transactions


async def eventually(look: Callable[[], Any], wanted: Callable[[Any], bool], *, patience: float = PATIENCE) -> Any:
    """Look until what is seen is `wanted` and return it; AssertionError with the last look after `patience` seconds.

    For what others do in their own time, as the bridge does; `look` may be a coroutine function:
    `await eventually(lambda: ann.members(room), lambda members: bob in members)`.
    """
    deadline = time.monotonic() + patience
    while not wanted(seen := await _seen(look)):
        if time.monotonic() > deadline:
            raise AssertionError(f"Still not as wanted after {patience:g} s; last seen: {seen!r}")
        await asyncio.sleep(0.05)
    return seen


async def in_force(bot: Client, policy: str) -> None:
    """Wait until the homeserver decides by the policy of this text, which names no spreadsheets."""
    digest = hashlib.sha256(policy.encode()).hexdigest()
    # With the token of the bridge one says as whom one asks.
    asked = partial(bot.ask, "GET", str(STATUS), user_id=bot.user_id)
    await eventually(asked, lambda status: status["policy"] == digest)


async def _seen(look: Callable[[], Any]) -> Any:
    seen = look()
    return await seen if inspect.isawaitable(seen) else seen
