"""The pages on which invitations are accepted or declined: HTML from the bridge itself, without scripts.

Opening a page changes nothing: mail scanners follow links. What changes something is a form that was sent. Links are
secrets, so that no address is written to a log, sent on as a referrer or kept in a cache.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import quote

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from yarl import URL

from bridge.arrival.acceptance import Acceptance, Form, Guest, Problem, Problems
from bridge.arrival.logo import logo_of
from bridge.arrival.qr import qr_svg
from bridge.arrival.words import Wording, wording_of
from bridge.config import Config
from bridge.policy_file import PolicySource
from policy.model import Moment, Organisation, UserId

APPS = (
    ("Element (browser)", "https://app.element.io/"),
    ("Element X (iPhone, Android)", "https://element.io/download"),
    ("FluffyChat", "https://fluffychat.im/"),
    ("Cinny", "https://cinny.in/"),
)
"""Clients that need nothing but the server's address."""

LARGEST_FORM = 16_384
"""Bytes."""

MOST_WRONG = 20
"""So many wrong links may come from one address in `WRONG_WINDOW` seconds."""

WRONG_WINDOW = 300.0
MOST_ADDRESSES = 10_000
MOST_ACTS = 60
"""So many forms are taken for one link in `WRONG_WINDOW` seconds."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}

GONE = {"unknown": 404, "no_page": 404, "too_many": 429, "fault": 500}
"""HTTP status of what does not work; everything else is gone (410)."""

log = logging.getLogger("qwil.arrival")


class Shown(NamedTuple):
    """One problem, as the page shows it."""

    field: str
    key: str
    words: Mapping[str, str]


class Pages:
    """Serves the pages."""

    def __init__(
        self,
        *,
        source: PolicySource,
        acceptance: Acceptance,
        config: Config,
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._source = source
        self._acceptance = acceptance
        self._config = config
        self._wrong = Attempts(clock, MOST_WRONG)
        self._acts = Attempts(clock, MOST_ACTS)

    def application(self) -> web.Application:
        """What answers requests; its access log is never to be switched on."""
        application = web.Application(middlewares=[self._guarded], client_max_size=LARGEST_FORM)
        application.add_routes([
            web.get("/invitation/{token}", self._show),
            web.post("/invitation/{token}", self._act),
            web.get("/style.css", _style),
            web.get("/logo/{organisation}", self._logo),
        ])  # fmt: skip
        return application

    @web.middleware
    async def _guarded(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Every answer has the headers, and none has an error text of the server's own."""
        try:
            answer = await handler(request)
        except web.HTTPException as refused:
            key = "no_page" if refused.status != 413 else "fault"
            answer = self._gone(key, None, status=refused.status)
        except Exception as fault:
            # The traceback alone: the address of the page, which is a secret, is in no part of it.
            log.error("A page could not be made: %s", type(fault).__name__, exc_info=fault)
            answer = self._gone("fault", None)
        answer.headers.update(HEADERS)
        return answer

    async def _show(self, request: web.Request) -> web.Response:
        guest = self._guest(request)
        if isinstance(guest, web.Response):
            return guest
        return self._invitation(guest)

    async def _act(self, request: web.Request) -> web.Response:
        guest = self._guest(request)
        if isinstance(guest, web.Response):
            return guest
        if not self._acts.may(guest.invitation.person):
            return self._gone("too_many", guest)
        self._acts.note(guest.invitation.person)
        form = await request.post()
        typed = {name: value for name, value in form.items() if isinstance(value, str)}
        act = {"accept": self._accept, "prove": self._prove, "confirm": self._confirm, "decline": self._decline}
        if typed.get("do") not in act:
            return self._invitation(guest)
        try:
            # What was begun is finished, also when whoever asked has gone away.
            return await asyncio.shield(act[typed["do"]](request.match_info["token"], guest, typed))
        except (Problem, Problems) as wrong:
            problems = wrong.problems if isinstance(wrong, Problems) else (wrong,)
            return self._again(request, problems, typed)

    async def _accept(self, token: str, guest: Guest, typed: Mapping[str, str]) -> web.Response:
        if self._config.web.login == "single_sign_on":
            return self._invitation(guest)
        form = Form(
            typed.get("username", ""), typed.get("password", ""), typed.get("again", ""), typed.get("terms") == "yes"
        )
        return self._accepted(guest, await self._acceptance.accept(token, form))

    async def _confirm(self, token: str, guest: Guest, typed: Mapping[str, str]) -> web.Response:
        user = await self._acceptance.accept_with_code(token, typed.get("code", ""), typed.get("terms") == "yes")
        return self._accepted(guest, user)

    async def _prove(self, token: str, guest: Guest, typed: Mapping[str, str]) -> web.Response:
        await self._acceptance.send_code(token, typed.get("matrix", ""))
        return self._invitation(guest)

    async def _decline(self, token: str, guest: Guest, _typed: Mapping[str, str]) -> web.Response:
        guest = await self._acceptance.decline(token) or guest
        if guest.standing != "declined":
            return self._invitation(guest)
        w, organisation = self._wording(guest), _name(guest.organisation)
        return self._told(guest, w("declined_title"), w("declined_text", organisation=organisation))

    def _guest(self, request: web.Request) -> Guest | web.Response:
        """Whose link it is; whoever tries many wrong ones waits."""
        address = self._address(request)
        if not self._wrong.may(address):
            return self._gone("too_many", None)
        guest = self._acceptance.guest(request.match_info["token"])
        if guest is None:
            self._wrong.note(address)
            return self._gone("unknown", None)
        return guest

    def _address(self, request: web.Request) -> str:
        """Who asks: what the reverse proxy on this machine says, else the other end of the connection."""
        remote = request.remote or ""
        forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        return forwarded[:100] if forwarded and remote in ("127.0.0.1", "::1") else remote

    def _again(self, request: web.Request, problems: Sequence[Problem], typed: Mapping[str, str]) -> web.Response:
        guest = self._acceptance.guest(request.match_info["token"])
        if guest is None:
            return self._gone("unknown", None)
        shown = [
            Shown(one.field, one.key, {"server": self._config.homeserver.server_name, **one.values})
            for one in problems
            if one.key != "closed"
        ]
        if any(one.key == "matrix_unknown" for one in shown) and self._config.web.login == "single_sign_on":
            shown = [Shown("matrix", "matrix_waiting", one.words) for one in shown]
        return self._invitation(guest, shown, typed)

    def _invitation(
        self, guest: Guest, problems: Sequence[Shown] = (), typed: Mapping[str, str] | None = None
    ) -> web.Response:
        if guest.standing != "open" or guest.member is None or guest.organisation is None:
            return self._gone(guest.standing, guest)
        member, proving = guest.member, self._acceptance.proving(guest.member)
        fixed = member.matrix or ""
        here = fixed.endswith(f":{self._config.homeserver.server_name}") and not self._by_sign_on
        values = {
            "name": member.name,
            "job_title": member.job_title,
            "note": guest.invitation.note,
            "terms": guest.organisation.terms,
            "problems": problems,
            "typed": {"username": "", "matrix": "", **(typed or {})},
            "proving": proving or "",
            "shown_terms": "terms-code" if proving else "terms-new",
            "sso": self._by_sign_on,
            "fixed_username": fixed[1:].partition(":")[0] if here else "",
            "fixed": fixed,
            "fixed_remote": "" if here else fixed,
            "server": self._config.homeserver.server_name,
        }
        return self._page("invitation.html", guest, values, status=400 if problems else 200)

    def _accepted(self, guest: Guest, user: UserId) -> web.Response:
        w, organisation = self._wording(guest), _name(guest.organisation)
        return self._told(guest, w("accepted_title"), w("accepted_text", organisation=organisation), user=user)

    def _gone(self, key: str, guest: Guest | None, *, status: int | None = None) -> web.Response:
        w, organisation = self._wording(guest), _name(guest.organisation if guest else None)
        text = w(f"gone_{key}", organisation=organisation)
        user = _account(guest) if guest is not None and key == "accepted" else None
        return self._told(guest, w("gone_title"), text, user=user, status=status or GONE.get(key, 410))

    def _told(
        self, guest: Guest | None, heading: str, text: str, *, user: UserId | None = None, status: int = 200
    ) -> web.Response:
        login = self._login(user) if user is not None else None
        values = {"heading": heading, "text": text, "login": login, "problems": (), "sso": self._by_sign_on}
        return self._page("told.html", guest, values, status=status)

    def _login(self, user: UserId) -> dict[str, Any]:
        homeserver = self._config.web.homeserver or f"https://{self._config.homeserver.server_name}"
        phone = f"https://mobile.element.io/?hs_url={quote(homeserver, safe='')}"
        return {"apps": APPS, "homeserver": homeserver, "user": user, "phone": phone, "qr": qr_svg(phone)}

    def _page(
        self, template: str, guest: Guest | None, values: Mapping[str, Any], *, status: int = 200
    ) -> web.Response:
        organisation = guest.organisation if guest is not None else None
        logo = organisation is not None and logo_of(organisation, self._source.path.parent) is not None
        text = _templates().get_template(template).render(
            w=self._wording(guest),
            base=URL(self._config.web.address).path.rstrip("/"),
            organisation=_name(organisation),
            identifier=organisation.identifier if organisation is not None else "",
            logo=logo,
            bot=self._config.bot,
            **values,
        )  # fmt: skip
        return web.Response(text=text, content_type="text/html", status=status)

    @property
    def _by_sign_on(self) -> bool:
        return self._config.web.login == "single_sign_on"

    def _wording(self, guest: Guest | None) -> Wording:
        return wording_of(guest.organisation.language if guest is not None and guest.organisation else "en")

    async def _logo(self, request: web.Request) -> web.Response:
        organisation = self._source.policy.organisations.get(request.match_info["organisation"])
        logo = logo_of(organisation, self._source.path.parent) if organisation is not None else None
        if logo is None:
            raise web.HTTPNotFound
        return web.Response(body=logo.data, content_type=logo.mimetype)


