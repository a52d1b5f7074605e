"""A policy as changes would leave it, and what the rules object to that.

The objections are those that an administrator has to hear in words of what to do next; whatever else would make the
file no good policy is found when the edited text is parsed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from policy.change import (
    AddCover,
    AddPerson,
    AddToBook,
    Change,
    CreateBook,
    RemoveFromBook,
    SetField,
    identifier_of,
    organisation_of,
)
from policy.decision import Objection
from policy.mistake import instead, quoted
from policy.model import Book, Membership, PersonId, Policy

_TYPED: Mapping[str, Callable[[str], Any]] = {
    "unlisted": lambda value: value.strip().lower() == "true",
    "matrix": lambda value: value.strip() or None,
}
_DEFAULT: Mapping[str, str] = {"status": "active", "role": "staff"}
OWN = frozenset({"role", "admin", "review", "status", "until"})
"""Fields that nobody changes of themselves (ROLE-5)."""
_NOT_KEPT = frozenset({"until"})
"""Fields whose text does not say what a membership makes of it without knowing the time zone."""


@dataclass(slots=True)
class Amended:
    """The people and books that changes touch, as they would be."""

    policy: Policy
    people: dict[PersonId, Membership] = field(default_factory=dict)
    """Those who are changed or new."""
    books: dict[tuple[str, str], str] = field(default_factory=dict)
    """New books by organisation and identifier, with their name."""
    named: dict[tuple[str, str], None] = field(default_factory=dict)
    """Books that somebody enters or leaves, or whose members change, in the order of the changes."""
    _in_book: dict[tuple[str, str], list[Membership]] | None = None

    def person(self, person: PersonId) -> Membership | None:
        """Somebody as they would be."""
        return self.people.get(person) or self.policy.people.get(person)

    def book(self, organisation: str, book: str) -> bool:
        """Whether there would be such a book."""
        return (organisation, book) in self.books or self._old_book(organisation, book) is not None

    def known_books(self, organisation: str) -> list[str]:
        """The identifiers of all books an organisation would have."""
        old = self.policy.organisations[organisation].books if organisation in self.policy.organisations else {}
        return [*old, *(book for org, book in self.books if org == organisation)]

    def members(self, organisation: str, book: str) -> Iterator[Membership]:
        """Everybody who would be in a book, whatever their status."""
        old = self._old_book(organisation, book)
        for person in old.members if old else ():
            if person not in self.people:
                yield self.policy.people[person]
        yield from self._changed_in().get((organisation, book), ())

    def has_active_staff(self, organisation: str, book: str) -> bool:
        """BOOK-4: somebody of the staff who has accepted is in the book; status counts, not dates."""
        return any(one.role == "staff" and one.status == "active" for one in self.members(organisation, book))

    def clients(self, organisation: str, book: str) -> list[Membership]:
        """The clients in a book who have not left."""
        return [one for one in self.members(organisation, book) if one.role == "client" and one.status != "left"]

    def has_system_admin(self, organisation: str) -> bool:
        """ROLE-2: somebody active administers the organisation."""
        everybody = (self.people.get(person, member) for person, member in self.policy.people.items())
        return any(
            one.organisation == organisation and one.admin == "system" and one.status == "active"
            for one in (*everybody, *self.people.values())
        )

    def change(self, change: Change) -> None:
        """Let one more change be done; one about somebody or something unknown does nothing."""
        match change:
            case AddPerson():
                if self.person(change.person) is None:
                    self.put(_newcomer(change))
            case CreateBook():
                self.books.setdefault((change.organisation, change.book), change.name)
            case AddCover():
                pass
            case SetField() | AddToBook() | RemoveFromBook():
                self._change_person(change)

    def _change_person(self, change: SetField | AddToBook | RemoveFromBook) -> None:
        old = self.person(change.person)
        if old is None:
            return
        if isinstance(change, SetField):
            self.put(_with_fields(old, {change.field: change.value}))
            return
        book = frozenset({change.book})
        self.put(old._replace(books=old.books | book if isinstance(change, AddToBook) else old.books - book))

    def put(self, member: Membership) -> None:
        """Let somebody be as this membership says, who is new or was otherwise."""
        old = self.person(member.id)
        self.people[member.id] = member
        self._in_book = None
        if old is None or (old.books, old.status, old.role) != (member.books, member.status, member.role):
            for book in sorted(member.books | old.books if old else member.books):
                self.named[member.organisation, book] = None

    def _changed_in(self) -> dict[tuple[str, str], list[Membership]]:
        """The changed people by book."""
        if self._in_book is None:
            self._in_book = defaultdict(list)
            for member in self.people.values():
                for book in member.books:
                    self._in_book[member.organisation, book].append(member)
        return self._in_book

    def _old_book(self, organisation: str, book: str) -> Book | None:
        found = self.policy.organisations.get(organisation)
        return found.books.get(book) if found else None


def amended(policy: Policy, changes: Iterable[Change]) -> Amended:
    """The policy with the changes done one after the other."""
    after = Amended(policy)
    for change in changes:
        after.change(change)
    return after


def forbidden(policy: Policy, by: Membership, change: Change) -> Objection | None:
    """Why one of an organisation's administrators may not make a change; that they are one, `decide` says before."""
    if not isinstance(change, (SetField, AddPerson)):
        return None
    fields = {change.field: change.value} if isinstance(change, SetField) else {n: v for n, v in change.fields if v}
    if change.person == by.id and fields.keys() & OWN:
        return Objection("ROLE-5", "Nobody changes their own rights or membership: another administrator has to.")
    if by.admin == "system":
        return None
    if "admin" in fields:
        return Objection("ROLE-3", "Only a system administrator can say who administers.")
    if "review" in fields:
        return Objection("ROLE-4", "Only a system administrator can say who reviews chats.")
    whom = policy.people.get(change.person)
    if whom is not None and whom.admin == "system":
        text = f"{whom.name} is a system administrator: only another one can change this membership."
        return Objection("ROLE-3", text)
    if whom is not None and (whom.review or whom.admin) and _hands_on(whom, fields):
        text = f"{whom.name} {'reviews chats' if whom.review else 'administers'}: only a system administrator can say"
        return Objection("ROLE-4", f"{text} whose account or e-mail address this membership has.")
    return None


