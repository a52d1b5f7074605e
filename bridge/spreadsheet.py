"""Spreadsheets of people, CSV and Excel: bytes to a table of text, and tables back to bytes.

Excel changes what people type: it makes numbers of telephone numbers and days, and computes. What a cell cannot mean is
noted for its row; what makes the file as a whole unreadable is one sentence that says what to do.
"""

from __future__ import annotations

import csv
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, time
from io import BytesIO, StringIO
from itertools import islice
from typing import Any, Literal

from openpyxl import Workbook, load_workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.cell.read_only import EMPTY_CELL
from openpyxl.styles import Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation

from policy.csv_people import MARKS, csv_sentence, delimiter_of, not_utf8
from policy.enrol import ADMINS, LEVELS, ROLES, STATUSES
from policy.import_verdicts import MOST_CLIENTS, MOST_ROWS, REASON, Table
from policy.mistake import quoted
from policy.sheet import COLUMNS

Kind = Literal["csv", "xlsx"]

LARGEST = 10 * 1024 * 1024
"""Bytes of a file that are read; 5,000 people take one tenth of it."""

LARGEST_UNPACKED = 64 * 1024 * 1024
"""Bytes that the cells of an Excel file may unpack to."""

LARGEST_BESIDE = 2 * 1024 * 1024
"""Bytes that everything else in it may unpack to: its formats take a hundred times their size in memory."""

MOST_MARKS = 1_000_000
"""Beginnings and ends of elements in one part of it; 5,000 people have half as many at most."""

WIDEST = 64
"""Columns that are looked at; a table of people has fourteen."""

AT_HAND = 128
"""Rows that are turned into columns at once."""

LAST_ROW = 1_048_576
"""The last row of a sheet, of which LibreOffice takes note also where nothing stands in it."""

EMPTIEST = 50_000
"""Rows without anything in them that are passed over."""

SPLIT = f"The file has more than {MOST_ROWS:,} rows: split it into files of at most {MOST_CLIENTS} clients (IMP-3)."

PADDED = (
    "This Excel file holds far more than a table of people, such as pictures or thousands of formats: copy the table "
    "alone into a new file."
)

FORMULA = "the cell holds a formula, which is not worked out here: paste it as a value"

HELP = "what to write"
"""The sheet of the template that holds nobody."""

WHAT_TO_WRITE = {
    "identifier": "What the person is called in the policy, like p.chan: a-z 0-9 - . _ only. It never changes.",
    "first_name": "Needed, or last_name.",
    "last_name": "Needed, or first_name.",
    "role": "Needed for newcomers: staff or client.",
    "job_title": "For parents: the child's name and class.",
    "email": "Needed.",
    "mobile": "With + and country code, like +44 7700 900010. Needed unless the organisation says optional.",
    "matrix": "The Matrix ID of somebody who has an account, like @p.chan:school.example.",
    "contact_books": "Identifiers with a semicolon between them: year-1;choir. They take the place of those before.",
    "admin": "system or user, for staff who administer.",
    "review": "connected, clients or all, for staff who review chats.",
    "status": "invited (newcomers, if empty), active, suspended or left.",
    "until": "Last day of the membership, like 2027-07-31.",
    "unlisted": "true: other organisations do not find this person.",
}
"""One line for each column, as the template has them."""

_CHOICES = {"role": tuple(ROLES), "status": tuple(STATUSES), "admin": tuple(ADMINS), "review": tuple(LEVELS),
            "unlisted": ("true", "false")}  # fmt: skip
_CELLS = re.compile(r"xl/(worksheets/|sharedStrings)[^/]*\.xml", re.IGNORECASE)
"""The parts of an Excel file that grow with its rows."""
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell [^>]*ref="([A-Z]+[0-9]+:[A-Z]+[0-9]+)"')
_OPEN_DOCUMENT = b"mimetypeapplication/vnd.oasis.opendocument"
"""How such a file begins, behind the first numbers of its archive."""
_OTHER_ENDS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_SPACE = re.compile(r"[\s_-]+")

Wrong = dict[tuple[int, str], str]


class Unreadable(Exception):
    """The file cannot be a table of people; the text says what to do."""


def kind_of(data: bytes) -> Kind:
    """Whether these bytes are an Excel file; anything else is taken for CSV."""
    return "xlsx" if data.startswith(b"PK\x03\x04") else "csv"


