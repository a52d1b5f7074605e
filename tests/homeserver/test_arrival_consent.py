"""What people agree to and tell when they accept, on a real homeserver: two sets of terms, a phone number, a place."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from bridge.demo.homeserver import free_port
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.conftest import PASSWORD
from tests.homeserver.mailbox import Mailbox, link_in
from tests.homeserver.matrix_client import Client, RefusedError, eventually

SECRET = "a long enough secret"
INSIDE, OUTSIDE = {"X-Forwarded-For": "192.0.2.7"}, {"X-Forwarded-For": "192.0.2.7, 198.51.100.1"}
PLATFORM = "The platform is <b>for adults</b> & records everything."
SETTINGS = """\
    terms: {version: "%s", link: "https://hillside.example/terms"}
"""
CONFIG = """\
mail: {{server: 'smtp://127.0.0.1:{mail}', sender: office@hillside.example, per_minute: 100000}}
web:
  address: 'http://127.0.0.1:{page}'
  port: {page}
  staff_networks: {{hillside: [192.0.2.0/24]}}
terms: {{name: Oakfield Chat, version: p1, file: platform.txt}}
"""


def policy(*people: str, terms: str = "1") -> str:
    """With these people invited, into Year 1."""
    rows = [f"      {line}\n" for line in people]
    books = ", ".join(["head, okafor, chan, diaz", *(line.partition(":")[0] for line in people)])
    text = two_schools.policy(hillside=[*two_schools.HILLSIDE, *rows], year_1=books, more=SETTINGS % terms)
    return text.replace("mobile: optional", "mobile: {staff: optional, client: asked}", 1)


def client(name: str) -> str:
    return f"{name}: {{name: {name.title()}, role: client, email: {name}@home.example, status: invited}}"


def staff(name: str) -> str:
    return f"{name}: {{name: {name.title()}, role: staff, email: {name}@school.example, status: invited}}"


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    box.start()
    yield box
    box.stop()


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory, mailbox: Mailbox) -> AsyncIterator[Bridged]:
    folder = tmp_path_factory.mktemp("consent")
    (folder / "platform.txt").write_text(PLATFORM)
    more = CONFIG.format(mail=mailbox.port, page=free_port())
    async with bridged(folder, policy(), ["head", "okafor", "chan", "diaz"], more=more) as running:
        yield running


@pytest.fixture
async def web() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def link_to(mailbox: Mailbox, address: str) -> str:
    async def mails() -> list[Any]:
        return mailbox.to(address)

    return link_in((await eventually(mails, bool))[-1])


async def post(
    web: aiohttp.ClientSession, link: str, headers: dict[str, str] | None = None, **form: str
) -> tuple[int, str]:
    async with web.post(link, data=form, headers=headers) as answer:
        return answer.status, await answer.text()


def choice(username: str, **more: str) -> dict[str, str]:
    agreed = {"terms": "1", "platform": "p1", "mobile": "+44 7700 900010"}
    return {"do": "accept", "username": username, "password": SECRET, "again": SECRET, **agreed, **more}


async def refused(who: Client, room: str) -> str:
    try:
        await who.send(room, "Good morning")
    except RefusedError as refusal:
        return refusal.answer.error
    return ""


async def told(school: Bridged, who: Client, words: str) -> str:
    """What the bot says to the person with these words in it."""

    async def said() -> list[str]:
        return [text for _, text in await school.said(who) if words in text]

    return str((await eventually(said, bool))[-1])


async def test_both_sets_are_shown_and_accepted_in_the_version_that_was_read(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(policy(client("both")))
    link = await link_to(mailbox, "both@home.example")
    async with web.get(link) as answer:
        page = await answer.text()

    assert re.findall(r'type="checkbox" id="([a-z-]+)" name="([a-z]+)" value="([^"]+)"', page) == [
        ("platform-new", "platform", "p1"),
        ("terms-new", "terms", "1"),
    ]
    assert f'href="{school.settings.web.address}/terms"' in page
    assert 'href="https://hillside.example/terms"' in page
    for given, sentence in (
        ({"platform": ""}, "Please accept the terms of Oakfield Chat to go on."),
        ({"terms": ""}, "Please accept the terms of Hillside Primary to go on."),
        ({"terms": "0"}, "The terms of Hillside Primary have changed since you opened this page."),
    ):
        status, page = await post(web, link, **choice("both.sets", **given))
        assert (status, sentence in page) == (400, True), given
    assert "both.sets" not in school.settings.policy.read_text()

    assert (await post(web, link, **choice("both.sets")))[0] == 200


async def test_the_terms_of_the_platform_can_be_a_file_and_are_no_markup(
    school: Bridged, web: aiohttp.ClientSession
) -> None:
    async with web.get(f"{school.settings.web.address}/terms") as answer:
        page = await answer.text()

    assert answer.status == 200
    assert "Terms of Oakfield Chat" in page
    assert "for adults" in page
    assert "<b>" not in page


async def test_a_phone_number_is_asked_for_kept_and_told_to_staff_and_to_nobody_else(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(policy(client("caller")))
    link = await link_to(mailbox, "caller@home.example")
    for typed, sentence in (
        ("", "Please give your phone number."),
        ("07700 900010", "A phone number begins with + and the country code, like +44 7700 900010."),
        ("+44 77oo 900010", "This is not a phone number: after the + come 6 to 15 digits"),
    ):
        status, page = await post(web, link, **choice("caller", mobile=typed))
        assert (status, sentence in page) == (400, True), typed
    assert 'value="+44 77oo 900010"' in page

    status, _ = await post(web, link, **choice("caller", mobile="+44 (0)7700 900-099"))

    assert status == 200
    assert "900099" not in school.settings.policy.read_text()
    head, chan = await school.clients("head", "chan")
    wanted = "Caller has joined Hillside Primary: you can chat now. Phone: +447700900099."
    assert await told(school, head, "Caller has joined") == wanted
    assert not [text for _, text in await school.said(chan) if "900099" in text]
    assert "Caller +447700900099" in await school.say(head, "status")


async def test_everybody_accepts_the_terms_of_the_platform_before_they_write_and_again_when_they_change(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(policy(client("newest")))
    link = await link_to(mailbox, "newest@home.example")
    assert (await post(web, link, **choice("newest")))[0] == 200
    newest = Client(school.homeserver, await school.homeserver.login("newest", SECRET), web)
    okafor = await school.client("okafor")
    people = {"invite": ["@newest:qwil.test"], "name": "Terms"}
    # The module follows the saved policy in its own time.
    made = await eventually(lambda: okafor.request("POST", "createRoom", people), lambda answer: answer.status == 200)
    room = made.body["room_id"]

    sentence = (
        f"Oakfield Chat has new terms. Read them at {school.settings.web.address}/terms and write “accept” in your "
        "chat with the bot first."
    )
    assert await eventually(lambda: refused(okafor, room), bool) == sentence
    await told(school, okafor, "Oakfield Chat has new terms.")
    await okafor.send(await school.direct(okafor), "accept")
    await told(school, okafor, "You have accepted the terms of Oakfield Chat. Thank you.")
    await eventually(lambda: refused(okafor, room), lambda text: not text)
    await eventually(newest.joined_rooms, lambda rooms: room in rooms)
    assert await refused(newest, room) == ""

    await school.stop()
    before = school.settings
    school.settings = replace(before, terms=replace(before.terms, version="p2"))
    await school.start()
    school.edit(policy(client("newest"), terms="2").replace("status: invited", 'matrix: "@newest:qwil.test"'))
    both = await eventually(lambda: refused(newest, room), lambda text: "and Hillside Primary have new terms" in text)
    assert "/terms and at https://hillside.example/terms and write" in both
    assert await eventually(lambda: refused(okafor, room), lambda text: "Oakfield Chat" in text)
    await told(school, newest, "Oakfield Chat and Hillside Primary have new terms.")
    await newest.send(await school.direct(newest), "accept")
    await told(school, newest, "You have accepted the terms of Oakfield Chat and Hillside Primary. Thank you.")
    await eventually(lambda: refused(newest, room), lambda text: not text)
    await school.stop()
    school.settings = before
    await school.start()


async def test_staff_accept_from_the_networks_of_their_organisation_and_clients_from_anywhere(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(policy(staff("teacher"), client("parent")))
    links = [await link_to(mailbox, address) for address in ("teacher@school.example", "parent@home.example")]

    for headers in (OUTSIDE, {}, {"X-Forwarded-For": "unknown"}):
        async with web.get(links[0], headers=headers) as answer:
            page = await answer.text()
        assert (answer.status, "Staff of Hillside Primary accept their invitation from" in page) == (403, True), headers
        assert (await post(web, links[0], headers, do="decline"))[0] == 403
        assert (await post(web, links[0], headers, **choice("teacher", mobile="")))[0] == 403
    async with web.get(links[0], headers=OUTSIDE) as answer:
        assert "Your address is 198.51.100.1." in await answer.text()
    async with web.get(links[1], headers=OUTSIDE) as answer:
        assert answer.status == 200

    assert (await post(web, links[0], INSIDE, **choice("teacher", mobile="")))[0] == 200
    head = await school.client("head")
    assert "Phone" not in await told(school, head, "Teacher has joined")


async def test_an_account_that_exists_consents_like_a_new_one(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    await school.homeserver.register("existing", PASSWORD)
    school.edit(policy(client("proven")))
    link = await link_to(mailbox, "proven@home.example")
    assert (await post(web, link, do="prove", matrix="@existing:qwil.test"))[0] == 200
    existing = await school.client("existing")
    code = re.search(r"\d{8}", await told(school, existing, "is the code"))
    assert code

    given = {"do": "confirm", "code": code[0], "platform": "p1", "terms": "1", "mobile": "+44 7700 900012"}
    for missing, sentence in (
        ("platform", "Please accept the terms of Oakfield Chat"),
        ("terms", "Please accept the terms of Hillside Primary"),
        ("mobile", "Please give your phone number."),
    ):
        status, page = await post(web, link, **{**given, missing: ""})
        assert (status, sentence in page) == (400, True)
        assert f'href="#{missing}-code"' in page
        assert f'id="{missing}-code"' in page
    assert (await post(web, link, **given))[0] == 200
