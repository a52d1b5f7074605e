"""The words of administrators: contact books, people, covers, and who administers and reviews.

What the rules object to is answered with a sentence that says what to do first; `bridge.office` does the rest.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from zoneinfo import ZoneInfo

from bridge.commands import Answer, Asked, Commands, Word
from bridge.office import Act, Desk, Office, command, not_administered, only, readable
from policy.administered import LONGEST_NAME, books_named, members_named
from policy.change import AddCover, AddToBook, CreateBook, RemoveFromBook, SetField, identifier_of
from policy.enrol import ADMINS, IDENTIFIER, LEVELS, day_after, day_begins
from policy.forewarn import warnings
from policy.mistake import instead, quoted
from policy.model import Book, Membership, Moment, Policy, Status
from policy.naming import tokens
from policy.question import Area
from policy.reach import status
from policy.search import fold
from policy.yaml_nodes import DAY, as_day

SHOWN = 50
"""Lines of a list in one answer."""

NONE = "none"
CONFIRM = "CONFIRM"

BOOK_WORDS = {
    "list": "book list",
    "show": "book show BOOK",
    "create": 'book create BOOK "NAME"',
    "add": "book add BOOK PERSON…",
    "remove": "book remove BOOK PERSON…",
}


Also = Callable[[frozenset[str], Moment], Awaitable[list[str]]]
"""What others have to say in `status` about these organisations at that moment."""


class Administration:
    """Reads administrators' words and does what they say."""

    def __init__(self, office: Office, also: Also | None = None) -> None:
        self._office = office
        self._also = also

    def words(self) -> dict[str, Word]:
        """The table of words, for `Commands`."""
        of_admins: dict[str, tuple[str, str, Callable[[Asked], Awaitable[str]]]] = {
            "book": (
                "book list | show BOOK | create BOOK NAME | add BOOK PERSON… | remove BOOK PERSON…",
                "contact books and who is in them",
                self.book,
            ),
            "suspend": ("suspend PERSON…", "keep somebody out until “unsuspend”; nothing is lost", self.suspend),
            "unsuspend": ("unsuspend PERSON…", "let them in again", self.unsuspend),
            "deactivate": ("deactivate PERSON", "end a membership for good", self.deactivate),
            "cover": (
                "cover ABSENT by STAND-IN from DATE until DATE",
                "the stand-in is in all the absent member's books on these days",
                self.cover,
            ),
            "status": ("status", "mistakes, dates to come, people without an account", self.status),
            "reviewer": (
                "reviewer PERSON connected|clients|all|none",
                "who reviews which chats (system administrators)",
                self.reviewer,
            ),
            "admin": ("admin PERSON system|user|none", "who administers (system administrators)", self.admin),
        }
        return {name: Word(usage, does, _run(answer), admins=True) for name, (usage, does, answer) in of_admins.items()}

    # Books

    async def book(self, asked: Asked) -> str:
        """`book list|show|create|add|remove`."""
        word, _, rest = asked.rest.partition(" ")
        word = word.lower()
        if word not in BOOK_WORDS:
            raise Answer("Write one of: " + "; ".join(f"“{usage}”" for usage in BOOK_WORDS.values()) + ".")
        desk, words = await self._office.desk(asked, "books"), tokens(rest)
        if word == "list":
            return _cut(_book_lines(desk))
        if not words:
            raise Answer(f"Write which book: “{BOOK_WORDS[word]}”.")
        if word == "create":
            return await self._office.do(desk, await self._new_book(desk, words), "books")
        organisation, book, rest_words = _book(desk, words)
        if word == "show":
            if rest_words:
                raise _no_book(desk, " ".join(words))
            return _cut(_shown_book(desk.policy, desk.policy.organisations[organisation].books[book]))
        people = _people(desk, rest_words, f"“{BOOK_WORDS[word]}”", within=(organisation,))
        change = AddToBook if word == "add" else RemoveFromBook
        says = f"{_are(people)} {'in' if word == 'add' else 'out of'} the contact book {book}."
        act = Act(f"book {word} {book}", [change(member.id, book) for member in people], says)
        return await self._office.do(desk, act, "books")

    async def _new_book(self, desk: Desk, words: Sequence[str]) -> Act:
        organisation, slash, book = words[0].rpartition("/")
        if not slash:
            organisation = only(desk, f"“book create ORGANISATION/{book} NAME”")
        if organisation not in desk.organisations:
            await self._office.refuse(desk.asked, (not_administered(organisation),))
        if not IDENTIFIER.fullmatch(book):
            text = f"{quoted(book)} cannot be the identifier of a book: use a-z 0-9 - . _ only (BOOK-14)."
            raise Answer(f"{text}{_create_instead(words)}")
        name = " ".join(words[1:]) or book
        says = f"There is a contact book {book} now, “{name}”. Put people into it: “book add {book} PERSON…”."
        return Act(f"book create {book}", [CreateBook(organisation, book, name)], says)

    # People

    async def suspend(self, asked: Asked) -> str:
        """USR-1: kept, shown as Unavailable, out of all chats."""
        says = "{are} suspended: shown as Unavailable, and out of all chats until “unsuspend”."
        return await self._set_status(asked, tokens(asked.rest), "suspended", ("active",), says)

    async def unsuspend(self, asked: Asked) -> str:
        """USR-1: everything as it was."""
        says = "{are} active again, and back in the chats."
        return await self._set_status(asked, tokens(asked.rest), "active", ("suspended",), says)

    async def deactivate(self, asked: Asked) -> str:
        """USR-2: permanent, so that it is asked twice."""
        words = tokens(asked.rest)
        if words and words[-1].upper() == CONFIRM:
            says = "The membership of {names} has ended. What was written stays on record."
            return await self._set_status(asked, words[:-1], "left", ("active", "suspended", "invited"), says)
        desk = await self._office.desk(asked, "people")
        people = _people(desk, words, "“deactivate PERSON”")
        act = Act(f"deactivate {words[0]}", [SetField(member.id, "status", "left") for member in people], "")
        await self._office.tried(desk, act, "people")
        names = _listed(f"{member.name} ({member.id})" for member in people)
        again = " ".join(member.id for member in people)
        return (
            f"This ends the membership of {names} for good: out of all chats, off all contact lists (USR-2). "
            f"If that is meant, write “deactivate {again} {CONFIRM}”."
        )

    async def _set_status(
        self, asked: Asked, words: Sequence[str], new: Status, was: tuple[Status, ...], says: str
    ) -> str:
        desk = await self._office.desk(asked, "people")
        people = _people(desk, words, f"“{command(asked).partition(' ')[0]} PERSON”")
        for member in people:
            if member.status not in (*was, new):
                raise Answer(f"{member.name} {_INSTEAD[member.status].format(identifier_of(member.id))}")
        others = [member for member in people if member.status != new]
        if not others:
            raise Answer(f"{_are(people)} {_STANDING[new]} already: nothing was changed.")
        ids = " ".join(member.id for member in others)
        said = says.format(are=_are(others), names=_listed(member.name for member in others))
        act = Act(f"{new} {ids}", [SetField(member.id, "status", new) for member in others], said)
        return await self._office.do(desk, act, "people")

    async def reviewer(self, asked: Asked) -> str:
        """REV-2: who reviews, and at which level."""
        return await self._grant(asked, "review", LEVELS, "reviewers")

    async def admin(self, asked: Asked) -> str:
        """ROLE-3: who administers."""
        return await self._grant(asked, "admin", ADMINS, "people")

    async def _grant(self, asked: Asked, field: str, levels: Collection[str], what: Area) -> str:
        *words, level = tokens(asked.rest) or [""]
        level = level.lower()
        usage = f"“{'reviewer' if field == 'review' else field} PERSON {'|'.join((*levels, NONE))}”"
        if level not in (*levels, NONE) or not words:
            raise Answer(f"Write {usage}.")
        desk = await self._office.desk(asked, "people")
        people = _people(desk, words, usage)
        changes = [SetField(member.id, field, "" if level == NONE else level) for member in people]
        says = f"{_listed(member.name for member in people)} {_GRANTED[field, level][len(people) > 1]}."
        act = Act(f"{field} {level} {' '.join(member.id for member in people)}", changes, says)
        return await self._office.do(desk, act, what)

    async def cover(self, asked: Asked) -> str:
        """Holiday cover, both days included."""
        usage = "Write “cover ABSENT by STAND-IN from DATE until DATE”, with days like 2026-12-01."
        words = tokens(asked.rest)
        parts = _split(words, ("by", "from", "until"))
        if parts is None or len(parts[2]) != 1 or len(parts[3]) != 1:
            raise Answer(usage)
        first, last = as_day(parts[2][0]), as_day(parts[3][0])
        if first is None or last is None:
            word = parts[2][0] if first is None else parts[3][0]
            raise Answer(f"There is no {word}. {usage}" if DAY.fullmatch(word) else usage)
        desk = await self._office.desk(asked, "people")
        (absent, *more), (stand_in, *others) = _people(desk, parts[0], usage), _people(desk, parts[1], usage)
        if more or others:
            raise Answer(f"One person covers for one other. {usage}")
        if absent.organisation != stand_in.organisation:
            raise Answer(f"{stand_in.name} is in another organisation than {absent.name}: a stand-in is a colleague.")
        zone = ZoneInfo(desk.policy.organisations[absent.organisation].timezone)
        if day_after(last, zone) <= asked.now:
            raise Answer(f"{last} is over already, so nothing was changed: write days to come. {usage}")
        says = f"{stand_in.name} is in all contact books of {absent.name} from {first} to {last}, both days included."
        act = Act(f"cover {absent.id}", [AddCover(absent.id, stand_in.id, first, last)], says)
        if day_begins(first, zone) > asked.now:
            act = act._replace(effect="It is saved, and begins and ends by itself.")
        return await self._office.do(desk, act, "people")

    # Status

    async def status(self, asked: Asked) -> str:
        """What deserves attention in the organisations that the asker administers."""
        files, policy = await self._office.read()
        if not isinstance(policy, Policy):
            return "The saved policy is not in force. Its mistakes:\n" + _cut(readable(asked, files, policy))
        desk = self._office.desk_of(asked, files, policy)
        lines = []
        for org in desk.organisations:
            here = [member for member in policy.people.values() if member.organisation == org]
            counts = {
                standing: sum(status(member, asked.now) == standing for member in here)
                for standing in ("active", "invited", "suspended")
            }
            numbers = ", ".join(f"{count} {standing}" for standing, count in counts.items())
            books = _counted(len(policy.organisations[org].books), "book")
            lines.append(f"{policy.organisations[org].name}: {numbers}, {books}.")
            lines += [f"- {line}" for line in _covers(policy, org, asked.now)]
        own = tuple(f"{org}{end}" for org in desk.organisations for end in (":", " "))
        lines += [f"- {line}." for line in warnings(policy, asked.now) if line.startswith(own)]
        if self._also is not None:
            lines += await self._also(frozenset(desk.organisations), asked.now)
        return _cut(lines)


