"""A mail that came back, as data: whose invitation it was, whether it came back for good, what was said about it.

An invitation's mails come back to an address of their own (VERP). In it stands a mark, an HMAC over the invitation:
it tells nothing about the link, and who makes one up changes nothing. What came back is read as RFC 3464 has it; of
the mail itself, which may lie in there with its link, nothing is looked at.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from email import message_from_bytes, message_from_string
from email.message import Message
from typing import Literal, NamedTuple

from bridge.arrival.invitation import Invitation
from bridge.arrival.mail import one_line
from bridge.config import MARK_LENGTH

Outcome = Literal["bounced", "lost", "delayed"]
"""For good (5.x.x), given up on although the address may be right (4.x.x), or still on its way."""

ADDRESSED = ("To", "Delivered-To", "X-Original-To", "Envelope-To")
"""Headers in which a mailbox shows to which of its addresses a mail came."""

LONGEST_REASON = 200

_STATUS = re.compile(r"\s*([245])\.\d{1,3}\.\d{1,3}")
_WORST_FIRST: tuple[Outcome, ...] = ("bounced", "lost", "delayed")


class Bounce(NamedTuple):
    """What a server told about a mail of ours."""

    mark: str
    outcome: Outcome
    reason: str


def mark_of(invitation: Invitation, key: bytes) -> str:
    """What stands for an invitation in the address that its mails come back to; another one after each `resend`."""
    about = f"{invitation.person} {invitation.since!r} {invitation.email}"
    return hmac.new(key, about.encode(), hashlib.sha256).hexdigest()[:MARK_LENGTH]


def return_address(form: str, mark: str) -> str:
    """The address that mails with this mark come back to; none where the configuration has none."""
    return form.replace("{id}", mark, 1)


def mark_in(headers: bytes, form: str) -> str | None:
    """The mark in the address that a mail with these headers came to; none where it is no address of ours."""
    before, _, after = form.partition("{id}")
    # Servers may write an address of ours in capitals.
    ours = re.compile(f"(?<![^\\s<,:;]){re.escape(before)}([0-9a-f]{{{MARK_LENGTH}}}){re.escape(after)}", re.IGNORECASE)
    mail = message_from_bytes(headers)
    shown = (str(value) for name in ADDRESSED for value in mail.get_all(name, ()))
    found = next(filter(None, map(ours.search, shown)), None)
    return found[1].lower() if found else None


def bounce_of(data: bytes, form: str) -> Bounce | None:
    """What a mail says about one of ours; none where it is no report of delivery (RFC 3464) to an address of ours."""
    mark = mark_in(data, form)
    if mark is None:
        return None
    mail = message_from_bytes(data)
    told = dict(reversed([found for part in _reports(mail) for found in _outcomes(part)]))
    for outcome in _WORST_FIRST:
        if outcome in told:
            return Bounce(mark, outcome, told[outcome])
    return None


def _reports(mail: Message) -> Iterator[Message]:
    if mail.get_content_type() != "multipart/report" or not mail.is_multipart():
        return
    for part in mail.get_payload():
        # RFC 3464, and RFC 6533 for addresses in every script.
        if isinstance(part, Message) and part.get_content_type() in (
            "message/delivery-status",
            "message/global-delivery-status",
        ):
            yield part


def _outcomes(report: Message) -> Iterator[tuple[Outcome, str]]:
    """What became of each recipient, with the reason."""
    inner = report.get_payload()
    text = "\n\n".join(str(each) for each in inner) if isinstance(inner, list) else str(inner)
    for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")):
        fields = message_from_string(block.strip("\n") + "\n\n")
        action, status = str(fields["Action"] or "").strip().lower(), _STATUS.match(str(fields["Status"] or ""))
        if action == "failed" and status:
            yield ("bounced" if status[1] == "5" else "lost"), _reason(fields)
        elif action == "delayed":
            yield "delayed", _reason(fields)


def _reason(fields: Message) -> str:
    """The code, and what the other server said in its own words."""
    said = str(fields["Diagnostic-Code"] or "").partition(";")[2]
    status = str(fields["Status"] or "").strip()
    return one_line(said if status and status in said else f"{status} {said}")[:LONGEST_REASON]
