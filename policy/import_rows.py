"""What the rows of a table say of the people of an organisation: who is new, who is there, and how each would be.

An empty cell leaves what stands in the policy, or what newcomers have by default. A row of somebody who is there is
read only where a cell of it is not written as what stands: what says nothing new cannot be wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from functools import cached_property
from itertools import compress
from operator import itemgetter
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from policy.csv_people import NAMES
from policy.enrol import IDENTIFIER, Columns, Enrolled, Enrolment, changed_role, check
from policy.import_reasons import reason_of
from policy.import_verdicts import Reason, Table
from policy.mistake import Notebook, Place
from policy.model import Membership, Organisation, Policy, UserId
from policy.sheet import COLUMNS, Sheet

BOOKS = "contact_books"
FIELDS = tuple(column for column in COLUMNS if column not in ("identifier", BOOKS))
"""The columns that say one thing of a person."""


class Roll(NamedTuple):
    """Everybody in an organisation, whatever their status."""

    people: Mapping[str, Membership]
    """By identifier."""
    owners: Mapping[str, str]
    """Whose an e-mail address is, by identifier; those who left keep theirs (INV-11)."""
    staff: Mapping[str, frozenset[str]]
    """The active staff in each book, by identifier."""
    unstaffed: frozenset[str]
    """The books without any."""


def roll_of(policy: Policy, home: Organisation) -> Roll:
    """The roll of an organisation, which is called once a policy."""
    known: dict[str, Roll] = policy.memo.setdefault("roll", {})
    if home.identifier not in known:
        here = [one for one in policy.people.values() if one.organisation == home.identifier]
        active = {one.id: one.identifier for one in here if one.role == "staff" and one.status == "active"}
        staff = {
            name: frozenset(map(active.__getitem__, active.keys() & book.members)) for name, book in home.books.items()
        }
        known[home.identifier] = Roll(
            people={one.identifier: one for one in here},
            owners={one.email.lower(): one.identifier for one in here if one.email},
            staff=staff,
            unstaffed=frozenset(name for name, some in staff.items() if not some),
        )
    return known[home.identifier]


class Rows:
    """The rows of a table as people; a row is named by its index."""

    def __init__(self, policy: Policy, home: Organisation, table: Table) -> None:
        self.policy, self.home = policy, home
        self.roll = roll_of(policy, home)
        columns = dict(zip(table.headings, table.columns, strict=True))
        empty = [""] * len(table.numbers)
        self.ids = columns["identifier"]
        self.given = {heading: columns[heading] for heading in COLUMNS[1:] if columns.get(heading, empty) != empty}
        """The other columns in which anything stands, in the order of the template."""
        self.distinct = len({*self.ids}) == len(self.ids)
        """No identifier stands twice."""
        found = list(map(self.roll.people.get, self.ids))
        self.old = {index: one for index, one in enumerate(found) if one is not None} if any(found) else {}
        """Those who are there."""
        self.rewritten = self._rewritten() if self.old else {}
        """Under which headings a cell of theirs is not written as what stands in the policy."""
        self._read(self._to_read())
        if len(self.read) < len(self.ids) and not self.holders.isdisjoint(self.ids):
            # Whose it is, is settled by which row stands first.
            self._read(range(len(self.ids)))

    def cell(self, heading: str, index: int) -> str:
        """What stands in a cell of the table."""
        column = self.given.get(heading)
        return column[index] if column else ""

    def member(self, index: int) -> Membership:
        """Somebody as their row would have them."""
        place = self._places.get(index)
        return self.old[index] if place is None else self._members[place]

    def fields(self, index: int) -> tuple[tuple[str, str], ...]:
        """What stands in the cells of a newcomer, what is there by default included."""
        place = self._places[index]
        return tuple((heading, cell) for heading in FIELDS if (cell := self.merged[heading][place]))

    @cached_property
    def _members(self) -> list[Membership]:
        return self.meant.members()

    @cached_property
    def _places(self) -> Mapping[int, int]:
        return {index: place for place, index in enumerate(self.read)}

    # Which rows are read

    def _rewritten(self) -> dict[int, list[str]]:
        standing, pick = _by_heading(self.old.values()), _picker([*self.old])
        found: dict[int, list[str]] = defaultdict(list)
        for heading, column in self.given.items():
            cells, values = pick(column), standing[heading]
            if cells != values:
                write = _WRITTEN.get(heading, str)
                for index, cell, value in compress(zip(self.old, cells, values, strict=True), cells):
                    if cell != value and cell != write(value):
                        found[index].append(heading)
        return found

    def _to_read(self) -> Sequence[int]:
        """All rows but those of people who are there that say, letter by letter, what is so already."""
        everything = range(len(self.ids))
        if not self.old or not self.distinct:
            return everything
        said = [True] * len(self.ids)
        for index in self.old.keys() - self.rewritten.keys():
            said[index] = False
        return list(compress(everything, said))

    # What they mean

    def _read(self, read: Sequence[int]) -> None:
        """Read these rows, and note what is wrong with their cells."""
        self.read = read
        """The rows that were looked at."""
        self._pick = _picker(read)
        self._known = {index: place for place, index in enumerate(read) if index in self.old} if self.old else {}
        """Those of them whose people are there, each with its place among them."""
        self.merged = self._merged()
        """What was looked at, as text, filled up."""
        self.books_to_be = self._books_to_be()
        notes, enrolled = Notebook(""), Enrolled()
        sheet = _Sheet("", self.merged, len(read), bare=True)
        self.meant: Columns = check(sheet, self._enrolment(), self._accounts(), notes, enrolled)
        """What was looked at, as the policy would have it."""
        self.changed = dict(self._changed())
        """What would be otherwise of people who are there, by heading: the books, or the text of a cell."""
        for index in (index for index, fields in self.changed.items() if "role" in fields):
            place = self._known[index]
            notes.add(sheet.place(place, "role"), changed_role(self.old[index], self.meant.roles[place]))
        self.wrong = list(self._wrong(notes)) if len(notes) else []
        """What is wrong in which row."""
        self.holders = self._holders(enrolled.emails)
        """Who has an address or account that a row would give to somebody else, by identifier."""

    def _enrolment(self) -> Enrolment:
        home = self.home
        return Enrolment(
            organisation=home.identifier,
            books=[*home.books, *self.books_to_be],
            members={},
            zone=UTC if home.timezone == "UTC" else ZoneInfo(home.timezone),
            mobile={"staff": home.mobile_staff, "client": home.mobile_client},
            staff_domains=home.invitations.staff_domains,
        )

    def _merged(self) -> dict[str, list[str]]:
        """The columns, filled up from what stands in the policy and from what newcomers have by default."""
        standing = _by_heading(map(self.old.__getitem__, self._known))
        default = {"status": "invited", BOOKS: self.home.default_book}
        filled = {"identifier": self._picked(self.ids)}
        for heading in COLUMNS[1:]:
            filled[heading] = self._filled(heading, standing.get(heading, ()), default.get(heading, ""))
        if not (all(filled["first_name"]) or all(filled["last_name"])):
            names = self._filled("name", standing.get("name", ()), "")
            parts = zip(names, *(filled[heading] for heading in NAMES), strict=True)
            filled["name"] = ["" if first or last else name for name, first, last in parts]
        return filled

    def _picked(self, column: list[str]) -> list[str]:
        """The cells of the rows that are read."""
        return list(self._pick(column)) if len(self.read) < len(column) else column

    def _filled(self, heading: str, standing: Sequence[Any], default: str) -> list[str]:
        """A column with what stands wherever a cell is empty."""
        column = self.given.get(heading)
        if column is None:
            cells = [default] * len(self.read)
        elif all(cells := self._picked(column)):
            return cells
        else:
            cells = [cell or default for cell in cells]
        if default or any(standing):
            write = _WRITTEN.get(heading, str)
            for (index, place), value in zip(self._known.items(), standing, strict=True):
                if column is None or not column[index]:
                    cells[place] = write(value)
        return cells

    def _books_to_be(self) -> list[str]:
        """IMP-2: a book that a row of the staff names comes into being with it."""
        cells = zip(self.merged[BOOKS], self.merged["role"], strict=True)
        named = set(map(str.strip, ";".join({cell for cell, role in cells if role == "staff"}).split(";")))
        return sorted(filter(IDENTIFIER.fullmatch, named - self.home.books.keys()))

    def _accounts(self) -> dict[UserId, tuple[Membership, ...]]:
        """The memberships of the Matrix IDs in the rows, other than those that the rows themselves are about."""
        known = self.policy.accounts.keys() & set(self.merged["matrix"])
        here = {self.old[index].id for index in self._known} if known else set()
        return {user: tuple(one for one in self.policy.accounts[user] if one.id not in here) for user in known}

    def _changed(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Compared as meant, not as written; whoever has a name in one piece keeps it so."""
        columns: dict[str, Any] = dict(zip(_FIELD, self.meant, strict=True))
        for index, place in self._known.items():
            old = self.old[index]
            fields: dict[str, Any] = {}
            headings: Sequence[str] = self.rewritten.get(index, ())
            if not (old.first_name or old.last_name or _NAMES.isdisjoint(headings)):
                headings = ["name", *(heading for heading in headings if heading not in NAMES)]
            for heading in headings:
                new = columns[heading][place]
                if new != getattr(old, _FIELD[heading]):
                    fields[heading] = new if heading in _AS_MEANT else self.given[heading][index]
            if fields:
                yield index, fields

    def _wrong(self, notes: Notebook) -> Iterator[tuple[int, Reason]]:
        for place, text in notes.sorted():
            heading = _HEADINGS[place.column]
            yield self.read[place.line], reason_of("first_name" if heading == "name" else heading, text)

    def _holders(self, emails: set[str]) -> set[str]:
        """INV-11, INV-12: who has the addresses and accounts of the rows, besides those whose rows they are."""
        owners, accounts = self.roll.owners, self.policy.accounts
        holders = {owners[email] for email in emails if email in owners}
        if any(self.meant.matrix):
            for user in accounts.keys() & set(self.meant.matrix):
                holders.update(one.identifier for one in accounts[user] if one.organisation == self.home.identifier)
        return holders - {self.ids[index] for index in self._known} if holders else holders


