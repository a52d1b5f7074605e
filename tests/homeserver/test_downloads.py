"""Who is suspended, or has left, downloads nothing of that organisation, even where they know the address (USR-1)."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing

import aiohttp
import pytest
from yarl import URL

from bridge.audit import entries
from bridge.store import Store
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, begun, bridged
from tests.homeserver.conftest import Connect, StartHomeserver
from tests.homeserver.matrix_client import Client, eventually, refusal_of

PEOPLE = ["head", "okafor", "lowe", "chan", "diaz", "ode", "reed"]
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
CLOSED = "This file is from a chat that you are not in. Please ask your organisation's office."
UNREADABLE = "The rules of this server cannot be read at the moment, so no file is given. Please try later."
PASSED_ON = "You can pass on a file only from a chat that you are in."


def policy(*, okafor: str = "active", chan: str = "active") -> str:
    """Tom Okafor is staff of both schools."""
    people = [
        line.replace("name: Tom Okafor", f"status: {okafor}, name: Tom Okafor").replace(
            "name: Pat Chan", f"status: {chan}, name: Pat Chan"
        )
        for line in two_schools.HILLSIDE
    ]
    text = two_schools.policy(hillside=people)
    second = two_schools.person("tom", "staff", name="Tom Okafor", matrix='"@okafor:qwil.test"')
    ode = two_schools.RIVERSIDE[0]
    assert text.count(ode) == 1
    return text.replace(ode, ode + second)


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridged]:
    async with bridged(tmp_path_factory.mktemp("downloads"), policy(), PEOPLE) as running:
        yield running


@pytest.fixture(autouse=True)
async def everybody_back(school: Bridged) -> AsyncIterator[None]:
    yield
    await school.follow(policy())


async def uploaded(client: Client, http: aiohttp.ClientSession) -> str:
    """The address of a picture that somebody uploaded."""
    url = f"{client.homeserver.url}/_matrix/media/v3/upload?filename=us.png"
    headers = {"Authorization": f"Bearer {client.access_token}", "Content-Type": "image/png"}
    async with http.post(url, data=PIXEL, headers=headers) as answer:
        return str((await answer.json())["content_uri"])


async def show(room: str, client: Client, address: str) -> None:
    """Send the picture of that address there."""
    await client.send_event(room, "m.room.message", {"msgtype": "m.image", "body": "us.png", "url": address})


async def picture_in(room: str, client: Client, http: aiohttp.ClientSession) -> str:
    """The address of a picture that somebody sent there."""
    address = await uploaded(client, http)
    await show(room, client, address)
    return address


async def downloaded(client: Client, address: str, kind: str = "download") -> int | tuple[int, str, list[str]]:
    """200, or the status with what the client is told."""
    size = "?width=32&height=32" if kind == "thumbnail" else ""
    url = f"{client.homeserver.url}/_matrix/client/v1/media/{kind}/{address.removeprefix('mxc://')}{size}"
    headers = {"Authorization": f"Bearer {client.access_token}"}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        if answer.status == 200:
            assert await answer.read()
            return 200
        body = await answer.json()
        return answer.status, body["error"], body.get("org.qwil.rules", [])


async def test_a_suspended_client_downloads_no_picture_of_their_chats_until_they_are_back(
    school: Bridged, http: aiohttp.ClientSession
) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    address = await picture_in(await begun(okafor, chan), okafor, http)
    assert [await downloaded(chan, address, kind) for kind in ("download", "thumbnail")] == [200, 200]

    await school.follow(policy(chan="suspended"))

    for kind in ("download", "thumbnail"):
        assert await downloaded(chan, address, kind) == (403, CLOSED, ["USR-1"])
    assert await downloaded(okafor, address) == 200

    await school.follow(policy())
    assert await downloaded(chan, address) == 200


async def test_what_was_not_downloaded_and_not_passed_on_is_in_the_audit(
    school: Bridged, http: aiohttp.ClientSession
) -> None:
    okafor, ode, head, chan = await school.clients("okafor", "ode", "head", "chan")
    address = await picture_in(await begun(head, okafor, chan), chan, http)
    room = await begun(ode, okafor)
    await school.follow(policy(okafor="suspended"))

    assert await downloaded(okafor, address) == (403, CLOSED, ["USR-1"])
    refused = await refusal_of(show(room, okafor, address))

    wanted = {f"downloading {address} by {okafor.user_id}": CLOSED}
    wanted[f"m.room.message by {okafor.user_id} in {room}"] = refused.error
    assert refused.error == PASSED_ON
    await eventually(lambda: refused_by_the_homeserver(school, okafor), lambda found: wanted.items() <= found.items())


async def refused_by_the_homeserver(school: Bridged, client: Client) -> dict[str, str]:
    """What the audit has of somebody that the homeserver refused by USR-1, with what they were told."""
    store = await Store.open(school.settings.database)
    try:
        found = [json.loads(one.details) async for one in entries(store, who=client.user_id, what="refused")]
    finally:
        await store.close()
    return {one["what"]: one["text"] for one in found if one["because"] == ["USR-1"]}


async def test_files_of_other_servers_are_not_even_asked_for(school: Bridged) -> None:
    (chan,) = await school.clients("chan")
    await school.follow(policy(chan="suspended"))

    for address in ("mxc://elsewhere.test/abcdef", "mxc://qwil.test/%25"):
        assert await downloaded(chan, address) == (403, CLOSED, ["USR-1"])


async def test_who_is_suspended_in_one_school_goes_on_in_the_other(
    school: Bridged, http: aiohttp.ClientSession
) -> None:
    okafor, ode, chan, head = await school.clients("okafor", "ode", "chan", "head")
    at_hillside = await picture_in(await begun(head, okafor, chan), chan, http)
    at_riverside = await picture_in(await begun(ode, okafor), ode, http)

    await school.follow(policy(okafor="suspended"))

    assert await downloaded(okafor, at_hillside) == (403, CLOSED, ["USR-1"])
    assert await downloaded(okafor, at_riverside) == 200


async def test_a_badge_is_everybodys(school: Bridged) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room = await begun(okafor, chan)
    seen = await eventually(
        lambda: okafor.state(room, "m.room.member", okafor.user_id), lambda one: "avatar_url" in one
    )
    await school.follow(policy(chan="suspended"))

    assert room not in await chan.joined_rooms()
    assert await downloaded(chan, seen["avatar_url"]) == 200


async def test_an_export_is_downloaded_only_while_its_organisation_is_theirs(school: Bridged) -> None:
    okafor, ode, chan = await school.clients("okafor", "ode", "chan")
    at_hillside = await exported(school, okafor, await begun(okafor, chan))
    at_riverside = await exported(school, okafor, await begun(ode, okafor))
    assert [await downloaded(okafor, address) for address in (at_hillside, at_riverside)] == [200, 200]

    await school.follow(policy(okafor="suspended"))

    assert await downloaded(okafor, at_hillside) == (403, CLOSED, ["USR-1"])
    assert await downloaded(okafor, at_riverside) == 200


async def exported(school: Bridged, client: Client, room: str) -> str:
    """The address of the chat's export, which the bot sends in its direct chat."""

    async def files() -> list[str]:
        events = [event for direct in await school.directs(client) for event in await client.messages(direct)]
        return [event["content"]["url"] for event in events if event["content"].get("msgtype") == "m.file"]

    known = len(await files())
    await client.send(room, "!export pdf")
    return (await eventually(files, lambda found: len(found) > known))[-1]


