"""Receiving: a transaction is stored before it is acknowledged, then each of its events is handled in order.

The homeserver sends a transaction again until it is answered 200, and never after that (Application Service API,
"Pushing events"). So the answer is given once the record has the events, not before, and handling starts from the
record: whatever is killed in between goes on from there. An event is handled again until its handler came to an end,
which makes it at least once; handlers have to be written so that a second time changes nothing.

mautrix' `AppService` is not subclassed: it knows transactions it has seen in memory only, answers before its handlers
ran, lets them overtake each other, and brings a web application whose routes would be in the way. `mautrix.appservice.
AppServiceAPI` speaks as the bot and as users without it; this file needs aiohttp and the record alone.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, NoReturn

from aiohttp import web

from bridge.ledger import as_json, storable
from bridge.retry import Unavailable, growing_pauses, until_available, within
from bridge.store import NewEvent, Store, StoredEvent, Waiting
from policy.model import Moment

Handle = Callable[[StoredEvent], Awaitable[None]]
Restore = Callable[[Sequence[NewEvent]], Awaitable[Sequence[NewEvent]]]
"""Gives events as they were written, where the homeserver sent them without what was deleted meanwhile."""

PREFIXES = ("/_matrix/app/v1", "")
"""The second is the legacy one of homeservers before version 1.0 of the specification."""

LARGEST_BODY = 256 * 1024 * 1024
"""Bytes. A transaction holds a hundred events of 64 KiB with what the homeserver adds; one refused would block all."""

LONGEST_ID = 255
"""Bytes of an identifier, a type or a state key ("Size limits" of the client-server API)."""

LARGEST_NUMBER = 2**63 - 1

TRY_AGAIN_AFTER = (1.0, 5.0, 30.0, 120.0)
"""Seconds to wait after each failure of a handler; after one more the event is set aside."""

HANDLING_LIMIT = 300.0
"""Seconds after which a handler counts as failed; those for which homeserver or database were away do not count."""

TRIES_TO_RESTORE = 6
"""How often the homeserver, which waits a little longer each time, sends a transaction whose deleted events it does not
give whole; a minute or two."""

LONGEST_IDLE = 60.0
"""Seconds after which the record is looked at again although nothing was received."""

log = logging.getLogger("qwil.receive")


async def as_sent(events: Sequence[NewEvent]) -> Sequence[NewEvent]:
    """The events as the homeserver sent them."""
    return events


class Receiver:
    """Takes the homeserver's transactions and calls `handle` with every event, one at a time in the order of arrival.

    `handle` gets an event again after a crash until it returned once, so it must not mind. When it raises
    `Unavailable`, everything waits for what is away, in growing `pauses`. When it raises anything else, its room waits
    and the other rooms go on; the event is tried again after each of the pauses `try_again_after` and then set aside,
    on record and in the log, so that its room goes on as well.
    """

    def __init__(
        self,
        store: Store,
        handle: Handle,
        *,
        hs_token: str,
        restore: Restore = as_sent,
        try_again_after: Sequence[float] = TRY_AGAIN_AFTER,
        handling_limit: float = HANDLING_LIMIT,
        pauses: Callable[[], Iterator[float]] = growing_pauses,
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._store = store
        self._handle = handle
        self._hs_token = hs_token.encode()
        self._restore = restore
        self._unrestored: Counter[str] = Counter()
        self._try_again_after = try_again_after
        self._handling_limit = handling_limit
        self._wait_for = partial(until_available, pauses=pauses)
        self._clock = clock
        self._arrived = asyncio.Event()

    def add_routes(self, app: web.Application) -> None:
        """Serve what the homeserver asks an application service, under the present and the legacy paths."""
        for prefix in PREFIXES:
            app.router.add_put(prefix + "/transactions/{transaction}", self._take_transaction)
            app.router.add_get(prefix + "/users/{user}", self._deny_knowing)
            app.router.add_get(prefix + "/rooms/{alias}", self._deny_knowing)
        app.router.add_post("/_matrix/app/v1/ping", self._answer_ping)

    def wake(self) -> None:
        """Something came into the record by another way."""
        self._arrived.set()

    async def run(self) -> NoReturn:
        """Handle what is stored, and then what comes, until cancelled; what was set aside gets one more chance."""
        if number := await self._wait_for(self._store.take_up_again):
            log.warning("%d events that were set aside earlier are tried again.", number)
        while True:
            self._arrived.clear()
            now = self._clock()
            waiting = await self._wait_for(partial(self._store.waiting, now))
            if waiting:
                await self._handle_in_order(waiting)
            else:
                await self._until_something_waits(now)

    async def _take_transaction(self, request: web.Request) -> web.Response:
        self._authenticate(request)
        body = await request.clone(client_max_size=LARGEST_BODY).read()
        events, oddments = read_transaction(body)
        transaction = storable(request.match_info["transaction"])
        try:
            whole = await self._restored(transaction, events)
            await self._store.receive(transaction, whole, received=self._clock(), oddments=oddments)
        except Unavailable as away:
            # Any answer but 200 makes the homeserver keep the transaction and send it again, with growing pauses.
            log.warning("Transaction %s was not taken. %s The homeserver will send it again.", transaction, away)
            raise _refusal(web.HTTPServiceUnavailable, "M_UNKNOWN", str(away)) from away
        self._arrived.set()
        return web.json_response({})

    async def _restored(self, transaction: str, events: Sequence[NewEvent]) -> Sequence[NewEvent]:
        """A homeserver that sends but never answers must not keep everything else from the record."""
        try:
            whole = await self._restore(events)
        except Unavailable as away:
            self._unrestored[transaction] += 1
            if self._unrestored[transaction] < TRIES_TO_RESTORE:
                raise
            log.error("What was deleted of transaction %s before it came cannot be had: %s", transaction, away)
            whole = events
        del self._unrestored[transaction]
        return whole

    async def _deny_knowing(self, request: web.Request) -> web.Response:
        self._authenticate(request)
        raise _refusal(web.HTTPNotFound, "M_NOT_FOUND", "This bridge makes no users and no rooms by being asked.")

    async def _answer_ping(self, request: web.Request) -> web.Response:
        self._authenticate(request)
        _read_json(await request.read())
        return web.json_response({})

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        # Homeservers before version 1.4 of the specification give the token in the query.
        given = token if scheme.lower() == "bearer" else request.query.get("access_token", "")
        if not given:
            raise _refusal(web.HTTPUnauthorized, "M_MISSING_TOKEN", "The homeserver gave no hs_token.")
        if not hmac.compare_digest(given.encode(errors="replace"), self._hs_token):
            raise _refusal(web.HTTPForbidden, "M_FORBIDDEN", "This is not the hs_token of the bridge's registration.")

    async def _handle_in_order(self, waiting: Sequence[Waiting]) -> None:
        held: set[str] = set()
        for each in waiting:
            if each.event.room_id not in held and not await self._handled(each):
                held.add(each.event.room_id)

    async def _handled(self, waiting: Waiting) -> bool:
        event = waiting.event
        try:
            await self._wait_for(lambda: self._within_the_limit(event))
        except Exception as error:  # whatever a handler raises must not stop the others
            await self._wait_for(partial(self._put_off, waiting, error))
            return False
        await self._wait_for(lambda: self._store.mark_handled(event))
        return True

    async def _within_the_limit(self, event: StoredEvent) -> None:
        async with within(self._handling_limit):
            await self._handle(event)

    async def _put_off(self, waiting: Waiting, error: Exception) -> None:
        event, now = waiting.event, self._clock()
        named = f"{event.type} {event.event_id} in {event.room_id}"
        if waiting.attempts < len(self._try_again_after):
            pause = self._try_again_after[waiting.attempts]
            log.warning("Handling %s failed; trying again in %g seconds.", named, pause, exc_info=error)
            await self._store.try_again(event, at=now + pause, error=repr(error))
        else:
            log.error("Handling %s failed too often; it is set aside.", named, exc_info=error)
            await self._store.set_aside(event, since=now, error=repr(error))

    async def _until_something_waits(self, now: Moment) -> None:
        """Nothing did at `now`: what has become due since is among what is asked for."""
        earliest = await self._wait_for(lambda: self._store.next_attempt(now))
        pause = LONGEST_IDLE if earliest is None else min(earliest - self._clock(), LONGEST_IDLE)
        try:
            async with asyncio.timeout(pause):
                await self._arrived.wait()
        except TimeoutError:
            return


def read_transaction(body: bytes) -> tuple[list[NewEvent], str | None]:
    """The events of a transaction, and as JSON what in it could be none; typing and the like are left out.

    Raises HTTP 400 with `M_NOT_JSON` or `M_BAD_JSON` where the body is no transaction.
    """
    transaction = _read_json(body)
    entries = transaction.get("events")
    if not isinstance(entries, list):
        raise _refusal(web.HTTPBadRequest, "M_BAD_JSON", 'A transaction has a list of "events".')
    read = [(entry, as_event(entry)) for entry in entries]
    oddments = [entry for entry, event in read if event is None]
    if oddments:
        log.error("%d of the events received are no Matrix events; they are kept as they came.", len(oddments))
    return [event for _, event in read if event is not None], as_json(oddments) if oddments else None


def as_event(entry: Any) -> NewEvent | None:
    """The columns of an event, or None where it lacks an id, a room, a sender or a type."""
    if not isinstance(entry, dict):
        return None
    named = [_identifier(entry.get(field)) for field in ("event_id", "room_id", "sender", "type")]
    state_key = _identifier(entry.get("state_key"))
    if None in named or (state_key is None and entry.get("state_key") is not None):
        return None
    event_id, room_id, sender, kind = map(str, named)
    sent, redacts = _timestamp(entry.get("origin_server_ts")), _redacts(entry)
    return NewEvent(event_id, room_id, sender, kind, state_key, sent, redacts, as_json(entry))


def _identifier(value: Any) -> str | None:
    fits = isinstance(value, str) and len(value.encode(errors="replace")) <= LONGEST_ID
    return storable(value) if fits else None


def _timestamp(value: Any) -> int:
    sound = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER
    return value if sound else 0


def _redacts(entry: dict[str, Any]) -> str | None:
    """The event that this one redacts: named in its content since room version 11, beside it before."""
    content = entry.get("content")
    named = entry.get("redacts") or (content.get("redacts") if isinstance(content, dict) else None)
    return _identifier(named) if entry["type"] == "m.room.redaction" else None


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError) as error:
        log.error("The homeserver sent a body that is no JSON: %s", error)
        raise _refusal(web.HTTPBadRequest, "M_NOT_JSON", "The body is not JSON.") from error
    if not isinstance(read, dict):
        raise _refusal(web.HTTPBadRequest, "M_BAD_JSON", "The body is not a JSON object.")
    return read


def _refusal(kind: type[web.HTTPError], errcode: str, error: str) -> web.HTTPError:
    return kind(content_type="application/json", text=json.dumps({"errcode": errcode, "error": error}))
