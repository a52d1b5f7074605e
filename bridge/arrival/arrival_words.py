"""The words about people who arrive: `invite`, `resend`, `revoke` of administrators, `accept` of all."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bridge.arrival.arrivals import Arrivals
from bridge.arrival.bounce_watch import BounceWatch
from bridge.arrival.foresight import foreseen
from bridge.arrival.invitation import LONGEST_NOTE
from bridge.arrival.ledger import Ledger
from bridge.arrival.letter import CannotDraw, Letter, letters_pdf
from bridge.arrival.logo import logo_of
from bridge.arrival.terms import TermsKept
from bridge.commands import Answer, Asked, Commands, Word
from bridge.office import Act, Desk, Office, not_administered, only
from bridge.policy_file import PolicySource
from bridge.store import Store
from policy.administered import books_named, members_named
from policy.amend import forbidden
from policy.change import AddPerson, Change, SetField, organisation_of
from policy.enrol import EMAIL, IDENTIFIER, MOBILE
from policy.mistake import instead, quoted
from policy.model import Membership, PersonId, Policy, UserId
from policy.naming import tokens

INVITE = (
    "invite [staff|client] NAME E-MAIL [MOBILE] [in BOOK…] [as IDENTIFIER] [title “JOB TITLE”] [note TEXT] "
    "| invite letter PERSON…|BOOK"
)
RESEND = "resend PERSON… | resend PERSON E-MAIL | resend BOOK"
MOST_LETTERS = 500
MOST_NAMED = 20
"""As many are named in an answer; more are counted."""

_NOTE = re.compile(r'"[^"]*"|“[^”]*”|«[^»]*»|(?:^|\s)note:?\s+(.*)\Z', re.DOTALL | re.IGNORECASE)
"""The word `note`, but not in quotation marks: a job title may hold it."""
_MARKS = ("in", "as", "title", "of")


class FileCarrier(Protocol):
    """Whoever takes files to direct chats."""

    async def send(
        self, user: UserId, data: bytes, *, name: str, mimetype: str, about: str, organisation: str
    ) -> None: ...


@dataclass
class _Newcomer:
    """Somebody to be invited, as an administrator typed it."""

    name: list[str] = field(default_factory=list)
    role: str = "client"
    email: str = ""
    mobile: str = ""
    books: list[str] = field(default_factory=list)
    identifier: str = ""
    title: str = ""
    organisation: str = ""
    note: str = ""


class ArrivalWords:
    """Does what administrators say about people who arrive."""

    def __init__(
        self,
        *,
        source: PolicySource,
        store: Store,
        office: Office,
        carrier: FileCarrier,
        arrivals: Arrivals,
        ledger: Ledger,
        terms: TermsKept,
        bounces: BounceWatch,
    ) -> None:
        self._source = source
        self._store = store
        self._office = office
        self._carrier = carrier
        self._arrivals = arrivals
        self._ledger = ledger
        self._terms = terms
        self._bounces = bounces

    def words(self, others: Mapping[str, Word]) -> dict[str, Word]:
        """The table of words; `status` of the others is followed by what invitations need."""
        of_admins: dict[str, tuple[str, str, Callable[[Asked], Awaitable[str]]]] = {
            "invite": (INVITE, "add somebody and mail the invitation, or get it as letters", self.invite),
            "resend": (RESEND, "a fresh invitation, to a corrected address", self.resend),
            "revoke": ("revoke PERSON…", "take back an invitation", self.revoke),
        }
        words = {name: Word(usage, does, _run(run), admins=True) for name, (usage, does, run) in of_admins.items()}
        words["accept"] = Word("accept", "accept new terms of your organisation", _run(self.accept))
        if "status" in others:
            words["status"] = self._with_invitations(others["status"])
        return words

    def _with_invitations(self, status: Word) -> Word:
        async def run(commands: Commands, asked: Asked) -> str:
            organisations = dict.fromkeys(member.organisation for member in asked.memberships if member.admin)
            before = await status.run(commands, asked)
            ahead = foreseen(self._source.policy, self._source.path.parent, organisations)
            return "\n".join([
                before,
                *(f"- {line}." for line in ahead),
                *self._arrivals.status_lines(organisations),
                *self._bounces.status_lines(),
            ])  # fmt: skip

        return Word(status.usage, status.does, run, status.in_chat, status.staff, status.admins)

    # Invitations

    async def invite(self, asked: Asked) -> str:
        """Somebody new, whose row is `invited`; the mail follows from the row."""
        words = tokens(asked.rest)
        desk = await self._office.desk(asked, "people")
        if words[:1] == ["letter"]:
            return await self._letters(desk, words[1:])
        newcomer = _newcomer(asked.rest)
        organisation = newcomer.organisation or only(desk, "“… of ORGANISATION”")
        if organisation not in desk.organisations:
            await self._office.refuse(asked, (not_administered(organisation),))
        person = PersonId(f"{organisation}/{newcomer.identifier or _identifier(desk.policy, organisation, newcomer)}")
        if person in desk.policy.people:
            raise Answer(f"There is somebody called {person} already: choose another one with “as IDENTIFIER”.")
        books = tuple(_book(desk, organisation, book) for book in newcomer.books)
        change = AddPerson(person, tuple(_fields(newcomer)), books)
        name, address = " ".join(newcomer.name), newcomer.email
        says = (
            f"{name} ({person}) is invited, by mail to {address}."
            if not self._arrivals.missing()
            else (f"{name} ({person}) is in the policy as invited. {self._arrivals.missing()}")
        )
        # Kept first: the mail may go out as soon as the row is written.
        await self._ledger.keep_note(person, newcomer.note)
        return await self._office.do(desk, Act(f"invite {person}", [change], says), "people")

    async def resend(self, asked: Asked) -> str:
        """INV-6: the old link is dead, and a corrected address is written into the policy."""
        words = tokens(asked.rest)
        address = words.pop() if words and EMAIL.fullmatch(words[-1]) and not words[-1].startswith("@") else ""
        desk = await self._office.desk(asked, "people")
        people = self._addressees(desk, words, f"“{RESEND}”")
        if address and len(people) > 1:
            raise Answer("One address is for one person: “resend PERSON E-MAIL”.")
        for member in people:
            await self._require_rights(desk, SetField(member.id, "status", "invited"))
        if address and address != people[0].email:
            done = Act(f"resend {people[0].id}", [SetField(people[0].id, "email", address)], "")
            await self._office.do(desk, done, "people")
            people = (people[0]._replace(email=address),)
        for member in people:
            await self._audit(desk, f"resend {member.id}", email=member.email)
            await self._arrivals.resend(member)
        named = ", ".join(f"{member.name} ({member.email})" for member in people[:MOST_NAMED])
        sent = named if len(people) <= MOST_NAMED else f"{len(people)} people"
        return self._arrivals.missing() or f"A fresh invitation goes out to {sent}. Earlier links no longer work."

    async def revoke(self, asked: Asked) -> str:
        """INV-6: the links are dead, the row has left, and the address is free for another invitation."""
        desk = await self._office.desk(asked, "people")
        people = _invited(desk, tokens(asked.rest), "“revoke PERSON”")
        changes: list[Change] = []
        for member in people:
            changes += [SetField(member.id, "status", "left"), SetField(member.id, "email", "")]
        names = ", ".join(member.name for member in people)
        ids = " ".join(member.id for member in people)
        says = f"The invitation of {names} is revoked; to invite them again, choose another identifier."
        answer = await self._office.do(desk, Act(f"revoke {ids}", changes, says), "people")
        for member in people:
            await self._arrivals.revoke(member.id)
        return answer

    async def _require_rights(self, desk: Desk, as_if: SetField) -> None:
        """ROLE-3 and ROLE-4, where nothing in the files changes but something is done that comes to the same."""
        by = desk.organisations[organisation_of(as_if)]
        if objection := forbidden(desk.policy, by, as_if):
            await self._office.refuse(desk.asked, (objection,))

    async def _audit(self, desk: Desk, what: str, **details: Any) -> None:
        event = desk.asked.event
        where = {"event": event.event_id, "room": event.room_id}
        await self._store.audit(desk.asked.user, what, {**details, **where}, time=desk.asked.now)

    async def _letters(self, desk: Desk, words: Sequence[str]) -> str:
        people = self._addressees(desk, words, "“invite letter PERSON…” or “invite letter BOOK”")
        if missing := self._arrivals.missing_page():
            raise Answer(missing)
        organisations = list(dict.fromkeys(member.organisation for member in people))
        if len(organisations) > 1 or len(people) > MOST_LETTERS:
            raise Answer(f"Letters are made for one organisation at a time, {MOST_LETTERS} at most.")
        organisation = desk.policy.organisations[organisations[0]]
        letters, links, declined = [], [], []
        for member in people:
            # Whoever holds a letter can accept it, as if the mail had gone to an address of theirs.
            await self._require_rights(desk, SetField(member.id, "email", ""))
            one = self._ledger.get(member.id)
            if one is None:
                raise Answer(f"{member.name} has just been invited: write it again in a moment.")
            if one.state == "declined":
                declined.append(member.name)
                continue
            link = self._arrivals.printed_link(one)
            links.append(link)
            letters.append(Letter(member, link.address, link.until, one.note))
        but = f" Without {', '.join(declined)}, who declined: “resend” offers it again." if declined else ""
        if not letters:
            raise Answer(f"There is no letter to print.{but}")
        logo = logo_of(organisation, self._source.path.parent)
        try:
            pdf = await asyncio.to_thread(letters_pdf, organisation, letters, logo, desk.asked.now)
        except CannotDraw as reason:
            raise Answer(str(reason)) from reason
        # Only now: had they not been drawn, the links sent before would be all that people have.
        for link in links:
            await self._arrivals.adopt(link)
        await self._audit(desk, "letters", people=[letter.member.id for letter in letters])
        about = f"letters {desk.asked.event.event_id}"
        name = f"invitations-{organisation.identifier}.pdf"
        await self._carrier.send(
            desk.asked.user,
            pdf,
            name=name,
            mimetype="application/pdf",
            about=about,
            organisation=organisation.identifier,
        )
        number = "is one letter" if len(letters) == 1 else f"are {len(letters)} letters"
        return (
            f"Here {number} to print. Each holds a secret link: delete the file when they are printed. "
            f"Earlier links no longer work, and no mail follows until “resend”.{but}"
        )

    def _addressees(self, desk: Desk, words: Sequence[str], usage: str) -> tuple[Membership, ...]:
        """Everybody invited whom the words name, or who is in the book they name."""
        if len(words) == 1 and (books := books_named(desk.policy, desk.organisations, words[0])):
            if len(books) > 1:
                raise Answer(f"Write which one: {' or '.join('/'.join(each) for each in books)}.")
            organisation, book = books[0]
            members = desk.policy.organisations[organisation].books[book].members
            people = (desk.policy.people[person] for person in sorted(members))
            found = tuple(member for member in people if member.status == "invited")
            if not found:
                raise Answer(f"Nobody in the contact book {book} is invited and has yet to accept.")
            return found
        return _invited(desk, words, usage)

    # Terms

    async def accept(self, asked: Asked) -> str:
        """TRM-1: the terms in force, the platform's and those of every organisation in which they are owed."""
        return await self._terms.accept(asked.user, asked.memberships)


