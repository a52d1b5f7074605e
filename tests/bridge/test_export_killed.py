"""kill -9 in the middle of an export: it goes on, and nobody gets anything twice."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.store import Store

ROOT = Path(__file__).parents[2]


# The first message, the first file, the second file, the last word.
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
async def test_an_export_goes_on_after_a_kill(database: str, tmp_path: Path, steps: int) -> None:
    command = [sys.executable, "-m", "tests.bridge.export_jobs_process", database, str(tmp_path)]
    killed = await asyncio.to_thread(subprocess.run, [*command, str(steps)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL

    await asyncio.to_thread(subprocess.run, [*command, "0"], cwd=ROOT, check=True)

    sent = [line.split(" ", 1) for line in (tmp_path / "sent").read_text().splitlines()]
    taken = dict(sent)
    files = [body for body in taken.values() if body.strip("'").endswith((".pdf", ".zip"))]
    assert len(files) == len(set(files)) == 2
    assert sum("is done" in body for body in taken.values()) == 1
    store = await Store.open(database)
    try:
        assert [entry.what for entry in await store.audit_entries()] == ["export"]
        assert await store.next_job() is None
    finally:
        await store.close()
    assert list((tmp_path / "exports").iterdir()) == []