def _hands_on(whom: Membership, fields: Mapping[str, str]) -> bool:
    """Would rights that somebody was given come into another person's hands: another account, another invitation?"""
    account = fields.get("matrix", whom.matrix or "") != (whom.matrix or "")
    invitation = whom.status == "invited" and fields.get("email", whom.email).lower() != whom.email.lower()
    return account or invitation


def objections(policy: Policy, changes: Iterable[Change]) -> tuple[Objection, ...]:
    """What the rules object to the changes, all together; nothing where they may be done."""
    changes = list(changes)
    after = amended(policy, changes)
    found = [*_of_words(after, changes), *_of_people(after), *_of_books(after), *_of_admins(after)]
    return tuple(dict.fromkeys(found))


def _of_words(after: Amended, changes: Iterable[Change]) -> Iterator[Objection]:
    """What the changes name has to be there, and what they make must not."""
    for change in changes:
        organisation = organisation_of(change)
        if organisation not in after.policy.organisations:
            yield Objection("", f"There is no organisation {quoted(organisation)}.")
        elif isinstance(change, CreateBook) and change.book in after.policy.organisations[organisation].books:
            yield Objection("BOOK-14", f"There is a contact book {change.book} already: choose another identifier.")
        elif isinstance(change, AddPerson) and change.person in after.policy.people:
            yield Objection("IMP-4", f"{change.person} exists already: choose another identifier.")
        else:
            yield from _of_names(after, change)


def _of_names(after: Amended, change: Change) -> Iterator[Objection]:
    for person in _people_of(change):
        if after.person(person) is None:
            yield Objection("", f"There is nobody called {quoted(person)}.")
    books = change.books if isinstance(change, AddPerson) else ()
    if isinstance(change, (AddToBook, RemoveFromBook)):
        books = (change.book,)
    for book in books:
        if not after.book(organisation_of(change), book):
            known = instead(book, after.known_books(organisation_of(change)))
            yield Objection("BOOK-14", f"There is no contact book {quoted(book)}{known}.".replace("?.", "?"))


def _people_of(change: Change) -> tuple[PersonId, ...]:
    if isinstance(change, AddCover):
        return change.absent, change.stand_in
    return () if isinstance(change, CreateBook) else (change.person,)


def _of_people(after: Amended) -> Iterator[Objection]:
    for member in after.people.values():
        old = after.policy.people.get(member.id)
        if old is not None and old.role != member.role:
            yield Objection(
                "ROLE-6",
                f"{member.name} is {old.role} and cannot become {member.role}: deactivate the membership and invite "
                f"the person anew under another identifier.",
            )
        if old is not None and old.status == "left" and member.status != "left":
            yield Objection(
                "USR-2",
                f"{member.name} has left for good: invite the person anew under another identifier.",
            )
        if member.role == "client" and member.status != "left" and not member.books:
            yield _without_book(member, old)


