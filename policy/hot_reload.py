"""The policy file on disk, kept in memory: read again within moments of a change, swapped in whole, or not at all.

An edge: it opens files, knows the time and has a thread of its own. Reading goes in small steps with pauses between, so
that the program it runs in can serve people meanwhile. Nothing here knows Synapse.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, TypeVar

from policy.mistake import Mistake, Mistakes, Place
from policy.model import Policy
from policy.parse import parse_steps
from policy.search import index_steps

T = TypeVar("T")

logger = logging.getLogger(__name__)

EVERY = 0.25
"""Seconds between two looks at the files."""

_WORK = 0.0007
"""Seconds of work before others have their turn."""

SEARCH_PATIENCE = 4
"""How many times as long a turn the others have while the search is made ready: decisions follow at once, search may
take longer."""

_MANY = 1_500
"""Objects made since the last collection, from which on they are set aside."""

_PAUSE = 0.0008
"""Seconds in which others run after so much work."""

_LARGE = 10_000
"""From so many memberships on, it shows when they are thrown away, or searched for garbage, all at once."""

_PIECES = 500


class Loaded(NamedTuple):
    """What a look at the files gave: a policy that is in force now, or the mistakes that keep it from being so."""

    policy: Policy | None
    mistakes: Mistakes = ()


_Stamp = tuple[int, int, int] | None


class PolicyFile:
    """The policy in a file, and the last good one while the file has mistakes.

    `policy` is what decides, None if there never was a good one; `searchable` is the newest that is indexed for
    searching, moments behind where a policy is large. Both may be read from any thread, at any time. `prepare` readies
    a policy before it is in force, in steps like those of `index_steps`; `told` is called with the result of every
    load. Both are called in the thread that loads.
    """

    def __init__(
        self,
        path: Path,
        *,
        prepare: Callable[[Policy], Iterator[None]] = lambda _: iter(()),
        told: Callable[[Loaded], None] = lambda _: None,
    ) -> None:
        # Whoever sets up logging after this file was imported has silenced it by default.
        logger.disabled = False
        self.path = path
        self.policy: Policy | None = None
        self.digest = ""
        """SHA-256, in hexadecimal, of everything the policy in force was read from; empty while there is none."""
        self._reading = hashlib.sha256()
        self.searchable: Policy | None = None
        self._prepare = prepare
        self._told = told
        self._stamps: dict[Path, _Stamp] = {}
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def load(self) -> Loaded:
        """Read the files now, without pauses: before the first question is asked there is nobody to make wait."""
        return self._load(pause=0)

    def watch(self) -> None:
        """Look at the files again and again from now on, in a thread that ends with the program or with `stop`."""
        self._thread = threading.Thread(target=self._watch, name="policy-file", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._end.set()
        if self._thread:
            self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(EVERY):
            try:
                if self._changed():
                    self._load(pause=_PAUSE)
            except Exception:  # whatever one look meets, the next one may find the file whole
                logger.exception("The policy %s could not be looked at; the last good one stays in force", self.path)

    def _changed(self) -> bool:
        return any(_stamp(path) != stamp for path, stamp in self._stamps.items())

    def _load(self, pause: float) -> Loaded:
        # Stamped before it is read: a change while it is being read is then seen at the next look.
        self._stamps = {self.path: _stamp(self.path)}
        loaded = self._read(pause)
        before = self.searchable
        if loaded.policy is not None:
            self.policy, self.digest = loaded.policy, self._reading.hexdigest()
        _log(self.path, loaded, kept=self.policy is not None)
        self._told(loaded)
        if loaded.policy is not None:
            self._run(_whole(index_steps(loaded.policy)), pause * SEARCH_PATIENCE)
            self.searchable = loaded.policy
            self._clear_away(before, loaded.policy, pause)
        return loaded

    def _read(self, pause: float) -> Loaded:
        try:
            text = self.path.read_bytes()
        except OSError as error:
            mistake = Mistake(Place(self.path.name, 1, 1), f"the file cannot be read: {error.strerror}")
            return Loaded(None, (mistake,))
        self._reading = hashlib.sha256(text)
        parsed = self._run(parse_steps(text, self._beside, name=self.path.name, before=self.policy), pause)
        if not isinstance(parsed, Policy):
            return Loaded(None, parsed)
        self._run(_whole(self._prepare(parsed)), pause)
        return Loaded(parsed)

    def _beside(self, name: str) -> bytes:
        """The contents of a spreadsheet beside the file, watched from now on, also while it is missing."""
        path = self.path.parent / name
        self._stamps[path] = _stamp(path)
        content = path.read_bytes()
        self._reading.update(content)
        return content

    def _run(self, steps: Generator[None, None, T], pause: float) -> T:
        rested = perf_counter()
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            if pause and perf_counter() - rested > _WORK:
                _spare_the_collector()
                self._end.wait(pause)
                rested = perf_counter()

    def _clear_away(self, old: Policy | None, new: Policy, pause: float) -> None:
        """Throw the old policy away in pieces, and keep the collector of garbage from reading through the new one."""
        if len(new.people) >= _LARGE:
            gc.freeze()
        if old is None or len(old.people) < _LARGE:
            return
        # Held one by one, they outlive what holds them together, and go in their turn.
        pieces = [*_parts(_parts(old.memo.values())), *old.people.values()]
        del old
        gc.freeze()
        while pieces:
            del pieces[-_PIECES:]
            self._end.wait(pause)


def _spare_the_collector() -> None:
    """Synapse collects garbage about once a second, and would walk through all that has been made of a large file."""
    if gc.get_count()[0] > _MANY:
        gc.collect(0)
        gc.freeze()


def _parts(wholes: Iterable[object]) -> list[object]:
    return list(chain.from_iterable(gc.get_referents(whole) for whole in wholes))


def _whole(steps: Iterator[None]) -> Generator[None, None, None]:
    yield from steps


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _log(path: Path, loaded: Loaded, *, kept: bool) -> None:
    if loaded.policy is not None:
        logger.info("The policy %s is in force: %d memberships", path, len(loaded.policy.people))
        return
    state = "the last good one stays in force" if kept else "until it is right nobody can do anything"
    lines = "\n".join(str(mistake) for mistake in loaded.mistakes)
    logger.error("The policy %s has mistakes; %s:\n%s", path, state, lines)
