"""Where Synapse refuses before anybody asks the policy, people are told in our words, with the rule (PART-7, PART-8).

Whoever is not in a room is turned away by its membership, and whose power does not suffice by the power levels. Both
are as the rules have it; only the sentence would be one for programmers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from synapse.api.errors import AuthError, SynapseError
from synapse.module_api import ModuleApi
from synapse.types import UserID

from policy.client_error import client_error, rules_told
from policy.decision import Objection
from policy.judge import FORMER, STRANGER, not_in
from policy.model import UserId

if TYPE_CHECKING:
    from synapse.synapse_rust.types import Requester

_REMOVALS = ("leave", "kick")
_OVER = ("leave", "ban")
_WITH_A_WORD = Objection(
    "PART-7", "Your client cannot remove colleagues. Write !remove and the name in this chat, and the system does it."
)


class OwnWords:
    """Stands behind what people send; `governs` says whom the policy is for."""

    def __init__(self, api: ModuleApi, governs: Callable[[UserId], bool]) -> None:
        # What the module interface has no calls for: Synapse's own parts, whose types change from release to release.
        self._hs: Any = api._hs
        self._store: Any = self._hs.get_datastores().main
        self._governs = governs

    def register(self) -> None:
        """Stand there, on this process."""
        events, members = self._hs.get_event_creation_handler(), self._hs.get_room_member_handler()
        self._send_without_us = events.create_and_send_nonmember_event
        events.create_and_send_nonmember_event = self._send
        self._update_without_us, members.update_membership = members.update_membership, self._update

    async def _send(self, requester: Requester, event_dict: dict[str, Any], *more: Any, **named: Any) -> Any:
        try:
            return await self._send_without_us(requester, event_dict, *more, **named)
        except AuthError as error:
            raise await self._told(error, requester, event_dict["room_id"], None) from None

    async def _update(
        self, requester: Requester, target: UserID, room_id: str, action: str, *more: Any, **named: Any
    ) -> Any:
        try:
            return await self._update_without_us(requester, target, room_id, action, *more, **named)
        except AuthError as error:
            removed = target.to_string() if action in _REMOVALS else None
            raise await self._told(error, requester, room_id, removed) from None

    async def _told(self, error: SynapseError, requester: Requester, room: str, removed: str | None) -> SynapseError:
        user = requester.user.to_string()
        if rules_told(error) or not self._governs(UserId(user)):
            return error
        membership = await self._membership(user, room)
        if membership in _OVER:
            return client_error(FORMER)
        if membership != "join":
            return client_error(STRANGER)
        if removed in (None, user):
            return error
        return client_error(_WITH_A_WORD if await self._membership(str(removed), room) == "join" else not_in(removed))

    async def _membership(self, user: str, room: str) -> str | None:
        found: tuple[str | None, str | None]
        found = await self._store.get_local_current_membership_for_user_in_room(user, room)
        return found[0]
