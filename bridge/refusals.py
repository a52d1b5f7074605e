"""What the homeserver's module refused, fetched now and then and put into the audit."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from mautrix.api import Method, PathBuilder

from bridge.homeserver import Homeserver, Refused
from bridge.store import Store
from policy.model import Moment
from policy.refusals import who_asked

ADDRESS = PathBuilder("/_synapse/client/qwil/refusals")
SEEN = "refusals:seen"
"""Under which name is remembered what was put into the audit: of each process of the homeserver the last number."""

PROCESSES = 20
"""As many are remembered; a restart makes a new one."""

EVERY = 10.0
"""Seconds between two looks."""

WITHOUT_MODULE = 600.0
"""Seconds until the next look where the homeserver has no such module."""

log = logging.getLogger("qwil.refusals")


class Refusals:
    """Carries refusals from the homeserver to the audit, each once."""

    def __init__(self, homeserver: Homeserver, store: Store, clock: Callable[[], Moment] = time.time) -> None:
        self._homeserver = homeserver
        self._store = store
        self._clock = clock

    async def run(self) -> NoReturn:
        """Look now and then, until cancelled."""
        while True:
            pause = await self._look()
            await asyncio.sleep(pause)

    async def _look(self) -> float:
        try:
            more = await self.fetch()
        except Refused as refusal:
            if refusal.status != 404:
                log.warning("The homeserver does not say what it refused: %s", refusal)
            return WITHOUT_MODULE
        return 0 if more else EVERY

    async def fetch(self) -> bool:
        """Put what is new into the audit; True where there is more. Raises `homeserver.Refused`."""
        seen: dict[str, int] = await self._store.recall(SEEN, {})
        query = {"seen": ",".join(f"{process}:{number}" for process, number in seen.items())}
        answer = await self._homeserver.ask(Method.GET, ADDRESS, query=query)
        known = [(process, number) for process, number in seen.items() if process != answer["process"]]
        if answer["lost"]:
            await self._store.audit("the homeserver", "refusals lost", {"times": answer["lost"]}, time=self._clock())
        for refusal in answer["refusals"]:
            await self._write_down(refusal)
            # Entry by entry: killed in between, the next bridge goes on behind the last one.
            await self._store.remember(SEEN, dict([*known[1 - PROCESSES :], (answer["process"], refusal["number"])]))
        more: bool = answer["more"]
        return more

    async def _write_down(self, refusal: Mapping[str, Any]) -> None:
        details = {
            "what": refusal["what"],
            "because": refusal["rules"],
            "text": refusal["text"],
            "times": refusal["times"],
            "first": refusal["first"],
        }
        who = who_asked(refusal["what"]) or "somebody"
        await self._store.audit(who, "refused", details, time=refusal["last"])
