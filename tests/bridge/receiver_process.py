"""A bridge cut down to its receiver, to be killed: it writes down what it does and can be told where to die.

    python receiver_process.py DATABASE FOLDER POINT COUNT

`FOLDER/effects` has a line for every event that took effect, written as a handler should: not again where it stands
already. `FOLDER/calls` has a line for every call of the handler. The process kills itself when it comes to POINT for
the COUNTth time. Its first line of output is its port.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

import bridge.store
from bridge.at_once import Follow, Statement, write_at_once
from bridge.receive import Receiver
from bridge.store import NewEvent, Store, StoredEvent
from policy.model import Moment

TOKEN = "hs-secret"
DATABASE, FOLDER, POINT, COUNT = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])


class Fate:
    """When to die."""

    def __init__(self, point: str, count: int) -> None:
        self.point, self.left = point, count

    def comes_to(self, point: str) -> None:
        self.left -= point == self.point
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


fate = Fate(POINT, COUNT)


async def deadly_write(connection: Any, text: str, values: Sequence[Any], follow: Follow) -> None:
    """Each statement is asked for when the one before it is done, and COMMIT follows the last."""

    def deadly(row: Sequence[Any]) -> Iterator[Statement]:
        for statement in follow(row):
            yield statement
            fate.comes_to("in the middle of the transaction")
        fate.comes_to("before the transaction is committed")

    await write_at_once(connection, text, values, deadly)


bridge.store.write_at_once = deadly_write


class DyingStore(Store):
    """The record, with points to die at around each of its commits."""

    async def receive(
        self, transaction: str, events: Sequence[NewEvent], *, received: Moment, oddments: str | None = None
    ) -> None:
        await super().receive(transaction, events, received=received, oddments=oddments)
        fate.comes_to("before the transaction is acknowledged")

    async def mark_handled(self, event: StoredEvent) -> None:
        fate.comes_to("before the event is marked as handled")
        await super().mark_handled(event)
        fate.comes_to("after the event was marked as handled")


def append(name: str, line: str) -> None:
    file = os.open(FOLDER / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


async def handle(event: StoredEvent) -> None:
    append("calls", event.event_id)
    fate.comes_to("before the event takes effect")
    effects = FOLDER / "effects"
    if not effects.exists() or event.event_id not in effects.read_text().splitlines():
        await asyncio.sleep(0)
        append("effects", event.event_id)
    fate.comes_to("after the event took effect")


async def main() -> None:
    store = await DyingStore.open(DATABASE)
    receiver = Receiver(store, handle, hs_token=TOKEN)
    app = web.Application()
    receiver.add_routes(app)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201 - for the test that started it
    if POINT == "before anything is handled":
        await asyncio.Event().wait()
    await receiver.run()


asyncio.run(main())
