"""Spreadsheets as Excel and people make them: text comes out, or a sentence that says what to do."""

import zipfile
from contextlib import suppress
from datetime import date, datetime
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook

from bridge import spreadsheet
from bridge.spreadsheet import Unreadable, read, template, write
from policy.import_verdicts import Table
from policy.sheet import COLUMNS


def excel(*rows: tuple[Any, ...], merged: str = "") -> bytes:
    book = Workbook()
    sheet: Any = book.active
    for row in rows:
        sheet.append(row)
    if merged:
        sheet.merge_cells(merged)
    return saved(book)


def saved(book: Workbook) -> bytes:
    out = BytesIO()
    book.save(out)
    return out.getvalue()


def padded(part: str, before: bytes, padding: bytes) -> bytes:
    """A table of one person in a file in which a part of the archive is longer than it looks."""
    out, source = BytesIO(), BytesIO(excel(("identifier",), ("a",)))
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as parts:
        for name in whole.namelist():
            content = whole.read(name)
            parts.writestr(name, content.replace(before, padding + before) if name == part else content)
    return out.getvalue()


def sentence(data: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        read(data)
    return str(caught.value)


def test_excel_cells_become_the_text_that_people_see() -> None:
    table = read(
        excel(
            ("Identifier", "First Name ", "until", "unlisted", "mobile"),
            ("p.chan ", "\u00a0Mei", date(2027, 7, 31), True, "+44 7700 900001"),
            (1001, None, datetime(2027, 7, 31), None, 447700900001.0),  # noqa: DTZ001 - as Excel has it
        )
    )

    assert table.headings == ["identifier", "first_name", "until", "unlisted", "mobile"]
    assert table.rows == [
        ["p.chan", "Mei", "2027-07-31", "true", "+44 7700 900001"],
        ["1001", "", "2027-07-31", "", "447700900001"],
    ]


def test_a_number_that_shows_zeros_before_it_keeps_them() -> None:
    book = Workbook()
    sheet: Any = book.active
    sheet.append(("identifier", "job_title"))
    sheet.append((123, 7))
    sheet["A2"].number_format = "00000"

    assert read(saved(book)).rows == [["00123", "7"]]


def test_accents_taken_apart_and_spaces_that_bind_are_as_somebody_would_type_them() -> None:
    written, typed = "Jose\u0301,+44\u00a07700\u202f900001", ["José", "+44 7700 900001"]

    assert read(f"first_name,mobile\n{written}\n".encode()).rows == [typed]
    assert read(excel(("first_name", "mobile"), tuple(written.split(",")))).rows == [typed]


def test_a_formula_is_noted_for_its_cell() -> None:
    table = read(excel(("identifier", "email"), ("a", '=CONCATENATE("a","@x.example")'), ("b", "b@x.example")))

    assert dict(table.wrong) == {(2, "email"): spreadsheet.FORMULA}
    assert table.rows[1] == ["b", "b@x.example"]


@pytest.mark.parametrize("name", ["=A2", " =A2", '"=CONCATENATE(""a"",B2)"'])
def test_a_formula_in_a_csv_is_no_name(name: str) -> None:
    table = read(f"identifier,first_name\na,{name}\nb,Bea\n".encode())

    assert table.wrong == {(2, "first_name"): spreadsheet.FORMULA}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("inside", ["\u2028", "\x0b", "\x85", "\n", "\r\n", ", "])
def test_a_row_ends_where_a_row_of_csv_ends_and_not_at_what_else_may_end_a_line(end: str, inside: str) -> None:
    table = read(f'identifier,job_title{end}a,"x{inside}y"{end}b, z{end}'.encode())

    assert (table.rows, list(table.numbers)) == ([["a", f"x{inside}y"], ["b", "z"]], [2, 3])


def test_merged_cells_are_named() -> None:
    data = excel(("identifier", "email"), ("a", "a@x.example"), ("b", None), merged="B2:B3")

    assert sentence(data) == "The cells B2:B3 are merged: undo that in Excel, and give every row its own cells."


def test_merged_cells_are_seen_by_whatever_name_their_namespace_goes() -> None:
    data = padded("xl/worksheets/sheet1.xml", b"<sheetData>", b'<x:mergeCell xmlns:x="x" ref="A2:A3"/>')

    assert sentence(data).startswith("The cells A2:A3 are merged")


def test_merged_cells_of_another_sheet_are_none_of_ours() -> None:
    book = Workbook()
    sheet: Any = book.active
    sheet.append(("identifier",))
    other = book.create_sheet("0 notes")
    other.merge_cells("A1:B2")

    assert read(saved(book)).headings == ["identifier"]


def test_people_on_a_second_sheet_are_not_left_out_without_a_word() -> None:
    book = Workbook()
    staff: Any = book.active
    staff.title = "staff"
    staff.append(("identifier", "role"))
    clients = book.create_sheet("clients")
    clients.append(("Identifier", "First name"))

    assert sentence(saved(book)) == (
        'There are people on two sheets, "staff" and "clients": put them on one, or save each as a file of its own.'
    )
    clients.sheet_state = "hidden"
    assert read(saved(book)).headings == ["identifier", "role"]


def test_people_on_the_only_sheet_that_has_them_are_found_behind_a_cover_sheet() -> None:
    book = Workbook()
    cover: Any = book.active
    cover.append(("Hillside Primary", "September"))
    book.create_sheet("empty")
    book.create_sheet("people").append(("identifier", "role"))

    assert read(saved(book)).headings == ["identifier", "role"]


def test_the_last_row_of_a_sheet_may_be_noted_where_nothing_stands() -> None:
    for last in (b'<row r="1048576" customFormat="false"/>', b'<row r="1048576"><c r="A1048576" s="0"/></row>'):
        table = read(padded("xl/worksheets/sheet1.xml", b"</sheetData>", last))

        assert (table.rows, table.numbers) == ([["a"]], [2])


def test_rows_behind_the_last_one_are_not_looked_for() -> None:
    far = padded("xl/worksheets/sheet1.xml", b"</sheetData>", b'<row r="99999999999"><c r="A99999999999"/></row>')

    assert "more rows than a sheet can have" in sentence(far)


def test_empty_rows_are_passed_over_and_rows_keep_their_numbers() -> None:
    for data in (excel(("identifier",), (None,), ("a",), (None,), ("b",)), b"identifier\n\na\n\nb\n"):
        table = read(data)

        assert (table.rows, table.numbers) == ([["a"], ["b"]], [3, 5])


def test_a_csv_with_semicolons_and_a_byte_order_mark_is_read() -> None:
    table = read("\ufeffidentifier; First-Name\r\nzoë ;Zoë\r\n".encode())

    assert (table.headings, table.rows) == (["identifier", "first_name"], [["zoë", "Zoë"]])


def test_a_csv_of_an_old_mac_has_the_delimiter_of_its_first_line() -> None:
    table = read(b"identifier,role,contact_books\ra,staff,year-1;year-2;year-3;choir\r")

    assert table.rows == [["a", "staff", "year-1;year-2;year-3;choir"]]


def test_text_in_windows_1252_is_named_with_its_place() -> None:
    data = "identifier,first_name\nz,Zoë\n".encode("cp1252")

    assert sentence(data) == (
        'Row 2, column 2: "ë" is not written in UTF-8 but probably in Windows-1252: save the file as "CSV UTF-8".'
    )


def test_a_row_too_short_or_too_long_is_noted() -> None:
    table = read(b"identifier,role,email\na,staff\nb,staff,b@x.example,more\nc,staff,c@x.example,\n")

    assert dict(table.wrong) == {
        (2, "email"): "the row is too short: 2 cells under 3 headings",
        (3, "email"): 'the row is too long: "more" stands under no heading',
    }


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "The first row is empty"),
        (b"identifier,,role\na,b,c\n", "Column 2 has no heading"),
        (b'identifier\n"a\n', "Row 2: a quotation mark opened in this row is never closed."),
        (b"\xd0\xcf\x11\xe0rest", "an Excel file of an old kind, or one with a password"),
        (b"\xff\xfei\x00", "UTF-16"),
        (b"PK\x03\x04not really", "This Excel file is damaged"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "This is no spreadsheet that can be read here: save it as .xlsx or as CSV"),
        (b"x" * (spreadsheet.LARGEST + 1), "The file is larger than 10 MB"),
    ],
)
def test_what_is_no_table_is_refused_with_what_to_do(data: bytes, said: str) -> None:
    assert said in sentence(data)