def _run(answer: Callable[[Asked], Awaitable[str]]) -> Callable[[Commands, Asked], Awaitable[str]]:
    async def run(_commands: Commands, asked: Asked) -> str:
        return await answer(asked)

    return run


def _newcomer(text: str) -> _Newcomer:
    """What an administrator typed; raises `Answer` with the usage where it cannot be understood."""
    found = next((each for each in _NOTE.finditer(text) if each[1] is not None), None)
    words = tokens(text[: found.start()] if found else text)
    one = _Newcomer(note=found[1].strip() if found else "")
    if len(one.note) > LONGEST_NOTE:
        raise Answer(f"The note has {len(one.note)} characters, {LONGEST_NOTE} at most (INV-10): make it shorter.")
    if words and words[0] in ("staff", "client"):
        one.role = words.pop(0)
    mark = ""
    for word in words:
        if word in _MARKS and one.email:
            mark = word
        elif mark:
            _put(one, mark, word)
        elif not one.email and EMAIL.fullmatch(word):
            one.email = word
        elif one.email and word.startswith("+"):
            one.mobile = f"{one.mobile} {word}".strip()
        elif one.mobile and not one.books and re.fullmatch("[0-9()./-]+", word):
            one.mobile += f" {word}"
        elif not one.email:
            one.name.append(word)
        else:
            raise Answer(f"I do not understand {quoted(word)}. Write “{INVITE}”.")
    return _complete(one)


