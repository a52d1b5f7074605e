"""Waiting for what is away: the one loop with growing pauses, for the database and the homeserver alike.

Whoever talks to the outside turns "not now" into a kind of `Unavailable`; whoever can wait wraps the attempt in
`until_available`. Anything else that goes wrong is no reason to wait and passes through at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from itertools import repeat
from typing import TypeVar

Answer = TypeVar("Answer")

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0

log = logging.getLogger("qwil.retry")


class Unavailable(Exception):
    """Something the bridge needs is away for now: the same attempt may succeed later. Its text is a whole sentence."""


def growing_pauses(first: float = FIRST_PAUSE, longest: float = LONGEST_PAUSE) -> Iterator[float]:
    """Seconds to wait after each failure, twice as long every time and for ever, at most `longest`."""
    while first < longest:
        yield first
        first *= 2
    yield from repeat(longest)


async def until_available(
    attempt: Callable[[], Awaitable[Answer]], *, pauses: Callable[[], Iterator[float]] = growing_pauses
) -> Answer:
    """The answer of `attempt`, tried again after every `Unavailable`; any other exception passes through."""
    waits = pauses()
    while True:
        try:
            return await attempt()
        except Unavailable as away:
            pause = next(waits)
            log.warning("%s Trying again in %g seconds.", away, pause)
            _begin_anew(pause)
            await asyncio.sleep(pause)


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Raise `TimeoutError` when the body takes longer; the time for which something was away does not count."""
    async with asyncio.timeout(seconds) as limit:
        token = _limit.set((limit, seconds))
        try:
            yield
        finally:
            _limit.reset(token)


_limit: ContextVar[tuple[asyncio.Timeout, float] | None] = ContextVar("limit", default=None)


def _begin_anew(pause: float) -> None:
    """What the body waits for is nobody's slowness: it has the whole time again afterwards."""
    if (given := _limit.get()) is None:
        return
    limit, seconds = given
    # What the body began may go on after it, when its time no longer matters.
    with suppress(RuntimeError):
        limit.reschedule(asyncio.get_running_loop().time() + pause + seconds)
