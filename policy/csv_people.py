"""People in a CSV file, read into columns in small steps.

A file of 100,000 rows must not hold up whoever loads it: no single call reads more than `STEP` rows, and nothing here
looks at a row by itself unless something is wrong with it.
"""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from io import StringIO
from itertools import chain, islice
from operator import itemgetter

from policy.mistake import Notebook, Place, quoted
from policy.sheet import COLUMNS, Sheet

NEEDED = ("identifier", "role")
NAMES = ("first_name", "last_name")

STEP = 256
"""Rows between two steps: about a millisecond."""

PIECE = 1 << 16
"""Bytes that are decoded at once."""

MARKS = {
    b"PK\x03\x04": "is an Excel file: save it as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "is an old Excel file: save it as CSV (UTF-8)",
    b"\xff\xfe": "is UTF-16 text: save it as CSV (UTF-8)",
    b"\xfe\xff": "is UTF-16 text: save it as CSV (UTF-8)",
}
"""How files begin that are no CSV in UTF-8."""


@dataclass(slots=True)
class CsvSheet(Sheet):
    """People from a CSV file; the place of a cell is its row and column."""

    headings: list[str] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)
    """For each row that holds nobody, its number less the number of such rows before it; ascending."""

    def skip(self, row: int) -> None:
        """Pass over a row."""
        self.gaps.append(row - len(self.gaps))

    def place(self, index: int, column: str) -> Place:
        """Row and column, the headings being row 1."""
        row = index + 2 + bisect_right(self.gaps, index + 2)
        return Place(self.file, row, self.headings.index(column) + 1 if column in self.headings else 1)


def sheet_from_csv(file: str, data: bytes, notes: Notebook) -> Generator[None, None, CsvSheet]:
    """The people of a CSV file with comma or semicolon, in steps; what cannot be read is noted and left out."""
    sheet = CsvSheet(file, {})
    data = data.removeprefix(b"\xef\xbb\xbf")
    for mark, text in MARKS.items():
        if data.startswith(mark):
            return _tear(sheet, Place(file, 1, 1), f"this {text}", notes)
    delimiter = delimiter_of(data)
    rows = csv.reader(chain.from_iterable(_lines(data)), delimiter=delimiter, strict=True)
    try:
        yield from _fill(sheet, rows, notes)
    except UnicodeDecodeError:
        place, text = not_utf8(file, data, delimiter)
        _tear(sheet, place, text, notes)
    return sheet


def _fill(sheet: CsvSheet, rows: Iterator[list[str]], notes: Notebook) -> Generator[None, None, None]:
    head, error = _take(rows, 1)
    if not head:
        _tear(sheet, Place(sheet.file, 1, 1), "the file is empty: its first row has to hold the headings", notes)
        return
    if not _headings_fit(sheet, [heading.strip() for heading in head[0]], notes):
        sheet.whole, sheet.torn = False, True
        return
    gathered: list[list[str]] = [[] for _ in sheet.headings]
    width, number, identifier = len(sheet.headings), 2, sheet.headings.index("identifier")
    while error is None:
        chunk, error = _take(rows, STEP)
        if not chunk:
            break
        regular = set(map(len, chunk)) == {width} and "" not in map(itemgetter(identifier), chunk)
        fitting = chunk if regular else _fitting(sheet, chunk, number, notes)
        for column, cells in zip(gathered, zip(*fitting, strict=True), strict=False):
            column.extend(cells)
        number += len(chunk)
        yield
    if error is not None:
        _tear(sheet, Place(sheet.file, number, 1), csv_sentence(error), notes)
    sheet.columns = dict(zip(sheet.headings, gathered, strict=True))
    sheet.count = len(gathered[0])


def _take(rows: Iterator[list[str]], most: int) -> tuple[list[list[str]], csv.Error | None]:
    """The next rows, and what went wrong behind them."""
    taken: list[list[str]] = []
    try:
        taken.extend(islice(rows, most))
    except csv.Error as error:
        return taken, error
    return taken, None


