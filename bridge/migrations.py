"""The tables of the record, step by step; SQLite and PostgreSQL alike.

A step that has been released is never changed: what is to be different comes as a further step. `version` in the
table `schema_version` counts the steps done, so that an older program can refuse a newer database.
"""

from __future__ import annotations

from mautrix.util.async_db import Connection, Scheme, UpgradeTable

from bridge.search_words import SEARCHED

upgrades = UpgradeTable(version_table_name="schema_version", database_name="record")

COUNTED = {
    "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "postgres": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
}
"""How each database numbers rows by itself, never giving a number twice."""

RECEIVED = (
    # The homeserver's own number is no key: Synapse on SQLite begins again at 1 after a restart.
    """CREATE TABLE transactions (
        number    {counted},
        id        TEXT NOT NULL,
        received  DOUBLE PRECISION NOT NULL,
        oddments  TEXT
    )""",
    """CREATE TABLE events (
        arrival           {counted},
        event_id          TEXT NOT NULL UNIQUE,
        room_id           TEXT NOT NULL,
        sender            TEXT NOT NULL,
        type              TEXT NOT NULL,
        state_key         TEXT,
        origin_server_ts  BIGINT NOT NULL,
        received          DOUBLE PRECISION NOT NULL,
        redacts           TEXT,
        transaction_no    BIGINT,
        json              TEXT NOT NULL
    )""",
    "CREATE INDEX events_of_a_room ON events (room_id, arrival)",
    """CREATE TABLE room_state (
        room_id    TEXT NOT NULL,
        type       TEXT NOT NULL,
        state_key  TEXT NOT NULL,
        arrival    BIGINT NOT NULL REFERENCES events (arrival),
        PRIMARY KEY (room_id, type, state_key)
    )""",
    "CREATE INDEX rooms_by_state ON room_state (type, state_key)",
    """CREATE TABLE waiting (
        arrival     BIGINT PRIMARY KEY REFERENCES events (arrival),
        room_id     TEXT NOT NULL,
        attempts    INTEGER NOT NULL DEFAULT 0,
        not_before  DOUBLE PRECISION NOT NULL DEFAULT 0,
        error       TEXT
    )""",
    """CREATE TABLE set_aside (
        arrival   BIGINT PRIMARY KEY REFERENCES events (arrival),
        since     DOUBLE PRECISION NOT NULL,
        error     TEXT NOT NULL
    )""",
)

TO_BE_DONE = (
    """CREATE TABLE jobs (
        kind        TEXT NOT NULL,
        key         TEXT NOT NULL,
        payload     TEXT NOT NULL,
        due         DOUBLE PRECISION NOT NULL,
        attempts    INTEGER NOT NULL DEFAULT 0,
        last_error  TEXT,
        done        DOUBLE PRECISION,
        PRIMARY KEY (kind, key)
    )""",
    "CREATE INDEX jobs_to_do ON jobs (due) WHERE done IS NULL",
)

DONE = (
    """CREATE TABLE audit (
        number    BIGINT PRIMARY KEY,
        time      DOUBLE PRECISION NOT NULL,
        who       TEXT NOT NULL,
        what      TEXT NOT NULL,
        details   TEXT NOT NULL,
        previous  TEXT NOT NULL,
        hash      TEXT NOT NULL
    )""",
    # One row, whose update is what makes two writers take turns on either database.
    "CREATE TABLE audit_head (number BIGINT NOT NULL, hash TEXT NOT NULL)",
    "INSERT INTO audit_head (number, hash) VALUES (0, '')",
    "CREATE TABLE remembered (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
)


async def begin_the_record(connection: Connection, scheme: Scheme) -> None:
    for statement in RECEIVED + TO_BE_DONE + DONE:
        await connection.execute(statement.replace("{counted}", COUNTED[scheme.value]))


upgrades.register(begin_the_record, description="what was received, what is to be done, what was done")


WORDS = {
    # Without a copy of the texts, which are in the record and never change.
    "sqlite": (
        """CREATE VIRTUAL TABLE event_words USING fts5(words, content='', tokenize='unicode61 remove_diacritics 0')""",
    ),
    "postgres": (
        "CREATE TABLE event_words (arrival BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)",
        "CREATE INDEX events_by_words ON event_words USING GIN (words)",
    ),
}
"""What reviewers search: the words of events, by their place in the order of arrival."""


async def make_the_record_searchable(connection: Connection, scheme: Scheme) -> None:
    # Storing an event only notes that its words are to be read; whoever searches reads those first.
    await connection.execute("CREATE TABLE unread_words (arrival BIGINT PRIMARY KEY)")
    for statement in WORDS[scheme.value]:
        await connection.execute(statement)
    types = ", ".join(f"'{kind}'" for kind in SEARCHED)
    await connection.execute(
        f"INSERT INTO unread_words (arrival) SELECT arrival FROM events WHERE type IN ({types})"  # noqa: S608 - our own types
    )
    await connection.execute("CREATE INDEX audit_by_subject ON audit (what, number)")


upgrades.register(make_the_record_searchable, description="what reviewers search")


NO_WORDS = {
    "sqlite": "INSERT INTO event_words (event_words) VALUES ('delete-all')",  # FTS5, "The 'delete-all' Command"
    "postgres": "TRUNCATE event_words",
}


async def have_every_word_read_again(connection: Connection, scheme: Scheme) -> None:
    # Words were read of fewer places at first: what was written as a reaction or with formatting was not found.
    types = ", ".join(f"'{kind}'" for kind in SEARCHED)
    for statement in (
        NO_WORDS[scheme.value],
        "DELETE FROM unread_words",
        f"INSERT INTO unread_words (arrival) SELECT arrival FROM events WHERE type IN ({types})",  # noqa: S608 - our own types
    ):
        await connection.execute(statement)


upgrades.register(have_every_word_read_again, description="what was recorded before is searched like what comes")
