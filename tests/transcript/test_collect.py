"""History that is spooled comes back as it was, as often as it is asked for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.transcript.collect import spool

EVENTS = ['{"body": "a\\nb"}', '{\n "body": "\u2028\x85"\n}', '{"body": "\ud800"}', "broken \r"]


async def history() -> AsyncIterator[str]:
    for event in EVENTS:
        yield event


async def test_every_event_comes_back_in_its_order_as_often_as_it_is_asked_for(tmp_path: Path) -> None:
    events = await spool(history(), tmp_path / "events")

    first, second = list(events()), list(events())
    assert [json.loads(event) for event in first[:3]] == [json.loads(event) for event in EVENTS[:3]]
    assert first == second
    assert len(first) == len(EVENTS)


async def test_a_history_that_breaks_off_leaves_the_former_file(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[str]:
        yield "{}"
        raise ConnectionError("the database is away")

    before = await spool(history(), tmp_path / "events")

    with pytest.raises(ConnectionError):
        await spool(broken(), tmp_path / "events")
    assert len(list(before())) == len(EVENTS)
