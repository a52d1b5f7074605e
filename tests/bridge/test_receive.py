"""Receiving: what the homeserver may send, what it is answered, and what handlers see of it, whatever is killed."""

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count, repeat
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bridge.database import StoreUnavailable
from bridge.receive import TRIES_TO_RESTORE, Handle, Receiver, as_event, read_transaction
from bridge.retry import Unavailable, growing_pauses, until_available
from bridge.store import NewEvent, Store, StoredEvent

TOKEN = "hs-secret"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PROGRAM = Path(__file__).with_name("receiver_process.py")
Served = tuple[TestClient[Any, Any], Receiver]


def sent(number: int, *, room: str = "!a:x", **fields: Any) -> dict[str, Any]:
    """An event as a homeserver sends it."""
    return {
        "event_id": f"${number}",
        "room_id": room,
        "sender": "@p:x",
        "type": "m.room.message",
        "origin_server_ts": number,
        "content": {"msgtype": "m.text", "body": f"number {number}"},
    } | fields


@asynccontextmanager
async def serving(store: Store, handle: Handle, **settings: Any) -> AsyncIterator[Served]:
    """A receiver that takes transactions and has not begun to handle."""
    receiver = Receiver(store, handle, hs_token=TOKEN, **settings)
    app = web.Application()
    receiver.add_routes(app)
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:
        yield client, receiver


@asynccontextmanager
async def handling(receiver: Receiver) -> AsyncIterator[None]:
    """Meanwhile the receiver handles what is stored."""
    work = asyncio.ensure_future(receiver.run())
    try:
        yield
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def put(client: TestClient[Any, Any], transaction: str, *events: Any, **more: Any) -> tuple[int, Any]:
    path = f"/_matrix/app/v1/transactions/{transaction}"
    async with client.put(path, json={"events": events, **more}, headers=BEARER) as answer:
        return answer.status, await answer.json()


