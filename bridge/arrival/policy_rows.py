"""Making the row of somebody who accepts active, and once more where somebody else saved meanwhile."""

from __future__ import annotations

import asyncio

from bridge.policy_writer import Author, Changed, PolicyWriter
from policy.change import SetField
from policy.edit import Refusal, edit
from policy.model import PersonId, Policy, UserId

TRIES = 5


class NotWritten(Exception):
    """The policy is unchanged; the text says why, to an administrator."""


class NotInvited(NotWritten):
    """Nor will it be: the row says something else by now."""


class PolicyRows:
    """Writes rows of the policy file and of the spreadsheets beside it."""

    def __init__(self, writer: PolicyWriter) -> None:
        self._writer = writer
        self._turn = asyncio.Lock()

    async def accept(self, person: PersonId, matrix: UserId, *, author: Author, summary: str) -> None:
        """Make an invited row active, with this Matrix ID; raises `NotWritten`, and `NotInvited` where it is none.

        The file decides: an administrator may have revoked the invitation while somebody was accepting it.
        """
        async with self._turn:
            await asyncio.to_thread(self._accept, person, matrix, author, summary)

    def _accept(self, person: PersonId, matrix: UserId, author: Author, summary: str) -> None:
        for left in reversed(range(TRIES)):
            try:
                self._accept_once(person, matrix, author, summary)
                break
            except Changed as changed:
                if not left:
                    raise NotWritten(str(changed)) from changed
            except OSError as error:
                raise NotWritten(f"The policy cannot be written: {error.strerror}.") from error

    def _accept_once(self, person: PersonId, matrix: UserId, author: Author, summary: str) -> None:
        before, policy = self._writer.read()
        member = policy.people.get(person) if isinstance(policy, Policy) else None
        if isinstance(policy, Policy) and (member is None or member.status != "invited"):
            raise NotInvited(f"{person} is not invited any more.")
        changes = [SetField(person, "matrix", matrix), SetField(person, "status", "active")]
        after = edit(before, changes, policy)
        if isinstance(after, Refusal):
            raise NotWritten(after.text)
        self._writer.write(before, after, author=author, summary=summary)
