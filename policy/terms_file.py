"""Who owes an answer to new terms, followed like the policy: read by a thread, asked from memory (TRM-1)."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from policy.terms import Owed, owed_file, owing

EVERY = 0.5
"""Seconds between looks at the file."""

_LARGEST = 64 * 1024 * 1024
"""Bytes."""

logger = logging.getLogger(__name__)

_Stamp = tuple[int, int, int] | None


class OwedFile:
    """The file beside a policy that the bridge writes; without it nobody owes anything."""

    def __init__(self, policy: Path) -> None:
        self._path = Path(owed_file(str(policy)))
        self._stamp: _Stamp = None
        self.people = Owed()
        """Those who owe an answer; replaced as a whole."""

    def load(self) -> None:
        """Read the file if it changed; one that cannot be read leaves what was known."""
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        try:
            self.people = owing(self._path.read_bytes()) if stamp is not None else Owed()
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be read, who owes an answer to new terms stays as it was: %s", self._path, error)
        self._stamp = stamp

    def watch(self) -> None:
        """Follow the file from now on, in a thread that ends with the process."""
        threading.Thread(target=self._follow, name="qwil-terms", daemon=True).start()

    def _follow(self) -> None:
        pause = threading.Event()
        while not pause.wait(EVERY):
            self.load()

    def _stamp_now(self) -> _Stamp:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino) if found.st_size <= _LARGEST else None
