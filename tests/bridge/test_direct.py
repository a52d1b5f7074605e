"""The bot's direct chats are opened once for each person, and nobody waits for another."""

from __future__ import annotations

import asyncio
from typing import cast

from bridge.direct import Direct
from bridge.observe import Observer
from bridge.perform import Performer
from bridge.policy_file import PolicySource
from policy.model import UserId

NEAR, FAR = UserId("@near:qwil.test"), UserId("@far:elsewhere.test")


class Rooms:
    """Stands for the homeserver: a direct chat with somebody far away takes until the test lets it."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.begun: list[str] = []
        self.answer = asyncio.Event()

    def direct_with(self, user: UserId) -> str | None:
        return f"!{user}" if user in self.opened else None

    def direct_begun(self, user: UserId) -> str | None:
        return f"!{user}" if user in self.begun else None

    async def enter_direct(self, _room: str, user: UserId) -> None:
        self.begun.remove(user)
        self.opened.append(user)

    async def open_direct(self, user: UserId) -> str:
        if user == FAR:
            await self.answer.wait()
        self.opened.append(user)
        return f"!{user}"


async def test_somebody_whose_homeserver_does_not_answer_keeps_nobody_else_waiting_and_is_asked_once() -> None:
    rooms = Rooms()
    direct = Direct(cast(PolicySource, None), cast(Observer, rooms), cast(Performer, rooms))
    far = [asyncio.create_task(direct.room(FAR)) for _ in range(2)]
    await asyncio.sleep(0)

    async with asyncio.timeout(60):
        assert await direct.room(NEAR) == f"!{NEAR}"
    rooms.answer.set()

    assert await asyncio.gather(*far) == [f"!{FAR}", f"!{FAR}"]
    assert rooms.opened == [NEAR, FAR]


async def test_a_direct_chat_that_a_stopped_bridge_had_made_is_entered_and_no_second_one_made() -> None:
    rooms = Rooms()
    rooms.begun.append(NEAR)
    direct = Direct(cast(PolicySource, None), cast(Observer, rooms), cast(Performer, rooms))

    assert [await direct.room(NEAR), await direct.room(NEAR)] == [f"!{NEAR}"] * 2
    assert (rooms.opened, rooms.begun) == ([NEAR], [])