class Attempts:
    """How often somebody did something lately; so many at the most are remembered."""

    def __init__(self, clock: Callable[[], Moment], most: int) -> None:
        self._clock = clock
        self._most = most
        self._times: dict[str, list[Moment]] = {}

    def may(self, who: str) -> bool:
        """Not too often yet."""
        return len(self._lately(who)) < self._most

    def note(self, who: str) -> None:
        """Once more."""
        if len(self._times) >= MOST_ADDRESSES and who not in self._times:
            self._times = {one: self._lately(one) for one in self._times if self._lately(one)}
            if len(self._times) >= MOST_ADDRESSES:
                self._times.clear()
        self._times[who] = [*self._lately(who), self._clock()][-self._most :]

    def _lately(self, who: str) -> list[Moment]:
        since = self._clock() - WRONG_WINDOW
        return [moment for moment in self._times.get(who, ()) if moment > since]


def _account(guest: Guest) -> UserId | None:
    """The account that accepted, also where an administrator made the row active by hand."""
    by_hand = guest.member.matrix if guest.member is not None else None
    return UserId(guest.invitation.account) if guest.invitation.account else by_hand


def _name(organisation: Organisation | None) -> str:
    return organisation.name if organisation is not None else ""


async def _style(_request: web.Request) -> web.Response:
    return web.Response(text=_style_text(), content_type="text/css")


@cache
def _style_text() -> str:
    return (files("bridge.arrival") / "templates" / "style.css").read_text("utf-8")


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("bridge.arrival"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
