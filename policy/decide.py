"""The heart: a policy and a question make a decision.

A question is allowed where no rule objects; an empty policy names nobody, so it allows nothing. Whoever asks a question
about a membership that is not in the policy gets `KeyError`, which every edge turns into a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from policy.decision import Decision, Kind, Objection
from policy.model import Moment, Policy
from policy.question import (
    Add,
    Administer,
    BarClients,
    Enter,
    Export,
    Leave,
    Question,
    Remove,
    Rename,
    Review,
    Search,
    See,
    Send,
    StartChat,
)
from policy.rules import administer, record, see, start_chat, take_part
from policy.rules.company import current_kind, kind_of
from policy.search import search


def decide(policy: Policy, question: Question, now: Moment) -> Decision:  # noqa: C901 - one case a question, closed by assert_never
    """What the policy says at `question.on`, or else `now`, with every rule that objects."""
    now = now if question.on is None else question.on
    match question:
        case Send():
            return _judged(take_part.send_objections(policy, question, now), current_kind(policy, question.chat))
        case StartChat():
            return _start(policy, question, now)
        case Add():
            return _add(policy, question, now)
        case Remove():
            error = take_part.remove_error(policy, question, now)
            return _in_chat(policy, question, take_part.remove_objections(policy, question, now), error)
        case Leave():
            error = take_part.leave_error(policy, question, now)
            return _in_chat(policy, question, take_part.leave_objections(policy, question, now), error)
        case Rename():
            return _in_chat(policy, question, take_part.rename_objections(policy, question, now))
        case BarClients():
            return _in_chat(policy, question, take_part.bar_clients_objections(policy, question, now))
        case Enter():
            return _in_chat(policy, question, take_part.enter_objections(policy, question, now))
        case Export():
            return _in_chat(policy, question, record.export_objections(policy, question, now))
        case Review():
            return _in_chat(policy, question, record.review_objections(policy, question, now))
        case See():
            return _judged(see.objections(policy, question, now))
        case Search():
            return search(policy, question, now)
        case Administer():
            return _judged(administer.objections(policy, question, now))
        case _:
            assert_never(question)


def _judged(objections: Iterable[Objection], kind: Kind | None = None) -> Decision:
    because = tuple(dict.fromkeys(objections))
    return Decision(not because, because, kind)


def _start(policy: Policy, question: StartChat, now: Moment) -> Decision:
    decision = _judged(start_chat.objections(policy, question, now))
    if not decision.allowed:
        return decision
    home = policy.people[question.who].organisation
    everybody = (question.who, *(member.id for member in start_chat.others(policy, question)))
    return decision._replace(kind=kind_of(policy, home, everybody))


def _add(policy: Policy, question: Add, now: Moment) -> Decision:
    kind = current_kind(policy, question.chat)
    if error := take_part.add_error(policy, question, now):
        return Decision(False, kind=kind, error=error)
    decision = _judged(take_part.add_objections(policy, question, now), kind)
    if not decision.allowed:
        return decision
    return decision._replace(kind=kind_of(policy, question.chat.organisation, (question.whom,), decision.kind))


def _in_chat(
    policy: Policy,
    question: Remove | Leave | Rename | Export | Review | Enter | BarClients,
    objections: Iterable[Objection],
    error: str | None = None,
) -> Decision:
    kind = current_kind(policy, question.chat)
    return Decision(False, kind=kind, error=error) if error else _judged(objections, kind)