def read(data: bytes) -> Table:
    """The table in a CSV or Excel file; raises `Unreadable`."""
    if len(data) > LARGEST:
        raise Unreadable(f"The file is larger than {LARGEST // 2**20} MB: split it.")
    if kind_of(data) == "xlsx":
        if _OPEN_DOCUMENT in data[:200]:
            raise Unreadable("This is a spreadsheet of LibreOffice or another program: save it as .xlsx or .csv there.")
        return _from_excel(data)
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise Unreadable("This is an Excel file of an old kind, or one with a password: save it as .xlsx without one.")
    return _from_csv(data)


def write(table: Table, kind: Kind) -> bytes:
    """The table as a file of that kind, for the programs that people use."""
    return _to_excel(table) if kind == "xlsx" else _to_csv(table)


def template(kind: Kind) -> bytes:
    """An empty table of people with all headings."""
    return write(Table.of(list(COLUMNS), [], []), kind)


# CSV


def _from_csv(data: bytes) -> Table:
    for mark, text in MARKS.items():
        if data.startswith(mark):
            raise Unreadable(f"This {text}.")
    if b"\0" in data:
        raise Unreadable("This is no spreadsheet that can be read here: save it as .xlsx or as CSV (UTF-8).")
    data = data.removeprefix(b"\xef\xbb\xbf")
    delimiter = delimiter_of(data)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        place, sentence = not_utf8("", data, delimiter)
        raise Unreadable(f"Row {place.line}, column {place.column}: {sentence}.") from None
    text = _as_typed(text)
    plain = _plain(text, delimiter) if "=" not in text else None
    return plain or _table(_numbered(_csv_rows(text, delimiter)))


def _csv_rows(text: str, delimiter: str) -> list[list[str]]:
    """As many rows as are looked at."""
    rows: list[list[str]] = []
    try:
        rows.extend(islice(_csv_reader(text, delimiter), MOST_ROWS + EMPTIEST + 2))
    except csv.Error as error:
        raise Unreadable(f"Row {len(rows) + 1}: {csv_sentence(error)}.") from error
    return rows


def _csv_reader(text: str, delimiter: str) -> Iterator[list[str]]:
    # In one go where that splits the text as a file would be split: a few rare characters end lines too.
    rare = any(end in text for end in _OTHER_ENDS)
    lines = StringIO(text, newline="") if rare else text.splitlines(keepends=True)
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _plain(text: str, delimiter: str) -> Table | None:
    """The table column by column, for the usual file: every row as wide as the headings, and none of them empty.

    Its rows are turned into columns a few at a time, while the processor has them at hand.
    """
    rows = islice(_csv_reader(text, delimiter), MOST_ROWS + 2)
    try:
        headings = _headings(next(rows, []))
        columns: list[list[str]] = [[] for _ in headings]
        while some := list(islice(rows, AT_HAND)):
            for column, cells in zip(columns, zip(*some, strict=True), strict=True):
                column.extend(map(str.strip, cells) if any(cells) else cells)
    except (csv.Error, ValueError, Unreadable):
        return None
    count = len(columns[0])
    if not 0 < count <= MOST_ROWS or not any(map(all, columns)):
        return None
    kept = [index for index, heading in enumerate(headings) if heading != REASON]
    return Table([headings[i] for i in kept], [columns[i] for i in kept], range(2, count + 2))


def _numbered(rows: Sequence[list[str]]) -> Iterator[tuple[int, list[str], Wrong]]:
    """The rows of a CSV file; one with too few cells may have its values under the wrong headings."""
    width = len(rows[0]) if rows else 0
    for number, row in enumerate(rows, 1):
        short = f"the row is too short: {len(row)} cells under {width} headings"
        wrong = {(number, str(len(row))): short} if len(row) < width else {}
        yield number, row, wrong | _formulas(number, row)


def _formulas(number: int, row: Sequence[str]) -> Wrong:
    """Cells whose text is a formula: what it would come to, nobody works out."""
    return {(number, str(index)): FORMULA for index, text in enumerate(row) if text.lstrip().startswith("=")}


def _to_csv(table: Table) -> bytes:
    out = StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([table.headings, *table.rows])
    return b"\xef\xbb\xbf" + out.getvalue().encode(errors="replace")


# Excel


