"""The homeserver of the demo and the tests itself: it starts, serves any client, and leaves nothing behind."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import nio
import pytest

from bridge.demo import homeserver as demo
from bridge.demo.homeserver import AnswerError, Homeserver, StartError
from tests.homeserver.conftest import Connect, ConnectNio, StartHomeserver
from tests.homeserver.matrix_client import eventually, refusal_of


def runs(pid: int) -> bool:
    """Whether the process is there and at work; one that ended and waits for its parent's attention is not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


async def test_people_write_to_each_other(plain_homeserver: Homeserver, connect: Connect) -> None:
    ann = await connect(plain_homeserver, "harness-ann")
    bob = await connect(plain_homeserver, "harness-bob")

    room = await ann.create_room(bob.user_id, name="Maths")
    await bob.join(room)
    sent = await ann.send(room, "Shall we meet?")

    assert await bob.members(room) == {ann.user_id, bob.user_id}
    assert await bob.state(room, "m.room.name") == {"name": "Maths"}
    last = (await bob.messages(room))[-1]
    assert (last["event_id"], last["content"]["body"]) == (sent, "Shall we meet?")
    news = await bob.sync_until(lambda news: room in news["rooms"].get("join", {}))
    assert news["rooms"]["join"][room]["timeline"]["events"][-1]["event_id"] == sent


async def test_a_refusal_is_seen_whole(plain_homeserver: Homeserver, connect: Connect) -> None:
    ann = await connect(plain_homeserver, "harness-ann")
    eve = await connect(plain_homeserver, "harness-eve")
    room = await ann.create_room()

    answer = await refusal_of(eve.send(room, "Hello?"))

    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    assert eve.user_id in answer.error
    assert answer.rules == []


async def test_what_is_granted_is_not_taken_for_a_refusal(plain_homeserver: Homeserver, connect: Connect) -> None:
    ann = await connect(plain_homeserver, "harness-ann")

    with pytest.raises(AssertionError, match="had to be refused"):
        await refusal_of(ann.create_room())


async def test_matrix_nio_logs_in_and_writes(
    plain_homeserver: Homeserver, connect: Connect, connect_nio: ConnectNio
) -> None:
    cleo = await connect_nio(plain_homeserver, "harness-cleo")
    ann = await connect(plain_homeserver, "harness-ann")

    room = await ann.create_room(cleo.user_id)
    await cleo.join(room)
    answer = await cleo.room_send(room, "m.room.message", {"msgtype": "m.text", "body": "Here I am"})

    assert isinstance(answer, nio.RoomSendResponse)
    assert [event["content"].get("body") for event in await ann.messages(room)][-1] == "Here I am"


async def test_the_server_admin_may_use_the_admin_api(plain_homeserver: Homeserver, connect: Connect) -> None:
    admin = await connect(plain_homeserver, plain_homeserver.server_admin.user_id)

    account = await admin.ask("GET", f"/_synapse/admin/v2/users/{admin.user_id}")

    assert account["admin"]


async def test_a_hundred_and_fifty_accounts_are_made_at_once(plain_homeserver: Homeserver) -> None:
    names = [f"harness-many-{number}" for number in range(150)]

    made = await asyncio.gather(*(plain_homeserver.register(name, "pw", displayname=name.title()) for name in names))

    assert made == [plain_homeserver.user_id(name) for name in names]


async def test_a_taken_name_is_refused(plain_homeserver: Homeserver) -> None:
    await plain_homeserver.register("harness-twin", "one")

    with pytest.raises(AnswerError) as refusal:
        await plain_homeserver.register("harness-twin", "two")

    assert refusal.value.errcode == "M_USER_IN_USE"


async def test_any_client_finds_its_way_and_leaves_encryption_off(
    plain_homeserver: Homeserver, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{plain_homeserver.url}/.well-known/matrix/client") as response:
        found = await response.json(content_type=None)

    assert found["m.homeserver"] == {"base_url": f"{plain_homeserver.url}/"}
    assert found["io.element.e2ee"] == {"default": False, "force_disable": True}


async def test_nobody_but_the_server_administrators_can_make_an_account(
    plain_homeserver: Homeserver, http: aiohttp.ClientSession
) -> None:
    body = {"username": "harness-stranger", "password": "pw", "auth": {"type": "m.login.dummy"}}
    async with http.post(f"{plain_homeserver.url}/_matrix/client/v3/register", json=body) as response:
        assert response.status == 403


async def test_a_restart_keeps_accounts_rooms_and_address(tmp_path: Path, connect: Connect) -> None:
    homeserver = Homeserver(tmp_path)
    async with homeserver:
        ann = await connect(homeserver, "ann")
        room = await ann.create_room(name="Kept")
        first, address = homeserver.pid, homeserver.url
    assert homeserver.pid is None
    assert not runs(first)

    async with homeserver:
        assert (homeserver.url, homeserver.pid != first) == (address, True)
        assert await ann.state(room, "m.room.name") == {"name": "Kept"}


async def test_the_folder_alone_carries_the_homeserver_over(tmp_path: Path) -> None:
    async with Homeserver(tmp_path) as before:
        await before.register("ann", "pw")

    async with Homeserver(tmp_path) as after:
        assert (await after.login("ann", "pw")).user_id == before.user_id("ann")
        assert after.server_admin == before.server_admin


async def test_it_runs_on_postgresql(tmp_path: Path, postgres: str, connect: Connect) -> None:
    async with Homeserver(tmp_path, postgres=postgres) as homeserver:
        ann = await connect(homeserver, "ann")
        room = await ann.create_room()

        assert await ann.joined_rooms() == {room}
        assert not list(tmp_path.glob("*.db"))


async def test_a_failed_start_says_why_and_leaves_no_process(tmp_path: Path) -> None:
    homeserver = Homeserver(tmp_path, settings={"database": {"name": "abacus"}})

    with pytest.raises(StartError, match="abacus"):
        await homeserver.start()

    assert homeserver.pid is None


def test_no_port_is_given_to_two_who_will_listen_on_it_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PORTS", demo.PORTS[:40])

    assert len({demo.free_port() for _ in range(20)}) == 20


async def test_an_interrupted_start_leaves_no_process(tmp_path: Path) -> None:
    homeserver = Homeserver(tmp_path)
    starting = asyncio.create_task(homeserver.start())
    pid = await eventually(lambda: homeserver.pid, bool)

    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert homeserver.pid is None
    assert not runs(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
async def test_it_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys\n"
        "from bridge.demo.homeserver import Homeserver\n"
        "async def main():\n"
        "    async with Homeserver(pathlib.Path(sys.argv[1])) as homeserver:\n"
        "        print(homeserver.pid, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    pid = int(await owner.stdout.readline())
    assert runs(pid)

    owner.send_signal(signal.SIGKILL)
    await owner.wait()

    await eventually(lambda: runs(pid), lambda running: not running)


async def test_a_policy_and_its_files_lie_beside_the_homeserver(start_homeserver: StartHomeserver) -> None:
    people = "name,organisation\n"

    homeserver = await start_homeserver("network: {}\n", files={"people.csv": people}, settings={"modules": []})

    written = {name: (homeserver.folder / name).read_text() for name in ("policy.yaml", "people.csv")}
    assert written == {"policy.yaml": "network: {}\n", "people.csv": people}
    configuration = (homeserver.folder / "homeserver.yaml").read_text()
    assert "modules: []" in configuration
