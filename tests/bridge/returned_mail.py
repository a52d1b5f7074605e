"""A mail's way back: a mail server that takes everything and reports later, and the mailbox that its reports reach."""

from __future__ import annotations

import asyncio
import re
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiosmtpd.smtp import SMTP, Envelope, Session

from bridge.demo.homeserver import free_port
from tests.homeserver.mailbox import mail_server

REPORT = """\
From: MAILER-DAEMON@relay.example (Mail Delivery System)
To: {to}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
 boundary="4B1C2.1788764400/relay.example"

This is a MIME-encapsulated message.

--4B1C2.1788764400/relay.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

<{recipient}>: host mx.home.example[192.0.2.1] said: {said}

--4B1C2.1788764400/relay.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example
X-Postfix-Queue-ID: 4B1C2
Arrival-Date: Mon,  7 Sep 2026 08:00:00 +0000 (UTC)

Final-Recipient: rfc822; {recipient}
Original-Recipient: rfc822;{recipient}
Action: {action}
Status: {status}
Remote-MTA: dns; mx.home.example
Diagnostic-Code: smtp; {said}

--4B1C2.1788764400/relay.example
Content-Description: Undelivered Message
Content-Type: message/rfc822

{original}
--4B1C2.1788764400/relay.example--
"""
"""As Postfix writes it."""


def report(
    to: str,
    recipient: str = "chan@home.example",
    *,
    action: str = "failed",
    status: str = "5.1.1",
    said: str = "550 5.1.1 <chan@home.example>: Recipient address rejected: User unknown",
    original: str = "Subject: An invitation\n\nHello",
) -> bytes:
    """A delivery status notification (RFC 3464) to this address."""
    text = REPORT.format(to=to, recipient=recipient, action=action, status=status, said=said, original=original)
    return text.replace("\n", "\r\n").encode()


class Relay:
    """A mail server that takes every mail, and reports those to `nowhere` by a mail to the sender on the envelope."""

    def __init__(self, home: int) -> None:
        self.port = free_port()
        self.home = home
        """The port of the mail server to which the senders' addresses belong."""
        self.nowhere: set[str] = set()
        self.senders: list[str] = []
        self.recipients: list[str] = []
        self.taken: list[bytes] = []
        self._controller = mail_server(self, self.port)

    def start(self) -> None:
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        assert isinstance(envelope.content, bytes)
        sender, recipient = str(envelope.mail_from), envelope.rcpt_tos[0]
        self.senders.append(sender)
        self.recipients.append(recipient)
        self.taken.append(envelope.content)
        if recipient in self.nowhere:
            original = envelope.content.decode().replace("\r\n", "\n")
            await asyncio.to_thread(self._give_back, sender, report(sender, recipient, original=original))
        return "250 2.0.0 Ok: queued as 4B1C2"

    def _give_back(self, to: str, mail: bytes) -> None:
        with smtplib.SMTP("127.0.0.1", self.home, local_hostname="relay.example") as server:
            # RFC 3464, 2: from nobody, so that a report is never itself reported.
            server.sendmail("", to, mail)


class Home:
    """The mail server of the organisation: what arrives by SMTP lies in a mailbox that is read by IMAP (RFC 3501)."""

    def __init__(self) -> None:
        self.smtp, self.imap = free_port(), free_port()
        self.mails: dict[int, bytes] = {}
        self.validity = 1
        self.password = "s3cret"
        self.heard: list[str] = []
        self._controller = mail_server(self, self.smtp)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._controller.start()
        server = await asyncio.start_server(self._speak, "127.0.0.1", self.imap)
        try:
            yield
        finally:
            server.close()
            self._controller.stop()

    def put(self, mail: bytes) -> None:
        self.mails[max(self.mails, default=0) + 1] = mail

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        assert isinstance(envelope.content, bytes)
        self.put(envelope.content)
        return "250 2.0.0 Ok"

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK [CAPABILITY IMAP4rev1] ready\r\n")
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            tag, _, words = line.partition(" ")
            self.heard.append(words)
            untagged, answer = self._answer(words)
            writer.write(untagged + f"{tag} {answer}\r\n".encode())
            await writer.drain()
            if words == "LOGOUT":
                break
        writer.close()

    def _answer(self, words: str) -> tuple[bytes, str]:
        done = "OK done"
        match words.split(" "):
            case ["CAPABILITY"]:
                return b"* CAPABILITY IMAP4rev1\r\n", done
            case ["LOGIN", _, password]:
                right = password.strip('"') == self.password
                return b"", done if right else "NO [AUTHENTICATIONFAILED] Authentication failed."
            case ["EXAMINE", '"INBOX/Returned"']:
                return f"* {len(self.mails)} EXISTS\r\n* OK [UIDVALIDITY {self.validity}]\r\n".encode(), done
            case ["EXAMINE", _]:
                return b"", "NO [NONEXISTENT] Mailbox does not exist"
            case ["UID", "SEARCH", *criteria]:
                return f"* SEARCH {' '.join(map(str, self._search(criteria)))}\r\n".encode(), done
            case ["UID", "FETCH", number, *what]:
                return self._fetch(int(number), " ".join(what)), done
            case ["LOGOUT"]:
                return b"* BYE\r\n", done
        return b"", "BAD unknown command"

    def _search(self, criteria: list[str]) -> list[int]:
        match criteria:
            case ["SINCE", _]:
                return sorted(self.mails)
            case ["UID", span]:
                first, last = int(span.partition(":")[0]), max(self.mails, default=0)
                # RFC 3501, 6.4.8: 7:* is the last mail where there are but five.
                return sorted(number for number in self.mails if number >= min(first, last))
        raise AssertionError(criteria)

    def _fetch(self, number: int, what: str) -> bytes:
        mail = self.mails.get(number)
        if mail is None:
            return b""
        if fields := re.fullmatch(r"\(BODY\.PEEK\[HEADER\.FIELDS \((.*)\)\]\)", what):
            wanted = tuple(f"{name.lower()}:".encode() for name in fields[1].split())
            lines = mail.partition(b"\r\n\r\n")[0].split(b"\r\n")
            data = b"\r\n".join([*(line for line in lines if line.lower().startswith(wanted)), b"", b""])
        else:
            most = re.fullmatch(r"\(BODY\.PEEK\[\]<0\.(\d+)>\)", what)
            assert most, what
            data = mail[: int(most[1])]
        return f"* 1 FETCH (UID {number} BODY[] {{{len(data)}}}\r\n".encode() + data + b")\r\n"
