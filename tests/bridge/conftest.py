"""What tests of the bridge share: the record on either database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.store import Store


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/qwil.db"
    address: str = request.getfixturevalue("postgres")
    return address


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    """An empty record, open."""
    opened = await Store.open(database)
    yield opened
    await opened.close()