async def test_who_is_suspended_cannot_show_themselves_what_they_were_shown(
    school: Bridged, http: aiohttp.ClientSession
) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    address = await picture_in(await begun(okafor, chan), okafor, http)
    direct = await school.direct(chan)
    # While they are active it is theirs to send; a message of their own opens nothing later.
    await show(direct, chan, address)
    await school.follow(policy(chan="suspended"))

    sent = {"msgtype": "m.image", "body": "us.png", "url": address, "org.qwil.organisation": "hillside"}
    refused = await refusal_of(chan.send_event(direct, "m.room.message", sent))

    assert (refused.status, refused.error, refused.rules) == (403, PASSED_ON, ["USR-1"])
    assert await downloaded(chan, address) == (403, CLOSED, ["USR-1"])


@pytest.mark.parametrize(
    "way",
    [
        {"msgtype": "m.image", "body": "us.png", "url": "{}"},
        {"msgtype": "m.file", "body": "us.png", "file": {"url": "{}"}},
        {"msgtype": "m.image", "body": "us.png", "url": "{own}", "info": {"thumbnail_url": "{}"}},
        {"msgtype": "m.text", "body": "us", "format": "org.matrix.custom.html", "formatted_body": '<img src="{}">'},
    ],
    ids=["a picture", "an encrypted file", "a small picture", "in a text"],
)
async def test_files_of_the_organisation_that_suspended_somebody_are_not_taken_into_the_other(
    school: Bridged, http: aiohttp.ClientSession, way: dict[str, object]
) -> None:
    okafor, ode, head, chan = await school.clients("okafor", "ode", "head", "chan")
    at_hillside = await picture_in(await begun(head, okafor, chan), chan, http)
    room = await begun(ode, okafor)
    await school.follow(policy(okafor="suspended"))
    own = await uploaded(okafor, http)

    # From there an export, for instance, would bring it.
    refused = await refusal_of(okafor.send_event(room, "m.room.message", filled(way, at_hillside, own)))

    assert (refused.status, refused.error, refused.rules) == (403, PASSED_ON, ["USR-1"])


