"""May this chat be started? (CHAT, EXT)"""

from __future__ import annotations

from collections.abc import Iterator

from policy.decision import Objection
from policy.model import Membership, Moment, Policy
from policy.question import StartChat
from policy.reach import acquainted, linked, present, same_person
from policy.rules.company import CHAT_10, EXT_3, kind_of, limit_objections, mixed, stranger_objections
from policy.rules.person import actor_objections, name_for, target_objections
from policy.rules.see import no_common_book


def others(policy: Policy, question: StartChat) -> tuple[Membership, ...]:
    """Everybody named but the asker, each once; naming oneself counts for nothing."""
    own = {member.id for member in same_person(policy, policy.people[question.who])}
    return tuple([policy.people[person] for person in dict.fromkeys(question.people) if person not in own])


def objections(policy: Policy, question: StartChat, now: Moment) -> Iterator[Objection]:
    who = policy.people[question.who]
    people = others(policy, question)
    yield from actor_objections(policy, who, now)
    if question.organisation is not None and question.organisation != who.organisation:
        yield Objection("LIST-1", "Start this chat as a member of that organisation: a chat belongs to its creator's.")
    if not people:
        yield Objection("CHAT-7", "A new chat needs at least one other participant. Name somebody to talk to.")
    for whom in people:
        if not acquainted(policy, who, whom, now):
            yield from _unreachable(policy, who, whom, now)
        elif not present(whom, now):
            yield from target_objections(policy, who, whom, now)
    everybody = (who, *people)
    if mixed(policy, who.organisation, everybody, now):
        yield EXT_3
    if question.staff_only and any(member.role == "client" for member in everybody):
        yield CHAT_10
    if len(everybody) > policy.organisations[who.organisation].max_participants:
        ids = tuple(member.id for member in everybody)
        kind = kind_of(policy, who.organisation, ids)
        yield from limit_objections(policy, who.organisation, ids, kind, now)


def _unreachable(policy: Policy, who: Membership, whom: Membership, now: Moment) -> Iterator[Objection]:
    """Why two people who do not know each other may not start a chat."""
    if who.organisation == whom.organisation:
        yield no_common_book(policy, who, whom, now)
    elif not linked(policy, who.organisation, whom.organisation):
        yield outside(policy, who, whom, now)
        yield from stranger_objections(policy, who.organisation, whom)
    elif who.role == "client":
        yield Objection("EXT-1", "Only staff can chat with people of other organisations.")


def outside(policy: Policy, who: Membership, whom: Membership, now: Moment) -> Objection:
    """DIR-4: nothing outside the network is reachable."""
    organisation = policy.organisations[who.organisation].name
    return Objection(
        "DIR-4",
        f"{name_for(policy, who, whom, now)} belongs to no organisation that {organisation} is connected with. "
        "The person or the organisation has to be invited first.",
    )
