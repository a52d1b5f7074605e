"""What an import comes to: a verdict for every row of a table, the changes of the good rows, and all of it in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Self

from policy.change import Change
from policy.model import PersonId

MOST_CLIENTS = 500
"""IMP-3."""

MOST_ROWS = 5000
"""As many rows are read; clients and staff of a large school fit in."""

REASON = "reason"
"""The column in which refused rows come back; it says nothing when it is read."""

Outcome = Literal["new", "change", "same", "skipped", "refused"]

_COUNTED: Mapping[Outcome, str] = {
    "new": "new", "change": "changed", "same": "unchanged", "skipped": "skipped", "refused": "refused",
}  # fmt: skip


class Table(NamedTuple):
    """A spreadsheet as text, its cells without spaces around them."""

    headings: list[str]
    columns: list[list[str]]
    """One below each heading, all of the same length."""
    numbers: Sequence[int]
    """Which row of the file each is, the headings being row 1."""
    wrong: Mapping[tuple[int, str], str] = {}
    """Sentences about cells that hold what no text can, by row number and heading."""

    @classmethod
    def of(
        cls,
        headings: list[str],
        rows: Sequence[Sequence[str]],
        numbers: Sequence[int],
        wrong: Mapping[tuple[int, str], str] | None = None,
    ) -> Self:
        """The table of these rows, every one as wide as the headings."""
        columns = list(map(list, zip(*rows, strict=True))) if rows else [[] for _ in headings]
        return cls(headings, columns, numbers, wrong or {})

    @property
    def rows(self) -> list[list[str]]:
        """The table row by row."""
        return list(map(list, zip(*self.columns, strict=True)))


class Reason(NamedTuple):
    """What is wrong in a row, where, and what may have been meant."""

    column: str
    text: str
    suggestion: str = ""

    def __str__(self) -> str:
        hint = f" — {self.suggestion}" if self.suggestion else ""
        return f"{self.column}: {self.text}{hint}" if self.column else f"{self.text}{hint}"


class Verdict(NamedTuple):
    """What becomes of one row."""

    row: int
    identifier: str
    outcome: Outcome
    says: str = ""
    """What changes, in words."""
    reasons: tuple[Reason, ...] = ()

    def __str__(self) -> str:
        why = "; ".join(map(str, self.reasons)) if self.reasons else self.says
        return f"row {self.row} {self.identifier or '(no identifier)'}: {self.outcome}{f': {why}' if why else ''}"


def _unsaid(_row: int, _outcome: Outcome) -> Verdict:
    raise AssertionError("an import without rows has no verdicts")


@dataclass(frozen=True)
class Import:
    """What a file would do: nothing at all where it has mistakes as a whole."""

    organisation: str
    table: Table
    mistakes: tuple[str, ...] = ()
    outcomes: Sequence[Outcome] = ()
    """What becomes of each row."""
    verdict: Callable[[int, Outcome], Verdict] = _unsaid
    """Puts it in words for one row: of those that are simply good, nobody wants to hear."""
    new_books: tuple[str, ...] = ()
    """The books it creates."""
    leavers: tuple[PersonId, ...] = ()
    """Whose membership it ends for good."""
    make: Callable[[], tuple[Change, ...]] = tuple
    """Makes the changes: a dry run has no need of them."""

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Of every row."""
        return tuple(map(self.verdict, range(len(self.outcomes)), self.outcomes))

    @cached_property
    def refused(self) -> tuple[Verdict, ...]:
        """The rows that are not taken."""
        return self.those("refused")

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """What the good rows change, in the order books, staff, clients (IMP-2)."""
        return self.make()

    @property
    def good(self) -> bool:
        """No row is refused."""
        return not self.mistakes and not self.count("refused")

    @property
    def does_something(self) -> bool:
        """A row is new or changes something."""
        return bool(self.count("new") or self.count("change"))

    def count(self, outcome: Outcome) -> int:
        """How many rows have that outcome."""
        return self._counted[outcome]

    @cached_property
    def _counted(self) -> Counter[Outcome]:
        return Counter(self.outcomes)

    def those(self, outcome: Outcome) -> tuple[Verdict, ...]:
        """The rows that have that outcome."""
        if not self.count(outcome):
            return ()
        return tuple(self.verdict(row, outcome) for row, one in enumerate(self.outcomes) if one == outcome)

    def refused_table(self) -> Table:
        """The refused rows as they came, each with its reasons in a last column."""
        reasons = {verdict.row: "; ".join(map(str, verdict.reasons)) for verdict in self.refused}
        pairs = zip(self.table.numbers, self.table.rows, strict=True)
        rows = [[*row, reasons[number]] for number, row in pairs if number in reasons]
        return Table.of([*self.table.headings, REASON], rows, range(2, len(rows) + 2))


def report(found: Import, most: int = MOST_ROWS) -> Iterator[str]:
    """An import in words: what is wrong, what is new, and every row that is not simply good, `most` of each."""
    if found.mistakes:
        yield from found.mistakes
        return
    yield f"{counts(found)}."
    if found.new_books:
        yield f"New contact books: {', '.join(found.new_books)}."
    if found.leavers:
        yield f"Memberships that end for good ({len(found.leavers)}): {', '.join(found.leavers[:most])}."
    rows = [*found.refused, *found.those("change")]
    yield from map(str, rows[:most])
    if len(rows) > most:
        yield f"… and {len(rows) - most} more rows."


def counts(found: Import) -> str:
    """How many rows have which outcome, as `3 new, 1 refused`."""
    numbers = {outcome: found.count(outcome) for outcome in _COUNTED}
    return ", ".join(f"{n} {_COUNTED[outcome]}" for outcome, n in numbers.items() if n or outcome in ("new", "refused"))
