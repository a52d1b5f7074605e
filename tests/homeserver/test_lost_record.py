"""The bridge is pointed at another database than the one in which its record lies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bridge import app
from bridge.store import Store
from policy.rooms import CHAT
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.conftest import BOT
from tests.homeserver.matrix_client import eventually


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridged]:
    async with bridged(tmp_path_factory.mktemp("lost"), two_schools.policy(), ["okafor", "chan"]) as running:
        yield running


async def test_chats_without_their_record_are_no_reason_to_begin_a_new_one(school: Bridged, tmp_path: Path) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room = await okafor.create_room(chan.user_id)
    await eventually(lambda: okafor.members(room), lambda members: BOT in members)
    await okafor.send(room, "What the law wants kept")
    await eventually(lambda: okafor.state(room, CHAT), lambda content: content["draft"] is False)
    await school.stop()
    kept, empty = school.settings, replace(school.settings, database=f"sqlite:{tmp_path}/other.db")

    with pytest.raises(app.StartRefused) as refused:
        await app.run(empty)

    assert str(refused.value) == (
        "The database is empty, though there are chats on the homeserver: the record of them has to be in another one. "
        "Correct `database` in config.yaml, or restore your backup. Only if the record is lost for good, begin a new "
        "one with qwil run -c config.yaml --new-record: what Synapse still has of the chats is fetched into it."
    )
    # Refused once, refused again: nothing was put into it meanwhile.
    with pytest.raises(app.StartRefused):
        await app.run(empty)

    school.settings = empty
    await school.start(new_record=True)
    await eventually(lambda: record_of(empty.database, room), lambda record: "What the law wants kept" in record)
    await school.stop()
    # Now that it holds a record it is started like any other.
    await school.start()
    await school.stop()
    school.settings = kept
    await school.start()


async def record_of(database: str, room: str) -> str:
    """The chat's events."""
    store = await Store.open(database)
    try:
        return str(await store.events(room))
    finally:
        await store.close()
