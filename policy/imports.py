"""People from a table: a verdict for every row, and the changes that the good rows make. A dry run is only that.

A row names somebody new or somebody who is there: an empty cell then leaves what stands, books that are named take the
place of those before. The same file twice changes nothing the second time. Cells are judged by the same reader as those
of the policy's own spreadsheets; what rows do together (IMP-2: staff, books, clients) is judged on the policy as the
good rows would leave it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, timedelta
from functools import cached_property
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from policy.amend import Amended, forbidden
from policy.change import AddPerson, AddToBook, Change, CreateBook, RemoveFromBook, SetField
from policy.csv_people import NAMES
from policy.enrol import IDENTIFIER, Enrolment, Register, enrol
from policy.mistake import Notebook, Place, instead, quoted
from policy.model import Membership, Organisation, PersonId, Policy, UserId
from policy.sheet import COLUMNS, Sheet

MOST_CLIENTS = 500
"""IMP-3."""

MOST_ROWS = 5000
"""As many rows are read; clients and staff of a large school fit in."""

REASON = "reason"
"""The column in which refused rows come back; it says nothing when it is read."""

Outcome = Literal["new", "change", "same", "skipped", "refused"]

_FIELDS = tuple(column for column in COLUMNS if column not in ("identifier", "contact_books"))
_BOOKS = "contact_books"
_UNFIT = re.compile(r"[^a-z0-9_-]+")
_EXCEL_DAYS = date(1899, 12, 30)
"""Day 0 of a spreadsheet's calendar."""


class Table(NamedTuple):
    """A spreadsheet as text, its cells without spaces around them and every row as wide as the headings."""

    headings: list[str]
    rows: list[list[str]]
    numbers: list[int]
    """Which row of the file each is, the headings being row 1."""
    wrong: Mapping[tuple[int, str], str] = {}
    """Sentences about cells that hold what no text can, by row number and heading."""


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
        why = "; ".join(map(str, self.reasons)) or self.says
        return f"row {self.row} {self.identifier or '(no identifier)'}: {self.outcome}{f': {why}' if why else ''}"


@dataclass(frozen=True)
class Import:
    """What a file would do: nothing at all where it has mistakes as a whole."""

    organisation: str
    table: Table
    mistakes: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def good(self) -> bool:
        """No row is refused."""
        return not self.mistakes and not self.refused

    @cached_property
    def refused(self) -> tuple[Verdict, ...]:
        """The rows that are not taken."""
        return tuple(verdict for verdict in self.verdicts if verdict.outcome == "refused")

    @property
    def new_books(self) -> tuple[str, ...]:
        """The books it creates."""
        return tuple(change.book for change in self.changes if isinstance(change, CreateBook))

    def count(self, outcome: Outcome) -> int:
        """How many rows have that outcome."""
        return sum(verdict.outcome == outcome for verdict in self.verdicts)

    def refused_table(self) -> Table:
        """The refused rows as they came, each with its reasons in a last column."""
        reasons = {verdict.row: "; ".join(map(str, verdict.reasons)) for verdict in self.refused}
        pairs = zip(self.table.numbers, self.table.rows, strict=True)
        rows = [[*row, reasons[number]] for number, row in pairs if number in reasons]
        return Table([*self.table.headings, REASON], rows, list(range(2, len(rows) + 2)))


def plan_import(
    policy: Policy, organisation: str, table: Table, *, by: Membership | None = None, skip_existing: bool = False
) -> Import:
    """What importing the table into the organisation would do; KeyError where there is no such organisation.

    `by` is the administrator whose rights count, None the operator; `skip_existing` leaves people who are there already
    as they are (IMP-4).
    """
    home = policy.organisations[organisation]
    mistakes = _mistakes_of_headings(table.headings) or _too_many(policy, home, table)
    if mistakes:
        return Import(organisation, table, tuple(mistakes))
    return _Importing(policy, home, table, by, skip_existing).done()


