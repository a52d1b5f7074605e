"""Ways round the rules that use time: many at once, old invitations, a policy that changes or cannot be read."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest

from bridge.demo.homeserver import Homeserver
from policy.rooms import CHAT
from tests.homeserver.conftest import BOT, Connect, StartHomeserver
from tests.homeserver.matrix_client import Answer, Client, RefusedError, eventually, in_force, refusal_of
from tests.homeserver.two_schools import HILLSIDE, activate, open_chat, person, policy, tighten

People = Mapping[str, Client]

NAMES = ("head", "okafor", "lowe", "chan", "diaz", "north", "ode", "kemp", "qwil", "nobody")
MANY = [f"teacher{number}" for number in range(100)]


@pytest.fixture(scope="module")
async def homeserver(start_homeserver: StartHomeserver) -> Homeserver:
    return await start_homeserver(policy(), module={"auto_join": False})


@pytest.fixture(scope="module")
async def people(homeserver: Homeserver, connect: Connect) -> People:
    return {name: await connect(homeserver, name) for name in NAMES}


@pytest.fixture
async def rules(homeserver: Homeserver, people: People) -> "Rules":
    rules = Rules(homeserver.folder / "policy.yaml", homeserver.log, people["qwil"])
    await rules.become(policy())
    return rules


class Rules:
    """The policy file of the running homeserver."""

    def __init__(self, file: Path, log: Path, bot: Client) -> None:
        self.file, self.log = file, log
        self._bot = bot

    async def become(self, text: str) -> None:
        """Save the text and wait until it is in force."""
        if text != self.file.read_text():
            self._save(text)
        await in_force(self._bot, text)

    async def become_wrong(self, text: str) -> str:
        """Save a text with mistakes and wait until they are in the log, which is returned from there on."""
        before = len(self.log.read_text())
        self._save(text)
        return str(await eventually(lambda: self.log.read_text()[before:], lambda log: "has mistakes" in log))

    def _save(self, text: str) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.replace(self.file)


def seen(answer: Answer, *rules: str) -> None:
    assert (answer.status, answer.errcode, answer.rules) == (403, "M_FORBIDDEN", list(rules)), answer
    assert answer.error.endswith(".")


async def test_an_old_invitation_of_a_client_ends_with_the_common_book(people: People, rules: Rules) -> None:
    lowe, chan = people["lowe"], people["chan"]
    await rules.become(policy(year_1="head, okafor, lowe, chan, diaz"))
    room = await lowe.create_room(chan.user_id)
    await lowe.send(room, "Would you join us?")
    assert await lowe.members(room, "invite") == {chan.user_id, BOT}

    await rules.become(policy())

    answer = await refusal_of(chan.join(room))
    seen(answer, "PART-3")
    assert "Ask whoever invited you" in answer.error
    assert await lowe.members(room) == {lowe.user_id}


async def test_an_old_invitation_of_external_staff_ends_with_the_network(people: People, rules: Rules) -> None:
    head, ode = people["head"], people["ode"]
    room = await head.create_room(ode.user_id)
    await head.send(room, "Would you join us?")

    await rules.become(policy(network="compass"))

    seen(await refusal_of(ode.join(room)), "PART-1")
    assert await head.members(room) == {head.user_id}


@pytest.mark.parametrize(("status", "rule"), [("left", "PART-1"), ("suspended", "USR-1"), ("invited", "INV-4")])
@pytest.mark.parametrize("who", ["diaz", "okafor"], ids=["client", "staff"])
async def test_an_old_invitation_ends_with_the_membership(
    people: People, rules: Rules, who: str, status: str, rule: str
) -> None:
    head = people["head"]
    room = await head.create_room(people[who].user_id)
    await head.send(room, "Would you join us?")

    await rules.become(policy(hillside=[_with_status(line, who, status) for line in HILLSIDE]))

    seen(await refusal_of(people[who].join(room)), rule)
    assert await head.members(room) == {head.user_id}


def _with_status(line: str, who: str, status: str) -> str:
    return line.replace("}", f", status: {status}}}") if line.strip().startswith(f"{who}:") else line


async def test_a_hundred_and_one_at_once_do_not_pass_the_limit(
    homeserver: Homeserver, people: People, rules: Rules, connect: Connect
) -> None:
    await rules.become(policy(hillside=[*HILLSIDE, *(person(name, "staff") for name in MANY)]))
    teachers = await asyncio.gather(*(connect(homeserver, name) for name in MANY))
    head, bot = people["head"], people["qwil"]
    room = await head.create_room(teachers[0].user_id)
    await tighten(bot, room, head)
    await head.send(room, "Staff meeting")
    await activate(bot, room)

    invitations = await asyncio.gather(
        *(head.invite(room, teacher.user_id) for teacher in teachers[1:]), return_exceptions=True
    )
    entries = await asyncio.gather(*(teacher.join(room) for teacher in teachers), return_exceptions=True)

    refused = [one.answer for one in invitations if isinstance(one, RefusedError)]
    assert [answer.rules for answer in refused] == [["CHAT-3"]]
    assert "at most 100 participants" in refused[0].error
    assert len([one for one in entries if isinstance(one, RefusedError)]) == 1
    assert len(await head.members(room)) == 101
    assert BOT in await head.members(room)


async def test_a_policy_is_in_force_without_a_restart(people: People, rules: Rules) -> None:
    lowe, chan = people["lowe"], people["chan"]
    seen(await refusal_of(lowe.create_room(chan.user_id)), "BOOK-6")

    await rules.become(policy(year_1="head, okafor, lowe, chan, diaz"))

    assert await lowe.create_room(chan.user_id)


async def test_a_broken_policy_changes_nothing_and_its_mistakes_are_logged(people: People, rules: Rules) -> None:
    good = policy(year_1="head, okafor, lowe, chan, diaz")
    await rules.become(good)

    log = await rules.become_wrong(good.replace("role: client", "role: clint").replace("year-5:", "year 5:"))

    assert "policy.yaml:" in log
    assert log.count('"clint"') >= 3
    assert await people["lowe"].create_room(people["chan"].user_id)
    seen(await refusal_of(people["north"].create_room(people["chan"].user_id)), "BOOK-8")


async def test_a_policy_that_goes_away_stays_in_force(people: People, rules: Rules) -> None:
    before = len(rules.log.read_text())
    rules.file.rename(rules.file.with_suffix(".away"))
    try:
        await eventually(lambda: rules.log.read_text()[before:], lambda log: "cannot be read" in log)

        assert await people["head"].create_room(people["chan"].user_id)
    finally:
        rules.file.with_suffix(".away").rename(rules.file)
    await rules.become(policy(year_1="head, chan, diaz"))


async def test_a_role_that_changes_is_a_mistake(people: People, rules: Rules) -> None:
    changed = [line.replace("role: client", "role: staff") if "north" in line else line for line in HILLSIDE]

    log = await rules.become_wrong(policy(hillside=changed))

    assert "policy.yaml:" in log
    seen(await refusal_of(people["north"].create_room(people["head"].user_id)), "BOOK-6")


async def test_suspended_people_write_nothing_from_the_moment_the_file_is_saved(people: People, rules: Rules) -> None:
    head, okafor, bot = people["head"], people["okafor"], people["qwil"]
    room = await head.create_room(okafor.user_id)
    await tighten(bot, room, head)
    await head.send(room, "Good morning")
    await okafor.join(room)
    assert await okafor.send(room, "Good morning to you")

    await rules.become(policy(hillside=[_with_status(line, "okafor", "suspended") for line in HILLSIDE]))

    seen(await refusal_of(okafor.send(room, "Still here")), "USR-1")
    await okafor.leave(room)


async def test_people_of_a_network_that_ended_can_only_leave(people: People, rules: Rules) -> None:
    head, ode, bot = people["head"], people["ode"], people["qwil"]
    room = await head.create_room(ode.user_id)
    await tighten(bot, room, head)
    await head.send(room, "Good morning")
    await ode.join(room)

    await rules.become(policy(network="compass"))

    for one in (head, ode):
        seen(await refusal_of(one.send(room, "And now?")), "EXT-13")
    await ode.leave(room)


async def test_without_any_policy_nobody_but_the_bot_does_anything(
    start_homeserver: StartHomeserver, connect: Connect
) -> None:
    homeserver = await start_homeserver("organisations: [", module={"unlisted_accounts": "ignore"})
    bot, head, nobody = [await connect(homeserver, name) for name in ("qwil", "head", "nobody")]
    room = await bot.create_room(head.user_id)

    for refused in (head.create_room(), nobody.create_room(), head.join(room), head.find_people("head")):
        answer = await refusal_of(refused)
        assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
        assert "rules of this server cannot be read" in answer.error
    assert await bot.send(room, "One moment, please")

    (homeserver.folder / "policy.yaml").write_text(policy())
    await in_force(bot, policy())
    await head.join(room)
    assert await nobody.create_room()


async def test_accounts_that_are_ignored_stay_among_themselves(
    start_homeserver: StartHomeserver, connect: Connect
) -> None:
    homeserver = await start_homeserver(policy(), module={"unlisted_accounts": "ignore"})
    names = ("nobody", "noone", "head", "okafor", "qwil")
    nobody, noone, head, okafor, bot = [await connect(homeserver, name) for name in names]

    theirs = await nobody.create_room(noone.user_id, preset="public_chat", room_alias_name="open", name="Open")
    await noone.join(theirs)
    await noone.send(theirs, "Nice here")
    assert (await refusal_of(nobody.create_room(head.user_id))).rules == ["INV-1"]
    assert (await refusal_of(nobody.invite(theirs, head.user_id))).rules == ["INV-1"]
    assert (await refusal_of(head.join(theirs))).rules == ["PART-1"]
    assert (await refusal_of(head.create_room(nobody.user_id))).rules == ["DIR-4"]
    assert await nobody.find_people("head") == []
    assert await head.find_people("nobody") == []
    ours = await open_chat(bot, head, okafor, staff=[head, okafor])
    assert (await refusal_of(head.invite(ours, nobody.user_id))).rules == ["DIR-4"]
    assert (await refusal_of(nobody.join(ours))).rules == ["INV-1"]


async def test_a_room_from_before_takes_in_nobody_new(start_homeserver: StartHomeserver, connect: Connect) -> None:
    homeserver = await start_homeserver("organisations: {}", module={"unlisted_accounts": "ignore"})
    head, chan, okafor, bot = [await connect(homeserver, name) for name in ("head", "chan", "okafor", "qwil")]
    room = await head.create_room(chan.user_id, okafor.user_id, name="From before")
    await chan.join(room)

    (homeserver.folder / "policy.yaml").write_text(policy())
    await in_force(bot, policy())

    assert await chan.send(room, "Still here")
    seen(await refusal_of(okafor.join(room)), "PART-1")
    seen(await refusal_of(head.invite(room, "@lowe:qwil.test")), "PART-1")
    seen(await refusal_of(head.kick(room, chan.user_id)), "PART-1")
    seen(await refusal_of(head.set_state(room, "m.room.name", {"name": "Ours"})), "PART-1")
    seen(await refusal_of(head.set_state(room, "m.room.join_rules", {"join_rule": "public"})), "PART-1")
    seen(await head.request("POST", f"rooms/{quote(room)}/upgrade", {"new_version": "11"}), "REV-1")
    seen(await refusal_of(head.set_state(room, CHAT, {"organisation": "hillside", "draft": False})), "CHAT-9")
    await chan.leave(room)
    seen(await refusal_of(chan.join(room)), "PART-8")
