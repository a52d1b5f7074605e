"""Where people log in by single sign-on: whoever has accepted is a member from their first login on."""

from __future__ import annotations

import asyncio
import logging
from typing import NoReturn

from bridge.arrival.acceptance import Acceptance
from bridge.arrival.guest import Problem
from bridge.arrival.ledger import Ledger

EVERY = 20.0
"""Seconds between two looks for accounts that have appeared."""

log = logging.getLogger("qwil.arrival")


class FirstLogins:
    """Looks for the accounts that are waited for."""

    def __init__(self, ledger: Ledger, acceptance: Acceptance) -> None:
        self._ledger = ledger
        self._acceptance = acceptance

    async def run(self) -> NoReturn:
        """Look until cancelled; the ledger is loaded."""
        while True:
            try:
                await self.work()
            except Exception:
                # One that cannot be let in must not keep out the others, now or later.
                log.exception("Who waits for a first login could not be let in; it is tried again in %d s", EVERY)
            await asyncio.sleep(EVERY)

    async def work(self) -> None:
        """Let in everybody who has logged in by now."""
        for one in self._ledger:
            if one.waits and one.state == "pending":
                try:
                    await self._acceptance.begin(one.person)
                except Problem as problem:
                    log.warning("The membership of %s does not begin yet: %s", one.person, problem)
