"""What people may do in a chat: add, remove, leave, rename, send (PART, CHAT, EXT)."""

from __future__ import annotations

from collections.abc import Iterator

from policy.decision import Objection
from policy.model import Membership, Moment, PersonId, Policy
from policy.question import Add, BarClients, Chat, Enter, Leave, Remove, Rename, Send
from policy.reach import acquainted, linked, same_person, status, with_several
from policy.rules.company import (
    CHAT_10,
    EXT_3,
    EXT_4,
    any_client,
    apart_objections,
    counts_as_client,
    current_kind,
    had_client,
    kind_of,
    limit_objections,
    stranger_objections,
)
from policy.rules.person import actor_objections, name_for, target_objections
from policy.rules.start_chat import outside

_ABSENT = {
    Send: ("PART-8", "You are not in this chat and cannot write in it."),
    Add: ("PART-1", "You are not in this chat; only those in it can add people."),
    Remove: ("PART-7", "You are not in this chat; only staff in it can remove people."),
    Rename: ("CHAT-6", "You are not in this chat; only those in it can rename it."),
    BarClients: ("CHAT-10", "You are not in this chat; only staff in it can make it staff-only."),
}
_FORMER = Objection("PART-8", "You are no longer in this chat: you keep what you saw, and cannot act in it.")
_DRAFT = Objection("CHAT-1", "This chat has not begun: until its first message only its creator can act in it.")


def _acting(policy: Policy, question: Add | Remove | Rename | Send | BarClients, now: Moment) -> Iterator[Objection]:
    """Who acts is active, in the chat, among people who may be together, and in a draft its creator."""
    who, chat = policy.people[question.who], question.chat
    if who.status != "active" or now >= who.ends:
        yield from actor_objections(policy, who, now)
    if chat.draft:
        if question.who != chat.author:
            yield _DRAFT
    elif question.who not in chat.participants:
        yield _FORMER if question.who in chat.former else Objection(*_ABSENT[type(question)])
    yield from apart_objections(policy, chat, now)


def present_in(policy: Policy, person: PersonId, chat: Chat) -> bool:
    """In the chat already, also by another membership of the same Matrix ID."""
    if person in chat.participants:
        return True
    if person not in with_several(policy):
        return False
    return any(other.id in chat.participants for other in same_person(policy, policy.people[person]))


def _in(question: Add | Remove) -> bool:
    chat = question.chat
    return question.who in chat.participants or (chat.draft and question.who == chat.author)


def add_error(policy: Policy, question: Add, now: Moment) -> str | None:
    """Adding somebody present is no question; who is not in the chat learns nothing of who is."""
    if not present_in(policy, question.whom, question.chat) or not _in(question):
        return None
    who, whom = policy.people[question.who], policy.people[question.whom]
    return f"{name_for(policy, who, whom, now)} is in this chat already."


def add_objections(policy: Policy, question: Add, now: Moment) -> Iterator[Objection]:
    who, whom = policy.people[question.who], policy.people[question.whom]
    yield from _acting(policy, question, now)
    if acquainted(policy, who, whom, now):
        yield from target_objections(policy, who, whom, now)
    else:
        yield from _not_addable(policy, who, whom, now)
    yield from _entering(policy, whom, question.chat, now)


def _not_addable(policy: Policy, who: Membership, whom: Membership, now: Moment) -> Iterator[Objection]:
    """Why the asker may not bring this person in (PART-1 to PART-3)."""
    if not linked(policy, who.organisation, whom.organisation):
        yield outside(policy, who, whom, now)
    if who.role == "client":
        name = name_for(policy, who, whom, now)
        yield Objection("PART-1", f"{name} is not on your contact list; add people who are, or ask a member of staff.")
        if who.organisation != whom.organisation:
            yield Objection("EXT-1", "Only staff can chat with people of other organisations.")
    elif whom.role == "client":
        yield Objection(
            "PART-3",
            f"{name_for(policy, who, whom, now)} is not on your contact list; staff can add those clients with whom "
            "they share a contact book.",
        )


