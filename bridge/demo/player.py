"""A person of the tour with a real Matrix client, matrix-nio: what they do goes over the wire like anybody's act."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import nio  # type: ignore[import-untyped]  # the package says nothing of its types

from bridge.demo.stage import Demo
from policy.model import Membership

RULES = "org.qwil.rules"
"""Beside `error` in a refusal: the ids of the rules that object."""


class Refused(Exception):
    """The homeserver said no: the sentence that the client received, and the rules behind it."""

    def __init__(self, sentence: str, rules: tuple[str, ...]) -> None:
        super().__init__(f"“{sentence}”" + (f" ({', '.join(rules)})" if rules else ""))
        self.sentence = sentence
        self.rules = rules


class Heard(NamedTuple):
    """A message that reached a client."""

    room: str
    sender: str
    text: str


class Player:
    """One person, logged in; every method raises Refused where the homeserver says no."""

    def __init__(self, member: Membership, client: nio.AsyncClient) -> None:
        self.member = member
        self.name = member.name
        self.user_id = str(member.matrix)
        self.heard: list[Heard] = []
        self._client = client

    async def create(self, title: str, *people: "Player | str") -> str:
        """A chat with these people; its room."""
        invite = [each.user_id if isinstance(each, Player) else each for each in people]
        return str((await self._granted(self._client.room_create(name=title, invite=invite))).room_id)

    async def direct_chat(self, user: str) -> str:
        """The room of the direct chat with one Matrix ID, created where the client has none."""
        pair = {self.user_id, user}
        known = (room for room, shown in self._client.rooms.items() if shown.users.keys() == pair)
        if room := next(known, None):
            return str(room)
        return str((await self._granted(self._client.room_create(invite=[user], is_direct=True))).room_id)

    async def invite(self, room: str, whom: "Player") -> None:
        await self._granted(self._client.room_invite(room, whom.user_id))

    async def write(self, room: str, text: str) -> None:
        content = {"msgtype": "m.text", "body": text}
        await self._granted(self._client.room_send(room, "m.room.message", content))

    async def rename(self, room: str, title: str) -> None:
        await self._granted(self._client.room_put_state(room, "m.room.name", {"name": title}))

    async def call_oneself(self, room: str, name: str) -> None:
        """Ask for another name in one room, as some clients offer."""
        content = {"membership": "join", "displayname": name}
        await self._granted(self._client.room_put_state(room, "m.room.member", content, self.user_id))

    async def encrypt(self, room: str) -> None:
        content = {"algorithm": "m.megolm.v1.aes-sha2"}
        await self._granted(self._client.room_put_state(room, "m.room.encryption", content))

    async def remove(self, room: str, whom: "Player") -> None:
        await self._granted(self._client.room_kick(room, whom.user_id))

    async def leave(self, room: str) -> None:
        await self._granted(self._client.room_leave(room))

    async def find(self, words: str) -> list[str]:
        """The names that the client's people search shows."""
        headers = {"Authorization": f"Bearer {self._client.access_token}"}
        body = json.dumps({"search_term": words, "limit": 20})
        path = "/_matrix/client/v3/user_directory/search"
        answer = await self._client.send("POST", path, body, headers)
        found: dict[str, Any] = await answer.json()
        if answer.status != 200:
            raise Refused(found.get("error", ""), tuple(found.get(RULES, ())))
        return [person.get("display_name") or person["user_id"] for person in found["results"]]

    async def read(self, room: str) -> list[str]:
        """The texts of a chat, oldest first."""
        answer = await self._granted(self._client.room_messages(room, limit=50))
        return [event.body for event in reversed(answer.chunk) if isinstance(event, nio.RoomMessageText)]

    def chats(self) -> dict[str, str]:
        """The rooms in the client's list with their names, open invitations included."""
        rooms = {**self._client.rooms, **self._client.invited_rooms}
        return {room: shown.display_name for room, shown in rooms.items()}

    def is_in(self, room: str) -> bool:
        """Whether the client shows the room as joined."""
        return room in self._client.rooms

    def unread(self, room: str) -> int:
        """How many messages the client counts as unread in a room."""
        shown = self._client.rooms.get(room)
        return shown.unread_notifications if shown else 0

    def name_of(self, room: str, whom: "Player") -> str | None:
        """What the client calls somebody in a room."""
        shown = self._client.rooms.get(room)
        return shown.user_name(whom.user_id) if shown else None

    async def look(self, *, patience: float = 0) -> None:
        """Bring the client up to date, waiting up to `patience` seconds for something new."""
        news = await self._granted(self._client.sync(timeout=int(patience * 1000)))
        for room, seen in news.rooms.join.items():
            texts = (event for event in seen.timeline.events if isinstance(event, nio.RoomMessage))
            self.heard += [Heard(room, event.sender, str(event.source["content"].get("body", ""))) for event in texts]

    async def sees(self, wanted: Callable[[], bool], *, patience: float = 20) -> bool:
        """Whether the client comes to show what is wanted within `patience` seconds."""
        deadline = asyncio.get_running_loop().time() + patience
        await self.look()
        while not wanted():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            await self.look(patience=min(left, 5))
        return True

    async def _granted(self, asked: Any) -> Any:
        answer = await asked
        if not isinstance(answer, nio.ErrorResponse):
            return answer
        said: dict[str, Any] = await answer.transport_response.json() if answer.transport_response else {}
        raise Refused(said.get("error", answer.message), tuple(said.get(RULES, ())))


@asynccontextmanager
async def logged_in(demo: Demo, person: str) -> AsyncIterator[Player]:
    """The person with a client of their own, logged out at the exit."""
    member = demo.member(person)
    if member.matrix is None:
        raise ValueError(f"{person} has no account in this demo")
    settings = nio.AsyncClientConfig(encryption_enabled=False, max_timeouts=2, max_limit_exceeded=5)
    client = nio.AsyncClient(demo.homeserver.url, member.matrix, config=settings)
    try:
        answer = await client.login(demo.accounts[member.matrix].password, device_name=f"{member.name}'s client")
        if isinstance(answer, nio.LoginError):
            raise Refused(answer.message, ())
        player = Player(member, client)
        await player.look()
        yield player
        await client.logout()
    finally:
        await client.close()
