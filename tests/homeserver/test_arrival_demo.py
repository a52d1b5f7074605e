"""In the demo an invitation can be followed to its end on one machine: its mail lies in the folder."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import cast

import aiohttp

from bridge.demo.stage import MAIL, started
from tests.homeserver.mailbox import link_in
from tests.homeserver.matrix_client import eventually

POLICY = """\
organisations:
  north:
    name: North School
    mobile: optional
    people:
      head: {name: Nora North, role: staff, admin: system, email: head@north.example}
      late: {name: Lee Late, role: staff, email: late@north.example, status: invited}
    books: {}
"""
SECRET = "a long enough secret"


def mails_in(folder: Path) -> list[EmailMessage]:
    files = sorted(folder.glob("*.eml"))
    return [cast(EmailMessage, message_from_bytes(file.read_bytes(), policy=policy.default)) for file in files]


async def test_an_invitation_is_followed_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    said: list[str] = []
    async with started(tmp_path / "demo", said.append, policy=tmp_path / "policy.yaml") as demo:

        async def mails() -> list[EmailMessage]:
            return mails_in(tmp_path / "demo" / MAIL)

        mail = (await eventually(mails, bool))[0]
        form = {"do": "accept", "username": "lee.late", "password": SECRET, "again": SECRET}
        async with aiohttp.ClientSession() as web, web.post(link_in(mail), data=form) as answer:
            page = await answer.text()

        assert "You are in" in page
        assert demo.homeserver.url in page
        await demo.homeserver.login("@lee.late:qwil.test", SECRET)
        assert "lee.late" in demo.policy_file.read_text()
    assert not [line for line in said if "lee.late" in line]
