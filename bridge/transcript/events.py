"""Reading what a homeserver sent: an event of a room, with nothing believed about its shape.

Any client can put anything into an event's content, so every look into it names the type it expects and gets that
type or nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from bridge.transcript.model import Milliseconds

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_TIME = 253_402_214_399_999
"""The end of 30 December 9999: as far as calendars go in every zone."""

MINUTES = tuple(f"{hour:02d}:{minute:02d}" for hour in range(24) for minute in range(60))
"""Of a day."""

_decode = json.JSONDecoder().decode
_decode_start = json.JSONDecoder().raw_decode
_AROUND = ("\n", "")
"""What stands behind an event that our own record holds."""

NOTHING: Mapping[str, Any] = {}

NEEDED = ("event_id", "type", "sender")
REDACTED_BECAUSE = "redacted_because"


class Event(NamedTuple):
    """The parts of a Matrix event that an export reads."""

    event_id: str
    type: str
    sender: str
    time: Milliseconds | None
    content: Mapping[str, Any]
    state_key: str | None
    redacts: str | None
    redacted: Mapping[str, Any] | None
    """The deletion, where the event came without the content that it deleted."""


class Unreadable(Exception):
    """What should be an event is none; the text says what is wrong with it."""


def read(raw: Mapping[str, Any] | str) -> Event:
    """The event in a mapping or in JSON text; raises `Unreadable`."""
    whole = _parsed(raw) if isinstance(raw, str) else raw
    if type(whole) is not dict and not isinstance(whole, Mapping):
        raise Unreadable("it is not a JSON object")
    event_id, kind, sender = map(whole.get, NEEDED)
    if not (event_id and type(event_id) is str and kind and type(kind) is str and sender and type(sender) is str):
        raise Unreadable(f"it has no {next(field for field in NEEDED if not text(whole, field))}")
    content, time, state_key = whole.get("content"), whole.get("origin_server_ts"), whole.get("state_key")
    content = content if isinstance(content, dict) else NOTHING
    unsigned = mapping(whole, "unsigned") if "unsigned" in whole else NOTHING
    return Event(
        event_id,
        kind,
        sender,
        time if type(time) is int and 0 <= time <= LAST_TIME else None,
        content,
        state_key if isinstance(state_key, str) else None,
        # Room version 11 moved it into the content; older ones have it beside (Client-Server API, m.room.redaction).
        (text(whole, "redacts") or text(content, "redacts")) if kind == "m.room.redaction" else None,
        mapping(unsigned, REDACTED_BECAUSE) if REDACTED_BECAUSE in unsigned else None,
    )


def text(content: Mapping[str, Any], key: str) -> str | None:
    """The string under a key, if it is one."""
    value = content.get(key)
    return value if isinstance(value, str) else None


def mapping(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under a key; an empty one if there is none."""
    value = content.get(key)
    return value if isinstance(value, dict) else NOTHING


def iso(time: Milliseconds | None) -> str | None:
    """A time as ISO 8601 in UTC, to the millisecond."""
    if time is None:
        return None
    minutes, rest = divmod(time, 60_000)
    days, minute = divmod(minutes, len(MINUTES))
    return f"{_day(days)}T{MINUTES[minute]}:{rest // 1000:02d}.{rest % 1000:03d}Z"


@lru_cache(maxsize=1024)
def _day(days: int) -> str:
    """Messages come in order: the same day is worked out once."""
    return (EPOCH + timedelta(days=days)).strftime("%Y-%m-%d")


def _parsed(raw: str) -> Any:
    try:
        try:
            whole, end = _decode_start(raw)
        except ValueError:  # for a space in front, for instance
            return _decode(raw)
        return whole if raw[end:] in _AROUND else _decode(raw)
    except (ValueError, RecursionError) as wrong:
        raise Unreadable(f"its JSON cannot be read ({wrong})") from wrong
