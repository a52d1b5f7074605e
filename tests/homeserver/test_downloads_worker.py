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
from tests.homeserver.conftest import BOT, PASSWORD, SERVER_NAME
from tests.homeserver.matrix_client import eventually
from tests.homeserver.small_redis import SmallRedis
from tests.homeserver.test_downloads import PIXEL
from tests.homeserver.test_module_workers import answers, listener
from tests.homeserver.two_schools import policy

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
    tmp_path: Path, postgres: str, http: aiohttp.ClientSession
) -> None:
    (tmp_path / "policy.yaml").write_text(policy())
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
                await eventually(lambda: answers(http, f"http://127.0.0.1:{port}"), bool, patience=60)
                await gives_them(homeserver, f"http://127.0.0.1:{port}", http)
            finally:
                process.terminate()
                await asyncio.to_thread(process.wait)


async def gives_them(homeserver: Homeserver, files: str, http: aiohttp.ClientSession) -> None:
    """To who is active, and not to Sue Rest, who is suspended."""
    await asyncio.gather(*(homeserver.register(name, PASSWORD) for name in ("okafor", "lowe", "rest")))
    tokens = {name: (await homeserver.login(name, PASSWORD)).access_token for name in ("okafor", "lowe", "rest")}
    headers = {"Authorization": f"Bearer {tokens['okafor']}", "Content-Type": "image/png"}
    async with http.post(f"{files}/_matrix/media/v3/upload", data=PIXEL, headers=headers) as answer:
        media = (await answer.json())["content_uri"].removeprefix("mxc://")

    async def given(name: str) -> int:
        url = f"{files}/_matrix/client/v1/media/download/{media}"
        async with http.get(url, headers={"Authorization": f"Bearer {tokens[name]}"}) as answer:
            return answer.status

    assert [await given(name) for name in tokens] == [200, 200, 403]
