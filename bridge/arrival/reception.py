"""Puts the parts about people who arrive together, for the application: words, pages, and what goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from bridge.arrival.acceptance import Acceptance
from bridge.arrival.accounts import Accounts
from bridge.arrival.arrival_words import ArrivalWords
from bridge.arrival.arrivals import Arrivals
from bridge.arrival.bounce_watch import BounceWatch
from bridge.arrival.broadcast import Broadcasts
from bridge.arrival.broadcast_words import BroadcastWords
from bridge.arrival.first_login import FirstLogins
from bridge.arrival.ledger import Ledger
from bridge.arrival.pages import Pages
from bridge.arrival.policy_rows import PolicyRows
from bridge.arrival.post import carrier_for
from bridge.arrival.terms import TermsKept, platform_terms
from bridge.arrival.welcome import Welcomes
from bridge.attachments import Attachments
from bridge.commands import Word
from bridge.config import Config
from bridge.direct import Direct
from bridge.homeserver import Homeserver
from bridge.listen import ENDING, listen
from bridge.office import Office
from bridge.perform import Performer
from bridge.policy_file import PolicySource
from bridge.policy_writer import PolicyWriter
from bridge.retry import until_available
from bridge.store import Store
from policy.model import UserId

log = logging.getLogger("qwil.arrival")


class Reception:
    """Everything about people who arrive."""

    def __init__(
        self,
        *,
        config: Config,
        source: PolicySource,
        store: Store,
        homeserver: Homeserver,
        performer: Performer,
        direct: Direct,
    ) -> None:
        self._config = config
        self._source = source
        self._store = store
        self._ledger = Ledger(store)
        self._terms = TermsKept(source=source, store=store, direct=direct, platform=platform_terms(config))
        self._broadcasts = Broadcasts(source=source, store=store, direct=direct, homeserver=homeserver)
        self._arrivals = Arrivals(
            source=source,
            ledger=self._ledger,
            carrier=carrier_for(config.mail),
            welcomes=Welcomes(
                source=source,
                store=store,
                direct=direct,
                homeserver=homeserver,
                performer=performer,
                ledger=self._ledger,
            ),
            broadcasts=self._broadcasts,
            terms=self._terms,
            config=config,
        )
        self._bounces = BounceWatch(bounces=config.bounces, store=store, ledger=self._ledger)
        acceptance = Acceptance(
            source=source,
            store=store,
            ledger=self._ledger,
            terms=self._terms,
            rows=PolicyRows(PolicyWriter(config.policy)),
            accounts=Accounts(homeserver, config.homeserver.server_name),
            direct=direct,
            performer=performer,
            bot=UserId(config.bot),
            settled=self._accepted,
        )
        self._pages = Pages(source=source, acceptance=acceptance, config=config)
        self._first_logins = FirstLogins(self._ledger, acceptance)
        self._said: list[str] = []

    def words(self, office: Office, carrier: Attachments, others: Mapping[str, Word]) -> dict[str, Word]:
        """What can be typed to the bot; `others` are the words known already."""
        words = ArrivalWords(
            source=self._source,
            store=self._store,
            office=office,
            carrier=carrier,
            arrivals=self._arrivals,
            ledger=self._ledger,
            terms=self._terms,
            bounces=self._bounces,
        )
        broadcasts = BroadcastWords(
            store=self._store,
            office=office,
            carrier=carrier,
            broadcasts=self._broadcasts,
            wake=self._arrivals.wake,
        )
        return {**words.words(others), **broadcasts.words()}

    async def run(self) -> None:
        """Invite, mail and welcome until cancelled, and serve the page where there is one."""
        await until_available(self._ledger.load)
        async with self._listening(), asyncio.TaskGroup() as tasks:
            tasks.create_task(self._arrivals.run())
            tasks.create_task(self._bounces.run())
            if self._config.web.login == "single_sign_on":
                tasks.create_task(self._first_logins.run())

    def wake(self) -> None:
        """The policy changed."""
        said = self._arrivals.unknown_networks()
        for sentence in said:
            if sentence not in self._said:
                log.warning("%s", sentence)
        self._said = said
        self._arrivals.wake()

    async def _accepted(self) -> None:
        self._arrivals.wake()

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        if not self._config.web.address:
            yield
            return
        # No access log: the addresses in it would be secrets.
        runner = web.AppRunner(self._pages.application(), access_log=None, shutdown_timeout=ENDING)
        await runner.setup()
        try:
            await listen(runner, self._config.web.hostname, self._config.web.port, section="web")
            log.info("Invitations are accepted on %s:%d.", self._config.web.hostname, self._config.web.port)
            yield
        finally:
            await runner.cleanup()
