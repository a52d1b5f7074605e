"""What is different between two policies, in plain words: for a plan ahead of a change, and for the audit after it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Literal, NamedTuple

from policy.model import Book, Cover, Expectation, Membership, Network, Organisation, Policy

What = Literal["network", "organisation", "book", "person", "cover", "tests"]

PERSON = (
    "name", "matrix", "status", "until", "admin", "review", "unlisted", "job_title", "email", "mobile", "role",
)  # fmt: skip
"""Fields of a person that are compared; books are told apart from them, first and last name are in the name."""

BOOK = ("name", "description", "clients_see_each_other")
APART = frozenset({"identifier", "books", "covers", "rank"})
"""Fields of an organisation that are no settings."""


class Difference(NamedTuple):
    """One difference."""

    organisation: str
    """Whose it is; empty where it concerns all."""
    what: What
    name: str
    """Of the person, book, ...: as the file has it."""
    text: str


def differences(old: Policy, new: Policy) -> Iterator[Difference]:
    """Every difference, the large ones first: networks, organisations, books, people, covers, tests."""
    yield from _networks(old.networks, new.networks)
    yield from _organisations(old.organisations, new.organisations)
    yield from _people(old, new)
    yield from _covers(old, new)
    if [_expected(test) for test in old.tests] != [_expected(test) for test in new.tests]:
        yield Difference("", "tests", "tests", f"tests: {len(old.tests)} before, {len(new.tests)} now, not the same")


def _expected(test: Expectation) -> tuple[object, ...]:
    """What it says, wherever it stands."""
    return test.name, test.ask, test.allowed, test.because


def fingerprint(policy: Policy) -> str:
    """SHA-256, in hexadecimal, of all that the policy says; comments and the order of people do not count."""
    digest = hashlib.sha256()
    for network in sorted(policy.networks.values()):
        digest.update(_line(network))
    for organisation in sorted(policy.organisations.values(), key=lambda one: one.identifier):
        digest.update(_line([_shown(organisation, name) for name in _settings()]))
        for book in sorted(organisation.books.values(), key=lambda one: one.identifier):
            digest.update(_line(book[:5]))
        for cover in sorted(organisation.covers):
            digest.update(_line(cover))
    for person in sorted(policy.people):
        member = policy.people[person]
        digest.update(_line([*member[:6], sorted(member.books), *member[7:]]))
    for test in policy.tests:
        digest.update(_line([test.name, dict(test.ask), test.allowed, test.because]))
    return digest.hexdigest()


def _line(values: Any) -> bytes:
    return json.dumps(values, default=str, sort_keys=True).encode() + b"\n"


def _settings() -> list[str]:
    return [field.name for field in fields(Organisation) if field.name not in APART]


def _networks(old: Mapping[str, Network], new: Mapping[str, Network]) -> Iterator[Difference]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before != after:
            yield Difference("", "network", name, _came_or_went(f"network {name}", before, after, ("name",)))


def _organisations(old: Mapping[str, Organisation], new: Mapping[str, Organisation]) -> Iterator[Difference]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before is None or after is None or any(_shown(before, key) != _shown(after, key) for key in _settings()):
            what = f"organisation {name}"
            yield Difference(name, "organisation", name, _came_or_went(what, before, after, _settings()))
        if before is not None and after is not None:
            yield from _books(name, before.books, after.books)


def _books(organisation: str, old: Mapping[str, Book], new: Mapping[str, Book]) -> Iterator[Difference]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before is None or after is None or before[:5] != after[:5]:
            said = _came_or_went(f"book {organisation}/{name}", before, after, BOOK)
            yield Difference(organisation, "book", name, said)


def _people(old: Policy, new: Policy) -> Iterator[Difference]:
    for person, before in old.people.items():
        if person not in new.people:
            yield Difference(before.organisation, "person", person, f"{_person(before)} is in the policy no more")
    for person, after in new.people.items():
        was = old.people.get(person)
        if was is None:
            books = f", in {_listed(after.books)}" if after.books else ""
            yield Difference(after.organisation, "person", person, f"{_person(after)} is new, {after.role}{books}")
        elif was != after:
            told = [*_fields(was, after, PERSON), *_moves(was, after)]
            if told:
                said = f"{_person(after)}: {'; '.join(told)}"
                yield Difference(after.organisation, "person", person, said)


def _moves(before: Membership, after: Membership) -> Iterator[str]:
    if came := after.books - before.books:
        yield f"into {_listed(came)}"
    if went := before.books - after.books:
        yield f"out of {_listed(went)}"


def _covers(old: Policy, new: Policy) -> Iterator[Difference]:
    before = {cover: org for org in old.organisations.values() for cover in org.covers}
    after = {cover: org for org in new.organisations.values() for cover in org.covers}
    for cover in sorted(before.keys() | after.keys()):
        if (cover in before) != (cover in after):
            end = "" if cover in after else ": no longer"
            organisation = (after.get(cover) or before[cover]).identifier
            yield Difference(organisation, "cover", cover.absent, f"{covering(cover)}{end}")


def covering(cover: Cover) -> str:
    """`hillside/m.lowe stands in for hillside/t.okafor from 2026-12-01 to 2026-12-19`."""
    return f"{cover.stand_in} stands in for {cover.absent} from {cover.first_day} to {cover.last_day}"


def _came_or_went(what: str, before: Any, after: Any, names: Any) -> str:
    if before is None:
        return f"{what} is new"
    if after is None:
        return f"{what} is in the policy no more"
    return f"{what}: {'; '.join(_fields(before, after, names))}"


def _fields(before: Any, after: Any, names: Any) -> Iterator[str]:
    for name in names:
        was, now = _shown(before, name), _shown(after, name)
        if was != now:
            yield f"{name} {was or 'none'} → {now or 'none'}"


def _shown(noun: Any, name: str) -> str:
    value = getattr(noun, name)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _person(member: Membership) -> str:
    return f"{member.name} ({member.id})"


def _listed(books: frozenset[str]) -> str:
    names = ", ".join(sorted(books))
    return f"book {names}" if len(books) == 1 else f"books {names}"
