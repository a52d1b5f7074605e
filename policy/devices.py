"""Devices speak to each other past every room: by messages that no record holds, and by asking for keys.

Synapse delivers them to anybody and tells anybody which accounts have devices, and what these are called. Here devices
speak to those of the same person alone (REV-1), and their keys are for those who reach each other or share a room; to
everybody else an account looks as one that does not exist (DIR-4).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from synapse.module_api import ModuleApi
from synapse.types import UserID

from policy.model import UserId

if TYPE_CHECKING:
    from synapse.synapse_rust.types import Requester

Knows = Callable[[UserId, UserId], Awaitable[bool]]


class Devices:
    """Leaves out of what devices send and ask whoever their owner has nothing to do with.

    `knows` says who has to do with whom, `governs` whom the policy is for.
    """

    def __init__(self, api: ModuleApi, knows: Knows, governs: Callable[[UserId], bool]) -> None:
        # What the module interface has no calls for: Synapse's own parts, whose types change from release to release.
        self._hs: Any = api._hs
        self._knows = knows
        self._governs = governs

    def register(self) -> None:
        """Stand in the way, on this process."""
        messages, keys = self._hs.get_device_message_handler(), self._hs.get_e2e_keys_handler()
        self._send_without_us, messages.send_device_message = messages.send_device_message, self._send
        self._query_without_us, keys.query_devices = keys.query_devices, self._query
        self._signed_without_us = keys.upload_signatures_for_device_keys
        keys.upload_signatures_for_device_keys = self._signed
        self._claim_without_us, keys.claim_one_time_keys = keys.claim_one_time_keys, self._claim

    async def _send(self, requester: Requester, message_type: str, messages: Mapping[str, Any]) -> Any:
        me = requester.user.to_string()
        if self._governs(UserId(me)):
            messages = {user: devices for user, devices in messages.items() if user == me}
        else:
            messages = {user: messages[user] for user in await self._known(requester.user, messages)}
        return await self._send_without_us(requester, message_type, messages)

    async def _query(self, query_body: Mapping[str, Any], patience: int, from_user_id: str, *more: Any) -> Any:
        asked = query_body.get("device_keys")
        if isinstance(asked, Mapping):
            known = await self._known(UserID.from_string(from_user_id), asked)
            query_body = {**query_body, "device_keys": {user: asked[user] for user in known}}
        return await self._query_without_us(query_body, patience, from_user_id, *more)

    async def _claim(self, query: Mapping[str, Any], user: UserID, *more: Any, **named: Any) -> Any:
        known = await self._known(user, query)
        return await self._claim_without_us({other: query[other] for other in known}, user, *more, **named)

    async def _signed(self, user_id: str, signatures: Mapping[str, Any]) -> Any:
        known = await self._known(UserID.from_string(user_id), signatures)
        return await self._signed_without_us(user_id, {other: signatures[other] for other in known})

    async def _known(self, asking: UserID, others: Iterable[str]) -> list[str]:
        me = UserId(asking.to_string())
        return [other for other in others if other == me or await self._knows(me, UserId(other))]
