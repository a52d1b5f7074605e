"""Where in the administrator's files a person, a book, or a membership of a book stands.

A `Policy` knows no lines; here its files are read once more, this time for their places. They are expected to be good:
of a file with mistakes only what can be found is found.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeVar

from policy.csv_people import sheet_from_csv
from policy.mistake import Notebook, Place
from policy.model import PersonId
from policy.parse import BOOK, COVER, ORGANISATION, ROOT, Read
from policy.sheet import Sheet
from policy.yaml_nodes import Mapping, Node, Reading, Scalar, compose
from policy.yaml_people import sheet_from_yaml

Row = tuple[Sheet, int]
Found = TypeVar("Found")


@dataclass
class Places:
    """Where everything of one policy stands."""

    file: str
    networks: dict[str, Place] = field(default_factory=dict)
    organisations: dict[str, Place] = field(default_factory=dict)
    network_of: dict[str, Place] = field(default_factory=dict)
    """The line that puts an organisation into its network."""
    books: dict[tuple[str, str], Place] = field(default_factory=dict)
    members: dict[tuple[str, str], Place] = field(default_factory=dict)
    """Where a person could be added to a book: its list of members, else the book itself."""
    covers: dict[tuple[PersonId, PersonId, str], Place] = field(default_factory=dict)
    """By absent person, stand-in and first day."""
    listed: dict[tuple[PersonId, str], Place] = field(default_factory=dict)
    """The entry of a person in the members of a book."""
    rows: dict[PersonId, Row] = field(default_factory=dict)

    def person(self, person: PersonId, heading: str = "identifier") -> Place:
        """The cell of a person, or where the person begins if the cell is not there."""
        row = self.rows.get(person)
        return Place(self.file, 1, 1) if row is None else row[0].place(row[1], heading)

    def membership(self, person: PersonId, book: str) -> Place | None:
        """What puts the person into the book: an entry among its members, else the person's own row."""
        listed = self.listed.get((person, book))
        if listed is not None:
            return listed
        row = self.rows.get(person)
        if row is None:
            return None
        sheet, index = row
        cell = sheet.cells("contact_books", index, index + 1)[0]
        named = {word.strip() for word in cell.split(";")}
        return sheet.place(index, "contact_books") if book in named else None


def places(text: str | bytes, read: Read, *, name: str = "policy.yaml") -> Places:
    """Where everything stands in the text and its spreadsheets; arguments as of `policy.parse.parse`."""
    decoded = text.decode("utf-8-sig", "replace") if isinstance(text, bytes) else text.removeprefix("\ufeff")
    notes = Notebook(name)
    root = _finished(compose(decoded, name, notes))
    found = Places(name)
    if root is not None:
        _Locating(Reading(name, notes), read, found).policy(root)
    return found


def _finished(steps: Generator[None, None, Found]) -> Found:
    """What a generator of steps comes to."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Found = end.value
            return found


class _Locating:
    """Goes through the nodes of a policy as the parser does, and keeps where they are."""

    def __init__(self, reading: Reading, read: Read, found: Places) -> None:
        self.reading, self.read, self.found = reading, read, found

    def policy(self, root: Node) -> None:
        fields = self.reading.fields(root, "the policy", ROOT)
        for key in self.reading.pairs(fields.get("networks"), "networks"):
            self.found.networks[key.value] = self.reading.place(key)
        for key, node in self.reading.pairs(fields.get("organisations"), "organisations").items():
            self.organisation(key, node)

    def organisation(self, key: Scalar, node: Node) -> None:
        org, place = key.value, self.reading.place
        fields = self.reading.fields(node, org, ORGANISATION)
        self.found.organisations[org] = place(key)
        self.found.network_of[org] = place(fields.get("network", key))
        self.people(org, fields.get("people"))
        for book, value in self.reading.pairs(fields.get("books"), "books").items():
            self.book(org, book, value)
        for item in self.reading.items(fields.get("covers"), "covers"):
            cover = self.reading.fields(item, "a cover", COVER)
            absent, stand_in, first = (
                self.reading.text(cover.get(word), word) for word in ("absent", "stand_in", "from")
            )
            names = PersonId(f"{org}/{absent}"), PersonId(f"{org}/{stand_in}"), first
            self.found.covers[names] = place(item)

    def people(self, org: str, node: Node | None) -> None:
        if node is None:
            return
        if isinstance(node, Scalar):
            self.spreadsheet(org, node.value.strip())
        elif isinstance(node, Mapping):
            self.keep(org, _finished(sheet_from_yaml(node, org, self.reading)))

    def spreadsheet(self, org: str, path: str) -> None:
        try:
            data = self.read(path)
        except (OSError, LookupError, ValueError):
            return
        whole = data.encode() if isinstance(data, str) else data
        self.keep(org, _finished(sheet_from_csv(path, whole, self.reading.notes)))

    def keep(self, org: str, sheet: Sheet) -> None:
        for index, identifier in enumerate(sheet.columns.get("identifier", ())):
            self.found.rows.setdefault(PersonId(f"{org}/{identifier.strip()}"), (sheet, index))

    def book(self, org: str, key: Scalar, node: Node) -> None:
        fields = self.reading.fields(node, key.value, BOOK)
        self.found.books[org, key.value] = self.reading.place(key)
        self.found.members[org, key.value] = self.reading.place(fields.get("members", key))
        for item in self.reading.items(fields.get("members"), "members"):
            if isinstance(item, Scalar):
                person = PersonId(f"{org}/{item.value}")
                self.found.listed.setdefault((person, key.value), self.reading.place(item))
