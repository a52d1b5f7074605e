"""The bridge lists the accounts of a homeserver on which its bot, and no other account of its own, administers."""

from collections.abc import AsyncIterator

import pytest
from mautrix.api import PathBuilder

from bridge.homeserver import Homeserver
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.conftest import BOT

USERS = PathBuilder("/_synapse/admin/v2/users")
PEOPLE = ["head", "okafor"]


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridged]:
    async with bridged(tmp_path_factory.mktemp("listed"), two_schools.policy(), PEOPLE) as running:
        yield running


async def listed(homeserver: Homeserver) -> set[str]:
    answer = await homeserver.page(USERS, {"from": "0", "limit": "100"})
    return {str(account["name"]) for account in answer["users"]}


async def test_all_accounts_are_listed_not_the_bots_alone_and_two_who_list_do_not_keep_each_other_from_it(
    school: Bridged,
) -> None:
    async with Homeserver(school.settings) as running, Homeserver(school.settings) as beside:
        for who in (running, beside, running):
            assert await listed(who) >= {BOT, *(f"@{user}:qwil.test" for user in PEOPLE)}