def _run(answer: Callable[[Asked], Awaitable[str]]) -> Callable[[Commands, Asked], Awaitable[str]]:
    async def run(_commands: Commands, asked: Asked) -> str:
        return await answer(asked)

    return run


_GRANTED: Mapping[tuple[str, str], tuple[str, str]] = {
    ("review", "connected"): ("reviews chats with their own clients", "review chats with their own clients"),
    ("review", "clients"): ("reviews all chats with clients", "review all chats with clients"),
    ("review", "all"): ("reviews all chats", "review all chats"),
    ("review", NONE): ("reviews no chats any more", "review no chats any more"),
    ("admin", "system"): ("is system administrator", "are system administrators"),
    ("admin", "user"): ("is user administrator", "are user administrators"),
    ("admin", NONE): ("administers no more", "administer no more"),
}
"""What one person, or several, may do once a word gave it to them."""

_STANDING: Mapping[Status, str] = {
    "invited": "invited", "active": "active", "suspended": "suspended", "left": "out for good",
}  # fmt: skip


_INSTEAD: Mapping[Status, str] = {
    "invited": "has yet to accept the invitation: “revoke {}” takes it back.",
    "active": "is active: nothing was changed.",
    "suspended": "is suspended: “unsuspend {}” comes first.",
    "left": "has left for good: invite the person anew under another identifier.",
}
"""What to do with somebody whose status a word cannot change."""


