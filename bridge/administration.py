"""The words of administrators: contact books, people, covers, imports, and who administers and reviews.

Each word reads the policy's files anew, makes a change of them, and writes them back; what the rules object to is
answered with a sentence that says what to do first. Every act stands in the audit before it is done.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Protocol

from bridge import spreadsheet
from bridge.attachments import NoFile
from bridge.commands import Answer, Asked, Commands, Word
from bridge.policy_writer import Author, Changed, PolicyWriter
from bridge.store import Store
from policy.administered import books_named, members_named
from policy.amend import forbidden, on_record
from policy.change import AddCover, AddToBook, Change, CreateBook, Files, RemoveFromBook, SetField, organisation_of
from policy.decide import decide
from policy.decision import Objection
from policy.edit import Refusal, edit
from policy.enrol import ADMINS, IDENTIFIER, LEVELS
from policy.forewarn import warnings
from policy.imports import Import, counts, plan_import, report
from policy.mistake import Mistakes, instead, quoted
from policy.model import Book, Membership, Moment, Policy, Status, UserId
from policy.naming import tokens
from policy.question import Administer, Area
from policy.reach import status
from policy.yaml_nodes import as_day

SHOWN = 50
"""Lines of a list in one answer."""

SAVED = "It takes effect within 2 seconds."
NONE = "none"
MIME = {"csv": "text/csv", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}

BOOK_WORDS = {
    "list": "book list",
    "show": "book show BOOK",
    "create": 'book create BOOK "NAME"',
    "add": "book add BOOK PERSON…",
    "remove": "book remove BOOK PERSON…",
}


class FileCarrier(Protocol):
    """Whoever brings and takes the files of direct chats."""

    async def fetch(self, content: Mapping[str, Any], most: int) -> bytes: ...

    async def send(self, user: UserId, data: bytes, *, name: str, mimetype: str, about: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Desk:
    """One administrator's word with the policy as its files have it now."""

    asked: Asked
    files: Files
    policy: Policy
    admins: tuple[Membership, ...]
    """The memberships by which the asker administers."""

    @property
    def organisations(self) -> dict[str, Membership]:
        """The organisations that the asker administers, with the membership that says so."""
        return {member.organisation: member for member in self.admins}


class Done(NamedTuple):
    """What a word wants changed, and the answer when it is."""

    what: str
    """As the audit and git call it."""
    changes: Sequence[Change]
    says: str


