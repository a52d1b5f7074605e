"""People from a table: a verdict for every row, and the changes that the good rows make. A dry run is only that.

A row names somebody new or somebody who is there: an empty cell then leaves what stands, books that are named take the
place of those before. The same file twice changes nothing the second time. Cells are judged by the same reader as those
of the policy's own spreadsheets; what rows do together (IMP-2: staff, books, clients) is judged on the policy as the
good rows would leave it. Like that reader, this goes column by column: only a row that changes somebody or is refused
is looked at by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, count
from typing import Any

from policy.amend import Amended, forbidden
from policy.change import AddPerson, AddToBook, Change, CreateBook, RemoveFromBook, SetField
from policy.csv_people import NAMES
from policy.enrol import IDENTIFIER, ONE_EACH
from policy.import_reasons import changes_in_words, mistakes_of_headings, no_staff, place_in_words
from policy.import_rows import BOOKS, Rows
from policy.import_verdicts import MOST_CLIENTS, MOST_ROWS, Import, Outcome, Reason, Table, Verdict
from policy.mistake import quoted
from policy.model import Membership, Organisation, PersonId, Policy, Status


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


class _Importing:
    """One import on its way from rows to changes; a row is named by its index."""

    def __init__(
        self, policy: Policy, home: Organisation, table: Table, by: Membership | None, skip_existing: bool
    ) -> None:
        self.policy, self.home, self.table, self.by, self.skip_existing = policy, home, table, by, skip_existing
        self.rows = Rows(policy, home, table)
        self.ids, self.old = self.rows.ids, self.rows.old
        self.reasons: dict[int, list[Reason]] = defaultdict(list)
        for index, reason in self.rows.wrong:
            self._refuse(index, reason)
        self.changed = {} if skip_existing else self.rows.changed
        """What the rows change of people who are there, good or not."""

    def done(self) -> Import:
        """The verdicts, and on demand the changes of the rows that are good, in the order books, staff, clients."""
        self._judge_cells()
        self._judge_others()
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

    # What is wrong

    def _refuse(self, index: int, reason: Reason) -> None:
        if reason not in self.reasons[index]:
            self.reasons[index].append(reason)

    def _judge_cells(self) -> None:
        """What the cells are beyond their text, and who would be somebody else."""
        rows = {number: index for index, number in enumerate(self.table.numbers)} if self.table.wrong else {}
        for (number, heading), sentence in self.table.wrong.items():
            if number in rows:
                others = [one for one in self.reasons[rows[number]] if one.column != heading]
                self.reasons[rows[number]] = [Reason(heading, sentence), *others]
        if self.rows.distinct and all(self.ids):
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
        written = (self.rows.cell(heading, index).lower() for heading in NAMES)
        first, last = ("".join(c for c in name if IDENTIFIER.fullmatch(c)) for name in written)
        stem = f"{first[:1]}.{last}" if first and last else first or last or "person"
        names = chain((stem,), (f"{stem}{number}" for number in count(2)))
        return next(name for name in names if name not in self._taken)

    @cached_property
    def _taken(self) -> set[str]:
        return {*self.ids, *self.rows.roll.people}

    def _judge_others(self) -> None:
        """People who are in the policy and not in the table: their identifiers and addresses are taken."""
        if self.rows.holders:
            self._judge_addresses()
        for index, fields in self.changed.items():
            old = self.old[index]
            if "email" in fields and self._is_another(index, old):
                suggestion = f"if this is somebody else, write {self._free_identifier(index)}"
                text = f"{quoted(old.identifier)} is {old.name} already (IMP-4)"
                self._refuse(index, Reason("identifier", text, suggestion))

    def _is_another(self, index: int, old: Membership) -> bool:
        """Neither the name nor the address is that of the person who has the identifier."""
        email = self.rows.cell("email", index)
        if not email or email.lower() == old.email.lower():
            return False
        name = " ".join(filter(None, (self.rows.cell(heading, index) for heading in NAMES)))
        return bool(name) and name.casefold() != old.name.casefold()

    def _judge_addresses(self) -> None:
        """INV-11: the rows with an address that somebody has who is not in the table."""
        roll, here = self.rows.roll, set(self.ids)
        for index, email in zip(self.rows.read, self.rows.meant.emails, strict=True):
            owner = roll.owners.get(email.lower())
            if owner is not None and owner not in here:
                one = roll.people[owner]
                text = f"{quoted(one.email)} is used by {one.id} already: {ONE_EACH}"
                self._refuse(index, Reason("email", f"{text} (INV-11)"))

    def _judge_rights(self) -> None:
        """ROLE-3, ROLE-4, ROLE-5, USR-2: what this administrator may not do to this person, or nobody to anybody."""
        gone = (index for index in self.changed if self.old[index].status == "left")
        for index in gone if self.by is None else self._wanted():
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
        old = [self.old[index] for index in self.changed if index not in self.reasons]
        if any(one.admin == "system" for one in old):
            return True
        lacking = {*self.rows.books_to_be, *self._left_by(old)}
        if self.rows.roll.unstaffed:
            lacking |= self.rows.roll.unstaffed & _together({*self.rows.meant.books, *(one.books for one in old)})
        lacking = lacking - self._books_of_staff(active=True) if lacking else lacking
        return bool(lacking) and (self._bring_clients(lacking) or any(map(self._has_clients, lacking)))

    def _left_by(self, old: Sequence[Membership]) -> Iterator[str]:
        """The books of which all active staff are among these people."""
        staff = self.rows.roll.staff
        moved = [one for one in old if one.role == "staff" and one.status == "active"]
        ids = {one.identifier for one in moved}
        return (book for book in _together(one.books for one in moved) if staff[book] <= ids)

    def _bring_clients(self, books: set[str]) -> bool:
        """Does one of the rows, good or not, bring a client into one of the books?"""
        meant = self.rows.meant
        named = {some for some, role in zip(meant.books, meant.roles, strict=True) if role == "client"}
        return not all(map(books.isdisjoint, named))

    def _has_clients(self, book: str) -> bool:
        """Is a client in the book?"""
        known = self.home.books.get(book)
        return known is not None and any(self.policy.people[person].role == "client" for person in known.members)

    def _books_of_staff(self, *, active: bool) -> frozenset[str]:
        """The books into which the good rows bring staff."""
        return _together(
            books
            for index, status, books in self._staff
            if index not in self.reasons
            if status == "active" or not active
        )

    @cached_property
    def _staff(self) -> list[tuple[int, Status, frozenset[str]]]:
        """The rows that add or change staff, good or not, with their status and books."""
        meant, read = self.rows.meant, self.rows.read
        places = [place for place, role in enumerate(meant.roles) if role == "staff"]
        return [
            (read[place], meant.statuses[place], meant.books[place])
            for place in places
            if read[place] not in self.old or read[place] in self.changed
        ]

    def _after(self) -> Amended:
        """The policy as the good rows leave it."""
        after = Amended(self.policy)
        for book in self._new_books():
            after.change(CreateBook(self.home.identifier, book, book))
        for index in self._good():
            after.put(self.rows.member(index))
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
            old, new = self.old.get(index), self.rows.member(index)
            if old is None or old.role != "staff" or old.status != "active":
                continue
            left = bare & (old.books if new.status != "active" else old.books - new.books)
            took_out |= left
            for book in sorted(left):
                rule = "USR-3" if new.status != "active" else "BOOK-11"
                heading = "status" if new.status != "active" else BOOKS
                text = f"the contact book {book} has clients and would have no active staff ({rule})"
                yield index, Reason(heading, text, "add another staff to it first")
            if leaderless and old.admin == "system" and (new.admin, new.status) != ("system", "active"):
                text = f"{self.home.name} would have no active system administrator (ROLE-2)"
                yield index, Reason("admin", text, "make somebody else one first")
        for index in good if bare - took_out else ():
            new = self.rows.member(index)
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
        same = self.old.keys() - self.changed.keys()
        return [index for index in range(len(self.ids)) if index not in same]

    def _changes(self, index: int) -> tuple[Change, ...]:
        """What the row changes, good or not."""
        if index in self.old:
            return tuple(_changes_of(self.old[index], self.changed.get(index, {})))
        new = self.rows.member(index)
        return (AddPerson(new.id, self.rows.fields(index), tuple(sorted(new.books))),)

    def _new_books(self) -> tuple[str, ...]:
        """IMP-2: the books that good rows of the staff name and nobody has made yet."""
        if not self.rows.books_to_be:
            return ()
        return tuple(sorted(self._books_of_staff(active=False) - self.home.books.keys()))

    def _leavers(self) -> tuple[PersonId, ...]:
        """Whose membership the good rows end."""
        ends = (index for index in self.changed if self.changed[index].get("status") == "left")
        return tuple(self.old[index].id for index in ends if index not in self.reasons)

    def _in_order(self) -> Iterator[Change]:
        """IMP-2: the books, then the staff, then the clients."""
        for book in self._new_books():
            yield CreateBook(self.home.identifier, book, book)
        for index in sorted(self._good(), key=lambda index: self.rows.member(index).role == "client"):
            yield from self._changes(index)

    def _outcomes(self) -> list[Outcome]:
        outcomes: list[Outcome] = ["new"] * len(self.ids)
        for index in self.old:
            outcomes[index] = "same"
        for index in self.changed:
            outcomes[index] = "change"
        for index in self.reasons:
            outcomes[index] = "refused"
        for index in self.old if self.skip_existing else ():
            outcomes[index] = "skipped"
        return outcomes

    def _verdict(self, index: int, outcome: Outcome) -> Verdict:
        row, identifier = self.table.numbers[index], self.ids[index]
        if outcome == "change":
            return Verdict(row, identifier, outcome, changes_in_words(self.old[index], self.changed[index]))
        if outcome == "refused":
            return Verdict(row, identifier, outcome, reasons=tuple(self.reasons[index]))
        if outcome == "new":
            return Verdict(row, identifier, outcome, place_in_words(self.rows.member(index).books))
        return Verdict(row, identifier, outcome, "the identifier is in use already" if outcome == "skipped" else "")


def _changes_of(old: Membership, fields: Mapping[str, Any]) -> Iterator[Change]:
    """What has to change for these fields of somebody to be so."""
    for heading, value in fields.items():
        if heading != BOOKS:
            yield SetField(old.id, heading, value)
    books = fields.get(BOOKS, old.books)
    yield from (AddToBook(old.id, book) for book in sorted(books - old.books))
    yield from (RemoveFromBook(old.id, book) for book in sorted(old.books - books))


def _together(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*sets)


def _field(change: Change) -> str:
    """The heading under which the change stands; of newcomers that of the right they would have."""
    if isinstance(change, AddPerson):
        return next((name for name, value in change.fields if name in ("admin", "review") and value), "")
    return change.field if isinstance(change, SetField) else ""