def _put(one: _Newcomer, mark: str, word: str) -> None:
    if mark == "in":
        one.books.append(word)
    elif mark == "as":
        one.identifier = word
    elif mark == "of":
        one.organisation = word
    else:
        one.title = f"{one.title} {word}".strip()


def _complete(one: _Newcomer) -> _Newcomer:
    if not one.name:
        raise Answer(f"Write whom to invite, name first: “{INVITE}”.")
    if not one.email:
        raise Answer(f"I see no e-mail address in that. Write “{INVITE}”.")
    if one.mobile and not MOBILE.fullmatch(re.sub(r"[ ()./-]", "", one.mobile)):
        raise Answer(f"{quoted(one.mobile)} is not a phone number like +44 7700 900010 (INV-9).")
    if one.identifier and not IDENTIFIER.fullmatch(one.identifier):
        raise Answer(f"{quoted(one.identifier)} cannot be an identifier: use a-z 0-9 - . _ only.")
    return one


def _fields(one: _Newcomer) -> list[tuple[str, str]]:
    words = [word for part in one.name for word in part.split()]
    names = {"first_name": " ".join(words[:-1]) or words[0], "last_name": words[-1] if len(words) > 1 else ""}
    fields: dict[str, Any] = {
        **names, "role": one.role, "job_title": one.title, "email": one.email, "mobile": one.mobile,
        "status": "invited",
    }  # fmt: skip
    return [(name, value) for name, value in fields.items() if value]