class Seen:
    """A handler that remembers the events and can be waited for; it fails where it is told to."""

    def __init__(self, fails: Callable[[StoredEvent], Exception | None] = lambda _: None) -> None:
        self.calls: list[str] = []
        self.done: list[str] = []
        self._fails = fails
        self._called = asyncio.Condition()

    async def __call__(self, event: StoredEvent) -> None:
        async with self._called:
            self.calls.append(event.event_id)
            self._called.notify_all()
        error = self._fails(event)
        if error is not None:
            raise error
        async with self._called:
            self.done.append(event.event_id)
            self._called.notify_all()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60), self._called:
            await self._called.wait_for(true)


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what can only be asked about."""
    async with asyncio.timeout(120):
        while not await true():  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.01)


async def nobody(event: StoredEvent) -> None:
    raise AssertionError(f"{event.event_id} was not to be handled")


async def everything_handled(store: Store) -> bool:
    return await store.waiting(float("inf")) == []


async def test_an_acknowledged_transaction_is_on_record_before_anybody_handles_it(store: Store) -> None:
    async with serving(store, nobody) as (client, _):
        answer = await put(client, "1", sent(1), sent(2, type="m.room.topic", state_key=""))

    assert answer == (200, {})
    assert [each.event_id for each in await store.events("!a:x")] == ["$1", "$2"]
    topic = await store.state("!a:x", "m.room.topic")
    assert topic is not None
    assert topic.whole == sent(2, type="m.room.topic", state_key="")


async def test_events_are_handled_in_the_order_of_arrival_over_many_transactions(store: Store) -> None:
    seen = Seen()
    async with serving(store, seen) as (client, receiver), handling(receiver):
        for start in range(0, 250, 50):
            rooms = [sent(number, room=f"!{number % 3}:x") for number in range(start, start + 50)]
            assert await put(client, str(start), *rooms) == (200, {})
        await seen.until(lambda: len(seen.done) == 250)

    assert seen.calls == [f"${number}" for number in range(250)]


async def test_a_backlog_of_hundreds_of_events_from_before_is_handled_at_start(store: Store) -> None:
    old = [read_transaction(json.dumps({"events": [sent(number) for number in range(n, n + 100)]}).encode())[0]
           for n in range(0, 500, 100)]  # fmt: skip
    for number, events in enumerate(old):
        await store.receive(str(number), events, received=1.0)

    seen = Seen()
    async with serving(store, seen) as (_, receiver), handling(receiver):
        await seen.until(lambda: len(seen.done) == 500)

    assert seen.calls == [f"${number}" for number in range(500)]


async def test_a_transaction_that_comes_twice_is_acknowledged_twice_and_handled_once(store: Store) -> None:
    seen = Seen()
    async with serving(store, seen) as (client, receiver), handling(receiver):
        first = await put(client, "1", sent(1))
        again = await asyncio.gather(*(put(client, "1", sent(1)) for _ in range(5)))
        assert await put(client, "2", sent(1), sent(2)) == (200, {})
        await seen.until(lambda: "$2" in seen.done)

    assert [first, *again] == [(200, {})] * 6
    assert seen.calls == ["$1", "$2"]


async def test_one_transaction_sent_many_times_at_once_is_stored_once(store: Store) -> None:
    async with serving(store, nobody) as (client, _):
        answers = await asyncio.gather(*(put(client, "1", sent(1), sent(2)) for _ in range(8)))

    assert answers == [(200, {})] * 8
    assert [each.event.event_id for each in await store.waiting(0)] == ["$1", "$2"]


async def test_typing_and_receipts_are_acknowledged_and_left_out(store: Store) -> None:
    ephemeral = [{"type": "m.typing", "room_id": "!a:x", "content": {"user_ids": ["@p:x"]}}]
    async with serving(store, nobody) as (client, _):
        answer = await put(client, "1", ephemeral=ephemeral, **{"de.sorunome.msc2409.ephemeral": ephemeral})

    assert answer == (200, {})
    assert await store.waiting(0) == []


async def test_what_is_no_event_is_kept_aside_and_stops_nothing(store: Store) -> None:
    seen = Seen()
    broken = [None, "text", [], {}, sent(1, event_id=None), sent(1, room_id=7), sent(1, sender="x" * 256),
              sent(1, state_key={})]  # fmt: skip
    async with serving(store, seen) as (client, receiver), handling(receiver):
        assert await put(client, "1", *broken, sent(2)) == (200, {})
        await seen.until(lambda: seen.done == ["$2"])

    assert json.loads(await store._value("SELECT oddments FROM transactions")) == broken


@pytest.mark.parametrize(
    "odd",
    [
        sent(1, type="org.example.never\0heard\ud800"),
        sent(1, content={"body": "x" * 65_536}),
        sent(1, content=None),
        sent(1, content={"\0": ["\udfff", 1e300, -(2**70)]}),
        sent(1, origin_server_ts="yesterday"),
        sent(1, origin_server_ts=2**70),
        sent(1, origin_server_ts=True),
        sent(1, state_key=None),
        sent(1, type="m.room.redaction", redacts=["$x"], content=[]),
        sent(1, content=json.loads('{"a":' * 200 + "1" + "}" * 200)),
    ],
)
async def test_an_odd_event_is_handled_as_it_was_sent(store: Store, odd: dict[str, Any]) -> None:
    seen = Seen()
    async with serving(store, seen) as (client, receiver), handling(receiver):
        assert await put(client, "1", odd) == (200, {})
        await seen.until(lambda: seen.done == ["$1"])

    stored = await store.event("$1")
    assert stored is not None
    assert stored.whole == odd


async def test_a_hundred_of_the_largest_events_fit_into_one_transaction(store: Store) -> None:
    large = [sent(number, content={"body": "x" * 65_000}) for number in range(100)]
    async with serving(store, nobody) as (client, _):
        answer = await put(client, "1", *large)

    assert answer == (200, {})
    assert len(await store.waiting(0)) == 100


@pytest.mark.parametrize(
    ("event", "redacts"),
    [
        (sent(1, type="m.room.redaction", redacts="$old", content={}), "$old"),
        (sent(1, type="m.room.redaction", content={"redacts": "$new"}), "$new"),
        (sent(1, type="m.room.message", content={"redacts": "$new"}), None),
    ],
)
def test_a_redaction_names_its_event_in_every_room_version(event: dict[str, Any], redacts: str | None) -> None:
    read = as_event(event)

    assert read is not None
    assert read.redacts == redacts


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        (b"", 400, "M_NOT_JSON"),
        (b"{", 400, "M_NOT_JSON"),
        (b"\xff\xfe{}", 400, "M_NOT_JSON"),
        (b"[" * 200_000, 400, "M_NOT_JSON"),
        (b"[]", 400, "M_BAD_JSON"),
        (b"{}", 400, "M_BAD_JSON"),
        (b'{"events": {}}', 400, "M_BAD_JSON"),
    ],
)
async def test_a_body_that_is_no_transaction_is_refused(store: Store, body: bytes, status: int, errcode: str) -> None:
    async with (
        serving(store, nobody) as (client, _),
        client.put("/_matrix/app/v1/transactions/1", data=body, headers=BEARER) as answer,
    ):
        assert (answer.status, (await answer.json())["errcode"]) == (status, errcode)

    assert await store._value("SELECT COUNT(*) FROM transactions") == 0


@pytest.mark.parametrize(
    ("headers", "query", "status", "errcode"),
    [
        ({}, "", 401, "M_MISSING_TOKEN"),
        ({"Authorization": "Bearer wrong"}, "", 403, "M_FORBIDDEN"),
        ({"Authorization": f"Bearer {TOKEN}x"}, "", 403, "M_FORBIDDEN"),
        ({"Authorization": "Bearer é"}, "", 403, "M_FORBIDDEN"),
        ({"Authorization": "Bearer wrong"}, f"?access_token={TOKEN}", 403, "M_FORBIDDEN"),
        ({}, "?access_token=wrong", 403, "M_FORBIDDEN"),
        ({}, f"?access_token={TOKEN}", 200, None),
        (BEARER, "", 200, None),
    ],
)
async def test_only_the_homeserver_is_listened_to(
    store: Store, headers: dict[str, str], query: str, status: int, errcode: str | None
) -> None:
    async with serving(store, nobody) as (client, _):
        for method, path, good in (
            ("PUT", "/_matrix/app/v1/transactions/1", 200),
            ("PUT", "/transactions/2", 200),
            ("POST", "/_matrix/app/v1/ping", 200),
            ("GET", "/_matrix/app/v1/users/@p:x", 404),
            ("GET", "/rooms/%23a:x", 404),
        ):
            async with client.request(method, path + query, json={"events": []}, headers=headers) as answer:
                assert answer.status == (good if status == 200 else status), path
                if errcode:
                    assert (await answer.json())["errcode"] == errcode


async def test_no_user_and_no_room_is_made_by_being_asked_for(store: Store) -> None:
    async with serving(store, nobody) as (client, _):
        for path in ("/_matrix/app/v1/users/@p:x", "/_matrix/app/v1/rooms/%23a:x", "/users/@p:x", "/rooms/%23a:x"):
            async with client.get(path, headers=BEARER) as answer:
                assert (answer.status, (await answer.json())["errcode"]) == (404, "M_NOT_FOUND")


async def test_a_ping_is_answered(store: Store) -> None:
    async with serving(store, nobody) as (client, _):
        async with client.post("/_matrix/app/v1/ping", json={"transaction_id": "p"}, headers=BEARER) as answer:
            assert (answer.status, await answer.json()) == (200, {})
        async with client.post("/_matrix/app/v1/ping", data=b"?", headers=BEARER) as answer:
            assert (answer.status, (await answer.json())["errcode"]) == (400, "M_NOT_JSON")


async def test_an_event_whose_handler_always_fails_is_set_aside_and_its_room_goes_on(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen(lambda event: ValueError("poison") if event.event_id == "$1" else None)
    async with serving(store, seen, try_again_after=(0.0, 0.0)) as (client, receiver), handling(receiver):
        await put(client, "1", sent(1), sent(2), sent(3, room="!b:x"))
        await seen.until(lambda: len(seen.done) == 2)

    assert seen.calls.count("$1") == 3
    assert [each for each in seen.calls if each != "$3"] == ["$1", "$1", "$1", "$2"]
    assert [(each.event.event_id, each.error) for each in await store.set_asides()] == [("$1", "ValueError('poison')")]
    assert "Handling m.room.message $1 in !a:x failed too often; it is set aside." in caplog.text
    assert "number 1" not in caplog.text


async def test_what_was_set_aside_is_tried_again_by_the_next_bridge(store: Store) -> None:
    failing = Seen(lambda event: ValueError("not today") if event.event_id == "$1" else None)
    async with serving(store, failing, try_again_after=()) as (client, receiver), handling(receiver):
        await put(client, "1", sent(1), sent(2))
        await failing.until(lambda: failing.done == ["$2"])
    assert [each.event.event_id for each in await store.set_asides()] == ["$1"]

    seen = Seen()
    async with serving(store, seen) as (_, receiver), handling(receiver):
        await seen.until(lambda: seen.done == ["$1"])

    assert await store.set_asides() == []


async def test_a_room_waits_for_its_failed_event_while_the_others_go_on(store: Store) -> None:
    now = 1000.0
    failing = True
    seen = Seen(lambda event: OSError("not yet") if failing and event.event_id == "$1" else None)
    async with serving(store, seen, try_again_after=(50.0,), clock=lambda: now) as (client, receiver):
        async with handling(receiver):
            await put(client, "1", sent(1), sent(2), sent(3, room="!b:x"))
            await put(client, "2", sent(4), sent(5, room="!b:x"))
            await seen.until(lambda: seen.done == ["$3", "$5"])
        failing, now = False, 1050.0
        async with handling(receiver):
            await seen.until(lambda: len(seen.done) == 5)

    assert seen.done == ["$3", "$5", "$1", "$2", "$4"]
    assert await store.set_asides() == []


async def test_a_room_that_waits_goes_on_by_itself_when_its_time_has_come(store: Store) -> None:
    failures = iter([KeyError("once")])
    seen = Seen(lambda _: next(failures, None))
    async with serving(store, seen, try_again_after=(0.05,)) as (client, receiver), handling(receiver):
        await put(client, "1", sent(1))
        await seen.until(lambda: seen.done == ["$1"])

    assert seen.calls == ["$1", "$1"]


async def test_what_becomes_due_while_it_is_looked_up_is_not_passed_over(store: Store) -> None:
    """The event is tried again after 60 seconds, and a look takes 40."""
    failures, moments = iter([KeyError("once")]), count(1000, 40)
    seen = Seen(lambda _: next(failures, None))
    async with (
        serving(store, seen, try_again_after=(60.0,), clock=lambda: float(next(moments))) as (client, receiver),
        handling(receiver),
    ):
        await put(client, "1", sent(1))
        await seen.until(lambda: seen.done == ["$1"])

    assert seen.calls == ["$1", "$1"]


async def test_a_handler_that_never_ends_counts_as_failed(store: Store) -> None:
    seen = Seen()

    async def handle(event: StoredEvent) -> None:
        if event.event_id == "$1":
            await asyncio.Event().wait()
        await seen(event)

    async with (
        serving(store, handle, try_again_after=(), handling_limit=0.01) as (client, receiver),
        handling(receiver),
    ):
        await put(client, "1", sent(1), sent(2))
        await seen.until(lambda: seen.done == ["$2"])

    assert [each.error for each in await store.set_asides()] == ["TimeoutError()"]


async def test_a_handler_that_waits_longer_than_its_limit_for_the_homeserver_has_not_failed(store: Store) -> None:
    attempts = 0

    async def ask() -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= 3:
            raise Unavailable("The homeserver does not answer.")

    async def handle(event: StoredEvent) -> None:
        await until_available(ask, pauses=lambda: repeat(0.5))
        await seen(event)

    seen = Seen()
    # Of the limit, which begins anew after each pause, a machine that is busy elsewhere may take a part.
    async with serving(store, handle, handling_limit=1.2, try_again_after=()) as (client, receiver), handling(receiver):
        await put(client, "1", sent(1))
        await seen.until(lambda: seen.done == ["$1"])

    assert attempts == 4
    assert await store.set_asides() == []


async def test_everything_waits_in_order_while_the_homeserver_is_away(store: Store) -> None:
    away = iter(range(20))
    seen = Seen(lambda _: Unavailable("The homeserver is away.") if next(away, None) is not None else None)
    async with (
        serving(store, seen, try_again_after=(), pauses=lambda: repeat(0.0)) as (client, receiver),
        handling(receiver),
    ):
        await put(client, "1", sent(1), sent(2, room="!b:x"))
        await seen.until(lambda: len(seen.done) == 2)

    assert seen.calls == ["$1"] * 21 + ["$2"]
    assert await store.set_asides() == []


class Away(Store):
    """A record whose database is away for the first few calls of everything."""

    def __init__(self, store: Store) -> None:
        super().__init__(store._database)
        self.left = 3

    async def _fetch(self, query: str, *values: Any) -> list[Any]:
        self._be_away()
        return await super()._fetch(query, *values)

    async def _execute(self, query: str, *values: Any) -> None:
        self._be_away()
        await super()._execute(query, *values)

    async def receive(self, transaction: str, events: Any, *, received: float, oddments: str | None = None) -> None:
        self._be_away()
        await super().receive(transaction, events, received=received, oddments=oddments)

    def _be_away(self) -> None:
        self.left -= 1
        if self.left >= 0:
            raise StoreUnavailable("The database cannot be reached just now: test.")


async def test_a_transaction_is_not_acknowledged_while_the_database_is_away(store: Store) -> None:
    async with serving(Away(store), nobody) as (client, _):
        for _ in range(3):
            status, answer = await put(client, "1", sent(1))
            assert (status, answer["errcode"]) == (503, "M_UNKNOWN")
        assert await put(client, "1", sent(1)) == (200, {})

    assert [each.event.event_id for each in await store.waiting(0)] == ["$1"]


async def test_what_was_deleted_before_it_came_is_stored_as_it_was(store: Store) -> None:
    """A homeserver sends what it had queued without the content that was deleted meanwhile."""
    tries = iter([True, False])

    async def restore(events: Sequence[NewEvent]) -> list[NewEvent]:
        if next(tries):
            raise Unavailable("The homeserver is busy: test.")
        return [event._replace(json=event.json.replace("{}", '{"body":"as it was"}')) for event in events]

    deleted = {**sent(1), "content": {}}
    async with serving(store, nobody, restore=restore) as (client, _):
        assert (await put(client, "1", deleted))[0] == 503, "it is sent again, and nothing is lost"
        assert await store.waiting(0) == []
        assert await put(client, "1", deleted) == (200, {})

    assert [each.event.content for each in await store.waiting(0)] == [{"body": "as it was"}]


async def test_originals_that_are_never_to_be_had_keep_nothing_from_the_record(store: Store) -> None:
    async def restore(_: Sequence[NewEvent]) -> Sequence[NewEvent]:
        raise Unavailable("The administrators' side of the homeserver is away: test.")

    async with serving(store, nobody, restore=restore) as (client, _):
        answers = [(await put(client, "1", sent(1)))[0] for _ in range(TRIES_TO_RESTORE)]

    assert answers == [503] * (TRIES_TO_RESTORE - 1) + [200]
    assert [each.event.event_id for each in await store.waiting(0)] == ["$1"]


async def test_handling_waits_for_the_database_and_goes_on_by_itself(store: Store) -> None:
    async with serving(store, nobody) as (client, _):
        await put(client, "1", sent(1))
    seen = Seen()
    away = Away(store)
    async with serving(away, seen, pauses=lambda: repeat(0.0)) as (_, receiver), handling(receiver):
        await seen.until(lambda: seen.done == ["$1"])
        away.left = 3
        await until(lambda: everything_handled(store))

    assert seen.calls == ["$1"]


def test_pauses_grow_up_to_a_limit() -> None:
    pauses = growing_pauses(0.5, 60.0)

    assert [next(pauses) for _ in range(9)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


async def test_only_what_is_away_is_waited_for() -> None:
    async def fail() -> None:
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="a mistake of ours"):
        await until_available(fail)


class Killable:
    """Runs `receiver_process.py` and plays the homeserver to it: everything in order, again until acknowledged."""

    def __init__(self, database: str, folder: Path) -> None:
        self._database, self._folder = database, folder
        self._process: asyncio.subprocess.Process | None = None
        self._address = ""
        self.deaths = 0

    async def start(self, point: str = "nowhere", count: int = 1) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), self._database, str(self._folder), point, str(count),
            stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        )  # fmt: skip
        assert self._process.stdout is not None
        port = (await self._process.stdout.readline()).decode().strip()
        self._address = f"http://127.0.0.1:{port}" if port else ""

    async def kill(self) -> None:
        """Kill it if it has not died yet; it is gone afterwards."""
        process = self._process
        if process is not None:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL)
            await process.wait()
            self._process = None

    async def has_died(self) -> bool:
        return self._process is None or self._process.returncode is not None

    async def after_death(self, *fate: Any) -> None:
        """Wait for the death that was foretold and start it anew."""
        await until(self.has_died)
        self.deaths += 1
        await self.start(*fate)

    async def deliver(self, http: aiohttp.ClientSession, transaction: str, events: list[dict[str, Any]]) -> bool:
        """One attempt of the homeserver's; False where no answer came."""
        path = f"{self._address}/_matrix/app/v1/transactions/{transaction}"
        try:
            async with http.put(path, json={"events": events}, headers=BEARER) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, ConnectionError):
            return False

    def lines(self, name: str) -> list[str]:
        file = self._folder / name
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
async def killable(database: str, tmp_path: Path) -> AsyncIterator[Killable]:
    process = Killable(database, tmp_path)
    yield process
    await process.kill()


