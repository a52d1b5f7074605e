"""Long work in a thread beside others who cannot wait: a little at a time, and what was made is thrown away in pieces.

An edge: it knows the time and the interpreter. One thread at a time runs Python; whoever has it is asked for it back
only after a while, and what one call does is never divided: throwing away a large dictionary is one call.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter
from types import GeneratorType
from typing import TypeVar

T = TypeVar("T")

WORK = 0.0007
"""Seconds of work in a turn."""

_ASKED_BACK_AFTER = 0.001
"""Seconds after which a thread that works gives way to one that waits; usually five times as long."""

_MANY = 1_500
"""Objects made since the last collection, from which on they are set aside."""

_PIECES = 500


def turns(steps: Generator[None, None, T], pause: float, wait: Callable[[float], object]) -> Generator[None, None, T]:
    """The same steps, a turn of them at a time; after each turn `wait` is called with `pause`, in seconds.

    Without a pause it is one turn.
    """
    rested = perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        if pause and perf_counter() - rested > WORK:
            _spare_the_collector()
            wait(pause)
            yield
            rested = perf_counter()


@contextmanager
def quick_turns() -> Iterator[None]:
    """Threads that work give way sooner meanwhile, this one too."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(min(usual, _ASKED_BACK_AFTER))
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def thrown_away(wholes: list[object], small: tuple[type, ...]) -> Generator[None, None, None]:
    """Throw away what is in the list, in steps; it is emptied. Objects of the types in `small` go as a whole.

    What somebody else still holds stays as it is: nothing is emptied, the last hold on it is let go.
    """
    # Held one by one, the pieces outlive what holds them together, and go in their turn.
    pieces: list[object] = []
    for some in _pieces(wholes, small):
        pieces += some
        yield
    wholes.clear()
    some = []
    gc.freeze()
    while pieces:
        del pieces[-_PIECES:]
        yield


def _pieces(wholes: Iterable[object], small: tuple[type, ...]) -> Iterator[list[object]]:
    waiting, portion = list(wholes), []
    known = set(map(id, waiting))
    while waiting:
        for part in gc.get_referents(waiting.pop()):
            if not _is_whole(part, small):
                portion.append(part)
            elif id(part) not in known:
                known.add(id(part))
                waiting.append(part)
        if len(portion) > _PIECES:
            yield portion
            portion = []
    yield portion


def _is_whole(part: object, small: tuple[type, ...]) -> bool:
    """Containers, what our own classes make, and work that was broken off."""
    kind = type(part)
    return kind in (dict, list, GeneratorType) or (kind.__module__.startswith("policy.") and kind not in small)


def _spare_the_collector() -> None:
    """Synapse collects garbage about once a second, and would walk through all that has been made of a large file."""
    if gc.get_count()[0] > _MANY:
        gc.collect(0)
        gc.freeze()
