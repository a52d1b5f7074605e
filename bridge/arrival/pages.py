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
from aiohttp.http_exceptions import HttpProcessingError
from jinja2 import Environment, PackageLoader, StrictUndefined
from yarl import URL

from bridge.arrival.acceptance import Acceptance
from bridge.arrival.consent import Consent
from bridge.arrival.guest import Form, Guest, Problem, Problems
from bridge.arrival.logo import logo_of
from bridge.arrival.qr import qr_svg
from bridge.arrival.terms import PAGE, platform_terms
from bridge.arrival.visitors import Attempts, address_of, counted_as
from bridge.arrival.words import Wording, wording_of
from bridge.config import Config
from bridge.networks import Network, within
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
"""So many wrong links from one address in `WINDOW` seconds are told that they are wrong; the others have to wait."""

MOST_ACTS = 60
"""So many forms are taken for one link in `WINDOW` seconds."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "qwil",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}

GONE = {"unknown": 404, "no_page": 404, "too_many": 429, "fault": 500, "outside": 403}
"""HTTP status of what does not work; everything else is gone (410)."""

TITLES = {
    "accepted": "gone_title_accepted",
    "declined": "declined_title",
    "too_many": "gone_title_wait",
    "fault": "gone_title_wait",
    "outside": "gone_title_outside",
}
"""Keys of the wording, for what is not a link that does not work."""

NOTHING_TYPED = dict.fromkeys(("username", "matrix", "mobile", "platform", "terms"), "")

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
            # Some programs put a slash behind an address.
            web.get("/invitation/{token}{end:/?}", self._show),
            web.post("/invitation/{token}{end:/?}", self._act),
            web.get(PAGE, self._terms),
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
            key = "no_page" if refused.status not in (400, 413) else "fault"
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
        typed = await _typed(request)
        act = {"accept": self._accept, "prove": self._prove, "confirm": self._confirm, "decline": self._decline}
        if typed.get("do") not in act:
            return self._invitation(guest)
        try:
            # What was begun is finished, also when whoever asked has gone away.
            return await asyncio.shield(act[typed["do"]](_token(request), guest, typed))
        except (Problem, Problems) as wrong:
            problems = wrong.problems if isinstance(wrong, Problems) else (wrong,)
            return self._again(request, problems, typed)

    async def _accept(self, token: str, guest: Guest, typed: Mapping[str, str]) -> web.Response:
        if self._by_sign_on:
            user = await self._acceptance.accept_for_login(token, _consent(typed))
            waiting = (self._acceptance.guest(token) or guest).invitation.waits
            return self._waiting(guest) if waiting else self._accepted(guest, user)
        username, password, again = (typed.get(name, "") for name in ("username", "password", "again"))
        form = Form(username, password, again, _consent(typed))
        return self._accepted(guest, await self._acceptance.accept(token, form))

    async def _confirm(self, token: str, guest: Guest, typed: Mapping[str, str]) -> web.Response:
        user = await self._acceptance.accept_with_code(token, typed.get("code", ""), _consent(typed))
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
        """Whose link it is; staff may have to be inside (INV-13)."""
        address = address_of(request, self._config.web.trusted_proxies)
        guest = self._acceptance.guest(_token(request))
        if guest is None:
            return self._wrong_link(counted_as(address))
        networks = self._networks(guest)
        if networks is not None and (address is None or not within(address, networks)):
            return self._gone("outside", guest, address=str(address or "?"))
        return guest

    def _wrong_link(self, visitor: str) -> web.Response:
        """Whoever tries many wrong ones waits, and nobody else at their address: a school has one for everybody.

        No secret hangs on the limit: each has 128 bits, and those who guess learn no more from this than from a 404.
        """
        if not self._wrong.may(visitor):
            return self._gone("too_many", None)
        self._wrong.note(visitor)
        return self._gone("unknown", None)

    def _networks(self, guest: Guest) -> Sequence[Network] | None:
        """Where this person has to be to accept; none for wherever they like."""
        if guest.organisation is None or guest.member is None or guest.member.role != "staff":
            return None
        return self._config.web.staff_networks.get(guest.organisation.identifier)

    def _again(self, request: web.Request, problems: Sequence[Problem], typed: Mapping[str, str]) -> web.Response:
        guest = self._acceptance.guest(_token(request))
        if guest is None:
            return self._gone("unknown", None)
        shown = [
            Shown(one.field, one.key, {"server": self._config.homeserver.server_name, **one.values})
            for one in problems
            if one.key != "closed"
        ]
        if any(one.key == "matrix_unknown" for one in shown) and self._by_sign_on:
            shown = [Shown("matrix", "matrix_waiting", one.words) for one in shown]
        return self._invitation(guest, shown, typed)

    def _invitation(
        self, guest: Guest, problems: Sequence[Shown] = (), typed: Mapping[str, str] | None = None
    ) -> web.Response:
        if guest.standing != "open" or guest.member is None or guest.organisation is None:
            return self._gone(guest.standing, guest)
        if guest.invitation.waits:
            return self._waiting(guest)
        member, proving = guest.member, self._acceptance.proving(guest.member)
        fixed = member.matrix or ""
        here = fixed.endswith(f":{self._config.homeserver.server_name}")
        values = {
            "name": member.name,
            "job_title": member.job_title,
            "note": guest.invitation.note,
            "sets": self._acceptance.sets(member),
            "number": self._acceptance.asked_for_number(member),
            "problems": problems,
            "typed": {**NOTHING_TYPED, **(typed or {})},
            "proving": proving or "",
            "shown_in": "code" if proving and (typed or {}).get("do") != "accept" else "new",
            "sso": self._by_sign_on,
            "fixed_username": fixed[1:].partition(":")[0] if here and not self._by_sign_on else "",
            "named": fixed if here and self._by_sign_on else "",
            "fixed": fixed,
            "fixed_remote": "" if here else fixed,
            "server": self._config.homeserver.server_name,
        }
        return self._page("invitation.html", guest, values, status=400 if problems else 200)

    def _accepted(self, guest: Guest, user: UserId) -> web.Response:
        w, organisation = self._wording(guest), _name(guest.organisation)
        return self._told(guest, w("accepted_title"), w("accepted_text", organisation=organisation), user=user)

    def _waiting(self, guest: Guest) -> web.Response:
        """Accepted, and to begin with the first login."""
        w, organisation = self._wording(guest), _name(guest.organisation)
        user, text = guest.member.matrix if guest.member else None, w("waiting_text", organisation=organisation)
        return self._told(guest, w("waiting_title"), text, user=user, waiting=True)

    def _gone(self, key: str, guest: Guest | None, *, status: int | None = None, **values: str) -> web.Response:
        w, organisation = self._wording(guest), _name(guest.organisation if guest else None)
        text = w(f"gone_{key}", organisation=organisation, **values)
        user = _account(guest) if guest is not None and key == "accepted" else None
        return self._told(guest, w(TITLES.get(key, "gone_title")), text, user=user, status=status or GONE.get(key, 410))

    def _told(
        self,
        guest: Guest | None,
        heading: str,
        text: str,
        *,
        user: UserId | None = None,
        status: int = 200,
        waiting: bool = False,
    ) -> web.Response:
        elsewhere = user if user is not None and not user.endswith(f":{self._config.homeserver.server_name}") else None
        login = self._login(user) if user is not None and not elsewhere else None
        values = {
            "heading": heading,
            "text": text,
            "login": login,
            "elsewhere": elsewhere,
            "waiting": waiting,
            "problems": (),
            "sso": self._by_sign_on,
        }
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

    async def _terms(self, _request: web.Request) -> web.Response:
        """The platform's terms, where they are a file of ours."""
        terms, file = platform_terms(self._config), self._config.terms.file
        if terms is None or file is None:
            raise web.HTTPNotFound
        values = {"terms": terms, "text": file.read_text("utf-8-sig", errors="replace"), "problems": ()}
        return self._page("terms.html", None, values)

    async def _logo(self, request: web.Request) -> web.Response:
        organisation = self._source.policy.organisations.get(request.match_info["organisation"])
        logo = logo_of(organisation, self._source.path.parent) if organisation is not None else None
        if logo is None:
            raise web.HTTPNotFound
        return web.Response(body=logo.data, content_type=logo.mimetype)


async def _typed(request: web.Request) -> dict[str, str]:
    """What stands in the form that was sent."""
    try:
        form = await request.post()
    except (ValueError, LookupError, AssertionError, HttpProcessingError) as broken:
        raise web.HTTPBadRequest from broken
    return {name: value for name, value in form.items() if isinstance(value, str)}


def _token(request: web.Request) -> str:
    """The secret of the link, also as somebody types it from paper."""
    return request.match_info["token"].strip().lower()


def _consent(typed: Mapping[str, str]) -> Consent:
    versions = {field: typed[field] for field in ("platform", "terms") if field in typed}
    return Consent(versions, typed.get("mobile", ""))


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
