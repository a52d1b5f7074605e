"""A program of ours that runs beside the demo and ends with it, its output in a file."""

import asyncio
import sys
from pathlib import Path
from typing import Self

from bridge.demo.child import end_with_parent, without_proxies


class Program:
    """A running `python -m ...`; `log` has what it printed."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.log = log
        self._process = process

    @classmethod
    async def start(cls, *arguments: str, folder: Path, log: Path) -> Self:
        """Start `python -m` with these arguments in `folder`; it ends at the latest when this process does."""
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *arguments,
                cwd=folder,
                env=without_proxies(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # Ctrl-C in the terminal is for the demo, which then ends its programs in order.
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )
        return cls(process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def ended(self) -> int:
        """Wait until it ends by itself; its exit status."""
        return await self._process.wait()

    async def stop(self, *, grace: float = 15) -> None:
        """Ask it to end and wait, `grace` seconds politely."""
        try:
            if self.running:
                self._process.terminate()
            async with asyncio.timeout(grace):
                await self._process.wait()
        except (TimeoutError, ProcessLookupError):
            pass
        finally:
            if self.running:
                self._process.kill()

    def last_words(self, lines: int = 30) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
