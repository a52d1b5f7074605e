"""Accepting where people log in by single sign-on: no password, and the membership waits for the account."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from bridge.arrival import first_login
from bridge.demo.homeserver import free_port
from tests.homeserver.arriving import answer, choice, get, invited, mail_to, post, said_by_bot, with_people
from tests.homeserver.bridged import bridged
from tests.homeserver.conftest import PASSWORD
from tests.homeserver.mailbox import Mailbox, link_in
from tests.homeserver.matrix_client import eventually


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    box.start()
    yield box
    box.stop()


@pytest.fixture
async def web() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_where_people_log_in_by_single_sign_on_the_page_asks_for_no_password_and_waits_for_the_account(
    tmp_path: Path, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    port = free_port()
    more = (
        f"mail: {{server: 'smtp://127.0.0.1:{mailbox.port}', per_minute: 100000}}\n"
        f"web: {{address: 'http://127.0.0.1:{port}', port: {port}, login: single_sign_on}}\n"
    )
    policy = with_people(invited("signon"), books="signon")
    async with bridged(tmp_path, policy, ["head", "okafor"], more=more) as school:
        link = link_in(await mail_to(mailbox, "signon@home.example"))
        _, page = await get(web, link)
        assert 'type="password"' not in page
        assert (await post(web, link, **choice("sign.on")))[1].count("You are in") == 0
        status, page = await post(web, link, do="prove", matrix="@sign.on:qwil.test")
        assert (status, "There is no account @sign.on:qwil.test yet." in page) == (400, True)
        assert "@sign.on" not in school.settings.policy.read_text()

        # Their first login, which makes the account.
        await school.homeserver.register("sign.on", PASSWORD)
        client = await school.client("sign.on")

        assert (await post(web, link, do="prove", matrix="@sign.on:qwil.test"))[0] == 200
        texts = await eventually(lambda: said_by_bot(client), lambda texts: any("is the code" in one for one in texts))
        code = re.search(r"\d{8}", [text for text in texts if "is the code" in text][-1])
        assert code
        status, page = await post(web, link, do="confirm", code=code[0], terms="1")
        assert (status, "single sign-on. Your account is" in page) == (200, True)


async def test_with_single_sign_on_whoever_accepts_for_the_account_they_were_given_is_in_from_their_first_login(
    tmp_path: Path, mailbox: Mailbox, web: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_login, "EVERY", 0.2)
    port = free_port()
    more = (
        f"mail: {{server: 'smtp://127.0.0.1:{mailbox.port}', per_minute: 100000}}\n"
        f"web: {{address: 'http://127.0.0.1:{port}', port: {port}, login: single_sign_on}}\n"
    )
    given = [invited(name, matrix=f'"@{name}.sso:qwil.test"') for name in ("waits", "there")]
    policy = with_people(*given, books="waits, there")
    async with bridged(tmp_path, policy, ["head", "okafor", "there.sso"], more=more) as school:
        link = link_in(await mail_to(mailbox, "waits@home.example"))
        _, page = await get(web, link)
        assert "Your account is @waits.sso:qwil.test." in page
        assert 'type="password"' not in page
        assert "Send me a code" not in page
        status, page = await post(web, link, do="accept")
        assert (status, "Please accept the terms of Hillside Primary" in page) == (400, True)

        status, page = await post(web, link, do="accept", terms="1")

        assert (status, "begins when you log in for the first time" in page) == (200, True)
        assert "begins when you log in for the first time" in (await get(web, link))[1]
        assert school.settings.policy.read_text().count("status: invited") == 2
        head = await school.client("head")
        told = await answer(school, head, "status", "Invitations: ")
        assert (
            "hillside/waits has accepted, and is a member when @waits.sso:qwil.test logs in for the first time" in told
        )
        await school.stop()
        await school.start()
        # Their first login, which makes the account.
        await school.homeserver.register("waits.sso", PASSWORD)
        waits = await school.client("waits.sso")
        await eventually(lambda: said_by_bot(waits), lambda texts: any("Welcome Waits" in text for text in texts))
        assert school.settings.policy.read_text().count("status: invited") == 1
        assert not [text for text in await said_by_bot(waits) if "new terms" in text]
        assert len(mailbox.to("waits@home.example")) == 1

        link = link_in(await mail_to(mailbox, "there@home.example"))
        status, page = await post(web, link, do="accept", terms="1")
        assert (status, "You are in" in page) == (200, True)
