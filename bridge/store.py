"""The record: every event as it was received, what has yet to be handled, and the state of rooms.

Nothing here decides or knows Matrix beyond the shape of an event.
"""

from __future__ import annotations

import asyncio
import json
from array import array
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, NewType

from mautrix.util.async_db import Database

from bridge.at_once import Statement, write_at_once
from bridge.ledger import Ledger, storable
from bridge.search_words import SEARCHED, Phrase, postgres_query, postgres_vector, sqlite_query, words_of
from policy.model import Moment, UserId

EventId = NewType("EventId", str)
RoomId = NewType("RoomId", str)
Arrival = NewType("Arrival", int)
"""The place of an event in the order of arrival."""

MOST_VALUES = 500
"""So many values go into one statement; SQLite takes 999 at the least."""


@dataclass(frozen=True)
class StoredEvent:
    """An event as the homeserver first sent it."""

    arrival: Arrival
    event_id: EventId
    room_id: RoomId
    sender: UserId
    type: str
    state_key: str | None
    origin_server_ts: int
    """Milliseconds since the epoch, as the sender's homeserver says."""
    received: Moment
    redacts: EventId | None
    json: str
    """The whole event, nothing left out."""

    @cached_property
    def whole(self) -> dict[str, Any]:
        """The whole event, read from its JSON."""
        whole: dict[str, Any] = json.loads(self.json)
        return whole

    @property
    def content(self) -> dict[str, Any]:
        """Its content; empty where it had none that is an object."""
        content = self.whole.get("content")
        return content if isinstance(content, dict) else {}


class NewEvent(NamedTuple):
    """An event that has just arrived; columns as in the table `events`."""

    event_id: str
    room_id: str
    sender: str
    type: str
    state_key: str | None
    origin_server_ts: int
    redacts: str | None
    json: str


class Waiting(NamedTuple):
    """An event that has yet to be handled, and how often that failed."""

    event: StoredEvent
    attempts: int


class SetAside(NamedTuple):
    """An event that could not be handled and is waited for no longer."""

    event: StoredEvent
    since: Moment
    error: str


EVENT = (
    "events.arrival, events.event_id, events.room_id, events.sender, events.type, events.state_key,"
    " events.origin_server_ts, events.received, events.redacts, events.json"
)
INSERT_TRANSACTION = """
    INSERT INTO transactions (id, received, oddments) VALUES ($1, $2, $3)
    RETURNING number, (SELECT COALESCE(MAX(arrival), 0) FROM events)"""
INSERT_EVENT = """
    INSERT INTO events (event_id, room_id, sender, type, state_key, origin_server_ts, redacts, json,
                        received, transaction_no)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (event_id) DO NOTHING"""
LET_STATE_FOLLOW = """
    INSERT INTO room_state (room_id, type, state_key, arrival)
    SELECT room_id, type, state_key, arrival FROM events WHERE event_id = $1 AND arrival > $2
    ON CONFLICT (room_id, type, state_key) DO UPDATE SET arrival = excluded.arrival"""

NOTE_NEW = (
    """
    INSERT INTO waiting (arrival, room_id)
    SELECT arrival, room_id FROM events WHERE arrival > $1 AND transaction_no = $2""",
    f"""
    INSERT INTO unread_words (arrival) SELECT arrival FROM events
    WHERE arrival > $1 AND transaction_no = $2 AND type IN ({", ".join(map(repr, SEARCHED))})""",  # noqa: S608 - our own types
)
"""What a transaction brought waits to be handled, and its words to be made searchable."""

STATE_SINCE = """
    SELECT events.type, events.state_key, events.arrival, events.origin_server_ts FROM room_state
    JOIN events ON events.arrival = room_state.arrival WHERE room_state.room_id = $1 AND room_state.arrival > $2"""
NEW_SINCE = "SELECT event_id, arrival FROM events WHERE room_id = $1 AND arrival > $2"


