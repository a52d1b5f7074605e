"""The policy file and the spreadsheets beside it, read from disk and watched for changes.

A mistake never takes effect: the last good policy stays in force, and its mistakes are told to whoever watches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from policy.mistake import Mistake, Mistakes, Place
from policy.model import Policy
from policy.parse import parse_steps

LOOK_EVERY = 0.5
"""Seconds between two looks at the files: a saved file takes effect within 2."""

Stamp = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and time of change of every file the policy is made of."""

log = logging.getLogger("qwil.policy")


def load(path: Path, before: Policy | None = None) -> Policy | Mistakes:
    """The policy in that file, or all its mistakes; raises OSError where the file itself cannot be read."""
    return PolicyFile(path).read(before)


@dataclass
class PolicyFile:
    """One policy file on disk, and which files were read with it the last time."""

    path: Path
    _names: list[str] = field(default_factory=list)

    def read(self, before: Policy | None = None) -> Policy | Mistakes:
        """Parse it; raises OSError where the file itself cannot be read."""
        steps = self.steps(before)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: Policy | Mistakes = end.value
                return result

    def steps(self, before: Policy | None = None) -> Generator[None, None, Policy | Mistakes]:
        """The same in steps of about a millisecond."""
        text = self.path.read_bytes()
        self._names = []
        return (yield from parse_steps(text, self._read_beside, name=self.path.name, before=before))

    def _read_beside(self, name: str) -> bytes:
        self._names.append(name)
        return (self.path.parent / name).read_bytes()

    def stamp(self) -> Stamp:
        """What changes when somebody saves one of the files."""
        stamps = []
        for name in (self.path.name, *self._names):
            try:
                found = (self.path.parent / name).stat()
                stamps.append((name, found.st_ino, found.st_size, found.st_mtime_ns))
            except OSError:
                stamps.append((name, 0, 0, 0))
        return tuple(stamps)


class PolicySource:
    """The policy in force, and what to do when a saved file changes it."""

    def __init__(self, path: Path) -> None:
        self._file = PolicyFile(path)
        self._stamp: Stamp = ()
        self.policy = Policy()
        self.mistakes: Mistakes = ()

    def load(self) -> None:
        """Read the file for the first time; with mistakes in it nobody is in the policy."""
        self._stamp, (self.policy, self.mistakes) = self._read(None)
        for mistake in self.mistakes:
            log.error("%s", mistake)

    async def watch(
        self, changed: Callable[[], Awaitable[None]], broken: Callable[[Mistakes], Awaitable[None]]
    ) -> NoReturn:
        """Follow the files until cancelled: call `changed` after a good edit, `broken` after a bad one."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if await asyncio.to_thread(self._file.stamp) == self._stamp:
                continue
            before = self.policy if self.policy.people else None
            self._stamp, (policy, self.mistakes) = await asyncio.to_thread(self._read, before)
            if self.mistakes:
                for mistake in self.mistakes:
                    log.error("%s", mistake)
                log.error("The last good policy stays in force until the file has no mistakes.")
                await broken(self.mistakes)
            else:
                self.policy = policy
                log.info("The policy was read anew: %d people.", len(policy.people))
                await changed()

    def _read(self, before: Policy | None) -> tuple[Stamp, tuple[Policy, Mistakes]]:
        """The stamp is taken first: a file saved while it is read is read once more.

        Which spreadsheets belong to it is known after the reading only; one that was not watched before is stamped
        then.
        """
        before_reading = _by_name(self._file.stamp())
        try:
            result = self._file.read(before)
        except OSError as error:
            place = Place(self._file.path.name, 1, 1)
            mistake = Mistake(place, f"this file cannot be read: {error.strerror}")
            result = (mistake,)
        stamp = tuple(before_reading.get(entry[0], entry) for entry in self._file.stamp())
        return stamp, ((result, ()) if isinstance(result, Policy) else (Policy(), result))


def _by_name(stamp: Stamp) -> dict[str, tuple[str, int, int, int]]:
    return {entry[0]: entry for entry in stamp}
