"""Somebody whose account is on another homeserver accepts with it: two real ones, which speak to each other by TLS."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bridge import config, registration
from bridge.arrival import acceptance
from bridge.demo.homeserver import Homeserver, free_port
from tests.homeserver.bridged import CONFIG, Bridged
from tests.homeserver.conftest import PASSWORD
from tests.homeserver.mailbox import Mailbox, link_in
from tests.homeserver.matrix_client import Client, eventually
from tests.homeserver.two_servers import certificate, settings

MORE = """\
admin: false
mail: {{server: 'smtp://127.0.0.1:{mail}', per_minute: 100000}}
web: {{address: 'http://127.0.0.1:{page}', port: {page}}}
"""


@dataclass
class School:
    """Ours with module and bridge, and another homeserver that has neither."""

    here: Bridged
    there: Homeserver
    http: aiohttp.ClientSession

    def invite(self, *people: str) -> None:
        """With these people invited into Year 1."""
        self.here.edit(policy(self.here.homeserver.server_name, *people))

    async def client(self, name: str) -> Client:
        """Somebody of the other homeserver, where anybody can have an account."""
        await self.there.register(name, PASSWORD)
        return Client(self.there, await self.there.login(name, PASSWORD), self.http)


def policy(ours: str, *people: str) -> str:
    rows = "".join(
        f"      {one}: {{name: {one.title()}, role: client, email: {one}@home.example, status: invited}}\n"
        for one in people
    )
    return (
        "organisations:\n  hillside:\n    name: Hillside Primary\n    mobile: optional\n    people:\n"
        f'      head: {{name: Helen Head, role: staff, admin: system, email: h@x.example, matrix: "@head:{ours}"}}\n'
        f"{rows}    books:\n      year-1: {{name: Year 1, members: [{', '.join(['head', *people])}]}}\n"
    )


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    box.start()
    yield box
    box.stop()


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory, mailbox: Mailbox) -> AsyncIterator[School]:
    folder = tmp_path_factory.mktemp("elsewhere")
    tls, ports = certificate(folder), [free_port() for _ in range(5)]
    ours, theirs = f"localhost:{ports[1]}", f"localhost:{ports[3]}"
    bridge = configured(folder, ours, ports[0], ports[4], MORE.format(mail=mailbox.port, page=free_port()))
    bridge.policy.write_text(policy(ours))
    here = Homeserver(
        folder / "ours",
        server_name=ours,
        port=ports[0],
        module={"policy": str(bridge.policy), "bot": bridge.bot},
        app_services=[folder / "registration.yaml"],
        settings=settings(ports[0], ports[1], tls),
    )
    there = Homeserver(folder / "theirs", server_name=theirs, port=ports[2], settings=settings(ports[2], ports[3], tls))
    async with aiohttp.ClientSession() as http, here, there:
        await here.register("head", PASSWORD)
        both = Bridged(here, bridge, http)
        await both.start()
        yield School(both, there, http)
        await both.stop()


def configured(folder: Path, ours: str, homeserver: int, port: int, more: str) -> config.Config:
    tokens, file = registration.fresh_tokens(), folder / "config.yaml"
    text = CONFIG.format(
        url=f"http://127.0.0.1:{homeserver}",
        server=f'"{ours}"',
        port=port,
        database="sqlite:qwil.db",
        as_token=tokens.as_token,
        hs_token=tokens.hs_token,
    )
    file.write_text(text + more)
    bridge = config.load(file)
    (folder / "registration.yaml").write_text(registration.registration_text(bridge, tokens))
    return bridge


async def link_to(mailbox: Mailbox, name: str) -> str:
    async def mails() -> list[Any]:
        return mailbox.to(f"{name}@home.example")

    return link_in((await eventually(mails, bool))[-1])


async def post(school: School, link: str, **form: str) -> tuple[int, str]:
    async with school.http.post(link, data=form) as answer:
        return answer.status, await answer.text()


async def invitations(client: Client) -> list[str]:
    """The rooms in which somebody is invited and has not joined."""
    whole = await client.ask("GET", "sync", timeout="0")
    return list(whole.get("rooms", {}).get("invite", {}))


async def said(client: Client, bot: str) -> list[str]:
    return [
        event["content"]["body"]
        for room in await client.joined_rooms()
        for event in await client.messages(room)
        if event["sender"] == bot and event["type"] == "m.room.message"
    ]


async def test_an_account_of_another_homeserver_is_proven_in_its_own_client_and_then_greeted_there(
    school: School, mailbox: Mailbox
) -> None:
    school.invite("ben")
    link, ben, eve = await link_to(mailbox, "ben"), await school.client("ben"), await school.client("eve")
    bot = school.here.settings.bot

    status, page = await post(school, link, do="prove", matrix=ben.user_id)

    assert (status, "Prove that the account is yours" in page) == (200, True), page
    (room,) = await eventually(lambda: invitations(ben), bool)
    assert await invitations(eve) == []
    await ben.ask("POST", f"join/{room}", server_name=school.here.homeserver.server_name)
    texts = await eventually(lambda: said(ben, bot), lambda texts: any("is the code" in text for text in texts))
    code = re.search(r"\d{8}", [text for text in texts if "is the code" in text][-1])
    assert code
    wrong = f"{(int(code[0]) + 1) % 10**8:08d}"
    assert (await post(school, link, do="confirm", code=wrong))[0] == 400
    status, page = await post(school, link, do="confirm", code=code[0])
    assert (status, "Go on in your Matrix client, with your account" in page) == (200, True), page
    # That is no account of ours: how to log in here would be the wrong way.
    assert "Where it asks for the server" not in page
    assert f'matrix: "{ben.user_id}"' in school.here.settings.policy.read_text()

    await eventually(lambda: said(ben, bot), lambda texts: any("Welcome to Hillside" in one for one in texts))
    assert await ben.joined_rooms() == {room}
    assert set(await invitations(ben)) <= {room}


async def test_asking_for_a_code_again_opens_no_second_chat(school: School, mailbox: Mailbox) -> None:
    school.invite("kim")
    link, kim = await link_to(mailbox, "kim"), await school.client("kim")
    for _ in range(3):
        assert (await post(school, link, do="prove", matrix=kim.user_id))[0] == 200

    assert len(await eventually(lambda: invitations(kim), bool)) == 1


async def test_a_homeserver_that_is_not_there_is_a_sentence_and_the_link_goes_on_working(
    school: School, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    school.invite("lou")
    link = await link_to(mailbox, "lou")

    with monkeypatch.context() as impatient:
        impatient.setattr(acceptance, "ANSWER_WITHIN", 5.0)
        status, page = await post(school, link, do="prove", matrix=f"@lou:localhost:{free_port()}")

    assert (status, "The code could not be sent to this account." in page) == (400, True), page
    lou = await school.client("lou")
    assert (await post(school, link, do="prove", matrix=lou.user_id))[0] == 200
    assert len(await eventually(lambda: invitations(lou), bool)) == 1