def _without_book(member: Membership, old: Membership | None) -> Objection:
    if old is not None and old.books:
        text = "add {0} to another book that has active staff first, then take {0} out of this one."
        return Objection(
            "BOOK-12", f"It is the last contact book of {member.name}: {text.format(identifier_of(member.id))}"
        )
    return Objection("BOOK-3", f"{member.name} is a client and needs a contact book: name one that has active staff.")


def _of_books(after: Amended) -> Iterator[Objection]:
    for organisation, book in after.named:
        if not after.book(organisation, book):
            continue
        clients = after.clients(organisation, book)
        if clients and not after.has_active_staff(organisation, book):
            yield _unstaffed(after, organisation, book, clients)


def _unstaffed(after: Amended, organisation: str, book: str, clients: list[Membership]) -> Objection:
    """Who left the book without staff, or else who entered one that has none."""
    before = amended(after.policy, ())
    gone = [
        one
        for one in (before.members(organisation, book) if before.book(organisation, book) else ())
        if one.role == "staff" and one.status == "active"
    ]
    if gone:
        names = " and ".join(sorted(one.name for one in gone))
        only = "is the only active staff" if len(gone) == 1 else "are all the active staff"
        still_in = all((new := after.person(one.id)) is not None and book in new.books for one in gone)
        text = (
            f"{names} {only} in the contact book {book}, which has {_clients(len(clients))}: add another staff first."
        )
        return Objection("USR-3" if still_in else "BOOK-11", text)
    invited = sorted(
        one.name for one in after.members(organisation, book) if one.role == "staff" and one.status == "invited"
    )
    waiting = (
        f" ({', '.join(invited)} {'has' if len(invited) == 1 else 'have'} to accept the invitation)" if invited else ""
    )
    text = f"The contact book {book} has no active staff{waiting}: add one of the staff to it before its clients."
    return Objection("BOOK-4", text)


def _clients(number: int) -> str:
    return "a client" if number == 1 else f"{number} clients"


def _of_admins(after: Amended) -> Iterator[Objection]:
    """ROLE-2, asked only where an administrator is changed: it looks at everybody."""
    touched = {
        old.organisation
        for member in after.people.values()
        if (old := after.policy.people.get(member.id)) is not None
        and old.admin == "system"
        and old.status == "active"
        and (member.admin, member.status) != ("system", "active")
    }
    for organisation in sorted(touched):
        if not after.has_system_admin(organisation):
            name = after.policy.organisations[organisation].name
            text = f"{name} would have no active system administrator: make somebody else one first."
            yield Objection("ROLE-2", text)


def _newcomer(change: AddPerson) -> Membership:
    organisation = organisation_of(change)
    fresh = Membership(
        change.person, organisation, identifier_of(change.person), "", "staff", None, frozenset(change.books), "active"
    )
    return _with_fields(fresh, dict(change.fields))


def _with_fields(member: Membership, fields: Mapping[str, str]) -> Membership:
    kept: dict[str, Any] = {
        name: _TYPED[name](value) if name in _TYPED else value.strip() or _DEFAULT.get(name, "")
        for name, value in fields.items()
        if name not in _NOT_KEPT
    }
    if "name" not in kept and ("first_name" in kept or "last_name" in kept):
        parts = (kept.get("first_name", member.first_name), kept.get("last_name", member.last_name))
        kept["name"] = " ".join(part for part in parts if part) or member.name
    return member._replace(**kept)


def on_record(policy: Policy, change: Change) -> dict[str, Any]:
    """A change as the audit keeps it: what, of whom or which book, before and after."""
    match change:
        case SetField(person, name, value):
            old = policy.people.get(person)
            before = getattr(old, name, None) or ""
            written = "true" if before is True else str(before)
            return {"person": person, "field": name, "before": written, "after": value}
        case AddPerson(person, fields, books):
            return {"person": person, "before": None, "after": {**dict(fields), "books": list(books)}}
        case AddToBook(person, book):
            return {"person": person, "book": book, "before": "not in it", "after": "in it"}
        case RemoveFromBook(person, book):
            return {"person": person, "book": book, "before": "in it", "after": "not in it"}
        case CreateBook(organisation, book, name):
            return {"organisation": organisation, "book": book, "before": None, "after": {"name": name}}
        case AddCover(absent, stand_in, first, last):
            days = {"from": first.isoformat(), "until": last.isoformat()}
            return {"person": absent, "before": None, "after": {"stand_in": stand_in, **days}}
        case _:
            assert_never(change)
