"""May two people see, and may they reach, each other? The two relations everything else is made of.

`see` decides lists, `reach` decides whom one may start a chat with or bring into one (domain, section 1). Books govern
starting and adding, not staying.
"""

from __future__ import annotations

from policy.model import Membership, Moment, PersonId, Policy, Status, UserId


def status(member: Membership, now: Moment) -> Status:
    """Where the membership stands at that moment; past its end date it counts as left."""
    return member.status if now < member.ends else "left"


def is_active(policy: Policy, user: UserId, now: Moment) -> bool:
    """Has the account an active membership anywhere?"""
    return any(status(member, now) == "active" for member in policy.accounts.get(user, ()))


def present(member: Membership, now: Moment) -> bool:
    """Active, or suspended and shown as Unavailable (USR-1): may be seen and named."""
    return now < member.ends and (member.status == "active" or member.status == "suspended")


def books(policy: Policy, member: Membership, now: Moment) -> frozenset[str]:
    """The member's books, with those of everybody the member stands in for at that moment."""
    if member.id not in policy.stand_ins:
        return member.books
    return frozenset().union(*(policy.people[one].books for one in _covered(policy, member.id, now)))


def with_several(policy: Policy) -> frozenset[PersonId]:
    """The memberships whose Matrix ID holds several (INV-12): so few that the others need not be looked up."""
    found: frozenset[PersonId] | None = policy.memo.get("with_several")
    if found is None:
        several = (members for members in policy.accounts.values() if len(members) > 1)
        found = policy.memo["with_several"] = frozenset(member.id for members in several for member in members)
    return found


def same_person(policy: Policy, member: Membership) -> tuple[Membership, ...]:
    """The membership and all others of its Matrix ID."""
    if member.matrix is None or member.id not in with_several(policy):
        return (member,)
    return policy.accounts[member.matrix]


def _covered(policy: Policy, stand_in: PersonId, now: Moment) -> set[PersonId]:
    """The stand-in and all they cover; covers chain (C for B, B for A) and loops end."""
    reached, waiting = {stand_in}, [stand_in]
    while waiting:
        for cover in policy.stand_ins.get(waiting.pop(), ()):
            if cover.starts <= now < cover.ends and cover.absent not in reached:
                reached.add(cover.absent)
                waiting.append(cover.absent)
    return reached


def share_book(policy: Policy, one: Membership, other: Membership, now: Moment) -> bool:
    """A common book, and between two clients one that lets clients see each other (BOOK-2, BOOK-8)."""
    ours, theirs = one.books, other.books
    if one.id in policy.stand_ins or other.id in policy.stand_ins:
        ours, theirs = books(policy, one, now), books(policy, other, now)
    if one.role == "client" and other.role == "client" and policy.closed_books:
        return any((one.organisation, book) not in policy.closed_books for book in ours & theirs)
    return not ours.isdisjoint(theirs)


def linked(policy: Policy, one: str, other: str) -> bool:
    """The same organisation, or two of one network (DIR-4)."""
    if one == other:
        return True
    network = policy.organisations[one].network
    return network is not None and network == policy.organisations[other].network


def acquainted(policy: Policy, one: Membership, other: Membership, now: Moment) -> bool:
    """What `reach` says, whatever the two memberships' status."""
    if one.role == "staff" and other.role == "staff":
        return linked(policy, one.organisation, other.organisation)
    return one.organisation == other.organisation and share_book(policy, one, other, now)


def see(policy: Policy, one: Membership, other: Membership, now: Moment) -> bool:
    """Is `other` on the contact list of `one`?"""
    return (
        one.organisation == other.organisation
        and one.id != other.id
        and status(one, now) == "active"
        and present(other, now)
        and share_book(policy, one, other, now)
    )


def reach(policy: Policy, one: Membership, other: Membership, now: Moment) -> bool:
    """May `one` start a chat with `other`, or bring them into one? Never with oneself, by whatever membership."""
    return (
        one.id != other.id
        and (one.matrix is None or one.matrix != other.matrix)
        and status(one, now) == "active"
        and present(other, now)
        and acquainted(policy, one, other, now)
    )
