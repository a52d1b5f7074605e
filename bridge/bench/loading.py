"""Loading a policy from YAML and CSV against the bare `csv` module with the same rows: time, and memory at its peak."""

from __future__ import annotations

import csv
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from bridge.bench.measure import Row, in_turns
from bridge.bench.size import Say, Size
from bridge.bench.world import ORGANISATIONS, World
from bridge.policy_file import load
from policy.parse import parse

NAME = "loading"
TIMES, MEBIBYTES = 4, 400

CHILD = "import sys; from bridge.bench.loading import peak_after; print(peak_after(sys.argv[1], sys.argv[2]))"
"""Memory at its peak can only be told of a process that does nothing else."""


def measure(size: Size, say: Say) -> Iterator[Row]:
    """The rows: time, then memory."""
    say(f"loading: writing a policy of {size.people:,} people")
    world = World(size.people)
    text, sheets = world.text.encode(), world.sheets
    say("loading: against the csv module")
    turns = in_turns(lambda: parse(text, sheets.__getitem__), lambda: read_rows(sheets), size.rounds)
    what = f"{size.people:,} people in {ORGANISATIONS} CSV files, {text.count(b'description:'):,} books in YAML"
    detail = f"{min(turns.ours) * 1e3:.0f} ms against {min(turns.theirs) * 1e3:.0f} ms"
    yield Row(NAME, f"{what}: time against the bare csv module", turns.ratios, TIMES, detail=detail)
    say("loading: memory")
    with TemporaryDirectory(prefix="qwil-bench-") as folder:
        for name, data in {"policy.yaml": text, **sheets}.items():
            Path(folder, name).write_bytes(data)
        ours, floor = (_peak(way, folder) for way in ("policy", "csv"))
    detail = f"the csv module with the same rows {floor:.0f} MiB, interpreter included in both"
    yield Row(NAME, f"{what}: memory at its peak", (ours,), MEBIBYTES, unit=" MiB", detail=detail)


def read_rows(sheets: Mapping[str, bytes]) -> list[list[list[str]]]:
    """Every row of every sheet, as the csv module gives them."""
    return [list(csv.reader(StringIO(data.decode(), newline=""))) for data in sheets.values()]


def peak_after(way: str, folder: str) -> float:
    """Load the files of that folder in one of the two ways; the greatest size of this process in MiB."""
    if way == "csv":
        loaded: object = read_rows({sheet.name: sheet.read_bytes() for sheet in Path(folder).glob("*.csv")})
    else:
        loaded = load(Path(folder, "policy.yaml"))
    if isinstance(loaded, tuple):
        raise AssertionError(f"the synthetic policy has a mistake: {loaded[0]}")
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage says includes the size of the parent at the moment of the fork.
        return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 ** (2 if sys.platform == "darwin" else 1)


def _peak(way: str, folder: str) -> float:
    child = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", CHILD, way, folder], capture_output=True, text=True, check=True
    )
    return float(child.stdout)
