"""Which organisations took part in a chat, kept beside the policy: EXT-9 holds also when a participant's row is gone.

Each organisation of an external chat reviews it for what its people could read. The policy says whom a Matrix ID stands
for now; that somebody stood for an organisation once is forgotten with the row, and so it is noted here.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.observe import Observer
from policy.model import Moment, Policy, UserId
from policy.observation import Room
from policy.rooms import stood_for


async def note_parts(observer: Observer, policy: Policy, room: Room, now: Moment) -> None:
    """Note for whom everybody is, or was, in an external chat; what was noted before stays."""
    if room.chat.get("kind") != "external":
        return
    inside = set(room.inside(observer.bot))
    for user in room.members:
        if user != observer.bot:
            before = room.took_part.get(user, {})
            parts = _parts(policy, room, user, now, before, still_inside=user in inside)
            if parts != before:
                await observer.remember_part(room.id, user, parts)


def _parts(
    policy: Policy,
    room: Room,
    user: UserId,
    now: Moment,
    before: Mapping[str, Moment | None],
    *,
    still_inside: bool,
) -> dict[str, Moment | None]:
    """Another organisation takes part by its staff alone (EXT-2)."""
    member = stood_for(policy, room.home, user, now)
    parts = dict(before)
    if member is not None and member.role == "staff" and member.organisation != room.home:
        parts[member.organisation] = None
    if still_inside:
        gone = [one for one, until in parts.items() if until is None and (member is None or member.organisation != one)]
        parts |= dict.fromkeys(gone, now)
    return parts