def report(found: Import, most: int = MOST_ROWS) -> Iterator[str]:
    """An import in words: what is wrong, what is new, and every row that is not simply good, `most` of each."""
    if found.mistakes:
        yield from found.mistakes
        return
    yield f"{counts(found)}."
    if found.new_books:
        yield f"New contact books: {', '.join(found.new_books)}."
    leavers = [change.person for change in found.changes if isinstance(change, SetField) and _ends(change)]
    if leavers:
        yield f"Memberships that end for good ({len(leavers)}): {', '.join(leavers[:most])}."
    rows = [*found.refused, *(verdict for verdict in found.verdicts if verdict.outcome == "change")]
    yield from map(str, rows[:most])
    if len(rows) > most:
        yield f"… and {len(rows) - most} more rows."


def counts(found: Import) -> str:
    """How many rows have which outcome, as `3 new, 1 refused`."""
    words: dict[Outcome, str] = {
        "new": "new", "change": "changed", "same": "unchanged", "skipped": "skipped", "refused": "refused",
    }  # fmt: skip
    numbers = {outcome: found.count(outcome) for outcome in words}
    return ", ".join(f"{n} {words[outcome]}" for outcome, n in numbers.items() if n or outcome in ("new", "refused"))


def _ends(change: SetField) -> bool:
    return change.field == "status" and change.value == "left"


def _mistakes_of_headings(headings: Sequence[str]) -> list[str]:
    if not any(heading in COLUMNS for heading in headings):
        return [
            "The first row has to hold the headings, as in the template, with a comma or semicolon between them where "
            f"it is CSV: {', '.join(COLUMNS)}."
        ]
    found = [
        f"Column {number} has the heading {quoted(heading)}, which means nothing here{instead(heading, COLUMNS)}"
        for number, heading in enumerate(headings, 1)
        if heading not in COLUMNS
    ]
    found += [
        f"The heading {quoted(heading)} stands twice, in columns {headings.index(heading) + 1} and {number}: "
        f"delete one of the two columns."
        for number, heading in enumerate(headings, 1)
        if heading in headings[: number - 1]
    ]
    if "identifier" not in headings:
        found.append("There is no column identifier: take the headings from the template.")
    return found


def _too_many(policy: Policy, home: Organisation, table: Table) -> list[str]:
    if len(table.rows) > MOST_ROWS:
        return [
            f"The file has more than {MOST_ROWS} rows: split it into files of at most {MOST_CLIENTS} clients (IMP-3)."
        ]
    if len(table.rows) <= MOST_CLIENTS:
        return []
    at = {heading: number for number, heading in enumerate(table.headings)}
    role, identifier = at.get("role"), at["identifier"]
    clients = 0
    for row in table.rows:
        known = policy.people.get(PersonId(f"{home.identifier}/{row[identifier]}"))
        clients += ((row[role] if role is not None else "") or (known.role if known else "")) == "client"
    if clients <= MOST_CLIENTS:
        return []
    return [f"The file has {clients} clients, {MOST_CLIENTS} at most are imported at once: split it (IMP-3)."]


@dataclass(slots=True)
class _Rows(Sheet):
    """The rows of a table, filled up from what is known, with the rows of the file as places."""

    numbers: list[int] = field(default_factory=list)

    def place(self, index: int, heading: str) -> Place:
        return Place(self.file, self.numbers[index], _COLUMN_NUMBERS.get(heading, 0))


_COLUMN_NUMBERS = {heading: number for number, heading in enumerate((*COLUMNS, "name"), 1)}
_COLUMN_NAMES = {number: heading for heading, number in _COLUMN_NUMBERS.items()}


