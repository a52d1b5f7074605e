"""Where the command line asks a running bridge to apply: two that apply would each do what the other does."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiohttp import web

from bridge.planning import Applied, HasPolicy, Moved, Stopped
from policy.differences import fingerprint
from policy.plan import as_json

APPLY = "/_qwil/v1/apply"

DONE, FAILED, MOVED = 0, 1, 3
"""Exit statuses of `qwil apply`."""

Use = AbstractAsyncContextManager[Any]


class ApplyRoute:
    """Where the command line asks a running bridge to apply; it proves itself with the bridge's own token."""

    def __init__(
        self,
        *,
        source: HasPolicy,
        as_token: str,
        settling: Callable[[], Use],
        apply: Callable[[str | None, str], Awaitable[Applied]],
    ) -> None:
        self._source = source
        self._as_token = as_token.encode()
        self._settling = settling
        self._apply = apply

    def add_routes(self, app: web.Application) -> None:
        """Serve it."""
        app.router.add_post(APPLY, self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        """409 while the bridge has not read the policy that the asker has."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(errors="replace"), self._as_token):
            return web.json_response({"error": "This is not the bridge's as_token."}, status=403)
        asked = await request.json()
        if asked.get("policy") != fingerprint(self._source.policy):
            return web.json_response({"error": "The bridge has not taken this policy up yet."}, status=409)
        async with self._settling():
            return web.json_response(await outcome(self._apply(asked.get("plan"), str(asked.get("by", "an operator")))))


async def outcome(applying: Awaitable[Applied]) -> dict[str, Any]:
    """What `apply` came to, as JSON for the command line."""
    try:
        applied = await applying
    except Moved as moved:
        return {"status": MOVED, "error": str(moved), "plan": as_json(moved.plan), "failed": []}
    except Stopped as stopped:
        return {"status": FAILED, "error": str(stopped), "failed": []}
    status = FAILED if applied.failed else DONE
    return {"status": status, "plan": as_json(applied.plan), "failed": [list(each) for each in applied.failed]}