def filled(way: dict[str, object], address: str, own: str) -> dict[str, object]:
    def value(one: object) -> object:
        if isinstance(one, dict):
            return filled(one, address, own)
        return one.replace("{own}", own).replace("{}", address) if isinstance(one, str) else one

    return {name: value(one) for name, one in way.items()}


async def test_who_is_suspended_in_one_school_shares_files_in_the_other(
    school: Bridged, http: aiohttp.ClientSession
) -> None:
    okafor, ode, reed = await school.clients("okafor", "ode", "reed")
    # Before that is in force, a chat of theirs would be begun for the school that suspends them.
    await school.follow(policy(okafor="suspended"))
    room, another = await begun(ode, okafor), await begun(okafor, reed)
    theirs = await picture_in(room, ode, http)

    own = await picture_in(room, okafor, http)
    await show(another, okafor, theirs)
    # The address of a small picture stands beside that of the large one.
    small = await uploaded(ode, http)
    content = {"msgtype": "m.image", "body": "us.png", "url": theirs, "info": {"thumbnail_url": small}}
    await ode.send_event(room, "m.room.message", content)

    assert [await downloaded(okafor, one) for one in (own, theirs, small)] == [200, 200, 200]
    assert await downloaded(reed, theirs) == 200


async def test_files_are_closed_although_the_bridge_has_removed_nobody_yet(
    school: Bridged, http: aiohttp.ClientSession
) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    room = await begun(okafor, chan)
    address = await picture_in(room, okafor, http)
    await school.stop()
    try:
        school.edit(policy(chan="suspended"))
        await eventually(lambda: downloaded(chan, address), lambda seen: seen == (403, CLOSED, ["USR-1"]))
        assert room in await chan.joined_rooms()
    finally:
        school.edit(policy())
        await school.start()


async def test_the_file_of_a_broadcast_is_closed_with_the_organisation_that_sent_it(
    school: Bridged, http: aiohttp.ClientSession
) -> None:
    head, okafor, chan, ode = await school.clients("head", "okafor", "chan", "ode")
    at_hillside = await broadcast(school, head, "okafor,chan", [okafor, chan], http)
    at_riverside = await broadcast(school, ode, "tom", [okafor], http)

    await school.follow(policy(okafor="suspended"))

    assert await downloaded(okafor, at_hillside) == (403, CLOSED, ["USR-1"])
    assert await downloaded(okafor, at_riverside) == 200
    assert await downloaded(chan, at_hillside) == 200


async def broadcast(
    school: Bridged, admin: Client, whom: str, people: list[Client], http: aiohttp.ClientSession
) -> str:
    """The address of a file that an administrator sent them through the bot."""
    address, direct = await uploaded(admin, http), await school.direct(admin)
    file = {"msgtype": "m.file", "body": "trip.pdf", "url": address}
    reply = {"m.in_reply_to": {"event_id": await admin.send_event(direct, "m.room.message", file)}}
    words = {"msgtype": "m.text", "body": f"broadcast {whom} The trip", "m.relates_to": reply}
    await admin.send_event(direct, "m.room.message", words)
    for one in people:

        async def files(one: Client = one) -> list[object]:
            events = [event for room in await school.directs(one) for event in await one.messages(room)]
            return [event["content"].get("url") for event in events]

        await eventually(files, lambda found: address in found)
    return address


