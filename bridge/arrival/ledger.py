"""Every invitation as it stands, in the database and in memory; a change is one write and survives a kill."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace

from bridge.arrival.bounce import mark_of
from bridge.arrival.invitation import Invitation, as_json, from_json
from bridge.store import Store
from policy.model import Moment, PersonId

INVITATION = "invitation:"
NOTE = "invitation-note:"
KEY = "bounce-key"
"""Of the marks in the addresses that mails come back to."""


class Ledger:
    """The invitations of everybody."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._invitations: dict[PersonId, Invitation] = {}
        self._by_link: dict[str, PersonId] = {}
        self._key = b""
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read everything from the database."""
        for kept in (await self._store.recall_all(INVITATION)).values():
            self._hold(from_json(kept))
        key = await self._store.recall(KEY)
        if key is None:
            key = secrets.token_hex(32)
            await self._store.remember(KEY, key)
        self._key = bytes.fromhex(key)

    def __iter__(self) -> Iterator[Invitation]:
        return iter(list(self._invitations.values()))

    def get(self, person: PersonId) -> Invitation | None:
        """Somebody's invitation, whatever became of it."""
        return self._invitations.get(person)

    def with_link(self, token_hash: str) -> Invitation | None:
        """The invitation that this link, old or new, belongs to.

        What is looked up is the hash of a long random secret: how long it takes tells nothing about any other.
        """
        person = self._by_link.get(token_hash)
        return self._invitations.get(person) if person is not None else None

    def mark(self, invitation: Invitation) -> str:
        """What tells, in the address that its mails come back to, whose they were."""
        return mark_of(invitation, self._key)

    def with_mark(self, mark: str) -> Invitation | None:
        """The invitation with this mark as it stands; none for one that was corrected, made anew, or made up."""
        return next((one for one in self if hmac.compare_digest(self.mark(one), mark)), None)

    async def put(self, invitation: Invitation) -> Invitation:
        """Keep an invitation in place of the one before, whatever became of that."""
        async with self._changing:
            await self._write(invitation)
        return invitation

    async def change(self, person: PersonId, how: Callable[[Invitation], Invitation]) -> Invitation | None:
        """Somebody's invitation after `how` was done to it as it stands by then; none where there is none.

        Changes wait for each other: somebody declines while the mail server still says that it took their mail, and
        what is noted of the mail must not undo that.
        """
        async with self._changing:
            known = self._invitations.get(person)
            changed = how(known) if known is not None else None
            if changed is not None and changed != known:
                await self._write(changed)
            return changed

    async def _write(self, invitation: Invitation) -> None:
        await self._store.remember(f"{INVITATION}{invitation.person}", as_json(invitation))
        self._hold(invitation)

    async def keep_note(self, person: PersonId, note: str) -> None:
        """The personal note for an invitation that is about to be made (INV-10), whatever there was before it."""
        await self._store.remember(f"{NOTE}{person}", note)
        await self.change(person, lambda known: replace(known.withdrawn(), note=note))

    async def note(self, person: PersonId) -> str:
        """The personal note kept for somebody, else none."""
        return str(await self._store.recall(f"{NOTE}{person}", ""))

    def next_mail(self) -> Moment | None:
        """When the next mail is due."""
        return min((one.next_mail for one in self._invitations.values() if one.next_mail is not None), default=None)

    def _hold(self, invitation: Invitation) -> None:
        self._invitations[invitation.person] = invitation
        for link in (*invitation.replaced, invitation.link):
            if link:
                self._by_link[link] = invitation.person
