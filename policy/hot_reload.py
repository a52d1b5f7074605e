"""The policy file on disk, kept in memory: read again within moments of a change, swapped in whole, or not at all.

An edge: it opens files, knows the time and has a thread of its own. Reading goes in small steps with pauses between, so
that the program it runs in can serve people meanwhile. Nothing here knows Synapse.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, TypeVar

from policy.in_turns import quick_turns, thrown_away, turns
from policy.mistake import Mistake, Mistakes, Place
from policy.model import Membership, Policy
from policy.parse import parse_steps
from policy.search import Entry, index_steps

T = TypeVar("T")

logger = logging.getLogger(__name__)

EVERY = 0.25
"""Seconds between two looks at the files."""

STILL = 0.3
"""Seconds for which files have to have been as they are before they are in force.

Whoever writes into a file in its place is in the middle of it meanwhile, and half a file may be a good policy: without
the people who were to follow, who would be taken out of their chats.
"""

_AGAIN = 0.05
"""Seconds between two looks while that is waited for."""

_PAUSE = 0.0008
"""Seconds in which others run after a turn of work."""

AFTERWARDS = 4
"""How many times as long they have while the search is made ready and the policy before is thrown away: decisions
follow at once, this may take longer."""

_LARGE = 10_000
"""From so many memberships on, it shows when they are thrown away, or searched for garbage, all at once."""

_SMALL = (Membership, Entry)


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
        self._indexing: Generator[None, None, None] | None = None
        self._waste: list[Generator[None, None, None]] = []
        """What is being thrown away."""
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def load(self) -> Loaded:
        """Read the files now, without pauses: before the first question is asked there is nobody to make wait."""
        loaded = self._read_again(pause=0)
        self._put_in_force(loaded)
        self._do_chores(pause=0)
        return loaded

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
                if self._changed() or self._indexing or self._waste:
                    with quick_turns():
                        self._catch_up()
            except Exception:  # whatever one look meets, the next one may find the file whole
                logger.exception("The policy %s could not be looked at; the last good one stays in force", self.path)

    def _catch_up(self) -> None:
        if self._changed():
            seen = perf_counter()
            loaded = self._read_again(pause=_PAUSE)
            if self._stand_still(seen):
                self._put_in_force(loaded)
            elif loaded.policy is not None:
                self._waste.append(thrown_away([loaded.policy], _SMALL))
        self._do_chores(pause=_PAUSE * AFTERWARDS)

    def _stand_still(self, since: float) -> bool:
        """Have the files been as they were read for long enough, waiting where need be?"""
        while not (changed := self._changed()) and perf_counter() - since < STILL and not self._end.wait(_AGAIN):
            pass
        return not changed and not self._end.is_set()

    def _changed(self) -> bool:
        return any(_stamp(path) != stamp for path, stamp in self._stamps.items())

    def _read_again(self, pause: float) -> Loaded:
        # Stamped before it is read: a change while it is being read is then seen at the next look.
        self._stamps = {self.path: _stamp(self.path)}
        return self._read(pause)

    def _put_in_force(self, loaded: Loaded) -> None:
        if loaded.policy is not None:
            self.policy, self.digest = loaded.policy, self._reading.hexdigest()
            if self._indexing:
                self._waste.append(thrown_away([self._indexing], _SMALL))
            self._indexing = self._indexed(loaded.policy)
        _log(self.path, loaded, kept=self.policy is not None)
        self._told(loaded)

    def _indexed(self, policy: Policy) -> Generator[None, None, None]:
        """Make the policy ready for searches."""
        yield from index_steps(policy)
        before, self.searchable = self.searchable, policy
        if len(policy.people) >= _LARGE:
            gc.freeze()
        if before is not None and len(before.people) >= _LARGE:
            self._waste.append(thrown_away([before], _SMALL))

    def _do_chores(self, pause: float) -> None:
        """What can wait once a policy is in force; when the files change again in the middle, that goes first."""
        looked, busy = perf_counter(), bool(self._indexing)
        while chore := self._indexing or next(iter(self._waste), None):
            for _ in turns(chore, pause, self._end.wait):
                if self._end.is_set() or (perf_counter() - looked > EVERY and self._changed()):
                    return
            if chore is self._indexing:
                self._indexing = None
            else:
                self._waste.remove(chore)
        if busy:
            logger.info("The policy %s is searched from now on, and the one before it is gone", self.path)

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
        turn = turns(steps, pause, self._end.wait)
        while True:
            try:
                next(turn)
            except StopIteration as end:
                result: T = end.value
                return result


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
