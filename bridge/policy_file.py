"""The policy file, as the bridge reads it once or follows it while it runs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

from policy.change import Files
from policy.hot_reload import Loaded, PolicyFile
from policy.locate import Places, places
from policy.mistake import Mistakes
from policy.model import Policy
from policy.parse import SPREADSHEETS, Spreadsheets, parse


def load(path: Path, before: Policy | None = None) -> Policy | Mistakes:
    """The policy in that file and beside it, or all mistakes; raises OSError where the file itself cannot be read."""
    return parse(path.read_bytes(), lambda name: (path.parent / name).read_bytes(), name=path.name, before=before)


def places_of(path: Path) -> Places:
    """Where everything in that file and beside it stands; raises OSError where the file itself cannot be read."""
    return places(path.read_bytes(), lambda name: (path.parent / name).read_bytes(), name=path.name)


class PolicySource:
    """The policy in force, and what happens when a saved file changes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = PolicyFile(path, told=self._told)
        self._loaded: asyncio.Queue[Loaded] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def policy(self) -> Policy:
        """The last good one; nobody is in it while there was none."""
        return self._file.policy or Policy()

    @property
    def digest(self) -> str:
        """What the policy in force was read from, as the module says it too."""
        return self._file.digest

    def files_of(self, policy: Policy) -> Files | None:
        """The files that this policy was read from, if it is in force and they still lie there; raises OSError."""
        if policy is not self._file.policy:
            return None
        read: Spreadsheets = policy.memo.get(SPREADSHEETS, {})
        text, sheets = self.path.read_bytes(), [sheet.data for sheet in read.values()]
        if hashlib.sha256(b"".join((text, *sheets))).hexdigest() != self._file.digest:
            return None
        return Files(self.path.name, text, {sheet.path: sheet.data for sheet in read.values()})

    def load(self) -> None:
        """Read it for the first time."""
        self._file.load()

    async def watch(
        self, changed: Callable[[], Awaitable[None]], broken: Callable[[Mistakes], Awaitable[None]]
    ) -> NoReturn:
        """Follow the files until cancelled: `changed` is awaited after a good edit, `broken` after a bad one."""
        self._loop = asyncio.get_running_loop()
        self._file.watch()
        try:
            while True:
                loaded = await self._loaded.get()
                await (broken(loaded.mistakes) if loaded.policy is None else changed())
        finally:
            self._file.stop()

    def _told(self, loaded: Loaded) -> None:
        """From the thread that watches to the loop that acts."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loaded.put_nowait, loaded)
