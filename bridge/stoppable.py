"""Work in a thread, which cannot be cancelled: it is asked to stop at its next step, and waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import ParamSpec, TypeVar

Item = TypeVar("Item")
Given = ParamSpec("Given")


class Stopped(Exception):
    """The program ends; what was begun goes on when it is asked for again."""


class Stoppable:
    """One piece of work; between its steps it looks whether it is to stop, and then raises `Stopped`."""

    def __init__(self) -> None:
        self._stopping = threading.Event()

    async def do(self, work: Callable[[], None]) -> None:
        """Do it in a thread; when this is cancelled the work is stopped, and has ended when this does."""
        working = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            self._stopping.set()
            await asyncio.gather(working, return_exceptions=True)
            raise

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, each a step."""
        for item in items:
            self._step()
            yield item

    def before(self, act: Callable[Given, None]) -> Callable[Given, None]:
        """The act, as a step."""

        def stepping(*given: Given.args, **named: Given.kwargs) -> None:
            self._step()
            act(*given, **named)

        return stepping

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than there is work."""
        self._stopping.wait(seconds)

    def _step(self) -> None:
        if self._stopping.is_set():
            raise Stopped("The program ends.")
