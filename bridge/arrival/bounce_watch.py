"""What goes on by itself about mails that came back: the mailbox is looked at, and the invitations learn of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from bridge.arrival.bounce import Bounce, bounce_of, mark_in
from bridge.arrival.inbox import Inbox, Place, Unread
from bridge.arrival.invitation import Invitation
from bridge.arrival.ledger import Ledger
from bridge.config import Bounces
from bridge.retry import Unavailable, until_available
from bridge.store import Store
from policy.model import Moment

PLACE = "bounces-read"
EVERY = 120.0
"""Seconds between two looks."""

BACK = timedelta(days=2)
"""So far back a mailbox is read that was not read before: what came back earlier carries no mark of ours."""

TROUBLE = {
    "lost": "the mail to {email} was given up on, though the address may be right ({reason}); the next one follows",
    "delayed": "the mail to {email} is delayed ({reason})",
}

log = logging.getLogger("qwil.arrival")


class BounceWatch:
    """Reads what came back."""

    def __init__(
        self, *, bounces: Bounces, store: Store, ledger: Ledger, clock: Callable[[], Moment] = time.time
    ) -> None:
        self._bounces = bounces
        self._inbox = Inbox(bounces)
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._trouble = ""

    async def run(self) -> None:
        """Look every two minutes until cancelled; returns at once where there is no mailbox. The ledger is loaded."""
        if self._bounces.mailbox and self._bounces.address:
            await self._keep_looking()

    async def _keep_looking(self) -> NoReturn:
        while True:
            more = await until_available(self._look_safely)
            if not more:
                await asyncio.sleep(EVERY)

    async def _look_safely(self) -> bool:
        try:
            return await self.look()
        except Unavailable:
            raise
        except Exception:  # a mailbox that answers like none must not take the bridge with it
            log.exception("Mails that came back could not be read")
            self._trouble = "the log of the bridge says why"
            return False

    async def look(self) -> bool:
        """Read what is new; whether there is more still."""
        kept = await self._store.recall(PLACE)
        since = (datetime.fromtimestamp(self._clock(), UTC) - BACK).date()
        try:
            found = await asyncio.to_thread(
                self._inbox.read, Place(*kept) if kept else None, since=since, wanted=self._is_ours
            )
        except Unread as reason:
            if self._trouble != str(reason):
                log.warning("Mails that came back cannot be read: %s", reason)
            self._trouble = str(reason)
            return False
        self._trouble = ""
        for data in found.mails:
            if bounce := self._understood(data):
                await self.note(bounce)
        # Only now: what was read twice says the same twice, what was passed over would be lost.
        await self._store.remember(PLACE, found.place)
        return found.more

    def _understood(self, data: bytes) -> Bounce | None:
        try:
            return bounce_of(data, self._bounces.address)
        except Exception as error:  # strangers wrote it: whatever it does to the parser, the mails behind it count
            log.warning("A mail that came back cannot be understood and is passed over: %s", type(error).__name__)
            return None

    async def note(self, bounce: Bounce) -> None:
        """Let the invitation know, if it is still the one that the mail was for."""

        def noted(latest: Invitation) -> Invitation:
            if latest.state != "pending" or latest.bounced or self._ledger.mark(latest) != bounce.mark:
                return latest
            if bounce.outcome == "bounced":
                return latest.returned(bounce.reason)
            return replace(latest, trouble=TROUBLE[bounce.outcome].format(email=latest.email, reason=bounce.reason))

        if one := self._ledger.with_mark(bounce.mark):
            await self._ledger.change(one.person, noted)

    def status_lines(self) -> list[str]:
        """What administrators should know about it."""
        if self._bounces.mailbox and not self._bounces.address:
            return ["Mails that come back are not read: config.yaml names no address for them (bounces: address)."]
        if self._trouble:
            return [f"Mails that come back cannot be read just now: {self._trouble}"]
        return []

    def _is_ours(self, headers: bytes) -> bool:
        return mark_in(headers, self._bounces.address) is not None
