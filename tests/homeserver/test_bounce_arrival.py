"""A mail that comes back later: from the report of a relay to the administrator's `status`, on a real homeserver."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.arrival import bounce_watch
from bridge.demo.homeserver import free_port
from tests.bridge.returned_mail import Home, Relay
from tests.homeserver import two_schools
from tests.homeserver.bridged import bridged
from tests.homeserver.matrix_client import eventually

TYPO = "      typo: {name: Ty Po, role: client, email: typo@home.example, status: invited}\n"


async def test_a_bounce_shows_in_status_and_a_corrected_address_is_mailed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounce_watch, "EVERY", 0.2)
    home = Home()
    relay = Relay(home.smtp)
    relay.nowhere = {"typo@home.example"}
    page = free_port()
    more = (
        f"mail: {{server: 'smtp://127.0.0.1:{relay.port}', sender: office@hillside.example, per_minute: 100000}}\n"
        f"bounces: {{address: 'b+{{id}}@hillside.example', mailbox: 'imap://127.0.0.1:{home.imap}/INBOX/Returned', "
        f"username: b, password: s3cret}}\n"
        f"web: {{address: 'http://127.0.0.1:{page}', port: {page}}}\n"
    )
    policy = two_schools.policy(hillside=[*two_schools.HILLSIDE, TYPO], year_1="head, okafor, chan, diaz, typo")
    relay.start()
    try:
        async with home.running(), bridged(tmp_path, policy, ["head", "okafor", "chan"], more=more) as school:
            head = await school.client("head")

            told = await eventually(lambda: school.say(head, "status"), lambda text: "came back" in text)

            assert "- hillside/typo: the mail to typo@home.example came back (550 5.1.1 " in told
            said = await school.say(head, "resend Ty Po ty.po@home.example")
            assert said.startswith("A fresh invitation goes out to Ty Po (ty.po@home.example).")
            await eventually(lambda: _recipients(relay), lambda recipients: "ty.po@home.example" in recipients)
            assert "came back" not in await school.say(head, "status")
            assert len(set(relay.senders)) == 2
    finally:
        relay.stop()


async def _recipients(relay: Relay) -> list[str]:
    return relay.recipients
