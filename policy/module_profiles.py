"""Whose account was given another name or picture, for the bridge to look whether it was the one that did it.

`GET /_synapse/client/qwil/profiles?seen=ID:N` with the bot's token answers what came after change N of that process:
`{"process": ID, "number": N, "profiles": {USER: {"displayname": ..., "avatar_url": ...}}}`. What is lost with a process
does no harm: the bridge compares everybody now and then.
"""

from __future__ import annotations

from typing import Any

from synapse.api.errors import AuthError
from synapse.http.server import DirectServeJsonResource
from synapse.http.servlet import parse_string
from synapse.http.site import SynapseRequest
from synapse.module_api import ModuleApi, ProfileInfo

from policy.changed_profiles import ChangedProfiles
from policy.model import UserId

PATH = "/_synapse/client/qwil/profiles"


class ProfilesResource(DirectServeJsonResource):
    """The web resource, and what Synapse tells it of."""

    def __init__(self, api: ModuleApi, bot: UserId, process: str) -> None:
        super().__init__(clock=api._clock)
        self._api = api
        self._bot = bot
        self._changed = ChangedProfiles(process)

    def register(self) -> None:
        """Hear of changes, and hand them out."""
        self._api.register_third_party_rules_callbacks(on_profile_update=self.on_profile_update)
        self._api.register_web_resource(PATH, self)

    async def on_profile_update(self, user: str, shown: ProfileInfo, _by_admin: bool, deactivation: bool) -> None:
        """An account's own name or picture, which no event tells: in rooms it is made right before anybody sees it."""
        if not deactivation:
            self._changed.note(user, shown.display_name, shown.avatar_url)

    async def _async_render_GET(self, request: SynapseRequest) -> tuple[int, dict[str, Any]]:  # noqa: N802 - Synapse calls it so
        requester = await self._api.get_user_by_req(request)
        if requester.user.to_string() != self._bot:
            raise AuthError(403, f"This is for {self._bot} alone.")
        return 200, self._changed.after(parse_string(request, "seen", default=""))
