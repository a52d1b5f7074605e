"""Exports the school trip in a process that kills itself at a given step: `export_process.py FOLDER STEP`.

A step is a piece of a file that was fetched, or a volume that was drawn.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bridge.transcript import fonts
from bridge.transcript.assemble import Exported, Settings, export
from tests.transcript.conftest import KEY
from tests.transcript.room import PEOPLE, account, school_trip

VOLUME = 10


@dataclass
class Steps:
    """Counts down to the end."""

    left: int

    def take(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def export_trip(folder: Path, steps: Steps) -> Exported:
    room = school_trip()

    def fetch(mxc: str) -> Iterator[bytes]:
        for piece in room.fetch(mxc):
            steps.take()
            yield piece

    return export(
        account(),
        lambda: iter(room.events),
        PEOPLE,
        fetch,
        work=folder / "work",
        out=folder / "out",
        settings=Settings(KEY, fonts.find(system=False), workers=1, volume_entries=VOLUME),
        progress=steps.take,
    )


if __name__ == "__main__":
    export_trip(Path(sys.argv[1]), Steps(int(sys.argv[2])))
