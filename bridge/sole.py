"""One bridge at a time on one database: two would do everything twice and each forget what the other keeps.

The lock belongs to the operating system or to PostgreSQL, not to a row: a bridge that is killed, or whose machine loses
its power, holds it no longer. Who holds it stands beside it, for the sentence that refuses the second one.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, NoReturn

import asyncpg  # type: ignore[import-untyped]
from yarl import URL

from bridge.database import StoreUnavailable, told_plainly, try_to_open
from bridge.retry import until_available
from policy.model import Moment

LOCK = (0x7177696C, "hashtext(current_schema())")
"""The two halves of the advisory lock's key: a number of ours, and the schema the tables are in."""

LOOK_EVERY = 5.0
"""Seconds between two looks whether PostgreSQL still knows us."""

NOTICES_WITHIN = {"tcp_keepalives_idle": "20", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "4"}
"""So that PostgreSQL lets go of the lock 40 seconds after our machine fell silent."""

log = logging.getLogger("qwil.sole")


class HeldError(Exception):
    """Another process works on the database; the text says which."""

    def __init__(self, holder: str) -> None:
        super().__init__(
            f"The database is in use by {holder}. One bridge alone may work on a database: stop that one first."
        )


class Sole:
    """The lock while it is held."""

    async def keep(self) -> NoReturn:
        """Stay until cancelled; raises `HeldError` should another process have got the lock meanwhile."""
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


@asynccontextmanager
async def sole_user(url: str, what: str, *, clock: Callable[[], Moment] = time.time) -> AsyncIterator[Sole]:
    """Hold the database for `what`; raises `HeldError`, and what `Store.open` raises.

    With PostgreSQL the lock is lost with the connection: whoever holds it long has to `keep` it.
    """
    since = datetime.fromtimestamp(clock(), UTC).strftime("%Y-%m-%d %H:%M UTC")
    named = f"{what}, process {os.getpid()} on {socket.gethostname()}"
    if url.startswith("sqlite:"):
        async with _lock_file(URL(url).path, f"{named}, since {since}") as sole:
            yield sole
    else:
        held = _SessionLock(url, named)
        try:
            await until_available(held.take)
            yield held
        finally:
            await held.let_go()


@asynccontextmanager
async def _lock_file(database: str, named: str) -> AsyncIterator[Sole]:
    """A file beside the database, which stays there: whoever removed it would let two in."""
    await asyncio.to_thread(try_to_open, database)
    file = os.open(f"{database}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HeldError(os.pread(file, 1000, 0).decode(errors="replace").strip() or "another process") from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{named}\n".encode(), 0)
        yield Sole()
    finally:
        os.close(file)


class _SessionLock(Sole):
    """An advisory lock of PostgreSQL, which lasts as long as one connection."""

    def __init__(self, url: str, named: str) -> None:
        self._url = url
        self._settings = {"application_name": named[:63], **NOTICES_WITHIN}
        self._connection: Any = None

    async def take(self) -> None:
        await self.let_go()
        async with told_plainly():
            self._connection = await asyncpg.connect(self._url, server_settings=self._settings)
            if not await self._connection.fetchval(f"SELECT pg_try_advisory_lock({LOCK[0]}, {LOCK[1]})"):
                holder, own = await self._holder()
                if own:
                    raise StoreUnavailable("PostgreSQL has yet to notice that our former connection is gone.")
                raise HeldError(holder)

    async def keep(self) -> NoReturn:
        while True:
            lost = asyncio.Event()
            self._connection.add_termination_listener(lambda _connection, lost=lost: lost.set())
            await self._until_lost(lost)
            log.warning("The connection that keeps other bridges out was lost.")
            await until_available(self.take)

    async def _until_lost(self, lost: asyncio.Event) -> None:
        while not lost.is_set():
            try:
                await self._connection.execute("SELECT 1", timeout=LOOK_EVERY)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await lost.wait()

    async def let_go(self) -> None:
        """What the connection held is free at once."""
        if self._connection is not None:
            self._connection.terminate()

    async def _holder(self) -> tuple[str, bool]:
        """Who it is, and whether that is ourselves, on a connection that was lost on its way to PostgreSQL."""
        row = await self._connection.fetchrow(
            "SELECT application_name, client_addr, backend_start FROM pg_locks JOIN pg_stat_activity USING (pid)"  # noqa: S608 - our own key
            " WHERE locktype = 'advisory' AND granted AND objsubid = 2"
            f" AND classid = {LOCK[0]} AND objid = CAST(CAST({LOCK[1]} AS BIGINT) & 4294967295 AS OID)"
            " AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        if row is None:
            return "another process", False
        name, address, since = row
        told = f"{name or 'a process'}{f' ({address})' if address else ''}, since {since:%Y-%m-%d %H:%M UTC}"
        return told, name == self._settings["application_name"]
