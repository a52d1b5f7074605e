"""What the module refused, for the bridge to put into the audit, and for nobody else.

`GET /_synapse/client/qwil/refusals?seen=ID:N` with the bot's token answers what came after entry N of that process:
`{"process": ID, "refusals": [...], "more": BOOL, "lost": N}`. The bridge asks when it has time, so that a refusal
itself waits for nothing.
"""

from __future__ import annotations

from typing import Any

from synapse.api.errors import AuthError
from synapse.http.server import DirectServeJsonResource
from synapse.http.servlet import parse_string
from synapse.http.site import SynapseRequest
from synapse.module_api import ModuleApi

from policy.model import UserId
from policy.refusals import Refusals

PATH = "/_synapse/client/qwil/refusals"


class RefusalsResource(DirectServeJsonResource):
    """The web resource."""

    def __init__(self, api: ModuleApi, bot: UserId, refusals: Refusals) -> None:
        super().__init__(clock=api._clock)
        self._api = api
        self._bot = bot
        self._refusals = refusals

    async def _async_render_GET(self, request: SynapseRequest) -> tuple[int, dict[str, Any]]:  # noqa: N802 - Synapse calls it so
        requester = await self._api.get_user_by_req(request)
        if requester.user.to_string() != self._bot:
            raise AuthError(403, f"This is for {self._bot} alone.")
        return 200, self._refusals.after(parse_string(request, "seen", default=""))
