"""Who may read a chat's record: participants who export it, and data reviewers (EXP, REV)."""

from __future__ import annotations

from collections.abc import Iterator

from policy.decision import Objection
from policy.model import Membership, Moment, Policy
from policy.question import Chat, Export, Review
from policy.reach import see
from policy.rules.company import apart_objections, current_kind, had_client
from policy.rules.person import actor_objections

_HIDDEN = Objection("CHAT-1", "A chat that has not begun is its creator's draft; nobody else finds it.")


def export_objections(policy: Policy, question: Export, now: Moment) -> Iterator[Objection]:
    who, chat = policy.people[question.who], question.chat
    yield from actor_objections(policy, who, now)
    if chat.draft and question.who != chat.author:
        yield _HIDDEN
    elif question.who in chat.participants:
        yield from _as_participant(policy, who, chat, now)
    elif any(_reviewing(policy, who, chat, now)):
        yield Objection("EXP-1", "Only staff who are in a chat can export it, and data reviewers at their level.")


def _as_participant(policy: Policy, who: Membership, chat: Chat, now: Moment) -> Iterator[Objection]:
    if who.role == "client" and not policy.organisations[chat.organisation].clients_may_export:
        yield Objection("EXP-1", "Only staff can export a chat. Please ask a member of staff for a copy.")
    if any(_reviewing(policy, who, chat, now)):
        yield from apart_objections(policy, chat, now)


def review_objections(policy: Policy, question: Review, now: Moment) -> Iterator[Objection]:
    yield from actor_objections(policy, policy.people[question.who], now)
    yield from _reviewing(policy, policy.people[question.who], question.chat, now)


def _reviewing(policy: Policy, who: Membership, chat: Chat, now: Moment) -> Iterator[Objection]:
    """What the reviewer's organisation and level leave out."""
    if chat.draft:
        yield _HIDDEN
    if not who.review:
        yield Objection("REV-2", "You have no permission to review chats; a system administrator can grant it.")
    if who.organisation not in organisations(policy, chat):
        yield Objection("EXT-9", "Your organisation does not take part in this chat and cannot review it.")
    elif who.review:
        yield from _LEVELS[who.review](policy, who, chat, now)


def organisations(policy: Policy, chat: Chat) -> set[str]:
    """Every organisation that takes or took part: each reviews the chat for itself (REV-4).

    Another organisation takes part by its staff alone (EXT-2): a Matrix ID that is left with a client's membership
    elsewhere does not open the chat to those who review there.
    """
    staff = (member for member in _everybody(policy, chat) if member.role == "staff")
    return {chat.organisation, *(member.organisation for member in staff), *chat.took_part}


def _everybody(policy: Policy, chat: Chat) -> Iterator[Membership]:
    return (policy.people[one] for one in (*chat.participants, *chat.former))


def _connected(policy: Policy, who: Membership, chat: Chat, now: Moment) -> Iterator[Objection]:
    if not any(one.role == "client" and see(policy, who, one, now) for one in _everybody(policy, chat)):
        yield Objection("REV-3", "You review chats of clients on your own contact list; this chat has none of them.")
        yield from _external(policy, chat)


def _clients(policy: Policy, _who: Membership, chat: Chat, _now: Moment) -> Iterator[Objection]:
    if not had_client(policy, chat):
        yield Objection("REV-3", "You review chats that have, or once had, a client; this chat never had one.")
        yield from _external(policy, chat)


def _external(policy: Policy, chat: Chat) -> Iterator[Objection]:
    if current_kind(policy, chat) == "external":
        yield Objection("REV-5", "External chats have no clients: only reviewers of all chats find them.")


def _all(_policy: Policy, _who: Membership, _chat: Chat, _now: Moment) -> Iterator[Objection]:
    yield from ()


_LEVELS = {"connected": _connected, "clients": _clients, "all": _all}
