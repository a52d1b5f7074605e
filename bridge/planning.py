"""What is done on the homeserver by itself, what waits, and `apply`: one place for the bridge, its words and the CLI.

What is known of the homeserver is the record that the bridge keeps. Names and pictures of accounts are not in it: a
running bridge puts them right before anybody could plan it, the command line looks at them. `apply` is done by one
process only: two would both make the same space and each forget whose seat the other keeps. So the command line hands
it to the bridge over the bridge's own port, and where nobody listens there it listens itself for as long as it works,
storing what the homeserver sends meanwhile for the next bridge.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import aiohttp
from aiohttp import web

from bridge.before import Survey
from bridge.config import Config
from bridge.direct import Direct
from bridge.empty_record import RecordMissing, refuse_to_forget
from bridge.homeserver import Homeserver, HomeserverUnavailable, Refused
from bridge.listen import ENDING
from bridge.observe import Observer
from bridge.originals import with_originals
from bridge.perform import Performer
from bridge.policy_file import PolicySource, load
from bridge.profiles import Profiles
from bridge.receive import Receiver
from bridge.sole import HeldError, sole_user
from bridge.store import Store, StoredEvent
from policy.action import Action, Remove, SetProfile, Withdraw
from policy.ask import Outcome, run_tests
from policy.differences import Difference, differences, fingerprint
from policy.mistake import Mistake
from policy.model import Moment, Policy, UserId
from policy.observation import Settings
from policy.plan import Plan, Seat, as_json, lines, plan, waits
from policy.reconcile import profile_actions
from policy.turns import steady

APPLY = "/_qwil/v1/apply"
WAITING = "waiting:"
TOLD = "waiting-told:"

FOLLOW_UPS = 3
"""Rounds after an apply for what follows from it, such as a space that lists one chat less."""

TAKING_UP = (0.2, 0.3, 0.5, 1, 1, 2)
"""Seconds between looks whether the bridge has taken up a policy that was just saved."""

LONGEST_LOOK = 60.0
"""Seconds for which a plan waits for the homeserver's list of accounts."""

ON_RECORD = (0.1, 0.2, 0.5, 1, 2, 4, 8)
"""Seconds between looks whether the homeserver has sent what was done."""

LONGEST_NOTICE = 50
"""Lines of a notice to administrators."""

DONE, FAILED, MOVED = 0, 1, 3
"""Exit statuses of `qwil apply`."""
NOTHING, CHANGES = 0, 2
"""Exit statuses of `qwil plan`."""

log = logging.getLogger("qwil.planning")


class Moved(Exception):
    """The world moved since the plan; `plan` is what would be done now."""

    def __init__(self, now: Plan) -> None:
        super().__init__(
            f"Something has changed since that plan, so nothing was done. The plan is {now.hash} now: look at it first."
        )
        self.plan = now


class Stopped(Exception):
    """Nothing was done, and the text says why."""


class Applied(NamedTuple):
    """What became of a plan."""

    plan: Plan
    failed: tuple[tuple[str, str], ...]
    """The steps that failed, in words, each with the homeserver's reason."""


class HasPolicy(Protocol):
    """Whoever knows the policy in force."""

    @property
    def policy(self) -> Policy: ...


