"""The record: whole or not at all, nothing twice, on SQLite and PostgreSQL alike."""

import asyncio
import json
import sqlite3
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from yarl import URL

from bridge.database import StoreRefused, StoreUnavailable
from bridge.ledger import broken_link, storable
from bridge.store import NewEvent, Store, StoredEvent
from tests.conftest import StartPostgres

ROOM = "!chat:school.example"


def event(
    name: str, *, room: str = ROOM, kind: str = "m.room.message", key: str | None = None, **whole: Any
) -> NewEvent:
    whole = {"event_id": name, "content": {}} | whole
    return NewEvent(name, room, "@a:school.example", kind, key, 1, None, json.dumps(whole))


def member(name: str, who: str, membership: str) -> NewEvent:
    return event(name, kind="m.room.member", key=who, content={"membership": membership})


def ids(events: list[StoredEvent]) -> list[str]:
    return [each.event_id for each in events]


def own_threads() -> set[threading.Thread]:
    """The threads there are, without those of the event loop's pool, which it makes when it likes."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


async def gone(threads: set[threading.Thread]) -> None:
    """Wait until no thread is left but those of before; one that was told to end takes a moment."""
    async with asyncio.timeout(60):
        while not own_threads() <= threads:  # noqa: ASYNC110 - threads tell nobody
            await asyncio.sleep(0.02)


async def waiting(store: Store, now: float = 0) -> list[str]:
    return [each.event.event_id for each in await store.waiting(now)]


async def test_a_transaction_is_stored_with_its_events_in_order(store: Store) -> None:
    await store.receive("t1", [event("$1"), event("$2")], received=5.0)
    await store.receive("t2", [event("$3")], received=6.0)

    stored = await store.events(ROOM)
    assert ids(stored) == ["$1", "$2", "$3"]
    assert [each.received for each in stored] == [5.0, 5.0, 6.0]
    assert await waiting(store) == ["$1", "$2", "$3"]
    assert await store.event("$2") == stored[1]
    assert await store.event("$9") is None


async def test_a_transaction_sent_again_changes_nothing(store: Store) -> None:
    await store.receive("t1", [event("$1")], received=5.0)

    await store.receive("t1", [event("$1")], received=6.0)

    assert await waiting(store) == ["$1"]
    assert [each.received for each in await store.events(ROOM)] == [5.0]


async def test_new_events_under_the_number_of_an_earlier_transaction_are_kept(store: Store) -> None:
    """Synapse on SQLite counts its transactions from 1 again after a restart."""
    await store.receive("1", [event("$1")], received=5.0)

    await store.receive("1", [event("$2")], received=6.0)

    assert await waiting(store) == ["$1", "$2"]


async def test_an_event_keeps_its_first_form_and_is_not_handled_again_when_it_comes_in_another_transaction(
    store: Store,
) -> None:
    await store.receive("t1", [event("$1", content={"body": "hello"})], received=5.0)
    (first,) = await store.waiting(0)
    await store.mark_handled(first.event)

    await store.receive("t2", [event("$1", content={}), event("$2"), event("$2")], received=6.0)

    assert await store.event("$1") == first.event
    assert first.event.content == {"body": "hello"}
    assert await waiting(store) == ["$2"]


async def test_a_transaction_that_cannot_be_stored_whole_is_not_stored_at_all(store: Store) -> None:
    too_large = event("$2")._replace(origin_server_ts=2**80)
    with pytest.raises((OverflowError, asyncpg.DataError)):
        await store.receive("t1", [event("$1"), too_large], received=5.0)

    assert await store.events(ROOM) == []
    await store.receive("t1", [event("$1")], received=5.0)


@pytest.mark.parametrize("steps", [0, 1, 2, 4, 8, 16])
async def test_whoever_stops_waiting_for_a_write_leaves_the_record_whole(store: Store, steps: int) -> None:
    writing = asyncio.ensure_future(store.receive("t1", [event("$1"), event("$2")], received=5.0))
    for _ in range(steps):
        await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait([writing])

    await store.receive("t2", [event("$3")], received=6.0)
    assert set(await waiting(store)) in ({"$3"}, {"$1", "$2", "$3"})
    await store.receive("t1", [event("$1"), event("$2")], received=7.0)
    assert set(await waiting(store)) == {"$1", "$2", "$3"}


async def test_what_was_stored_is_there_when_the_record_is_opened_again(store: Store, database: str) -> None:
    await store.receive("t1", [event("$1")], received=5.0)
    await store.close()

    again = await Store.open(database)
    assert await waiting(again) == ["$1"]
    await again.close()


async def test_the_state_of_a_room_is_what_arrived_last(store: Store) -> None:
    await store.receive("t1", [member("$1", "@p:x", "invite"), member("$2", "@p:x", "join")], received=1.0)
    await store.receive("t2", [member("$3", "@q:x", "invite"), event("$4")], received=2.0)
    await store.receive("t3", [event("$5", kind="org.qwil.chat", key="")], received=2.0)

    members = await store.states(ROOM, "m.room.member")
    assert {who: each.content["membership"] for who, each in members.items()} == {"@p:x": "join", "@q:x": "invite"}
    chat = await store.state(ROOM, "org.qwil.chat")
    assert chat is not None
    assert await store.state(ROOM, "org.qwil.chat", "other") is None
    assert await store.rooms_with("org.qwil.chat") == {ROOM: chat}


async def test_whoever_left_while_the_state_was_asked_for_has_left(store: Store) -> None:
    joined, left = member("$1", "@p:x", "join"), member("$2", "@p:x", "leave")
    await store.receive("1", [joined], received=1.0)
    asked = await store.last_arrival()
    await store.receive("2", [left], received=2.0)

    await store.fill(ROOM, [event("$0")], [joined], asked=asked, received=3.0)

    now = await store.state(ROOM, "m.room.member", "@p:x")
    assert now is not None
    assert now.event_id == "$2"


async def test_the_state_asked_for_goes_before_what_came_before_it_whatever_order_the_record_has(store: Store) -> None:
    joined, left = member("$1", "@p:x", "join"), member("$2", "@p:x", "leave")
    await store.receive("1", [left, joined], received=1.0)

    await store.fill(ROOM, [], [left], asked=await store.last_arrival(), received=3.0)

    now = await store.state(ROOM, "m.room.member", "@p:x")
    assert now is not None
    assert now.event_id == "$2"


@pytest.mark.parametrize(("late", "stands"), [(500, "$came"), (1500, "$late")])
async def test_what_never_came_and_what_came_meanwhile_go_by_the_senders_clock(
    store: Store, late: int, stands: str
) -> None:
    asked = await store.last_arrival()
    came = member("$came", "@p:x", "join")._replace(origin_server_ts=1000)
    await store.receive("1", [came], received=1.0)
    never = member("$late", "@p:x", "leave")._replace(origin_server_ts=late)

    await store.fill(ROOM, [], [never], asked=asked, received=3.0)

    now = await store.state(ROOM, "m.room.member", "@p:x")
    assert now is not None
    assert now.event_id == stands
    assert await waiting(store) == ["$came", "$late"]


async def test_an_old_event_sent_again_does_not_set_the_state_back(store: Store) -> None:
    await store.receive("t1", [member("$1", "@p:x", "invite")], received=1.0)
    await store.receive("t2", [member("$2", "@p:x", "join")], received=2.0)

    await store.receive("t3", [member("$1", "@p:x", "invite")], received=3.0)

    now = await store.state(ROOM, "m.room.member", "@p:x")
    assert now is not None
    assert now.event_id == "$2"


@pytest.mark.parametrize("text", ["\0", "\ud800", "é 漢 😀 \u202e", "x" * 65_000, "\"\\'$1;--"])
async def test_every_text_a_client_can_send_is_kept_as_it_was(store: Store, text: str) -> None:
    content = {"body": text, text: [text]}
    await store.receive("t1", [event("$1", kind=storable(text[:200]), content=content)], received=1.0)

    stored = await store.event("$1")
    assert stored is not None
    assert stored.content == content


async def test_an_event_whose_content_is_no_object_has_an_empty_one(store: Store) -> None:
    await store.receive("t1", [event("$1", content="text")], received=1.0)

    stored = await store.event("$1")
    assert stored is not None
    assert (stored.content, stored.whole["content"]) == ({}, "text")


async def test_a_long_room_is_read_a_page_at_a_time(store: Store) -> None:
    await store.receive("t1", [event(f"${number}") for number in range(25)], received=1.0)
    await store.receive("t2", [event("$other", room="!b:x")], received=1.0)

    seen, after = [], 0
    while page := await store.events(ROOM, after=after, limit=10):
        seen += ids(page)
        after = page[-1].arrival
    assert seen == [f"${number}" for number in range(25)]


async def test_a_room_whose_event_failed_waits_while_the_others_go_on(store: Store) -> None:
    await store.receive("t1", [event("$1"), event("$2"), event("$3", room="!b:x")], received=1.0)
    failed = (await store.waiting(0))[0].event

    await store.try_again(failed, at=100.0, error="ValueError('no')")

    assert await waiting(store, now=99.0) == ["$3"]
    assert await store.next_attempt(99.0) == 100.0
    assert await waiting(store, now=100.0) == ["$1", "$2", "$3"]
    assert [each.attempts for each in await store.waiting(100.0)] == [1, 0, 0]


async def test_an_event_set_aside_is_on_record_and_no_longer_waited_for(store: Store) -> None:
    await store.receive("t1", [event("$1"), event("$2")], received=1.0)
    failed = (await store.waiting(0))[0].event

    await store.set_aside(failed, since=7.0, error="ValueError('\0')")
    await store.set_aside(failed, since=8.0, error="again, after a crash in between")

    assert await waiting(store) == ["$2"]
    assert await store.set_asides() == [(failed, 8.0, "again, after a crash in between")]
    assert await store.event("$1") == failed


async def test_a_job_is_due_until_it_is_done_and_never_made_twice(store: Store) -> None:
    assert await store.add_job("notice", "$1", {"to": "é"}, due=10.0)
    assert not await store.add_job("notice", "$1", {"to": "other"}, due=5.0)
    assert await store.add_job("notice", "$2", due=5.0)

    assert await store.due_jobs(4.0) == []
    assert [(job.key, job.payload) for job in await store.due_jobs(10.0)] == [("$2", None), ("$1", {"to": "é"})]

    second, first = await store.due_jobs(10.0)
    await store.postpone_job(second, due=50.0, error="away")
    await store.finish_job(first, done=11.0)

    assert await store.next_job() == 50.0
    assert [(job.attempts, job.last_error) for job in await store.due_jobs(50.0)] == [(1, "away")]
    assert not await store.add_job("notice", "$1", due=12.0)
    assert await store.add_job("badge", "$1", due=12.0)


async def test_the_audit_is_a_chain_that_shows_every_change(store: Store) -> None:
    for number in range(4):
        await store.audit("@head:x", "book add", {"book": "year-1", "é": number}, time=1.5 + number)

    entries = await store.audit_entries()
    number, digest = await store.audit_head()
    assert (broken_link(entries), number, digest) == (None, 4, entries[-1].hash)
    assert json.loads(entries[0].details) == {"book": "year-1", "é": 0}
    assert await store.audit_entries(after=2, limit=1) == entries[2:3]
    assert broken_link(entries[2:], after=2, previous=entries[1].hash) is None

    assert broken_link([entries[0], entries[1]._replace(who="@nobody:x"), *entries[2:]]) == 2
    assert broken_link([entries[0], *entries[2:]]) == 2
    assert broken_link([entries[1], entries[0]]) == 1
    assert broken_link([entries[0]._replace(time=1.4), *entries[1:]]) == 1


async def test_two_programs_that_write_the_audit_at_once_make_one_chain(store: Store, database: str) -> None:
    other = await Store.open(database)
    if database.startswith("sqlite:"):
        for each in (store, other):
            # Whose turn it is is not settled in the order of asking, and a slow disk takes its time for each.
            await each._fetch("PRAGMA busy_timeout = 60000")
    await asyncio.gather(*(each.audit("@a:x", "do", {}, time=float(n)) for n in range(15) for each in (store, other)))
    await other.close()

    entries = await store.audit_entries()
    assert (len(entries), broken_link(entries)) == (30, None)


async def test_what_is_remembered_is_recalled_until_forgotten(store: Store) -> None:
    await store.remember("held/!a", ["@p:x"])
    await store.remember("held/!a", ["@q:x"])
    await store.remember("held_!b", {"é": None})
    await store.remember("nothing", None)

    assert await store.recall("held/!a") == ["@q:x"]
    assert await store.recall_all("held") == {"held/!a": ["@q:x"], "held_!b": {"é": None}}
    assert await store.recall_all("held_") == {"held_!b": {"é": None}}
    await store.forget("held/!a")
    assert await store.recall("held/!a", "gone") == "gone"


async def test_a_database_of_a_newer_version_is_refused_and_let_go_of(store: Store, database: str) -> None:
    await store._execute("UPDATE schema_version SET version = 99")
    await store.close()
    threads = own_threads()

    with pytest.raises(StoreRefused) as raised:
        await Store.open(database)

    assert str(raised.value) == (
        "The database was written by a newer version of qwil (Unsupported record schema version v99 (latest known is"
        " v3)). Run that version, or restore a copy of the database from before the upgrade."
    )
    await gone(threads)


async def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("Dear head teacher, this is certainly not a database. " * 100)
    threads = own_threads()

    with pytest.raises(StoreRefused, match=r"notes\.txt cannot be the database: file is not a database\. Correct"):
        await Store.open(f"sqlite:{file}")
    with pytest.raises(StoreRefused, match=r"^There is no folder for the database .*/nowhere/qwil\.db: make it"):
        await Store.open(f"sqlite:{tmp_path}/nowhere/qwil.db")
    await gone(threads)


async def test_a_folder_nobody_may_write_into_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # root, who runs tests in containers, may write everywhere.
    monkeypatch.setattr("bridge.database.os.access", lambda folder, _right: folder != tmp_path)

    with pytest.raises(StoreRefused, match=r"^The bridge may not write into the folder of the database .*/qwil\.db: "):
        await Store.open(f"sqlite:{tmp_path}/qwil.db")


async def test_a_locked_file_is_away_and_back(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:{tmp_path}/qwil.db")
    await store._fetch("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(tmp_path / "qwil.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreUnavailable, match=r"^The database cannot be used just now: database is locked\.$"):
            await store.receive("t1", [event("$1")], received=1.0)

    await store.receive("t1", [event("$1")], received=2.0)
    await store.close()


async def test_what_was_committed_is_on_the_disk_before_anything_is_answered(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:{tmp_path}/qwil.db")

    full = 2
    assert (await store._value("PRAGMA journal_mode"), await store._value("PRAGMA synchronous")) == ("wal", full)
    await store.close()


async def test_a_postgresql_that_stops_is_away_and_the_record_goes_on_by_itself_when_it_is_back(
    start_postgres: StartPostgres,
) -> None:
    with tempfile.TemporaryDirectory(prefix="qwil-pg-") as folder:
        server = start_postgres(Path(folder) / "data")
        try:
            store = await Store.open(server.get_uri())
            await store.receive("t1", [event("$1")], received=1.0)

            server.stop()
            with pytest.raises(StoreUnavailable, match=r"^The database cannot be reached just now: "):
                await store.receive("t2", [event("$2")], received=2.0)
            with pytest.raises(StoreUnavailable):
                await Store.open(server.get_uri())

            server.start()
            await store.receive("t2", [event("$2")], received=3.0)
            assert await waiting(store) == ["$1", "$2"]
            await store.close()
        finally:
            server.cleanup()


async def test_a_postgresql_that_has_no_such_database_refuses(postgres: str) -> None:
    with pytest.raises(StoreRefused, match=r'database "nowhere" does not exist\. Check `database` in config\.yaml'):
        await Store.open(str(URL(postgres).with_path("/nowhere", keep_query=True)))


async def test_a_new_database_is_for_its_owner_alone(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:{tmp_path}/qwil.db")
    try:
        await store.receive("t1", [event("$1")], received=1.0)

        files = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        assert files["qwil.db"] == 0o600
        assert set(files.values()) == {0o600}
    finally:
        await store.close()
