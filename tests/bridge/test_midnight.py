"""Everything is settled again when a day begins on which the policy says something else, whenever that is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from bridge import app
from policy.model import Policy
from policy.parse import parse

MIDNIGHT = datetime(2026, 12, 5, tzinfo=UTC).timestamp()
POLICY = """
organisations:
  hill:
    name: Hill
    mobile: optional
    people:
      head: {name: Ada Head, role: staff, admin: system, email: h@hill.example}
      lee: {name: Lee Last, role: staff, email: l@hill.example, until: 2026-12-04}
    books: {}
"""


class Settling(app.Bridge):
    """A bridge that settles from a second before midnight until a second after it."""

    def __init__(self) -> None:
        found = parse(POLICY, dict[str, bytes]().__getitem__)
        assert isinstance(found, Policy), found
        self._source = SimpleNamespace(policy=found)  # type: ignore[assignment]
        self.now = MIDNIGHT - 1
        self.begun: list[float] = []
        self.again = asyncio.Event()

    async def _changed(self) -> None:
        self.begun.append(self.now)
        self.now = MIDNIGHT + 1
        if len(self.begun) > 1:
            self.again.set()


async def test_a_day_that_begins_while_everything_is_settled_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bridge = Settling()
    monkeypatch.setattr(app, "time", SimpleNamespace(time=lambda: bridge.now))
    keeping = asyncio.create_task(bridge._keep_time())
    try:
        async with asyncio.timeout(60):
            await bridge.again.wait()
    finally:
        keeping.cancel()

    assert bridge.begun[:2] == [MIDNIGHT - 1, MIDNIGHT + 1]
