"""A real mail server for tests: what it takes is kept, and addresses can be refused."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from bridge.demo.homeserver import free_port

LINK = re.compile(r"http://127\.0\.0\.1:\d+/invitation/[A-Za-z0-9_-]+")


def mail_server(handler: object, port: int) -> Controller:
    """A mail server that has a name, which it would look for in the network else, and time to start."""
    return Controller(handler, server_hostname="mail.example", hostname="127.0.0.1", port=port, ready_timeout=60)


class Mailbox:
    """Everything that was mailed, in order."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.mails: list[EmailMessage] = []
        self.refused: dict[str, str] = {}
        """What is said to these addresses, such as `550 No such mailbox`."""
        self._controller: Controller | None = None

    def start(self) -> None:
        """Listen."""
        self._controller = mail_server(self, self.port)
        self._controller.start()

    def stop(self) -> None:
        """Go away."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - the same
        assert isinstance(envelope.content, bytes)
        mail: Any = message_from_bytes(envelope.content, policy=policy.default)
        self.mails.append(mail)
        return "250 OK"

    def to(self, address: str) -> list[EmailMessage]:
        """The mails to one address."""
        return [mail for mail in self.mails if address in str(mail["To"])]


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    """The plain text of a mail, or its HTML."""
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def link_in(mail: EmailMessage) -> str:
    """The link with which the invitation is accepted."""
    found = LINK.search(text_of(mail))
    assert found, text_of(mail)
    return found[0]
