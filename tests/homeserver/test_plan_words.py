"""Administrators plan, apply and ask why on a real homeserver; the operator does the same beside the running bridge."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from bridge.apply_route import MOVED
from bridge.audit import entries, verify
from bridge.ledger import AuditEntry
from bridge.plan_operator import apply_from_outside, plan_from_record
from bridge.store import Store
from policy.plan import Plan
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, begun, bridged
from tests.homeserver.conftest import BOT
from tests.homeserver.matrix_client import Client, RefusedError, eventually

PEOPLE = ["head", "okafor", "lowe", "chan", "diaz", "north", "ode", "reed", "kemp"]
APART = two_schools.policy(network="compass")


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridged]:
    async with bridged(tmp_path_factory.mktemp("planned"), two_schools.policy(), PEOPLE) as running:
        yield running


@pytest.fixture(autouse=True)
async def the_policy_as_it_was(school: Bridged) -> AsyncIterator[None]:
    yield
    await school.follow(two_schools.policy())


async def recorded(school: Bridged) -> Plan:
    found = await plan_from_record(school.settings)
    assert not isinstance(found, list)
    return found.plan


async def audited(school: Bridged) -> list[AuditEntry]:
    store = await Store.open(school.settings.database)
    try:
        assert (await verify(store)).broken is None
        return [entry async for entry in entries(store)]
    finally:
        await store.close()


async def at_rest(school: Bridged) -> None:
    await eventually(lambda: recorded(school), lambda plan: plan.steps == ())


async def last_words(school: Bridged, client: Client) -> str:
    """What stands last in the direct chat with the bot."""
    said = await client.messages(await school.direct(client))
    return str(said[-1]["content"].get("body", ""))


async def picture(client: Client, room: str) -> str:
    """The address of the chat's avatar; none before it has one."""
    state = await client.ask("GET", f"rooms/{room}/state")
    found = [event["content"] for event in state if event["type"] == "m.room.avatar"]  # type: ignore[index]
    return str(found[0]["url"]) if found else ""


