"""People from a table: a verdict for every row, and the changes that the good rows make. A dry run is only that.

A row names somebody new or somebody who is there: an empty cell then leaves what stands, books that are named take the
place of those before. The same file twice changes nothing the second time. Cells are judged by the same reader as those
of the policy's own spreadsheets; what rows do together (IMP-2: staff, books, clients) is judged on the policy as the
good rows would leave it. Like that reader, this goes column by column: only a row that changes somebody or is refused
is looked at by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from functools import cached_property, partial
from itertools import chain, compress, count
from operator import itemgetter, ne
from typing import Any, cast
from zoneinfo import ZoneInfo

from policy.amend import Amended, forbidden
from policy.change import AddPerson, AddToBook, Change, CreateBook, RemoveFromBook, SetField
from policy.csv_people import NAMES
from policy.enrol import IDENTIFIER, ONE_EACH, Columns, Enrolled, Enrolment, changed_role, check
from policy.import_reasons import in_words, mistakes_of_headings, no_staff, reason_of
from policy.import_verdicts import MOST_CLIENTS, MOST_ROWS, Import, Outcome, Reason, Table, Verdict
from policy.mistake import Notebook, Place, quoted
from policy.model import Membership, Organisation, PersonId, Policy, UserId
from policy.sheet import COLUMNS, Sheet

_FIELDS = tuple(column for column in COLUMNS if column not in ("identifier", "contact_books"))
_BOOKS = "contact_books"


def plan_import(
    policy: Policy, organisation: str, table: Table, *, by: Membership | None = None, skip_existing: bool = False
) -> Import:
    """What importing the table into the organisation would do; KeyError where there is no such organisation.

    `by` is the administrator whose rights count, None the operator; `skip_existing` leaves people who are there already
    as they are (IMP-4).
    """
    home = policy.organisations[organisation]
    mistakes = mistakes_of_headings(table.headings) or _too_many(policy, home, table)
    if not mistakes and not table.numbers:
        mistakes = ["There is nobody in the file: write people into the rows below the headings."]
    if mistakes:
        return Import(organisation, table, tuple(mistakes))
    return _Importing(policy, home, table, by, skip_existing).done()


def _too_many(policy: Policy, home: Organisation, table: Table) -> list[str]:
    if len(table.numbers) > MOST_ROWS:
        return [
            f"The file has more than {MOST_ROWS} rows: split it into files of at most {MOST_CLIENTS} clients (IMP-3)."
        ]
    if len(table.numbers) <= MOST_CLIENTS:
        return []
    columns = dict(zip(table.headings, table.columns, strict=True))
    roles = columns.get("role", [""] * len(table.numbers))
    clients = 0
    for identifier, role in zip(columns["identifier"], roles, strict=True):
        known = policy.people.get(PersonId(f"{home.identifier}/{identifier}"))
        clients += (role or (known.role if known else "")) == "client"
    if clients <= MOST_CLIENTS:
        return []
    return [f"The file has {clients} clients, {MOST_CLIENTS} at most are imported at once: split it (IMP-3)."]


@dataclass(slots=True)
class _Rows(Sheet):
    """The rows of a table, filled up from what is known, with the rows of the file as places."""

    numbers: Sequence[int] = field(default_factory=list)

    def place(self, index: int, heading: str) -> Place:
        return Place(self.file, self.numbers[index], _COLUMN_NUMBERS.get(heading, 0))


_COLUMN_NUMBERS = {heading: number for number, heading in enumerate((*COLUMNS, "name"), 1)}
_COLUMN_NAMES = {number: heading for heading, number in _COLUMN_NUMBERS.items()}


class _Importing:
    """One import on its way from rows to changes; a row is named by its index."""

    def __init__(
        self, policy: Policy, home: Organisation, table: Table, by: Membership | None, skip_existing: bool
    ) -> None:
        self.policy, self.home, self.table, self.by, self.skip_existing = policy, home, table, by, skip_existing
        self.prefix = f"{home.identifier}/"
        self.given = self._columns()
        self.ids = self.given["identifier"]
        self.persons = cast(list[PersonId], list(map(self.prefix.__add__, self.ids)))
        found = list(map(policy.people.get, self.persons))
        self.old = {index: one for index, one in enumerate(found) if one is not None} if any(found) else {}
        """Those who are there."""
        self.reasons: dict[int, list[Reason]] = defaultdict(list)
        self.merged = self._merged()
        self.enrolled = Enrolled()
        self.meant = self._meant()
        self.differences: dict[int, tuple[Change, ...]] = {}
        """What the rows change of people who are there, good or not."""

    def done(self) -> Import:
        """The verdicts, and on demand the changes of the rows that are good, in the order books, staff, clients."""
        self._judge_cells()
        self._judge_others()
        self._compare()
        self._judge_rights()
        self._judge_together()
        return Import(
            organisation=self.home.identifier,
            table=self.table,
            outcomes=self._outcomes(),
            verdict=self._verdict,
            new_books=self._new_books(),
            leavers=self._leavers(),
            make=lambda: tuple(self._in_order()),
        )

    @cached_property
    def named(self) -> frozenset[str]:
        """Every book in the table."""
        return _together(set(self.meant.books))

    @cached_property
    def named_by_clients(self) -> frozenset[str]:
        """Every book in the rows of clients, good or not."""
        return _together({*compress(self.meant.books, map("client".__eq__, self.meant.roles))})

    @cached_property
    def staff(self) -> list[int]:
        """The rows of staff."""
        return [index for index, role in enumerate(self.meant.roles) if role == "staff"]

    def new(self, index: int) -> Membership:
        """Somebody as their row would have them."""
        return _membership(self.rows[index])

    # From the table to people

    def _columns(self) -> dict[str, list[str]]:
        """Every column there could be; those that are not in the table are empty."""
        columns = dict(zip(self.table.headings, self.table.columns, strict=True))
        empty = [""] * len(self.table.numbers)
        return {heading: columns.get(heading, empty) for heading in COLUMNS}

    def _merged(self) -> dict[str, list[str]]:
        """The columns, filled up from what stands in the policy and from what newcomers have by default."""
        standing = _Standing(self.old, len(self.ids), self.home.default_book)
        merged = {"identifier": self.ids}
        for heading in COLUMNS[1:]:
            cells = self.given[heading]
            merged[heading] = cells if all(cells) else _filled(cells, standing.column(heading))
        firsts, lasts = (merged[heading] for heading in NAMES)
        if not (all(firsts) or all(lasts)):
            names = zip(standing.column("name"), firsts, lasts, strict=True)
            merged["name"] = ["" if first or last else name for name, first, last in names]
        return merged

    def _meant(self) -> Columns:
        """Everybody in the table as the policy would have them; what is wrong with their cells is noted."""
        notes, home = Notebook(""), self.home
        sheet = _Rows("", self.merged, len(self.ids), numbers=self.table.numbers)
        to = Enrolment(
            organisation=home.identifier,
            books=[*home.books, *self._books_to_be()],
            members={},
            zone=UTC if home.timezone == "UTC" else ZoneInfo(home.timezone),
            mobile={"staff": home.mobile_staff, "client": home.mobile_client},
            staff_domains=home.invitations.staff_domains,
        )
        meant = check(sheet, to, self._accounts(self.merged["matrix"]), notes, self.enrolled)
        self.rows = list(zip(*meant, strict=False))
        self.differing = list(compress(self.old, map(ne, self.old.values(), map(self.rows.__getitem__, self.old))))
        for index in self.differing:
            old = self.old[index]
            if meant.roles[index] != old.role:
                notes.add(sheet.place(index, "role"), changed_role(old, meant.roles[index]))
        rows = self._numbered() if len(notes) else {}
        for place, text in notes.sorted():
            column = _COLUMN_NAMES.get(place.column, "")
            self._refuse(rows[place.line], reason_of("first_name" if column == "name" else column, text))
        return meant

    def _numbered(self) -> dict[int, int]:
        """The rows of the file as indices."""
        return {number: index for index, number in enumerate(self.table.numbers)}

    def _accounts(self, users: Iterable[str]) -> dict[UserId, tuple[Membership, ...]]:
        """The memberships of the Matrix IDs in the table other than those that the table itself is about."""
        known = self.policy.accounts.keys() & set(users)
        here = set(self.persons) if known else set()
        return {user: tuple(one for one in self.policy.accounts[user] if one.id not in here) for user in known}

    def _books_to_be(self) -> list[str]:
        """IMP-2: a book that a row of the staff names comes into being with it."""
        cells = self.merged[_BOOKS]
        if _named_in(cells) <= self.home.books.keys():
            return []
        staff = map("staff".__eq__, self.merged["role"])
        named = map(str.strip, _named_in(compress(cells, staff)))
        return sorted(book for book in {*named} - self.home.books.keys() if IDENTIFIER.fullmatch(book))

    # What is wrong

    def _refuse(self, index: int, reason: Reason) -> None:
        if reason not in self.reasons[index]:
            self.reasons[index].append(reason)

    def _judge_cells(self) -> None:
        """What the cells are beyond their text, and who would be somebody else."""
        rows = self._numbered() if self.table.wrong else {}
        for (number, heading), sentence in self.table.wrong.items():
            if number in rows:
                others = [one for one in self.reasons[rows[number]] if one.column != heading]
                self.reasons[rows[number]] = [Reason(heading, sentence), *others]
        if all(self.ids) and len(set(self.ids)) == len(self.ids):
            return
        seen: dict[str, int] = {}
        for index, identifier in enumerate(self.ids):
            first = seen.setdefault(identifier, index)
            if identifier and first != index:
                numbers = f"rows {self.table.numbers[first]} and {self.table.numbers[index]}"
                for one in (first, index):
                    self.reasons[one] = [
                        Reason("identifier", f"{quoted(identifier)} stands in {numbers}: keep one (IMP-4)")
                    ]
            elif not identifier:
                self.reasons[index] = [
                    Reason("identifier", "the row has no identifier", f"write {self._free_identifier(index)}"),
                    *(one for one in self.reasons[index] if one.column != "identifier"),
                ]

    def _free_identifier(self, index: int) -> str:
        """An identifier that nobody has yet, made from the name."""
        first, last = ("".join(c for c in self.given[name][index].lower() if IDENTIFIER.fullmatch(c)) for name in NAMES)
        stem = f"{first[:1]}.{last}" if first and last else first or last or "person"
        names = chain((stem,), (f"{stem}{number}" for number in count(2)))
        return next(name for name in names if name not in self._taken)

    @cached_property
    def _taken(self) -> set[str]:
        return {*self.ids, *(person.removeprefix(self.prefix) for person in self.policy.people)}

    def _judge_others(self) -> None:
        """People who are in the policy and not in the table: their identifiers and addresses are taken."""
        owners = _addresses(self.policy, self.home.identifier)
        taken = self.enrolled.emails & owners.keys()
        if taken and not set(map(owners.__getitem__, taken)) <= set(self.persons):
            self._judge_addresses(list(map(str.lower, self.meant.emails)), owners)
        for index in () if self.skip_existing else self.differing:
            old = self.old[index]
            if self._is_another(index, old):
                suggestion = f"if this is somebody else, write {self._free_identifier(index)}"
                text = f"{quoted(old.identifier)} is {old.name} already (IMP-4)"
                self._refuse(index, Reason("identifier", text, suggestion))

    def _is_another(self, index: int, old: Membership) -> bool:
        """Neither the name nor the address is that of the person who has the identifier."""
        email = self.given["email"][index]
        if not email or email.lower() == old.email.lower():
            return False
        name = " ".join(part for part in (self.given[heading][index] for heading in NAMES) if part)
        return bool(name) and name.casefold() != old.name.casefold()

    def _judge_addresses(self, emails: Sequence[str], owners: Mapping[str, PersonId]) -> None:
        """INV-11: the rows with an address that somebody has who is not in the table."""
        here = set(self.persons)
        for index, owner in enumerate(owners.get(email) for email in emails):
            if owner is not None and owner not in here:
                text = f"{quoted(self.policy.people[owner].email)} is used by {owner} already: {ONE_EACH}"
                self._refuse(index, Reason("email", f"{text} (INV-11)"))

    def _compare(self) -> None:
        """What the rows change, good or not, of people who are there."""
        for index in () if self.skip_existing else self.differing:
            if changes := self._differences(index, self.old[index]):
                self.differences[index] = changes

    def _differences(self, index: int, old: Membership) -> tuple[Change, ...]:
        """What has to change for the membership to be as the row says; compared as meant, not as written."""
        new = self.rows[index]
        changes: list[Change] = []
        if _but_books(new) != _but_books(old):
            changes += self._other_fields(index, old, self.new(index))
        books = new[_PLACE_OF_BOOKS]
        changes += (AddToBook(old.id, book) for book in sorted(books - old.books))
        changes += (RemoveFromBook(old.id, book) for book in sorted(old.books - books))
        return tuple(changes)

    def _other_fields(self, index: int, old: Membership, new: Membership) -> Iterator[Change]:
        """What differs beside the books."""
        other = set(compress(Membership._fields, map(ne, old, new)))
        if not (old.first_name or old.last_name):
            other -= set(NAMES)
            if "name" in other:
                yield SetField(old.id, "name", new.name)
        for heading in _FIELDS:
            if heading in other:
                yield SetField(old.id, heading, self.merged[heading][index])

    def _judge_rights(self) -> None:
        """ROLE-3, ROLE-4, ROLE-5, USR-2: what this administrator may not do to this person, or nobody to anybody."""
        for index in self.differences if self.by is None else self._wanted():
            old = self.old.get(index)
            for change in self._changes(index):
                if self.by is not None and (objection := forbidden(self.policy, self.by, change)):
                    self._refuse(index, Reason(_field(change), f"{objection.text} ({objection.rule})"))
                if old is not None and old.status == "left" and _field(change) == "status":
                    text = f"{old.name} has left for good (USR-2)"
                    self._refuse(index, Reason("status", text, "invite the person under a new identifier"))

    def _judge_together(self) -> None:
        """What the good rows do together; a row that is refused takes its changes away, so it is judged again."""
        while self._leave_a_gap():
            guilty = dict(self._guilty(self._after()))
            if not guilty:
                return
            for index, reason in guilty.items():
                self._refuse(index, reason)

    def _leave_a_gap(self) -> bool:
        """Might the good rows leave clients without active staff (BOOK-4), or nobody to administer (ROLE-2)?"""
        old = [self.old[index] for index in self.differences if index not in self.reasons]
        if any(one.admin == "system" for one in old):
            return True
        moved = {one.id for one in old if one.role == "staff"}
        staff = _active_staff(self.policy, self.home)
        touched = self.named.union(*(one.books for one in old))
        lacking = {book for book in touched if staff.get(book, _NOBODY) <= moved}
        lacking = lacking - self._books_of_staff(active=True) if lacking else lacking
        return bool(lacking) and any(map(self._has_clients, lacking))

    def _has_clients(self, book: str) -> bool:
        """Is a client in the book, or does one of the rows bring one?"""
        if book in self.named_by_clients:
            return True
        known = self.home.books.get(book)
        return known is not None and any(self.policy.people[person].role == "client" for person in known.members)

    def _books_of_staff(self, *, active: bool) -> frozenset[str]:
        """The books into which the good rows bring staff."""
        meant, same = self.meant, self.old.keys() - self.differences.keys()
        good = (index for index in self.staff if index not in self.reasons and index not in same)
        return _together({meant.books[index] for index in good if meant.statuses[index] == "active" or not active})

    def _after(self) -> Amended:
        """The policy as the good rows leave it."""
        after = Amended(self.policy)
        for book in self._new_books():
            after.change(CreateBook(self.home.identifier, book, book))
        for index in self._good():
            after.put(self.new(index))
        return after

    def _guilty(self, after: Amended) -> Iterator[tuple[int, Reason]]:
        """The rows that leave a book without active staff, or bring a client into one, or end the last system admin."""
        good = [index for index in range(len(self.ids)) if index not in self.reasons and not self._skipped(index)]
        org = self.home.identifier
        bare = {
            book for name, book in after.named if after.clients(name, book) and not after.has_active_staff(name, book)
        }
        admins = any(index in self.old and self.old[index].admin == "system" for index in good)
        leaderless = admins and not after.has_system_admin(org)
        took_out: set[str] = set()
        for index in good if bare or leaderless else ():
            old, new = self.old.get(index), self.new(index)
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
            new = self.new(index)
            if new.role == "client" and new.status != "left":
                for book in sorted((bare - took_out) & new.books):
                    yield index, no_staff(after, org, book)

    # What is done

    def _skipped(self, index: int) -> bool:
        return self.skip_existing and index in self.old

    def _good(self) -> list[int]:
        """The rows that change something and are not refused."""
        wanted = self._wanted()
        return [index for index in wanted if index not in self.reasons] if self.reasons else wanted

    def _wanted(self) -> list[int]:
        """The rows that change something, good or not."""
        same = self.old.keys() - self.differences.keys()
        return [index for index in range(len(self.ids)) if index not in same]

    def _changes(self, index: int) -> tuple[Change, ...]:
        """What the row changes, good or not."""
        if index in self.old:
            return self.differences.get(index, ())
        fields = tuple((heading, cell) for heading in _FIELDS if (cell := self.merged[heading][index]))
        return (AddPerson(self.persons[index], fields, tuple(sorted(self.meant.books[index]))),)

    def _new_books(self) -> tuple[str, ...]:
        """IMP-2: the books that good rows of the staff name and nobody has made yet."""
        if self.named <= self.home.books.keys():
            return ()
        return tuple(sorted(self._books_of_staff(active=False) - self.home.books.keys()))

    def _leavers(self) -> tuple[PersonId, ...]:
        """Whose membership the good rows end."""
        ends = (index for index, changes in self.differences.items() if any(map(_ends, changes)))
        return tuple(self.persons[index] for index in ends if index not in self.reasons)

    def _in_order(self) -> Iterator[Change]:
        """IMP-2: the books, then the staff, then the clients."""
        for book in self._new_books():
            yield CreateBook(self.home.identifier, book, book)
        for index in sorted(self._good(), key=lambda index: self.meant.roles[index] == "client"):
            yield from self._changes(index)

    def _outcomes(self) -> list[Outcome]:
        outcomes: list[Outcome] = ["new"] * len(self.ids)
        known: Outcome = "skipped" if self.skip_existing else "same"
        for index in self.reasons:
            outcomes[index] = "refused"
        for index in self.old if self.skip_existing else self.old.keys() - self.reasons.keys():
            outcomes[index] = "change" if index in self.differences else known
        return outcomes

    def _verdict(self, index: int, outcome: Outcome) -> Verdict:
        row, identifier = self.table.numbers[index], self.ids[index]
        if outcome == "skipped":
            return Verdict(row, identifier, outcome, "the identifier is in use already")
        if outcome == "refused":
            return Verdict(row, identifier, outcome, reasons=tuple(self.reasons[index]))
        return Verdict(row, identifier, outcome, in_words(self.old.get(index), self._changes(index)))


class _Standing:
    """What stands in the policy of the people of a table, a column a field, and what newcomers have in its place."""

    def __init__(self, old: Mapping[int, Membership], rows: int, default_book: str) -> None:
        newcomer = _BLANK._replace(books=frozenset({default_book} if default_book else ()), status="invited")
        people = [newcomer] * rows
        for index, one in old.items():
            people[index] = one
        self._times = 1 if old else rows
        columns = zip(*(people if old else people[:1]), strict=True)
        self._fields = dict(zip(Membership._fields, columns, strict=False))

    def column(self, heading: str) -> list[str]:
        """The cells under a heading, as a spreadsheet would have them."""
        values = self._fields[_NAMED.get(heading, heading)]
        if values.count(values[0]) == len(values):
            return [_Written(heading)[values[0]]] * len(values) * self._times
        return list(map(_Written(heading).__getitem__, values)) * self._times


_membership = cast(Callable[[tuple[Any, ...]], Membership], partial(tuple.__new__, Membership))
_BLANK = Membership(PersonId(""), "", "", "", cast(Any, ""), None, frozenset(), "invited")
_NAMED = {_BOOKS: "books"}
_PLACE_OF_BOOKS = Membership._fields.index("books")
_but_books = itemgetter(*(place for place in range(len(Membership._fields)) if place != _PLACE_OF_BOOKS))


class _Written(dict[Any, str]):
    """How a spreadsheet has the values under a heading; each is written once."""

    def __init__(self, heading: str) -> None:
        super().__init__()
        self._write = _WRITTEN.get(heading, str)

    def __missing__(self, value: Any) -> str:
        text = self[value] = self._write(value)
        return text


_WRITTEN: Mapping[str, Callable[[Any], str]] = {
    "matrix": lambda user: user or "",
    _BOOKS: lambda books: ";".join(sorted(books) if len(books) > 1 else books),
    "until": lambda day: day.isoformat() if day else "",
    "unlisted": lambda unlisted: "true" if unlisted else "",
}
"""How a spreadsheet has what is no text in a membership."""


def _filled(cells: list[str], standing: list[str]) -> list[str]:
    """A column with what stands wherever a cell is empty."""
    if not any(cells):
        return standing
    return [cell or other for cell, other in zip(cells, standing, strict=True)]


def _named_in(cells: Iterable[str]) -> set[str]:
    """What stands between the semicolons of cells."""
    return {*";".join({*cells}).split(";")} - {""}


def _together(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*sets)


def _addresses(policy: Policy, organisation: str) -> Mapping[str, PersonId]:
    """Whose an e-mail address is in an organisation; those who left keep theirs (INV-11)."""
    known: dict[str, dict[str, PersonId]] = policy.memo.setdefault("addresses", {})
    if organisation not in known:
        people = (one for one in policy.people.values() if one.organisation == organisation)
        known[organisation] = {one.email.lower(): one.id for one in people if one.email}
    return known[organisation]


_NOBODY = frozenset[PersonId]()


def _active_staff(policy: Policy, home: Organisation) -> Mapping[str, frozenset[PersonId]]:
    """The active staff in each book of the organisation."""
    known: dict[str, dict[str, frozenset[PersonId]]] = policy.memo.setdefault("active_staff", {})
    if home.identifier not in known:
        people = policy.people
        known[home.identifier] = {
            name: frozenset(
                one for one in book.members if people[one].role == "staff" and people[one].status == "active"
            )
            for name, book in home.books.items()
        }
    return known[home.identifier]


def _ends(change: Change) -> bool:
    return isinstance(change, SetField) and change.field == "status" and change.value == "left"


def _field(change: Change) -> str:
    return change.field if isinstance(change, SetField) else ""