class Administration:
    """Reads administrators' words and does what they say."""

    def __init__(
        self, *, store: Store, writer: PolicyWriter, carrier: FileCarrier, clock: Callable[[], Moment] = time.time
    ) -> None:
        self._store = store
        self._writer = writer
        self._carrier = carrier
        self._clock = clock

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
            "import": (
                "import [ORGANISATION] [skip-existing] | import apply | import template [csv|xlsx]",
                "as a reply to a spreadsheet you sent me: what its rows would do; then do it",
                self.import_,
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
        if word not in BOOK_WORDS:
            raise Answer("Write one of: " + "; ".join(f"“{usage}”" for usage in BOOK_WORDS.values()) + ".")
        desk, words = await self._desk(asked, "books"), tokens(rest)
        if word == "list":
            return _cut(_book_lines(desk))
        if not words:
            raise Answer(f"Write which book: “{BOOK_WORDS[word]}”.")
        if word == "create":
            return await self._do(desk, self._new_book(desk, words), "books")
        organisation, book = _book(desk, words[0])
        if word == "show":
            return _cut(_shown_book(desk.policy, desk.policy.organisations[organisation].books[book]))
        people = _people(desk, words[1:], f"“{BOOK_WORDS[word]}”", within=(organisation,))
        change = AddToBook if word == "add" else RemoveFromBook
        names = ", ".join(member.name for member in people)
        says = f"{names} {'is in' if word == 'add' else 'is out of'} the contact book {book}."
        done = Done(f"book {word} {book}", [change(member.id, book) for member in people], says)
        return await self._do(desk, done, "books")

    def _new_book(self, desk: Desk, words: Sequence[str]) -> Done:
        organisation, slash, book = words[0].rpartition("/")
        if not slash:
            organisation = _only(desk, f"“book create ORGANISATION/{book} NAME”")
        if organisation not in desk.organisations:
            raise Answer(f"You do not administer {quoted(organisation)} (ROLE-1).")
        if not IDENTIFIER.fullmatch(book):
            raise Answer(f"{quoted(book)} cannot be the identifier of a book: use a-z 0-9 - . _ only (BOOK-14).")
        name = " ".join(words[1:]) or book
        says = f"There is a contact book {book} now, “{name}”. Put people into it: “book add {book} PERSON…”."
        return Done(f"book create {book}", [CreateBook(organisation, book, name)], says)

    # People

    async def suspend(self, asked: Asked) -> str:
        """USR-1: kept, shown as Unavailable, out of all chats."""
        says = "{} is suspended: shown as Unavailable, and out of all chats until “unsuspend”."
        return await self._set_status(asked, "suspended", ("active",), says)

    async def unsuspend(self, asked: Asked) -> str:
        """USR-1: everything as it was."""
        return await self._set_status(asked, "active", ("suspended",), "{} is active again, and back in the chats.")

    async def deactivate(self, asked: Asked) -> str:
        """USR-2: permanent, so that it is asked twice."""
        words = tokens(asked.rest)
        if words[-1:] == ["CONFIRM"]:
            says = "The membership of {} has ended. What was written stays on record."
            confirmed = Asked(
                asked.event,
                asked.user,
                asked.memberships,
                asked.policy,
                asked.now,
                " ".join(map(_requoted, words[:-1])),
                asked.room,
            )
            return await self._set_status(confirmed, "left", ("active", "suspended", "invited"), says)
        desk = await self._desk(asked, "people")
        people = _people(desk, words, "“deactivate PERSON”")
        names = ", ".join(f"{member.name} ({member.id})" for member in people)
        again = " ".join(member.id for member in people)
        return (
            f"This ends the membership of {names} for good: out of all chats, off all contact lists (USR-2). "
            f"If that is meant, write “deactivate {again} CONFIRM”."
        )

    async def _set_status(self, asked: Asked, new: Status, was: tuple[Status, ...], says: str) -> str:
        desk = await self._desk(asked, "people")
        people = _people(desk, tokens(asked.rest), f"“{_command(asked).split(' ')[0]} PERSON”")
        for member in people:
            if member.status not in (*was, new):
                wanted = " or ".join(was)
                raise Answer(f"{member.name} is {member.status}: this is for people who are {wanted}.")
        names = ", ".join(member.name for member in people)
        ids = " ".join(member.id for member in people)
        done = Done(f"{new} {ids}", [SetField(member.id, "status", new) for member in people], says.format(names))
        return await self._do(desk, done, "people")

    async def reviewer(self, asked: Asked) -> str:
        """REV-2: who reviews, and at which level."""
        return await self._grant(asked, "review", LEVELS, "reviewers", "reviews {} chats")

    async def admin(self, asked: Asked) -> str:
        """ROLE-3: who administers."""
        return await self._grant(asked, "admin", ADMINS, "settings", "is {} administrator")

    async def _grant(self, asked: Asked, field: str, levels: Collection[str], what: Area, says: str) -> str:
        *words, level = tokens(asked.rest) or [""]
        usage = f"“{'reviewer' if field == 'review' else field} PERSON {'|'.join((*levels, NONE))}”"
        if level not in (*levels, NONE) or not words:
            raise Answer(f"Write {usage}.")
        desk = await self._desk(asked, "people")
        people = _people(desk, words, usage)
        names = ", ".join(member.name for member in people)
        value = "" if level == NONE else level
        changes = [SetField(member.id, field, value) for member in people]
        done = Done(
            f"{field} {level} {' '.join(member.id for member in people)}", changes, f"{names} {says.format(level)}."
        )
        return await self._do(desk, done, what)

    async def cover(self, asked: Asked) -> str:
        """Holiday cover, both days included."""
        usage = "Write “cover ABSENT by STAND-IN from DATE until DATE”, with days like 2026-12-01."
        words = tokens(asked.rest)
        parts = _split(words, ("by", "from", "until"))
        if parts is None or len(parts[2]) != 1 or len(parts[3]) != 1:
            raise Answer(usage)
        first, last = as_day(parts[2][0]), as_day(parts[3][0])
        if first is None or last is None:
            raise Answer(usage)
        desk = await self._desk(asked, "people")
        (absent, *more), (stand_in, *others) = _people(desk, parts[0], usage), _people(desk, parts[1], usage)
        if more or others:
            raise Answer(f"One person covers for one other. {usage}")
        if absent.organisation != stand_in.organisation:
            raise Answer(f"{stand_in.name} is in another organisation than {absent.name}: a stand-in is a colleague.")
        says = f"{stand_in.name} is in all contact books of {absent.name} from {first} to {last}."
        done = Done(f"cover {absent.id}", [AddCover(absent.id, stand_in.id, first, last)], says)
        return await self._do(desk, done, "people")

    # Imports

    async def import_(self, asked: Asked) -> str:
        """A spreadsheet of people: what it would do, then `import apply`."""
        words = tokens(asked.rest)
        if words[:1] == ["template"]:
            return await self._template(asked, words[1:])
        apply, skip = "apply" in words, "skip-existing" in words
        named = [word for word in words if word not in ("apply", "skip-existing")]
        desk = await self._desk(asked, "people")
        waiting = await self._store.recall(_key(asked.user)) if apply and asked.reply_to is None else None
        if waiting is not None:
            event, organisation, skip = waiting["event"], waiting["organisation"], waiting["skip"]
        else:
            event = asked.reply_to
            organisation = named[0] if named else _only(desk, "“import ORGANISATION”")
        if event is None:
            raise Answer(
                "Send me the spreadsheet, and write “import” as a reply to it. “import template” gives an empty one."
            )
        if organisation not in desk.organisations:
            raise Answer(f"You do not administer {quoted(organisation)} (ROLE-1).")
        found, kind = await self._planned(desk, event, organisation, skip)
        mark = _mark(found)
        if apply and waiting is not None and waiting["mark"] == mark:
            return await self._import(desk, found)
        await self._store.remember(
            _key(asked.user), {"event": event, "organisation": organisation, "skip": skip, "mark": mark}
        )
        if found.refused:
            data = spreadsheet.write(found.refused_table(), kind)
            await self._carrier.send(
                asked.user, data, name=f"refused.{kind}", mimetype=MIME[kind], about=asked.event.event_id
            )
        moved = (
            "The policy or the file has changed since the dry run, so nothing was done. Look again:\n"
            if waiting
            else ""
        )
        return moved + "\n".join(report(found, SHOWN)) + _how_to_go_on(found)

    async def _planned(
        self, desk: Desk, event_id: str, organisation: str, skip: bool
    ) -> tuple[Import, spreadsheet.Kind]:
        event = await self._store.event(event_id)
        if event is None or event.sender != desk.asked.user:
            raise Answer("Write “import” as a reply to a spreadsheet that you sent me yourself.")
        try:
            data = await self._carrier.fetch(event.content, spreadsheet.LARGEST)
            table = await asyncio.to_thread(spreadsheet.read, data)
        except (NoFile, spreadsheet.Unreadable) as error:
            raise Answer(str(error)) from error
        by = desk.organisations[organisation]
        found = await asyncio.to_thread(plan_import, desk.policy, organisation, table, by=by, skip_existing=skip)
        return found, spreadsheet.kind_of(data)

    async def _import(self, desk: Desk, found: Import) -> str:
        await self._store.forget(_key(desk.asked.user))
        if not found.changes:
            return "Nothing was changed: everything in the file is so already, or refused."
        says = f"Imported: {counts(found)}."
        return await self._do(desk, Done(f"import into {found.organisation}", found.changes, says), "people")

    async def _template(self, asked: Asked, words: Sequence[str]) -> str:
        kind: spreadsheet.Kind = "csv" if words[:1] == ["csv"] else "xlsx"
        name = f"people.{kind}"
        await self._carrier.send(
            asked.user, spreadsheet.template(kind), name=name, mimetype=MIME[kind], about=asked.event.event_id
        )
        return f"Fill in {name}, send it back to me, and write “import” as a reply to it."

    # Status

    async def status(self, asked: Asked) -> str:
        """What deserves attention in the organisations that the asker administers."""
        files, policy = await self._read()
        if not isinstance(policy, Policy):
            return "The saved policy is not in force. Its mistakes:\n" + _cut(map(str, policy))
        desk = self._desk_of(asked, files, policy)
        lines = []
        for org in desk.organisations:
            here = [member for member in policy.people.values() if member.organisation == org]
            counts = {
                standing: sum(status(member, asked.now) == standing for member in here)
                for standing in ("active", "invited", "suspended")
            }
            numbers = ", ".join(f"{count} {standing}" for standing, count in counts.items())
            lines.append(f"{policy.organisations[org].name}: {numbers}, {len(policy.organisations[org].books)} books.")
            lines += [f"- {line}" for line in _covers(policy, org, asked.now)]
        own = tuple(f"{org}{end}" for org in desk.organisations for end in (":", " "))
        lines += [f"- {line}." for line in warnings(policy, asked.now) if line.startswith(own)]
        return _cut(lines)

    # What all words share

    async def _read(self) -> tuple[Files, Policy | Mistakes]:
        try:
            return await asyncio.to_thread(self._writer.read)
        except OSError as error:
            raise Answer(f"The policy cannot be read just now: {error.strerror}.") from error

    async def _desk(self, asked: Asked, what: Area) -> Desk:
        """The policy as it is on disk, for somebody who administers in it."""
        files, policy = await self._read()
        if not isinstance(policy, Policy):
            first = "\n".join(map(str, policy[:5]))
            raise Answer(
                f"The saved policy has mistakes: repair them first, nothing can be changed until then.\n{first}"
            )
        desk = self._desk_of(asked, files, policy)
        if not desk.admins:
            objections = [
                objection
                for member in policy.accounts.get(asked.user, ())
                for objection in decide(policy, Administer(member.id, member.organisation, what), asked.now).because
            ]
            await self._refused(asked, objections)
        return desk

    def _desk_of(self, asked: Asked, files: Files, policy: Policy) -> Desk:
        admins = tuple(
            member
            for member in policy.accounts.get(asked.user, ())
            if decide(policy, Administer(member.id, member.organisation, "people"), asked.now).allowed
        )
        return Desk(asked, files, policy, admins)

    async def _do(self, desk: Desk, done: Done, what: Area) -> str:
        """Change the files as asked, if rights and rules allow it; the answer to the administrator."""
        await self._require_rights(desk, done, what)
        after = await asyncio.to_thread(edit, desk.files, done.changes, desk.policy)
        if isinstance(after, Refusal):
            await self._refused(desk.asked, after.because)
        if after == desk.files:
            return "That is so already: nothing was changed."
        await self._audit(desk, done.what, {"changes": [on_record(desk.policy, change) for change in done.changes]})
        author = Author(desk.organisations[organisation_of(done.changes[0])].name, desk.asked.user)
        try:
            note = await asyncio.to_thread(
                self._writer.write, desk.files, after, author=author, summary=done.what[:200]
            )
        except (Changed, OSError) as error:
            why = str(error) if isinstance(error, Changed) else f"The policy cannot be written: {error.strerror}."
            await self._audit(desk, f"not done: {done.what}", {"reason": why})
            raise Answer(f"Nothing was done. {why}") from error
        return " ".join(part for part in (done.says, SAVED, note) if part)

    async def _require_rights(self, desk: Desk, done: Done, what: Area) -> None:
        for organisation in dict.fromkeys(map(organisation_of, done.changes)):
            by = desk.organisations.get(organisation)
            if by is None:
                raise Answer(f"You do not administer {quoted(organisation)} (ROLE-1).")
            decision = decide(desk.policy, Administer(by.id, organisation, what), desk.asked.now)
            if not decision.allowed:
                await self._refused(desk.asked, decision.because)
            for change in done.changes:
                if organisation_of(change) == organisation and (objection := forbidden(desk.policy, by, change)):
                    await self._refused(desk.asked, (objection,))

    async def _refused(self, asked: Asked, objections: Iterable[Objection]) -> NoReturn:
        """Say why, and keep it in the audit; always raises `Answer`."""
        because = list(dict.fromkeys(objections))
        text = "\n".join(f"{one.text} ({one.rule})" if one.rule else one.text for one in because)
        text = text or "Only the organisation's administrators can do this (ROLE-1)."
        details = {"command": _command(asked), "because": [one.rule for one in because], "text": text}
        await self._store.audit(asked.user, "refused", details, time=self._clock())
        raise Answer(text)

    async def _audit(self, desk: Desk, what: str, details: Mapping[str, Any]) -> None:
        event = desk.asked.event
        where = {"event": event.event_id, "room": event.room_id}
        await self._store.audit(desk.asked.user, what, {**details, **where}, time=self._clock())


def _how_to_go_on(found: Import) -> str:
    if not found.changes:
        return ""
    rest = " The refused rows are in the file I sent you, with their reasons." if found.refused else ""
    return f"\nNothing is done yet: write “import apply” to do it.{rest}"


def _mark(found: Import) -> str:
    """What tells one dry run from another."""
    return hashlib.sha256(repr(found.changes).encode()).hexdigest()[:16]


def _key(user: UserId) -> str:
    return f"import {user}"


def _run(answer: Callable[[Asked], Awaitable[str]]) -> Callable[[Commands, Asked], Awaitable[str]]:
    async def run(_commands: Commands, asked: Asked) -> str:
        return await answer(asked)

    return run


def _command(asked: Asked) -> str:
    body = asked.event.content.get("body")
    return body[:500] if isinstance(body, str) else ""


def _requoted(word: str) -> str:
    return f'"{word}"' if " " in word else word


def _people(
    desk: Desk, words: Sequence[str], usage: str, within: Collection[str] | None = None
) -> tuple[Membership, ...]:
    if not words:
        raise Answer(f"Write whom it is about: {usage}.")
    named = members_named(desk.policy, within or desk.organisations, words)
    if named.mistakes:
        raise Answer("\n".join(named.mistakes))
    return named.members


def _book(desk: Desk, word: str) -> tuple[str, str]:
    found = books_named(desk.policy, desk.organisations, word)
    if len(found) == 1:
        return found[0]
    if found:
        raise Answer(f"Several books are called {quoted(word)}: write {' or '.join(map('/'.join, found))}.")
    known = [book for org in desk.organisations for book in desk.policy.organisations[org].books]
    raise Answer(f"There is no contact book {quoted(word)}{instead(word, known)}")


def _only(desk: Desk, usage: str) -> str:
    """The organisation that is meant where none is named."""
    if len(desk.organisations) > 1:
        raise Answer(f"You administer {' and '.join(desk.organisations)}: write which one, {usage}.")
    return next(iter(desk.organisations))


def _split(words: Sequence[str], marks: Sequence[str]) -> list[list[str]] | None:
    """The words before, between and behind the marks, which stand in this order."""
    parts: list[list[str]] = []
    rest = list(words)
    for mark in marks:
        if mark not in rest:
            return None
        place = rest.index(mark)
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
            yield f"- {book.identifier}: {book.name}, {staff} staff, {len(here) - staff} clients"
        if not organisation.books:
            yield "- no contact books yet"


def _shown_book(policy: Policy, book: Book) -> Iterator[str]:
    yield f"{book.identifier}: {book.name}"
    if book.description:
        yield book.description
    if not book.clients_see_each_other:
        yield "Clients do not see each other in it."
    for member in sorted(map(policy.people.__getitem__, book.members), key=lambda one: (one.role, one.name.casefold())):
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
