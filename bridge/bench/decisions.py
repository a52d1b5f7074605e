"""Decisions with all their reasons in worlds of three sizes: against Cedar, bare look-ups, and one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median

from bridge.bench import lookups
from bridge.bench.cedar import Answer, Cedar, Requests
from bridge.bench.measure import Row, Side, Turns, in_turns
from bridge.bench.questions import Asked, questions
from bridge.bench.size import Say, Size
from bridge.bench.world import NOW, World
from policy.decide import decide
from policy.model import Policy
from policy.question import Add, StartChat

NAME = "decisions"
KINDS: Mapping[str, type[Asked]] = {"start_chat": StartChat, "add": Add}

CEDAR, LOOKUPS, GROWTH = 25, 4, 1.5
"""How many times as fast as Cedar, as slow as bare look-ups, and as slow in a world of another size."""


def measure(size: Size, say: Say) -> Iterator[Row]:
    """The rows, one kind of question after the other."""
    say(f"decisions: reading a policy of {size.people:,} people")
    policy = World(size.people).policy
    yield from _against_cedar(policy, size, say)
    yield from _against_lookups(policy, size, say)
    for people in size.other_worlds:
        say(f"decisions: reading a policy of {people:,} people")
        yield from _against_another_size(policy, people, size, say)


def _against_cedar(policy: Policy, size: Size, say: Say) -> Iterator[Row]:
    world = World(size.cedar_people)
    cedar = Cedar(world.policy, NOW)
    for kind, asked in _by_kind(questions(world, size.cedar_questions)):
        say(f"decisions: {kind} against Cedar")
        requests = [cedar.requests(question) for question in asked]
        _agree(policy, asked, [cedar.answer(request)[0] for request in requests])
        turns = in_turns(_deciding(policy, asked), partial(_each_answered, cedar, requests), size.rounds)
        what = f"{kind}, {size.people:,} people: times as fast as Cedar with {size.cedar_people:,}"
        yield Row(NAME, what, turns.inverse, CEDAR, "at least", detail=_each(turns, len(asked)))


def _each_answered(cedar: Cedar, requests: Sequence[Requests]) -> list[Answer]:
    return [cedar.answer(one) for one in requests]


def _against_lookups(policy: Policy, size: Size, say: Say) -> Iterator[Row]:
    facts = lookups.facts_of(policy, NOW)
    for kind, asked in _by_kind(questions(World(size.people), size.questions)):
        say(f"decisions: {kind} against bare look-ups")
        floor = _looking_up(facts, asked)
        _agree(policy, asked, floor())
        turns = in_turns(_deciding(policy, asked), floor, size.rounds)
        what = f"{kind}, {size.people:,} people: time against bare look-ups of the same facts"
        yield Row(NAME, what, turns.ratios, LOOKUPS, detail=_each(turns, len(asked)))


def _against_another_size(policy: Policy, people: int, size: Size, say: Say) -> Iterator[Row]:
    other = World(people)
    other_policy = other.policy
    facts, other_facts = lookups.facts_of(policy, NOW), lookups.facts_of(other_policy, NOW)
    for (kind, asked), (_, there) in zip(
        _by_kind(questions(World(size.people), size.questions)),
        _by_kind(questions(other, size.questions)),
        strict=True,
    ):
        say(f"decisions: {kind} with {people:,} people")
        turns = in_turns(_deciding(other_policy, there), _deciding(policy, asked), size.rounds)
        # What is in the processor's caches no more costs everybody who asks about many people, bare look-ups too.
        bare = in_turns(_looking_up(other_facts, there), _looking_up(facts, asked), size.rounds)
        what = f"{kind}: time with {people:,} people against {size.people:,}"
        detail = f"{_each(turns, len(asked))}; bare look-ups {median(bare.ratios):.2f}x"
        yield Row(NAME, what, turns.ratios, GROWTH, detail=detail)


def _by_kind(asked: Sequence[Asked]) -> Iterator[tuple[str, Sequence[Asked]]]:
    for name, kind in KINDS.items():
        yield name, [question for question in asked if isinstance(question, kind)]


def _deciding(policy: Policy, asked: Sequence[Asked]) -> Side:
    return lambda: [decide(policy, question, NOW) for question in asked]


def _looking_up(facts: lookups.Facts, asked: Sequence[Asked]) -> Callable[[], list[bool]]:
    if isinstance(asked[0], StartChat):
        return lambda: [lookups.may_start(facts, one, NOW) for one in asked if isinstance(one, StartChat)]
    return lambda: [lookups.may_add(facts, one, NOW) for one in asked if isinstance(one, Add)]


def _agree(policy: Policy, asked: Sequence[Asked], answers: Sequence[bool]) -> None:
    """Two sides that say different things are not worth comparing."""
    for question, answer in zip(asked, answers, strict=True):
        if decide(policy, question, NOW).allowed != answer:
            raise AssertionError(f"the two sides of the benchmark disagree about {question}")


def _each(turns: Turns, count: int) -> str:
    ours, theirs = (min(side) / count * 1e6 for side in (turns.ours, turns.theirs))
    return f"{ours:.1f} µs against {theirs:.1f} µs a question"
