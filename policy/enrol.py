"""The people of an organisation, from columns of text to memberships, column by column and in steps.

What is wrong with a cell is noted where it stands, and the cell is then read as what lets the most other checks pass:
one slip of the pen shall be reported once.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from functools import partial
from itertools import repeat
from math import inf
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar, cast

from policy.mistake import Notebook, quoted
from policy.model import Admin, Membership, Moment, PersonId, Policy, Requirement, ReviewLevel, Role, Status, UserId
from policy.sheet import Sheet
from policy.yaml_nodes import as_day, no_day, unfit_text

STEP = 256
"""People between two steps: about a millisecond."""

STEP_AGAIN = 1_024
"""The same of people who were read before."""

LONGEST_NAME = 500
LONGEST_EMAIL = 320
ONE_EACH = "an address belongs to one person in an organisation"
LONGEST_MATRIX = 255

ROLES: Mapping[str, Role] = {"staff": "staff", "client": "client"}
STATUSES: Mapping[str, Status] = {"invited": "invited", "active": "active", "suspended": "suspended", "left": "left"}
ADMINS: Mapping[str, Admin] = {"system": "system", "user": "user"}
LEVELS: Mapping[str, ReviewLevel] = {"connected": "connected", "clients": "clients", "all": "all"}

# One expression goes over a whole stretch of a column, a cell a line. What a cell is made of gives nothing back (`++`),
# so that none can make it slow, but only where that is one set of characters: of more, Pythons before 3.11.5 give back
# the wrong amount (gh-106052), and would take “b@” for an address.
_IDENTIFIER = r"[a-z0-9._-]++"
_EMAIL_PART = r"[^\s@,;:<>\"()\x00-\x1f\u200b-\u200f\u2060\ufeff]++"
_EMAIL = f"{_EMAIL_PART}@{_EMAIL_PART}"
# The same for text of ASCII alone, in half the time.
_ASCII_EMAIL_PART = r"[!#-'*-+\--9=?A-Z\[-\x7f]++"
_ASCII_EMAIL = f"{_ASCII_EMAIL_PART}@{_ASCII_EMAIL_PART}"
_MOBILE = r"\+[1-9][0-9]{5,14}+"
# Matrix specification, Appendices, "User identifiers" with the historical characters, and "Server name".
_MATRIX = r"@[!-9;-~]++:(?:[A-Za-z0-9.-]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]{1,5})?"
_MOBILE_FILLERS = str.maketrans("", "", " ().-/")

IDENTIFIER = re.compile(_IDENTIFIER)
EMAIL = re.compile(_EMAIL)
MOBILE = re.compile(_MOBILE)
MATRIX = re.compile(_MATRIX)
_IDENTIFIERS, _EMAILS, _ASCII_EMAILS, _MOBILES, _MATRICES = (
    re.compile(f"(?:(?:{pattern})?\n)+") for pattern in (_IDENTIFIER, _EMAIL, _ASCII_EMAIL, _MOBILE, _MATRIX)
)

Value = TypeVar("Value")


class Words(dict[str, Value], Generic[Value]):
    """What each distinct text of a column means; every text is read once, however many people have it."""

    def __init__(self, read: Callable[[str], tuple[Value, tuple[str, ...]]]) -> None:
        super().__init__()
        self._read = read
        self.wrong: dict[str, tuple[str, ...]] = {}
        """Texts that mean nothing, with the sentences about them."""

    def __missing__(self, text: str) -> Value:
        value, sentences = self._read(text)
        if sentences:
            self.wrong[text] = sentences
        self[text] = value
        return value


@dataclass(slots=True)
class Enrolment:
    """What has to be known of an organisation before its people are read."""

    organisation: str
    books: Collection[str]
    members: Mapping[str, frozenset[str]]
    """The books that list an identifier among their `members`."""
    zone: tzinfo
    mobile: Mapping[Role, Requirement]
    staff_domains: tuple[str, ...] = ()


@dataclass(slots=True)
class Register:
    """Everybody, as they come in; one for all organisations."""

    people: dict[PersonId, Membership] = field(default_factory=dict)
    accounts: dict[UserId, tuple[Membership, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Enrolled:
    """What the people of one organisation are together."""

    members: dict[str, list[PersonId]] = field(default_factory=lambda: defaultdict(list))
    """Everybody in a book, whatever their status."""
    staffed: set[str] = field(default_factory=set)
    """Books that have active staff (BOOK-4)."""
    system_admin: bool = False
    """One of them is an active system admin (ROLE-2)."""
    emails: set[str] = field(default_factory=set)
    everybody: list[Membership] = field(default_factory=list)
    """In the order of the sheet."""


class Columns(NamedTuple):
    """What the cells of people mean, a column each field of a membership beside the organisation."""

    organisation: str
    identifiers: list[str]
    names: list[str]
    roles: list[Role]
    matrix: list[UserId | None]
    books: list[frozenset[str]]
    statuses: list[Status]
    ends: Sequence[Moment]
    admins: list[Admin]
    levels: list[ReviewLevel]
    unlisted: list[bool]
    firsts: list[str]
    lasts: list[str]
    jobs: list[str]
    emails: list[str]
    mobiles: list[str]
    days: Sequence[date | None]

    def members(self) -> list[Membership]:
        """The people as memberships."""
        ids = map(f"{self.organisation}/".__add__, self.identifiers)
        return list(map(_membership, zip(ids, repeat(self.organisation), *self[1:], strict=False)))


def enrol(
    sheet: Sheet, to: Enrolment, register: Register, notes: Notebook, before: Policy | None
) -> Generator[None, None, Enrolled]:
    """Put the people of a sheet into the register, in steps."""
    enrolled = Enrolled()
    reader = _Reader(sheet, to, register, notes, before, enrolled)
    _miss_columns(sheet, to, notes)
    for start in range(0, sheet.count, STEP):
        reader.read(start, min(start + STEP, sheet.count))
        yield
    # Its readers are bound methods: a cycle that would keep the last good policy in memory after the next.
    vars(reader).clear()
    return enrolled


def enrol_again(
    members: Sequence[Membership], sheet: Sheet, to: Enrolment, register: Register, notes: Notebook
) -> Generator[None, None, None]:
    """Put the people of a sheet that says what it said before into the register, in steps."""
    reader = _Reader(sheet, to, register, notes, None, Enrolled())
    for start in range(0, len(members), STEP_AGAIN):
        reader.put(members[start : start + STEP_AGAIN], start)
        yield
    vars(reader).clear()


def check(
    sheet: Sheet, to: Enrolment, accounts: dict[UserId, tuple[Membership, ...]], notes: Notebook, enrolled: Enrolled
) -> Columns:
    """What the cells of somebody's sheet mean, all at once, for those who put nobody into a register yet.

    Whether an identifier stands twice or a role changed is theirs to say; `accounts` are the memberships that Matrix
    IDs have elsewhere. Of all that people are together, `enrolled` gets their addresses.
    """
    reader = _Reader(sheet, to, Register(accounts=accounts), notes, None, enrolled)
    found = reader.check(0, sheet.count)
    if any(found.matrix):
        reader.judge_accounts(found.matrix, found.members(), 0)
    vars(reader).clear()
    return found


def _miss_columns(sheet: Sheet, to: Enrolment, notes: Notebook) -> None:
    """A column that everybody needs is missed once, not once a person (INV-2)."""
    needed = {"email": "an e-mail address"}
    if "required" in to.mobile.values():
        needed["mobile"] = "a mobile number"
    for heading, what in needed.items():
        if sheet.count and heading not in sheet.columns:
            text = f"there is no column {quoted(heading)}: everybody who has not left needs {what} (INV-2)"
            notes.add(sheet.place(-1, heading), text)


class _Reader:
    """Reads one stretch of a sheet after the other."""

    def __init__(
        self,
        sheet: Sheet,
        to: Enrolment,
        register: Register,
        notes: Notebook,
        before: Policy | None,
        enrolled: Enrolled,
    ) -> None:
        self.sheet, self.to, self.register, self.notes, self.enrolled = sheet, to, register, notes, enrolled
        self.before = before.people if before else {}
        self.repeated: set[str] = set()
        self.prefix = f"{to.organisation}/"
        self.roles = Words(self._word("role", ROLES, "staff"))
        self.statuses = Words(self._word("status", STATUSES, "active"))
        self.admins: Words[Admin] = Words(self._word("admin", ADMINS, ""))
        self.levels: Words[ReviewLevel] = Words(self._word("review", LEVELS, ""))
        self.truths = Words(_truth)
        self.days = Words(self._day)
        self.books = Words(self._book_list)
        self.known_books = frozenset(to.books)
        self.unions: dict[tuple[frozenset[str], frozenset[str] | None], frozenset[str]] = {}

    def read(self, start: int, end: int) -> None:
        """Check the people from `start` to before `end` and put them into the register."""
        found = self.check(start, end)
        members = found.members()
        self.put(members, start)
        self.enrolled.everybody += members
        self._into_books(found, members)
        if "system" in found.admins and ("active", "system") in zip(found.statuses, found.admins, strict=True):
            self.enrolled.system_admin = True

    def put(self, members: Sequence[Membership], start: int) -> None:
        """Put people into the register who are right by themselves, and check them against all others."""
        self._register(members, start)
        self.judge_accounts(list(map(_MATRIX_ID, members)), members, start)

    def check(self, start: int, end: int) -> Columns:
        """What the cells of the people from `start` to before `end` mean; what is wrong with them is noted."""
        cells = partial(self.sheet.cells, start=start, end=end)
        ids = self._identifiers(cells("identifier"), start)
        firsts, lasts, jobs = (self._bare(cells(heading)) for heading in ("first_name", "last_name", "job_title"))
        self._fit("job_title", jobs, start)
        names = self._names(firsts, lasts, cells, start)
        roles = self._decoded("role", self.roles, cells("role"), start)
        statuses = self._decoded("status", self.statuses, cells("status"), start)
        admins = self._decoded("admin", self.admins, cells("admin"), start)
        levels = self._decoded("review", self.levels, cells("review"), start)
        self._staff_only(roles, admins, levels, start)
        emails = self._emails(cells("email"), roles, statuses, start)
        mobiles = self._mobiles(cells("mobile"), roles, statuses, start)
        users = self._matching(
            "matrix", _MATRICES, MATRIX, cells("matrix"), start, "a Matrix ID like @name:example.org"
        )
        named = any(users)
        if named:
            self._short(users, "matrix", LONGEST_MATRIX, start)
        if not self.books:
            self.books.update({book: frozenset((book,)) for book in self.known_books})
        books = self._with_members(self._decoded("contact_books", self.books, cells("contact_books"), start), ids)
        self._bookless(books, roles, statuses, start)
        ends, days = self._ends(cells("until"), start)
        unlisted = self._decoded("unlisted", self.truths, cells("unlisted"), start)

        accounts = cast(list[UserId | None], [user or None for user in users] if named else [None] * len(users))
        return Columns(
            self.to.organisation, ids, names, roles, accounts, books, statuses, ends, admins, levels, unlisted,
            firsts, lasts, jobs, emails, mobiles, days,
        )  # fmt: skip

    def note(self, index: int, heading: str, text: str) -> None:
        """Note a mistake in somebody's cell."""
        self.notes.add(self.sheet.place(index, heading), text)

    def _who(self, index: int) -> str:
        return f"{self.prefix}{self.sheet.columns['identifier'][index].strip()}"

    def _bare(self, cells: list[str]) -> list[str]:
        """The column without spaces around its cells."""
        return cells if self.sheet.bare else list(map(str.strip, cells))

    def _decoded(self, heading: str, words: Words[Value], cells: list[str], start: int) -> list[Value]:
        """The column as what its words mean."""
        values = list(map(words.__getitem__, cells)) if any(cells) else [words[""]] * len(cells)
        if words.wrong and not words.wrong.keys().isdisjoint(cells):
            for index, cell in enumerate(cells, start):
                for sentence in words.wrong.get(cell, ()):
                    self.note(index, heading, sentence)
        return values

    def _matching(
        self, heading: str, whole: re.Pattern[str], single: re.Pattern[str], cells: list[str], start: int, right: str
    ) -> list[str]:
        """The column without spaces around its cells, each of which is empty or as the pattern says."""
        if not any(cells):
            return cells
        joined = "\n".join(cells) + "\n"
        if whole is _EMAILS and joined.isascii():
            whole = _ASCII_EMAILS
        if joined.count("\n") == len(cells) and whole.fullmatch(joined):
            return cells
        stripped = list(map(str.strip, cells))
        for index, cell in enumerate(stripped, start):
            if cell and not single.fullmatch(cell):
                self.note(index, heading, f"{quoted(cell)} is not {right}")
        return stripped

    def _short(self, cells: list[str], heading: str, longest: int, start: int) -> None:
        if max(map(len, cells), default=0) > longest:
            for index, cell in enumerate(cells, start):
                if len(cell) > longest:
                    self.note(index, heading, f"{heading} has {len(cell)} characters, {longest} at most are allowed")

    def _identifiers(self, cells: list[str], start: int) -> list[str]:
        ids = self._matching(
            "identifier", _IDENTIFIERS, IDENTIFIER, cells, start, "an identifier: use a-z 0-9 - . _ only"
        )
        if not all(ids):
            for index, identifier in enumerate(ids, start):
                if not identifier:
                    self.note(index, "identifier", "this person has no identifier: use a-z 0-9 - . _")
        return ids

    def _fit(self, heading: str, texts: list[str], start: int) -> None:
        """Names and titles are single lines of moderate length."""
        if not _are_fit(texts):
            for index, text in enumerate(texts, start):
                objection = unfit_text(text, LONGEST_NAME)
                if objection:
                    self.note(index, heading, f"{heading} {objection}")

    def _names(self, firsts: list[str], lasts: list[str], cells: Callable[[str], list[str]], start: int) -> list[str]:
        parts = zip(firsts, lasts, strict=True)
        if not (all(firsts) and all(lasts)):
            names = [f"{first} {last}" if first and last else first or last for first, last in parts]
        else:
            names = [f"{first} {last}" for first, last in parts]
        if not _are_fit(names):
            self._fit("first_name", firsts, start)
            self._fit("last_name", lasts, start)
        if "name" in self.sheet.columns:
            written = self._bare(cells("name"))
            self._fit("name", written, start)
            names = [one or other for one, other in zip(written, names, strict=True)]
        if not all(names):
            for index, name in enumerate(names, start):
                if not name:
                    heading = "name" if "name" in self.sheet.columns else "first_name"
                    self.note(index, heading, f"{self._who(index)} has no name (INV-2)")
        return names

    def _staff_only(self, roles: list[Role], admins: list[Admin], levels: list[ReviewLevel], start: int) -> None:
        """Administrators and reviewers are staff (ROLE-7, REV-2)."""
        if not any(admins) and not any(levels):
            return
        if all(
            role == "staff" or not (admin or level)
            for role, admin, level in set(zip(roles, admins, levels, strict=True))
        ):
            return
        for index, (role, admin, level) in enumerate(zip(roles, admins, levels, strict=True), start):
            if role == "client" and admin:
                self.note(index, "admin", f"{self._who(index)} is a client: only staff can be admins (ROLE-1)")
            if role == "client" and level:
                self.note(index, "review", f"{self._who(index)} is a client: only staff can be reviewers (REV-2)")

    def _emails(self, cells: list[str], roles: list[Role], statuses: list[Status], start: int) -> list[str]:
        emails = self._matching("email", _EMAILS, EMAIL, cells, start, "an e-mail address")
        self._short(emails, "email", LONGEST_EMAIL, start)
        if not all(emails) and "email" in self.sheet.columns:
            self._miss("email", "an e-mail address", emails, roles, statuses, start, {})
        # Nearly everybody writes them in small letters: nothing has to be made anew for that.
        self._unique_emails(emails if all(map(str.islower, emails)) else list(map(str.lower, emails)))
        if self.to.staff_domains:
            self._staff_domains(emails, roles, statuses, start)
        return emails

    def _unique_emails(self, emails: list[str]) -> None:
        """INV-11: one profile an address, also of those who left."""
        seen = self.enrolled.emails
        expected = len(seen) + len(emails) - emails.count("")
        seen.update(emails)
        seen.discard("")
        if len(seen) != expected:
            for index, email, earlier in self._repeated("email", str.lower):
                text = f"e-mail {quoted(email)} is used by {self._who(earlier)} already: {ONE_EACH}"
                self.note(index, "email", f"{text} (INV-11)")

    def _repeated(self, heading: str, fold: Callable[[str], str]) -> Iterator[tuple[int, str, int]]:
        """What stands twice in a column, with where it stood first; the whole column is looked through, once."""
        if heading in self.repeated:
            return
        self.repeated.add(heading)
        first: dict[str, int] = {}
        for index, text in enumerate(map(fold, map(str.strip, self.sheet.columns.get(heading, ())))):
            earlier = first.setdefault(text, index)
            if text and earlier != index:
                yield index, text, earlier

    def _staff_domains(self, emails: list[str], roles: list[Role], statuses: list[Status], start: int) -> None:
        """INV-13: staff have addresses of the organisation's own domains."""
        endings = tuple(f"@{domain}" for domain in self.to.staff_domains)
        # Where no role can be read, that is to be said first.
        written = self.sheet.cells("role", start, start + len(emails))
        for index, (email, role, status, word) in enumerate(zip(emails, roles, statuses, written, strict=True), start):
            if role == "staff" == word.strip() and email and status != "left" and not email.lower().endswith(endings):
                allowed = " or ".join(self.to.staff_domains)
                self.note(index, "email", f"{quoted(email)} is not an address of {allowed}, as staff need one (INV-13)")

    def _mobiles(self, cells: list[str], roles: list[Role], statuses: list[Status], start: int) -> list[str]:
        """INV-9: international form with country code; spaces, brackets, dots and hyphens are decoration."""
        joined = ("\n".join(cells) + "\n").translate(_MOBILE_FILLERS)
        if joined.count("\n") != len(cells) or not _MOBILES.fullmatch(joined):
            for index, cell in enumerate(cells, start):
                if cell.strip() and not MOBILE.fullmatch(cell.strip().translate(_MOBILE_FILLERS)):
                    text = f"{quoted(cell)} is not a phone number with + and country code, like +44 7700 900010 (INV-9)"
                    self.note(index, "mobile", text)
        if not all(cells) and "mobile" in self.sheet.columns:
            self._miss("mobile", "a mobile number", cells, roles, statuses, start, self.to.mobile)
        return cells

    def _miss(
        self,
        heading: str,
        what: str,
        cells: list[str],
        roles: list[Role],
        statuses: list[Status],
        start: int,
        needs: Mapping[Role, Requirement],
    ) -> None:
        """INV-2: what everybody needs who has not left."""
        for index, (cell, role, status) in enumerate(zip(cells, roles, statuses, strict=True), start):
            if not cell and status != "left" and needs.get(role, "required") == "required":
                self.note(
                    index,
                    heading,
                    f"{self._who(index)} has no {heading}: everybody who has not left needs {what} (INV-2)",
                )

    def _ends(self, cells: list[str], start: int) -> tuple[Sequence[Moment], Sequence[date | None]]:
        """The moments at which memberships end, and the last days as written; nearly everybody has none."""
        if not any(cells):
            return [inf] * len(cells), [None] * len(cells)
        ends, days = zip(*self._decoded("until", self.days, cells, start), strict=True)
        return ends, days

    def _with_members(self, books: list[frozenset[str]], ids: list[str]) -> list[frozenset[str]]:
        """The books of the rows with those that list the person among their members; equal sets are one object."""
        listed = self.to.members
        if not listed or listed.keys().isdisjoint(ids):
            return books
        return [self._union(some, listed.get(identifier)) for some, identifier in zip(books, ids, strict=True)]

    def _union(self, some: frozenset[str], more: frozenset[str] | None) -> frozenset[str]:
        found = self.unions.get((some, more))
        if found is None:
            found = self.unions[some, more] = some | more if more else some
        return found

    def _into_books(self, found: Columns, people: Sequence[Membership]) -> None:
        members = self.enrolled.members
        for pid, names in zip(map(_ID, people), found.books, strict=True):
            for name in names:
                members[name].append(pid)
        staff = {
            names
            for names, role, status in zip(found.books, found.roles, found.statuses, strict=True)
            if role == "staff" and status == "active"
        }
        self.enrolled.staffed.update(*staff)

    def _bookless(self, books: list[frozenset[str]], roles: list[Role], statuses: list[Status], start: int) -> None:
        """BOOK-3: whoever is served is in somebody's book."""
        if not all(books):
            for index, (names, role, status) in enumerate(zip(books, roles, statuses, strict=True), start):
                if not names and role == "client" and status != "left":
                    text = f"{self._who(index)} is a client and in no book: every client needs one (BOOK-3)"
                    self.note(index, "contact_books", text)

    def _register(self, members: Sequence[Membership], start: int) -> None:
        people = self.register.people
        expected = len(people) + len(members)
        people.update(zip(map(_ID, members), members, strict=True))
        if len(people) != expected:
            for index, identifier, earlier in self._repeated("identifier", str):
                where = self.sheet.place(earlier, "identifier")
                self.note(
                    index, "identifier", f"{quoted(identifier)} stands here twice; the first is in row {where.line}"
                )
        if self.before:
            self._changed_roles(members, start)

    def _changed_roles(self, members: Sequence[Membership], start: int) -> None:
        """ROLE-6: staff never become clients, nor clients staff."""
        for index, member in enumerate(members, start):
            old = self.before.get(member.id)
            if old is not None and old.role != member.role:
                self.note(index, "role", changed_role(old, member.role))

    def judge_accounts(self, users: list[UserId | None], members: Sequence[Membership], start: int) -> None:
        """INV-12: one Matrix ID may hold many memberships, but one living one an organisation."""
        accounts = self.register.accounts
        new = dict(zip(users, zip(members), strict=True))
        new.pop(None, None)
        named = cast(dict[UserId, tuple[Membership, ...]], new)
        again = accounts.keys() & named.keys()
        if len(named) + users.count(None) < len(users):
            again |= {user for user, times in Counter(users).items() if user and times > 1}
        others = {user: accounts.get(user, ()) for user in again}
        accounts.update(named)
        if not again:
            return
        for index, (user, member) in enumerate(zip(users, members, strict=True), start):
            if user is not None and user in others:
                if member.status != "left":
                    self._one_living(index, user, others[user])
                accounts[user] = others[user] = (*others[user], member)

    def _one_living(self, index: int, user: UserId, others: Iterable[Membership]) -> None:
        for other in others:
            if other.organisation == self.to.organisation and other.status != "left":
                self.note(index, "matrix", f"{user} is {other.id} already: one of the two must have left (INV-12)")

    def _word(
        self, what: str, known: Mapping[str, Value], default: Value
    ) -> Callable[[str], tuple[Value, tuple[str, ...]]]:
        def read(text: str) -> tuple[Value, tuple[str, ...]]:
            word = text.strip()
            if word in known:
                return known[word], ()
            if not word and what != "role":
                return default, ()
            if not word:
                return default, ("everybody has a role: staff or client",)
            return default, (self.notes.unknown_word(what, word, known),)

        return read

    def _day(self, text: str) -> tuple[tuple[Moment, date | None], tuple[str, ...]]:
        word = text.strip()
        day = as_day(word)
        if word and day is None:
            return (inf, None), (f"until {no_day(word, quoted(word))}",)
        return (inf if day is None else day_after(day, self.to.zone), day), ()

    def _book_list(self, text: str) -> tuple[frozenset[str], tuple[str, ...]]:
        words = text.split(";")
        books = frozenset(words)
        if len(books) == len(words) and books <= self.known_books:
            return books, ()
        words = [word.strip() for word in words if word.strip()]
        sentences = [self._unknown_book(word) for word in words if word not in self.to.books]
        sentences += [
            f"book {quoted(word)} stands here twice (IMP-5)" for word in sorted(set(words)) if words.count(word) > 1
        ]
        return frozenset(words), tuple(sentences)

    def _unknown_book(self, word: str) -> str:
        """There is no such book; several may stand there with a comma between them."""
        parts = [part.strip() for part in word.split(",")]
        if len(parts) > 1 and all(part in self.to.books for part in parts):
            return f"{quoted(word)} are {len(parts)} books — put a semicolon between them"
        return self.notes.unknown_word("book", word, self.to.books)


_ID: Callable[[Membership], PersonId] = attrgetter("id")
_MATRIX_ID: Callable[[Membership], UserId | None] = attrgetter("matrix")
_membership = cast(Callable[[tuple[object, ...]], Membership], partial(tuple.__new__, Membership))


def _are_fit(texts: list[str]) -> bool:
    return "".join(texts).isprintable() and max(map(len, texts), default=0) <= LONGEST_NAME


def _truth(text: str) -> tuple[bool, tuple[str, ...]]:
    word = text.strip().lower()
    if word in ("", "false", "true"):
        return word == "true", ()
    return False, (f"unlisted is true or false, not {quoted(text)}",)


def changed_role(old: Membership, role: Role) -> str:
    """The sentence for somebody whose role is another than it was."""
    return (
        f"{old.id} is {old.role} and cannot become {role}: set status: left "
        f"and invite the person anew under a new identifier (ROLE-6)"
    )


def day_begins(day: date, zone: tzinfo) -> Moment:
    """The moment at which the day begins there."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def day_after(day: date, zone: tzinfo) -> Moment:
    """The moment at which the day is over; never, for the last day of the calendar."""
    return day_begins(day + timedelta(days=1), zone) if day < date.max else inf
