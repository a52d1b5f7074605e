"""Who may be together in one chat: its kind, clients and external staff (2.5), and how many (CHAT-3)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from policy.decision import Kind, Objection
from policy.model import Membership, Moment, PersonId, Policy
from policy.question import Chat
from policy.reach import linked, same_person, status, with_several

EXT_3 = Objection("EXT-3", "Clients cannot be invited to external chats.")
EXT_4 = Objection(
    "EXT-4",
    "External staff cannot join a chat that has, or once had, a client: they would read its history. "
    "Start a new external chat without clients.",
)
CHAT_10 = Objection("CHAT-10", "This chat is for staff only; clients cannot be added to it.")


def kind_of(policy: Policy, organisation: str, people: Iterable[PersonId], was: Kind | None = None) -> Kind:
    """The kind of a chat of that organisation with everybody who is or was in it; it never goes back (`was`)."""
    kind: Kind = was or "staff"
    if kind == "external":
        return kind
    members = policy.people
    for person in people:
        member = members[person]
        if member.organisation != organisation:
            return "external"
        if member.role == "client":
            kind = "client"
    return kind


def current_kind(policy: Policy, chat: Chat) -> Kind:
    """The kind of the chat as it stands."""
    kind = kind_of(policy, chat.organisation, chat.participants, chat.was)
    return kind_of(policy, chat.organisation, chat.former, kind) if chat.former else kind


def had_client(policy: Policy, chat: Chat) -> bool:
    """Has, or once had, a client: its history is not for other organisations (EXT-4)."""
    everybody = (*chat.participants, *chat.former)
    return chat.was == "client" or any(policy.people[person].role == "client" for person in everybody)


def counts_as_client(policy: Policy, member: Membership, taking_part: set[str], now: Moment) -> bool:
    """A client, or one whose Matrix ID is a client of an organisation that takes part in the chat."""
    return member.role == "client" or any(
        other.role == "client" and other.organisation in taking_part and status(other, now) != "left"
        for other in same_person(policy, member)
    )


def any_client(policy: Policy, members: Collection[Membership], taking_part: set[str], now: Moment) -> bool:
    """Does one of them count as a client?"""
    if "client" in [member.role for member in members]:
        return True
    several = with_several(policy)
    return any(counts_as_client(policy, member, taking_part, now) for member in members if member.id in several)


def mixed(policy: Policy, organisation: str, members: Collection[Membership], now: Moment) -> bool:
    """Would these people make an external chat with somebody in it who counts as a client?"""
    taking_part = {organisation, *[member.organisation for member in members]}
    return len(taking_part) > 1 and any_client(policy, members, taking_part, now)


def stranger_objections(policy: Policy, organisation: str, member: Membership) -> Iterator[Objection]:
    """External staff are those of the home organisation's own network."""
    if not linked(policy, organisation, member.organisation):
        home = policy.organisations[organisation].name
        yield Objection("EXT-2", f"Only staff of {home} and of its network can take part in this chat.")


def apart_objections(policy: Policy, chat: Chat, now: Moment) -> Iterator[Objection]:
    """After a change of networks or roles, people who may no longer meet can only leave (EXT-13)."""
    home = chat.organisation
    members = [policy.people[person] for person in chat.participants]
    organisations = {member.organisation for member in members}
    if organisations == {home}:
        return
    if not all(linked(policy, home, other) for other in organisations):
        yield Objection(
            "EXT-13",
            "This chat holds people of organisations that no longer share a network. You can only leave it; "
            "start a new chat with those you may still reach.",
        )
    if mixed(policy, home, members, now):
        yield EXT_3


def limit_objections(
    policy: Policy, organisation: str, people: tuple[PersonId, ...], kind: Kind, now: Moment
) -> Iterator[Objection]:
    """CHAT-3: the home organisation's limit; suspended people are out of the room and do not count."""
    limit = policy.organisations[organisation].max_participants
    if len(people) <= limit:
        return
    members = (policy.people[person] for person in people)
    counted = {member.matrix or member.id for member in members if status(member, now) not in ("suspended", "left")}
    if len(counted) <= limit:
        return
    text = f"A chat of {policy.organisations[organisation].name} can have at most {limit} participants. "
    text += "Somebody has to leave first, or start a second chat."
    yield Objection("CHAT-3", text)
    if kind == "external":
        yield Objection("EXT-6", text)
