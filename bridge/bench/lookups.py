"""The floor: the same facts about the same people, looked up in bare dictionaries and frozen sets, and a truth of them.

No rule has a name here and no refusal a sentence. Every fact that decides is looked up for everybody concerned, as an
answer with all reasons has to: membership, status, end, role, books with covers, network, the other memberships of a
Matrix ID, and the limit.
"""

from __future__ import annotations

from typing import NamedTuple

from policy.model import Membership, Moment, PersonId, Policy, Status
from policy.question import Add, StartChat
from policy.reach import books

Person = tuple[str, bool, Status, Moment, str | None, frozenset[str]]
"""Organisation, client or not, status, end, Matrix ID, books."""


class Facts(NamedTuple):
    """What a policy says, without its words."""

    people: dict[PersonId, Person]
    networks: dict[str, str | None]
    limits: dict[str, int]
    elsewhere: dict[str, tuple[tuple[str, bool, Status, Moment], ...]]
    """Organisation, client or not, status and end of each membership of a Matrix ID that has several."""
    closed: dict[str, frozenset[str]]
    """The books of an organisation in which clients do not see each other."""
    stand_ins: dict[PersonId, frozenset[str]]
    """The books of those who stand in for somebody."""


def facts_of(policy: Policy, now: Moment) -> Facts:
    """Everything that is looked up, gathered before the clock runs."""
    several = {user: members for user, members in policy.accounts.items() if len(members) > 1}
    return Facts(
        {person: _person(member) for person, member in policy.people.items()},
        {one: organisation.network for one, organisation in policy.organisations.items()},
        {one: organisation.max_participants for one, organisation in policy.organisations.items()},
        {
            user: tuple((one.organisation, one.role == "client", one.status, one.ends) for one in members)
            for user, members in several.items()
        },
        {one: frozenset(book for home, book in policy.closed_books if home == one) for one in policy.organisations},
        {person: books(policy, policy.people[person], now) for person in policy.stand_ins},
    )


def _person(member: Membership) -> Person:
    return (member.organisation, member.role == "client", member.status, member.ends, member.matrix, member.books)


def may_start(facts: Facts, question: StartChat, now: Moment) -> bool:
    """The truth of a chat to be started."""
    people, networks, limits, elsewhere, closed, stand_ins = facts
    who = question.who
    home, is_client, status, ends, matrix, own = people[who]
    own = stand_ins.get(who, own)
    network, organisations, clients, several = networks[home], {home}, is_client, matrix in elsewhere
    may = status == "active" and now < ends and bool(question.people)
    for person in question.people:
        organisation, client, status, ends, matrix, theirs = people[person]
        theirs = stand_ins.get(person, theirs)
        if not client and not is_client:
            known = organisation == home or (network is not None and networks[organisation] == network)
        elif client and is_client:
            known = organisation == home and bool((own & theirs) - closed[home])
        else:
            known = organisation == home and not own.isdisjoint(theirs)
        may = may and known and (status == "active" or status == "suspended") and now < ends
        organisations.add(organisation)
        clients = clients or client
        several = several or matrix in elsewhere
    if len(organisations) > 1 and (clients or several):
        may = may and not clients and not _a_client(facts, (who, *question.people), organisations, now)
    if question.staff_only and clients:
        may = False
    return may and (
        len(question.people) < limits[home] or _counted(facts, (who, *question.people), now) <= limits[home]
    )


def may_add(facts: Facts, question: Add, now: Moment) -> bool:
    """The truth of somebody to be added."""
    people, networks, limits, elsewhere, closed, stand_ins = facts
    who, whom, chat = question.who, question.whom, question.chat
    home, participants = chat.organisation, chat.participants
    own_organisation, is_client, status, ends, _, own = people[who]
    theirs_organisation, client, their_status, their_ends, matrix, theirs = people[whom]
    own, theirs = stand_ins.get(who, own), stand_ins.get(whom, theirs)
    network = networks[home]
    if not client and not is_client:
        known = theirs_organisation == own_organisation or networks[theirs_organisation] == networks[own_organisation]
    elif client and is_client:
        known = theirs_organisation == own_organisation and bool((own & theirs) - closed[own_organisation])
    else:
        known = theirs_organisation == own_organisation and not own.isdisjoint(theirs)
    # Colleagues need no common book (PART-2); clients are added by those who share one with them.
    may = known and status == "active" and now < ends and who in participants and whom not in participants
    may = may and (their_status == "active" or their_status == "suspended") and now < their_ends
    organisations, clients, several = {home, theirs_organisation}, client, matrix in elsewhere
    for person in participants:
        organisation, one, _, _, matrix, _ = people[person]
        organisations.add(organisation)
        clients = clients or one
        several = several or matrix in elsewhere
    outside = len(organisations) > 1
    for person in chat.former:
        organisation, one, _, _, _, _ = people[person]
        clients = clients or one
        outside = outside or organisation != home
    if outside:
        linked = all(one == home or (network is not None and networks[one] == network) for one in organisations)
        may = may and linked and not clients
        may = may and not (several and _a_client(facts, (*participants, whom), organisations, now))
    if chat.staff_only and client:
        may = False
    if len(participants) < limits[home] or their_status == "suspended":
        return may
    return may and _counted(facts, (*participants, whom), now) <= limits[home]


def _a_client(facts: Facts, everybody: tuple[PersonId, ...], organisations: set[str], now: Moment) -> bool:
    accounts = [facts.people[person][4] or "" for person in everybody]
    return any(
        client and organisation in organisations and status != "left" and now < ends
        for account in accounts
        for organisation, client, status, ends in facts.elsewhere.get(account, ())
    )


def _counted(facts: Facts, everybody: tuple[PersonId, ...], now: Moment) -> int:
    taking_part = set()
    for person in everybody:
        _, _, status, ends, matrix, _ = facts.people[person]
        if status not in ("suspended", "left") and now < ends:
            taking_part.add(matrix or person)
    return len(taking_part)
