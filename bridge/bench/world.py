"""A synthetic network of organisations of any size, the same for the same seed, as the files an administrator has.

Every block of a hundred people is made by itself, so that a small world is the beginning of a large one: what is asked
about the people of the small one has the same answer in the large one.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from io import StringIO
from random import Random

from policy.model import Policy
from policy.parse import parse
from policy.sheet import COLUMNS

ORGANISATIONS = 10
BLOCK = 100
BOOKS = 5
"""In a block, for its 20 staff and 80 clients."""

STAFF = 4
CLIENTS = 16
"""Of a book, not counting those who come from the block's other books."""

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()

_FIRST = """
Amélie Benjamin Chloé Daniel Eszter Fatima Grace Hamish Ines João Kwame Lena Mía Noor Oluwaseun Priya Quentin
Rosa Søren Tomás Ursula Vikram Wanjiru Xin Yuki Zoë Anne-Marie Björn Ciarán Dagný Eoin Françoise Gül Håkon
Ivana Jürgen Katarzyna Łukasz Małgorzata Nguyễn Óscar Paweł Renée Siobhán Tadeáš Umut Vất Wiktoria 美咲 伟 Анна
Игорь
"""
_LAST = """
Abara Brennan Chan Diaz Évrard Fraser García Haddad Ibsen Jónsdóttir Kowalski Lowe Müller Nowak O'Neill Pérez
Quispe Rossi Škoda Thompson Ueda Větrovec Williams Xu Yılmaz Zhang Okafor Begum Carter D'Angelo Eriksson
Ferreira Greenwood Hughes Iyer Jansen Khan Lindqvist Mbeki North Osei Patel Quinn Rahman Silva Tanaka 山田
Петров
"""
FIRST, LAST = _FIRST.split(), _LAST.split()


@dataclass(frozen=True)
class World:
    """The texts of a policy with so many people, a multiple of a thousand."""

    people: int
    seed: int = 2026

    @property
    def blocks(self) -> int:
        """Of each organisation."""
        return max(self.people // ORGANISATIONS // BLOCK, 1)

    @cached_property
    def text(self) -> str:
        """`policy.yaml`: two networks of five organisations with their books and a few covers."""
        networks = "networks:\n  north: {name: Northern Trust}\n  south: {name: Southern Trust}\n"
        organisations = "".join(self._organisation(number) for number in range(ORGANISATIONS))
        return f"{networks}organisations:\n{organisations}"

    @cached_property
    def sheets(self) -> Mapping[str, bytes]:
        """The spreadsheets beside it, by name."""
        return {f"{organisation(number)}.csv": self._sheet(number) for number in range(ORGANISATIONS)}

    @property
    def policy(self) -> Policy:
        """The policy the texts describe, read anew."""
        found = parse(self.text, self.sheets.__getitem__)
        if not isinstance(found, Policy):
            raise AssertionError(f"the synthetic policy has a mistake: {found[0]}")
        return found

    def _organisation(self, number: int) -> str:
        lines = [
            f"  {organisation(number)}:",
            f"    name: School of {LAST[number]}",
            f"    network: {'north' if number < ORGANISATIONS // 2 else 'south'}",
            f"    max_participants: {50 if number == 3 else 100}",
            f"    people: {organisation(number)}.csv",
            "    books:",
        ]
        for block in range(self.blocks):
            lines += (self._book(number, block, book) for book in range(BOOKS))
        lines.append("    covers:")
        for block in range(0, self.blocks, 10):
            absent, stand_in = staff(block, 0, 1), staff(block, 1, 1)
            lines.append(f"      - {{absent: {absent}, stand_in: {stand_in}, from: 2026-11-16, until: 2026-11-27}}")
        return "\n".join(lines) + "\n"

    def _book(self, number: int, block: int, book: int) -> str:
        closed = "        clients_see_each_other: false\n" if (block + book + number) % 10 == 0 else ""
        name = f"      {book_id(block, book)}:\n        name: Class {block * BOOKS + book}\n"
        return f"{name}{closed}        description: Room {block}, floor {book}"

    def _sheet(self, number: int) -> bytes:
        out = StringIO(newline="")
        rows = csv.writer(out)
        rows.writerow(COLUMNS)
        for block in range(self.blocks):
            rows.writerows(self._block(number, block))
        return out.getvalue().encode()

    def _block(self, number: int, block: int) -> Iterator[tuple[str, ...]]:
        chance = Random(f"{self.seed}/{number}/{block}")
        for book in range(BOOKS):
            for place in range(STAFF + CLIENTS):
                yield _row(chance, number, block, book, place)


def _row(chance: Random, number: int, block: int, book: int, place: int) -> tuple[str, ...]:
    """One person: each book's first member of staff is active, and in the first book also the system admin."""
    is_staff = place < STAFF
    identifier = staff(block, book, place) if is_staff else client(block, book, place)
    first, last = chance.choice(FIRST), chance.choice(LAST)
    status = "active" if place == 0 else chance.choices(("active", "suspended", "invited", "left"), (94, 2, 2, 2))[0]
    books = {book_id(block, book)}
    while chance.random() < (0.4 if is_staff else 0.2):
        books.add(book_id(block, chance.randrange(BOOKS)))
    account = f"@{identifier}.{organisation(number)}:school.example"
    if place == STAFF and book == 0:
        # INV-12: somebody who is staff of the next organisation and a parent here.
        account = f"@{staff(block, 0, 0)}.{organisation((number + 1) % ORGANISATIONS)}:school.example"
    until = chance.choice(("2026-07-31", "2027-07-31")) if is_staff and place and chance.random() < 0.05 else ""
    row = {
        "identifier": identifier,
        "first_name": first,
        "last_name": last,
        "role": "staff" if is_staff else "client",
        "job_title": "Teacher" if is_staff else f"{chance.choice(FIRST)} {last}, Year {book + 1}",
        "email": f"{identifier}@{organisation(number)}.example",
        "mobile": f"+44 7700 {chance.randrange(10**6):06}",
        "matrix": account,
        "contact_books": ";".join(sorted(books)),
        "admin": "system" if place == block == book == 0 else "",
        "status": status,
        "until": until,
        "unlisted": "true" if is_staff and chance.random() < 0.02 else "",
    }
    return tuple(row.get(column, "") for column in COLUMNS)


def organisation(number: int) -> str:
    """The identifier of an organisation."""
    return f"school-{number}"


def book_id(block: int, book: int) -> str:
    """The identifier of a book."""
    return f"class-{block * BOOKS + book}"


def staff(block: int, book: int, place: int) -> str:
    """The identifier of one of a book's own staff."""
    return f"s{(block * BOOKS + book) * STAFF + place}"


def client(block: int, book: int, place: int) -> str:
    """The identifier of one of a book's own clients."""
    return f"c{(block * BOOKS + book) * CLIENTS + place - STAFF}"
