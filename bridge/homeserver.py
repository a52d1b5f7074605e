"""Talking to the homeserver, as the bot or as one of its users, with patience while it is away.

Exception
├── Unavailable
│   └── HomeserverUnavailable    away, restarting or overloaded: wait and try again (`bridge.retry`)
└── Refused                      it answered no: `status`, `errcode` and the sentence a client would have shown
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Self

import aiohttp
from mautrix.api import Method, Path, PathBuilder
from mautrix.appservice.api.appservice import AppServiceAPI
from mautrix.errors import MatrixConnectionError, MatrixRequestError
from mautrix.types import UserID
from mautrix.util.logging import TraceLogger

from bridge.config import Config
from bridge.retry import Unavailable, until_available
from policy.model import UserId

AWAY = frozenset({429, 502, 503, 504})
"""HTTP statuses after which the same request may succeed later."""

LONGEST_ANSWER = 120.0
"""Seconds; Synapse answers a join to a large room within that."""


class HomeserverUnavailable(Unavailable):
    """The homeserver cannot be reached, or asks to come back later."""


class Refused(Exception):
    """The homeserver answered no; the text is what a client would have shown."""

    def __init__(self, status: int, errcode: str, error: str) -> None:
        super().__init__(error or errcode or f"HTTP {status}")
        self.status = status
        self.errcode = errcode


class Homeserver:
    """The client-server API of one homeserver, spoken with the bridge's token. Used as `async with`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._api: AppServiceAPI | None = None

    async def __aenter__(self) -> Self:
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LONGEST_ANSWER))
        log = logging.getLogger("qwil.homeserver")
        self._api = AppServiceAPI(
            base_url=self._config.homeserver.address,
            bot_mxid=UserID(self._config.bot),
            token=self._config.appservice.as_token,
            log=log if isinstance(log, TraceLogger) else TraceLogger("qwil.homeserver"),
            client_session=session,
        )
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._api is not None:
            await self._api.session.close()

    async def ask(
        self,
        method: Method,
        path: PathBuilder,
        content: Mapping[str, Any] | None = None,
        *,
        user: UserId | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer to one request, waiting for as long as the homeserver is away.

        `user` is whom the bridge acts as, by default the bot. Raises `Refused`.
        """
        return await until_available(lambda: self._once(method, path, content, user, query))

    async def upload(self, data: bytes, *, name: str, mimetype: str) -> str:
        """Upload a file as the bot; its `mxc:` address."""
        path = PathBuilder("/_matrix/media").v3.upload

        async def attempt() -> Any:
            return await self._once(Method.POST, path, data, None, {"filename": name}, {"Content-Type": mimetype})

        answer = await until_available(attempt)
        return str(answer["content_uri"])

    async def _once(
        self,
        method: Method,
        path: PathBuilder,
        content: Mapping[str, Any] | bytes | None,
        user: UserId | None,
        query: Mapping[str, str] | None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        assert self._api is not None, "use it as `async with`"  # noqa: S101 - a mistake in our own code
        api = self._api.user(UserID(user)) if user is not None else self._api
        body = content if isinstance(content, bytes) or content is None else dict(content)
        try:
            return await api.request(method, path, body, headers=headers, query_params=dict(query or {}))
        except (MatrixConnectionError, TimeoutError) as error:
            raise HomeserverUnavailable(f"The homeserver does not answer: {error}.") from error
        except MatrixRequestError as error:
            if error.http_status in AWAY:
                raise HomeserverUnavailable(f"The homeserver is busy: HTTP {error.http_status}.") from error
            text = error.message or ""
            raise Refused(error.http_status, str(error.errcode or ""), text) from error


def room_path(room: str) -> PathBuilder:
    """`/_matrix/client/v3/rooms/ROOM`."""
    return Path.v3.rooms[room]
