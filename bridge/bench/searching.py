"""People search for any viewer and text, its slowest hundredth, against one linear scan over the folded names."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from random import Random
from statistics import median

from bridge.bench.measure import FEWEST_ROUNDS, Row, percentile, seconds_of
from bridge.bench.size import Say, Size
from bridge.bench.world import FIRST, LAST, NOW, World
from policy.model import Membership, Policy
from policy.question import Search
from policy.search import fold, index_steps, search

NAME = "search"
SHARE = 0.1
SCANS = 20
"""In each round, in between the searches."""


def measure(size: Size, say: Say) -> Iterator[Row]:
    """The row; how long the index takes is told with it."""
    say(f"search: reading a policy of {size.people:,} people")
    policy = World(size.people).policy
    indexing = seconds_of(lambda: sum(1 for _ in index_steps(policy)))
    names = [fold(member.name) for member in policy.people.values()]
    asked = searches(policy, size.searches)
    samples, details = [], []
    for number in range(max(size.rounds, FEWEST_ROUNDS)):
        say(f"search: round {number + 1}")
        slowest, scan = _round(policy, asked, names)
        samples.append(slowest / scan)
        details.append((slowest, scan))
    slowest, scan = sorted(details)[len(details) // 2]
    detail = f"{slowest * 1e6:.0f} µs against {scan * 1e6:.0f} µs; the index takes {indexing:.2f} s once"
    what = f"{size.people:,} people: 99th percentile of {len(asked):,} searches against one scan over the names"
    yield Row(NAME, what, tuple(samples), SHARE, detail=detail)


def searches(policy: Policy, count: int, seed: int = 3) -> list[Search]:
    """Viewers of every kind with texts of every kind: letters, beginnings, whole names, middles, nonsense."""
    chance = Random(seed)
    people = [one for one in policy.people.values() if one.status == "active" and one.ends > NOW]
    names = [organisation.name for organisation in policy.organisations.values()]
    return [Search(chance.choice(people).id, _text(chance, chance.choice(people), names)) for _ in range(count)]


def _text(chance: Random, somebody: Membership, organisations: Sequence[str]) -> str:
    first, last = chance.choice(FIRST), chance.choice(LAST)
    organisation = chance.choice(organisations)
    start = chance.randrange(max(len(somebody.name) - 2, 1))
    return chance.choice(
        (
            somebody.name,
            somebody.name[: chance.randint(1, 6)],
            somebody.name.upper(),
            somebody.name[start : start + chance.randint(1, 4)],
            first[: chance.randint(1, 3)],
            last,
            f"{first[:2]} {last[:2]}",
            f"{last} {first}",
            organisation,
            organisation.split()[-1][:4],
            f"{first} {organisation.split()[-1]}",
            chance.choice("aeinorst"),
            f"{last}x{first}",
            "school",
        )
    )


def _round(policy: Policy, asked: Sequence[Search], names: Sequence[str]) -> tuple[float, float]:
    """Seconds of the 99th percentile of the searches, and of a scan in the midst of them."""
    seconds, scans = [], []
    every = max(len(asked) // SCANS, 1)
    for number, question in enumerate(asked):
        if number % every == 0:
            scans.append(seconds_of(partial(_scan, names, fold(question.text))))
        start = time.process_time()
        search(policy, question, NOW)
        seconds.append(time.process_time() - start)
    return percentile(seconds, 0.99), median(scans)


def _scan(names: Sequence[str], text: str) -> list[str]:
    return [name for name in names if text in name]
