"""A broadcast with a file on a real homeserver, and after both it and the bridge were started anew."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp

from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.conftest import BOT
from tests.homeserver.matrix_client import Client, eventually

PEOPLE = ["head", "okafor", "lowe", "chan", "diaz", "north"]
PDF = b"%PDF-1.7 the trip"


async def uploaded(client: Client, data: bytes) -> str:
    url = f"{client.homeserver.url}/_matrix/media/v3/upload?filename=trip.pdf"
    headers = {"Authorization": f"Bearer {client.access_token}", "Content-Type": "application/pdf"}
    async with aiohttp.ClientSession(headers=headers) as http, http.post(url, data=data) as answer:
        return str((await answer.json())["content_uri"])


async def downloaded(client: Client, address: str) -> bytes:
    url = f"{client.homeserver.url}/_matrix/client/v1/media/download/{address.removeprefix('mxc://')}"
    headers = {"Authorization": f"Bearer {client.access_token}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(url) as answer:
        return await answer.read()


async def heard(school: Bridged, client: Client) -> list[dict[str, Any]]:
    """What the bot sent somebody of this broadcast."""
    return [
        event["content"]
        for room in await school.directs(client)
        for event in await client.messages(room)
        if event["sender"] == BOT and "org.qwil.broadcast" in event["content"]
    ]


def forget_that_it_was_done(database: Path) -> None:
    """As a kill leaves it right after the last message went out."""
    with closing(sqlite3.connect(database)) as record, record:
        assert record.execute("UPDATE jobs SET done = NULL WHERE kind = 'broadcast'").rowcount == 1


async def test_a_file_reaches_everybody_meant_once_whatever_is_started_anew(tmp_path: Path) -> None:
    async with bridged(tmp_path, two_schools.policy(), PEOPLE) as school:
        head, okafor, chan, north = await school.clients("head", "okafor", "chan", "north")
        address = await uploaded(head, PDF)
        content = {"msgtype": "m.file", "body": "trip.pdf", "url": address, "info": {"size": len(PDF)}}
        file = await head.send_event(await school.direct(head), "m.room.message", content)
        reply = {"m.in_reply_to": {"event_id": file}}

        await head.send_event(
            await school.direct(head),
            "m.room.message",
            {"msgtype": "m.text", "body": "broadcast year-1 Dear {first_name}", "m.relates_to": reply},
        )

        got = await eventually(lambda: heard(school, chan), lambda messages: len(messages) == 2)
        assert [message["body"] for message in got] == ["Dear Pat\n— Hillside Primary", "trip.pdf"]
        assert await downloaded(chan, got[1]["url"]) == PDF
        assert len(await eventually(lambda: heard(school, okafor), lambda messages: len(messages) == 2)) == 2

        async def shown() -> list[str]:
            return [body for _, body in await school.said(head) if "done, " in body]

        await eventually(shown, bool)
        await school.stop()
        before = await shown()
        assert await heard(school, north) == []
        await school.homeserver.stop()
        forget_that_it_was_done(tmp_path / "qwil.db")
        await school.homeserver.start()
        await school.start()

        await eventually(shown, lambda now: len(now) > len(before))
        assert [len(await heard(school, client)) for client in (okafor, chan)] == [2, 2]