def _headings_fit(sheet: CsvSheet, headings: list[str], notes: Notebook) -> bool:
    sheet.headings = headings
    before = len(notes)
    if not any(heading.casefold() in COLUMNS for heading in headings):
        notes.add(
            Place(sheet.file, 1, 1),
            f"the first row has to hold the headings, with a comma or semicolon between them: {', '.join(COLUMNS)}",
        )
        return False
    for number, heading in enumerate(headings, 1):
        place = Place(sheet.file, 1, number)
        if not heading:
            notes.add(place, f"column {number} has no heading: give it one, or delete the column")
        elif heading not in COLUMNS:
            notes.unknown(place, "heading", heading, COLUMNS)
        elif heading in headings[: number - 1]:
            notes.add(
                place, f"the heading {quoted(heading)} stands twice; the first is column {headings.index(heading) + 1}"
            )
    missing = [heading for heading in NEEDED if heading not in headings]
    if not any(heading in headings for heading in NAMES):
        missing.append("first_name")
    for heading in missing:
        notes.add(Place(sheet.file, 1, 1), f"there is no column {quoted(heading)}: every person needs one")
    return len(notes) == before


def _fitting(sheet: CsvSheet, chunk: list[list[str]], number: int, notes: Notebook) -> list[list[str]]:
    """The rows that hold a person; empty ones are passed over, too short and too long ones noted."""
    width = len(sheet.headings)
    fitting = []
    for row_number, row in enumerate(chunk, number):
        if len(row) == width and any(row):
            fitting.append(row)
            continue
        sheet.skip(row_number)
        if any(cell.strip() for cell in row):
            place = Place(sheet.file, row_number, min(len(row), width) + (len(row) > width))
            much = "short" if len(row) < width else "long"
            notes.add(place, f"the row is too {much}: {len(row)} cells under {width} headings")
            sheet.lost.add(_identifier(sheet, row))
            sheet.whole = False
    return fitting


def _identifier(sheet: CsvSheet, row: list[str]) -> str:
    position = sheet.headings.index("identifier")
    return row[position].strip() if position < len(row) else ""


def _tear(sheet: CsvSheet, place: Place, text: str, notes: Notebook) -> CsvSheet:
    """Give up on the rest of the file."""
    notes.add(place, text)
    sheet.whole, sheet.torn = False, True
    return sheet


def delimiter_of(data: bytes) -> str:
    """Comma or semicolon, whichever the headings have more of."""
    head = data[:PIECE].replace(b"\r", b"\n").split(b"\n", 1)[0]
    return ";" if head.count(b";") > head.count(b",") else ","


def _lines(data: bytes) -> Iterator[StringIO]:
    """The text in pieces of whole lines; a line break is never part of another character in UTF-8."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + PIECE) + 1 or len(data)
        yield StringIO(data[start:end].decode(), newline="")
        start = end


def not_utf8(file: str, data: bytes, delimiter: str) -> tuple[Place, str]:
    """Where the first character stands that is not UTF-8, and what to do about it."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        start = data.rfind(b"\n", 0, error.start) + 1
        character = data[error.start : error.start + 1].decode("cp1252", "replace")
        place = Place(file, data.count(b"\n", 0, start) + 1, data.count(delimiter.encode(), start, error.start) + 1)
        return (
            place,
            f'{quoted(character)} is not written in UTF-8 but probably in Windows-1252: save the file as "CSV UTF-8"',
        )
    return Place(file, 1, 1), "this is not UTF-8"


def csv_sentence(error: csv.Error) -> str:
    problem = str(error)
    if "unexpected end" in problem or "field larger" in problem:
        return "a quotation mark opened in this row is never closed"
    if "expected after" in problem:
        return 'a quotation mark stands inside a cell in this row: write it twice ("")'
    return f"this row cannot be read as CSV: {problem}"
