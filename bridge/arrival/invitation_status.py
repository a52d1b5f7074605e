"""What administrators should know about their invitations, as `status` says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from bridge.arrival.invitation import Invitation, State
from policy.model import Moment

MOST_LINES = 100
"""Lines about single people; an event of Matrix holds 64 KiB."""

STATES: tuple[State, ...] = ("pending", "accepted", "declined")


def status_of(invitations: Iterable[Invitation], now: Moment) -> Iterator[str]:
    """How many there are in each state, and what is amiss with whom, what wants a hand first."""
    all_ = list(invitations)
    counts = Counter(one.state for one in all_)
    if all_:
        yield "Invitations: " + ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) + "."
    pending = [one for one in all_ if one.state == "pending"]
    yield from _waiting([one for one in pending if one.failures and not one.bounced])
    lines = [*_bounced(pending), *_unsure(pending), *_declined(all_), *_unanswered(pending, now)]
    yield from lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        yield f"… and {len(lines) - MOST_LINES} more."


def _waiting(those: Sequence[Invitation]) -> Iterator[str]:
    """Mails that wait all wait for the same server, and may be hundreds."""
    if len(those) == 1:
        (one,) = those
        tries = "once" if one.failures == 1 else f"{one.failures} times"
        yield f"- {one.person}: the mail waits for the mail server ({one.trouble}), tried {tries}."
    elif those:
        reason, _ = Counter(one.trouble for one in those).most_common(1)[0]
        yield f"- {len(those)} mails wait for the mail server, that of {those[0].person} first ({reason})."


def _bounced(those: Sequence[Invitation]) -> Iterator[str]:
    for one in those:
        if one.bounced:
            yield f"- {one.person}: the mail to {one.email} came back ({one.trouble}); “resend PERSON NEW-ADDRESS”."


def _unsure(those: Sequence[Invitation]) -> Iterator[str]:
    for one in those:
        if one.trouble and not (one.bounced or one.failures):
            yield f"- {one.person}: {one.trouble}."


def _declined(those: Sequence[Invitation]) -> Iterator[str]:
    for one in those:
        if one.state == "declined":
            yield f"- {one.person} has declined; “resend” offers it again."


def _unanswered(those: Sequence[Invitation], now: Moment) -> Iterator[str]:
    for one in those:
        over = one.mailed or one.letter
        if over and one.next_mail is None and one.link_until < now and not (one.bounced or one.trouble):
            yield f"- {one.person} did not answer in time; “resend” offers it again."
