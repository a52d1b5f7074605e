"""How large a benchmark is: the real one, or one that only shows that it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Say = Callable[[str], None]
"""Told what is being done, for somebody who waits."""


@dataclass(frozen=True, slots=True)
class Size:
    """Numbers of things; people come in thousands, ten organisations of at least a hundred."""

    people: int = 100_000
    other_worlds: tuple[int, ...] = (1_000, 1_000_000)
    questions: int = 4_000
    cedar_people: int = 5_000
    cedar_questions: int = 300
    searches: int = 2_000
    room: int = 10
    """Participants of the chat that is written in."""
    sends: int = 160
    """To each homeserver in a round."""
    reload_sends: int = 300
    chats: tuple[int, ...] = (1_000, 100_000)
    """Messages of the chats that are exported."""
    stored: int = 5_000
    """Events put on record."""
    rounds: int = 9
    send_rounds: int = 9


FULL = Size()
TINY = Size(
    people=1_000,
    other_worlds=(2_000,),
    questions=64,
    cedar_people=1_000,
    cedar_questions=16,
    searches=50,
    room=3,
    sends=3,
    reload_sends=10,
    chats=(40,),
    stored=30,
    rounds=2,
    send_rounds=2,
)
