"""People arrive on a real homeserver: invited by mail, accepted on the page, welcomed, announced."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from bridge.demo.homeserver import free_port
from policy.parse import parse
from tests.homeserver.arriving import (
    PEOPLE,
    SECRET,
    answer,
    choice,
    get,
    invited,
    mail_to,
    post,
    remembered,
    said_by_bot,
    with_people,
)
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.conftest import BOT, PASSWORD
from tests.homeserver.mailbox import Mailbox, link_in, text_of
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
    # By then everybody who is told of it was.
    await eventually(lambda: remembered(school, "met:hillside/jensen"), lambda number: number == 1)
    for colleague in await school.clients("head", "okafor"):
        assert [text for text in await said_by_bot(colleague) if "Jensen" in text] == [
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
    code = re.search(r"\d{8}", [text for text in texts if "is the code" in text][-1])
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

    await answer(school, okafor, f"{pia} in year-1", "“invite” is for administrators")
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
    assert "https://hillside.example/terms" in next(text for text in heard if "has new terms" in text)

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
