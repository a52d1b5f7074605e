"""What tests of invitations share: people who are invited, their mails, the page, what the bot said."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged
from tests.homeserver.conftest import BOT
from tests.homeserver.mailbox import Mailbox
from tests.homeserver.matrix_client import Client, eventually

PEOPLE = ["head", "okafor", "lowe", "chan", "diaz", "north", "ode", "reed", "kemp"]
SETTINGS = """
    welcome: {text: "Welcome {first_name} of {organisation}. {unknown}", link: "https://hillside.example/chat"}
    terms: {version: "1", link: "https://hillside.example/terms"}
"""
SECRET = "a long enough secret"


def invited(identifier: str, **more: str) -> str:
    """A line of `people`, of a client who has yet to accept."""
    fields = {"name": identifier.title(), "role": "client", "email": f"{identifier}@home.example", **more}
    return f"      {identifier}: {{{', '.join(f'{key}: {value}' for key, value in fields.items())}, status: invited}}\n"


def with_people(*lines: str, books: str = "", terms: str = "1") -> str:
    return two_schools.policy(
        hillside=[*two_schools.HILLSIDE, *lines],
        year_1=", ".join(["head, okafor, chan, diaz", *filter(None, [books])]),
        more=SETTINGS.strip("\n").replace('"1"', f'"{terms}"') + "\n",
    )


async def mail_to(mailbox: Mailbox, address: str, number: int = 1) -> Any:
    return (await eventually(lambda: _now(mailbox.to(address)), lambda mails: len(mails) >= number))[-1]


async def _now(value: Any) -> Any:
    return value


async def post(web: aiohttp.ClientSession, link: str, **form: str) -> tuple[int, str]:
    async with web.post(link, data=form) as answer:
        return answer.status, await answer.text()


async def get(web: aiohttp.ClientSession, link: str) -> tuple[int, str]:
    async with web.get(link) as answer:
        return answer.status, await answer.text()


def choice(username: str, **more: str) -> dict[str, str]:
    return {"do": "accept", "username": username, "password": SECRET, "again": SECRET, "terms": "1", **more}


async def said_by_bot(client: Client) -> list[str]:
    texts: list[str] = []
    for room in await client.joined_rooms():
        answer = await client.request("GET", f"rooms/{quote(room)}/messages", dir="b", limit=100)
        # A space may have been left since: it comes and goes with its contact book.
        events = answer.body["chunk"][::-1] if answer.status == 200 else []
        texts += [
            event["content"]["body"]
            for event in events
            if event["sender"] == BOT and event["type"] == "m.room.message" and "body" in event["content"]
        ]
    return texts


async def remembered(school: Bridged, prefix: str) -> int:
    """How much the bridge remembers under names that begin so, in a record on SQLite; open or not."""
    with closing(sqlite3.connect(school.settings.database.removeprefix("sqlite:"))) as record:
        found = record.execute("SELECT count(*) FROM remembered WHERE key LIKE ?", (f"{prefix}%",))
        return int(found.fetchone()[0])


async def answer(school: Bridged, client: Client, words: str, wanted: str) -> str:
    """The bot's answer that holds what is wanted; other notices may come in between."""
    before = len([text for text in await said_by_bot(client) if wanted in text])
    await client.send(await school.direct(client), words)

    async def answers() -> list[str]:
        return [text for text in await said_by_bot(client) if wanted in text]

    return str((await eventually(answers, lambda texts: len(texts) > before))[-1])
