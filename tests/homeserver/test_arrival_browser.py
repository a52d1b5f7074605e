"""The page on which invitations are accepted, in a real Chromium: with a mouse, with a keyboard, without JavaScript."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from bridge.demo.homeserver import free_port
from tests.conftest import CHROMIUM, PAGE_PATIENCE
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.mailbox import Mailbox, link_in
from tests.homeserver.matrix_client import eventually

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

SECRET = "a long enough secret"
NAMES = {
    "tilda": "Tilda O'Neill-Øst",
    "arabic": "ليلى حداد",
    "chinese": "王小明",
    "markup": "<b>Bobby</b> <script>alert(1)</script>",
    "keys": "Kay Board",
    "away": "Ann Away",
    "badly": "Bea Badly",
}
SETTINGS = '    language: {language}\n    terms: {{version: "1", link: "https://hillside.example/terms"}}\n'


def policy(language: str = "en") -> str:
    rows = [
        f"      {who}: {{name: {json.dumps(name)}, role: client, email: {who}@home.example, status: invited}}\n"
        for who, name in NAMES.items()
    ]
    return two_schools.policy(
        hillside=[*two_schools.HILLSIDE, *rows],
        year_1=", ".join(["head, okafor, chan, diaz", *NAMES]),
        more=SETTINGS.format(language=language),
    ).replace("mobile: optional", "mobile: asked", 1)


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    box.start()
    yield box
    box.stop()


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory, mailbox: Mailbox) -> AsyncIterator[Bridged]:
    port = free_port()
    more = (
        f"mail: {{server: 'smtp://127.0.0.1:{mailbox.port}', per_minute: 100000}}\n"
        f"web: {{address: 'http://127.0.0.1:{port}', port: {port}, homeserver: 'https://matrix.hillside.example'}}\n"
        "terms: {name: Oakfield Chat, version: p1, file: platform.txt}\n"
    )
    people, folder = ["head", "okafor", "chan", "diaz"], tmp_path_factory.mktemp("browser")
    (folder / "platform.txt").write_text("Be kind.\n\nEverything is on record.")
    async with bridged(folder, policy(), people, more=more) as running:
        yield running


async def opened(browser: Browser, **options: Any) -> Page:
    page = await browser.new_page(**options)
    page.set_default_timeout(PAGE_PATIENCE)
    return page


async def shows(page: Page, heading: str) -> None:
    """Wait for the page that has this heading."""
    await page.get_by_role("heading", level=1, name=heading, exact=True).wait_for()
    await page.wait_for_load_state()


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
async def page(request: pytest.FixtureRequest, browser: Browser) -> AsyncIterator[Page]:
    page = await opened(browser, java_script_enabled=request.param, viewport={"width": 390, "height": 844})
    yield page
    await page.close()


async def link_of(mailbox: Mailbox, identifier: str) -> str:
    async def mails() -> list[Any]:
        return mailbox.to(f"{identifier}@home.example")

    return link_in((await eventually(mails, bool))[-1])


async def test_somebody_accepts_with_a_mouse(school: Bridged, mailbox: Mailbox, browser: Browser) -> None:
    page = await opened(browser, java_script_enabled=False)
    await page.goto(await link_of(mailbox, "tilda"))

    assert await page.title() == "Invitation from Hillside Primary"
    assert await page.get_by_role("heading", level=1).inner_text() == "Hello Tilda O'Neill-Øst"
    await page.get_by_label("Username").fill("tilda.oneill")
    await page.get_by_label("Password", exact=True).fill(SECRET)
    await page.get_by_label("The same password again").fill(SECRET)
    await page.get_by_label("Phone number").fill("+44 7700 900010")
    async with page.expect_popup() as read:
        await page.get_by_role("link", name="Read the terms of Oakfield Chat (opens in a new tab)").click()
    terms = await read.value
    await shows(terms, "Terms of Oakfield Chat")
    assert "Everything is on record." in await terms.locator("main").inner_text()
    await page.get_by_label("I accept the terms of Oakfield Chat").check()
    await page.get_by_label("I accept the terms of Hillside Primary").check()
    await page.get_by_role("button", name="Accept the invitation").click()

    await shows(page, "You are in")
    assert await page.get_by_text("@tilda.oneill:qwil.test").is_visible()
    assert await page.get_by_text("https://matrix.hillside.example").is_visible()
    await school.homeserver.login("@tilda.oneill:qwil.test", SECRET)


async def test_the_whole_form_works_with_the_keyboard_alone(
    school: Bridged, mailbox: Mailbox, browser: Browser
) -> None:
    page = await opened(browser)
    await page.goto(await link_of(mailbox, "keys"))

    keys = page.keyboard
    await keys.press("Tab")
    await keys.type("kay.board")
    for _ in range(2):
        await keys.press("Tab")
        await keys.type(SECRET)
    await keys.press("Tab")
    await keys.type("+44 7700 900011")
    for terms in ("platform", "terms"):
        await keys.press("Tab")
        await keys.press("Space")
        # Past the link to what was just accepted.
        assert await page.evaluate("document.activeElement.name") == terms
        await keys.press("Tab")
    await keys.press("Tab")
    await keys.press("Enter")

    await shows(page, "You are in")


async def test_mistakes_are_announced_with_links_to_their_fields(school: Bridged, mailbox: Mailbox, page: Page) -> None:
    await page.goto(await link_of(mailbox, "badly"))
    await page.get_by_label("Username").fill("bea")
    await page.get_by_label("Password", exact=True).fill(SECRET)
    await page.get_by_label("The same password again").fill("another secret")
    await page.get_by_label("Phone number").fill("07700 900010")
    for whose in ("Oakfield Chat", "Hillside Primary"):
        await page.get_by_label(f"I accept the terms of {whose}").check()
    await page.get_by_role("button", name="Accept the invitation").click()

    alert = page.get_by_role("alert")
    await alert.wait_for()
    await page.wait_for_load_state()
    assert await alert.get_by_role("link").all_inner_texts() == [
        "A username has at least 6 characters.",
        "The two passwords are not the same.",
        "A phone number begins with + and the country code, like +44 7700 900010.",
    ]
    await alert.get_by_role("link").last.click()
    await expect(page.get_by_label("Phone number")).to_be_focused(timeout=PAGE_PATIENCE)
    assert await page.title() == "Please look at this again: Invitation from Hillside Primary"
    username = page.get_by_label("Username")
    assert await username.get_attribute("aria-invalid") == "true"
    assert await username.input_value() == "bea"
    described = str(await username.get_attribute("aria-describedby")).split()
    assert [await page.locator(f"#{name}").count() for name in described] == [1, 1]
    assert await page.get_by_label("Password", exact=True).input_value() == ""


async def test_nothing_is_wider_than_a_phone_and_every_field_has_a_label(
    school: Bridged, mailbox: Mailbox, browser: Browser
) -> None:
    page = await opened(browser, viewport={"width": 320, "height": 640})
    await page.goto(await link_of(mailbox, "arabic"))

    assert await page.evaluate("document.documentElement.scrollWidth") == 320
    assert await page.evaluate(
        "[...document.querySelectorAll('input:not([type=hidden])')].every(input => input.labels.length === 1)"
    )
    assert await page.evaluate("document.documentElement.lang") == "en"
    assert await page.get_by_role("heading", level=1).inner_text() == "Hello ليلى حداد"


async def test_a_name_is_never_markup_and_the_page_runs_nothing(
    school: Bridged, mailbox: Mailbox, browser: Browser
) -> None:
    page = await opened(browser)
    said: list[str] = []
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("console", lambda message: said.append(message.text))
    await page.goto(await link_of(mailbox, "markup"))

    assert await page.get_by_role("heading", level=1).inner_text() == f"Hello {NAMES['markup']}"
    assert await page.locator("script").count() == 0
    assert said == []


async def test_declining_is_one_click(school: Bridged, mailbox: Mailbox, browser: Browser) -> None:
    page = await opened(browser, java_script_enabled=False)
    await page.goto(await link_of(mailbox, "away"))
    await page.get_by_role("button", name="Decline the invitation").click()

    await shows(page, "You have declined")
