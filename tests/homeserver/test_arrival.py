"""People arrive on a real homeserver: invited by mail, accepted on the page, welcomed, announced."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bridge.arrival import first_login
from bridge.demo.homeserver import AnswerError, free_port
from policy.parse import parse
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.conftest import BOT, PASSWORD
from tests.homeserver.mailbox import Mailbox, link_in, text_of
from tests.homeserver.matrix_client import Client, RefusedError, eventually

PEOPLE = ["head", "okafor", "lowe", "chan", "diaz", "north", "ode", "reed", "kemp"]
SETTINGS = """
    welcome: {text: "Welcome {first_name} of {organisation}. {unknown}", link: "https://hillside.example/chat"}
    terms: {version: "1", link: "https://hillside.example/terms"}
"""
SECRET = "a long enough secret"


def invited(identifier: str, **more: str) -> str:
    """A line of `people`, of a client who has yet to accept."""
    fields = {"name": identifier.title(), "role": "client", "email": f"{identifier}@home.example", **more}
    return f"      {identifier}: {{{', '.join(f'{key}: {value}' for key, value in fields.items())}, status: invited}}\n"


def with_people(*lines: str, books: str = "", terms: str = "1") -> str:
    return two_schools.policy(
        hillside=[*two_schools.HILLSIDE, *lines],
        year_1=", ".join(["head, okafor, chan, diaz", *filter(None, [books])]),
        more=SETTINGS.strip("\n").replace('"1"', f'"{terms}"') + "\n",
    )


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


async def mail_to(mailbox: Mailbox, address: str, number: int = 1) -> Any:
    return (await eventually(lambda: _now(mailbox.to(address)), lambda mails: len(mails) >= number))[-1]


async def _now(value: Any) -> Any:
    return value


async def post(web: aiohttp.ClientSession, link: str, **form: str) -> tuple[int, str]:
    async with web.post(link, data=form) as answer:
        return answer.status, await answer.text()


async def get(web: aiohttp.ClientSession, link: str) -> tuple[int, str]:
    async with web.get(link) as answer:
        return answer.status, await answer.text()


def choice(username: str, **more: str) -> dict[str, str]:
    return {"do": "accept", "username": username, "password": SECRET, "again": SECRET, "terms": "1", **more}


async def said_by_bot(client: Client) -> list[str]:
    texts = []
    for room in await client.joined_rooms():
        texts += [
            event["content"]["body"]
            for event in await client.messages(room)
            if event["sender"] == BOT and event["type"] == "m.room.message" and "body" in event["content"]
        ]
    return texts


async def answer(school: Bridged, client: Client, words: str, wanted: str) -> str:
    """The bot's answer that holds what is wanted; other notices may come in between."""
    before = len([text for text in await said_by_bot(client) if wanted in text])
    await client.send(await school.direct(client), words)

    async def answers() -> list[str]:
        return [text for text in await said_by_bot(client) if wanted in text]

    return str((await eventually(answers, lambda texts: len(texts) > before))[-1])


