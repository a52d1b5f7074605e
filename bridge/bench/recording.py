"""Storing events as the bridge does, with everything that hangs on it, against a bare insert of the same rows."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

from bridge.bench import long_chat
from bridge.bench.measure import Row, in_turns
from bridge.bench.size import Say, Size
from bridge.database import SQLITE_SETTINGS
from bridge.receive import as_event
from bridge.store import NewEvent, Store

NAME = "record"
TIMES = 2
BATCH = 100
"""Events in a transaction, as many as Synapse puts into one."""

COLUMNS = "event_id, room_id, sender, type, state_key, origin_server_ts, redacts, json"


def measure(size: Size, say: Say) -> Iterator[Row]:
    """The row."""
    say(f"{NAME}: storing {size.stored:,} events")
    events = [event for event in map(as_event, long_chat.events(size.stored)) if event is not None]
    with tempfile.TemporaryDirectory(prefix="qwil-bench-") as name:
        numbers = count()
        turns = in_turns(
            lambda: asyncio.run(_ours(Path(name, f"ours-{next(numbers)}.db"), events)),
            lambda: _bare(Path(name, f"bare-{next(numbers)}.db"), events),
            size.rounds,
        )
    each = [min(side) / len(events) * 1e6 for side in (turns.ours, turns.theirs)]
    detail = f"{each[0]:.0f} against {each[1]:.0f} microseconds an event"
    what = f"storing events, {BATCH} at a time: time against a bare batched insert into the same table"
    yield Row(NAME, what, turns.ratios, TIMES, detail=detail)


async def _ours(path: Path, events: list[NewEvent]) -> None:
    store = await Store.open(f"sqlite:{path}")
    try:
        for start in range(0, len(events), BATCH):
            await store.receive(str(start), events[start : start + BATCH], received=1.0)
    finally:
        await store.close()


def _bare(path: Path, events: list[NewEvent]) -> None:
    """The same driver's own batched insert, as durable, into a table with the same two indices."""
    with closing(sqlite3.connect(path)) as database:
        for setting in SQLITE_SETTINGS:
            database.execute(setting)
        database.execute(
            "CREATE TABLE events (arrival INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE,"
            " room_id TEXT, sender TEXT, type TEXT, state_key TEXT, origin_server_ts BIGINT, redacts TEXT, json TEXT)"
        )
        database.execute("CREATE INDEX events_of_a_room ON events (room_id, arrival)")
        for start in range(0, len(events), BATCH):
            database.executemany(
                f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own column names
                events[start : start + BATCH],
            )
            database.commit()
