"""What is to be done, what was done by whom, and what is kept under a name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bridge.database import Connected, StoreRefused
from policy.model import Moment

HEADLESS = (
    "The audit has lost its end (the row in audit_head), so that nothing can be put on record: somebody has changed "
    "the database. qwil audit verify says which lines are whole; restore the database from a backup."
)


class Job(NamedTuple):
    """Something to be done at least once; `kind` and `key` together name it for ever."""

    kind: str
    key: str
    payload: Any
    due: Moment
    attempts: int
    last_error: str | None


class AuditEntry(NamedTuple):
    """One line of the audit; `hash` covers everything before it in the line and the hash of the line before."""

    number: int
    time: Moment
    who: str
    what: str
    details: str
    previous: str
    hash: str


class Ledger(Connected):
    """The jobs, the audit and the memory of a bridge."""

    async def add_job(self, kind: str, key: str, payload: Any = None, *, due: Moment) -> bool:
        """Write down something to be done, once for every `kind` and `key`, also after it was done; False if known."""
        row = await self._fetch(
            "INSERT INTO jobs (kind, key, payload, due) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (kind, key) DO NOTHING RETURNING key",
            kind, key, as_json(payload), due,
        )  # fmt: skip
        return bool(row)

    async def due_jobs(self, now: Moment, limit: int = 100) -> list[Job]:
        """What is to be done now, the longest due first; a job stays due until `finish_job` or `postpone_job`."""
        rows = await self._fetch(
            "SELECT kind, key, payload, due, attempts, last_error FROM jobs"
            " WHERE done IS NULL AND due <= $1 ORDER BY due, kind, key LIMIT $2",
            now, limit,
        )  # fmt: skip
        return [Job(kind, key, json.loads(payload), *rest) for kind, key, payload, *rest in map(tuple, rows)]

    async def next_job(self) -> Moment | None:
        """When the next job is due, if there is one."""
        due: Moment | None = await self._value("SELECT MIN(due) FROM jobs WHERE done IS NULL")
        return due

    async def finish_job(self, job: Job, *, done: Moment) -> None:
        """The job was done; its name stays taken."""
        await self._execute("UPDATE jobs SET done = $3 WHERE kind = $1 AND key = $2", job.kind, job.key, done)

    async def postpone_job(self, job: Job, *, due: Moment, error: str) -> None:
        """The job failed and is due again later."""
        await self._execute(
            "UPDATE jobs SET attempts = attempts + 1, due = $3, last_error = $4 WHERE kind = $1 AND key = $2",
            job.kind, job.key, due, storable(error),
        )  # fmt: skip

    async def audit(self, who: str, what: str, details: Mapping[str, Any], *, time: Moment) -> AuditEntry:
        """Append one line to the audit, chained to the line before by its hash.

        Raises `StoreRefused` where somebody has taken away what the record keeps of its end.
        """
        return await self._write(self._audit(storable(who), storable(what), as_json(details), time))

    async def _audit(self, who: str, what: str, details: str, time: Moment) -> AuditEntry:
        async with self._transaction() as database:
            head = await database.fetchrow("UPDATE audit_head SET number = number + 1 RETURNING number, hash")
            if head is None:
                raise StoreRefused(HEADLESS)
            number, previous = head
            digest = audit_hash(number, time, who, what, details, previous)
            entry = AuditEntry(number, time, who, what, details, previous, digest)
            await database.execute(
                "INSERT INTO audit (number, time, who, what, details, previous, hash)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7)",
                *entry,
            )
            await database.execute("UPDATE audit_head SET hash = $1", digest)
            return entry

    async def audit_entries(self, *, after: int = 0, limit: int = 1000) -> list[AuditEntry]:
        """The audit in its order, a page at a time: `after` is the last number seen."""
        rows = await self._fetch(
            "SELECT number, time, who, what, details, previous, hash FROM audit"
            " WHERE number > $1 ORDER BY number LIMIT $2",
            after, limit,
        )  # fmt: skip
        return [AuditEntry(*row) for row in map(tuple, rows)]

    async def audit_about(self, subjects: Sequence[str], *, since: Moment) -> list[AuditEntry]:
        """The lines of the audit about one of these subjects from a moment on, in their order."""
        marks = ", ".join(f"${number}" for number in range(2, len(subjects) + 2))
        rows = await self._fetch(
            f"SELECT number, time, who, what, details, previous, hash FROM audit"  # noqa: S608 - numbered marks
            f" WHERE time >= $1 AND what IN ({marks}) ORDER BY number",
            since, *subjects,
        )  # fmt: skip
        return [AuditEntry(*row) for row in map(tuple, rows)]

    async def audit_head(self) -> tuple[int, str] | None:
        """Number and hash of the last line, what a whole audit ends with; None where somebody has taken that away."""
        rows = await self._fetch("SELECT number, hash FROM audit_head")
        return (rows[0][0], rows[0][1]) if rows else None

    async def remember(self, key: str, value: Any) -> None:
        """Keep a JSON value under a name, in place of any other."""
        await self._execute(
            "INSERT INTO remembered (key, value) VALUES ($1, $2)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            key, as_json(value),
        )  # fmt: skip

    async def recall(self, key: str, default: Any = None) -> Any:
        """The value kept under this name, else the default."""
        value = await self._value("SELECT value FROM remembered WHERE key = $1", key)
        return default if value is None else json.loads(value)

    async def recall_all(self, prefix: str) -> dict[str, Any]:
        """Every name that begins so, with its value."""
        rows = await self._fetch(
            "SELECT key, value FROM remembered"
            " WHERE substr(key, 1, length(CAST($1 AS TEXT))) = CAST($1 AS TEXT) ORDER BY key",
            prefix,
        )
        return {key: json.loads(value) for key, value in map(tuple, rows)}

    async def forget(self, key: str) -> None:
        """Keep nothing under this name."""
        await self._execute("DELETE FROM remembered WHERE key = $1", key)


def as_json(value: Any) -> str:
    """Compact JSON that both databases can keep: a lone surrogate, which is no UTF-8, stays escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def audit_hash(number: int, time: Moment, who: str, what: str, details: str, previous: str) -> str:
    """SHA-256, in hexadecimal, of an audit line: a JSON array of its fields and the hash before it."""
    line = json.dumps([number, time, who, what, details, previous], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(line.encode()).hexdigest()


def broken_link(entries: Iterable[AuditEntry], *, after: int = 0, previous: str = "") -> int | None:
    """The number of the first line that was changed, added or left out, or None; `previous` is the hash before them."""
    for expected, entry in enumerate(entries, after + 1):
        chained = audit_hash(entry.number, entry.time, entry.who, entry.what, entry.details, previous)
        if (entry.number, entry.previous, entry.hash) != (expected, previous, chained):
            return expected
        previous = entry.hash
    return None


def storable(text: str) -> str:
    """The text without what a database column cannot hold: NUL (PostgreSQL) and lone surrogates (both)."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
