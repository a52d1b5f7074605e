"""Handing mails over: to a mail server by SMTP, or as files into a folder, where a demo catches them.

Exception
├── NotSent      try again later: the server is busy, or refuses this mail without saying that the address is wrong
│   └── Away     the server cannot be reached or takes nothing from us: the other mails need not be tried either
├── Bounced      the address is refused: trying again is of no use
└── Uncertain    the connection broke when the mail may have been accepted already
"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Protocol

import aiosmtplib
from yarl import URL

from bridge.config import Mail

_DETAIL = re.compile(r"5\.(\d{1,3})\.\d{1,3}\b")
_ABOUT_THE_ADDRESS = ("1", "2")
"""Subjects of an enhanced status code (RFC 3463): the address, the mailbox."""
_ABOUT_US = (530, 535, 538)
"""A login is wanted, or was wrong (RFC 4954)."""

PATIENCE_AT_THE_DOOR = 10.0
"""Seconds in which a mail server has to answer a call."""

PATIENCE = 30.0
"""Seconds a mail server is waited for, at each step."""


class NotSent(Exception):
    """The mail was not sent; it may be later."""


class Away(NotSent):
    """No mail can be sent just now."""


class Bounced(Exception):
    """The mail server refuses the address; the text is what it said."""


class Uncertain(Exception):
    """Whether the mail was accepted is not known."""


class Carrier(Protocol):
    """Whoever takes mails."""

    async def send(self, mail: EmailMessage, returns_to: str = "") -> None:
        """Hand over one mail, written with the line ends of the wire, which comes back to that address or its sender.

        Raises `NotSent`, `Bounced` or `Uncertain`; only when it returns did somebody take the mail on.
        """


def carrier_for(mail: Mail) -> Carrier | None:
    """The carrier that the configuration names; none where there is none."""
    if not mail.server:
        return None
    return Folder(mail.folder) if mail.folder is not None else Smtp(mail)


class Folder:
    """Writes each mail into a folder as `NUMBER-ADDRESS.eml`, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, mail: EmailMessage, returns_to: str = "") -> None:  # noqa: ARG002 - nothing comes back
        """Write one mail."""
        try:
            await asyncio.to_thread(self._write, mail)
        except OSError as error:
            raise NotSent(f"{self._folder} cannot be written: {error.strerror}") from error

    def _write(self, mail: EmailMessage) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        address = "".join(c if c.isalnum() or c in "@.-_" else "_" for c in _address_of(mail, "To"))[:120]
        target = self._folder / f"{time.time_ns()}-{address}.eml"
        draft = target.with_suffix(".new")
        draft.write_bytes(mail.as_bytes())
        draft.replace(target)


class Smtp:
    """Speaks to a mail server, a connection for each mail."""

    def __init__(self, mail: Mail) -> None:
        self._mail = mail
        self._address = URL(mail.server)

    async def send(self, mail: EmailMessage, returns_to: str = "") -> None:
        """Hand over one mail."""
        client = self._client()
        try:
            await self._to_the_point_of_data(client, mail, returns_to or _address_of(mail, "From"))
            await self._data(client, mail)
        finally:
            with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await client.quit(timeout=1)
            client.close()

    def _client(self) -> aiosmtplib.SMTP:
        # smtp: encrypts where the server offers it, smtp+starttls: insists on it, smtps: begins with it.
        starttls = {"smtp": None, "smtp+starttls": True, "smtps": False}[self._address.scheme]
        return aiosmtplib.SMTP(
            hostname=self._address.host,
            port=self._address.explicit_port or {"smtps": 465, "smtp+starttls": 587}.get(self._address.scheme, 25),
            username=self._mail.username or None,
            password=self._mail.password or None,
            use_tls=self._address.scheme == "smtps",
            start_tls=starttls,
            timeout=PATIENCE,
        )

    async def _to_the_point_of_data(self, client: aiosmtplib.SMTP, mail: EmailMessage, sender: str) -> None:
        """Everything before the mail itself: whatever fails here, nothing was sent."""
        try:
            await client.connect(timeout=PATIENCE_AT_THE_DOOR)
            await client.mail(sender)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise Away(_said(error)) from error
        try:
            await client.rcpt(_address_of(mail, "To"))
        except aiosmtplib.SMTPResponseException as error:
            raise _refused(error) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise NotSent(_said(error)) from error

    async def _data(self, client: aiosmtplib.SMTP, mail: EmailMessage) -> None:
        try:
            await client.data(mail.as_bytes())
        except aiosmtplib.SMTPResponseException as error:
            raise _refused(error) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise Uncertain(_said(error)) from error


def _refused(error: aiosmtplib.SMTPResponseException) -> NotSent | Bounced:
    """A server that refuses us, our mail or its own state (RFC 3463) says nothing about the address: we try again.

    Otherwise a relay that was set up wrongly on a Monday morning would make bounces of four hundred good addresses.
    """
    detail = _DETAIL.match(error.message)
    of_the_address = detail is None or detail[1] in _ABOUT_THE_ADDRESS
    return (Bounced if error.code >= 500 and error.code not in _ABOUT_US and of_the_address else NotSent)(_said(error))


def _address_of(mail: EmailMessage, header: str) -> str:
    return parseaddr(str(mail[header]))[1]


def _said(error: BaseException) -> str:
    message = getattr(error, "message", "") or str(error) or type(error).__name__
    code = getattr(error, "code", None)
    return " ".join(f"{code or ''} {message}".split())[:300]