async def as_bot(school: Bridged, path: str, body: dict[str, Any]) -> None:
    """Something done with the bot's account and not by the bridge."""
    url = f"{school.homeserver.url}/_matrix/client/v3/{path}"
    headers = {"Authorization": f"Bearer {school.settings.appservice.as_token}"}
    async with (
        aiohttp.ClientSession() as http,
        http.put(url, params={"user_id": BOT}, json=body, headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def test_who_leaves_the_network_stays_until_an_administrator_applies_that_very_plan(school: Bridged) -> None:
    head, ode = await school.clients("head", "ode")
    room = await begun(head, ode, name="Festival")
    await school.say(head, "help")
    await at_rest(school)

    await school.follow(APART)
    told = await last_words(school, head)
    shown = await school.say(head, "plan")
    refused = await school.say(head, "apply 0123456789abcdef")
    inside = await head.members(room)
    done = await school.say(head, re.findall("apply [0-9a-f]{16}", shown)[0])

    assert "wait for “apply”" in told
    assert "Ben Ode (Riverside Academy) is removed from “Festival”" in told
    assert "Removals from chats (1):" in shown
    assert "Ben Ode (Riverside Academy) is removed from “Festival” of Hillside Primary" in shown
    assert "Something has changed since that plan" in refused
    assert ode.user_id in inside
    assert done.startswith("Done: ")
    assert ode.user_id in await head.members(room, "leave")
    await at_rest(school)
    assert await school.say(head, "apply") == "Nothing is to be done: the homeserver is as the policy says."


async def test_the_operators_apply_is_done_by_the_running_bridge(school: Bridged) -> None:
    okafor, reed = await school.clients("okafor", "reed")
    room = await begun(okafor, reed, name="Concert")
    await at_rest(school)
    await school.follow(APART)

    async def applied() -> dict[str, Any]:
        """What is done by itself may move the world between plan and apply: then one looks again."""
        planned = await eventually(lambda: recorded(school), lambda plan: len(plan.waiting) == 1)
        return await apply_from_outside(school.settings, planned.hash, "operator test")

    answer = await eventually(applied, lambda answer: answer["status"] != MOVED)
    again = await apply_from_outside(school.settings, None, "operator test")

    assert answer["status"] == 0
    assert reed.user_id in await okafor.members(room, "leave")
    assert (again["status"], again["plan"]["steps"]) == (0, [])


async def test_what_was_changed_by_hand_is_put_right(school: Bridged) -> None:
    okafor, lowe = await school.clients("okafor", "lowe")
    room = await begun(okafor, lowe, name="Timetable")
    given = await eventually(lambda: picture(okafor, room), bool)

    await as_bot(school, f"rooms/{room}/state/m.room.avatar", {"url": "mxc://qwil.test/another"})

    await eventually(lambda: picture(okafor, room), lambda address: address == given)


async def as_server_admin(
    school: Bridged, method: str, user: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Something the homeserver's own administrator does with an account."""
    admin = school.homeserver.server_admin
    login = await school.homeserver.login(admin.user_id, admin.password)
    url = f"{school.homeserver.url}/_synapse/admin/v2/users/{user}"
    headers = {"Authorization": f"Bearer {login.access_token}"}
    async with aiohttp.ClientSession() as http, http.request(method, url, json=body, headers=headers) as answer:
        assert answer.status in (200, 201), await answer.text()
        found: dict[str, Any] = await answer.json()
        return found


@pytest.mark.parametrize(
    "changed",
    [{"displayname": "The Boss"}, {"avatar_url": "mxc://qwil.test/cat"}, {"displayname": "", "avatar_url": ""}],
)
async def test_a_name_or_picture_that_the_homeservers_administrator_changed_is_given_anew(
    school: Bridged, changed: dict[str, str]
) -> None:
    (lowe,) = await school.clients("lowe")
    await school.say(lowe, "help")
    await at_rest(school)
    before = await as_server_admin(school, "GET", lowe.user_id)

    async def again() -> tuple[Any, Any]:
        found = await as_server_admin(school, "GET", lowe.user_id)
        return found["displayname"], found["avatar_url"]

    await school.stop()
    await as_server_admin(school, "PUT", lowe.user_id, changed)
    assert await again() != (before["displayname"], before["avatar_url"])
    planned = await plan_from_record(school.settings)
    assert not isinstance(planned, list)
    assert (planned.unseen, [step.text for step in planned.plan.steps]) == (
        "",
        ["@lowe:qwil.test is called “Mary Lowe” with badge S"],
    )
    await school.start()

    assert before["displayname"] == "Mary Lowe"
    await eventually(again, lambda found: found == (before["displayname"], before["avatar_url"]))


async def test_refused_words_applied_plans_and_changed_policies_are_in_the_audit(school: Bridged) -> None:
    head, okafor, chan = await school.clients("head", "okafor", "chan")
    room = await begun(okafor, chan, name="Reading")
    refused = await school.say(okafor, "!staff-only", room)
    await school.say(head, "plan")
    await at_rest(school)
    await school.follow(APART)
    applied = await school.say(head, "apply")

    found = await audited(school)

    lines = [json.loads(one.details) for one in found if (one.who, one.what) == (okafor.user_id, "refused")]
    assert [(line["because"], line["text"]) for line in lines if line.get("command") == "staff-only"] == [
        (["CHAT-10"], refused)
    ]
    differences = [json.loads(one.details)["differences"] for one in found if one.what == "policy"]
    assert ["organisation riverside: network oakfield → compass"] in differences
    assert applied.startswith(("Done: ", "Nothing"))
    done = [one for one in found if one.what == "apply"][-1]
    assert (done.who, json.loads(done.details)["room"]) == (head.user_id, await school.direct(head))


async def test_what_a_client_was_refused_by_the_homeserver_is_in_the_audit_too(school: Bridged) -> None:
    (chan,) = await school.clients("chan")

    with pytest.raises(RefusedError):
        await chan.create_room("@kemp:qwil.test", name="Hello")

    found = await eventually(
        lambda: audited(school), lambda found: [one for one in found if "createRoom by @chan" in one.details]
    )
    line = next(one for one in found if "createRoom by @chan" in one.details)
    details = json.loads(line.details)
    assert (line.who, line.what) == (chan.user_id, "refused")
    assert "DIR-4" in details["because"]
    assert details["text"]


async def test_plan_and_apply_are_for_administrators(school: Bridged) -> None:
    (okafor,) = await school.clients("okafor")

    for word in ("plan", "apply"):
        assert f"“{word}” is for administrators" in await school.say(okafor, word)
    assert "plan" not in await school.say(okafor, "help")


async def test_a_plan_says_which_of_the_policys_own_tests_keep_it_from_being_applied(school: Bridged) -> None:
    head = await school.client("head")
    unmet = "tests:\n  - {name: Kay is in, ask: {do: see, who: hillside/head, whom: compass/kemp}, allowed: true}\n"
    assert "own tests" not in await school.say(head, "plan")

    await school.follow(two_schools.policy() + unmet)

    shown = await school.say(head, "plan")
    assert shown.endswith("“apply” is refused while these of the policy's own tests are not met (1):\n- Kay is in")
    assert "Mend the policy or the tests first" in await school.say(head, "apply")


async def test_what_stands_behind_apply_and_is_no_name_of_a_plan_is_not_taken_for_one(school: Bridged) -> None:
    head = await school.client("head")

    assert (await school.say(head, "apply everything")).startswith("“everything” names no plan: write “apply”")


async def test_why_shows_administrators_the_lines_and_what_would_alter_it(school: Bridged) -> None:
    head, chan = await school.clients("head", "chan")

    shown = await school.say(head, "why lowe chan")

    assert "(BOOK-6)" in shown
    assert "policy.yaml:" in shown
    assert "add hillside/lowe to book year-1" in shown
    assert "policy.yaml" not in await school.say(chan, "why @north:qwil.test")
