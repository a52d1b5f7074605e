"""People as others see them: found by search, looked up, named and shown in rooms, answered from the policy."""

from collections.abc import Mapping

import aiohttp
import pytest

from bridge.demo.homeserver import Homeserver
from policy.rooms import badge_file
from policy.template import power_levels
from tests.homeserver.conftest import BOT, Connect, StartHomeserver
from tests.homeserver.matrix_client import Client, eventually, refusal_of
from tests.homeserver.two_schools import HILLSIDE, open_chat, person, policy, tighten

People = Mapping[str, Client]

NAMES = ("head", "okafor", "lowe", "chan", "diaz", "north", "ode", "reed", "kemp", "qwil", "nobody")
CLASS = [person(f"pupil{number}", "client", name=f"Quentin {number:03}") for number in range(60)]
YEAR_1 = "head, okafor, chan, diaz, " + ", ".join(f"pupil{number}" for number in range(60))


@pytest.fixture(scope="module")
async def homeserver(start_homeserver: StartHomeserver) -> Homeserver:
    teacher_and_parent = person("reed", "client", name="Ria Reed")
    return await start_homeserver(policy(hillside=[*HILLSIDE, *CLASS, teacher_and_parent], year_1=f"{YEAR_1}, reed"))


@pytest.fixture(scope="module")
async def people(homeserver: Homeserver, connect: Connect) -> People:
    return {name: await connect(homeserver, name) for name in NAMES}


async def names_found(client: Client, words: str, limit: int = 50) -> list[str]:
    return [one["display_name"] for one in await client.find_people(words, limit)]


async def test_staff_find_their_colleagues_and_those_of_the_network_by_name_and_organisation(people: People) -> None:
    head = people["head"]

    assert await names_found(head, "lowe") == ["Mary Lowe"]
    assert await names_found(head, "ben") == ["Ben Ode (Riverside Academy)"]
    assert await names_found(head, "riverside") == ["Ben Ode (Riverside Academy)", "Ria Reed (Riverside Academy)"]
    assert await names_found(head, "kemp") == []
    assert await names_found(head, "compass") == []


async def test_clients_find_their_contacts_alone(people: People) -> None:
    chan = people["chan"]

    assert await names_found(chan, "pia") == ["Pia Diaz"]
    for words in ("paul", "lowe", "ode", "riverside", "kemp"):
        assert await names_found(chan, words) == []


async def test_everybody_of_an_organisation_finds_the_bot_and_nobody_else_does(people: People) -> None:
    chan, nobody = people["chan"], people["nobody"]
    bot = {"user_id": BOT, "display_name": "qwil", "avatar_url": None}

    for words in ("qwil", "Qwi", BOT, f"{BOT} "):
        assert (await chan.find_people(words))[:1] == [bot]
    for words in ("qw", "q", "wil", "qwil:elsewhere.test"):
        assert bot not in await chan.find_people(words)
    assert await nobody.find_people("qwil") == []
    assert (await chan.request("GET", f"profile/{BOT}")).status == 200
    room = await chan.create_room(BOT, is_direct=True)
    assert BOT in await chan.members(room, "invite")


async def test_everybody_of_a_long_list_is_found_however_few_are_asked_for(people: People) -> None:
    answer = await people["chan"].ask("POST", "user_directory/search", {"search_term": "quentin", "limit": 10})

    assert [one["display_name"] for one in answer["results"]] == [f"Quentin {number:03}" for number in range(10)]
    assert answer["limited"] is True
    assert (await people["chan"].ask("POST", "user_directory/search", {"search_term": "quentin 059"}))[
        "limited"
    ] is False


async def test_nobody_is_shown_twice_who_may_be_found_in_two_ways(people: People) -> None:
    found = await people["head"].find_people("reed")

    assert [one["user_id"] for one in found] == [people["reed"].user_id]


async def test_accounts_of_no_organisation_find_nobody_and_are_not_found(people: People) -> None:
    assert await names_found(people["nobody"], "head") == []
    assert await names_found(people["head"], "nobody") == []
    assert await names_found(people["head"], "server-admin") == []


async def test_nobody_finds_by_words_that_are_none(people: People) -> None:
    for words in ("", " ", "%", "_", "*", "'", "a" * 5000, "\u202e", "🙂"):
        assert await names_found(people["chan"], words) == []


async def test_a_found_person_is_shown_with_the_picture_of_the_profile(
    people: People, homeserver: Homeserver, http: aiohttp.ClientSession
) -> None:
    picture = await upload(people["qwil"], http, badge_file("C", people["diaz"].user_id))
    await set_picture(homeserver, http, people["diaz"], picture)

    assert (await people["chan"].find_people("pia"))[0]["avatar_url"] == picture


async def upload(client: Client, http: aiohttp.ClientSession, name: str) -> str:
    """Upload a picture under that name; its address."""
    headers = {"Authorization": f"Bearer {client.access_token}", "Content-Type": "image/png"}
    url = f"{client.homeserver.url}/_matrix/media/v3/upload"
    async with http.post(url, params={"filename": name}, data=b"picture", headers=headers) as response:
        return str((await response.json())["content_uri"])


async def set_picture(homeserver: Homeserver, http: aiohttp.ClientSession, client: Client, picture: str) -> None:
    """Give somebody a picture as the bridge does, by the admin API: people cannot set their own."""
    admin = await homeserver.login("server-admin", homeserver.server_admin.password)
    headers = {"Authorization": f"Bearer {admin.access_token}"}
    url = f"{homeserver.url}/_synapse/admin/v2/users/{client.user_id}"
    async with http.put(url, json={"avatar_url": picture}, headers=headers) as response:
        assert response.status in (200, 201), await response.text()


