"""What a membership's own standing forbids, and how people are named in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from policy.decision import Objection
from policy.model import Membership, Moment, Policy
from policy.reach import acquainted, present, status

_ACTOR = {
    "invited": ("INV-4", "You have not accepted your invitation to {organisation} yet. Accept it first."),
    "suspended": ("USR-1", "Your membership of {organisation} is suspended. Please ask its office."),
    "left": ("USR-2", "Your membership of {organisation} has ended. Please ask its office."),
}
_TARGET = {
    "invited": ("BOOK-10", "{name} has not accepted the invitation yet and can be reached after that."),
    "left": ("USR-2", "{name} is no longer a member of {organisation}."),
}


def name_for(policy: Policy, asker: Membership, other: Membership, now: Moment) -> str:
    """How a sentence to the asker calls the other: by name only where the asker may know it, else as it was asked.

    Who has not accepted yet, or has left, is known to staff alone (BOOK-10, USR-2); who may not act knows nobody.
    """
    known = asker.id == other.id or (
        status(asker, now) == "active"
        and (asker.role == "staff" or present(other, now))
        and acquainted(policy, asker, other, now)
    )
    return other.name if known else other.matrix or other.identifier


def actor_objections(policy: Policy, who: Membership, now: Moment) -> Iterator[Objection]:
    """Only an active member may act."""
    if who.status != "active" or now >= who.ends:
        rule, text = _ACTOR[status(who, now)]
        yield Objection(rule, text.format(organisation=policy.organisations[who.organisation].name))


def target_objections(policy: Policy, asker: Membership, whom: Membership, now: Moment) -> Iterator[Objection]:
    """Who has not accepted yet, or has left, is not reachable."""
    if not present(whom, now):
        rule, text = _TARGET[status(whom, now)]
        organisation = policy.organisations[whom.organisation].name
        yield Objection(rule, text.format(name=name_for(policy, asker, whom, now), organisation=organisation))
