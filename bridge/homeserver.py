"""Talking to the homeserver, as the bot or as one of its users, with patience while it is away.

Exception
├── Unavailable
│   └── HomeserverUnavailable    away, restarting or overloaded: wait and try again (`bridge.retry`)
└── Refused                      it answered no: `status`, `errcode` and the sentence a client would have shown
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

import aiohttp
from mautrix.api import HTTPAPI, Method, Path, PathBuilder
from mautrix.appservice.api.appservice import AppServiceAPI
from mautrix.errors import MatrixConnectionError, MatrixRequestError
from mautrix.types import UserID
from mautrix.util.logging import TraceLogger

from bridge.config import Config
from bridge.retry import Unavailable, until_available
from policy.model import UserId

AWAY = frozenset({429, 502, 503, 504})
"""HTTP statuses after which the same request may succeed later."""

PATIENCE_WITH_FAILURES = 60.0
"""Seconds for which a failure of the homeserver (HTTP 500) may be its database's, and not the request's."""

FORGOTTEN = (
    "The homeserver does not know the bridge's as_token any more: registration.yaml and config.yaml have to hold the "
    "same tokens, and the homeserver has to be restarted after a change."
)

_NO_ACCOUNT = re.compile(r"Application service has not registered this user \((@.+)\)")
"""What Synapse says of an account that the bridge should act as and that nobody has made."""

LONGEST_ANSWER = 120.0
"""Seconds; Synapse answers a join to a large room within that."""


SYNC_DEVICE, LISTING_DEVICE = "QWILRECORD", "QWILACCOUNTS"
"""The bot's devices: two, since a login ends the one before it on its device, and commands at the machine list too."""


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

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic, *, patient: bool = True) -> None:
        """Who is not `patient` gets `HomeserverUnavailable` instead of waiting."""
        self._config = config
        self._patient = patient
        self._clock = clock
        self._entered = False
        """Whether it has let us in since we started: then it is no mistake of the set-up should it not do so later."""
        self._api: AppServiceAPI | None = None
        self._logins: dict[str, HTTPAPI] = {}
        """The bot's own, by device."""

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
        secret: bool = False,
    ) -> Any:
        """The answer to one request, waiting for as long as the homeserver is away.

        `user` is whom the bridge acts as, by default the bot; what is `secret` is in no log. Raises `Refused`.
        """
        if secret:
            # mautrix logs what it makes JSON of, and of bytes their number.
            data, headers = json.dumps(dict(content or {})).encode(), {"Content-Type": "application/json"}
            return await self._patiently(self._as(user), method, path, data, dict(query or {}), headers)
        return await self._patiently(self._as(user), method, path, content, dict(query or {}))

    async def call_back(self) -> None:
        """Have the homeserver call the bridge once (Application Service API, ping); raises `Refused` with the cause."""
        path = PathBuilder("/_matrix/client/v1/appservice")[self._config.appservice.id].ping
        try:
            await self._as(None).request(Method.POST, path, {})
        except (MatrixConnectionError, TimeoutError) as error:
            raise HomeserverUnavailable(f"The homeserver does not answer: {error}.") from error
        except MatrixRequestError as error:
            raise Refused(error.http_status, str(error.errcode or ""), error.message or "") from error

    async def page(self, path: PathBuilder, query: Mapping[str, str]) -> Any:
        """A page of a list of the administration. It is asked for with a login of the bot's: an application service
        would have to say as whom, and where users are listed, that is taken for whom to look for.
        """
        try:
            return await self._logged_in_ask(LISTING_DEVICE, path, query)
        except Refused as refusal:
            if refusal.errcode != "M_UNKNOWN_TOKEN":
                raise
        # A command at the machine, or the bridge beside it, has logged in meanwhile.
        return await self._logged_in_ask(LISTING_DEVICE, path, query)

    async def sync(self, **query: str) -> Any:
        """What the bot's own `/sync` shows. An application service's token is not enough for that: the bot logs in."""
        return await self._logged_in_ask(SYNC_DEVICE, Path.v3.sync, query)

    async def _logged_in_ask(self, device: str, path: PathBuilder, query: Mapping[str, str]) -> Any:
        if device not in self._logins:
            self._logins[device] = await self._logged_in(device)
        try:
            return await self._patiently(self._logins[device], Method.GET, path, None, dict(query))
        except Refused as refusal:
            if refusal.errcode == "M_UNKNOWN_TOKEN":
                self._logins.pop(device, None)
            raise

    async def _logged_in(self, device: str) -> HTTPAPI:
        content = {
            "type": "m.login.application_service",
            "identifier": {"type": "m.id.user", "user": self._config.bot},
            "device_id": device,
            "initial_device_display_name": "qwil",
        }
        answer = await self.ask(Method.POST, Path.v3.login, content)
        return self._with(answer["access_token"])

    def _with(self, token: str) -> HTTPAPI:
        assert self._api is not None, "use it as `async with`"  # noqa: S101 - a mistake in our own code
        return HTTPAPI(self._config.homeserver.address, token, client_session=self._api.session, log=self._api.log)

    async def upload(self, data: bytes, *, name: str, mimetype: str) -> str:
        """Upload a file as the bot; its `mxc:` address."""
        path = PathBuilder("/_matrix/media").v3.upload
        headers = {"Content-Type": mimetype}
        answer = await self._patiently(self._as(None), Method.POST, path, data, {"filename": name}, headers)
        return str(answer["content_uri"])

    def _as(self, user: UserId | None) -> AppServiceAPI:
        assert self._api is not None, "use it as `async with`"  # noqa: S101 - a mistake in our own code
        return self._api.user(UserID(user)) if user is not None else self._api

    async def _patiently(
        self,
        api: HTTPAPI,
        method: Method,
        path: PathBuilder,
        content: Mapping[str, Any] | bytes | None,
        query: dict[str, str],
        headers: dict[str, str] | None = None,
    ) -> Any:
        give_up: float | None = None

        async def attempt() -> Any:
            nonlocal give_up
            body = content if isinstance(content, bytes) or content is None else dict(content)
            try:
                # mautrix writes into both.
                return await api.request(method, path, body, headers=dict(headers or {}), query_params=dict(query))
            except (MatrixConnectionError, TimeoutError) as error:
                raise HomeserverUnavailable(f"The homeserver does not answer: {error}.") from error
            except MatrixRequestError as error:
                if error.http_status in AWAY:
                    raise HomeserverUnavailable(f"The homeserver is busy: HTTP {error.http_status}.") from error
                refused = Refused(error.http_status, str(error.errcode or ""), _in_words(error.message or ""))
                if self._entered and api not in self._logins.values() and refused.errcode == "M_UNKNOWN_TOKEN":
                    raise HomeserverUnavailable(FORGOTTEN) from error
                give_up = give_up or self._clock() + PATIENCE_WITH_FAILURES
                if error.http_status == 500 and self._clock() < give_up:
                    raise HomeserverUnavailable(f"The homeserver failed: {refused}.") from error
                raise refused from error

        answer = await (until_available(attempt) if self._patient else attempt())
        self._entered = True
        return answer


def _in_words(message: str) -> str:
    """What the homeserver said, for an administrator who has never heard of application services."""
    if unknown := _NO_ACCOUNT.fullmatch(message):
        return (
            f"There is no account {unknown[1]} on the homeserver: make it there, or correct “matrix” of this person in "
            "the policy."
        )
    return message


def room_path(room: str) -> PathBuilder:
    """`/_matrix/client/v3/rooms/ROOM`."""
    return Path.v3.rooms[room]
