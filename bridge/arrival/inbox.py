"""The mailbox in which mails come back, read by IMAP (RFC 3501): only looked at, never changed.

Calls wait for the server: make them in a thread.
"""

from __future__ import annotations

import imaplib
import re
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from typing import Any, NamedTuple
from urllib.parse import unquote

from yarl import URL

from bridge.arrival.bounce import ADDRESSED
from bridge.config import Bounces

PATIENCE = 30.0
"""Seconds the server is waited for, at each step."""

AT_ONCE = 200
"""Mails that are looked at before it is noted how far we are."""

LONGEST = 256 * 1024
"""Bytes of a mail that are read: a report stands before the mail that came back."""

_HEADERS = f"(BODY.PEEK[HEADER.FIELDS ({' '.join(ADDRESSED).upper()})])"
_WHOLE = f"(BODY.PEEK[]<0.{LONGEST}>)"


class Unread(Exception):
    """The mailbox cannot be read just now; the text says why."""


class Place(NamedTuple):
    """How far a mailbox was read: the last number in it, while its numbers are valid."""

    validity: int
    last: int


class Found(NamedTuple):
    """Mails, how far they go, and whether there are more."""

    mails: list[bytes]
    place: Place
    more: bool


class Inbox:
    """Reads new mails in a mailbox."""

    def __init__(self, bounces: Bounces) -> None:
        self._bounces = bounces
        self._address = URL(bounces.mailbox)

    def read(self, after: Place | None, *, since: date, wanted: Callable[[bytes], bool]) -> Found:
        """The mails behind a place, or from a day on, whose headers are wanted; raises `Unread`."""
        try:
            with self._open() as client:
                return self._read(client, after, since, wanted)
        except (imaplib.IMAP4.error, OSError, ValueError) as error:
            raise Unread(_said(error)) from error

    def _read(self, client: imaplib.IMAP4, after: Place | None, since: date, wanted: Callable[[bytes], bool]) -> Found:
        name = unquote(self._address.path.strip("/")) or "INBOX"
        _done(client.select(f'"{name}"', readonly=True))
        validity = int(client.response("UIDVALIDITY")[1][0] or 0)
        # RFC 3501, 2.3.1.1: with another validity, the numbers are other ones.
        last = after.last if after is not None and after.validity == validity else 0
        criteria = ("UID", f"{last + 1}:*") if last else ("SINCE", f"{since:%d-%b-%Y}")
        (numbers,) = _done(client.uid("SEARCH", *criteria)) or [b""]
        # RFC 3501, 6.4.8: N:* holds the last mail whatever its number.
        found = sorted(number for number in map(int, (numbers or b"").split()) if number > last)
        these = found[:AT_ONCE]
        mails = [self._fetch(client, one, _WHOLE) for one in these if wanted(self._fetch(client, one, _HEADERS))]
        return Found(mails, Place(validity, max([last, *these])), len(found) > len(these))

    def _fetch(self, client: imaplib.IMAP4, number: int, what: str) -> bytes:
        """A part of one mail; nothing where it has gone meanwhile."""
        answer: Iterable[Any] = _done(client.uid("FETCH", str(number), what))
        return next((part[1] for part in answer if isinstance(part, tuple)), b"")

    @contextmanager
    def _open(self) -> Iterator[imaplib.IMAP4]:
        client = self._connected()
        try:
            self._log_in(client)
            yield client
        finally:
            with suppress(imaplib.IMAP4.error, OSError):
                client.logout()

    def _connected(self) -> imaplib.IMAP4:
        host, port = self._address.host or "", self._address.explicit_port
        trusted = ssl.create_default_context()
        if self._address.scheme == "imaps":
            return imaplib.IMAP4_SSL(host, port or 993, ssl_context=trusted, timeout=PATIENCE)
        client = imaplib.IMAP4(host, port or 143, timeout=PATIENCE)
        try:
            if self._address.scheme == "imap+starttls" or "STARTTLS" in client.capabilities:
                client.starttls(trusted)
        except (imaplib.IMAP4.error, OSError):
            client.shutdown()
            raise
        return client

    def _log_in(self, client: imaplib.IMAP4) -> None:
        if "AUTH=PLAIN" in client.capabilities:
            # RFC 4616; unlike LOGIN it takes passwords in every script.
            whole = f"\0{self._bounces.username}\0{self._bounces.password}".encode()
            client.authenticate("PLAIN", lambda _: whole)
        else:
            client.login(self._bounces.username, self._bounces.password)


def _done(answer: tuple[str, list[Any]]) -> list[Any]:
    status, data = answer
    if status != "OK":
        raise imaplib.IMAP4.error(data[0] if data else status)
    return data


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(error)
    return re.sub(r"\s+", " ", text or type(error).__name__).strip()[:300]