_HEADINGS = (*COLUMNS, "name")


class _Sheet(Sheet):
    """Rows of a table; the place of a cell is that of the row and of the heading among those that there can be."""

    def place(self, index: int, heading: str) -> Place:
        return Place(self.file, index, _HEADINGS.index(heading))


_AS_MEANT = (BOOKS, "name")
_NAMES = frozenset(NAMES)
_FIELD = {BOOKS if field == "books" else field: field for field in Membership._fields[1:]}
"""What a membership has under each heading, and beside them."""


def _by_heading(people: Iterable[Membership]) -> dict[str, tuple[Any, ...]]:
    """What people are, a column each field; without anybody, no column."""
    return dict(zip(("id", *_FIELD), zip(*people, strict=True), strict=False))


def _picker(rows: Sequence[int]) -> Callable[[Sequence[str]], tuple[str, ...]]:
    """Takes the cells of these rows out of a column."""
    return itemgetter(*rows) if len(rows) > 1 else lambda column: tuple(column[row] for row in rows)


_WRITTEN: Mapping[str, Callable[[Any], str]] = {
    "matrix": lambda user: user or "",
    BOOKS: lambda books: ";".join(sorted(books) if len(books) > 1 else books),
    "until": lambda day: day.isoformat() if day else "",
    "unlisted": lambda unlisted: "true" if unlisted else "",
}
"""How a spreadsheet has what is no text in a membership."""
