"""Work beside others who cannot wait: no part of it is long, and nothing is thrown away all at once."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Generator, Iterator
from itertools import pairwise

from policy.in_turns import quick_turns, thrown_away, turns
from policy.model import Policy


class Leaf:
    """Something small that can be seen to be gone."""


def steps(count: int) -> Generator[None, None, str]:
    for _ in range(count):
        yield
    return "done"


def test_without_a_pause_all_is_one_turn() -> None:
    waited: list[float] = []

    assert list(turns(steps(1_000), 0, waited.append)) == []
    assert waited == []


def test_after_each_turn_the_others_have_theirs() -> None:
    waited: list[float] = []

    def slow() -> Generator[None, None, str]:
        for _ in range(3):
            sum(range(500_000))
            yield
        return "done"

    taken = list(turns(slow(), 0.25, waited.append))

    assert waited == [0.25] * 3
    assert len(taken) == 3


def live(leaves: list[weakref.ref[Leaf]]) -> int:
    return sum(leaf() is not None for leaf in leaves)


def gone_step_by_step(wholes: list[object], leaves: list[weakref.ref[Leaf]]) -> Iterator[int]:
    yield live(leaves)
    for _ in thrown_away(wholes, (Leaf,)):
        yield live(leaves)
    yield live(leaves)


def test_what_is_thrown_away_goes_in_pieces_however_it_was_held() -> None:
    made = [Leaf() for _ in range(6_000)]
    leaves = [weakref.ref(leaf) for leaf in made]
    policy = Policy()
    policy.memo["list"] = made[:3_000]
    policy.memo["dict"] = {"deep": dict(enumerate(made[2_000:]))}
    wholes: list[object] = [policy]
    del made, policy

    counts = list(gone_step_by_step(wholes, leaves))

    assert wholes == []
    assert counts[0] == 6_000
    assert counts[-1] == 0
    assert max(before - after for before, after in pairwise(counts)) <= 500


def test_work_that_was_broken_off_goes_in_pieces_too() -> None:
    leaves: list[weakref.ref[Leaf]] = []

    def inner(held: list[Leaf]) -> Generator[None, None, None]:
        held.extend(Leaf() for _ in range(2_000))
        leaves.extend(map(weakref.ref, held))
        yield

    def outer() -> Generator[None, None, None]:
        yield from inner([])

    work = outer()
    next(work)
    wholes: list[object] = [work]
    del work

    counts = list(gone_step_by_step(wholes, leaves))

    assert (counts[0], counts[-1]) == (2_000, 0)
    assert max(before - after for before, after in pairwise(counts)) <= 500


def test_what_somebody_else_still_holds_is_left_as_it_is() -> None:
    kept = {"one": [Leaf()]}

    list(thrown_away([kept], (Leaf,)))

    assert isinstance(kept["one"][0], Leaf)


def test_threads_give_way_sooner_only_meanwhile() -> None:
    usual = sys.getswitchinterval()

    with quick_turns():
        assert sys.getswitchinterval() < usual
    assert sys.getswitchinterval() == usual
