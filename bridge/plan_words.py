"""The administrators' words `plan` and `apply`: each sees and does what concerns the organisations they administer."""

from __future__ import annotations

from bridge.commands import Answer, Asked, Commands, Word
from bridge.direct import Direct
from bridge.office import where
from bridge.perform import Performer
from bridge.planning import Applied, Moved, Planner, Stopped
from policy.decide import decide
from policy.plan import Plan, is_hash, lines
from policy.question import Administer

SHOWN = 20
"""Lines of each section in one answer."""


def plan_words(planner: Planner, performer: Performer, direct: Direct) -> dict[str, Word]:
    """The words, with the parts they use."""

    async def show(_commands: Commands, asked: Asked) -> str:
        unmet = [f"- {outcome.expectation.name}" for outcome in planner.failing_tests()]
        told = [f"“apply” is refused while these of the policy's own tests are not met ({len(unmet)}):", *unmet[:SHOWN]]
        return "\n".join([_shown(planner.part(_administered(asked))), *(told if unmet else ())])

    async def apply(_commands: Commands, asked: Asked) -> str:
        expected = asked.rest.strip().lower() or None
        if expected is not None and not is_hash(expected):
            raise Answer(
                f"“{asked.rest[:40]}” names no plan: write “apply”, or “apply” with the name that “plan” shows."
            )
        organisations = _administered(asked)
        try:
            applied = await planner.apply(
                performer,
                direct,
                by=asked.user,
                expected=expected,
                organisations=organisations,
                where=where(asked),
            )
        except Moved as moved:
            raise Answer(f"{moved}\n\n{_shown(moved.plan)}") from moved
        except Stopped as stopped:
            raise Answer(str(stopped)) from stopped
        return _done(applied)

    return {
        "plan": Word("plan", "what is to be done on the homeserver, and what waits for you", show, admins=True),
        "apply": Word("apply [PLAN]", "do it, also what waits; with its name only that very plan", apply, admins=True),
    }


def _administered(asked: Asked) -> frozenset[str]:
    """The organisations whose people the asker manages (ROLE-1)."""
    return frozenset(
        member.organisation
        for member in asked.memberships
        if decide(asked.policy, Administer(member.id, member.organisation, "people"), asked.now).allowed
    )


def _shown(planned: Plan) -> str:
    text = list(lines(planned, SHOWN))
    if not planned.steps:
        return "\n".join([*text, "Nothing is to be done: the homeserver is as the policy says."])
    return "\n".join([*text, f"Write “apply {planned.hash}” to have exactly this done."])


def _done(applied: Applied) -> str:
    if not applied.plan.steps:
        return "Nothing is to be done: the homeserver is as the policy says."
    done = len(applied.plan.steps) - len(applied.failed)
    text = [f"Done: {done} of {len(applied.plan.steps)} (plan {applied.plan.hash})."]
    text += [f"- not done: {what}: {reason}" for what, reason in applied.failed]
    return "\n".join(text)
