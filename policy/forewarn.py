"""What is no mistake today and will be trouble soon: what `check` and `status` say ahead.

A date that passes never makes a file a mistake, so somebody has to look ahead: whose membership ends while a book or an
organisation still counts on them, and who is active but has no account.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, tzinfo
from math import inf
from zoneinfo import ZoneInfo

from policy.model import Book, Membership, Moment, Organisation, Policy

SOON = 28 * 24 * 3600.0
"""Seconds ahead that are looked at: four weeks, in which an office can find somebody else."""

NAMED = 5
"""As many people are named in one sentence; the others are counted."""


def warnings(policy: Policy, now: Moment, soon: float = SOON) -> list[str]:
    """Sentences about what deserves attention within the next `soon` seconds, in the order of the file."""
    here: dict[str, list[Membership]] = {}
    for member in policy.people.values():
        here.setdefault(member.organisation, []).append(member)
    return [
        sentence
        for organisation in policy.organisations.values()
        for sentence in _of_organisation(policy, organisation, here.get(organisation.identifier, []), now, now + soon)
    ]


def _of_organisation(
    policy: Policy, organisation: Organisation, members: list[Membership], now: Moment, then: Moment
) -> Iterator[str]:
    org = organisation.identifier
    active = [member for member in members if member.status == "active"]
    homeless = [member for member in active if member.matrix is None and member.ends > now]
    if homeless:
        yield f"{org}: {_people(homeless)} active without a Matrix ID: they can take no part yet"
    over = [member for member in members if member.status not in ("left", "invited") and member.ends <= now]
    if over:
        yield f"{org}: {_people(over)} past the end of the membership: set status: left"
    yield from _running_out(
        f"{org} has no active system admin", [m for m in active if m.admin == "system"], organisation, then
    )
    for book in organisation.books.values():
        people = [policy.people[person] for person in book.members]
        if _served(people, then):
            yield from _running_out(
                f"{org}: book {book.identifier} has clients and no staff", _staff(people), organisation, then
            )
            yield from _away(policy, organisation, book, people, now, then)
    done = [cover for cover in organisation.covers if cover.ends <= now]
    if done:
        yield f"{org}: {len(done)} {'cover is' if len(done) == 1 else 'covers are'} over and can be deleted"


def _staff(people: Iterable[Membership]) -> list[Membership]:
    return [member for member in people if member.role == "staff" and member.status == "active"]


def _served(people: Iterable[Membership], then: Moment) -> bool:
    return any(member.role == "client" and member.status != "left" and member.ends > then for member in people)


def _running_out(what: str, those: list[Membership], organisation: Organisation, then: Moment) -> Iterator[str]:
    """Everybody counted on ends in time; the last of them says when."""
    last = max(those, key=lambda member: member.ends, default=None)
    if last is not None and last.ends <= then:
        day = _day(last.ends, organisation)
        yield f"{what} from {day}, when the membership of {last.id} has ended: name somebody else"


def _away(
    policy: Policy, organisation: Organisation, book: Book, people: list[Membership], now: Moment, then: Moment
) -> Iterator[str]:
    """A cover whose stand-in leaves before it ends leaves the book with nobody who is there."""
    staff = _staff(people)
    if len(staff) != 1:
        return
    for cover in organisation.covers:
        stand_in = policy.people[cover.stand_in]
        if cover.absent == staff[0].id and cover.starts <= then and now < cover.ends:
            gone = stand_in.ends if stand_in.status == "active" else -inf
            if gone < cover.ends:
                days = f"{cover.first_day} to {cover.last_day}"
                yield (
                    f"{organisation.identifier}: book {book.identifier} has nobody for part of {days}: "
                    f"{cover.absent} is away and {cover.stand_in} is not there to stand in"
                )


def _people(members: list[Membership]) -> str:
    names = ", ".join(member.identifier for member in members[:NAMED])
    more = f" and {len(members) - NAMED} more" if len(members) > NAMED else ""
    return f"{names}{more} {'is' if len(members) == 1 else 'are'}"


def _day(moment: Moment, organisation: Organisation) -> str:
    zone: tzinfo = UTC if organisation.timezone == "UTC" else ZoneInfo(organisation.timezone)
    return datetime.fromtimestamp(moment, zone).date().isoformat()
