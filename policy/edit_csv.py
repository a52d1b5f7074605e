"""Changes inside CSV text: only cells that change are written anew, all else stays as it was, to the byte."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from policy.csv_people import delimiter_of

BOOKS = "contact_books"

_MARK = b"\xef\xbb\xbf"
_LINE = re.compile(r"[^\r\n]*+(?:\r\n?|\n)|[^\r\n]++")
_CELLS, _WHOLE = {}, {}
for _delimiter in ",;":
    _cell = rf'"(?:[^"]|"")*+"|[^"{_delimiter}\r\n][^{_delimiter}\r\n]*+|'
    _CELLS[_delimiter] = re.compile(rf"(?:^|{_delimiter})({_cell})")
    _WHOLE[_delimiter] = re.compile(rf"(?:{_cell})(?:{_delimiter}(?:{_cell}))*+")


@dataclass(slots=True)
class Row:
    """What becomes of one person's row."""

    fields: dict[str, str] = field(default_factory=dict)
    books_in: list[str] = field(default_factory=list)
    books_out: list[str] = field(default_factory=list)

    def cell(self, heading: str, old: str) -> str:
        """What the cell under a heading says afterwards."""
        if heading != BOOKS:
            return self.fields.get(heading, old)
        stay = [book for book in (word.strip() for word in old.split(";")) if book and book not in self.books_out]
        new = [book for book in self.books_in if book not in stay]
        changed = new or len(stay) < len([word for word in old.split(";") if word.strip()])
        return ";".join((*stay, *new)) if changed else old

    @property
    def headings(self) -> set[str]:
        """The columns in which it has something to say."""
        return {heading for heading, value in self.fields.items() if value} | ({BOOKS} if self.books_in else set())


def headings_of(data: bytes) -> list[str]:
    """The headings of a good file."""
    text = data.removeprefix(_MARK)
    first = next(_records(text.decode(), delimiter_of(text)))
    return [cell.strip() for cell in _values(first, delimiter_of(text))]


def edited_csv(data: bytes, rows: Mapping[str, Row], added: Mapping[str, Row]) -> bytes:
    """The file with the rows of these identifiers changed and new rows at its end; it is known to be good.

    A column that is missing and needed is put behind the others.
    """
    mark = _MARK if data.startswith(_MARK) else b""
    text = data.removeprefix(mark).decode()
    delimiter = delimiter_of(data.removeprefix(mark))
    lines = list(_records(text, delimiter))
    line_end = _line_end(lines[0]) or "\n"
    headings = [cell.strip() for cell in _values(lines[0], delimiter)]
    needed = set().union(*(row.headings for row in (*rows.values(), *added.values())))
    more = sorted(needed - set(headings) - {"identifier"})
    changed = [_widened(lines[0], more, delimiter)]
    at = headings.index("identifier")
    for line in lines[1:]:
        row = _row_of(line, rows, at, delimiter)
        blank = not line.strip(delimiter + " \t\r\n")
        changed.append(line if blank else _edited(line, headings, more, row, delimiter))
    if added and not changed[-1].endswith(("\n", "\r")):
        changed.append(line_end)
    for identifier, row in added.items():
        cells = [identifier if name == "identifier" else row.cell(name, "") for name in (*headings, *more)]
        changed.append(delimiter.join(_written(cell, delimiter) for cell in cells) + line_end)
    return mark + "".join(changed).encode()


def _row_of(line: str, rows: Mapping[str, Row], at: int, delimiter: str) -> Row | None:
    """The change that a line is about; a line without quotation marks is looked at without reading its cells."""
    if '"' in line:
        cells = _values(line, delimiter)
        return rows.get(cells[at].strip()) if at < len(cells) else None
    cells = line.split(delimiter, at + 1)
    return rows.get(cells[at].strip()) if at < len(cells) else None


def _edited(line: str, headings: Sequence[str], more: Sequence[str], row: Row | None, delimiter: str) -> str:
    if row is None and not more:
        return line
    row = row or Row()
    body = line.rstrip("\r\n")
    pieces: list[str] = []
    for heading, cell in zip(headings, _CELLS[delimiter].findall(body), strict=False):
        old = _value(cell)
        new = row.cell(heading, old)
        same = new == old or new == old.strip()
        pieces.append(cell if same else _written(new, delimiter, quoted=cell.startswith('"')))
    pieces += [_written(row.cell(heading, ""), delimiter) for heading in more]
    return delimiter.join(pieces) + line[len(body) :]


def _widened(line: str, more: Sequence[str], delimiter: str) -> str:
    body = line.rstrip("\r\n")
    return delimiter.join((body, *more)) + line[len(body) :]


def _written(cell: str, delimiter: str, *, quoted: bool = False) -> str:
    """A cell in quotation marks where it needs them or had them before."""
    if quoted or cell != cell.strip() or any(character in cell for character in (delimiter, '"', "\r", "\n")):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _values(line: str, delimiter: str) -> list[str]:
    return [_value(cell) for cell in _CELLS[delimiter].findall(line.rstrip("\r\n"))]


def _value(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if cell.startswith('"') else cell


def _records(text: str, delimiter: str) -> Iterator[str]:
    """The rows with their line ends; a line break inside quotation marks ends none."""
    waiting = ""
    for line in _LINE.finditer(text):
        waiting += line[0]
        if '"' not in waiting or _WHOLE[delimiter].fullmatch(waiting.rstrip("\r\n")):
            yield waiting
            waiting = ""


def _line_end(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :]