async def test_a_room_shows_the_bots_badges_alone(people: People, http: aiohttp.ClientSession) -> None:
    head, ode, bot = people["head"], people["ode"], people["qwil"]
    room = await open_chat(bot, head, ode, staff=[head, ode])

    async def shown(client: Client, picture: str) -> str | None:
        await client.set_state(room, "m.room.member", {"membership": "join", "avatar_url": picture}, client.user_id)
        return (await client.state(room, "m.room.member", client.user_id)).get("avatar_url")

    right = await upload(bot, http, badge_file("E", ode.user_id))
    wrong_letter = await upload(bot, http, badge_file("S", ode.user_id))
    somebody_elses = await upload(bot, http, badge_file("E", people["reed"].user_id))
    own = await upload(ode, http, badge_file("E", ode.user_id))
    elsewhere = "mxc://elsewhere.test/abc"

    assert await shown(ode, wrong_letter) is None
    assert await shown(ode, right) == right
    for picture in (wrong_letter, ""):
        assert await shown(ode, picture) == right
    for picture in (somebody_elses, own, elsewhere, "mxc://qwil.test/unknown", "nonsense"):
        assert (await refusal_of(shown(ode, picture))).rules == ["EXT-8"]
    assert (await head.state(room, "m.room.member", ode.user_id))["avatar_url"] == right
    at_home = await upload(bot, http, badge_file("S", head.user_id))
    assert await shown(head, at_home) == at_home


async def test_a_person_of_two_organisations_bears_the_name_and_side_of_the_rooms(people: People) -> None:
    head, reed, ode, bot = people["head"], people["reed"], people["ode"], people["qwil"]

    at_hillside = await open_chat(bot, head, reed, staff=[head])
    at_riverside = await open_chat(bot, ode, reed, staff=[ode, reed])

    assert (await head.state(at_hillside, "org.qwil.chat"))["kind"] == "client"
    assert (await head.state(at_hillside, "m.room.member", reed.user_id))["displayname"] == "Ria Reed"
    assert (await ode.state(at_riverside, "org.qwil.chat"))["organisation"] == "riverside"


async def test_spaces_of_the_bot_are_entered_on_its_invitation_and_left(people: People) -> None:
    bot, head, chan = people["qwil"], people["head"], people["chan"]
    levels = {"users": {BOT: 100}, "invite": 100}
    space = await bot.create_room(
        head.user_id, name="Year 1", creation_content={"type": "m.space"}, power_level_content_override=levels
    )

    await head.join(space)
    assert (await bot.state(space, "m.room.member", head.user_id))["displayname"] == "Helen Head"
    for refused in (
        head.invite(space, chan.user_id),
        head.send(space, "Hello"),
        head.set_state(space, "m.room.name", {"name": "Ours"}),
        chan.join(space),
    ):
        assert (await refusal_of(refused)).status == 403
    await head.leave(space)
    assert (await refusal_of(head.join(space))).rules == ["PART-8"]


async def test_the_direct_chat_is_left_when_the_account_is_closed(
    homeserver: Homeserver, people: People, connect: Connect
) -> None:
    north, bot = people["north"], people["qwil"]
    admin = await connect(homeserver, homeserver.server_admin.user_id)
    room = await north.create_room(BOT)
    await bot.join(room)
    assert (await refusal_of(north.leave(room))).rules == ["BUT-1"]

    await admin.ask("POST", f"/_synapse/admin/v1/deactivate/{north.user_id}", {"erase": False})

    await eventually(lambda: bot.members(room), lambda members: members == {BOT})


async def test_a_direct_chat_the_bot_opens_is_entered_by_its_person_alone(people: People) -> None:
    bot, okafor, lowe = people["qwil"], people["okafor"], people["lowe"]
    room = await bot.create_room(
        okafor.user_id,
        lowe.user_id,
        is_direct=True,
        power_level_content_override=power_levels(BOT, []),
        initial_state=[{"type": "org.qwil.direct", "state_key": "", "content": {"user": okafor.user_id}}],
    )

    await okafor.join(room)
    await okafor.send(room, "contacts")

    assert (await refusal_of(lowe.join(room))).rules == ["BUT-1"]
    assert (await refusal_of(okafor.leave(room))).rules == ["BUT-1"]


async def test_huge_and_unknown_events_are_judged_like_any_other(people: People) -> None:
    head, chan = people["head"], people["chan"]
    room = await head.create_room(chan.user_id)
    await tighten(people["qwil"], room, head)

    assert await head.send_event(room, "org.example.poll", {"question": "?", "body": ["not", "text"], "msgtype": 7})
    assert await chan.send_event(room, "m.room.message", {"msgtype": "m.text", "body": "x" * 60_000})
    assert (await refusal_of(chan.send_event(room, "org.qwil.command", {}))).rules == ["CHAT-9"]
    assert (await refusal_of(chan.set_state(room, "org.example.widget", {}))).rules == ["REV-1"]


async def test_requests_that_are_nonsense_are_refused_and_break_nothing(people: People) -> None:
    head = people["head"]
    nonsense = {
        "invite": "everybody",
        "initial_state": {"a": 1},
        "power_level_content_override": [1],
        "creation_content": "x",
        "name": {"a": 1},
    }
    for key, value in nonsense.items():
        answer = await head.request("POST", "createRoom", {key: value})
        assert answer.status in (200, 400, 403), (key, answer)

    for content in ({}, {"membership": 7}, {"membership": "sleep"}, {"membership": None}):
        room = await head.create_room()
        answer = await head.request("PUT", f"rooms/{room}/state/m.room.member/{head.user_id}", content)
        assert answer.status in (400, 403)
