"""The database of the record, SQLite or PostgreSQL with one SQL text for both, and what is said where it is of no use.

A write is whole or did not happen, and once the method returned it survives a kill and a power cut.

    Exception
    ├── Unavailable
    │   └── StoreUnavailable     away, locked or full: wait and try again (`bridge.retry`)
    └── StoreRefused             no waiting helps: a newer version, a wrong password, no such database
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import asyncpg  # type: ignore[import-untyped]
from mautrix.util.async_db import Database, UnsupportedDatabaseVersion
from yarl import URL

from bridge.migrations import upgrades
from bridge.retry import Unavailable

Result = TypeVar("Result")

SQLITE_SETTINGS = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_mode = WAL",
    # The homeserver never sends again what was acknowledged, so that a commit has to outlive a power cut too.
    "PRAGMA synchronous = FULL",
    "PRAGMA busy_timeout = 5000",
)
SQLITE_AWAY = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
})  # fmt: skip
POSTGRES_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.TransactionRollbackError,
    asyncpg.exceptions.ReadOnlySQLTransactionError,
)
POSTGRES_REFUSES = (
    asyncpg.exceptions.InvalidAuthorizationSpecificationError,
    asyncpg.exceptions.InvalidCatalogNameError,
    asyncpg.exceptions.InsufficientPrivilegeError,
)


class StoreUnavailable(Unavailable):
    """The database cannot be reached or cannot write just now."""


class StoreRefused(Exception):
    """The database is there but not for us; the text says what to change."""


class Connected:
    """A database, open. Every method raises `StoreUnavailable` while it is away, and then did nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect to `sqlite:PATH` or `postgres://...` and bring its tables up to date.

        Raises `StoreUnavailable` when it may work later and `StoreRefused` when it will not.
        """
        if url.startswith("sqlite:"):
            await asyncio.to_thread(try_to_open, URL(url).path)
            arguments: dict[str, Any] = {"init_commands": list(SQLITE_SETTINGS)}
        else:
            # By default mautrix ends the whole process on an internal error of asyncpg.
            arguments = {"meow_exit_on_ice": False, "min_size": 1, "max_size": 8}
        database = Database.create(url, upgrade_table=upgrades, db_args=arguments)
        try:
            async with told_plainly():
                await database.start()
        except BaseException:  # also when told to end: its threads would outlive us
            await database.stop()
            raise
        return cls(database)

    async def close(self) -> None:
        """Let go of the database; what was begun is finished first."""
        await self._database.stop()

    async def _fetch(self, query: str, *values: Any) -> list[Any]:
        async with told_plainly():
            rows: list[Any] = await self._database.fetch(query, *values)
            return rows

    async def _value(self, query: str, *values: Any) -> Any:
        rows = await self._fetch(query, *values)
        return rows[0][0] if rows else None

    async def _execute(self, query: str, *values: Any) -> None:
        async with told_plainly():
            await self._database.execute(query, *values)

    async def _write(self, work: Coroutine[Any, Any, Result]) -> Result:
        # mautrix rolls back for an Exception only: a cancellation in the middle would leave the transaction open on a
        # connection that others go on to use. So it runs to its end, whoever has stopped waiting.
        return await asyncio.shield(asyncio.ensure_future(work))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        anything: Any = self._database  # mautrix' own stubs call its context managers coroutines
        async with told_plainly(), anything.acquire() as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Any]:
        async with self._connection() as connection, connection.transaction():
            yield connection


def try_to_open(path: str) -> None:
    """Complain about a file that is no database before a connection is made, whose thread would outlive the failure."""
    if not Path(path).absolute().parent.is_dir():
        raise StoreRefused(
            f"There is no folder for the database {path}: make it, or correct `database` in config.yaml."
        )
    # SQLite writes its journal beside the database.
    if not os.access(Path(path).absolute().parent, os.W_OK | os.X_OK):
        raise StoreRefused(
            f"The bridge may not write into the folder of the database {path}: let its account write there, or correct "
            "`database` in config.yaml."
        )
    try:
        # All that was written lies in it: a new one is for the bridge's account alone, and its journals with it.
        with suppress(OSError):
            Path(path).touch(mode=0o600)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"The database {path} cannot be opened just now: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise StoreRefused(f"{path} cannot be the database: {error}. Correct `database` in config.yaml.") from error


@asynccontextmanager
async def told_plainly() -> AsyncIterator[None]:
    """Turn what the drivers raise into our exceptions; a mistake in our own SQL stays what it is."""
    try:
        yield
    except UnsupportedDatabaseVersion as error:
        raise StoreRefused(
            f"The database was written by a newer version of qwil ({error})."
            " Run that version, or restore a copy of the database from before the upgrade."
        ) from error
    except POSTGRES_REFUSES as error:
        raise StoreRefused(f"The database refuses us: {error}. Check `database` in config.yaml.") from error
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in SQLITE_AWAY:
            raise
        raise StoreUnavailable(f"The database cannot be used just now: {error}.") from error
    except POSTGRES_AWAY as error:
        reason = str(error) or type(error).__name__
        raise StoreUnavailable(f"The database cannot be reached just now: {reason}.") from error
