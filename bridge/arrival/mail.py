"""The e-mail that invites somebody: text and HTML, in the language of the organisation, with its name and logo."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from yarl import URL

from bridge.arrival.logo import Logo
from bridge.arrival.post import Bounced
from bridge.arrival.words import wording_of
from policy.model import Membership, Moment, Organisation

IN_MAILS = frozenset({"image/png", "image/jpeg", "image/gif"})
"""What mail programs draw."""

_JOINERS = "\u200c\u200d"
"""Parts of words in some scripts, and of emoji."""

_LOGO_ID = "logo@qwil"


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
    mail = EmailMessage()
    mail["Subject"] = one_line(wording("mail_subject", organisation=organisation.name))
    name, address = parseaddr(head.sender)
    to = _deliverable(member.email)
    mail["From"] = _address(f"{organisation.name} ({name})" if name else organisation.name, address)
    mail["To"] = _address(member.name, to)
    mail["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    digest = hashlib.sha256(occasion.encode()).hexdigest()[:32]
    mail["Message-ID"] = f"<{digest}@{address.rpartition('@')[2]}>"
    # RFC 3834: nobody's holiday notice answers this, and we answer none.
    mail["Auto-Submitted"] = "auto-generated"
    mail["Content-Language"] = wording.language
    mail.set_content(_templates(False).get_template("mail.txt").render(words), cte="quoted-printable")
    mail.add_alternative(_templates(True).get_template("mail.html").render(words), "html", cte="quoted-printable")
    html = mail.get_body(("html",))
    if logo is not None and html is not None:
        kind = logo.mimetype.partition("/")[2]
        html.add_related(logo.data, "image", kind, cid=f"<{_LOGO_ID}>", disposition="inline")
    return mail


def one_line(text: str) -> str:
    """A text fit for a header: no line breaks or other control characters, which could begin a header of their own."""
    return " ".join("".join(c if c.isprintable() or c in _JOINERS else " " for c in text).split())[:300]


def _deliverable(email: str) -> str:
    """The address as mail servers know it, the domain in ASCII (RFC 5891); raises `Bounced`."""
    local, _, domain = email.rpartition("@")
    try:
        return Address(addr_spec=f"{local}@{URL.build(scheme='smtp', host=domain).raw_host}").addr_spec
    except (ValueError, IndexError, MessageError) as error:
        raise Bounced("mail servers know no such address: before the @ stand a-z, 0-9 and single dots") from error


def _address(name: str, address: str) -> Address:
    return Address(display_name=one_line(name)[:120], addr_spec=address)


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
