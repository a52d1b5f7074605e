"""The receiver and a real Synapse: what it sends, what it is answered, and that it sends again what was not taken."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bridge import config
from bridge.demo.homeserver import Homeserver, free_port
from bridge.receive import Receiver
from bridge.registration import Tokens, fresh_tokens, registration_text
from bridge.store import Store, StoredEvent
from tests.homeserver.matrix_client import eventually

MESSAGE = {"msgtype": "m.text", "body": "first thing in the morning"}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:{tmp_path}/qwil.db")
    yield opened
    await opened.close()


@asynccontextmanager
async def listening(receiver: Receiver, port: int) -> AsyncIterator[None]:
    app = web.Application()
    receiver.add_routes(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    work = asyncio.ensure_future(receiver.run())
    try:
        yield
    finally:
        work.cancel()
        await asyncio.wait([work])
        await runner.cleanup()


def registered(folder: Path, port: int, tokens: Tokens) -> Path:
    text = (
        "homeserver: {address: 'http://127.0.0.1:1', server_name: qwil.test}\n"
        f"appservice: {{port: {port}, address: 'http://127.0.0.1:{port}'}}\n"
    )
    file = folder / "registration.yaml"
    file.write_text(registration_text(config.parse(text, folder / "config.yaml"), tokens))
    return file


async def test_synapse_sends_again_what_was_said_while_the_bridge_was_away(store: Store, tmp_path: Path) -> None:
    port, tokens = free_port(), fresh_tokens()
    handled: asyncio.Queue[StoredEvent] = asyncio.Queue()
    receiver = Receiver(store, handled.put, hs_token=tokens.hs_token)
    registration = registered(tmp_path, port, tokens)

    async with (
        Homeserver(tmp_path / "synapse", app_services=[registration]) as homeserver,
        aiohttp.ClientSession(homeserver.url) as http,
    ):
        await homeserver.register("p.chan", "a long password")
        login = await homeserver.login("p.chan", "a long password")
        as_chan = {"Authorization": f"Bearer {login.access_token}"}
        async with http.post("/_matrix/client/v3/createRoom", json={"name": "Trip"}, headers=as_chan) as answer:
            room = (await answer.json())["room_id"]
        path = f"/_matrix/client/v3/rooms/{room}/send/m.room.message/1"
        async with http.put(path, json=MESSAGE, headers=as_chan) as answer:
            message = (await answer.json())["event_id"]

        received = []
        async with listening(receiver, port), asyncio.timeout(180):
            while not received or received[-1].event_id != message:
                received.append(await handled.get())
            as_bridge = {"Authorization": f"Bearer {tokens.as_token}"}

            async def ping() -> int:
                async with http.post("/_matrix/client/v1/appservice/qwil/ping", json={}, headers=as_bridge) as answer:
                    return answer.status

            # While it is in the middle of sending again, Synapse 1.163 answers that this cannot be put off (502).
            await eventually(ping, lambda status: status == 200)

    ours = [event for event in received if event.room_id == room]
    assert (ours[0].type, ours[-1].content) == ("m.room.create", MESSAGE)
    assert [event.event_id for event in await store.events(room)] == [event.event_id for event in ours]
    name = await store.state(room, "m.room.name")
    assert name is not None
    assert name.content == {"name": "Trip"}
    assert await store._value("SELECT COUNT(*) FROM transactions WHERE oddments IS NOT NULL") == 0
