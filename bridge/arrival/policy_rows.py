"""Changing rows of the policy for people who arrive, and once more where somebody else saved meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bridge.policy_writer import Author, Changed, PolicyWriter
from policy.change import Change
from policy.edit import Refusal, edit

TRIES = 5


class NotWritten(Exception):
    """The policy is unchanged; the text says why, to an administrator."""


class PolicyRows:
    """Writes rows of the policy file and of the spreadsheets beside it."""

    def __init__(self, writer: PolicyWriter) -> None:
        self._writer = writer
        self._turn = asyncio.Lock()

    async def change(self, changes: Sequence[Change], *, author: Author, summary: str) -> None:
        """Have these changes made; raises `NotWritten`."""
        async with self._turn:
            await asyncio.to_thread(self._change, changes, author, summary)

    def _change(self, changes: Sequence[Change], author: Author, summary: str) -> None:
        for left in reversed(range(TRIES)):
            try:
                self._change_once(changes, author, summary)
                break
            except Changed as changed:
                if not left:
                    raise NotWritten(str(changed)) from changed
            except OSError as error:
                raise NotWritten(f"The policy cannot be written: {error.strerror}.") from error

    def _change_once(self, changes: Sequence[Change], author: Author, summary: str) -> None:
        before, policy = self._writer.read()
        after = edit(before, changes, policy)
        if isinstance(after, Refusal):
            raise NotWritten(after.text)
        self._writer.write(before, after, author=author, summary=summary)
