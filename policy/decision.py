"""The answer to a question: allowed or not, and every rule that objects."""

from __future__ import annotations

from typing import Literal, NamedTuple

from policy.model import PersonId

Kind = Literal["staff", "client", "external"]
Badge = Literal["S", "C", "E"]


class Objection(NamedTuple):
    """A rule that forbids, and why, in a sentence fit for the person refused."""

    rule: str
    text: str


class Found(NamedTuple):
    """Somebody a search found, as the viewer may see them."""

    person: PersonId
    name: str
    organisation: str
    """The organisation's name."""
    badge: Badge
    available: bool
    """False for suspended people, who show as Unavailable (USR-1)."""


class Decision(NamedTuple):
    """What the policy says to one question; `error` is set where it was none (somebody is in the chat already, ...)."""

    allowed: bool
    because: tuple[Objection, ...] = ()
    kind: Kind | None = None
    people: tuple[Found, ...] | None = None
    error: str | None = None

    @property
    def rules(self) -> tuple[str, ...]:
        """The ids of the rules that object, each once, in their order."""
        return tuple(dict.fromkeys(objection.rule for objection in self.because))

    @property
    def text(self) -> str:
        """The whole refusal in one paragraph."""
        return self.error or " ".join(dict.fromkeys(objection.text for objection in self.because))