class _Importing:
    """One import on its way from rows to changes."""

    def __init__(
        self, policy: Policy, home: Organisation, table: Table, by: Membership | None, skip_existing: bool
    ) -> None:
        self.policy, self.home, self.table, self.by, self.skip_existing = policy, home, table, by, skip_existing
        self.prefix = f"{home.identifier}/"
        self.given = self._columns()
        self.ids = self.given["identifier"]
        self.persons = [PersonId(self.prefix + identifier) for identifier in self.ids]
        self.old = list(map(policy.people.get, self.persons))
        self.reasons: dict[int, list[Reason]] = defaultdict(list)
        """By the index of the row."""
        self.index = {number: index for index, number in enumerate(table.numbers)}

    def done(self) -> Import:
        """The verdicts and the changes of the rows that are good, in the order staff, books, clients."""
        merged = self._merged()
        people = self._enrolled(merged)
        self._judge_cells()
        self._judge_others(merged)
        cells = zip(*(merged[heading] for heading in _FIELDS), strict=True)
        changes = [self._changes(index, people, row) for index, row in enumerate(cells)]
        self._judge_rights(changes)
        self._judge_together(changes, people)
        verdicts = tuple(self._verdict(index, changes[index]) for index in range(len(self.ids)))
        return Import(self.home.identifier, self.table, (), verdicts, tuple(self._in_order(changes, people)))

    # From the table to people

    def _columns(self) -> dict[str, list[str]]:
        """Every column there could be; those that are not in the table are empty."""
        count = len(self.table.rows)
        columns = dict(zip(self.table.headings, map(list, zip(*self.table.rows, strict=True)), strict=False))
        return {heading: columns.get(heading) or [""] * count for heading in COLUMNS}

    def _merged(self) -> dict[str, list[str]]:
        """The columns, filled up from what stands in the policy and from what newcomers have by default."""
        merged = {heading: list(cells) for heading, cells in self.given.items()}
        merged["name"] = [""] * len(self.ids)
        for index, old in enumerate(self.old):
            if old is None:
                merged["status"][index] = merged["status"][index] or "invited"
                merged[_BOOKS][index] = merged[_BOOKS][index] or self.home.default_book
                continue
            for heading, value in _cells_of(old).items():
                if not merged[heading][index]:
                    merged[heading][index] = value
            if not any(self.given[heading][index] for heading in NAMES) and not (old.first_name or old.last_name):
                merged["name"][index] = old.name
        return merged

    def _enrolled(self, merged: dict[str, list[str]]) -> dict[PersonId, Membership]:
        """Everybody in the table as the policy would have them; what is wrong with their cells is noted."""
        notes, register = Notebook(""), Register(accounts=self._accounts(merged["matrix"]))
        sheet = _Rows("", merged, len(self.ids), numbers=self.table.numbers)
        home = self.home
        to = Enrolment(
            organisation=home.identifier,
            books=[*home.books, *self._books_to_be(merged)],
            members={},
            zone=UTC if home.timezone == "UTC" else ZoneInfo(home.timezone),
            mobile={"staff": home.mobile_staff, "client": home.mobile_client},
            staff_domains=home.invitations.staff_domains,
        )
        for _ in enrol(sheet, to, register, notes, self.policy):
            pass
        for place, text in notes.sorted():
            column = _COLUMN_NAMES.get(place.column, "")
            self._refuse(self.index[place.line], _reason("first_name" if column == "name" else column, text))
        return register.people

    def _accounts(self, users: Iterable[str]) -> dict[UserId, tuple[Membership, ...]]:
        """The memberships of the Matrix IDs in the table other than those that the table itself is about."""
        here = set(self.persons)
        known = {UserId(user) for user in users if user}
        return {
            user: tuple(member for member in self.policy.accounts[user] if member.id not in here)
            for user in known
            if user in self.policy.accounts
        }

    def _books_to_be(self, merged: dict[str, list[str]]) -> list[str]:
        """IMP-2: a book that a row of the staff names comes into being with it."""
        named = {
            word.strip()
            for cell in {cell for cell, role in zip(merged[_BOOKS], merged["role"], strict=True) if role == "staff"}
            for word in cell.split(";")
        }
        return sorted(book for book in named - self.home.books.keys() if IDENTIFIER.fullmatch(book))

    # What is wrong

    def _refuse(self, index: int, reason: Reason) -> None:
        if reason not in self.reasons[index]:
            self.reasons[index].append(reason)

    def _judge_cells(self) -> None:
        """What the cells are beyond their text, and who would be somebody else."""
        for (number, heading), sentence in self.table.wrong.items():
            if number in self.index:
                self.reasons[self.index[number]] = [
                    Reason(heading, sentence),
                    *(one for one in self.reasons[self.index[number]] if one.column != heading),
                ]
        seen: dict[str, int] = {}
        for index, identifier in enumerate(self.ids):
            first = seen.setdefault(identifier, index)
            if identifier and first != index:
                numbers = f"rows {self.table.numbers[first]} and {self.table.numbers[index]}"
                for one in (first, index):
                    self.reasons[one] = [
                        Reason("identifier", f"{quoted(identifier)} stands in {numbers}: keep one (IMP-4)")
                    ]
            elif not identifier and any(self.table.rows[index]):
                self.reasons[index] = [
                    Reason("identifier", "the row has no identifier", f"write {self._free_identifier(index)}"),
                    *(one for one in self.reasons[index] if one.column != "identifier"),
                ]

    def _free_identifier(self, index: int) -> str:
        """An identifier that nobody has yet, made from the name."""
        first, last = ("".join(c for c in self.given[name][index].lower() if IDENTIFIER.fullmatch(c)) for name in NAMES)
        stem = f"{first[:1]}.{last}" if first and last else first or last or "person"
        taken = {*self.ids, *(person.removeprefix(self.prefix) for person in self.policy.people)}
        return next(name for name in (stem, *(f"{stem}{n}" for n in range(2, 10**6))) if name not in taken)

    def _judge_others(self, merged: dict[str, list[str]]) -> None:
        """People who are in the policy and not in the table: their identifiers and addresses are taken."""
        emails = {cell.lower(): index for index, cell in enumerate(merged["email"]) if cell}
        here = set(self.persons)
        for member in self.policy.people.values():
            if member.organisation == self.home.identifier and member.id not in here:
                index = emails.get(member.email.lower())
                if index is not None:
                    text = f"{quoted(member.email)} is used by {member.id} already: one profile has it (INV-11)"
                    self._refuse(index, Reason("email", text))
        for index, old in enumerate(self.old):
            if old is not None and not self.skip_existing and self._is_another(index, old):
                self._refuse(
                    index,
                    Reason(
                        "identifier",
                        f"{quoted(old.identifier)} is {old.name} already (IMP-4)",
                        f"if this is somebody else, write {self._free_identifier(index)}",
                    ),
                )

    def _is_another(self, index: int, old: Membership) -> bool:
        """Neither the name nor the address is that of the person who has the identifier."""
        name = " ".join(part for part in (self.given[heading][index] for heading in NAMES) if part)
        email = self.given["email"][index]
        return bool(name and email) and name.casefold() != old.name.casefold() and email.lower() != old.email.lower()

    def _judge_rights(self, changes: Sequence[Sequence[Change]]) -> None:
        """ROLE-3, ROLE-4, ROLE-5, USR-2: what this administrator may not do to this person, or nobody to anybody."""
        for index, wanted in enumerate(changes):
            old = self.old[index]
            for change in wanted:
                if self.by is not None and (objection := forbidden(self.policy, self.by, change)):
                    heading = change.field if isinstance(change, SetField) else ""
                    self._refuse(index, Reason(heading, f"{objection.text} ({objection.rule})"))
                if (
                    old is not None
                    and old.status == "left"
                    and isinstance(change, SetField)
                    and change.field == "status"
                ):
                    text = f"{old.name} has left for good (USR-2)"
                    self._refuse(index, Reason("status", text, "invite the person under a new identifier"))

    def _judge_together(self, changes: Sequence[Sequence[Change]], people: Mapping[PersonId, Membership]) -> None:
        """What the good rows do together; a row that is refused takes its changes away, so it is judged again."""
        while True:
            after = self._after(changes, people)
            guilty = dict(self._guilty(after, people))
            if not guilty:
                return
            for index, reason in guilty.items():
                self._refuse(index, reason)

    def _after(self, changes: Sequence[Sequence[Change]], people: Mapping[PersonId, Membership]) -> Amended:
        """The policy as the good rows leave it."""
        after = Amended(self.policy)
        for change in self._new_books(changes, people):
            after.change(change)
        for index in self._good(changes):
            after.put(people[self.persons[index]])
        return after

    def _guilty(self, after: Amended, people: Mapping[PersonId, Membership]) -> Iterator[tuple[int, Reason]]:
        """The rows that leave a book without active staff, or bring a client into one, or end the last system admin."""
        good = [index for index in range(len(self.ids)) if index not in self.reasons and not self._skipped(index)]
        org = self.home.identifier
        bare = {
            book for name, book in after.named if after.clients(name, book) and not after.has_active_staff(name, book)
        }
        admins = any((old := self.old[index]) is not None and old.admin == "system" for index in good)
        leaderless = admins and not after.has_system_admin(org)
        took_out: set[str] = set()
        for index in good if bare or leaderless else ():
            old, new = self.old[index], people[self.persons[index]]
            if old is None or old.role != "staff" or old.status != "active":
                continue
            left = bare & (old.books if new.status != "active" else old.books - new.books)
            took_out |= left
            for book in sorted(left):
                rule = "USR-3" if new.status != "active" else "BOOK-11"
                heading = "status" if new.status != "active" else _BOOKS
                text = f"the contact book {book} has clients and would have no active staff ({rule})"
                yield index, Reason(heading, text, "add another staff to it first")
            if leaderless and old.admin == "system" and (new.admin, new.status) != ("system", "active"):
                text = f"{self.home.name} would have no active system administrator (ROLE-2)"
                yield index, Reason("admin", text, "make somebody else one first")
        for index in good if bare - took_out else ():
            new = people[self.persons[index]]
            if new.role == "client" and new.status != "left":
                for book in sorted((bare - took_out) & new.books):
                    yield index, _no_staff(after, org, book)

    # What is done

    def _skipped(self, index: int) -> bool:
        return self.skip_existing and self.old[index] is not None

    def _changes(self, index: int, people: Mapping[PersonId, Membership], cells: tuple[str, ...]) -> tuple[Change, ...]:
        """What the row changes, good or not; its cells are those of the fields."""
        person, old = self.persons[index], self.old[index]
        new = people.get(person)
        if new is None or self._skipped(index):
            return ()
        if old is not None:
            return tuple(_differences(old, new, dict(zip(_FIELDS, cells, strict=True))))
        fields = tuple(pair for pair in zip(_FIELDS, cells, strict=True) if pair[1])
        return (AddPerson(person, fields, tuple(sorted(new.books))),)

    def _good(self, changes: Sequence[Sequence[Change]]) -> list[int]:
        """The rows that change something and are not refused."""
        return [index for index, wanted in enumerate(changes) if wanted and index not in self.reasons]

    def _new_books(
        self, changes: Sequence[Sequence[Change]], people: Mapping[PersonId, Membership]
    ) -> Iterator[CreateBook]:
        """IMP-2: the books that good rows of the staff name and nobody has made yet."""
        staff = (people[self.persons[index]] for index in self._good(changes))
        named = {book for member in staff if member.role == "staff" for book in member.books}
        for book in sorted(named - self.home.books.keys()):
            yield CreateBook(self.home.identifier, book, book)

    def _in_order(self, changes: Sequence[Sequence[Change]], people: Mapping[PersonId, Membership]) -> Iterator[Change]:
        """IMP-2: the books, then the staff, then the clients."""
        yield from self._new_books(changes, people)
        for index in sorted(self._good(changes), key=lambda index: people[self.persons[index]].role == "client"):
            yield from changes[index]

    def _verdict(self, index: int, changes: Sequence[Change]) -> Verdict:
        row, identifier = self.table.numbers[index], self.ids[index]
        if self._skipped(index):
            return Verdict(row, identifier, "skipped", "the identifier is in use already")
        reasons = self.reasons.get(index)
        if reasons:
            return Verdict(row, identifier, "refused", reasons=tuple(reasons))
        old = self.old[index]
        outcome: Outcome = "new" if old is None else "change" if changes else "same"
        return Verdict(row, identifier, outcome, _in_words(old, changes))


