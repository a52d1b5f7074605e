"""Everything that programs change in a policy: the words between an administrator's command and the files.

A change says what shall be so, not how the file is written; asked for twice it is done once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from policy.model import PersonId


@dataclass(frozen=True, slots=True)
class SetField:
    """A field of a person gets a value; the empty one takes the field out."""

    person: PersonId
    field: str
    """As the file calls it: `name`, `first_name`, `status`, ... but neither the identifier nor the books."""
    value: str


@dataclass(frozen=True, slots=True)
class AddPerson:
    """Somebody new, with the fields that are not empty and the books they are in."""

    person: PersonId
    fields: tuple[tuple[str, str], ...]
    books: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AddToBook:
    """A person becomes a member of a book of their organisation."""

    person: PersonId
    book: str


@dataclass(frozen=True, slots=True)
class RemoveFromBook:
    """A person is a member of that book no more."""

    person: PersonId
    book: str


@dataclass(frozen=True, slots=True)
class CreateBook:
    """A new contact book (BOOK-14)."""

    organisation: str
    book: str
    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class AddCover:
    """The stand-in is in all books of the absent member, from the first to the last day."""

    absent: PersonId
    stand_in: PersonId
    first_day: date
    last_day: date


Change = SetField | AddPerson | AddToBook | RemoveFromBook | CreateBook | AddCover


class Files(NamedTuple):
    """A policy as it lies in its folder."""

    name: str
    """What the policy file is called there."""
    text: bytes
    beside: Mapping[str, bytes]
    """The spreadsheets that it names."""


def organisation_of(change: Change) -> str:
    """The organisation that a change is about."""
    if isinstance(change, CreateBook):
        return change.organisation
    person = change.absent if isinstance(change, AddCover) else change.person
    return person.partition("/")[0]


def identifier_of(person: PersonId) -> str:
    """What a person is called inside their organisation."""
    return person.partition("/")[2]
