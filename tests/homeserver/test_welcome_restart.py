"""Who arrives in a German school is greeted and announced in German, and once, whatever is started anew."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.homeserver import two_schools
from tests.homeserver.arriving import remembered, said_by_bot
from tests.homeserver.bridged import bridged
from tests.homeserver.matrix_client import Client, eventually

PEOPLE = ["head", "okafor", "chan", "diaz", "fresh"]
FRESH = '      fresh: {name: Nia Fresh, role: client, email: fresh@home.example, matrix: "@fresh:qwil.test"}\n'
GERMAN = "    language: de\n"


def as_if_killed(database: Path) -> None:
    """As a kill leaves it right after the last of the messages went out."""
    with closing(sqlite3.connect(database)) as record, record:
        moved = "UPDATE remembered SET key = 'meeting:hillside/fresh' WHERE key = 'met:hillside/fresh'"
        assert record.execute(moved).rowcount == 1


async def test_a_newcomer_is_greeted_and_announced_in_the_schools_language_and_once_whatever_is_started_anew(
    tmp_path: Path,
) -> None:
    database = tmp_path / "qwil.db"
    async with bridged(tmp_path, two_schools.policy(more=GERMAN), PEOPLE) as school:
        okafor, fresh = await school.clients("okafor", "fresh")
        await eventually(lambda: remembered(school, "met-at-first"), lambda number: number == 1)
        people, books = [*two_schools.HILLSIDE, FRESH], "head, okafor, chan, diaz, fresh"
        school.edit(two_schools.policy(hillside=people, year_1=books, more=GERMAN))

        welcome = "Willkommen bei Hillside Primary, Nia. Ich bin der Bot von Hillside Primary: Schreiben Sie „help“"
        joined = "Nia Fresh ist jetzt bei Hillside Primary: Sie können nun miteinander chatten."
        await eventually(lambda: heard(fresh, welcome), lambda number: number == 1)
        await eventually(lambda: heard(okafor, joined), lambda number: number == 1)
        await eventually(lambda: remembered(school, "met:"), lambda number: number == 1)
        await school.stop()
        await school.homeserver.stop()
        as_if_killed(database)
        await school.homeserver.start()
        await school.start()

        await eventually(lambda: remembered(school, "met:"), lambda number: number == 1)
        await eventually(lambda: remembered(school, "meeting:"), lambda number: number == 0)
        assert (await heard(fresh, welcome), await heard(okafor, joined)) == (1, 1)


async def heard(client: Client, beginning: str) -> int:
    return len([text for text in await said_by_bot(client) if text.startswith(beginning)])