def _cells_of(member: Membership) -> dict[str, str]:
    """What a spreadsheet would say of somebody."""
    return {
        "first_name": member.first_name,
        "last_name": member.last_name,
        "role": member.role,
        "job_title": member.job_title,
        "email": member.email,
        "mobile": member.mobile,
        "matrix": member.matrix or "",
        _BOOKS: ";".join(sorted(member.books)),
        "admin": member.admin,
        "review": member.review,
        "status": member.status,
        "until": member.until.isoformat() if member.until else "",
        "unlisted": "true" if member.unlisted else "",
    }


def _differences(old: Membership, new: Membership, cells: Mapping[str, str]) -> Iterator[Change]:
    """What has to change for the old membership to be the new one; compared as meant, not as written."""
    by_whole_name = not (old.first_name or old.last_name) and bool(old.name)
    if by_whole_name and old.name != new.name:
        yield SetField(old.id, "name", new.name)
    for heading in _FIELDS:
        if heading in NAMES and by_whole_name:
            continue
        if getattr(old, heading) != getattr(new, heading):
            yield SetField(old.id, heading, cells[heading])
    for book in sorted(new.books - old.books):
        yield AddToBook(old.id, book)
    for book in sorted(old.books - new.books):
        yield RemoveFromBook(old.id, book)


