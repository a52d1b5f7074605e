"""The page of an invitation under attack: guesses, scanners, broken forms, two tabs, secrets that could leak."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bridge.arrival import acceptance
from bridge.arrival.pages import HEADERS, LARGEST_FORM
from bridge.demo.homeserver import AnswerError, free_port
from policy.model import Policy
from policy.parse import parse
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.conftest import PASSWORD
from tests.homeserver.mailbox import Mailbox, link_in
from tests.homeserver.matrix_client import Client, eventually

SECRET = "a long enough secret"


def invited(name: str, **more: str) -> str:
    fields = {"name": json.dumps(name.title()), "role": "client", "email": f"{name}@home.example", **more}
    return f"      {name}: {{{', '.join(f'{key}: {value}' for key, value in fields.items())}, status: invited}}\n"


def policy(*rows: str, riverside: str = "") -> str:
    """With these rows in Year 1 of Hillside, and one in a book of Riverside."""
    names = [row.strip().partition(":")[0] for row in rows]
    text = two_schools.policy(
        hillside=[*two_schools.HILLSIDE, *rows], year_1=", ".join(["head, okafor, chan, diaz", *names])
    )
    if not riverside:
        return text
    books = f"      choir: {{name: Choir, members: [ode, {riverside.strip().partition(':')[0]}]}}\n"
    before, mark, after = text.partition("    books: {}\n")
    return f"{before}{riverside}    books:\n{books}{after}" if mark else text


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
        f"mail: {{server: 'smtp://127.0.0.1:{mailbox.port}', per_minute: 100000}}\n"
        f"web: {{address: 'http://127.0.0.1:{page}', port: {page}}}\n"
    )
    people = ["head", "okafor", "chan", "diaz", "ode"]
    async with bridged(tmp_path_factory.mktemp("attacked"), policy(), people, more=more) as running:
        yield running


@pytest.fixture
async def web() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def link_to(mailbox: Mailbox, name: str, number: int = 1) -> str:
    async def mails() -> list[Any]:
        return mailbox.to(f"{name}@home.example")

    return link_in((await eventually(mails, lambda found: len(found) >= number))[-1])


async def post(web: aiohttp.ClientSession, link: str, **form: str) -> tuple[int, str]:
    async with web.post(link, data=form) as answer:
        return answer.status, await answer.text()


def choice(username: str, secret: str = SECRET) -> dict[str, str]:
    return {"do": "accept", "username": username, "password": secret, "again": secret}


async def code_in(school: Bridged, who: Client) -> str:
    """The newest code that the bot has sent to somebody."""

    async def codes() -> list[str]:
        return [found[0] for _, text in await school.said(who) if (found := re.search(r"\d{8}(?= is the code)", text))]

    return str((await eventually(codes, bool))[-1])


def saved(school: Bridged) -> Policy:
    found = parse(school.settings.policy.read_bytes(), lambda _: b"", name="policy.yaml")
    assert isinstance(found, Policy)
    return found


async def test_every_answer_is_kept_by_nobody_framed_by_nobody_and_refers_nobody(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(policy(invited("framed")))
    link, base = await link_to(mailbox, "framed"), school.settings.web.address
    asked = [("GET", link), ("GET", f"{base}/style.css"), ("GET", f"{base}/nothing"), ("GET", f"{base}/terms"),
             ("GET", f"{base}/logo/hillside"), ("PUT", link), ("DELETE", link), ("POST", link),
             ("GET", f"{base}/invitation/x"), ("POST", f"{base}/invitation/y")]  # fmt: skip

    for method, address in asked:
        async with web.request(method, address) as answer:
            assert {key: answer.headers[key] for key in HEADERS} == dict(HEADERS), (method, address)
            assert "Set-Cookie" not in answer.headers
            text = await answer.text()
        assert "Traceback" not in text
        assert "aiohttp" not in text
    assert HEADERS["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in HEADERS["Content-Security-Policy"]


async def test_no_broken_form_changes_anything_or_shows_an_error_of_the_program(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(policy(invited("broken")))
    link = await link_to(mailbox, "broken")
    form = "application/x-www-form-urlencoded"
    bodies = [
        (b"do=accept&username=" + b"x" * LARGEST_FORM, form, 413),
        (b"do=accept&username=%ff%fe", form, (200, 400)),
        (b"do=decline\xff\xfe", f"{form}; charset=no-such-charset", 400),
        (b"\xff\xfe=\xff", form, 400),
        (b'{"do": "decline"}', "application/json", 200),
        (b"--x\r\nno multipart", "multipart/form-data; boundary=x", (200, 400)),
        (b"--x\r\n", "multipart/form-data", (200, 400)),
        (b"do=declin", form, 200),
        (b"", form, 200),
    ]
    for body, kind, status in bodies:
        async with web.post(link, data=body, headers={"Content-Type": kind}) as answer:
            assert answer.status in (status if isinstance(status, tuple) else (status,)), (body[:40], answer.status)
            assert "Traceback" not in await answer.text()

    async with web.get(link) as answer:
        assert answer.status == 200
    assert saved(school).people["hillside/broken"].status == "invited"  # type: ignore[index]


async def test_a_link_that_was_typed_from_paper_works_and_another_one_does_not(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(policy(invited("typed")))
    link = await link_to(mailbox, "typed")
    base, _, token = link.rpartition("/")

    for same in (f"{base}/{token.upper()}", f"{link}/", f"{base}/{token} "):
        async with web.get(same) as answer:
            assert answer.status == 200, same
    for other in (token[:-1], f"{token}a", token[::-1], f"{token}%00", f"..%2f{token}"):
        async with web.get(f"{base}/{other}") as answer:
            assert answer.status == 404, other


async def test_of_two_tabs_the_first_accepts_and_the_other_is_told_that_it_is_done(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    await school.homeserver.register("tabbed", PASSWORD)
    school.edit(policy(invited("tabs")))
    link, tabbed = await link_to(mailbox, "tabs"), await school.client("tabbed")
    assert (await post(web, link, do="prove", matrix="@tabbed:qwil.test"))[0] == 200
    code = await code_in(school, tabbed)

    answers = await asyncio.gather(post(web, link, do="confirm", code=code), post(web, link, **choice("new.tabs")))

    assert sorted(status for status, _ in answers) == [200, 410]
    late = next(page for status, page in answers if status == 410)
    assert "You are in already" in late
    account = saved(school).people["hillside/tabs"].matrix  # type: ignore[index]
    assert account == ("@tabbed:qwil.test" if answers[0][0] == 200 else "@new.tabs:qwil.test")
    assert str(account) in late
    assert (await post(web, link, do="decline"))[0] == 410
    assert saved(school).people["hillside/tabs"].status == "active"  # type: ignore[index]


async def test_a_code_is_for_one_invitation_and_one_account(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(policy(invited("mallory"), invited("victim")))
    theirs, mine = await link_to(mailbox, "victim"), await link_to(mailbox, "mallory")
    diaz = await school.client("diaz")
    for name in ("mallet", "vic.tim"):
        await school.homeserver.register(name, PASSWORD)
    mallet, victim = await school.clients("mallet", "vic.tim")
    assert (await post(web, theirs, do="prove", matrix="@vic.tim:qwil.test"))[0] == 200
    assert (await post(web, mine, do="prove", matrix="@mallet:qwil.test"))[0] == 200
    good = await code_in(school, victim)

    # A code of somebody else's invitation, a code for the account before, an account that is a member already.
    assert (await post(web, mine, do="confirm", code=good))[0] == 400
    before = await code_in(school, mallet)
    assert (await post(web, mine, do="prove", matrix="@vic.tim:qwil.test"))[0] == 200
    assert (await post(web, mine, do="confirm", code=before))[0] == 400
    status, page = await post(web, mine, do="prove", matrix=diaz.user_id)
    assert (status, "This account is a member of Hillside Primary already." in page) == (400, True)
    status, page = await post(web, mine, do="prove", matrix=school.settings.bot)
    assert status == 400

    assert (await post(web, theirs, do="confirm", code=good))[0] == 200
    assert saved(school).people["hillside/mallory"].status == "invited"  # type: ignore[index]


async def test_somebody_who_cannot_prove_an_account_can_make_one_at_once(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    await school.homeserver.register("forgotten", PASSWORD)
    school.edit(policy(invited("undecided")))
    link = await link_to(mailbox, "undecided")
    _, page = await post(web, link, do="prove", matrix="@forgotten:qwil.test")
    assert "Make a new account instead" in page

    status, page = await post(web, link, **choice("short", "x"))
    assert status == 400
    assert '<details open><summary id="new-title">' in page
    assert (await post(web, link, **choice("un.decided")))[0] == 200


async def test_the_secret_of_a_link_is_in_no_log_and_no_audit(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    school.edit(policy(invited("secret"), invited("hushed")))
    link, other = await link_to(mailbox, "secret"), await link_to(mailbox, "hushed")
    tokens = [one.rpartition("/")[2] for one in (link, other)]
    async with web.post(link, data=b"\xff=\xff", headers={"Content-Type": "text/plain; charset=x"}):
        pass
    await post(web, link, do="prove", matrix="@nobody:qwil.test")
    school.edit("organisations: [")
    assert (await post(web, link, **choice("the.secret")))[0] == 400
    school.edit(policy(invited("secret"), invited("hushed")))
    await eventually(lambda: post(web, link, **choice("the.secret")), lambda answer: answer[0] == 200)
    assert (await post(web, other, do="decline"))[0] == 200

    kept = school.settings.database.removeprefix("sqlite:")
    files = [path for path in school.homeserver.folder.parent.rglob("*") if path.is_file()]
    assert any(str(path) == kept for path in files)
    for token in tokens:
        assert token not in caplog.text
        assert SECRET not in caplog.text
        assert [path.name for path in files if token.encode() in content(path)] == []


def content(path: Path) -> bytes:
    """Nothing of a file that was there for a moment, as the journals of databases are."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


