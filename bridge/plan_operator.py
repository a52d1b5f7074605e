"""Plan and apply from the command line.

What is known of the homeserver is the record that the bridge keeps. Names and pictures of accounts are not in it: a
running bridge puts them right before anybody could plan it, the command line looks at them. `apply` is done by one
process only: two would both make the same space and each forget whose seat the other keeps. So the command line hands
it to the bridge over the bridge's own port, and where nobody listens there it listens itself for as long as it works,
storing what the homeserver sends meanwhile for the next bridge.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web

from bridge.apply_route import APPLY, outcome
from bridge.before import Survey
from bridge.config import Config
from bridge.direct import Direct
from bridge.empty_record import RecordMissing, refuse_to_forget
from bridge.homeserver import Homeserver, HomeserverUnavailable, Refused
from bridge.listen import ENDING
from bridge.observe import Observer
from bridge.originals import with_originals
from bridge.perform import Performer
from bridge.planning import HasPolicy, Planner, Stopped
from bridge.policy_file import PolicySource, load
from bridge.profiles import Profiles
from bridge.receive import Receiver
from bridge.sole import HeldError, sole_user
from bridge.store import Store, StoredEvent
from policy.ask import Outcome
from policy.differences import Difference, differences, fingerprint
from policy.mistake import Mistake
from policy.model import Policy, UserId
from policy.observation import Settings
from policy.plan import Plan, as_json, lines

TAKING_UP = (0.2, 0.3, 0.5, 1, 1, 2)
"""Seconds between looks whether the bridge has taken up a policy that was just saved."""

LONGEST_LOOK = 60.0
"""Seconds for which a plan waits for the homeserver's list of accounts."""

ON_RECORD = (0.1, 0.2, 0.5, 1, 2, 4, 8)
"""Seconds between looks whether the homeserver has sent what was done."""

NOTHING, CHANGES = 0, 2
"""Exit statuses of `qwil plan`."""

log = logging.getLogger("qwil.planning")


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
            answer = await outcome(planner.apply(performer, direct, by=by, expected=expected))
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
