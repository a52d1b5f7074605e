"""One person's coming and going in a chat, with the names they bore."""

from __future__ import annotations

from bridge.transcript.model import Milliseconds, Participant, Person

MOST_NAMES = 50
"""Names kept of one person, so that somebody who changes theirs all day fills no page."""


class Presence:
    """One person's coming and going, as far as it was read."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.membership = "leave"
        self.names: dict[str, None] = {}
        self.stays: list[tuple[Milliseconds | None, Milliseconds | None]] = []

    def joins(self, time: Milliseconds | None) -> None:
        if self.membership != "join":
            self.stays.append((time, None))

    def goes(self, time: Milliseconds | None) -> None:
        if self.membership == "join" and self.stays:
            self.stays[-1] = (self.stays[-1][0], time)

    def bears(self, name: str | None) -> None:
        """From here on."""
        if name and name != self.person.name:
            self.person = self.person._replace(name=name)
        if len(self.names) < MOST_NAMES:
            self.names[self.person.name] = None

    @property
    def took_part(self) -> bool:
        """Whether they were in the chat, are invited, or wrote in it without the room saying how they came."""
        return bool(self.stays) or self.membership == "invite" or not self.names

    def participant(self) -> Participant:
        """What the cover says of them."""
        return Participant(self.person, tuple(self.names) or (self.person.name,), tuple(self.stays))
