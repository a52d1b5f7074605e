"""Whose record of which chat somebody may read: as a participant, or as a reviewer by level (EXP-1, REV, EXT-9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from bridge.observe import PRESENCES
from bridge.store import Store, StoredEvent
from policy.decide import decide
from policy.decision import Decision, Objection
from policy.model import DEFAULT_TITLE, Membership, Moment, Policy, UserId
from policy.observation import Room
from policy.question import Chat, Export, Review
from policy.rooms import chat_in_room, stood_for

STRANGER = Decision(False, error="You are in no organisation that takes part in this chat.")
FORMER = Decision(
    False,
    (Objection("EXP-1", "You are no longer in this chat. Reviewers export it with “review export ROOM”."),),
)
ALLOWED = Decision(True)
NO_CHAT = Decision(False, error="This chat is not there any more.")
NO_REVIEWER = Decision(
    False, (Objection("REV-2", "You are no reviewer any more; a system administrator can make you one."),)
)
ENDED = Decision(
    False,
    (Objection("EXT-9", "Your organisation has left this chat since. Ask again for what you may read of it."),),
)


class Access(NamedTuple):
    """What a reviewer may read of one chat."""

    room: Room
    by: Membership
    """The membership whose level allows it."""
    last: StoredEvent | None
    """The departure of the last member of the reviewer's organisation: nothing after it; none while one is there."""
    title: str
    """What the chat was called then, or is called now."""

    def holds(self, event: StoredEvent) -> bool:
        """Whether the event lies before the end."""
        return self.last is None or event.origin_server_ts <= self.last.origin_server_ts


def as_chat(policy: Policy, room: Room, bot: UserId, now: Moment) -> Chat | None:
    """The room as the policy's questions take it; none if it is no chat of an organisation in the policy."""
    present = (*room.inside(bot), *(room.held if room.draft else ()))
    chat = chat_in_room(policy, room.chat, present, room.former(), now, creator=room.creator)
    took_part = frozenset(one for parts in room.took_part.values() for one in parts)
    return replace(chat, took_part=took_part) if chat is not None and took_part else chat


def may_export(policy: Policy, room: Room, bot: UserId, user: UserId, now: Moment) -> Decision:
    """The decision on a participant's export."""
    chat = as_chat(policy, room, bot, now)
    member = stood_for(policy, room.home, user, now)
    if chat is None or member is None:
        return STRANGER
    decision = decide(policy, Export(member.id, chat), now)
    # The policy lets reviewers export from outside; what they may read has an end then, which is theirs to ask for.
    return decision if not decision.allowed or user in room.inside(bot) else FORMER


def may_review(
    policy: Policy, room: Room, bot: UserId, reviewers: Iterable[Membership], now: Moment
) -> list[tuple[Membership, Decision]]:
    """The decision for each of a person's memberships; none for a room that is no chat."""
    chat = as_chat(policy, room, bot, now)
    if chat is None:
        return []
    return [(member, decide(policy, Review(member.id, chat), now)) for member in reviewers]


async def accesses(
    store: Store,
    policy: Policy,
    rooms: Mapping[str, Room],
    bot: UserId,
    reviewers: Iterable[Membership],
    now: Moment,
) -> dict[str, Access]:
    """Every chat that these memberships may review, by room."""
    members = [member for member in reviewers if member.review]
    found = {}
    for name, room in list(rooms.items()):
        if room.chat and (access := await access_to(store, policy, room, bot, members, now)) is not None:
            found[name] = access
    return found


async def access_to(
    store: Store, policy: Policy, room: Room, bot: UserId, reviewers: Iterable[Membership], now: Moment
) -> Access | None:
    """What of the chat these memberships may review; the one that reaches farthest counts."""
    allowed = [member for member, decision in may_review(policy, room, bot, reviewers, now) if decision.allowed]
    best: Access | None = None
    for member in allowed:
        last = await _departure(store, policy, room, bot, member.organisation, now)
        if last is None:
            return Access(room, member, None, room.name)
        if best is None or best.last is None or last.origin_server_ts > best.last.origin_server_ts:
            best = Access(room, member, last, await title_until(store, room, last))
    return best


async def title_until(store: Store, room: Room, last: StoredEvent) -> str:
    """What a chat was called at that event: whoever left learns nothing of what it was called later."""
    names = [
        (event.origin_server_ts, event.arrival, event.content.get("name"))
        for event in await store.events_of_type(room.id, "m.room.name")
        if event.origin_server_ts <= last.origin_server_ts
    ]
    latest = max(names)[2] if names else None
    return latest if isinstance(latest, str) and latest else DEFAULT_TITLE


async def still_allowed(
    store: Store,
    policy: Policy,
    room: Room | None,
    bot: UserId,
    user: UserId,
    *,
    reviewing: str,
    last_event: str | None,
    now: Moment,
) -> Decision:
    """The decision on an export that was asked for before: by a participant, or by the membership that reviews.

    `last_event` is where it ends. A reviewer whose organisation has left since may read less than was asked for.
    """
    if room is None:
        return NO_CHAT
    if not reviewing:
        return may_export(policy, room, bot, user, now)
    reviewer = next((member for member in policy.accounts.get(user, ()) if member.id == reviewing), None)
    if reviewer is None:
        return NO_REVIEWER
    access = await access_to(store, policy, room, bot, [reviewer], now)
    if access is None:
        return next((decision for _, decision in may_review(policy, room, bot, [reviewer], now)), NO_CHAT)
    end = await store.event(last_event) if last_event is not None else None
    return ALLOWED if access.last is None or (end is not None and access.holds(end)) else ENDED


async def _departure(
    store: Store, policy: Policy, room: Room, bot: UserId, organisation: str, now: Moment
) -> StoredEvent | None:
    """The event with which the organisation's last member left the chat; none while one is in it, or none ever was.

    Who is still inside and stands for it no longer has left it at that moment.
    """
    if any(organisation == _now_for(policy, room, user, now) for user in room.inside(bot)):
        return None
    inside: set[UserId] = set()
    last: StoredEvent | None = None
    moves = [
        event
        for event in await store.events_of_type(room.id, "m.room.member")
        if organisation in _ever_for(policy, room, UserId(event.state_key or ""), now)
    ]
    # What came late stands where its time says: by arrival somebody who left would seem to be inside again.
    for event in sorted(moves, key=lambda move: (move.origin_server_ts, move.arrival)):
        user, was_inside = UserId(event.state_key or ""), bool(inside)
        presence = PRESENCES.get(str(event.content.get("membership")), "leave")
        (inside.add if presence in ("join", "invite") else inside.discard)(user)
        if was_inside and not inside:
            last = event
    still = inside.intersection(room.inside(bot))
    if still:
        # Who stands for another one since a moment ago, so that it is not noted yet, has left it at this moment.
        ends = [room.took_part.get(user, {}).get(organisation) or now for user in still]
        return await store.last_event(room.id, received=max(ends)) or moves[0]
    # Where times contradict the room's state nobody is inside all the same, since the last move at the latest.
    return max(moves, key=lambda move: move.arrival) if inside else last


def _ever_for(policy: Policy, room: Room, user: UserId, now: Moment) -> set[str | None]:
    """The organisations for which somebody is or was in the chat."""
    return {_now_for(policy, room, user, now), *room.took_part.get(user, ())}


def _now_for(policy: Policy, room: Room, user: UserId, now: Moment) -> str | None:
    """The organisation for which somebody is or was in the chat, as the policy has it."""
    member = stood_for(policy, room.home, user, now)
    return member.organisation if member is not None else None
