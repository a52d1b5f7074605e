"""Is somebody on my contact list? (BOOK, LIST)"""

from __future__ import annotations

from collections.abc import Iterator

from policy.decision import Objection
from policy.model import Membership, Moment, Policy
from policy.question import See
from policy.reach import share_book
from policy.rules.person import actor_objections, name_for, target_objections


def objections(policy: Policy, question: See, now: Moment) -> Iterator[Objection]:
    who, whom = policy.people[question.who], policy.people[question.whom]
    yield from actor_objections(policy, who, now)
    if who.id == whom.id:
        yield Objection("BOOK-2", "You are not on your own contact list.")
    elif who.organisation != whom.organisation:
        yield Objection(
            "LIST-1",
            f"{name_for(policy, who, whom, now)} is not a member of {policy.organisations[who.organisation].name}; "
            "each organisation has its own contact list.",
        )
    elif not share_book(policy, who, whom, now):
        yield no_common_book(policy, who, whom, now)
    else:
        yield from target_objections(policy, who, whom, now)


def no_common_book(policy: Policy, who: Membership, whom: Membership, now: Moment) -> Objection:
    """Why two members of one organisation are not on each other's list."""
    name = name_for(policy, who, whom, now)
    match who.role, whom.role:
        case "client", "client":
            return Objection(
                "BOOK-8",
                f"{name} is not on your contact list: you share no contact book in which clients see each other.",
            )
        case "staff", "staff":
            return Objection(
                "BOOK-5",
                f"{name} is not on your contact list: you share no contact book. "
                "As colleagues you find each other by search all the same.",
            )
        case _:
            return Objection(
                "BOOK-6",
                f"{name} is not on your contact list: you share no contact book. "
                "An administrator can add one of you to a book of the other.",
            )
