"""Changes to a policy as its files: text and changes become text, with comments, order and quotation marks kept.

Nothing here opens a file. What would break a rule is refused with sentences that say what to do first, and every edited
text is parsed again: a program never makes a policy that would not be in force.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from policy.amend import Amended, amended, objections
from policy.change import AddCover, AddPerson, Change, CreateBook, Files, SetField, identifier_of, organisation_of
from policy.decision import Objection
from policy.edit_csv import BOOKS, Row, edited_csv, headings_of
from policy.edit_yaml import CannotEdit, Span, YamlText
from policy.mistake import Mistake, Mistakes
from policy.model import Membership, PersonId, Policy
from policy.parse import parse

_RULE = re.compile(r" \(([A-Z]+-[0-9]+(?:, [A-Z]+-[0-9]+)*)\)$")
_UNTOUCHED = "The files are written in a way that a program cannot change safely: make this change in the file itself."

NEWCOMER = ("name", "first_name", "last_name", "role", "job_title", "email", "mobile", "matrix", "admin", "review",
            "status", "until", "unlisted")  # fmt: skip
"""The fields of a new person in the order in which they are written."""


class Refusal(NamedTuple):
    """Why nothing was changed: each rule that objects, or each mistake that would be in the file."""

    because: tuple[Objection, ...]

    @property
    def text(self) -> str:
        """All of it, a sentence a line."""
        return "\n".join(objection.text for objection in self.because)


def policy_in(files: Files, before: Policy | None = None) -> Policy | Mistakes:
    """The policy that the files describe, or their mistakes."""
    return parse(files.text, files.beside.__getitem__, name=files.name, before=before)


def edit(files: Files, changes: Iterable[Change], policy: Policy | Mistakes | None = None) -> Files | Refusal:
    """The files with all changes made, or why none was; changes that are made already leave them as they are.

    `policy` is what `policy_in(files)` says, for those who know it already.
    """
    changes = list(changes)
    policy = policy_in(files) if policy is None else policy
    if not isinstance(policy, Policy):
        return Refusal(tuple(map(_standing, policy)))
    against = objections(policy, changes)
    if against:
        return Refusal(against)
    after = amended(policy, changes)
    try:
        edited = _Edit(files, after, changes).files()
    except CannotEdit as error:
        return Refusal((Objection("", f"{error}."),))
    return edited if edited == files else _checked(edited, policy, after)


def _checked(edited: Files, before: Policy, after: Amended) -> Files | Refusal:
    """The edited files, parsed again: good, and different in nothing but what was asked for."""
    policy = policy_in(edited, before)
    if not isinstance(policy, Policy):
        people = {**before.people, **after.people}
        return Refusal(tuple(dict.fromkeys(_coming(mistake, people) for mistake in policy)))
    as_meant = policy.people.keys() == before.people.keys() | after.people.keys() and all(
        _stands_for(member, after.people[person]) if person in after.people else member == before.people[person]
        for person, member in policy.people.items()
    )
    return edited if as_meant else Refusal((Objection("", _UNTOUCHED),))


def _stands_for(found: Membership, meant: Membership) -> bool:
    return all(
        getattr(found, name) == getattr(meant, name) for name in ("role", "status", "books", "admin", "review", "email")
    )


def _standing(mistake: Mistake) -> Objection:
    return Objection("", f"The policy has a mistake already, repair that first: {mistake}")


def _coming(mistake: Mistake, people: Mapping[PersonId, Membership]) -> Objection:
    """A mistake that the edit would make, without its place in a text nobody has seen; people by their names."""
    rule = _RULE.search(mistake.text)
    text = _RULE.sub("", mistake.text)
    first, _, rest = text.partition(" ")
    person = people.get(PersonId(first))
    text = f"{person.name} ({first}) {rest}" if person is not None else text
    # An identifier is written as it is, also where a sentence begins.
    begun = text if "/" in first else f"{text[:1].upper()}{text[1:]}"
    return Objection(rule[1].partition(",")[0] if rule else "", f"{begun}.".replace("?.", "?"))


class _Edit:
    """One set of changes on its way into the files."""

    def __init__(self, files: Files, after: Amended, changes: list[Change]) -> None:
        self._files = files
        self._after = after
        self._changes = changes
        self._yaml = YamlText(files.name, files.text.decode())
        self._rows: dict[str, dict[str, Row]] = {}
        self._added: dict[str, dict[str, Row]] = {}
        self._enter: dict[tuple[str, str], list[str]] = {}
        """Who comes into the `members` of which book."""
        self._quit: dict[tuple[str, str], set[str]] = {}
        self._headings: dict[str, list[str]] = {}

    def files(self) -> Files:
        """The files with everything done."""
        for person, fields in self._fields().items():
            self._person(person, fields)
        for person in self._after.people:
            self._books_of(person)
        self._new_books()
        self._members()
        self._covers()
        beside = dict(self._files.beside)
        for path in self._rows.keys() | self._added.keys():
            beside[path] = edited_csv(beside[path], self._rows.get(path, {}), self._added.get(path, {}))
        return Files(self._files.name, self._yaml.changed().encode(), beside)

    def _fields(self) -> dict[PersonId, dict[str, str]]:
        """What becomes of each person's fields; the last word on a field counts."""
        fields: dict[PersonId, dict[str, str]] = {}
        for change in self._changes:
            if isinstance(change, AddPerson):
                fields.setdefault(change.person, {}).update(change.fields)
            elif isinstance(change, SetField):
                fields.setdefault(change.person, {})[change.field] = change.value.strip()
        return fields

    def _person(self, person: PersonId, fields: Mapping[str, str]) -> None:
        path = self._sheet(person)
        new = person not in self._after.policy.people
        if path is not None:
            rows = self._added if new else self._rows
            rows.setdefault(path, {}).setdefault(identifier_of(person), Row()).fields.update(fields)
        elif new:
            written = {name: _typed(name, fields[name]) for name in NEWCOMER if fields.get(name)}
            self._yaml.into(self._organisation(person), "people", written, entry=identifier_of(person))
        else:
            mapping = self._at("organisations", organisation(person), "people", identifier_of(person))
            for name, value in fields.items():
                self._yaml.put(mapping, name, _typed(name, value))

    def _books_of(self, person: PersonId) -> None:
        """A book goes into the column of a spreadsheet that has one, else into the book's list of members."""
        old = self._after.policy.people.get(person)
        was, is_ = old.books if old else frozenset(), self._after.people[person].books
        if was == is_:
            return
        path, identifier = self._sheet(person), identifier_of(person)
        in_sheet = path is not None and self._names_books(path)
        if path is not None and in_sheet:
            rows = self._rows if old else self._added
            row = rows.setdefault(path, {}).setdefault(identifier, Row())
            row.books_in += sorted(is_ - was)
            row.books_out += sorted(was - is_)
        for book in sorted(is_ - was) if not in_sheet else ():
            self._enter.setdefault((organisation(person), book), []).append(identifier)
        for book in was - is_:
            self._quit.setdefault((organisation(person), book), set()).add(identifier)

    def _names_books(self, path: str) -> bool:
        """Whether a spreadsheet has a column for the books."""
        if path not in self._headings:
            self._headings[path] = headings_of(self._files.beside[path])
        return BOOKS in self._headings[path]

    def _new_books(self) -> None:
        made: set[tuple[str, str]] = set()
        for change in self._changes:
            if not isinstance(change, CreateBook) or (change.organisation, change.book) in made:
                continue
            made.add((change.organisation, change.book))
            members = self._enter.pop((change.organisation, change.book), [])
            described = {"description": change.description} if change.description else {}
            book = {"name": change.name, **described, **({"members": members} if members else {})}
            self._yaml.into(self._at("organisations", change.organisation), "books", book, entry=change.book)

    def _members(self) -> None:
        for (org, book), gone in self._quit.items():
            members = self._yaml.at("organisations", org, "books", book, "members")
            if members is not None and members.kind == "sequence":
                self._yaml.take_out(members, gone)
        for (org, book), new in self._enter.items():
            mapping = self._at("organisations", org, "books", book)
            for identifier in new:
                self._yaml.into(mapping, "members", identifier)

    def _covers(self) -> None:
        for change in self._changes:
            if not isinstance(change, AddCover):
                continue
            org = organisation_of(change)
            known = self._after.policy.organisations[org].covers
            if any(cover[:4] == (change.absent, change.stand_in, change.first_day, change.last_day) for cover in known):
                continue
            cover = {
                "absent": identifier_of(change.absent),
                "stand_in": identifier_of(change.stand_in),
                "from": change.first_day.isoformat(),
                "until": change.last_day.isoformat(),
            }
            self._yaml.into(self._at("organisations", org), "covers", cover)

    def _sheet(self, person: PersonId) -> str | None:
        """The spreadsheet of the person's organisation, if its people are in one."""
        people = self._organisation(person).get("people")
        return people.value.strip() if people is not None and people.kind == "scalar" and people.value.strip() else None

    def _organisation(self, person: PersonId) -> Span:
        return self._at("organisations", organisation(person))

    def _at(self, *path: str) -> Span:
        found = self._yaml.at(*path)
        if found is None:
            raise CannotEdit(f"{self._files.name} has nothing at {': '.join(path)}")
        return found


def organisation(person: PersonId) -> str:
    """The organisation of a membership."""
    return person.partition("/")[0]


def _typed(name: str, value: str) -> str | bool:
    return value.lower() == "true" if name == "unlisted" and value else value
