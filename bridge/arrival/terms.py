"""Terms that changed have to be accepted again before the next message (TRM-1).

The policy says which version is in force; who accepted which is in the database. Who owes an answer is written into a
file beside the policy, which the Synapse module follows like the policy itself: it refuses their messages from memory.
Where an organisation was first met its version then counts as accepted by everybody: they came before the bridge.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bridge.direct import Direct
from bridge.policy_file import PolicySource
from bridge.store import Store
from policy.model import Membership, Moment, Policy
from policy.reach import present
from policy.terms import owed_file, refusal_text

ACCEPTED = "terms:"
"""`terms:ORGANISATION/IDENTIFIER`: the version somebody accepted."""

AT_FIRST = "terms-at-first:"
"""`terms-at-first:ORGANISATION`: the version in force when the organisation was first met; empty for none."""

TOLD = "terms-told:"
EACH_TURN = 10

log = logging.getLogger("qwil.arrival")


class TermsKept:
    """Knows who has accepted what, and who owes an answer."""

    def __init__(
        self, *, source: PolicySource, store: Store, direct: Direct, clock: Callable[[], Moment] = time.time
    ) -> None:
        self._source = source
        self._store = store
        self._direct = direct
        self._clock = clock
        self._written: frozenset[str] | None = None
        self._told: set[str] | None = None
        self._looked_at: Policy | None = None

    def changed(self) -> None:
        """Somebody accepted: what was worked out is no longer so."""
        self._looked_at = None

    async def work(self) -> bool:
        """Bring the file up to date and tell some of those who owe an answer; whether there are more to tell."""
        policy = self._source.policy
        if policy is self._looked_at or not policy.organisations:
            return False
        owing = await self._owing(policy)
        await self._write(frozenset(member.id for member in owing))
        more = await self._tell(policy, owing)
        if not more:
            self._looked_at = policy
        return more

    async def _owing(self, policy: Policy) -> list[Membership]:
        first = await self._store.recall_all(AT_FIRST)
        for organisation in policy.organisations.values():
            if (key := f"{AT_FIRST}{organisation.identifier}") not in first:
                first[key] = organisation.terms.version if organisation.terms else ""
                await self._store.remember(key, first[key])
        changed = {
            organisation.identifier: organisation.terms.version
            for organisation in policy.organisations.values()
            if organisation.terms and organisation.terms.version != first[f"{AT_FIRST}{organisation.identifier}"]
        }
        if not changed:
            return []
        accepted, now = await self._store.recall_all(ACCEPTED), self._clock()
        return [
            member
            for member in policy.people.values()
            if (version := changed.get(member.organisation)) is not None
            and present(member, now)
            and accepted.get(f"{ACCEPTED}{member.id}") != version
        ]

    async def accept(self, memberships: Sequence[Membership]) -> list[Membership]:
        """Have the terms in force accepted for these memberships; those for which they were owed."""
        policy = self._source.policy
        ours = {member.id for member in memberships}
        owing = [member for member in await self._owing(policy) if member.id in ours]
        for member in owing:
            terms = policy.organisations[member.organisation].terms
            assert terms is not None  # noqa: S101 - they are owed
            await self._store.remember(f"{ACCEPTED}{member.id}", terms.version)
            details = {"person": member.id, "terms": terms.version}
            await self._store.audit(member.matrix or member.id, "terms accepted", details, time=self._clock())
        self.changed()
        await self.work()
        return owing

    async def _write(self, owing: frozenset[str]) -> None:
        """No file where nobody owes anything."""
        if owing == self._written:
            return
        try:
            await asyncio.to_thread(_put, Path(owed_file(str(self._source.path))), owing)
        except OSError as error:
            log.error("Who has to accept new terms cannot be written beside the policy: %s", error.strerror)
            return
        self._written = owing

    async def _tell(self, policy: Policy, owing: Iterable[Membership]) -> bool:
        """Once for every version."""
        if self._told is None:
            self._told = set(await self._store.recall_all(TOLD))
        waiting = []
        for member in owing:
            terms = policy.organisations[member.organisation].terms
            key = f"{TOLD}{member.id} {terms.version if terms else ''}"
            if member.matrix is not None and key not in self._told:
                waiting.append((member, key))
        for member, key in waiting[:EACH_TURN]:
            assert member.matrix is not None  # noqa: S101 - asked above
            text = refusal_text(policy.organisations[member.organisation])
            await self._direct.tell(member.matrix, text, about=key)
            await self._store.remember(key, True)
            self._told.add(key)
        return len(waiting) > EACH_TURN


def _put(file: Path, owing: frozenset[str]) -> None:
    if not owing:
        file.unlink(missing_ok=True)
        return
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.write_text(json.dumps(sorted(owing)), encoding="utf-8")
    draft.chmod(0o644)
    draft.replace(file)
