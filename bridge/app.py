"""Puts the parts of the bridge together, starts and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from aiohttp import web
from mautrix.api import Method, Path, SynapseAdminPath

from bridge.administration import Administration
from bridge.after_the_fact import AfterTheFact
from bridge.apply_route import ApplyRoute
from bridge.arrival.reception import Reception
from bridge.attachments import Attachments
from bridge.audit import PolicyLog
from bridge.before import Survey
from bridge.bulletin import Bulletins
from bridge.catch_up import CatchUp
from bridge.chats import Chats
from bridge.commands import Commands
from bridge.complaints import Complaints
from bridge.config import Config
from bridge.direct import Direct
from bridge.empty_record import RecordMissing, refuse_to_forget
from bridge.export_words import ExportWords
from bridge.homeserver import Homeserver, Refused
from bridge.import_words import Importer
from bridge.listen import ENDING, CannotListenError, listen
from bridge.module_check import (
    AFTERWARDS,
    NO_MODULE,
    OTHER_BOT,
    complaints,
    in_step,
    module_status,
    objection_to_entry,
    unreached,
)
from bridge.notices import Notices
from bridge.observe import Observer
from bridge.office import Office
from bridge.originals import with_originals
from bridge.perform import Performer
from bridge.plan_words import plan_words
from bridge.planning import Planner
from bridge.policy_file import PolicySource
from bridge.policy_writer import PolicyWriter
from bridge.profiles import Profiles
from bridge.receive import Receiver
from bridge.refusals import Refusals
from bridge.registration import token_objection
from bridge.retry import until_available
from bridge.sole import HeldError, Sole, sole_user
from bridge.store import Store, StoredEvent
from bridge.why_words import why_words
from policy.concern import mistakes_of
from policy.mistake import Mistakes
from policy.model import UserId
from policy.observation import Settings
from policy.rooms import BOT_NAME
from policy.turns import next_turn

if TYPE_CHECKING:
    from bridge.export_jobs import ExportJobs
    from bridge.media_hashes import MediaHashes

LONGEST_SLEEP = 3600.0
"""Seconds until the clock is looked at again, however far the next end date is."""

log = logging.getLogger("qwil")


class StartRefused(Exception):
    """The bridge cannot do its work as things are set up; the text says what to change."""


async def run(config: Config, *, new_record: bool = False) -> None:
    """Run the bridge until cancelled; raises `StartRefused` where its set-up has to be changed first.

    `new_record` says that the record of the chats there are is lost, and that an empty one is meant.
    """
    if objection := token_objection(config):
        raise StartRefused(objection)
    try:
        async with (
            sole_user(config.database, "qwil run") as sole,
            _store(config) as store,
            Homeserver(config) as server,
        ):
            if not new_record:
                await until_available(lambda: refuse_to_forget(config, store, server))
            await Bridge(config, store, server).run(sole)
    except (CannotListenError, HeldError, RecordMissing) as cause:
        raise StartRefused(str(cause)) from cause
    except BaseExceptionGroup as several:
        # The page begins to listen beside the other parts, and the database may be lost to another bridge later.
        if (refusing := several.subgroup((CannotListenError, HeldError))) is None:
            raise
        raise StartRefused(str(refusing.exceptions[0])) from refusing


@contextlib.asynccontextmanager
async def _store(config: Config) -> AsyncIterator[Store]:
    store = await until_available(lambda: Store.open(config.database))
    try:
        yield store
    finally:
        await store.close()


def _export_jobs(
    config: Config,
    source: PolicySource,
    store: Store,
    observer: Observer,
    homeserver: Homeserver,
    direct: Direct,
    attachments: Attachments,
) -> ExportJobs | None:
    """What makes exports; none where the extra `export` is not installed, which the bridge can do without."""
    try:
        from bridge.export import ExportMaker
        from bridge.export_jobs import ExportJobs
    except ModuleNotFoundError as missing:
        log.warning("There will be no exports: %s. pip install 'qwil[export]' brings what they need.", missing)
        return None
    return ExportJobs(
        maker=ExportMaker(config, store, homeserver, observer.bot),
        source=source,
        store=store,
        observer=observer,
        homeserver=homeserver,
        attachments=attachments,
        bulletins=Bulletins(store, homeserver, direct),
    )


def _media_hashes(config: Config, store: Store, observer: Observer) -> MediaHashes | None:
    """What hashes the files of chats as they come; only exports need it."""
    try:
        from bridge.media_hashes import MediaHashes
        from bridge.media_repository import MediaRepository
    except ModuleNotFoundError:
        return None
    repository = MediaRepository(config.homeserver.address, config.appservice.as_token, patience=0)
    return MediaHashes(store=store, observer=observer, fetch=repository.fetch)


class Bridge:
    """The bridge of one homeserver."""

    def __init__(self, config: Config, store: Store, homeserver: Homeserver) -> None:
        bot = UserId(config.bot)
        self._config = config
        self._homeserver = homeserver
        self._source = PolicySource(config.policy)
        self._observer = Observer(store, bot=bot, server=config.homeserver.server_name)
        self._performer = Performer(homeserver, self._observer)
        self._direct = Direct(self._source, self._observer, self._performer)
        complaints = Complaints(source=self._source, observer=self._observer, store=store, direct=self._direct)
        self._performer.complain = complaints.note
        settings = Settings(config.auto_join, config.spaces.books_with_at_least)
        self._survey = Survey(store=store, observer=self._observer, homeserver=homeserver, admin=config.admin)
        self._planner = Planner(
            source=self._source,
            store=store,
            observer=self._observer,
            settings=settings,
            removals_wait_above=config.removals_wait_above,
            look_again=self._look_again,
        )
        self._chats = Chats(
            source=self._source,
            store=store,
            observer=self._observer,
            performer=self._performer,
            direct=self._direct,
            settings=settings,
            planner=self._planner,
        )
        self._take_words(config, store, homeserver)
        self._keep_watch(config, store, homeserver)
        self._has_module = True
        self._settling = asyncio.Lock()

    def _take_words(self, config: Config, store: Store, homeserver: Homeserver) -> None:
        """Put together what answers people."""
        office = Office(store=store, writer=PolicyWriter(config.policy))
        attachments = Attachments(config, homeserver, self._direct)
        importer = Importer(store=store, office=office, carrier=attachments)
        self._reception = Reception(
            config=config,
            source=self._source,
            store=store,
            homeserver=homeserver,
            performer=self._performer,
            direct=self._direct,
        )
        self._exports = _export_jobs(config, self._source, store, self._observer, homeserver, self._direct, attachments)
        exports = self._export_words = ExportWords(store=store, observer=self._observer, jobs=self._exports)
        administration = Administration(office, exports.status_lines).words()
        self._commands = Commands(
            source=self._source,
            store=store,
            observer=self._observer,
            performer=self._performer,
            direct=self._direct,
            message_link=config.message_link,
            more={
                **why_words(self._source),
                **plan_words(self._planner, self._performer, self._direct),
                **administration,
                **importer.words(),
                **exports.words(),
                **self._reception.words(office, attachments, administration),
            },
        )

    def _keep_watch(self, config: Config, store: Store, homeserver: Homeserver) -> None:
        """Put together what follows the homeserver and the policy."""
        self._media = _media_hashes(config, store, self._observer)
        self._receiver = Receiver(
            store, self.handle, hs_token=config.appservice.hs_token, restore=partial(with_originals, homeserver)
        )
        self._catch_up = CatchUp(store, homeserver, bot=self._observer.bot, arrived=self._receiver.wake)
        self._notices = Notices(store, self._direct)
        self._policy_log = PolicyLog(store, self._source.files_of)
        self._refusals = Refusals(homeserver, store)
        self._after_the_fact = AfterTheFact(
            source=self._source,
            store=store,
            observer=self._observer,
            performer=self._performer,
            direct=self._direct,
            homeserver=homeserver,
        )
        self._profiles = Profiles(
            observer=self._observer,
            homeserver=homeserver,
            admin=config.admin,
            put_right=lambda: self._planner.settle_profiles(self._performer),
        )
        self._apply = ApplyRoute(
            source=self._source,
            as_token=config.appservice.as_token,
            settling=lambda: self._settling,
            apply=lambda expected, by: self._planner.apply(self._performer, self._direct, by=by, expected=expected),
        )

    async def run(self, sole: Sole) -> None:
        """Serve until cancelled, as long as nobody else works on the database."""
        # Before anybody can tell that the bridge is there: a room made from then on is made under its eyes.
        began = time.time()
        self._source.load()
        async with self._listening():
            await self._ensure_bot()
            await self._check_homeserver()
            self._observer.trusts_creators = self._has_module
            await self._catch_up.look_at_start()
            await self._observer.load()
            await self._planner.load()
            if not self._has_module:
                await self._after_the_fact.load(began)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(sole.keep())
                tasks.create_task(self._receiver.run())
                tasks.create_task(self._catch_up.run())
                tasks.create_task(self._survey.run())
                tasks.create_task(self._profiles.run())
                if self._has_module and self._config.admin:
                    tasks.create_task(self._profiles.listen())
                tasks.create_task(self._source.watch(self._changed, self._broken))
                tasks.create_task(self._keep_time())
                tasks.create_task(until_available(self._reception.run))
                tasks.create_task(until_available(self._refusals.run))
                tasks.create_task(self._export_words.keep_searchable())
                if self._exports is not None:
                    tasks.create_task(self._exports.run())
                if self._media is not None:
                    tasks.create_task(self._media.run())

    async def handle(self, event: StoredEvent) -> None:
        """One event from the record: what it changed is noted, then whoever it concerns acts."""
        async with self._settling:
            if event.state_key is not None:
                await self._observer.refresh(event.room_id, event.type, event.state_key)
            self._profiles.note(event)
            self._survey.note(event)
            if self._media is not None:
                await self._media.note(event)
            if not self._has_module:
                await self._after_the_fact.handle(event)
            await self._chats.handle(event)
            await self._commands.handle(event)

    async def _look_again(self) -> None:
        """What may have changed where nothing tells of it, before an apply."""
        await self._survey.look()
        await self._profiles.forget_changed()

    async def _changed(self) -> None:
        await until_available(self._settle)

    async def _settle(self) -> None:
        await self._policy_log.note(self._source.policy)
        if self._has_module:
            await in_step(self._homeserver, lambda: self._source.digest)
        async with self._settling:
            if not self._has_module:
                await self._after_the_fact.look_again()
            await self._chats.settle_all()
            await self._notices.tell(self._source.policy)
        await self._planner.settle_profiles(self._performer)
        self._reception.wake()
        await self._policy_log.keep()

    async def _broken(self, mistakes: Mistakes) -> None:
        await until_available(lambda: self._tell_mistakes(mistakes))

    async def _tell_mistakes(self, mistakes: Mistakes) -> None:
        """Every system administrator of the last good policy is told, of their own organisation's in words."""
        await self._policy_log.note_mistakes(mistakes)
        path = self._source.path
        saved = path.read_text("utf-8", errors="replace") if path.is_file() else ""
        for organisation in self._source.policy.organisations:
            own = mistakes_of(saved, path.name, mistakes, [organisation])
            lines = "\n".join(f"- {line}" for line in [*own[:50], *own[50:][-1:]])
            text = f"The policy that was saved has mistakes and is not in force ({len(mistakes)}):\n{lines}"
            await self._direct.tell_admins(organisation, text, about=f"mistakes {organisation} {time.time():.0f}")

    async def _keep_time(self) -> NoReturn:
        """Settle everything now, and whenever a day begins on which the policy says something else."""
        while True:
            # From before: a day that begins meanwhile was not there for all that was settled, and is due at once.
            now = time.time()
            await self._changed()
            due = next_turn(self._source.policy, now)
            pause = LONGEST_SLEEP if due is None else min(due - time.time(), LONGEST_SLEEP)
            await asyncio.sleep(max(pause, 0) + 0.01)

    async def _ensure_bot(self) -> None:
        """The bot's account is there and has a name."""
        try:
            content = {"type": "m.login.application_service", "username": self._config.appservice.bot}
            await self._homeserver.ask(Method.POST, Path.v3.register, content)
        except Refused as refusal:
            if refusal.errcode != "M_USER_IN_USE":
                raise StartRefused(objection_to_entry(self._config, refusal)) from refusal
        try:
            await self._homeserver.ask(Method.GET, Path.v3.account.whoami)
        except Refused as refusal:
            raise StartRefused(objection_to_entry(self._config, refusal)) from refusal
        if self._config.admin:
            await self._ensure_admin()

    async def _check_homeserver(self) -> None:
        """Without the module nothing is enforced, which has to be meant; anything else amiss is told."""
        try:
            status = await module_status(self._homeserver)
        except Refused as refusal:
            raise StartRefused(OTHER_BOT.format(bot=self._config.bot, refusal=str(refusal).rstrip("."))) from refusal
        self._has_module = status is not None
        if status is None and self._config.enforce == "module":
            raise StartRefused(NO_MODULE)
        for complaint in complaints(status, self._source.digest) if status is not None else (AFTERWARDS,):
            log.warning("%s", complaint)
        if said := await unreached(self._homeserver, self._config):
            log.warning("%s", said)

    async def _ensure_admin(self) -> None:
        """Names and pictures are locked for everybody but administrators of the homeserver."""
        try:
            named = {"displayname": BOT_NAME}
            await self._homeserver.ask(Method.PUT, SynapseAdminPath.v2.users[self._config.bot], named)
        except Refused as refusal:
            raise StartRefused(
                f"{self._config.bot} is no administrator of the homeserver ({refusal}). Make it one (the admin API's "
                'PUT /_synapse/admin/v2/users/ID with {"admin": true}), or write "admin: false" in config.yaml and do '
                "without names and badges."
            ) from refusal

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        application = web.Application()
        self._receiver.add_routes(application)
        self._apply.add_routes(application)
        runner = web.AppRunner(application, shutdown_timeout=ENDING)
        await runner.setup()
        try:
            appservice = self._config.appservice
            await listen(runner, appservice.hostname, appservice.port, section="appservice")
            log.info("Listening on %s:%d.", appservice.hostname, appservice.port)
            yield
        finally:
            await runner.cleanup()