TRANSACTIONS = [(f"t{n}", [sent(n * 4 + i, room=f"!{i % 2}:x") for i in range(4)]) for n in range(5)]
IDS = [event["event_id"] for _, events in TRANSACTIONS for event in events]
POINTS = (
    "in the middle of the transaction",
    "before the transaction is committed",
    "before the transaction is acknowledged",
    "before the event takes effect",
    "after the event took effect",
    "before the event is marked as handled",
    "after the event was marked as handled",
)


async def nothing_is_lost_and_nothing_done_twice(killable: Killable, store: Store) -> None:
    await until(lambda: everything_handled(store))

    stored = [each.event_id for room in ("!0:x", "!1:x") for each in await store.events(room)]
    assert sorted(stored) == sorted(IDS)
    assert killable.lines("effects") == IDS
    calls = killable.lines("calls")
    assert set(calls) == set(IDS)
    # Only the event that a death interrupted may have been begun again.
    assert len(calls) - len(IDS) <= killable.deaths
    assert await store._value("SELECT COUNT(DISTINCT id) FROM transactions") == len(TRANSACTIONS)


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_at_any_point_loses_nothing_and_does_nothing_twice(
    killable: Killable, store: Store, point: str
) -> None:
    await killable.start(point, 3)
    async with aiohttp.ClientSession() as http:
        for transaction, events in TRANSACTIONS:
            while not await killable.deliver(http, transaction, events):
                await killable.after_death()
    if not killable.deaths:
        await killable.after_death()

    await nothing_is_lost_and_nothing_done_twice(killable, store)
    assert killable.deaths == 1


