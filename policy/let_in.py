"""What the homeserver does for us is not judged again while it does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from policy.room import Attempt

_MEMBER = "m.room.member"


class LetIn:
    """Events of the module's own making, which are not judged again while it makes them."""

    def __init__(self) -> None:
        self._underway: list[tuple[str, Attempt]] = []

    @contextmanager
    def meanwhile(self, room_id: str, attempt: Attempt) -> Iterator[None]:
        """Let this one through meanwhile; of a member event its membership counts, of others the whole content."""
        entry = (room_id, attempt)
        self._underway.append(entry)
        try:
            yield
        finally:
            self._underway.remove(entry)

    def covers(self, room_id: str, attempt: Attempt) -> bool:
        """Whether this is one of them."""
        return any(room_id == room and _same(attempt, made) for room, made in self._underway)


def _same(attempt: Attempt, made: Attempt) -> bool:
    if (attempt.type, attempt.sender, attempt.state_key) != (made.type, made.sender, made.state_key):
        return False
    if made.type == _MEMBER:
        return bool(attempt.content.get("membership") == made.content["membership"])
    return bool(attempt.content == made.content)
