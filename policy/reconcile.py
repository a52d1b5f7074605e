"""What has to be done so that the homeserver is what the policy says: nothing here does it.

Reconciling twice gives nothing the second time. The same functions serve one room after an event and the whole
homeserver after a change of the policy.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    Wait,
    Withdraw,
)
from policy.decide import decide
from policy.model import Membership, Moment, Policy, UserId
from policy.observation import Look, Member, Observation, Room, RoomName, Settings
from policy.question import Enter
from policy.reach import present, status
from policy.rooms import chat_in_room, shown_badge, shown_name, stands_for, stood_for
from policy.rules.company import counts_as_client, current_kind
from policy.spaces import space_actions
from policy.template import power_levels


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
    if room.draft:
        yield from _power(policy, seen, room, now)
        return
    going = list(_departures(policy, seen, room, now))
    yield from going
    gone = {action.user for action in going}
    staying = [user for user in room.inside(seen.bot) if user not in gone]
    if settings.auto_join:
        yield from _acceptances(seen, room, staying)
    yield from _kind(policy, seen, room, now)
    yield from _power(policy, seen, room, now, without=gone)
    yield from _looks(policy, seen, room, staying, now)


def _departures(policy: Policy, seen: Observation, room: Room, now: Moment) -> Iterator[Remove | Withdraw]:
    """Whoever may not be in the chat any more, with the reason."""
    home = room.home
    inside = list(room.inside(seen.bot))
    taking_part = {home}.union(
        member.organisation for user in inside if (member := stands_for(policy, home, user, now)) is not None
    )
    for user in inside:
        member = stands_for(policy, home, user, now)
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


def _acceptances(seen: Observation, room: Room, staying: list[UserId]) -> Iterator[Accept]:
    for user in staying:
        if room.members[user].presence == "invite" and seen.local(user):
            yield Accept(room.id, user)


def _kind(policy: Policy, seen: Observation, room: Room, now: Moment) -> Iterator[SetChat | ShowKind]:
    """EXT-12: who is in it makes a chat what it is, and everybody is told when it becomes external."""
    chat = chat_in_room(policy, room.chat, room.inside(seen.bot), room.former(), now)
    assert chat is not None  # noqa: S101 - the organisation is known
    kind = current_kind(policy, chat)
    if room.chat.get("kind") != kind:
        notice = "This chat is now external: staff of another organisation take part." if kind == "external" else ""
        yield SetChat(room.id, {**room.chat, "kind": kind}, notice)
    if not room.avatar or room.avatar != seen.kind_avatars.get(kind):
        yield ShowKind(room.id, kind)


def _power(
    policy: Policy, seen: Observation, room: Room, now: Moment, without: set[UserId] | frozenset[UserId] = frozenset()
) -> Iterator[SetPower]:
    home = room.home
    staff = [user for user in room.inside(seen.bot) if user not in without and _is_staff(policy, home, user, now)]
    levels = power_levels(seen.bot, staff)
    if room.power_levels != levels:
        yield SetPower(room.id, levels)


def _is_staff(policy: Policy, home: str, user: UserId, now: Moment) -> bool:
    member = stands_for(policy, home, user, now)
    return member is not None and member.role == "staff"


def _looks(policy: Policy, seen: Observation, room: Room, staying: list[UserId], now: Moment) -> Iterator[SetLook]:
    """Names and badges inside the chat; both are the policy's, and relative to the home organisation."""
    home = room.home
    for user in staying:
        shown, member = room.members[user], stands_for(policy, home, user, now)
        if member is None or shown.presence != "join" or not seen.local(user):
            continue
        look = Look(shown_name(policy, member, home), shown_badge(member, home))
        picture = Look(member.name, look.badge)
        if shown.name != look.name or shown.avatar != seen.avatars.get((user, picture)):
            yield SetLook(room.id, user, look, picture)


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
    """Every account of ours is called what its first membership says."""
    for user, memberships in policy.accounts.items():
        member = next((member for member in memberships if present(member, now)), None)
        if member is None or not seen.local(user):
            continue
        look = Look(member.name, shown_badge(member, None))
        if seen.profiles.get(user) != look:
            yield SetProfile(user, look)


def next_change(policy: Policy, now: Moment) -> Moment | None:
    """When time alone changes something next: a membership ends, a cover begins or ends."""
    ends = (member.ends for member in policy.people.values())
    covers = (cover for covers in policy.stand_ins.values() for cover in covers)
    days = (moment for cover in covers for moment in (cover.starts, cover.ends))
    later = [moment for moment in (*ends, *days) if now < moment < float("inf")]
    return min(later, default=None)
