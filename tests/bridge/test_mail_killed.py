"""kill -9 while a mail is handed over: nobody is mailed twice or forgotten, and `status` says what is not known."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from bridge.arrival.invitation import DAY
from bridge.demo.homeserver import free_port
from tests.homeserver.mailbox import mail_server

ROOT = Path(__file__).parents[2]
MONDAY = 1_788_764_400.0


class SlowServer:
    """Takes mails, or has one in hand and does not answer."""

    def __init__(self) -> None:
        self.port = free_port()
        self.taken: list[bytes] = []
        self.silent: str = ""
        """When it falls silent: `before` it took the mail, or `after`."""
        self.has_it = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._controller = mail_server(self, self.port)

    def start(self) -> None:
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        assert isinstance(envelope.content, bytes)
        if self.silent != "before":
            self.taken.append(envelope.content)
        if self.silent:
            self._loop.call_soon_threadsafe(self.has_it.set)
            await asyncio.Event().wait()
        return "250 OK"


@pytest.fixture
async def server() -> Iterator[SlowServer]:  # type: ignore[misc]
    slow = SlowServer()
    slow.start()
    yield slow
    slow.stop()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("days", [30, 1])
async def test_a_mail_in_hand_at_a_kill_is_not_sent_again_that_day_and_status_says_so(
    database: str, tmp_path: Path, server: SlowServer, when: str, days: int
) -> None:
    command = [sys.executable, "-m", "tests.bridge.mail_process", database, str(tmp_path), str(server.port)]

    async def run(now: float) -> str:
        done = await asyncio.to_thread(
            subprocess.run, [*command, str(now), str(days)], cwd=ROOT, check=True, capture_output=True, text=True
        )
        return done.stdout

    server.silent = when
    bridge = await asyncio.to_thread(subprocess.Popen, [*command, str(MONDAY), str(days)], cwd=ROOT)
    await server.has_it.wait()
    bridge.kill()
    await asyncio.to_thread(bridge.wait)
    server.silent = ""
    took = len(server.taken)

    told = await run(MONDAY + 60)

    following = "the next one follows in a day" if days > 1 else "it was the last one: “resend”"
    assert told.splitlines() == [
        "Invitations: 1 pending.",
        "- hillside/p.chan: whether the last mail to chan@home.example went out is not known "
        f"(the bridge ended while it was sent); {following}.",
    ]
    assert len(server.taken) == took
    told = await run(MONDAY + 60 + DAY)
    assert len(server.taken) == took + (days > 1)
    assert ("is not known" in told) == (days == 1)


async def test_a_mail_that_was_taken_is_on_record_as_handed_over_and_only_then(
    database: str, tmp_path: Path, server: SlowServer
) -> None:
    command = [sys.executable, "-m", "tests.bridge.mail_process", database, str(tmp_path), str(server.port)]

    for minutes in range(3):
        done = await asyncio.to_thread(
            subprocess.run, [*command, str(MONDAY + 60 * minutes), "30"], cwd=ROOT, check=True, capture_output=True
        )

    assert len(server.taken) == 1
    assert done.stdout.decode().splitlines() == ["Invitations: 1 pending."]
