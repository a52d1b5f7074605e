"""What is said of the rows of an import: what is wrong, where, what may have been meant, and what changes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from policy.amend import Amended
from policy.import_verdicts import Reason
from policy.mistake import instead, quoted
from policy.model import Membership
from policy.sheet import COLUMNS
from policy.yaml_nodes import as_day

_BOOKS = "contact_books"
_UNFIT = re.compile(r"[^a-z0-9_-]+")
_OTHER_DAY = re.compile(r"([0-9]{1,2})[./-]([0-9]{1,2})[./-]([0-9]{4})")
_UNSEEN = re.compile(r"\\u[0-9a-f]{4}")
"""A character that nobody sees, as a sentence quotes it."""
_SHORTENED = re.compile(r"[0-9][0-9.,]*[eE]\+[0-9]+")
"""A long number as a spreadsheet shows it in a narrow column."""
_EXCEL_DAYS = date(1899, 12, 30)
"""Day 0 of a spreadsheet's calendar."""


def mistakes_of_headings(headings: Sequence[str]) -> list[str]:
    """What makes the table as a whole none of people."""
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


def place_in_words(books: frozenset[str]) -> str:
    """Where a row puts somebody new."""
    return f"in {', '.join(sorted(books))}" if books else ""


def changes_in_words(old: Membership, fields: Mapping[str, Any]) -> str:
    """What a row changes of somebody: the text of cells by heading, and the books."""
    words = [
        f"{heading} {quoted(str(getattr(old, heading) or ''))} becomes {quoted(value)}"
        for heading, value in fields.items()
        if heading != _BOOKS
    ]
    if _BOOKS in fields:
        words += _moves(old.books, fields[_BOOKS])
    return ", ".join(words)


def _moves(before: frozenset[str], after: frozenset[str]) -> Iterator[str]:
    if into := after - before:
        yield f"into {', into '.join(sorted(into))}"
    if out_of := before - after:
        yield f"out of {', out of '.join(sorted(out_of))}"


def no_staff(after: Amended, organisation: str, book: str) -> Reason:
    """BOOK-4: a book that nobody active of the staff is in, and whom it waits for."""
    invited = [one.name for one in after.members(organisation, book) if one.role == "staff" and one.status == "invited"]
    text = f"the contact book {book} has no active staff (BOOK-4)"
    if invited:
        return Reason(_BOOKS, text, f"import the row again when {' or '.join(sorted(invited)[:3])} has accepted")
    return Reason(_BOOKS, text, "put one of the staff into it first")


def reason_of(column: str, text: str) -> Reason:
    """A mistake with what it suggests apart from it, and what a spreadsheet does to numbers."""
    said, _, suggestion = text.partition(" — ")
    cell = _quoted_cell(said)
    if column == "until" and cell.isdecimal() and 20_000 <= int(cell) <= 80_000:
        suggestion = f"the spreadsheet made a number of it: write {_EXCEL_DAYS + timedelta(days=int(cell))} as text"
    if column == "until" and (days := _days_meant(cell)):
        suggestion = f"write {' or '.join(days)}"
    if column == "identifier":
        suggestion = _identifier_meant(cell)
    if column == _BOOKS and "," in cell:
        suggestion = "put a semicolon between two books"
    if column == "mobile" and ((cell.isdecimal() and len(cell) >= 6) or _SHORTENED.fullmatch(cell)):
        suggestion = "write + and the country code, in a column formatted as text"
    return Reason(column, said, suggestion)


def _identifier_meant(cell: str) -> str:
    """What to write instead; a letter of another alphabet may look as if it were right."""
    shown = _UNSEEN.sub("", cell).lower()
    plain = "".join(c for c in unicodedata.normalize("NFKD", shown) if not unicodedata.combining(c))
    foreign = next((c for c in plain if c.isalnum() and not c.isascii()), "")
    if foreign:
        return f"type {quoted(foreign)} anew: it is the {unicodedata.name(foreign, 'unknown letter').lower()}"
    slug = _UNFIT.sub(".", plain).strip(".")
    return f"write {slug}" if slug not in ("", cell) else ""


def _days_meant(cell: str) -> list[str]:
    """What a day written as 31/07/2027 or 7.4.2027 may mean: the day stands first or the month."""
    found = _OTHER_DAY.fullmatch(cell)
    if found is None:
        return []
    one, two, year = map(int, found.groups())
    days = (as_day(f"{year}-{month:02}-{day:02}") for day, month in dict.fromkeys(((one, two), (two, one))))
    return [day.isoformat() for day in days if day is not None]


def _quoted_cell(text: str) -> str:
    """The last quotation of a sentence."""
    parts = text.split('"')
    return parts[-2] if len(parts) > 2 else ""
