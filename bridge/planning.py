"""What is done on the homeserver by itself, what waits, and `apply`: for the bridge, its words and the command line."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import NamedTuple, Protocol

from bridge.direct import Direct
from bridge.observe import Observer
from bridge.perform import Performer
from bridge.store import Store
from policy.action import Action, Remove, SetProfile, Withdraw
from policy.ask import Outcome, run_tests
from policy.model import Moment, Policy, UserId
from policy.observation import Settings
from policy.plan import Plan, Seat, plan, waits
from policy.reconcile import profile_actions
from policy.turns import steady

WAITING = "waiting:"
TOLD = "waiting-told:"

FOLLOW_UPS = 3
"""Rounds after an apply for what follows from it, such as a space that lists one chat less."""

LONGEST_NOTICE = 50
"""Lines of a notice to administrators."""


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