def _from_excel(data: bytes) -> Table:
    try:
        return _first_sheet(data)
    except Unreadable:
        raise
    except Exception as error:  # whatever a damaged archive makes of the three parsers in it
        raise Unreadable("This Excel file is damaged: open it in Excel and save it again as .xlsx.") from error


def _first_sheet(data: bytes) -> Table:
    with zipfile.ZipFile(BytesIO(data)) as parts:
        _require_no_more_than_a_table(parts)
        book = load_workbook(BytesIO(data), read_only=True, keep_links=False)
        visible: list[Any] = [one for one in book.worksheets if one.sheet_state == "visible"]
        if not visible:
            raise Unreadable("There is no sheet in this Excel file that shows.")
        sheet = _only([one for one in visible if _has_people(one)]) or visible[0]
        merged = _MERGED.search(parts.read(sheet._worksheet_path))
        if merged:
            cells = merged[1].decode()
            raise Unreadable(f"The cells {cells} are merged: undo that in Excel, and give every row its own cells.")
    sheet.reset_dimensions()  # what the file says of its own size is often wrong
    return _table(_cells(sheet.iter_rows(max_col=WIDEST)))


def _require_no_more_than_a_table(parts: zipfile.ZipFile) -> None:
    """A few kilobytes may unpack to what no machine has room for; what unpacks to a table is known by its size."""
    cells = [part for part in parts.infolist() if _CELLS.fullmatch(part.filename)]
    size = sum(part.file_size for part in cells)
    if sum(part.file_size for part in parts.infolist()) - size > LARGEST_BESIDE:
        raise Unreadable(PADDED)
    if size > LARGEST_UNPACKED or any(parts.read(part).count(b"<") > MOST_MARKS for part in cells):
        raise Unreadable(SPLIT)


def _has_people(sheet: Any) -> bool:
    head = next(sheet.iter_rows(max_row=1, max_col=WIDEST, values_only=True), ())
    return sheet.title != HELP and "identifier" in (_heading(str(value)) for value in head)


def _only(sheets: Sequence[Any]) -> Any:
    """Whoever keeps staff on one sheet and clients on the next shall not believe that both were read."""
    if len(sheets) > 1:
        names = " and ".join(quoted(sheet.title) for sheet in sheets[:2])
        raise Unreadable(
            f"There are people on two sheets, {names}: put them on one, or save each as a file of its own."
        )
    return next(iter(sheets), None)


def _cells(rows: Iterable[Sequence[Any]]) -> Iterator[tuple[int, list[str], Wrong]]:
    for number, row in _written(rows):
        wrong: Wrong = {}
        texts = [""] * len(row)
        for index, cell in enumerate(row):
            value = cell.value
            if value is None:
                continue
            if isinstance(value, str) and cell.data_type not in ("f", "e"):
                texts[index] = _as_typed(value)
                if value.startswith("="):
                    wrong[number, str(index)] = FORMULA
            else:
                texts[index], sentence = _text_of(value, cell.data_type, cell.number_format)
                if sentence:
                    wrong[number, str(index)] = sentence
        yield number, texts, wrong


def _written(rows: Iterable[Sequence[Any]]) -> Iterator[tuple[int, Sequence[Any]]]:
    """The first row, and all others but those that are not in the file and only stand for a gap."""
    gap: Sequence[Any] = ()
    for number, row in enumerate(rows, 1):
        if number > LAST_ROW:
            raise Unreadable("This Excel file has more rows than a sheet can have: copy the table into a new file.")
        if row is gap:
            continue
        if number > 1 and row[0] is EMPTY_CELL and all(cell is EMPTY_CELL for cell in row):
            gap = row
            continue
        yield number, row


def _text_of(value: Any, data_type: str, number_format: str) -> tuple[str, str]:
    """What a cell that holds no text says, and what is wrong with it."""
    if data_type == "f":
        return str(getattr(value, "text", None) or value), FORMULA
    if data_type == "e":
        return str(value), "the cell holds an error of a formula: write the value itself"
    if isinstance(value, bool):
        return str(value).lower(), ""
    if isinstance(value, datetime):
        return (value.date().isoformat() if value.time() == time() else value.isoformat(" ")), ""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    # 00123 is kept as 123 in the format 00000.
    return text.zfill(len(number_format)) if set(number_format) == {"0"} else text, ""


