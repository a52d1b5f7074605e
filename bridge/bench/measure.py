"""A measured row and how it is measured: two sides in turns, in seconds of the processor, for a bounded time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

Side = Callable[[], object]

ROUNDS = 9
FEWEST_ROUNDS = 3
PATIENCE = 60.0
"""Seconds after which no further round begins."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing measured: the samples of all rounds, and the bound that the median keeps."""

    name: str
    """The benchmark it belongs to."""
    what: str
    samples: tuple[float, ...]
    limit: float
    bound: Literal["at most", "at least"] = "at most"
    unit: str = "x"
    detail: str = ""
    """What the ratio is made of, in absolute figures of this machine."""

    @property
    def median(self) -> float:
        return median(self.samples)

    @property
    def good(self) -> bool:
        """The median is within the bound."""
        return self.median <= self.limit if self.bound == "at most" else self.median >= self.limit

    def as_json(self) -> dict[str, Any]:
        """The row for programs."""
        return {
            "benchmark": self.name,
            "what": self.what,
            "median": self.median,
            "least": min(self.samples),
            "most": max(self.samples),
            "unit": self.unit,
            "bound": self.bound,
            "limit": self.limit,
            "good": self.good,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Turns:
    """The seconds that each side took in each round."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours by theirs, round by round."""
        return tuple(our / their for our, their in zip(self.ours, self.theirs, strict=True))

    @property
    def inverse(self) -> tuple[float, ...]:
        """Theirs by ours: how many times as fast we are."""
        return tuple(1 / ratio for ratio in self.ratios)


def in_turns(ours: Side, theirs: Side, rounds: int = ROUNDS) -> Turns:
    """Time both sides in turns, who begins changing every round; one round before, which does not count, warms up."""
    seconds: tuple[list[float], list[float]] = ([], [])
    ours(), theirs()
    # What was built for the measurement is not searched for garbage in the middle of it, on neither side.
    gc.collect()
    gc.freeze()
    try:
        until = time.monotonic() + PATIENCE
        for number in range(rounds):
            if number >= FEWEST_ROUNDS and time.monotonic() > until:
                break
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                seconds[side].append(seconds_of((ours, theirs)[side]))
    finally:
        gc.unfreeze()
    return Turns(tuple(seconds[0]), tuple(seconds[1]))


def seconds_of(side: Side) -> float:
    """What one call costs the processor; what others do on the machine meanwhile counts less than by the clock."""
    start = time.process_time()
    side()
    return time.process_time() - start


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all values does not exceed."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]