async def test_somebody_whom_two_organisations_invite_has_one_account(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(policy(invited("both"), riverside=invited("both")))
    await link_to(mailbox, "both", 2)
    by_school = {
        "Hillside" if "Hillside" in str(mail["Subject"]) else "Riverside": mail for mail in mailbox.to("both@")
    }
    first, second = (link_in(by_school[name]) for name in ("Hillside", "Riverside"))
    assert (await post(web, first, **choice("both.of.them")))[0] == 200
    status, page = await post(web, second, **choice("both.of.them", "another long secret"))
    assert (status, "Somebody has this username already" in page) == (400, True)

    assert (await post(web, second, do="prove", matrix="@both.of.them:qwil.test"))[0] == 200
    login = await school.homeserver.login("@both.of.them:qwil.test", SECRET)
    code = await code_in(school, Client(school.homeserver, login, web))
    assert (await post(web, second, do="confirm", code=code))[0] == 200

    people = saved(school).people
    accounts = {people[person].matrix for person in ("hillside/both", "riverside/both")}  # type: ignore[index]
    assert accounts == {"@both.of.them:qwil.test"}


async def test_an_account_that_two_organisations_promise_is_made_by_the_first_and_proven_to_the_other(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    row = invited("shared", matrix='"@shared.one:qwil.test"')
    school.edit(policy(row, riverside=row))
    await link_to(mailbox, "shared", 2)
    first, second = (link_in(mail) for mail in mailbox.to("shared@home.example"))
    assert (await post(web, first, **choice("")))[0] == 200

    status, page = await post(web, second, **choice("", "another long secret"))

    assert (status, "This account is there already. Prove below that it is yours." in page) == (400, True)
    await school.homeserver.login("@shared.one:qwil.test", SECRET)
    with pytest.raises(AnswerError):
        await school.homeserver.login("@shared.one:qwil.test", "another long secret")


async def test_nobody_makes_the_account_that_another_organisation_has_promised_to_a_member(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    promised = two_schools.person("heir", "client", name="Ann Heir")
    school.edit(policy(promised, riverside=invited("thief", matrix='"@heir:qwil.test"')))
    link = await link_to(mailbox, "thief")

    assert (await post(web, link, **choice("")))[0] == 400

    with pytest.raises(AnswerError):
        await school.homeserver.login("@heir:qwil.test", SECRET)


async def test_an_invitation_whose_membership_has_ended_is_worth_nothing(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession
) -> None:
    school.edit(policy(invited("ended")))
    link = await link_to(mailbox, "ended")
    school.edit(policy(invited("ended", until="2020-01-31")))

    async def status() -> int:
        async with web.get(link) as answer:
            return answer.status

    await eventually(status, lambda found: found == 410)
    assert (await post(web, link, **choice("en.ded.one")))[0] == 410
    assert saved(school).people["hillside/ended"].status == "invited"  # type: ignore[index]


async def test_while_the_homeserver_is_away_the_page_says_so_and_the_same_link_does_it_later(
    school: Bridged, mailbox: Mailbox, web: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "ANSWER_WITHIN", 2.0)
    school.edit(policy(invited("patient")))
    link = await link_to(mailbox, "patient")
    await school.homeserver.stop()
    try:
        for form in (choice("pat.ient"), {"do": "prove", "matrix": "@chan:qwil.test"}):
            status, page = await post(web, link, **form)
            assert status == 400
            assert "Traceback" not in page
        async with web.get(link) as answer:
            assert answer.status == 200
    finally:
        await school.homeserver.start()

    monkeypatch.undo()
    await eventually(lambda: post(web, link, **choice("pat.ient")), lambda answer: answer[0] == 200)
    await school.homeserver.login("@pat.ient:qwil.test", SECRET)
