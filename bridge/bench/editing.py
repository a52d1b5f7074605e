"""Editing a policy and importing people against what any program needs to read the same: ruamel.yaml, openpyxl, csv."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import BytesIO, StringIO

from openpyxl import load_workbook
from ruamel.yaml import YAML

from bridge import spreadsheet
from bridge.bench.measure import Row, in_turns
from bridge.bench.size import Say, Size
from policy.change import AddToBook, Change, Files, SetField
from policy.edit import Refusal, edit, policy_in
from policy.import_verdicts import Table, report
from policy.imports import plan_import
from policy.model import PersonId, Policy
from policy.sheet import COLUMNS

EDITING, IMPORTING = "editing", "importing"
EDIT_TIMES, IMPORT_TIMES = 1.5, 5

PEOPLE = 800
"""Six lines each, and three a book: a policy of 5,000 lines."""

BOOKS = 80
ROWS = 500

SHORT = 10
"""Times as many rounds of what takes a millisecond, which whatever else the machine does disturbs."""


def measure_editing(size: Size, say: Say) -> Iterator[Row]:
    """The row: one change of a person and one of a book, read, made, checked and written."""
    say("editing: a policy of 5,000 lines")
    text = policy_text()
    files = Files("policy.yaml", text.encode(), {})
    changes: list[Change] = [
        SetField(PersonId("hill/p5"), "status", "suspended"),
        AddToBook(PersonId("hill/p7"), "book-9"),
    ]
    turns = in_turns(lambda: made(files, changes), lambda: round_trip(text), size.rounds)
    what = f"two changes in {text.count(chr(10)):,} lines of YAML: time against ruamel.yaml loading and dumping them"
    detail = f"{min(turns.ours) * 1e3:.0f} ms against {min(turns.theirs) * 1e3:.0f} ms"
    yield Row(EDITING, what, turns.ratios, EDIT_TIMES, detail=detail)


def measure_importing(size: Size, say: Say) -> Iterator[Row]:
    """The rows: what a school sends first and in September, dry runs against the bare reading of the same file."""
    policy = policy_in(Files("policy.yaml", policy_text().encode(), {}))
    assert isinstance(policy, Policy)  # noqa: S101 - a mistake in our own text
    first, later = "people, all of them new", "people, new, changed and as before"
    for whom, name, data, read, times in (
        (first, "openpyxl", spreadsheet.write(newcomers(), "xlsx"), read_excel, 1),
        (later, "openpyxl", spreadsheet.write(school_year(), "xlsx"), read_excel, 1),
        (first, "the bare csv module", spreadsheet.write(newcomers(), "csv"), read_csv, SHORT),
        (later, "the bare csv module", spreadsheet.write(school_year(), "csv"), read_csv, SHORT),
    ):
        say(f"importing: {whom}, against {name}")
        turns = in_turns(lambda d=data: dry_run(policy, d), lambda d=data, r=read: r(d), size.rounds * times)  # type: ignore[misc]
        what = f"a dry run of {ROWS} {whom}: time against {name} reading the file"
        detail = f"{min(turns.ours) * 1e3:.1f} ms against {min(turns.theirs) * 1e3:.1f} ms"
        yield Row(IMPORTING, what, turns.ratios, IMPORT_TIMES, detail=detail)


def policy_text() -> str:
    """One organisation, its people and books in YAML, with comments and quotation marks as people write them."""
    people = "".join(
        f"      p{number}:\n"
        f"        first_name: Ann\n"
        f'        last_name: "Person {number}"\n'
        f"        role: {'staff' if number % 10 == 0 else 'client'}\n"
        f"        email: p{number}@hill.example  # asked for in September\n"
        f'        mobile: "+44 7700 9{number:05d}"\n'
        for number in range(PEOPLE)
    )
    books = "".join(
        f"      book-{book}:\n"
        f"        name: Book {book}\n"
        f"        members: [{', '.join(f'p{number}' for number in range(book * 10, book * 10 + 10))}]\n"
        for book in range(BOOKS)
    )
    head = '      head: {name: Head, role: staff, admin: system, email: h@hill.example, mobile: "+44 7700 900000"}\n'
    return f"organisations:\n  hill:\n    name: Hill\n    people:\n{head}{people}    books:\n{books}"


def newcomers() -> Table:
    """Whom a school sends first: one in ten is staff, some of whom bring a book along (IMP-2), the rest are clients."""
    staff = [_staff(number * 2 + 1) for number in range(ROWS // 10)]
    clients = [_client(f"n{n}", f"New {n}", n, f"book-{n % BOOKS}") for n in range(ROWS * 9 // 10)]
    return Table.of(list(COLUMNS), [*staff, *clients], range(2, ROWS + 2))


def school_year() -> Table:
    """What a school sends in September: one in ten is staff, half are known, and of those one in six changes.

    Two classes are new; the staff who come into them bring the books along (IMP-2), and clients of all kinds follow.
    """
    rows = [*(_staff(number) for number in range(ROWS // 10)), *(_pupil(number) for number in range(ROWS * 9 // 10))]
    return Table.of(list(COLUMNS), rows, range(2, ROWS + 2))


def _staff(number: int) -> list[str]:
    known = number % 2 == 0
    identifier = f"p{number * 10}" if known else f"s{number}"
    new_book = f";class-{number // 4 % 2}" if number % 4 == 0 else ";clubs" if number % 4 == 1 else ""
    book = "" if known and not new_book else f"book-{number % BOOKS}{new_book}"
    row = [identifier, "Ann", f"Person {number * 10}", "staff", "", f"{identifier}@hill.example"]
    return [*row, f"+44 7700 9{number * 10:05d}", "", book, "", "", "", "", ""]


def _pupil(number: int) -> list[str]:
    if number % 2:
        return _client(f"n{number}", f"New {number}", number, f"book-{number % BOOKS}")
    person = number + number // 18 * 2 + 1
    row = _client(f"p{person}", f"Person {person}", person, f"book-{person // 10};class-0" if number % 12 == 0 else "")
    return [row[0], "Ann", row[2], "client", "", f"p{person}@hill.example", f"+44 7700 9{person:05d}", *row[7:]]


def _client(identifier: str, name: str, number: int, books: str) -> list[str]:
    child = f"Mia {number}, Year {number % 7}"
    row = [identifier, "Nia", name, "client", child, f"{identifier}@home.example", f"+44 7700 8{number:05d}"]
    return [*row, "", books, "", "", "", "", ""]


def made(files: Files, changes: list[Change]) -> Files:
    """The files with the changes made."""
    result = edit(files, changes)
    assert not isinstance(result, Refusal)  # noqa: S101 - what is measured has to have happened
    return result


def round_trip(text: str) -> str:
    """The text as ruamel.yaml writes what it has read."""
    yaml = YAML()
    yaml.preserve_quotes = True
    out = StringIO()
    yaml.dump(yaml.load(text), out)
    return out.getvalue()


def dry_run(policy: Policy, data: bytes) -> None:
    """Read the file, judge every row, and say what `qwil import` says of it."""
    found = plan_import(policy, "hill", spreadsheet.read(data))
    assert found.good  # noqa: S101 - as above
    for _line in report(found):
        pass


def read_excel(data: bytes) -> list[tuple[object, ...]]:
    """Every row, as openpyxl gives them fastest."""
    return list(load_workbook(BytesIO(data), read_only=True).worksheets[0].iter_rows(values_only=True))


def read_csv(data: bytes) -> list[list[str]]:
    """Every row, as the csv module gives them."""
    return list(csv.reader(StringIO(data.decode("utf-8-sig"), newline="")))