def _entering(policy: Policy, whom: Membership, chat: Chat, now: Moment) -> Iterator[Objection]:
    """Whether this person and this chat go together, whoever asks."""
    home = chat.organisation
    kind = current_kind(policy, chat)
    if whom.organisation != home:
        yield from _from_outside(policy, whom, chat, now)
    elif kind == "external" and counts_as_client(policy, whom, _taking_part(policy, whom, chat), now):
        yield EXT_3
    if chat.staff_only and whom.role == "client":
        yield CHAT_10
    if len(chat.participants) >= policy.organisations[home].max_participants and status(whom, now) != "suspended":
        after = kind_of(policy, home, (whom.id,), kind)
        yield from limit_objections(policy, home, (*chat.participants, whom.id), after, now)


def _from_outside(policy: Policy, whom: Membership, chat: Chat, now: Moment) -> Iterator[Objection]:
    """Staff of the network, where there is no client on either side."""
    yield from stranger_objections(policy, chat.organisation, whom)
    together = _taking_part(policy, whom, chat)
    if counts_as_client(policy, whom, together, now):
        yield EXT_3
    members = [policy.people[one] for one in chat.participants]
    if whom.role == "staff" and (had_client(policy, chat) or any_client(policy, members, together, now)):
        yield EXT_4


def _taking_part(policy: Policy, whom: Membership, chat: Chat) -> set[str]:
    organisations = {policy.people[one].organisation for one in chat.participants}
    return organisations | {chat.organisation, whom.organisation}


def enter_objections(policy: Policy, question: Enter, now: Moment) -> Iterator[Objection]:
    """What a return, or an invitation of the bot, is judged by: the person and the chat, nobody's contact list."""
    whom = policy.people[question.who]
    yield from actor_objections(policy, whom, now)
    yield from _entering(policy, whom, question.chat, now)


def remove_error(policy: Policy, question: Remove, now: Moment) -> str | None:
    """Removing somebody absent is no question; removing oneself is leaving."""
    if question.whom == question.who:
        return leave_error(policy, _leaving(question), now)
    if question.whom in question.chat.participants or not _in(question):
        return None
    who, whom = policy.people[question.who], policy.people[question.whom]
    return f"{name_for(policy, who, whom, now)} is not in this chat."


def remove_objections(policy: Policy, question: Remove, now: Moment) -> Iterator[Objection]:
    if question.whom == question.who:
        yield from leave_objections(policy, _leaving(question), now)
        return
    yield from _acting(policy, question, now)
    if policy.people[question.who].role == "client":
        yield Objection("PART-7", "Only staff can remove people from a chat; you can leave it yourself.")


def _leaving(question: Remove) -> Leave:
    return Leave(question.who, question.chat, question.on)


def leave_error(_policy: Policy, question: Leave, _now: Moment) -> str | None:
    """Leaving a chat one is not in is no question."""
    if question.who in question.chat.participants:
        return None
    return "You are not in this chat."


def leave_objections(policy: Policy, question: Leave, now: Moment) -> Iterator[Objection]:
    """Every participant can leave (PART-6), suspended ones too (USR-1)."""
    who = policy.people[question.who]
    if status(who, now) != "suspended":
        yield from actor_objections(policy, who, now)
    if question.chat.draft and question.who != question.chat.author:
        yield _DRAFT


def rename_objections(policy: Policy, question: Rename, now: Moment) -> Iterator[Objection]:
    yield from _acting(policy, question, now)


def send_objections(policy: Policy, question: Send, now: Moment) -> Iterator[Objection]:
    yield from _acting(policy, question, now)
    chat = question.chat
    if chat.draft and not any(person != question.who for person in chat.participants):
        yield Objection("CHAT-7", "A new chat needs at least one other participant. Invite somebody before you write.")


def bar_clients_objections(policy: Policy, question: BarClients, now: Moment) -> Iterator[Objection]:
    """Staff make a chat staff-only while no client is or was in it (CHAT-10)."""
    yield from _acting(policy, question, now)
    if policy.people[question.who].role == "client":
        yield Objection("CHAT-10", "Only staff can make a chat staff-only.")
    if current_kind(policy, question.chat) == "client":
        yield Objection("CHAT-10", "This chat has, or once had, a client and cannot be staff-only. Start a new one.")
