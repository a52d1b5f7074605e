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
from policy.imports import Table, plan_import
from policy.model import PersonId, Policy
from policy.sheet import COLUMNS

EDITING, IMPORTING = "editing", "importing"
EDIT_TIMES, IMPORT_TIMES = 1.5, 5

PEOPLE = 800
"""Six lines each, and three a book: a policy of 5,000 lines."""

BOOKS = 80
ROWS = 500


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
    """The rows: a dry run from Excel against openpyxl, and one from CSV against the bare csv module."""
    policy = policy_in(Files("policy.yaml", policy_text().encode(), {}))
    assert isinstance(policy, Policy)  # noqa: S101 - a mistake in our own text
    table = newcomers()
    excel, text = spreadsheet.write(table, "xlsx"), spreadsheet.write(table, "csv")
    for kind, data, read in (("openpyxl", excel, read_excel), ("the bare csv module", text, read_csv)):
        say(f"importing: against {kind}")
        turns = in_turns(lambda d=data: dry_run(policy, d), lambda d=data, r=read: r(d), size.rounds)  # type: ignore[misc]
        what = f"a dry run of {ROWS} new people: time against {kind} reading the file"
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
    """Clients that nobody knows yet, each in a book."""
    rows = [
        [
            f"n{number}", "Nia", f"New {number}", "client", f"Mia {number}, Year {number % 7}",
            f"n{number}@home.example", f"+44 7700 8{number:05d}", "", f"book-{number % BOOKS}", "", "", "", "", "",
        ]
        for number in range(ROWS)
    ]  # fmt: skip
    return Table(list(COLUMNS), rows, list(range(2, ROWS + 2)))


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
    """Read the file and judge every row."""
    assert plan_import(policy, "hill", spreadsheet.read(data)).good  # noqa: S101 - as above


def read_excel(data: bytes) -> list[tuple[object, ...]]:
    """Every row, as openpyxl gives them fastest."""
    return list(load_workbook(BytesIO(data), read_only=True).worksheets[0].iter_rows(values_only=True))


def read_csv(data: bytes) -> list[list[str]]:
    """Every row, as the csv module gives them."""
    return list(csv.reader(StringIO(data.decode("utf-8-sig"), newline="")))