KEEP_WORDS = {
    "sqlite": "INSERT INTO event_words (rowid, words) SELECT arrival, $2 FROM unread_words WHERE arrival = $1",
    "postgres": (
        "INSERT INTO event_words (arrival, words) SELECT arrival, CAST(CAST($2 AS TEXT) AS TSVECTOR)"
        " FROM unread_words WHERE arrival = $1 ON CONFLICT (arrival) DO NOTHING"
    ),
}
SQLITE_MATCHES = "event_words MATCH $2"
POSTGRES_MATCHES = "event_words.words @@ CAST(CAST($2 AS TEXT) AS TSQUERY)"
SEARCH = {
    # A cross join keeps its order: the words first, in which SQLite walks backwards by itself.
    "sqlite": (
        "event_words CROSS JOIN events ON events.arrival = event_words.rowid", "event_words.rowid", SQLITE_MATCHES,
    ),
    "postgres": (
        "event_words JOIN events ON events.arrival = event_words.arrival", "event_words.arrival", POSTGRES_MATCHES,
    ),
}  # fmt: skip
"""What is searched: the tables, the place in the order of arrival, and the condition."""
LAST_ARRIVAL = 2**62


class Store(Ledger):
    """The record, open, with its ledger. Every method raises `StoreUnavailable` while the database is away."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._arriving = asyncio.Lock()

    async def receive(
        self, transaction: str, events: Sequence[NewEvent], *, received: Moment, oddments: str | None = None
    ) -> None:
        """Store a transaction with its new events and let those wait to be handled, all or nothing.

        Events are known by their id and left as they are. The transaction's id says nothing: Synapse on SQLite begins
        again at 1 after a restart, and what came under a number once seen would be lost. `oddments` keeps what in it
        could be no event.
        """
        await self._write(self._in_turn(self._receive(transaction, events, received, oddments)))

    async def _receive(
        self, transaction: str, events: Sequence[NewEvent], received: Moment, oddments: str | None
    ) -> None:
        def follow(row: Sequence[Any]) -> Iterator[Statement]:
            number, newest = row
            yield Statement(INSERT_EVENT, [(*event, received, number) for event in events])
            # An event that was there before keeps its place: sent again, it must not set the state of a room back.
            states = [(event.event_id, newest) for event in events if event.state_key is not None]
            if states:
                yield Statement(LET_STATE_FOLLOW, states)
            for note in NOTE_NEW:
                yield Statement(note, [(newest, number)])

        # Writing first takes SQLite's write lock before anything was read.
        async with self._connection() as connection:
            await write_at_once(connection, INSERT_TRANSACTION, (transaction, received, oddments), follow)

    async def last_arrival(self) -> Arrival:
        """The place of the latest event on record; 0 where there is none."""
        return Arrival(await self._value("SELECT COALESCE(MAX(arrival), 0) FROM events"))

    async def fill(
        self, room: str, missing: Sequence[NewEvent], state: Sequence[NewEvent], *, asked: Arrival, received: Moment
    ) -> None:
        """Put events on record that never came, to be handled like others, and take the state from `state`.

        The place of a late event in the order of arrival says nothing about the state of its room. Only what came since
        the `last_arrival` from before `state` was asked for may be newer than it.
        """
        await self._write(self._in_turn(self._fill(room, missing, state, asked, received)))

    async def _fill(
        self, room: str, missing: Sequence[NewEvent], state: Sequence[NewEvent], asked: Arrival, received: Moment
    ) -> None:
        async with self._transaction() as database:
            number, newest = await database.fetchrow(INSERT_TRANSACTION, "", received, None)
            newer = {
                (kind, key): (arrival, sent)
                for kind, key, arrival, sent in map(tuple, await database.fetch(STATE_SINCE, room, asked))
            }
            events = {event.event_id: event for event in (*missing, *state)}
            await database.executemany(INSERT_EVENT, [(*event, received, number) for event in events.values()])
            known = dict(map(tuple, await database.fetch(NEW_SINCE, room, asked)))
            outdated = [event for event in state if _outdated(event, newer, known, newest)]
            await database.execute("DELETE FROM room_state WHERE room_id = $1 AND arrival <= $2", room, asked)
            await database.executemany(
                "INSERT INTO room_state (room_id, type, state_key, arrival)"
                " SELECT room_id, type, state_key, arrival FROM events WHERE event_id = $1 AND room_id = $2"
                " ON CONFLICT (room_id, type, state_key) DO UPDATE SET arrival = excluded.arrival",
                [(event.event_id, room) for event in state if event not in outdated],
            )
            for note in NOTE_NEW:
                await database.execute(note, newest, number)

    async def unknown(self, events: Sequence[str]) -> set[str]:
        """Those of the event ids that are not on record."""
        known = set()
        for start in range(0, len(events), MOST_VALUES):
            part = events[start : start + MOST_VALUES]
            marks = ", ".join(f"${number}" for number in range(1, len(part) + 1))
            rows = await self._fetch(f"SELECT event_id FROM events WHERE event_id IN ({marks})", *part)  # noqa: S608 - numbered marks
            known |= {row[0] for row in rows}
        return set(events) - known

    async def waiting(self, now: Moment, limit: int = 100) -> list[Waiting]:
        """Events to handle now, in the order of arrival; a room whose event failed waits as a whole."""
        rows = await self._fetch(
            f"SELECT {EVENT}, waiting.attempts FROM waiting JOIN events ON events.arrival = waiting.arrival"  # noqa: S608 - our own column names
            " WHERE waiting.room_id NOT IN (SELECT room_id FROM waiting WHERE not_before > $1)"
            " ORDER BY waiting.arrival LIMIT $2",
            now, limit,
        )  # fmt: skip
        return [Waiting(StoredEvent(*row[:-1]), row[-1]) for row in map(tuple, rows)]

    async def next_attempt(self, now: Moment) -> Moment | None:
        """When the first of the rooms that wait after a failure may go on."""
        earliest: Moment | None = await self._value("SELECT MIN(not_before) FROM waiting WHERE not_before > $1", now)
        return earliest

    async def mark_handled(self, event: StoredEvent) -> None:
        """The event never waits again."""
        await self._execute("DELETE FROM waiting WHERE arrival = $1", event.arrival)

    async def try_again(self, event: StoredEvent, *, at: Moment, error: str) -> None:
        """Handling failed: it is tried once more, not before `at`, and its room's later events wait for it."""
        await self._execute(
            "UPDATE waiting SET attempts = attempts + 1, not_before = $2, error = $3 WHERE arrival = $1",
            event.arrival, at, storable(error),
        )  # fmt: skip

    async def set_aside(self, event: StoredEvent, *, since: Moment, error: str) -> None:
        """Handling failed for good: the event stays on record and in `set_asides`, and its room goes on."""

        async def move() -> None:
            async with self._transaction() as database:
                await database.execute("DELETE FROM waiting WHERE arrival = $1", event.arrival)
                await database.execute(
                    "INSERT INTO set_aside (arrival, since, error) VALUES ($1, $2, $3)"
                    " ON CONFLICT (arrival) DO UPDATE SET since = excluded.since, error = excluded.error",
                    event.arrival, since, storable(error),
                )  # fmt: skip

        await self._write(move())

    async def take_up_again(self) -> int:
        """Let everything that was set aside wait to be handled once more; how many events it were."""

        async def move() -> int:
            async with self._transaction() as database:
                rows = await database.fetch(
                    "INSERT INTO waiting (arrival, room_id) SELECT events.arrival, events.room_id FROM set_aside"
                    " JOIN events ON events.arrival = set_aside.arrival RETURNING arrival"
                )
                await database.execute("DELETE FROM set_aside")
                return len(rows)

        return await self._write(move())

    async def set_asides(self) -> list[SetAside]:
        """Every event that was set aside, in the order of arrival."""
        rows = await self._fetch(
            f"SELECT {EVENT}, set_aside.since, set_aside.error FROM set_aside"  # noqa: S608 - our own column names
            " JOIN events ON events.arrival = set_aside.arrival ORDER BY events.arrival"
        )
        return [SetAside(StoredEvent(*row[:-2]), *row[-2:]) for row in map(tuple, rows)]

    async def event(self, event_id: str) -> StoredEvent | None:
        """The event of that id as it was first received."""
        return _one(await self._fetch(f"SELECT {EVENT} FROM events WHERE event_id = $1", event_id))  # noqa: S608 - our own column names

    async def last_event(self, room: str, *, received: Moment) -> StoredEvent | None:
        """The room's latest event, by arrival, that was received by that moment."""
        rows = await self._fetch(
            f"SELECT {EVENT} FROM events WHERE room_id = $1 AND received <= $2 ORDER BY arrival DESC LIMIT 1",  # noqa: S608 - our own column names
            room, received,
        )  # fmt: skip
        return _one(rows)

    async def events(self, room: str, *, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """The events of a room in the order of arrival, a page at a time: `after` is the last arrival seen."""
        rows = await self._fetch(
            f"SELECT {EVENT} FROM events WHERE room_id = $1 AND arrival > $2 ORDER BY arrival LIMIT $3",  # noqa: S608 - our own column names
            room, after, limit,
        )  # fmt: skip
        return _events(rows)

    async def history(self, room: str) -> AsyncIterator[StoredEvent]:
        """Every event of a room, in the order of arrival; those that came late stand where their time says."""
        order = await self._history_order(room)
        for start in range(0, len(order), MOST_VALUES):
            part = order[start : start + MOST_VALUES]
            marks = ", ".join(f"${number}" for number in range(1, len(part) + 1))
            rows = await self._fetch(f"SELECT {EVENT} FROM events WHERE arrival IN ({marks})", *part)  # noqa: S608 - our own column names and numbered marks
            found = {event.arrival: event for event in _events(rows)}
            for arrival in part:
                yield found[Arrival(arrival)]

    async def _history_order(self, room: str) -> array[int]:
        """The arrivals of a room's events in that order, eight bytes each."""
        prompt, late = array("q"), list[tuple[int, int]]()
        times = array("q")
        after = 0
        while rows := await self._fetch(
            "SELECT events.arrival, events.origin_server_ts, transactions.id = '' FROM events"
            " LEFT JOIN transactions ON transactions.number = events.transaction_no"
            " WHERE events.room_id = $1 AND events.arrival > $2 ORDER BY events.arrival LIMIT 10000",
            room, after,
        ):  # fmt: skip
            for arrival, time, was_late in map(tuple, rows):
                after = arrival
                if was_late:
                    late.append((time, arrival))
                else:
                    prompt.append(arrival)
                    times.append(time)
        return _merged(prompt, times, sorted(late))

    async def read_words(self, limit: int = 500) -> int:
        """Make events searchable that are not yet, at most so many; how many it were."""
        rows = await self._fetch(
            "SELECT events.arrival, events.json FROM unread_words"
            " JOIN events ON events.arrival = unread_words.arrival ORDER BY events.arrival LIMIT $1",
            limit,
        )
        if rows:
            await self._write(self._keep_words([(arrival, _words(text)) for arrival, text in map(tuple, rows)]))
        return len(rows)

    async def _keep_words(self, found: Sequence[tuple[int, list[str]]]) -> None:
        """Two who read at the same time keep an event's words once: its row among the unread ones is what counts."""
        on_sqlite = self._database.scheme.value == "sqlite"
        written = " ".join if on_sqlite else postgres_vector
        async with self._transaction() as database:
            await database.executemany(
                KEEP_WORDS[self._database.scheme.value], [(arrival, written(words)) for arrival, words in found]
            )
            await database.executemany("DELETE FROM unread_words WHERE arrival = $1", [(each[0],) for each in found])

    async def search(
        self,
        wanted: list[Phrase],
        *,
        senders: Sequence[str] = (),
        since: int | None = None,
        until: int | None = None,
        before: int | None = None,
        limit: int = 200,
    ) -> list[StoredEvent]:
        """Events that hold all the phrases, the latest first, a page at a time: `before` is the last arrival seen.

        `since` and `until` are milliseconds, the second not included. Only what `read_words` has read is found.
        """
        values: list[Any] = [before if before is not None else LAST_ARRIVAL]
        source, arrival = "events", "events.arrival"
        conditions: list[str] = []
        if wanted:
            source, arrival, matches = SEARCH[self._database.scheme.value]
            values.append((sqlite_query if matches is SQLITE_MATCHES else postgres_query)(wanted))
            conditions.append(matches)
        else:
            conditions.append(f"events.type IN ({', '.join(repr(kind) for kind in SEARCHED)})")
        for condition, value in (("events.origin_server_ts >= ", since), ("events.origin_server_ts < ", until)):
            if value is not None:
                values.append(value)
                conditions.append(f"{condition}${len(values)}")
        if senders:
            marks = ", ".join(f"${len(values) + place}" for place in range(1, len(senders) + 1))
            values.extend(senders)
            conditions.append(f"events.sender IN ({marks})")
        rows = await self._fetch(
            f"SELECT {EVENT} FROM {source} WHERE {arrival} < $1 AND {' AND '.join(conditions)}"  # noqa: S608 - our own names and numbered marks
            f" ORDER BY {arrival} DESC LIMIT {limit:d}",
            *values,
        )
        return _events(rows)

    async def events_of_type(self, room: str, kind: str) -> list[StoredEvent]:
        """The events of one type in a room, in the order of arrival."""
        rows = await self._fetch(
            f"SELECT {EVENT} FROM events WHERE room_id = $1 AND type = $2 ORDER BY arrival",  # noqa: S608 - our own column names
            room, kind,
        )  # fmt: skip
        return _events(rows)

    async def state(self, room: str, kind: str, state_key: str = "") -> StoredEvent | None:
        """The room's latest state event of this type and key, by arrival."""
        rows = await self._fetch(
            f"SELECT {EVENT} FROM room_state JOIN events ON events.arrival = room_state.arrival"  # noqa: S608 - our own column names
            " WHERE room_state.room_id = $1 AND room_state.type = $2 AND room_state.state_key = $3",
            room, kind, state_key,
        )  # fmt: skip
        return _one(rows)

    async def states(self, room: str, kind: str) -> dict[str, StoredEvent]:
        """The room's latest state events of one type, by state key: its members, for instance."""
        rows = await self._fetch(
            f"SELECT {EVENT} FROM room_state JOIN events ON events.arrival = room_state.arrival"  # noqa: S608 - our own column names
            " WHERE room_state.room_id = $1 AND room_state.type = $2 ORDER BY events.arrival",
            room, kind,
        )  # fmt: skip
        return {event.state_key or "": event for event in _events(rows)}

    async def whole_state(self, room: str) -> list[StoredEvent]:
        """Every latest state event of the room, in the order of arrival."""
        rows = await self._fetch(
            f"SELECT {EVENT} FROM room_state JOIN events ON events.arrival = room_state.arrival"  # noqa: S608 - our own column names
            " WHERE room_state.room_id = $1 ORDER BY events.arrival",
            room,
        )
        return _events(rows)

    async def rooms_with(self, kind: str, state_key: str = "") -> dict[RoomId, StoredEvent]:
        """Every room that has such a state event, with the latest one: all chats, or all rooms of one member."""
        rows = await self._fetch(
            f"SELECT {EVENT} FROM room_state JOIN events ON events.arrival = room_state.arrival"  # noqa: S608 - our own column names
            " WHERE room_state.type = $1 AND room_state.state_key = $2 ORDER BY events.arrival",
            kind, state_key,
        )  # fmt: skip
        return {event.room_id: event for event in _events(rows)}

    async def _in_turn(self, work: Coroutine[Any, Any, None]) -> None:
        """What sets the state of rooms goes one after the other: PostgreSQL would let two of them mix."""
        async with self._arriving:
            await work


def _outdated(
    event: NewEvent,
    newer: Mapping[tuple[str, str], tuple[int, int]],
    known: Mapping[str, int],
    newest: int,
) -> bool:
    """Has another event for the same key come while the homeserver was asked for the state in which this one stands?

    `newer` has place and time of those that came meanwhile, `known` the places of all events since. What was on record
    goes by its place, what never came by the sender's clock.
    """
    came = newer.get((event.type, event.state_key or ""))
    if came is None:
        return False
    arrival, sent = came
    own = known.get(event.event_id, 0)
    return own < arrival if own <= newest else event.origin_server_ts <= sent


def _merged(prompt: array[int], times: array[int], late: Sequence[tuple[int, int]]) -> array[int]:
    """Late ones go before the first of the others that is younger."""
    merged, place = array("q"), 0
    for arrival, time in zip(prompt, times, strict=True):
        while place < len(late) and late[place][0] < time:
            merged.append(late[place][1])
            place += 1
        merged.append(arrival)
    merged.extend(arrival for _, arrival in late[place:])
    return merged


def _words(text: str) -> list[str]:
    """The words of a stored event; one that cannot be read has none."""
    try:
        content = json.loads(text).get("content")
    except (ValueError, RecursionError, AttributeError):
        return []
    return words_of(content) if isinstance(content, dict) else []


def _events(rows: Iterable[Any]) -> list[StoredEvent]:
    return [StoredEvent(*row) for row in rows]


def _one(rows: Sequence[Any]) -> StoredEvent | None:
    return StoredEvent(*rows[0]) if rows else None
