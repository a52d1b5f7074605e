"""Accounts of people who accept, on a real homeserver: half-made, wanted by two, named by the administrator."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from bridge.demo.homeserver import AnswerError, free_port
from tests.homeserver.arriving import PEOPLE, SECRET, choice, invited, mail_to, post, said_by_bot, with_people
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.mailbox import Mailbox, link_in
from tests.homeserver.matrix_client import Client, RefusedError, eventually


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    box.start()
    yield box
    box.stop()


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory, mailbox: Mailbox) -> AsyncIterator[Bridged]:
    page = free_port()
    more = (
        f"mail: {{server: 'smtp://127.0.0.1:{mailbox.port}', sender: office@hillside.example, per_minute: 100000}}\n"
        f"web: {{address: 'http://127.0.0.1:{page}', port: {page}, homeserver: 'https://matrix.hillside.example'}}\n"
    )
    folder = tmp_path_factory.mktemp("arrival")
    async with bridged(folder, with_people(), PEOPLE, more=more) as running:
        yield running


@pytest.fixture
async def web() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_while_the_policy_cannot_be_written_nothing_is_half_made_and_the_same_link_does_it_later(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    good = with_people(invited("halfway"), books="halfway")
    school.edit(good)
    link = link_in(await mail_to(mailbox, "halfway@home.example"))
    school.edit(good.replace("organisations:", "organisatoins:"))

    status, page = await post(web, link, **choice("half.way"))

    assert (status, "could not be done just now" in page) == (400, True)
    school.edit(good)
    other = "another long secret"
    await eventually(
        lambda: post(web, link, **choice("half.way", password=other, again=other)), lambda answer: answer[0] == 200
    )
    await school.homeserver.login("@half.way:qwil.test", other)
    assert 'matrix: "@half.way:qwil.test"' in school.settings.policy.read_text()


async def test_an_account_that_was_half_made_can_do_nothing_and_keeps_its_password_once_somebody_has_logged_in(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    good = with_people(invited("begun"), books="begun")
    school.edit(good)
    link = link_in(await mail_to(mailbox, "begun@home.example"))
    school.edit(good.replace("organisations:", "organisatoins:"))
    assert (await post(web, link, **choice("half.begun")))[0] == 400
    outside = Client(school.homeserver, await school.homeserver.login("@half.begun:qwil.test", SECRET), web)
    with pytest.raises(RefusedError):
        await outside.create_room("@okafor:qwil.test")
    school.edit(good)

    other = "another long secret"
    status, page = await post(web, link, **choice("half.begun", password=other, again=other))

    assert (status, "This account is there already. Prove below that it is yours." in page) == (400, True)
    with pytest.raises(AnswerError):
        await school.homeserver.login("@half.begun:qwil.test", other)
    assert (await post(web, link, do="prove", matrix="@half.begun:qwil.test"))[0] == 200
    texts = await eventually(lambda: said_by_bot(outside), lambda texts: any("is the code" in one for one in texts))
    code = re.search(r"\d{8}", [text for text in texts if "is the code" in text][-1])
    assert code
    assert (await post(web, link, do="confirm", code=code[0], terms="1"))[0] == 200


async def test_nobody_else_gets_the_account_that_was_half_made(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    good = with_people(invited("first"), invited("second"), books="first, second")
    school.edit(good)
    first = link_in(await mail_to(mailbox, "first@home.example"))
    second = link_in(await mail_to(mailbox, "second@home.example"))
    school.edit(good.replace("organisations:", "organisatoins:"))
    assert (await post(web, first, **choice("contested")))[0] == 400
    school.edit(good)

    status, page = await post(web, second, **choice("contested"))

    assert (status, "Somebody has this username already" in page) == (400, True)


async def test_of_two_who_choose_one_username_at_once_the_first_has_it_and_its_password(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(with_people(invited("early"), invited("tardy"), books="early, tardy"))
    links = [link_in(await mail_to(mailbox, f"{name}@home.example")) for name in ("early", "tardy")]
    secrets = ["the first long secret", "the second long secret"]

    answers = await asyncio.gather(*(
        post(web, link, **choice("coveted", password=secret, again=secret))
        for link, secret in zip(links, secrets, strict=True)
    ))  # fmt: skip

    statuses = [status for status, _ in answers]
    assert sorted(statuses) == [200, 400]
    assert "Somebody has this username already" in answers[statuses.index(400)][1]
    await school.homeserver.login("@coveted:qwil.test", secrets[statuses.index(200)])
    with pytest.raises(AnswerError):
        await school.homeserver.login("@coveted:qwil.test", secrets[statuses.index(400)])


async def test_two_clicks_at_once_accept_once(school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession) -> None:
    school.edit(with_people(invited("twice"), books="twice"))
    link = link_in(await mail_to(mailbox, "twice@home.example"))

    answers = await asyncio.gather(*(post(web, link, **choice("twice.click")) for _ in range(3)))

    assert sorted(status for status, _ in answers) == [200, 410, 410]


async def test_an_account_that_the_administrator_named_is_made_or_proven_and_no_other(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    named = invited("named", matrix='"@named.one:qwil.test"')
    there = invited("there", matrix='"@reed:qwil.test"')
    school.edit(with_people(named, there, books="named, there"))
    link = link_in(await mail_to(mailbox, "named@home.example"))
    status, page = await post(web, link, do="prove", matrix="@ode:qwil.test")
    assert (status, "This invitation is for the account @named.one:qwil.test" in page) == (400, True)
    status, page = await post(web, link, **choice("something.else"))
    assert (status, "@named.one:qwil.test" in page) == (200, True)

    link = link_in(await mail_to(mailbox, "there@home.example"))
    status, page = await post(web, link, **choice("reed"))

    assert (status, "This account is there already. Prove below" in page) == (400, True)
