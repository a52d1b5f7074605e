"""What has to be done so that the homeserver is what the policy says: nothing here does it.

Reconciling twice gives nothing the second time. The same functions serve one room after an event and the whole
homeserver after a change of the policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policy.action import (
    Accept,
    Action,
    Release,
    Remove,
    Return,
    SetChat,
    SetLook,
    SetPower,
    SetProfile,
    ShowKind,
    StepDown,
    Wait,
    Withdraw,
)
from policy.decide import decide
from policy.model import Membership, Moment, Policy, UserId
from policy.observation import Look, Member, Observation, Room, RoomName, Settings
from policy.question import Enter
from policy.reach import present, status
from policy.rooms import KINDS, chat_in_room, shown_badge, shown_name, stands_for, stood_for
from policy.rules.company import counts_as_client, kind_of
from policy.spaces import space_actions
from policy.template import BOT_POWER, kept_powers, power_levels

Inside = Mapping[UserId, Membership | None]
"""Everybody in a room but the bot, with the membership they take part with."""


def reconcile(policy: Policy, seen: Observation, now: Moment, settings: Settings) -> Iterator[Action]:
    """Every action that is due, removals first."""
    for room in seen.rooms.values():
        yield from chat_actions(policy, seen, room, now, settings)
    yield from withheld_actions(policy, seen, now)
    yield from profile_actions(policy, seen, now)
    yield from space_actions(policy, seen, now, settings)


def chat_actions(policy: Policy, seen: Observation, room: Room, now: Moment, settings: Settings) -> Iterator[Action]:
    """What one chat needs; a draft is its creator's own and needs nothing but its power levels."""
    if room.home not in policy.organisations or room.members.get(seen.bot, Member("leave")).presence != "join":
        return
    yield from _steps_down(seen, room)
    inside = {user: stands_for(policy, room.home, user, now) for user in room.inside(seen.bot)}
    if room.draft:
        yield from _power(seen, room, inside)
        return
    going = list(_departures(policy, room, inside, now))
    yield from going
    staying = inside if not going else _without(inside, {action.user for action in going})
    if settings.auto_join:
        yield from _acceptances(seen, room, staying)
    yield from _kind(policy, seen, room, inside, now)
    yield from _power(seen, room, staying)
    yield from _looks(policy, seen, room, staying)


def _without(inside: Inside, gone: set[UserId]) -> Inside:
    return {user: member for user, member in inside.items() if user not in gone}


def _departures(policy: Policy, room: Room, inside: Inside, now: Moment) -> Iterator[Remove | Withdraw]:
    """Whoever may not be in the chat any more, with the reason."""
    home = room.home
    taking_part = {home}.union(member.organisation for member in inside.values() if member is not None)
    for user, member in inside.items():
        if member is None:
            yield _gone(policy, home, room.id, user, now)
        elif status(member, now) == "suspended":
            yield Withdraw(room.id, user)
        elif status(member, now) == "invited":
            yield Remove(room.id, user, "INV-4", f"{member.name} has to accept the invitation first.")
        elif len(taking_part) > 1 and counts_as_client(policy, member, taking_part, now):
            yield Remove(room.id, user, "EXT-3", "Clients cannot be in external chats.")


def _gone(policy: Policy, home: str, room: RoomName, user: UserId, now: Moment) -> Remove:
    """Somebody who stands for no membership here: left, deleted, or of an organisation that left the network."""
    member = stood_for(policy, home, user, now)
    if member is None:
        return Remove(room, user, "USR-2", "This account is in no organisation any more.")
    organisation = policy.organisations[member.organisation].name
    if status(member, now) == "left":
        return Remove(room, user, "USR-2", f"The membership of {organisation} has ended.")
    text = f"{organisation} and {policy.organisations[home].name} no longer share a network."
    return Remove(room, user, "EXT-13", text, waits=True)


def _acceptances(seen: Observation, room: Room, staying: Inside) -> Iterator[Accept]:
    for user in staying:
        if room.members[user].presence == "invite" and seen.local(user):
            yield Accept(room.id, user)


