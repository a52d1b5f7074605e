"""The rules where Synapse runs workers: a client that talks to a worker alone is under the same policy.

Needs what Synapse needs for workers (`pip install 'matrix-synapse[redis]'`); left out where that is missing.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from signedjson.key import read_signing_keys

from bridge.demo.homeserver import Homeserver, free_port
from policy.policy_server import policy_content
from policy.rooms import DRAFT
from tests.homeserver.conftest import BOT, SERVER_NAME
from tests.homeserver.matrix_client import Client, RefusedError, eventually, refusal_of
from tests.homeserver.small_redis import SmallRedis
from tests.homeserver.two_schools import policy, tighten

pytest.importorskip("txredisapi", reason="Synapse's workers need matrix-synapse[redis]")

NAMES = ("head", "okafor", "chan", "north", "kemp", "qwil")


@dataclass
class Worker:
    """A worker of a homeserver, as clients see it."""

    homeserver: Homeserver
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def policy(self) -> Path:
        return self.homeserver.folder / "policy.yaml"


@pytest.fixture(scope="module")
async def worker(
    tmp_path_factory: pytest.TempPathFactory, postgres_for_a_file: str, http: aiohttp.ClientSession
) -> AsyncIterator[Worker]:
    folder = tmp_path_factory.mktemp("workers")
    (folder / "policy.yaml").write_text(policy())
    main, replication, port = free_port(), free_port(), free_port()
    async with SmallRedis() as redis:
        homeserver = Homeserver(
            folder,
            server_name=SERVER_NAME,
            port=main,
            postgres=postgres_for_a_file,
            module={"policy": str(folder / "policy.yaml"), "bot": BOT},
            settings={
                "listeners": [listener(main, "client", "federation"), listener(replication, "replication")],
                "instance_map": {"main": {"host": "127.0.0.1", "port": replication}},
                "redis": {"enabled": True, "host": "127.0.0.1", "port": redis.port},
                "worker_replication_secret": "between-us",
            },
        )
        async with homeserver:
            process = start_worker(folder, port)
            try:
                worker = Worker(homeserver, port)
                await eventually(lambda: answers(http, worker.url), bool, patience=120)
                yield worker
            finally:
                process.terminate()
                await asyncio.to_thread(process.wait)


def listener(port: int, *names: str) -> dict[str, Any]:
    resources = [{"names": list(names)}]
    return {"port": port, "type": "http", "tls": False, "bind_addresses": ["127.0.0.1"], "resources": resources}


def start_worker(folder: Path, port: int) -> subprocess.Popen[bytes]:
    settings = {
        "worker_app": "synapse.app.generic_worker",
        "worker_name": "worker",
        "worker_log_config": str(folder / "log.yaml"),
        "worker_listeners": [listener(port, "client")],
    }
    # JSON is YAML.
    (folder / "worker.yaml").write_text(json.dumps(settings))
    files = [word for name in ("homeserver.yaml", "worker.yaml") for word in ("-c", str(folder / name))]
    with (folder / "worker.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "synapse.app.generic_worker", *files], cwd=folder, stdout=log, stderr=log
        )


async def answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(f"{url}/_matrix/client/versions") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


@pytest.fixture(scope="module")
async def people(worker: Worker, http: aiohttp.ClientSession) -> Mapping[str, Client]:
    """Clients that know the worker alone."""
    await asyncio.gather(*(worker.homeserver.register(name, "pw") for name in NAMES))
    logins = {name: await worker.homeserver.login(name, "pw") for name in NAMES}
    return {name: Client(cast("Homeserver", worker), login, http) for name, login in logins.items()}


async def test_a_worker_makes_and_opens_chats_by_the_rules(people: Mapping[str, Client]) -> None:
    head, okafor, chan, bot = people["head"], people["okafor"], people["chan"], people["qwil"]
    room = await head.create_room(okafor.user_id)
    await tighten(bot, room, head)

    noted = await refusal_of(head.invite(room, chan.user_id))
    assert noted.error == "Noted: Pat Chan joins with your first message."
    # The worker hears of what the main process keeps a moment later.
    await eventually(lambda: head.state(room, DRAFT), {"with": [okafor.user_id, chan.user_id]}.__eq__)

    await head.send(room, "Good morning")
    await eventually(lambda: head.members(room), {head.user_id, okafor.user_id, chan.user_id, BOT}.__eq__)


async def test_a_worker_refuses_with_sentence_and_rules(people: Mapping[str, Client]) -> None:
    head, kemp = people["head"], people["kemp"]
    room = await head.create_room(people["okafor"].user_id)

    for refused in (head.create_room(kemp.user_id), head.invite(room, kemp.user_id)):
        answer = await refusal_of(refused)
        assert (answer.status, answer.errcode, answer.rules) == (403, "M_FORBIDDEN", ["DIR-4"])
        assert "belongs to no organisation" in answer.error
    answer = await refusal_of(head.set_state(room, "m.room.join_rules", {"join_rule": "public"}))
    assert answer.rules == ["PART-1"]


async def test_a_worker_answers_people_search_and_profiles_from_the_policy(people: Mapping[str, Client]) -> None:
    head = people["head"]

    assert [one["display_name"] for one in await head.find_people("ode")] == ["Ben Ode (Riverside Academy)"]
    assert await head.find_people("kemp") == []
    assert (await head.request("GET", f"profile/{people['kemp'].user_id}")).rules == ["DIR-4"]


async def test_every_process_takes_up_a_changed_policy(
    worker: Worker, people: Mapping[str, Client], http: aiohttp.ClientSession
) -> None:
    head, north = people["head"], people["north"]
    login = await worker.homeserver.login("head", "pw")
    at_the_main_process = Client(worker.homeserver, login, http)
    assert (await refusal_of(head.create_room(north.user_id))).rules == ["BOOK-6"]

    worker.policy.write_text(policy(year_1="head, okafor, north, chan, diaz"))

    async def allowed(client: Client) -> bool:
        try:
            return bool(await client.create_room(north.user_id))
        except RefusedError:
            return False

    for client in (head, at_the_main_process):
        assert await eventually(lambda client=client: allowed(client), bool)


async def test_a_chat_made_at_a_worker_names_the_key_of_all_processes(
    worker: Worker, people: Mapping[str, Client]
) -> None:
    room = await people["head"].create_room(people["okafor"].user_id)

    (file,) = worker.homeserver.folder.glob("*.policy.key")
    (key,) = read_signing_keys(file.read_text().splitlines())
    assert await people["head"].state(room, "m.room.policy") == policy_content(SERVER_NAME, key)
