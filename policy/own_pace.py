"""What the module does in somebody's name does not count against their limits on rates.

A first message brings its participants in as if its sender had invited and each of them had entered. Counted among what
they did themselves, a few would use up what Synapse grants in a minute: the sender's message would be refused with half
of the others in already, before anything was written (CHAT-1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synapse.module_api import ModuleApi
from synapse.types import UserID

from policy.let_in import LetIn
from policy.model import UserId
from policy.room import Attempt

if TYPE_CHECKING:
    from synapse.synapse_rust.types import Requester


class OwnPace:
    """Stands before whoever comes, goes or invites; `let_in` knows what of it is the module's doing."""

    def __init__(self, api: ModuleApi, let_in: LetIn) -> None:
        # What the module interface has no calls for: Synapse's own parts, whose types change from release to release.
        self._members: Any = api._hs.get_room_member_handler()
        self._let_in = let_in

    def register(self) -> None:
        """Stand there, on this process."""
        self._update_without_us, self._members.update_membership = self._members.update_membership, self._update

    async def _update(
        self, requester: Requester, target: UserID, room_id: str, action: str, *more: Any, **named: Any
    ) -> Any:
        attempt = Attempt(
            "m.room.member", UserId(requester.user.to_string()), {"membership": action}, target.to_string()
        )
        if self._let_in.covers(room_id, attempt):
            named["ratelimit"] = False
        return await self._update_without_us(requester, target, room_id, action, *more, **named)