def _in_words(old: Membership | None, changes: Sequence[Change]) -> str:
    words = []
    for change in changes:
        if isinstance(change, AddPerson):
            return f"in {', '.join(change.books)}" if change.books else ""
        if isinstance(change, SetField):
            was = str(getattr(old, change.field) or "")
            words.append(f"{change.field} {quoted(was)} becomes {quoted(change.value)}")
        elif isinstance(change, AddToBook):
            words.append(f"into {change.book}")
        elif isinstance(change, RemoveFromBook):
            words.append(f"out of {change.book}")
    return ", ".join(words)


def _no_staff(after: Amended, organisation: str, book: str) -> Reason:
    invited = [one.name for one in after.members(organisation, book) if one.role == "staff" and one.status == "invited"]
    text = f"the contact book {book} has no active staff (BOOK-4)"
    if invited:
        return Reason(_BOOKS, text, f"import the row again when {' or '.join(sorted(invited)[:3])} has accepted")
    return Reason(_BOOKS, text, "put one of the staff into it first")


def _reason(column: str, text: str) -> Reason:
    """A mistake with what it suggests apart from it, and what a spreadsheet does to numbers."""
    said, _, suggestion = text.partition(" — ")
    cell = _quoted_cell(said)
    if column == "until" and cell.isdecimal() and 20_000 <= int(cell) <= 80_000:
        suggestion = f"the spreadsheet made a number of it: write {_EXCEL_DAYS + timedelta(days=int(cell))} as text"
    if column == "identifier" and (slug := _UNFIT.sub(".", cell.lower()).strip(".")) not in ("", cell):
        suggestion = f"write {slug}"
    if column == _BOOKS and "," in cell:
        suggestion = "put a semicolon between two books"
    if column == "mobile" and cell.isdecimal() and len(cell) >= 6:
        suggestion = "write + and the country code, in a column formatted as text"
    return Reason(column, said, suggestion)


def _quoted_cell(text: str) -> str:
    """The last quotation of a sentence."""
    parts = text.split('"')
    return parts[-2] if len(parts) > 2 else ""
