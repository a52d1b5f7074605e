"""Exports for the tests: drawn with the fonts from PyPI alone, so that every machine draws the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from bridge.transcript import fonts as font_search
from bridge.transcript.assemble import Exported, Settings, export
from bridge.transcript.fonts import Fonts
from bridge.transcript.model import Received
from tests.transcript.room import PEOPLE, Room, account, school_trip

KEY = SigningKey(b"a key of the tests, 32 bytes....")

Make = Callable[..., Exported]


@pytest.fixture(scope="session")
def fonts() -> Fonts:
    return font_search.find(system=False)


@pytest.fixture(scope="session")
def settings(fonts: Fonts) -> Settings:
    return Settings(KEY, fonts)


@pytest.fixture(scope="session")
def make(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Export a room in folders of its own; `account` and `settings` may be changed by keywords."""

    def made(
        room: Room,
        *,
        work: Path | None = None,
        set_to: dict[str, Any] | None = None,
        received: dict[str, Received] | None = None,
        **changed: Any,
    ) -> Exported:
        folder = tmp_path_factory.mktemp("export")
        return export(
            account(**changed),
            lambda: iter(room.events),
            PEOPLE,
            room.fetch,
            work=work or folder / "work",
            out=folder / "out",
            settings=replace(settings, **(set_to or {})),
            received=received or {},
        )

    return made


@pytest.fixture(scope="session")
def trip(make: Make) -> Exported:
    """The chat with something of everything, exported once for all tests that only look at it."""
    return make(school_trip())