async def test_a_kill_between_the_answer_and_the_handling_loses_nothing(killable: Killable, store: Store) -> None:
    await killable.start("before anything is handled")
    async with aiohttp.ClientSession() as http:
        for transaction, events in TRANSACTIONS:
            assert await killable.deliver(http, transaction, events)
    assert killable.lines("calls") == []

    await killable.kill()
    await killable.start()
    await nothing_is_lost_and_nothing_done_twice(killable, store)


@pytest.mark.parametrize("seed", [1, 2])
async def test_kill_after_kill_at_random_points_loses_nothing_and_does_nothing_twice(
    killable: Killable, store: Store, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - which point is no secret
    fates = [(chance.choice(POINTS), chance.randint(1, 3)) for _ in range(4)]
    await killable.start(*fates.pop())
    async with aiohttp.ClientSession() as http:
        for transaction, events in TRANSACTIONS:
            while not await killable.deliver(http, transaction, events):
                await killable.after_death(*(fates.pop() if fates else ()))
    while not await everything_handled(store):
        if await killable.has_died():
            await killable.after_death(*(fates.pop() if fates else ()))
        await asyncio.sleep(0.01)

    await nothing_is_lost_and_nothing_done_twice(killable, store)
    assert killable.deaths >= 1


async def test_a_bridge_that_is_told_to_end_as_something_arrives_ends(store: Store) -> None:
    async def handle(_event: StoredEvent) -> None: ...

    receiver = Receiver(store, handle, hs_token="secret")
    running = asyncio.create_task(receiver.run())
    await until(lambda: is_idle(receiver))

    receiver.wake()
    running.cancel()

    done, _ = await asyncio.wait([running], timeout=60)
    assert done == {running}
    assert running.cancelled()


async def is_idle(receiver: Receiver) -> bool:
    """It waits for something to arrive."""
    return bool(receiver._arrived._waiters)
