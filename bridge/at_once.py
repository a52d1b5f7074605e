"""A transaction whose statements follow from the answer of its first one, handed to the database at once."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from mautrix.util.async_db import Connection, Scheme

NUMBERED = re.compile(r"\$(\d+)")


class Statement(NamedTuple):
    """SQL text with marks `$1`, `$2`, … and the rows of values it is done with, one after the other."""

    text: str
    rows: Iterable[Sequence[Any]]


Follow = Callable[[Sequence[Any]], Iterable[Statement]]
"""From the row that the first statement returned to those that follow; called in any thread."""


async def write_at_once(connection: Connection, text: str, values: Sequence[Any], follow: Follow) -> None:
    """Do the statement, which returns a row, and those that follow from it: all or nothing.

    On SQLite in one visit to the connection's thread: the way there and back takes longer than most statements.
    """
    database: Any = connection.wrapped
    if connection.scheme is Scheme.SQLITE:
        # aiosqlite has no public word for "do this in your thread", which its version in pyproject.toml is held for.
        await database._execute(_in_the_thread, database._conn, text, values, follow)
        return
    async with database.transaction():
        for statement in follow(await database.fetchrow(text, *values)):
            await database.executemany(*statement)


def _in_the_thread(database: sqlite3.Connection, text: str, values: Sequence[Any], follow: Follow) -> None:
    # What another write could not undo, as when the disk failed it, would else keep every later one from beginning.
    database.rollback()
    database.execute("BEGIN")
    try:
        row = database.execute(_marked(text), values).fetchone()
        for statement in follow(row):
            database.executemany(_marked(statement.text), statement.rows)
        database.execute("COMMIT")
    except BaseException:  # whatever ended it, the end of the program too: nothing of it stays begun
        database.rollback()
        raise


def _marked(text: str) -> str:
    """SQLite numbers its marks with a question mark."""
    return NUMBERED.sub(r"?\1", text)
