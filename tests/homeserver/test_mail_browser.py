"""The HTML of a mail in a real Chromium: it fits a narrow phone, asks the world for nothing, links where it should."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from playwright.async_api import Browser

from bridge.arrival.mail import Letterhead, invitation_mail
from bridge.arrival.words import languages
from tests.bridge.test_invitation_mail import HILLSIDE, PAT
from tests.conftest import CHROMIUM, PAGE_PATIENCE
from tests.homeserver.mailbox import text_of

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

LINK = "https://chat.a-rather-long-name-of-a-school.example/invitation/abcdefghjkmnpqrstuvwxyz234"
LONG = "Jean-Baptiste Wolfeschlegelsteinhausenbergerdorff " + "x" * 80
MARKUP = '<script>document.title = "owned"</script><img src=x onerror="document.title = 1"> & https://elsewhere.example'


def html_of(language: str, *, name: str, note: str) -> str:
    head = Letterhead(replace(HILLSIDE, language=language), "Office <office@hillside.example>", None)
    mail = message_from_bytes(
        invitation_mail(
            head, PAT._replace(name=name, job_title=name), link=LINK, until=0.0, note=note, now=0.0, occasion="x"
        ).as_bytes(),
        policy=policy.default,
    )
    assert isinstance(mail, EmailMessage)
    return text_of(mail, "html")


@pytest.mark.parametrize("width", [320, 1200])
@pytest.mark.parametrize("language", languages())
async def test_the_mail_fits_every_width_and_links_to_the_invitation_alone(
    browser: Browser, language: str, width: int
) -> None:
    page = await browser.new_page(viewport={"width": width, "height": 700})
    page.set_default_timeout(PAGE_PATIENCE)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    try:
        await page.set_content(html_of(language, name=LONG, note=f"{MARKUP}\n{'y' * 200}"))

        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert await page.evaluate("[...document.links].map(link => link.href)") == [LINK, LINK]
        assert await page.evaluate("document.documentElement.lang") == language
        assert await page.evaluate("document.querySelectorAll('script, img').length") == 0
        assert "Hillside Primary" in await page.title()
        assert MARKUP in await page.inner_text("blockquote")
        assert asked == []
    finally:
        await page.close()
