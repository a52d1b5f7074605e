"""Statements that follow from the answer of a first one: all of them or none."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from bridge.at_once import Follow, Statement, write_at_once
from bridge.database import StoreUnavailable
from bridge.store import Store

REMEMBER = "INSERT INTO remembered (key, value) VALUES ($1, $2)"


async def remember(store: Store, follow: Follow) -> None:
    async with store._connection() as connection:
        await write_at_once(connection, f"{REMEMBER} RETURNING key, value", ("first", '"one"'), follow)


async def test_what_follows_is_made_of_the_first_answer_and_one_statement_may_have_many_rows(store: Store) -> None:
    await remember(store, lambda row: [Statement(REMEMBER, [("second", row[1]), ("third", row[1])])])

    assert await store.recall_all("") == {"first": "one", "second": "one", "third": "one"}


async def test_each_statement_is_asked_for_when_the_one_before_it_is_done(store: Store) -> None:
    asked = []

    def follow(row: Sequence[Any]) -> Iterator[Statement]:
        for name in ("second", "third"):
            yield Statement(REMEMBER, [(name, '""')])
            asked.append(name)

    await remember(store, follow)

    assert asked == ["second", "third"]


@pytest.mark.parametrize(
    "broken",
    [Statement(REMEMBER, [("second", '""'), ("first", '""')]), Statement("INSERT INTO nowhere VALUES ($1)", [(1,)])],
    ids=["a row that may not be", "a table that is not there"],
)
async def test_where_one_fails_none_was_done_and_the_next_write_goes_on(store: Store, broken: Statement) -> None:
    with pytest.raises(Exception, match=r"(?i)unique|nowhere"):
        await remember(store, lambda _: [broken])

    assert await store.recall_all("") == {}
    await remember(store, lambda _: [])
    assert await store.recall("first") == "one"


async def test_what_goes_wrong_while_it_is_made_undoes_it_too(store: Store) -> None:
    def follow(row: Sequence[Any]) -> Iterator[Statement]:
        yield Statement(REMEMBER, [("second", '""')])
        raise KeyError("third")

    with pytest.raises(KeyError, match="third"):
        await remember(store, follow)

    assert await store.recall_all("") == {}
    await remember(store, lambda _: [])


async def test_what_another_write_left_open_is_undone_and_nothing_of_it_stays(store: Store) -> None:
    # As a transaction that could not be rolled back leaves the one connection there is.
    async with store._connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute(REMEMBER, "left", '"open"')

    await remember(store, lambda _: [])

    assert await store.recall_all("") == {"first": "one"}


async def test_a_write_that_is_cancelled_is_whole_or_was_not_done(store: Store) -> None:
    begun = threading.Event()
    go_on = threading.Event()

    def follow(row: Sequence[Any]) -> Iterator[Statement]:
        begun.set()
        # PostgreSQL's driver asks for what follows in the loop, where nothing may wait.
        if isinstance(row, sqlite3.Row):
            go_on.wait()
        yield Statement(REMEMBER, [("second", '"two"')])

    write = asyncio.create_task(remember(store, follow))
    await asyncio.to_thread(begun.wait)
    write.cancel()
    go_on.set()
    with suppress(asyncio.CancelledError):
        await write

    await store.remember("after", 3)
    kept = await store.recall_all("")
    assert kept in ({"after": 3}, {"first": "one", "second": "two", "after": 3})


async def test_a_disk_that_is_full_keeps_nothing_of_it_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:{tmp_path}/qwil.db")
    large = [(f"large {number}", json.dumps("x" * 4000)) for number in range(50)]
    pages = await store._value("PRAGMA page_count")
    await store._value(f"PRAGMA max_page_count = {pages + 5}")

    with pytest.raises(StoreUnavailable, match=r"^The database cannot be used just now: .*full"):
        await remember(store, lambda _: [Statement(REMEMBER, large)])

    assert await store.recall_all("") == {}
    await store._value(f"PRAGMA max_page_count = {pages + 500}")
    await remember(store, lambda _: [Statement(REMEMBER, large)])
    assert len(await store.recall_all("")) == 51
    await store.close()


async def test_while_another_process_writes_it_is_away_and_done_after_it(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:{tmp_path}/qwil.db")
    await store._value("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(tmp_path / "qwil.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await remember(store, lambda _: [])
        other.execute("COMMIT")

    await remember(store, lambda _: [])
    assert await store.recall_all("") == {"first": "one"}
    await store.close()


async def test_a_commit_that_fails_leaves_the_connection_to_the_next_write(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:{tmp_path}/qwil.db")
    async with store._connection() as connection:
        await connection.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        await connection.execute(
            "CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)"
        )

    # Deferred, it is COMMIT that fails, and SQLite leaves the transaction open.
    with pytest.raises(sqlite3.IntegrityError):
        await remember(store, lambda _: [Statement("INSERT INTO child VALUES ($1)", [(1,)])])

    assert await store.recall_all("") == {}
    await remember(store, lambda _: [])
    await store.close()
