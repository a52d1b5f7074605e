"""A room's history on its way from the record to an export: spooled to a file, so that its length does not matter."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterator
from pathlib import Path

Spooled = Callable[[], Iterator[str]]
"""Begins the events anew, each as its JSON."""


async def spool(events: AsyncIterable[str], path: Path) -> Spooled:
    """Write the JSON of every event to the file, and give back how to read them, as often as wanted.

    The file is there whole or not at all.
    """
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as out:
        async for event in events:
            # Between the tokens of JSON a line feed is a space, and inside of them there is none (RFC 8259, 2 and 7).
            out.write(event.replace("\n", " ") + "\n")
    unfinished.replace(path)
    return lambda: _lines(path)


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="surrogatepass", newline="\n") as events:
        yield from events