def _identifier(policy: Policy, organisation: str, one: _Newcomer) -> str:
    """`p.chan` from Pat Chan, else what stands before the @ of the address; with a number where it is taken."""
    words = [_latin(word) for part in one.name for word in part.split()]
    words = [word for word in words if word]
    made = f"{words[0][0]}.{words[-1]}" if len(words) > 1 else "".join(words)
    made = made or re.sub("[^a-z0-9._-]", "", one.email.partition("@")[0].lower()) or "person"
    taken = {member.identifier for member in policy.people.values() if member.organisation == organisation}
    numbers = (f"{made}{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (made, *numbers) if name not in taken)


def _latin(word: str) -> str:
    plain = unicodedata.normalize("NFKD", word.casefold()).encode("ascii", "ignore").decode()
    return re.sub("[^a-z0-9]", "", plain)


def _book(desk: Desk, organisation: str, word: str) -> str:
    found = books_named(desk.policy, (organisation,), word)
    if len(found) == 1:
        return found[0][1]
    known = list(desk.policy.organisations[organisation].books)
    raise Answer(f"There is no contact book {quoted(word)}{instead(word, known)}")


def _invited(desk: Desk, words: Sequence[str], usage: str) -> tuple[Membership, ...]:
    if not words:
        raise Answer(f"Write whom it is about: {usage}.")
    named = members_named(desk.policy, desk.organisations, words)
    if named.mistakes:
        raise Answer("\n".join(named.mistakes))
    for member in named.members:
        if member.status == "left":
            raise Answer(f"{member.name} has left for good: invite the person anew under another identifier.")
        if member.status != "invited":
            raise Answer(f"{member.name} is {member.status}: this is for people who have yet to accept.")
    return named.members