@pytest.mark.parametrize("row", [2, spreadsheet.AT_HAND, spreadsheet.AT_HAND + 1, 2 * spreadsheet.AT_HAND + 1, 400])
def test_a_row_is_read_alike_wherever_it_stands(row: int) -> None:
    lines = ["identifier,email,mobile", *(f"a{number},a{number}@x.example," for number in range(2, 401))]

    lines[row - 1] = f" a{row},\u00a0a{row}@x.example,+44 "
    table = read("\n".join(lines).encode())
    assert table.rows[row - 2] == [f"a{row}", f"a{row}@x.example", "+44"]
    assert (len(table.rows), list(table.numbers), table.wrong) == (399, list(range(2, 401)), {})

    lines[row - 1] = f"a{row}"
    assert list(read("\n".join(lines).encode()).wrong) == [(row, "email")]

    lines[row - 1] = f'a{row},"a"b,'
    assert sentence("\n".join(lines).encode()).startswith(f"Row {row}: ")


def test_100_000_rows_are_too_many_in_either_kind() -> None:
    rows = b"identifier\n" + b"".join(b"p%d\n" % n for n in range(100_000))
    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.append(["identifier"])
    for number in range(spreadsheet.MOST_ROWS + 1):
        sheet.append([f"p{number}"])

    assert sentence(rows) == sentence(saved(book)) == spreadsheet.SPLIT


