"""The audit: what was refused, what was changed and by whom, each line chained to the one before by its hash.

Commands, administration and `apply` append their own lines (`Store.audit`); here are the lines about the policy itself,
and reading, checking and handing out the whole.

A chain shows what was changed, left out or put in between. That its end was cut off shows only in comparison with a
number and hash noted earlier, which is why `verify` names those of the last line.
"""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from math import inf
from typing import Any, NamedTuple

from bridge.ledger import AuditEntry, broken_link
from bridge.store import Store
from policy.change import Files
from policy.differences import differences, fingerprint
from policy.edit import policy_in
from policy.mistake import Mistakes
from policy.model import Moment, Policy

POLICY = "audit:policy"
"""Under which name the fingerprint of the policy last noted is remembered."""

FILES = "audit:policy files"
"""Under which name its files are: what is different is told also of a policy that came while no bridge ran."""

THE_FILE = "the policy file"
"""Who changed the policy, as far as the bridge can see; whoever did it by the bot has a line of their own."""

LISTED = 1000
"""Differences, or mistakes, in one line of the audit."""

PAGE = 1000


class PolicyLog:
    """Notes every policy that comes into force, and every one that did not."""

    def __init__(
        self, store: Store, files_of: Callable[[Policy], Files | None], clock: Callable[[], Moment] = time.time
    ) -> None:
        self._store = store
        self._files_of = files_of
        """The files of the policy in force, None of any other."""
        self._clock = clock
        self._noted: Policy | None = None
        self._unkept: tuple[str, Policy] | None = None

    async def note(self, policy: Policy) -> None:
        """The policy is in force; one that says what the last one said is not noted again."""
        if policy is self._noted or not policy.organisations:
            return
        before, self._noted = self._noted, policy
        known = await self._store.recall(POLICY)
        now = await asyncio.to_thread(fingerprint, policy)
        self._unkept = now, policy
        if now == known:
            return
        before = before or await self._kept(known)
        details = {"before": known, "after": now, **await asyncio.to_thread(_told, before, policy)}
        await self._store.audit(THE_FILE, "policy", details, time=self._clock())
        await self._store.remember(POLICY, now)

    async def keep(self) -> None:
        """Keep the files of what was noted last, if they still are its own; nobody has to wait for it."""
        unkept, self._unkept = self._unkept, None
        if unkept is None:
            return
        mark, policy = unkept

        def packed() -> dict[str, Any] | None:
            files = self._files_of(policy)
            return {"mark": mark, "name": files.name, "files": _packed(files)} if files is not None else None

        try:
            kept = await asyncio.to_thread(packed)
        except OSError:
            # Whoever saves them just now has them noted anew.
            return
        if kept is not None:
            await self._store.remember(FILES, kept)

    async def _kept(self, mark: str | None) -> Policy | None:
        """The policy of that fingerprint, if its files are kept."""
        kept = await self._store.recall(FILES)
        if kept is None or kept["mark"] != mark:
            return None
        found = await asyncio.to_thread(lambda: policy_in(_unpacked(kept["name"], kept["files"])))
        return found if isinstance(found, Policy) else None

    async def note_mistakes(self, mistakes: Mistakes) -> None:
        """A policy was saved and did not come into force."""
        listed = [str(mistake) for mistake in mistakes[:LISTED]]
        details = {"mistakes": listed, "more": len(mistakes) - len(listed)}
        await self._store.audit(THE_FILE, "policy with mistakes", details, time=self._clock())


def _told(before: Policy | None, after: Policy) -> dict[str, Any]:
    """What is different, as far as the policy before is still known."""
    if before is None:
        return {"differences": None}
    texts = [difference.text for difference in differences(before, after)]
    return {"differences": texts[:LISTED], "more": max(len(texts) - LISTED, 0)}


def _packed(files: Files) -> dict[str, str]:
    every = {files.name: files.text, **files.beside}
    return {name: b64encode(zlib.compress(data)).decode() for name, data in every.items()}


def _unpacked(name: str, packed: Mapping[str, str]) -> Files:
    every = {one: zlib.decompress(b64decode(data)) for one, data in packed.items()}
    return Files(name, every.pop(name), every)


class Checked(NamedTuple):
    """What looking through the whole audit found."""

    lines: int
    hash: str
    """Of the last line that is as it should be."""
    broken: int | None
    """The number of the first line that is not."""


async def verify(store: Store) -> Checked:
    """Look through the whole audit, a page at a time, and compare its end with what the record keeps of it."""
    number, digest = 0, ""
    while page := await store.audit_entries(after=number, limit=PAGE):
        broken = broken_link(page, after=number, previous=digest)
        if broken is not None:
            good = page[: broken - number - 1]
            return Checked(broken - 1, good[-1].hash if good else digest, broken)
        number, digest = page[-1].number, page[-1].hash
    whole = await store.audit_head() == (number, digest)
    return Checked(number, digest, None if whole else number + 1)


async def entries(
    store: Store, *, who: str = "", what: str = "", about: str = "", since: Moment = 0, until: Moment = inf
) -> AsyncIterator[AuditEntry]:
    """The lines in their order in which `who`, `what` and anywhere `about` occur, from one moment to before another."""
    number = 0
    while page := await store.audit_entries(after=number, limit=PAGE):
        for entry in page:
            sought = ((who, entry.who), (what, entry.what), (about, f"{entry.who} {entry.what} {entry.details}"))
            fits = all(word.casefold() in text.casefold() for word, text in sought)
            if fits and since <= entry.time < until:
                yield entry
        number = page[-1].number


def as_data(entry: AuditEntry) -> dict[str, Any]:
    """A line for programs: `details` as it was hashed, so that whoever has all lines can check the chain."""
    return entry._asdict()


def as_text(entry: AuditEntry) -> str:
    """A line for people."""
    moment = datetime.fromtimestamp(entry.time, UTC).strftime("%Y-%m-%d %H:%M:%S")
    did = "was refused" if entry.what == "refused" else entry.what
    words = "; ".join(_words(json.loads(entry.details)))
    return f"{entry.number} {moment}Z {entry.who}: {did}{': ' if did != entry.what and words else ' '}{words}".rstrip()


def _words(details: Any) -> Iterator[str]:
    """What a line holds, in one line; lists are counted where they are long."""
    for name, value in details.items():
        if isinstance(value, list):
            several = [_change(one) if isinstance(one, dict) else str(one) for one in value]
            value = ", ".join(several) if len(value) <= 5 else f"{len(value)} of them"
        if value not in (None, "", 0) and (name, value) != ("times", 1) and name != "first":
            yield f"{value}" if name in ("what", "command", "changes") else f"{name} {value}"


def _change(change: Mapping[str, Any]) -> str:
    """One change of the policy, `hill/pat: status: active → left`."""
    whom = change.get("person") or change.get("organisation") or ""
    field = change.get("field") or (f"contact book {change['book']}" if change.get("book") else "")
    before, after = (_side(change.get(side)) for side in ("before", "after"))
    return ": ".join(filter(None, [str(whom), field, f"{before} → {after}"]))


def _side(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {', '.join(one) if isinstance(one, list) else one}" for name, one in value.items())
    return str(value or "nothing")
