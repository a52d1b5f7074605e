"""The jobs of a bridge in a process that kills itself: `export_jobs_process.py DATABASE FOLDER STEPS`.

A step is a request that changes something on the homeserver. `FOLDER/sent` has a line for each message the homeserver
took, by its transaction: taken once, however often it is sent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from mautrix.api import Method

from bridge import config
from bridge.store import Store
from tests.bridge.test_export_jobs import PAT, Desk, HomeserverInMemory, a_chat, asked, new, said

DATABASE, FOLDER, STEPS = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
HISTORY = [*a_chat(PAT), *(said(20 + place, f"message {place}") for place in range(5))]


class HomeserverOnDisk(HomeserverInMemory):
    """Knows after a kill what it took before."""

    left = STEPS

    async def ask(self, method: Method, path: Any, content: Any = None, *, query: Any = None) -> Any:
        answer = await super().ask(method, path, content, query=query)
        if method == Method.PUT:
            with (FOLDER / "sent").open("a") as sent:
                sent.write(f"{str(path).rpartition('/')[2]} {content['body']!r}\n")
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return answer


async def main() -> None:
    store = await Store.open(DATABASE)
    settings = config.parse(
        "homeserver: {address: 'http://127.0.0.1:9', server_name: school.example}\n", FOLDER / "config.yaml"
    )
    await store.receive("t", [new(event) for event in HISTORY], received=1.0)
    desk = Desk(settings, store, HomeserverOnDisk(HISTORY))
    jobs = await desk.jobs()
    await asked(jobs)
    await desk.run(jobs)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main())
