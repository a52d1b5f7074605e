"""The pages of an invitation over HTTP: guesses that lock nobody out, and declining late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bridge import config
from bridge.arrival.acceptance import Acceptance
from bridge.arrival.first_login import FirstLogins
from bridge.arrival.pages import MOST_WRONG, Pages
from bridge.arrival.visitors import WINDOW
from bridge.policy_file import PolicySource
from bridge.store import Store
from policy.model import PersonId
from tests.bridge.test_acceptance import EARLY, NOW, School

CONFIG = """\
homeserver: {address: "http://127.0.0.1:1", server_name: qwil.test}
web: {address: "http://127.0.0.1:9", login: single_sign_on}
"""
SSO = "@early:qwil.test"


class Visited:
    """A school's pages, and whoever opens them; all come from one address."""

    def __init__(self, school: School, acceptance: Acceptance, client: TestClient[Any, Any]) -> None:
        self.school = school
        self.acceptance = acceptance
        self.client = client
        self.now = NOW

    async def get(self, token: str) -> tuple[int, str]:
        async with self.client.get(f"/invitation/{token}") as answer:
            return answer.status, await answer.text()

    async def post(self, token: str, **form: str) -> tuple[int, str]:
        async with self.client.post(f"/invitation/{token}", data=form) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def visited(tmp_path: Path, store: Store) -> AsyncIterator[Visited]:
    school = School(tmp_path, store)
    text = school.file.read_text()
    school.file.write_text(text.replace("early@home.example,", f'early@home.example, matrix: "{SSO}",'))
    await school.invite("early", "tardy")
    acceptance = await school.started()
    source = PolicySource(school.file)
    source.load()
    settings = config.parse(CONFIG, tmp_path / "config.yaml")
    pages = Pages(source=source, acceptance=acceptance, config=settings, clock=lambda: here.now)
    async with TestClient(TestServer(pages.application())) as client:
        here = Visited(school, acceptance, client)
        yield here


async def test_whoever_guesses_is_told_to_wait_and_keeps_nobody_at_their_address_from_a_good_link(
    visited: Visited,
) -> None:
    guessed = [(await visited.get(f"guess{number}"))[0] for number in range(MOST_WRONG + 5)]
    assert guessed == [404] * MOST_WRONG + [429] * 5
    assert (await visited.post("guess", do="decline"))[0] == 429

    assert "Hello Early" in (await visited.get("early"))[1]
    status, page = await visited.post("tardy", do="decline")
    assert (status, "You have declined" in page) == (200, True)
    assert (await visited.get("tardy"))[0] == 410

    assert (await visited.get("guess"))[0] == 429
    visited.now += WINDOW + 1
    assert (await visited.get("guess"))[0] == 404


async def test_good_links_are_not_counted_however_often_they_are_opened(visited: Visited) -> None:
    for _ in range(MOST_WRONG + 5):
        assert (await visited.get("early"))[0] == 200

    assert (await visited.get("guess"))[0] == 404


async def test_whoever_waits_for_the_first_login_can_still_decline(visited: Visited) -> None:
    accepted = {"do": "accept", "terms": "1", "mobile": "+44 7700 900010"}
    for status, page in (await visited.post("early", **accepted), await visited.get("early")):
        assert status == 200
        assert "begins when you log in for the first time" in page
        assert 'value="decline"' in page
    ledger = visited.school.ledger
    assert ledger.get(EARLY).waits  # type: ignore[union-attr]

    status, page = await visited.post("early", do="decline")

    assert (status, "You have declined" in page) == (200, True)
    visited.school.homeserver.passwords[SSO] = []
    await FirstLogins(ledger, visited.acceptance).work()
    assert visited.school.row().status == "invited"
    settled = ledger.get(EARLY)
    assert settled is not None
    assert (settled.state, settled.waits, settled.mobile) == ("declined", False, "")


async def test_whoever_is_in_can_not_decline_any_more(visited: Visited) -> None:
    visited.school.homeserver.passwords[SSO] = []

    status, page = await visited.post("early", do="accept", terms="1", mobile="+44 7700 900010")

    assert (status, "You are in" in page, 'value="decline"' in page) == (200, True, False)
    status, page = await visited.post("early", do="decline")
    assert (status, "You are in already" in page) == (410, True)
    assert visited.school.ledger.get(PersonId(EARLY)).state == "accepted"  # type: ignore[union-attr]