async def test_an_invited_person_is_mailed_accepts_on_the_page_and_is_welcomed_and_announced(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(with_people(invited("jensen", name="Søren Jensen", job_title='"Freja, Year 1"'), books="jensen"))
    mail = await mail_to(mailbox, "jensen@home.example")
    link = link_in(mail)

    assert mail["Subject"] == "Hillside Primary invites you to chat"
    assert str(mail["To"]) == "Søren Jensen <jensen@home.example>"
    assert "Freja, Year 1" in text_of(mail)
    assert link in text_of(mail, "html")
    status, page = await get(web, link)
    assert status == 200
    assert "Hello Søren Jensen" in page
    assert 'href="https://hillside.example/terms"' in page

    status, page = await post(web, link, **choice("soeren.jensen"))

    assert (status, "You are in" in page) == (200, True)
    assert "https://matrix.hillside.example" in page
    assert "@soeren.jensen:qwil.test" in page
    assert 'matrix: "@soeren.jensen:qwil.test"' in school.settings.policy.read_text()
    login = await school.homeserver.login("@soeren.jensen:qwil.test", SECRET)
    arrived = Client(school.homeserver, login, web)
    told = await eventually(lambda: said_by_bot(arrived), bool)
    assert told == ["Welcome Søren of Hillside Primary. {unknown}\nhttps://hillside.example/chat"]
    for colleague in await school.clients("head", "okafor"):
        heard = await eventually(lambda one=colleague: said_by_bot(one), bool)  # type: ignore[misc]
        assert [text for text in heard if "Jensen" in text] == [
            "Søren Jensen (Freja, Year 1) has joined Hillside Primary: you can chat now."
        ]
    lowe, chan = await school.clients("lowe", "chan")
    assert not [text for one in (lowe, chan) for text in await said_by_bot(one) if "Jensen" in text]
    status, page = await get(web, link)
    assert (status, "accepted already" in page) == (410, True)


async def test_what_was_typed_wrongly_is_told_and_the_link_goes_on_working(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(with_people(invited("wrong"), books="wrong"))
    link = link_in(await mail_to(mailbox, "wrong@home.example"))

    mistakes = {
        "short": "A username has at least 6 characters.",
        "1234567": "A username has at least one letter.",
        "wrong@home.example": "A username is not an e-mail address",
        "wr ong name": "A username has no spaces or special characters",
        "okafor.qwil!": "A username has no spaces or special characters",
    }
    for username, sentence in mistakes.items():
        status, page = await post(web, link, **choice(username))
        assert (status, sentence in page) == (400, True), username
    status, page = await post(web, link, **choice("okafor"))
    assert "Somebody has this username already" in page
    status, page = await post(web, link, **choice("wrong.once", again="something else", terms=""))
    assert status == 400
    assert "The two passwords are not the same." in page
    assert "Please accept the terms" in page
    assert SECRET not in page
    policy = school.settings.policy.read_text()
    assert "wrong.once" not in policy

    status, page = await post(web, link, **choice("wrong.once"))

    assert status == 200


async def test_opening_a_link_accepts_nothing_and_declining_is_one_click(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(with_people(invited("nope"), books="nope"))
    link = link_in(await mail_to(mailbox, "nope@home.example"))
    for _ in range(3):
        async with web.head(link) as answer:
            assert answer.status == 200
        assert (await get(web, f"{link}?do=accept&do=decline"))[0] == 200

    status, page = await post(web, link, do="decline")

    assert (status, "You have declined" in page) == (200, True)
    status, page = await get(web, link)
    assert (status, "has been declined" in page) == (410, True)
    assert (await post(web, link, **choice("nope.nope")))[0] == 410
    head = await school.client("head")
    await eventually(
        lambda: said_by_bot(head), lambda texts: any("Nope" in text and "declined" in text for text in texts)
    )


async def test_an_existing_account_is_proven_with_a_code_in_the_client(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(with_people(invited("ode2", name="Ben Ode"), books="ode2"))
    link = link_in(await mail_to(mailbox, "ode2@home.example"))
    ode, reed = await school.clients("ode", "reed")

    status, page = await post(web, link, do="prove", matrix="@ode:qwil.test")

    assert (status, "Prove that the account is yours" in page) == (200, True)
    texts = await eventually(lambda: said_by_bot(ode), lambda texts: any("is the code" in text for text in texts))
    code = re.search(r"\d{8}", [text for text in texts if "is the code" in text][-1])
    assert code
    assert not [text for text in await said_by_bot(reed) if "code" in text]
    wrong = f"{(int(code[0]) + 1) % 10**8:08d}"
    status, page = await post(web, link, do="confirm", code=wrong, terms="1")
    assert (status, "This is not the code" in page) == (400, True)
    status, page = await post(web, link, do="confirm", code=f"{code[0][:4]} {code[0][4:]}", terms="1")
    assert (status, "You are in" in page) == (200, True)
    policy = parse(school.settings.policy.read_bytes(), lambda _: b"", name="policy.yaml")
    assert policy.people["hillside/ode2"].matrix == "@ode:qwil.test"  # type: ignore[union-attr,index]
    assert policy.people["hillside/ode2"].status == "active"  # type: ignore[union-attr,index]


async def test_an_account_that_belongs_to_no_organisation_can_be_proven_too(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    await school.homeserver.register("stranger", PASSWORD)
    school.edit(with_people(invited("strange"), books="strange"))
    link = link_in(await mail_to(mailbox, "strange@home.example"))

    status, page = await post(web, link, do="prove", matrix="@stranger:qwil.test")

    assert (status, "Prove that the account is yours" in page) == (200, True), page
    client = await school.client("stranger")
    texts = await eventually(lambda: said_by_bot(client), lambda texts: any("is the code" in text for text in texts))
    code = re.search(r"\d{8}", texts[-1])
    assert code
    status, page = await post(web, link, do="confirm", code=code[0], terms="1")
    assert status == 200


async def test_links_are_guessed_in_vain_and_not_often(school: Bridged, web: aiohttp.ClientSession) -> None:
    page = school.settings.web.address
    headers = {"X-Forwarded-For": "192.0.2.7"}
    statuses = []
    for number in range(25):
        async with web.get(f"{page}/invitation/guess{number}", headers=headers) as answer:
            statuses.append(answer.status)

    assert statuses == [404] * 20 + [429] * 5
    async with web.get(f"{page}/invitation/other", headers={"X-Forwarded-For": "192.0.2.8"}) as answer:
        assert answer.status == 404


async def test_an_administrator_invites_resends_to_another_address_and_revokes_in_a_chat(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(with_people())
    head = await school.client("head")

    who = "Élodie Petit elodie@home.example +44 7700 900123"
    words = f'invite client {who} in year-1 title "Zoé, Year 1" note Hello!\nWe wait.'
    await answer(school, head, words, "Élodie Petit (hillside/e.petit) is invited, by mail to elodie@home.example.")

    first = await mail_to(mailbox, "elodie@home.example")
    assert "Hello!\nWe wait." in text_of(first).replace("\r\n", "\n")
    wanted = "A fresh invitation goes out to Élodie Petit (petit@home.example)"
    await answer(school, head, "resend e.petit petit@home.example", wanted)
    second = await mail_to(mailbox, "petit@home.example")
    assert link_in(first) != link_in(second)
    status, page = await get(web, link_in(first))
    assert (status, "A newer e-mail or letter has taken the place of this link" in page) == (410, True)
    assert (await get(web, link_in(second)))[0] == 200
    await answer(school, head, "revoke e.petit", "The invitation of Élodie Petit is revoked")
    status, page = await get(web, link_in(second))
    assert (status, "has withdrawn this invitation" in page) == (410, True)
    assert (await post(web, link_in(second), **choice("elodie.petit")))[0] == 410
    anew = "invite client Élodie Petit petit@home.example +447700900123 in year-1"
    await answer(school, head, anew, "(hillside/e.petit2) is invited")


async def test_only_administrators_invite_and_every_objection_is_a_sentence(school: Bridged) -> None:
    school.edit(with_people())
    head, okafor = await school.clients("head", "okafor")
    pia = "invite Pia Petit pia@home.example"

    await answer(school, okafor, f"{pia} in year-1", "I do not know “invite”")
    await answer(school, head, pia, "needs a contact book")
    await answer(school, head, "invite Pia Petit in year-1", "I see no e-mail address in that.")
    await answer(school, head, f"{pia} in yaer-1", 'did you mean "year-1"?')
    await answer(school, head, f"{pia} in year-1 note {'x' * 5001}", "The note has 5001 characters, 5000 at most")
    await answer(school, head, "invite Pia Petit chan@home.example in year-1", "(INV-11)")


async def test_letters_are_made_for_everybody_invited_in_a_book(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(with_people(invited("paper"), invited("card"), books="paper, card"))
    mailed = link_in(await mail_to(mailbox, "paper@home.example"))
    await mail_to(mailbox, "card@home.example")
    head = await school.client("head")

    await answer(school, head, "invite letter year-1", "Here are 2 letters to print.")

    assert (await get(web, mailed))[0] == 410


async def test_a_refused_address_is_shown_in_status_and_not_mailed_again(school: Bridged, mailbox: Mailbox) -> None:
    mailbox.refused["typo@home.example"] = "550 No such mailbox"
    school.edit(with_people(invited("typo"), books="typo"))
    head = await school.client("head")

    async def status() -> str:
        return await answer(school, head, "status", "Invitations: ")

    told = await eventually(status, lambda text: "550 No such mailbox" in text)

    assert "the mail to typo@home.example came back" in told


async def test_changed_terms_have_to_be_accepted_before_the_next_message(school: Bridged) -> None:
    school.edit(with_people())
    okafor, chan = await school.clients("okafor", "chan")
    room = await okafor.create_room("@chan:qwil.test", name="Terms")
    await eventually(lambda: okafor.members(room), lambda members: BOT in members)
    await okafor.send(room, "Good morning")
    await eventually(chan.joined_rooms, lambda rooms: room in rooms)

    school.edit(with_people(terms="2"))

    heard = await eventually(lambda: said_by_bot(chan), lambda texts: any("has new terms" in text for text in texts))
    assert "https://hillside.example/terms" in heard[-1]

    async def refused() -> str:
        try:
            await chan.send(room, "Still here?")
        except RefusedError as refusal:
            return str(refusal)
        return ""

    said = await eventually(refused, bool)
    assert "Hillside Primary has new terms. Read them at https://hillside.example/terms" in said
    await answer(school, chan, "accept", "You have accepted the terms of Hillside Primary. Thank you.")
    await eventually(refused, lambda text: not text)
    await answer(school, chan, "accept", "There are no new terms")


async def test_a_broadcast_reaches_everybody_meant_and_says_how_far_it_is(school: Bridged) -> None:
    school.edit(with_people())
    head, okafor, chan, north = await school.clients("head", "okafor", "chan", "north")

    words = "broadcast year-1 Dear {first_name}, school is closed tomorrow."
    told = await answer(school, head, words, "I tell you here how far it is.")

    number = int(re.findall(r"\d+", told)[0])
    for client, name in ((okafor, "Tom"), (chan, "Pat")):
        wanted = f"Dear {name}, school is closed tomorrow.\n— Hillside Primary"
        await eventually(lambda one=client: said_by_bot(one), lambda texts, text=wanted: text in texts)  # type: ignore[misc]
    await eventually(
        lambda: said_by_bot(head),
        lambda texts: f"Broadcast: {number} of {number} done, {number} reached." in "\n".join(texts),
    )
    assert not [text for text in await said_by_bot(north) if "closed tomorrow" in text]


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
    code = re.search(r"\d{8}", texts[-1])
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
        code = re.search(r"\d{8}", texts[-1])
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
