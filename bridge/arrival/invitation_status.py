"""What administrators should know about their invitations, as `status` says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from bridge.arrival.invitation import Invitation, State
from policy.model import Moment

MOST_LINES = 100
"""Lines about single people; an event of Matrix holds 64 KiB."""

MOST_REASONS = 10

STATES: tuple[State, ...] = ("pending", "accepted", "declined")


def status_of(invitations: Iterable[Invitation], now: Moment, *, mails_go_out: bool = True) -> Iterator[str]:
    """How many there are in each state, and what is amiss with whom, what wants a hand first."""
    all_ = list(invitations)
    counts = Counter(one.state for one in all_)
    if all_:
        yield "Invitations: " + ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) + "."
    pending = [one for one in all_ if one.state == "pending"]
    yield from _waiting([one for one in pending if one.failures and not one.bounced])
    if mails_go_out and (due := sum(_is_due(one, now) for one in pending)):
        mails = "mail waits for its" if due == 1 else "mails wait for their"
        yield f"- {due} {mails} turn: config.yaml says how many go out in a minute."
    lines = [*_bounced(pending), *_unsure(pending), *_declined(all_), *_unanswered(pending, now), *_accepted(pending)]
    yield from lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        yield f"… and {len(lines) - MOST_LINES} more."


def _is_due(one: Invitation, now: Moment) -> bool:
    return one.next_mail is not None and one.next_mail <= now and not one.failures and not one.sending


def _waiting(those: Sequence[Invitation]) -> Iterator[str]:
    """What was tried in vain, by the reason: most often it is one for hundreds."""
    for reason, number in Counter(one.trouble for one in those).most_common(MOST_REASONS):
        first = next(one for one in those if one.trouble == reason)
        tries = "once" if first.failures == 1 else f"{first.failures} times"
        if number == 1:
            yield f"- {first.person}: the mail waits for the mail server ({reason}), tried {tries}."
        else:
            yield f"- {number} mails wait for the mail server ({reason}), that to {first.email} tried {tries}."


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
        over = (one.mailed or one.letter) and not one.waits
        if over and one.next_mail is None and one.link_until < now and not (one.bounced or one.trouble):
            yield f"- {one.person} did not answer in time; “resend” offers it again."


def _accepted(those: Sequence[Invitation]) -> Iterator[str]:
    for one in those:
        if one.waits:
            yield f"- {one.person} has accepted, and is a member when {one.account} logs in for the first time."