def _listed(names: Iterable[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last


def _counted(number: int, what: str) -> str:
    """`1 book`, `2 books`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _are(people: Sequence[Membership]) -> str:
    """`A is`, `A and B are`."""
    return f"{_listed(member.name for member in people)} {'is' if len(people) == 1 else 'are'}"


def _people(
    desk: Desk, words: Sequence[str], usage: str, within: Collection[str] | None = None
) -> tuple[Membership, ...]:
    if not words:
        raise Answer(f"Write whom it is about: {usage}.")
    named = members_named(desk.policy, within or desk.organisations, words)
    if named.mistakes:
        raise Answer("\n".join(named.mistakes))
    return named.members


def _create_instead(words: Sequence[str]) -> str:
    """How to make the book that somebody called by its name alone, or by an identifier in capital letters."""
    both = len(words) == 2 and " " in words[1]
    meant = "-".join(re.findall("[a-z0-9._]+", fold(words[0] if both else " ".join(words))))
    name = words[1] if both else " ".join(words)
    return f" Write “book create {meant} {quoted(name)}”, for instance." if meant else ""


def _book(desk: Desk, words: Sequence[str]) -> tuple[str, str, Sequence[str]]:
    """The organisation and the book that the first words name, as many as do, and the words behind them."""
    for length in range(min(len(words), LONGEST_NAME), 0, -1):
        word = " ".join(words[:length])
        found = books_named(desk.policy, desk.organisations, word)
        if len(found) == 1:
            return (*found[0], words[length:])
        if found:
            raise Answer(f"Several books are called {quoted(word)}: write {' or '.join(map('/'.join, found))}.")
    raise _no_book(desk, words[0])


def _no_book(desk: Desk, word: str) -> Answer:
    known = [book for org in desk.organisations for book in desk.policy.organisations[org].books]
    return Answer(f"There is no contact book {quoted(word)}{instead(word, known)}")


def _split(words: Sequence[str], marks: Sequence[str]) -> list[list[str]] | None:
    """The words before, between and behind the marks, which stand in this order."""
    parts: list[list[str]] = []
    rest = list(words)
    for mark in marks:
        place = next((place for place, word in enumerate(rest) if word.lower() == mark), None)
        if place is None:
            return None
        parts.append(rest[:place])
        rest = rest[place + 1 :]
    return [*parts, rest]


def _book_lines(desk: Desk) -> Iterator[str]:
    for org in desk.organisations:
        organisation = desk.policy.organisations[org]
        yield f"{organisation.name}:"
        for book in organisation.books.values():
            people = [desk.policy.people[person] for person in book.members]
            here = [member for member in people if member.status != "left"]
            staff = sum(member.role == "staff" for member in here)
            yield f"- {book.identifier}: {book.name}, {staff} staff, {_counted(len(here) - staff, 'client')}"
        if not organisation.books:
            yield "- no contact books yet"


def _shown_book(policy: Policy, book: Book) -> Iterator[str]:
    yield f"{book.identifier}: {book.name}"
    if book.description:
        yield book.description
    if not book.clients_see_each_other:
        yield "Clients do not see each other in it."
    people = map(policy.people.__getitem__, book.members)
    for member in sorted(people, key=lambda one: (one.role, one.name.casefold(), one.id)):
        standing = "" if member.status == "active" else f", {member.status}"
        yield f"- {member.name} ({member.identifier}), {member.role}{standing}"


def _covers(policy: Policy, organisation: str, now: Moment) -> Iterator[str]:
    for cover in policy.organisations[organisation].covers:
        if now < cover.ends:
            yield f"{cover.stand_in} stands in for {cover.absent} from {cover.first_day} to {cover.last_day}"


def _cut(lines: Iterable[str]) -> str:
    every = list(lines)
    more = [f"… and {len(every) - SHOWN * 4} more"] if len(every) > SHOWN * 4 else []
    return "\n".join([*every[: SHOWN * 4], *more])