class Planner:
    """Plans for one homeserver, and the memory of what waits."""

    def __init__(
        self,
        *,
        source: HasPolicy,
        store: Store,
        observer: Observer,
        settings: Settings,
        removals_wait_above: int,
        look_again: Callable[[], Awaitable[None]] | None = None,
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._source = source
        self._store = store
        self._observer = observer
        self._settings = settings
        self._above = removals_wait_above
        self._look_again = look_again
        """Sees what may have changed where nobody tells the bridge, before something is done about it."""
        self._clock = clock
        self._planned_for: Policy | None = None
        self._planned_until: Moment = 0
        """When a day begins on which something else is due."""
        self._held: frozenset[Seat] = frozenset()
        self._waited: frozenset[Seat] = frozenset()

    @property
    def policy(self) -> Policy:
        """The one it plans for."""
        return self._source.policy

    async def load(self) -> None:
        """Remember what waited when the bridge last ran."""
        kept = await self._store.recall_all(WAITING)
        self._waited = frozenset((room, UserId(user)) for room, user in kept.values())

    def plan(self) -> Plan:
        """Everything that is due now; nothing while there is no policy, which says nothing about anybody."""
        policy = self._source.policy
        if not policy.organisations:
            return Plan(())
        now = self._clock()
        planned = plan(
            policy,
            self._observer.seen(),
            now,
            self._settings,
            wait_above=self._above,
            waited=self._waited,
        )
        self._planned_for, (_, self._planned_until) = policy, steady(policy, now)
        self._held = frozenset(_seat(step.action) for step in planned.waiting)
        return planned

    def waits(self, action: Action) -> bool:
        """Does the action wait for `apply`? Asked of one room's actions: what waits is settled over all rooms."""
        if self._planned_for is not self._source.policy or self._clock() >= self._planned_until:
            self.plan()
        return waits(action, self._held) or (isinstance(action, Remove) and action.waits)

    def failing_tests(self) -> list[Outcome]:
        """The administrator's own expectations that the policy does not meet."""
        return [outcome for outcome in run_tests(self._source.policy, self._clock()) if not outcome.passed]

    async def settle(self, performer: Performer, direct: Direct) -> list[Action]:
        """Do what is done by itself, and tell the administrators what waits; what was done, and who finds no place."""
        planned = self.plan()
        await self._remember(self._held)
        await self._tell_waiting(planned, direct)
        own = [step.action for step in planned.steps if not step.waits and not isinstance(step.action, SetProfile)]
        await performer.all(own)
        return [*own, *planned.full]

    async def settle_profiles(self, performer: Performer) -> None:
        """Give everybody name and badge: no room is touched, so nobody has to wait for it."""
        await performer.all(profile_actions(self._source.policy, self._observer.seen(), self._clock()))

    async def apply(
        self,
        performer: Performer,
        direct: Direct,
        *,
        by: str,
        expected: str | None = None,
        organisations: Collection[str] | None = None,
        where: Mapping[str, str] | None = None,
    ) -> Applied:
        """Do what the plan says, also what waits; with `organisations` only the part that concerns those.

        The audit has it with who did it and, for a word in a chat, `where` that was written.

        Raises `Stopped` where the policy fails its own tests and `Moved` where the plan is not the `expected` one.
        """
        if failing := self.failing_tests():
            raise Stopped(_unmet(failing))
        if self._look_again is not None:
            await self._look_again()
        planned = self.part(organisations)
        if expected is not None and expected != planned.hash:
            raise Moved(planned)
        refused = {id(action): str(reason) for action, reason in await performer.all(planned.actions, asked=True)}
        failed = tuple((step.text, refused[id(step.action)]) for step in planned.steps if id(step.action) in refused)
        tried = list(planned.actions)
        for _ in range(FOLLOW_UPS if planned.steps else 0):
            following = [s.action for s in self.part(organisations).steps if not s.waits and s.action not in tried]
            await performer.all(following)
            tried += following
        await self._settle_notices(planned, by, direct)
        await self._write_down(planned, failed, by, where or {})
        return Applied(planned, failed)

    def part(self, organisations: Collection[str] | None) -> Plan:
        """The plan, or the part of it that concerns these organisations."""
        return self.plan() if organisations is None else self.plan().of(organisations)

    async def _remember(self, held: frozenset[Seat]) -> None:
        for room, user in held - self._waited:
            await self._store.remember(f"{WAITING}{room}:{user}", [room, user])
        for room, user in self._waited - held:
            await self._store.forget(f"{WAITING}{room}:{user}")
        self._waited = held

    async def _tell_waiting(self, planned: Plan, direct: Direct) -> None:
        """The system administrators are told once of what waits, and once more when it is something else."""
        told = await self._store.recall_all(TOLD)
        for organisation in self._source.policy.organisations:
            waiting = Plan(tuple(step for step in planned.waiting if organisation in step.organisations))
            before = told.get(f"{TOLD}{organisation}")
            if not waiting.steps:
                if before is not None:
                    await self._store.forget(f"{TOLD}{organisation}")
                    text = "The removals that waited for “apply” are not due any more."
                    await direct.tell_admins(organisation, text, about=f"waits no more {before} {self._clock():.0f}")
            elif before != waiting.hash:
                await direct.tell_admins(organisation, _waiting_notice(waiting), about=f"waiting {waiting.hash}")
                await self._store.remember(f"{TOLD}{organisation}", waiting.hash)

    async def _settle_notices(self, planned: Plan, by: str, direct: Direct) -> None:
        """Whoever was told that something waits learns that it was done, and by whom."""
        await self._remember(frozenset(_seat(step.action) for step in self.plan().waiting))
        for key in await self._store.recall_all(TOLD):
            organisation = key.removeprefix(TOLD)
            done = [step for step in planned.waiting if organisation in step.organisations]
            if done:
                await self._store.forget(key)
                text = f"The removals that waited were applied by {by} ({len(done)})."
                await direct.tell_admins(
                    organisation, text, about=f"applied {planned.hash} {self._clock():.0f}", but=by
                )

    async def _write_down(
        self, planned: Plan, failed: Collection[tuple[str, str]], by: str, where: Mapping[str, str]
    ) -> None:
        steps = [step.text for step in planned.steps]
        details = {"plan": planned.hash, "steps": steps, "failed": list(failed), **where}
        await self._store.audit(by, "apply", details, time=self._clock())


def _seat(action: Action) -> Seat:
    assert isinstance(action, Remove | Withdraw)  # noqa: S101 - nothing else waits
    return action.room, action.user


def _waiting_notice(waiting: Plan) -> str:
    shown = [f"- {step.text}" for step in waiting.steps[:LONGEST_NOTICE]]
    more = len(waiting.steps) - len(shown)
    return "\n".join([
        f"These removals wait for “apply” ({len(waiting.steps)}):",
        *shown,
        *([f"- … and {more} more"] if more else []),
        "Write “plan” to see everything that is due.",
    ])  # fmt: skip


def _unmet(failing: Collection[Outcome]) -> str:
    lines = [f"- {outcome.expectation.where}: {outcome.expectation.name}" for outcome in failing]
    return (
        f"Nothing was done: the policy does not do what its own tests expect ({len(failing)}). "
        "Mend the policy or the tests first:\n" + "\n".join(lines)
    )


# Over the bridge's own port


Use = AbstractAsyncContextManager[Any]


class ApplyRoute:
    """Where the command line asks a running bridge to apply; it proves itself with the bridge's own token."""

    def __init__(
        self,
        *,
        source: HasPolicy,
        as_token: str,
        settling: Callable[[], Use],
        apply: Callable[[str | None, str], Awaitable[Applied]],
    ) -> None:
        self._source = source
        self._as_token = as_token.encode()
        self._settling = settling
        self._apply = apply

    def add_routes(self, app: web.Application) -> None:
        """Serve it."""
        app.router.add_post(APPLY, self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        """409 while the bridge has not read the policy that the asker has."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(errors="replace"), self._as_token):
            return web.json_response({"error": "This is not the bridge's as_token."}, status=403)
        asked = await request.json()
        if asked.get("policy") != fingerprint(self._source.policy):
            return web.json_response({"error": "The bridge has not taken this policy up yet."}, status=409)
        async with self._settling():
            return web.json_response(
                await _outcome(self._apply(asked.get("plan"), str(asked.get("by", "an operator"))))
            )


async def _outcome(applying: Awaitable[Applied]) -> dict[str, Any]:
    """What `apply` came to, as JSON for the command line."""
    try:
        applied = await applying
    except Moved as moved:
        return {"status": MOVED, "error": str(moved), "plan": as_json(moved.plan), "failed": []}
    except Stopped as stopped:
        return {"status": FAILED, "error": str(stopped), "failed": []}
    status = FAILED if applied.failed else DONE
    return {"status": status, "plan": as_json(applied.plan), "failed": [list(each) for each in applied.failed]}


# From the command line


class Planned(NamedTuple):
    """What `qwil plan` found."""

    plan: Plan
    differences: tuple[Difference, ...]
    """What a candidate changes in the policy itself."""
    failing: tuple[Outcome, ...]
    unseen: str = ""
    """What of the homeserver could not be looked at, and why."""


class _Given(NamedTuple):
    policy: Policy


async def plan_from_record(config: Config, candidate: Path | None = None) -> Planned | list[Mistake]:
    """The plan of the policy in place, or of a candidate as if it were; the mistakes where it is no policy.

    Raises `RecordMissing` where the database is empty though there are chats.
    """
    current = load(config.policy)
    chosen = current if candidate is None else load(candidate, None if isinstance(current, tuple) else current)
    if isinstance(chosen, tuple):
        return list(chosen)
    store = await Store.open(config.database)
    try:
        observer = await observed(config, store)
        async with Homeserver(config, patient=False) as homeserver:
            unseen = await _look_for_chats(config, store, homeserver)
            if config.admin and not unseen:
                unseen = await _look_at_profiles(_profiles(config, observer, homeserver), observer)
        planner = await _planner(config, store, observer, _Given(chosen))
        found = () if candidate is None or isinstance(current, tuple) else tuple(differences(current, chosen))
        return Planned(planner.plan(), found, tuple(planner.failing_tests()), unseen)
    finally:
        await store.close()


async def _look_for_chats(config: Config, store: Store, homeserver: Homeserver) -> str:
    """Raises `RecordMissing` where an empty database is the wrong one; why that cannot be known, if it cannot."""
    try:
        await refuse_to_forget(config, store, homeserver)
    except HomeserverUnavailable as error:
        return f"the database is empty, and it is not known whether there are chats on the homeserver. {error}"
    return ""


def _profiles(config: Config, observer: Observer, homeserver: Homeserver) -> Profiles:
    async def nothing() -> None:
        """What differs is a part of the plan."""

    return Profiles(observer=observer, homeserver=homeserver, admin=config.admin, put_right=nothing)


async def _look_at_profiles(profiles: Profiles, observer: Observer) -> str:
    """Have what somebody else has changed in the plan, and nowhere else; why that cannot be known, if it cannot."""
    try:
        async with asyncio.timeout(LONGEST_LOOK):
            differing = await profiles.differing()
    except (HomeserverUnavailable, Refused, TimeoutError) as error:
        why = str(error) or "It takes too long."
        return f"names and pictures that somebody has changed on the homeserver may be missing here. {why}"
    for user in differing:
        observer.overlook_profile(user)
    return ""


async def observed(config: Config, store: Store) -> Observer:
    """The homeserver as the record has it."""
    observer = Observer(store, bot=UserId(config.bot), server=config.homeserver.server_name)
    await observer.load()
    return observer


async def _planner(
    config: Config,
    store: Store,
    observer: Observer,
    source: HasPolicy,
    look_again: Callable[[], Awaitable[None]] | None = None,
) -> Planner:
    planner = Planner(
        look_again=look_again,
        source=source,
        store=store,
        observer=observer,
        settings=Settings(config.auto_join, config.spaces.books_with_at_least),
        removals_wait_above=config.removals_wait_above,
    )
    await planner.load()
    return planner


async def apply_from_outside(config: Config, expected: str | None, by: str) -> dict[str, Any]:
    """Have the bridge apply, or do it in its place where it does not run; `status` is the exit status."""
    policy = load(config.policy)
    if isinstance(policy, tuple):
        raise Stopped(
            f"Nothing was done: the policy has mistakes ({len(policy)}), the first is {policy[0]}. "
            f"qwil check {config.policy} finds them all."
        )
    asked = {"plan": expected, "by": by, "policy": fingerprint(policy)}
    for address in _addresses(config):
        answer = await _ask_bridge(address, config, asked)
        if answer is not None:
            return answer
    return await _apply_alone(config, expected, by)


def _addresses(config: Config) -> list[str]:
    appservice = config.appservice
    local = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - where to reach, not to listen
    host = local.get(appservice.hostname, appservice.hostname)
    return list(dict.fromkeys((f"http://{host}:{appservice.port}", appservice.address)))


async def _ask_bridge(address: str, config: Config, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """The running bridge's answer; None where nobody listens."""
    headers = {"Authorization": f"Bearer {config.appservice.as_token}"}
    timeout = aiohttp.ClientTimeout(total=None, connect=10)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        for pause in (*TAKING_UP, None):
            try:
                async with session.post(address + APPLY, json=asked) as answer:
                    if answer.status == 200:
                        said: dict[str, Any] = json.loads(await answer.text())
                        return said
                    status = answer.status
            except aiohttp.ClientConnectorError:
                return None
            if status != 409 or pause is None:
                break
            await asyncio.sleep(pause)
    if status == 409:
        raise Stopped(
            f"Nothing was done: the bridge on {address} has another policy in force than {config.policy}. "
            "Its log says why."
        )
    raise Stopped(
        f"Nothing was done: what listens on {address} is not the bridge of this configuration (HTTP {status})."
    )


async def _apply_alone(config: Config, expected: str | None, by: str) -> dict[str, Any]:
    source = PolicySource(config.policy)
    source.load()
    store = await Store.open(config.database)
    try:
        async with (
            Homeserver(config) as homeserver,
            _in_place_of_the_bridge(config, store, homeserver),
            _alone(config),
        ):
            await refuse_to_forget(config, store, homeserver)
            observer = await observed(config, store)
            performer = Performer(homeserver, observer)
            direct = Direct(source, observer, performer)
            survey = Survey(store=store, observer=observer, homeserver=homeserver, admin=config.admin)

            profiles = _profiles(config, observer, homeserver)

            async def look_again() -> None:
                await survey.look()
                await profiles.forget_changed()

            planner = await _planner(config, store, observer, source, look_again)
            answer = await _outcome(planner.apply(performer, direct, by=by, expected=expected))
            await _until_on_record(config, store, planner)
            return answer
    except RecordMissing as missing:
        raise Stopped(f"Nothing was done. {missing}") from missing
    finally:
        await store.close()


async def _until_on_record(config: Config, store: Store, done: Planner) -> None:
    """What was done is done again by whoever does not find it on record: wait for the homeserver to send it."""
    known = done.plan().hash
    for pause in ON_RECORD:
        recorded = await _planner(config, store, await observed(config, store), _Given(done.policy))
        if recorded.plan().hash == known:
            return
        await asyncio.sleep(pause)
    log.warning(
        "The homeserver has not sent to %s what was done: the record lacks it until the bridge runs. "
        "Is its registration in homeserver.yaml?",
        config.appservice.address,
    )


@asynccontextmanager
async def _alone(config: Config) -> AsyncIterator[None]:
    """A bridge that listens elsewhere works on the same database."""
    try:
        async with sole_user(config.database, "qwil apply"):
            yield
    except HeldError as held:
        raise Stopped(f"Nothing was done. {held}") from held


@asynccontextmanager
async def _in_place_of_the_bridge(config: Config, store: Store, homeserver: Homeserver) -> AsyncIterator[None]:
    """Hold the bridge's port: no bridge can start meanwhile, and what the homeserver sends is stored for it."""

    async def nobody_handles(_event: StoredEvent) -> None:
        raise AssertionError("events are only stored here")

    application = web.Application()
    restore = partial(with_originals, homeserver)
    Receiver(store, nobody_handles, hs_token=config.appservice.hs_token, restore=restore).add_routes(application)
    runner = web.AppRunner(application, shutdown_timeout=ENDING)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, config.appservice.hostname, config.appservice.port).start()
        except OSError as error:
            raise Stopped(
                f"Nothing was done: the bridge's port {config.appservice.port} cannot be held: {error}."
            ) from error
        yield
    finally:
        await runner.cleanup()


def as_data(planned: Planned) -> dict[str, Any]:
    """What `qwil plan --json` prints."""
    return {
        **as_json(planned.plan),
        "policy": [difference._asdict() for difference in planned.differences],
        "failing": [outcome.expectation.name for outcome in planned.failing],
        "unseen": planned.unseen,
    }


def said(planned: Planned) -> list[str]:
    """What `qwil plan` prints."""
    text = []
    if planned.differences:
        text += [f"The policy ({len(planned.differences)}):", *(f"- {each.text}" for each in planned.differences)]
    text += lines(planned.plan)
    text += [
        f"Test not met, apply will refuse: {outcome.expectation.where}: {outcome.expectation.name}"
        for outcome in planned.failing
    ]
    text += [f"Note: {planned.unseen}"] if planned.unseen else []
    steps = planned.plan.steps
    if not steps:
        return [*text, "Nothing is to be done on the homeserver."]
    changes = "1 change" if len(steps) == 1 else f"{len(steps)} changes"
    waiting = sum(step.waits for step in steps)
    return [*text, f"Plan {planned.plan.hash}: {changes}, {waiting} of them waiting for apply."]


def report(answer: Mapping[str, Any]) -> list[str]:
    """What `qwil apply` prints."""
    steps = answer["plan"]["steps"] if "plan" in answer else []
    listed = [f"- {step['text']}" for step in steps]
    if "error" in answer:
        return [answer["error"], *listed]
    if not steps:
        return ["Nothing is to be done on the homeserver."]
    failed = [f"Not done: {text}: {reason}" for text, reason in answer["failed"]]
    return [*listed, *failed, f"Plan {answer['plan']['hash']}: {len(steps) - len(failed)} of {len(steps)} done."]