def test_an_open_document_is_saved_as_something_else() -> None:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as parts:
        parts.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        parts.writestr("content.xml", "<office:document-content/>")

    assert "save it as .xlsx or .csv there" in sentence(out.getvalue())


def test_a_zip_that_unpacks_to_far_more_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreadsheet, "LARGEST_UNPACKED", 1000)
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/worksheets/sheet1.xml", b"0" * 100_000)

    assert sentence(out.getvalue()) == spreadsheet.SPLIT


@pytest.mark.parametrize(
    ("part", "before", "padding", "said"),
    [
        ("xl/worksheets/sheet1.xml", b"</row></sheetData>", b"<c/>" * (spreadsheet.MOST_MARKS + 1), spreadsheet.SPLIT),
        ("xl/styles.xml", b"</cellXfs>", b"<xf/>" * (spreadsheet.LARGEST_BESIDE // 5), spreadsheet.PADDED),
    ],
    ids=["cells", "formats"],
)
def test_a_file_of_a_few_kilobytes_does_not_take_the_memory_of_the_machine(
    part: str, before: bytes, padding: bytes, said: str
) -> None:
    data = padded(part, before, padding)

    assert len(data) < 20_000
    assert sentence(data) == said


@given(st.integers(0), st.integers(0, 255), st.integers(1, 30))
@settings(max_examples=100)
def test_a_damaged_excel_file_is_refused_or_read_but_never_anything_else(place: int, byte: int, length: int) -> None:
    whole = template("xlsx")
    place %= len(whole)

    with suppress(Unreadable):
        assert read(whole[:place] + bytes([byte]) * length + whole[place + length :]).headings


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_the_template_has_all_headings_and_reads_back(kind: spreadsheet.Kind) -> None:
    data = template(kind)

    assert spreadsheet.kind_of(data) == kind
    assert read(data).headings == list(COLUMNS)


def test_the_excel_template_keeps_what_is_typed_and_says_what_to_write() -> None:
    book = load_workbook(BytesIO(template("xlsx")))

    assert book.sheetnames == ["people", "what to write"]
    assert book["people"].column_dimensions["G"].number_format == "@"
    assert {row[0].value for row in book["what to write"].iter_rows()} == set(COLUMNS)


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_refused_rows_are_read_again_as_they_were_and_without_the_reasons(kind: spreadsheet.Kind) -> None:
    rows = [["=a", "+44 7700 900001", 'Zoë "Z", 2', "x: no"], ["b", "", "\x01", "y; z"]]

    table = read(write(Table.of(["identifier", "mobile", "job_title", "reason"], rows, [2, 3]), kind))

    assert table.headings == ["identifier", "mobile", "job_title"]
    assert table.rows[0] == ["=a", "+44 7700 900001", 'Zoë "Z", 2']
    assert table.wrong == {(2, "identifier"): spreadsheet.FORMULA}, "a formula is none the better for coming back"
