"""What the module tells the bridge, and nobody else: which policy it enforces and how the homeserver is set.

`GET /_synapse/client/qwil/status` with the bot's token answers `{"policy": DIGEST, "people": N, "settings": {...}}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from synapse.api.errors import AuthError
from synapse.http.server import DirectServeJsonResource
from synapse.http.site import SynapseRequest
from synapse.module_api import ModuleApi

from policy.hot_reload import PolicyFile
from policy.model import UserId

PATH = "/_synapse/client/qwil/status"

_SETTINGS: Mapping[str, Callable[[Any], object]] = {
    "enable_set_displayname": lambda config: config.registration.enable_set_displayname,
    "enable_set_avatar_url": lambda config: config.registration.enable_set_avatar_url,
    "enable_registration": lambda config: config.registration.enable_registration,
    "require_auth_for_profile_requests": lambda config: config.server.require_auth_for_profile_requests,
    "limit_profile_requests_to_users_who_share_rooms": (
        lambda config: config.server.limit_profile_requests_to_users_who_share_rooms
    ),
    "redaction_retention_period": lambda config: config.server.redaction_retention_period,
}


class StatusResource(DirectServeJsonResource):
    """The web resource."""

    def __init__(self, api: ModuleApi, bot: UserId, file: PolicyFile) -> None:
        super().__init__(clock=api._clock)
        self._api = api
        self._bot = bot
        self._file = file

    async def _async_render_GET(self, request: SynapseRequest) -> tuple[int, dict[str, Any]]:  # noqa: N802 - Synapse calls it so
        requester = await self._api.get_user_by_req(request)
        if requester.user.to_string() != self._bot:
            raise AuthError(403, f"This is for {self._bot} alone.")
        policy, config = self._file.policy, self._api._hs.config
        return 200, {
            "policy": self._file.digest,
            "people": len(policy.people) if policy is not None else 0,
            "settings": {name: value(config) for name, value in _SETTINGS.items()},
        }
