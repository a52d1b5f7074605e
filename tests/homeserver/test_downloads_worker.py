"""Files where a process of Synapse keeps nothing else, as large homeservers have it.

Needs what Synapse needs for workers (`pip install 'matrix-synapse[redis]'`); left out where that is missing.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from bridge.demo.homeserver import Homeserver, free_port
from tests.homeserver.conftest import BOT, SERVER_NAME, Connect
from tests.homeserver.matrix_client import Client, eventually
from tests.homeserver.small_redis import SmallRedis
from tests.homeserver.test_downloads import PIXEL, show
from tests.homeserver.test_module_workers import answers, listener
from tests.homeserver.two_schools import COMPASS, open_chat, person, policy

pytest.importorskip("txredisapi", reason="Synapse's workers need matrix-synapse[redis]")


def start_media_worker(folder: Path, port: int) -> subprocess.Popen[bytes]:
    settings = {
        "worker_app": "synapse.app.generic_worker",
        "worker_name": "media",
        "worker_log_config": str(folder / "log.yaml"),
        "worker_listeners": [listener(port, "client", "media")],
        "enable_media_repo": True,
    }
    # JSON is YAML.
    (folder / "media.yaml").write_text(json.dumps(settings))
    files = [word for name in ("homeserver.yaml", "media.yaml") for word in ("-c", str(folder / name))]
    with (folder / "media.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "synapse.app.generic_worker", *files], cwd=folder, stdout=log, stderr=log
        )


async def test_the_process_that_keeps_the_files_gives_them_by_the_policy(
    tmp_path: Path, postgres: str, connect: Connect, http: aiohttp.ClientSession
) -> None:
    elsewhere = person("lowe", "staff", name="Mary Lowe", status="left")
    (tmp_path / "policy.yaml").write_text(policy().replace(COMPASS[0], COMPASS[0] + elsewhere))
    main, replication, port = free_port(), free_port(), free_port()
    async with SmallRedis() as redis:
        homeserver = Homeserver(
            tmp_path,
            server_name=SERVER_NAME,
            port=main,
            postgres=postgres,
            module={"policy": str(tmp_path / "policy.yaml"), "bot": BOT},
            settings={
                "listeners": [listener(main, "client"), listener(replication, "replication")],
                "instance_map": {"main": {"host": "127.0.0.1", "port": replication}},
                "redis": {"enabled": True, "host": "127.0.0.1", "port": redis.port},
                "worker_replication_secret": "between-us",
                "enable_media_repo": False,
            },
        )
        async with homeserver:
            process = start_media_worker(tmp_path, port)
            try:
                await eventually(lambda: answers(http, f"http://127.0.0.1:{port}"), bool, patience=120)
                await gives_them(homeserver, f"http://127.0.0.1:{port}", connect, http)
            finally:
                process.terminate()
                await asyncio.to_thread(process.wait)


async def gives_them(homeserver: Homeserver, files: str, connect: Connect, http: aiohttp.ClientSession) -> None:
    """To who is active; to Mary Lowe, who was elsewhere once, what stands in her chat; to Sue Rest, suspended, none."""
    okafor, lowe, rest, bot = [await connect(homeserver, user) for user in ("okafor", "lowe", "rest", "qwil")]
    room = await open_chat(bot, okafor, lowe, staff=[okafor, lowe])
    headers = {"Authorization": f"Bearer {okafor.access_token}", "Content-Type": "image/png"}
    shown, kept = [await upload(f"{files}/_matrix/media/v3/upload", headers, http) for _ in range(2)]
    await show(room, okafor, shown)

    async def given(client: Client, address: str) -> int:
        url = f"{files}/_matrix/client/v1/media/download/{address.removeprefix('mxc://')}"
        async with http.get(url, headers={"Authorization": f"Bearer {client.access_token}"}) as answer:
            return answer.status

    # The worker hears of the message a moment later.
    await eventually(lambda: given(lowe, shown), lambda status: status == 200)
    assert await given(lowe, kept) == 403
    assert [await given(okafor, address) for address in (shown, kept)] == [200, 200]
    assert [await given(rest, address) for address in (shown, kept)] == [403, 403]


async def upload(url: str, headers: dict[str, str], http: aiohttp.ClientSession) -> str:
    async with http.post(url, data=PIXEL, headers=headers) as answer:
        return str((await answer.json())["content_uri"])
