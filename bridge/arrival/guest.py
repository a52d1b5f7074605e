"""Who follows a link, what they typed, and what has to be put right: the words of page and acceptance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bridge.arrival.consent import Consent
from bridge.arrival.invitation import Invitation, Standing
from policy.model import Membership, Moment, Organisation


class Problem(Exception):
    """What has to be put right, as fields of the form and keys of the wording; nothing was changed."""

    def __init__(self, field: str, key: str, **values: str) -> None:
        super().__init__(key)
        self.field = field
        self.key = key
        self.values: Mapping[str, str] = values


class Problems(Exception):
    """Several of them at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(", ".join(map(str, problems)))
        self.problems = tuple(problems)


class Guest(NamedTuple):
    """Whoever follows a link: the invitation, the row of the policy, and what the link is good for."""

    invitation: Invitation
    member: Membership | None
    organisation: Organisation | None
    standing: Standing


@dataclass(frozen=True, slots=True)
class Form:
    """What somebody typed to get a new account."""

    username: str
    password: str
    again: str
    consent: Consent

    def __repr__(self) -> str:
        return f"Form({self.username!r})"


def opened(guest: Guest | None) -> Membership:
    """The member whose invitation can be accepted; the page says why where it cannot."""
    if guest is None or guest.standing != "open" or guest.member is None:
        raise Problem("", "closed")
    return guest.member


def standing_of(member: Membership | None, standing: Standing, now: Moment) -> Standing:
    """What a link is good for as far as the policy says: also an administrator accepts, revokes, or sets an end."""
    if member is not None and member.status in ("active", "suspended"):
        return "accepted"
    return standing if member is not None and member.status == "invited" and now < member.ends else "revoked"