def _kind(policy: Policy, seen: Observation, room: Room, inside: Inside, now: Moment) -> Iterator[SetChat | ShowKind]:
    """EXT-12: who is in it makes a chat what it is, and everybody is told when it becomes external."""
    people = [member or stood_for(policy, room.home, user, now) for user, member in inside.items()]
    people += [stood_for(policy, room.home, user, now) for user in room.former()]
    known = [member.id for member in people if member is not None]
    kind = kind_of(policy, room.home, known, KINDS.get(str(room.chat.get("kind"))))
    if room.chat.get("kind") != kind:
        notice = "This chat is now external: staff of another organisation take part." if kind == "external" else ""
        yield SetChat(room.id, {**room.chat, "kind": kind}, notice)
    if not room.avatar or room.avatar != seen.kind_avatars.get(kind):
        yield ShowKind(room.id, kind)


def _power(seen: Observation, room: Room, staying: Inside) -> Iterator[SetPower]:
    staff = [user for user, member in staying.items() if member is not None and member.role == "staff"]
    levels = power_levels(seen.bot, staff)
    joined = {user for user, member in room.members.items() if member.presence == "join"}
    levels["users"] |= kept_powers(room.power_levels, joined)
    if room.power_levels != levels:
        yield SetPower(room.id, levels)


def _steps_down(seen: Observation, room: Room) -> Iterator[StepDown]:
    """Whoever has the bot's power, or more, is lowered by nobody else (Matrix specification, authorization rules).

    Before anybody goes: who is out of the room cannot do it any more.
    """
    users: Any = room.power_levels.get("users")
    remaining = dict(users) if isinstance(users, dict) else {}
    for user, level in list(remaining.items()):
        local = user != seen.bot and seen.local(user) and room.members.get(user, Member("leave")).presence == "join"
        if local and isinstance(level, int) and level >= BOT_POWER:
            del remaining[user]
            yield StepDown(room.id, UserId(user), {**room.power_levels, "users": dict(remaining)})


def _looks(policy: Policy, seen: Observation, room: Room, staying: Inside) -> Iterator[SetLook]:
    """Names and badges inside the chat; both are the policy's, and relative to the home organisation."""
    home, avatars = room.home, seen.avatars
    for user, member in staying.items():
        shown = room.members[user]
        if member is None or shown.presence != "join":
            continue
        name, badge = shown_name(policy, member, home), shown_badge(member, home)
        picture = Look(member.name, badge)
        if (shown.name != name or shown.avatar != avatars.get((user, picture))) and seen.local(user):
            yield SetLook(room.id, user, Look(name, badge), picture)


def withheld_actions(policy: Policy, seen: Observation, now: Moment) -> Iterator[Return | Release | Wait]:
    """Who was suspended and is not any more returns with the whole history, where there is room and they still may."""
    for room_id, user in sorted(seen.withheld):
        room = seen.rooms.get(room_id)
        if room is None or room.home not in policy.organisations:
            yield Release(room_id, user, "The chat is no longer there.")
            continue
        member = stands_for(policy, room.home, user, now)
        if member is None:
            yield Release(room_id, user, "The membership has ended.")
        elif status(member, now) == "active":
            yield _return(policy, seen, room, member, user, now)


def _return(
    policy: Policy, seen: Observation, room: Room, member: Membership, user: UserId, now: Moment
) -> Return | Release | Wait:
    inside = [one for one in room.inside(seen.bot) if one != user]
    chat = chat_in_room(policy, room.chat, inside, room.former(), now)
    assert chat is not None  # noqa: S101 - the organisation is known
    decision = decide(policy, Enter(member.id, chat), now)
    if decision.allowed:
        return Return(room.id, user)
    full = set(decision.rules) <= {"CHAT-3", "EXT-6"}
    return Wait(room.id, user, decision.text) if full else Release(room.id, user, decision.text)


def profile_actions(policy: Policy, seen: Observation, now: Moment) -> Iterator[SetProfile]:
    """Every account of ours is called what its first membership says, and Unavailable while none is active (USR-1)."""
    for user, memberships in policy.accounts.items():
        here = [member for member in memberships if present(member, now)]
        if here:
            available = any(member.status == "active" for member in here)
            look = Look(here[0].name, shown_badge(here[0], None), available)
            if seen.profiles.get(user) != look and seen.local(user):
                yield SetProfile(user, look)
