"""The rooms from before are looked at again when something in them has changed, also where the homeserver was away."""

from __future__ import annotations

from typing import Any

import pytest
from mautrix.api import Method, PathBuilder

from bridge.before import Survey
from bridge.homeserver import HomeserverUnavailable
from bridge.observe import Observer
from bridge.store import Arrival, EventId, RoomId, Store, StoredEvent
from policy.model import UserId

BOT, ANN = UserId("@qwil:school.test"), UserId("@ann:school.test")
OLD, OTHER = "!a-staff-room:school.test", "!b-sports-day:school.test"


class Rooms:
    """The administration of a homeserver: its rooms, and which of them it was asked about one by one."""

    def __init__(self) -> None:
        self.names = {OLD: "Staff room", OTHER: "Sports day"}
        self.asked: list[str] = []
        self.away = False

    async def ask(self, _method: Method, path: PathBuilder, **_: Any) -> Any:
        words = str(path).split("/v1/rooms")[1].strip("/").split("/")
        if words == [""]:
            return {"rooms": [{"room_id": room, "joined_local_members": 1} for room in self.names]}
        room = words[0].replace("%21", "!").replace("%3A", ":")
        if words[1:] == ["state"]:
            return {"state": [_state("m.room.create", {}), _state("m.room.name", {"name": self.names[room]})]}
        self.asked.append(room)
        if self.away:
            raise HomeserverUnavailable("The homeserver is away.")
        return {"room_id": room, "joined_local_members": 1}


def _state(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "state_key": "", "sender": ANN, "content": content}


def changed(room: str) -> StoredEvent:
    event = (EventId("$event"), RoomId(room), ANN, "m.room.name", "", 0, 0.0, None, "{}")
    return StoredEvent(Arrival(1), *event)


async def test_a_room_that_changed_while_the_homeserver_was_away_is_looked_at_when_it_is_back(store: Store) -> None:
    rooms, observer = Rooms(), Observer(store, bot=BOT, server="school.test")
    survey = Survey(store=store, observer=observer, homeserver=rooms, admin=True)  # type: ignore[arg-type]
    await survey.look()
    rooms.names[OLD] = "Common room"
    survey.note(changed(OLD))
    survey.note(changed(OTHER))

    rooms.away = True
    with pytest.raises(HomeserverUnavailable):
        await survey.look()
    rooms.away = False
    rooms.asked.clear()
    await survey.look()

    assert rooms.asked == [OLD, OTHER]
    assert {room: before.name for room, before in observer.before.items()} == {OLD: "Common room", OTHER: "Sports day"}