ODD_WAYS = [
    "/_matrix/client/v1/media/download/{}/us.png",
    "/_matrix/client/v1/media/download/{}/",
    "/_matrix/client/v1/media/download/{}?allow_remote=true&timeout_ms=1&admin_unsafely_bypass_quarantine=false",
    "/_matrix/client/v1/media/download/{}?allow_redirect=true",
    "/_matrix/client/v1/media/thumbnail/{}?width=32&height=32&method=crop&animated=true",
    "/_matrix/client/v1/media/download/%71wil.test/{id}",
    "/_matrix/client/v1/media/download/QWIL.test/{id}",
    "/_matrix/client/v1/media/download/qwil.test:443/{id}",
    "/_matrix/client/v1/media/download/{}%00",
    "/_matrix/client/v1/media/download/{}%20",
    "/_matrix/client/v1/media/./download/{}",
    "/_matrix/client/v1//media/download/{}",
    "//_matrix/client/v1/media/download/{}",
    "/%5Fmatrix/client/v1/media/download/{}",
    "/_matrix/client/v1/media/downloa%64/{}",
    "/_matrix/client/V1/media/download/{}",
    "/_matrix/client/v3/media/download/{}",
    "/_matrix/client/unstable/org.matrix.msc3916/media/download/{}",
    "/_matrix/media/v3/download/{}",
    "/_matrix/media/r0/download/{}/us.png",
    "/_matrix/media/v1/thumbnail/{}?width=32&height=32",
    "/_matrix/federation/v1/media/download/{id}",
    "/_matrix/media/v3/preview_url?url=mxc://{}",
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_no_odd_way_of_asking_gives_a_file(school: Bridged, http: aiohttp.ClientSession, method: str) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    address = (await picture_in(await begun(okafor, chan), okafor, http)).removeprefix("mxc://")
    await school.follow(policy(chan="suspended"))
    assert await downloaded(chan, f"mxc://{address}") == (403, CLOSED, ["USR-1"])

    given = {}
    for way in ODD_WAYS:
        url = URL(okafor.homeserver.url + way.format(address, id=address.partition("/")[2]), encoded=True)
        async with http.request(method, url, headers={"Authorization": f"Bearer {chan.access_token}"}) as answer:
            given[way] = answer.status

    assert {way: status for way, status in given.items() if not 400 <= status < 500} == {}


async def test_without_an_account_nothing_is_given(school: Bridged, http: aiohttp.ClientSession) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    address = (await picture_in(await begun(okafor, chan), okafor, http)).removeprefix("mxc://")

    for path in (f"/_matrix/media/v3/download/{address}", f"/_matrix/media/r0/thumbnail/{address}?width=32&height=32"):
        async with http.get(f"{okafor.homeserver.url}{path}") as answer:
            assert answer.status == 404


async def test_what_was_uploaded_before_synapse_asked_for_accounts_is_not_given_without_one(
    school: Bridged, http: aiohttp.ClientSession
) -> None:
    okafor, chan = await school.clients("okafor", "chan")
    address = await picture_in(await begun(okafor, chan), okafor, http)
    server, media = address.removeprefix("mxc://").split("/")
    # As Synapse keeps what came to it before it had `enable_authenticated_media`.
    with closing(sqlite3.connect(school.homeserver.folder / "homeserver.db", timeout=60)) as database, database:
        old = "UPDATE local_media_repository SET authenticated = false WHERE media_id = ?"
        assert database.execute(old, (media,)).rowcount == 1

    for way in ("v3/download/{}/{}", "r0/thumbnail/{}/{}?width=32&height=32"):
        async with http.get(f"{okafor.homeserver.url}/_matrix/media/{way.format(server, media)}") as answer:
            assert answer.status == 404
    assert await downloaded(chan, address) == 200


async def test_whoever_is_in_no_organisation_any_more_is_given_their_own_files_alone(
    start_homeserver: StartHomeserver, connect: Connect, http: aiohttp.ClientSession
) -> None:
    homeserver = await start_homeserver(two_schools.policy(), module={"unlisted_accounts": "ignore"})
    # What is no longer in the file was there once, for all that the homeserver knows.
    okafor, gone, other = [await connect(homeserver, user) for user in ("okafor", "gone", "other")]
    theirs, among_them = await uploaded(okafor, http), await uploaded(other, http)

    assert await downloaded(gone, theirs) == (403, CLOSED, ["USR-1"])
    assert await downloaded(gone, among_them) == 200
    assert await downloaded(okafor, among_them) == 200


async def test_while_the_rules_cannot_be_read_no_file_is_given(
    start_homeserver: StartHomeserver, connect: Connect, http: aiohttp.ClientSession
) -> None:
    homeserver = await start_homeserver("organisations: [")
    okafor = await connect(homeserver, "okafor")
    address = await uploaded(okafor, http)

    assert await downloaded(okafor, address) == (403, UNREADABLE, [])
    (homeserver.folder / "policy.yaml").write_text(two_schools.policy())
    await eventually(lambda: downloaded(okafor, address), lambda seen: seen == 200)
