"""The mails of a bridge in a process to be killed: `mail_process.py DATABASE FOLDER PORT NOW`.

It mails whoever is due at that moment to the mail server on that port, and prints what `status` says of it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bridge.arrival.post import Smtp
from bridge.config import Mail
from bridge.store import Store
from tests.bridge.test_arrivals import Office

DATABASE, FOLDER, PORT, NOW = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])


async def main() -> None:
    store = await Store.open(DATABASE)
    office = Office(FOLDER, store)
    office.now = NOW
    office.save(days=int(sys.argv[5]))
    office.carrier = Smtp(Mail(server=f"smtp://127.0.0.1:{PORT}"))
    arrivals = await office.started()
    await arrivals.work()
    for line in arrivals.status_lines(["hillside"]):
        print(line)  # noqa: T201 - what the test reads
    await store.close()


if __name__ == "__main__":
    asyncio.run(main())
