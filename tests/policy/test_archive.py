"""Which rooms are looked up for being in somebody's archive (CL-2), and that no message pays for it."""

from __future__ import annotations

from collections.abc import Collection

from policy.archive import Archive
from policy.model import UserId

KIM = UserId("@kim:hs")


class Tags:
    """A homeserver's tags: a number that grows with every change, and who archived what."""

    def __init__(self) -> None:
        self.changes = 0
        self.archived: set[tuple[UserId, str]] = set()
        self.looked_up: list[set[str]] = []
        self.archive = Archive(lambda: self.changes, self._look_up, self._take_out)

    async def _look_up(self, rooms: Collection[str]) -> list[tuple[UserId, str]]:
        self.looked_up.append(set(rooms))
        return [(user, room) for user, room in self.archived if room in rooms]

    async def _take_out(self, user: UserId, room: str) -> None:
        self.archived.remove((user, room))
        self.changes += 1

    def put(self, user: UserId, room: str) -> None:
        self.archived.add((user, room))
        self.changes += 1


async def test_rooms_written_in_are_taken_out_together() -> None:
    tags = Tags()
    tags.put(KIM, "!a")
    tags.put(KIM, "!b")

    for room in ("!a", "!c", "!a"):
        tags.archive.written_in(room)
    await tags.archive.take_out()

    assert tags.archived == {(KIM, "!b")}
    assert tags.looked_up == [{"!a", "!c"}]


async def test_a_room_is_looked_up_once_while_nobody_changes_a_tag() -> None:
    tags = Tags()
    for _ in range(3):
        tags.archive.written_in("!a")
        await tags.archive.take_out()

    assert tags.looked_up == [{"!a"}]


async def test_a_room_archived_since_it_was_looked_up_is_taken_out_again() -> None:
    tags = Tags()
    tags.archive.written_in("!a")
    await tags.archive.take_out()

    tags.put(KIM, "!a")
    tags.archive.written_in("!a")
    await tags.archive.take_out()

    assert tags.archived == set()
