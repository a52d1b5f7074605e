"""Two bridges never work on one database, and one that was killed is in nobody's way."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import pytest

from bridge import app
from bridge import config as configuration
from bridge.database import StoreRefused
from bridge.registration import fresh_tokens
from bridge.sole import HeldError, sole_user
from tests.homeserver.matrix_client import eventually

HOLDER = """
import asyncio, sys
from bridge import app
from bridge import config as configuration
from bridge.registration import fresh_tokens
from bridge.sole import sole_user

async def hold():
    async with sole_user(sys.argv[1], "qwil run"):
        print("held", flush=True)
        await asyncio.Event().wait()

asyncio.run(hold())
"""


@contextmanager
def another_process(database: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the database, as a bridge does."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, database], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()  # type: ignore[union-attr]


async def test_a_second_bridge_is_refused_and_told_who_holds_the_database(database: str) -> None:
    with another_process(database) as holder, pytest.raises(HeldError) as refusal:
        async with sole_user(database, "qwil run"):
            pass

    said = str(refusal.value)
    assert f"The database is in use by qwil run, process {holder.pid} on {socket.gethostname()}"[:80] in said
    assert "UTC" in said
    assert said.endswith("stop that one first.")


async def test_a_bridge_that_was_killed_is_in_nobodys_way(database: str) -> None:
    with another_process(database) as holder:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        # PostgreSQL learns of it a moment later.
        await eventually(lambda: _free(database), bool)


async def _free(database: str) -> bool:
    try:
        async with sole_user(database, "qwil run"):
            return True
    except HeldError:
        return False


async def test_the_bridge_does_not_start_where_another_works(database: str, tmp_path: Path) -> None:
    tokens = fresh_tokens()
    text = (
        'homeserver: {address: "http://127.0.0.1:1", server_name: school.test}\n'
        f'appservice: {{as_token: "{tokens.as_token}", hs_token: "{tokens.hs_token}"}}\n'
        "policy: policy.yaml\n"
    )
    config = replace(configuration.parse(text, tmp_path / "config.yaml"), database=database)

    async with sole_user(database, "qwil apply"):
        with pytest.raises(app.StartRefused, match=r"in use by qwil apply, process .* stop that one first"):
            await app.run(config)


async def test_who_has_finished_lets_the_next_one_in(database: str) -> None:
    for _ in range(2):
        async with sole_user(database, "qwil run"):
            with pytest.raises(HeldError):
                async with sole_user(database, "qwil apply"):
                    pass


async def test_a_lock_that_is_lost_with_the_connection_is_taken_again(postgres: str) -> None:
    async with sole_user(postgres, "qwil run") as held:
        keeping = asyncio.create_task(held.keep())
        await asyncio.sleep(0)
        first = await _end_the_connection(postgres)
        await eventually(lambda: _holder(postgres), lambda pid: pid not in (None, first))
        with pytest.raises(HeldError):
            async with sole_user(postgres, "qwil apply"):
                pass
        keeping.cancel()


async def test_a_bridge_whose_lock_another_got_meanwhile_ends(postgres: str) -> None:
    async with sole_user(postgres, "qwil run") as held:
        await _end_the_connection(postgres)
        await eventually(lambda: _holder(postgres), lambda pid: pid is None)
        async with sole_user(postgres, "qwil apply"):
            with pytest.raises(HeldError):
                await held.keep()


async def test_a_connection_of_our_own_that_postgresql_has_not_missed_yet_is_waited_for(
    postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as former:
        await former.enter_async_context(sole_user(postgres, "qwil run"))
        taking = asyncio.create_task(_free(postgres))
        await eventually(lambda: "has yet to notice" in caplog.text, bool)
        assert not taking.done()
        await former.aclose()

        assert await taking


async def test_a_database_without_its_folder_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="There is no folder"):
        async with sole_user(f"sqlite:{tmp_path}/none/qwil.db", "qwil run"):
            pass


async def _holder(postgres: str) -> int | None:
    connection = await asyncpg.connect(postgres)
    try:
        pid: int | None = await connection.fetchval(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return pid
    finally:
        await connection.close()


async def _end_the_connection(postgres: str) -> int | None:
    """What a restart of the database does to the lock."""
    pid = await _holder(postgres)
    connection = await asyncpg.connect(postgres)
    try:
        await connection.execute("SELECT pg_terminate_backend($1)", pid)
    finally:
        await connection.close()
    return pid
