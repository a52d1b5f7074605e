"""The e-mail that invites somebody: text and HTML, in the language of the organisation, with its name and logo."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import Parser
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from yarl import URL

from bridge.arrival.logo import IN_MAILS, Logo
from bridge.arrival.post import Bounced
from bridge.arrival.words import wording_of
from policy.model import Membership, Moment, Organisation

_JOINERS = "\u200c\u200d"
"""Parts of words in some scripts, and of emoji."""

_LOGO_ID = "logo@qwil"

AS_WRITTEN = SMTP.clone(refold_source="none")
"""How mails go over the wire: their headers are left alone."""

LONGEST_NAME = 120
NO_ADDRESS = "mail servers know no such address: before the @ stand a-z, 0-9 and single dots"

_PLAIN = re.compile(r"[A-Za-z0-9 '-]{1,50}")


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What every mail of an organisation has in common."""

    organisation: Organisation
    sender: str
    logo: Logo | None


def invitation_mail(
    head: Letterhead, member: Membership, *, link: str, until: Moment, note: str, now: Moment, occasion: str
) -> EmailMessage:
    """The mail with this link; `occasion` names it, so that the same mail sent twice is known as one.

    Raises `Bounced` where the address is none that a mail could go to.
    """
    organisation, wording = head.organisation, wording_of(head.organisation.language)
    logo = head.logo if head.logo is not None and head.logo.mimetype in IN_MAILS else None
    words = {
        "w": wording,
        "organisation": organisation.name,
        "name": member.name,
        "job_title": member.job_title,
        "email": member.email,
        "note": note,
        "link": link,
        "until": wording.moment(until, organisation.timezone),
        "logo": f"cid:{_LOGO_ID}" if logo else "",
    }
    sender, address = parseaddr(head.sender)
    named = f"{organisation.name} ({sender})" if sender not in ("", organisation.name) else organisation.name
    digest = hashlib.sha256(occasion.encode()).hexdigest()[:32]
    mail = _headed({
        "Subject": _phrase(wording("mail_subject", organisation=organisation.name)),
        "From": f"{_phrase(named)} <{address}>",
        "To": f"{_phrase(member.name)} <{_deliverable(member.email)}>",
        "Date": format_datetime(datetime.fromtimestamp(now, UTC)),
        "Message-ID": f"<{digest}@{address.rpartition('@')[2]}>",
        # RFC 3834: nobody's holiday notice answers this, and we answer none.
        "Auto-Submitted": "auto-generated",
    })  # fmt: skip
    mail.set_content(_templates(False).get_template("mail.txt").render(words), cte="quoted-printable")
    mail.add_alternative(_templates(True).get_template("mail.html").render(words), "html", cte="quoted-printable")
    html = mail.get_body(("html",))
    if logo is not None and html is not None:
        kind = logo.mimetype.partition("/")[2]
        html.add_related(logo.data, "image", kind, cid=f"<{_LOGO_ID}>", disposition="inline")
    mail["Content-Language"] = wording.language
    return mail


def one_line(text: str) -> str:
    """A text fit for a header: no line breaks or other control characters, which could begin a header of their own."""
    return " ".join("".join(c if c.isprintable() or c in _JOINERS else " " for c in text).split())[:300]


def _deliverable(email: str) -> str:
    """The address as mail servers know it, the domain in ASCII (RFC 5891); raises `Bounced`."""
    local, _, domain = email.rpartition("@")
    try:
        address = Address(addr_spec=f"{local}@{URL.build(scheme='smtp', host=domain).raw_host}").addr_spec
    except (ValueError, IndexError, MessageError) as error:
        raise Bounced(NO_ADDRESS) from error
    if not (address.isascii() and address.isprintable()):
        raise Bounced(NO_ADDRESS)
    return address


def _headed(headers: Mapping[str, str]) -> EmailMessage:
    """A mail with these headers, as they are written here.

    Set one by one, the email package folds long ones, and what it folds out of its quotation marks could name another
    address: `"a, <x@evil.example>"`. What it reads, it leaves as it was.
    """
    text = "".join(f"{name}: {value}\n" for name, value in headers.items())
    return Parser(policy=AS_WRITTEN).parsestr(f"{text}\n")


def _phrase(text: str) -> str:
    """A name or a title for a header: encoded words (RFC 2047) unless it is short and plain."""
    line = one_line(text)[:LONGEST_NAME].strip()
    return line if _PLAIN.fullmatch(line) else Header(line, "utf-8", maxlinelen=70, header_name="Subject").encode()


@cache
def _templates(html: bool) -> Environment:
    return Environment(
        loader=PackageLoader("bridge.arrival"),
        autoescape=html,  # noqa: S701 - off for plain text alone
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
