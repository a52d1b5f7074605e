"""Who may administer what (ROLE)."""

from __future__ import annotations

from collections.abc import Iterator

from policy.decision import Objection
from policy.model import Moment, Policy
from policy.question import Administer
from policy.rules.person import actor_objections

_PEOPLE = Objection("ROLE-1", "Only the organisation's administrators can manage its people and contact books.")
_SETTINGS = Objection("ROLE-4", "Only a system administrator can change the organisation's settings.")
_USER_ADMIN = Objection("ROLE-3", "User administrators manage people and contact books, not the settings.")
_REVIEWERS = Objection("ROLE-4", "Only a system administrator can say who reviews chats.")

_OBJECTIONS: dict[tuple[str, str], tuple[Objection, ...]] = {
    ("people", ""): (_PEOPLE,),
    ("books", ""): (_PEOPLE,),
    ("settings", ""): (_SETTINGS,),
    ("reviewers", ""): (_REVIEWERS,),
    ("settings", "user"): (_USER_ADMIN, _SETTINGS),
    ("reviewers", "user"): (_REVIEWERS,),
}


def objections(policy: Policy, question: Administer, now: Moment) -> Iterator[Objection]:
    who = policy.people[question.who]
    yield from actor_objections(policy, who, now)
    rights = who.admin if who.organisation == question.organisation else ""
    yield from _OBJECTIONS.get((question.what, rights), ())