def _to_excel(table: Table) -> bytes:
    book = Workbook()
    sheet: Any = book.active
    sheet.title = "people"
    for number, row in enumerate([table.headings, *table.rows], 1):
        for column, text in enumerate(row, 1):
            if text:
                cell = sheet.cell(number, column, ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", text)[:32000])
                cell.data_type = "s"  # whatever it begins with, it is no formula
                cell.number_format = "@"
    _dress(sheet, table.headings)
    help_ = book.create_sheet(HELP)
    for heading, line in WHAT_TO_WRITE.items():
        help_.append((heading, line))
    help_.column_dimensions["A"].width, help_.column_dimensions["B"].width = 18, 90
    out = BytesIO()
    book.save(out)
    return out.getvalue()


def _dress(sheet: Any, headings: Sequence[str]) -> None:
    """Columns of text, so that Excel leaves telephone numbers and days as they are typed; lists to choose from."""
    sheet.freeze_panes = "A2"
    for number, heading in enumerate(headings, 1):
        letter = get_column_letter(number)
        sheet.column_dimensions[letter].width = 60 if heading == REASON else 18
        sheet.column_dimensions[letter].number_format = "@"
        sheet.cell(1, number).font = Font(bold=True)
        if heading == REASON:
            sheet.cell(1, number).fill = PatternFill("solid", fgColor="FFE4B5")
        if heading in _CHOICES:
            choices = DataValidation(type="list", formula1=f'"{",".join(_CHOICES[heading])}"', allow_blank=True)
            choices.add(f"{letter}2:{letter}{MOST_ROWS}")
            sheet.add_data_validation(choices)


# Both


def _as_typed(text: str) -> str:
    """The text in the characters of a keyboard: some programs take letters and their accents apart, or bind words."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", text).replace("\u00a0", " ").replace("\u202f", " ")


def _table(rows: Iterator[tuple[int, list[str], Wrong]]) -> Table:
    """The first row gives the headings; rows without anything in them are passed over, the column of reasons too."""
    _, head, _ = next(rows, (0, [], {}))
    headings = _headings(head)
    kept = [index for index, heading in enumerate(headings) if heading != REASON]
    wrong: Wrong = {}
    whole = len(kept) == len(headings)
    numbers: list[int] = []
    body: list[list[str]] = []
    for number, cells, notes in _filled(rows):
        if len(body) == MOST_ROWS:
            raise Unreadable(SPLIT)
        if len(cells) != len(headings):
            _fit(cells, headings, number, wrong)
        body.append(cells if whole else [cells[index] for index in kept])
        numbers.append(number)
        if notes:
            wrong.update(_noted(notes, headings))
    return Table.of([headings[index] for index in kept], body, numbers, wrong)


def _noted(notes: Wrong, headings: Sequence[str]) -> Wrong:
    """What was noted of cells by their number, by the heading above them."""
    return {(row, headings[int(i)]): sentence for (row, i), sentence in notes.items() if int(i) < len(headings)}


def _headings(head: Sequence[str]) -> list[str]:
    headings = list(map(_heading, _trimmed(head)))
    if not headings:
        raise Unreadable("The first row is empty: it has to hold the headings, as in the template.")
    if "" in headings:
        raise Unreadable(f"Column {headings.index('') + 1} has no heading: give it one, or delete the column.")
    return headings


def _heading(text: str) -> str:
    """As the template writes it."""
    return _SPACE.sub("_", text.strip().lower())


def _filled(rows: Iterable[tuple[int, list[str], Wrong]]) -> Iterator[tuple[int, list[str], Wrong]]:
    """The rows that hold anything, without spaces around their cells."""
    empty = 0
    for number, row, notes in rows:
        cells = list(map(str.strip, row))
        if any(cells):
            yield number, cells, notes
            continue
        empty += 1
        if empty > EMPTIEST:
            raise Unreadable(f"There are thousands of empty rows before row {number}: delete them.")


def _fit(cells: list[str], headings: Sequence[str], number: int, wrong: Wrong) -> None:
    """Make a row as wide as the headings; what stands beyond them belongs to no column."""
    width = len(headings)
    beyond = [text for text in cells[width:] if text]
    if beyond:
        wrong[number, headings[-1]] = f"the row is too long: {quoted(beyond[0])} stands under no heading"
    del cells[width:]
    cells.extend([""] * (width - len(cells)))


def _trimmed(head: Sequence[str]) -> Sequence[str]:
    last = max((index for index, text in enumerate(head) if text.strip()), default=-1)
    return head[: last + 1]
