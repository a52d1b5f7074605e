"""Whether an empty record may be begun, by what the homeserver answers."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest
from mautrix.api import Method, PathBuilder

from bridge.config import load
from bridge.empty_record import RecordMissing, refuse_to_forget
from bridge.homeserver import Homeserver, Refused
from bridge.store import Arrival, Store

CONFIG = load(Path(__file__).parents[2] / "config.example.yaml")
NOT_FOUND = Refused(404, "M_NOT_FOUND", "Event not found.")


async def begin(rooms: object, *states: object, on_record: int = 0) -> int:
    """Begin where the bot is in these rooms, of which each has or has not the state of a chat; how much was asked."""
    answers = iter([rooms, *states])

    async def answer(_method: Method, _path: PathBuilder) -> object:
        said = next(answers)
        if isinstance(said, Exception):
            raise said
        return said

    homeserver = Mock(spec=Homeserver, ask=AsyncMock(side_effect=answer))
    store = Mock(spec=Store, last_arrival=AsyncMock(return_value=Arrival(on_record)))
    await refuse_to_forget(CONFIG, store, homeserver)
    return int(homeserver.ask.await_count)


def rooms(*names: str) -> dict[str, list[str]]:
    return {"joined_rooms": list(names)}


async def test_where_there_is_a_record_nothing_is_asked() -> None:
    assert await begin(rooms("!a:x"), {"organisation": "hillside"}, on_record=1) == 0


async def test_rooms_that_are_no_chats_keep_no_record_away() -> None:
    removed_since = Refused(403, "M_FORBIDDEN", "Not in the room.")

    assert await begin(rooms()) == 1
    assert await begin(rooms("!a:x", "!b:x"), NOT_FOUND, removed_since) == 3


async def test_one_chat_among_other_rooms_is_enough() -> None:
    with pytest.raises(RecordMissing, match=r"^The database is empty, though there are chats on the homeserver"):
        await begin(rooms("!a:x", "!b:x", "!c:x"), NOT_FOUND, {"organisation": "hillside"})


@pytest.mark.parametrize(("status", "errcode"), [(401, "M_UNKNOWN_TOKEN"), (403, "M_FORBIDDEN")])
async def test_a_bot_that_is_not_let_in_is_told_so_later(status: int, errcode: str) -> None:
    assert await begin(Refused(status, errcode, "No.")) == 1


@pytest.mark.parametrize("answers", [(), (rooms("!a:x", "!b:x"), NOT_FOUND)], ids=["the rooms", "one of them"])
async def test_a_homeserver_that_fails_does_not_say_that_there_are_no_chats(answers: tuple[object, ...]) -> None:
    failure = Refused(500, "M_UNKNOWN", "Internal server error.")

    with pytest.raises(RecordMissing, match=r"does not say whether there are chats .* \(Internal server error\)\."):
        await begin(*answers, failure)
