"""The policy file and the spreadsheets beside it, from text to `Policy`, or all mistakes at once.

Nothing here opens a file: the text comes in, and `read` hands over the contents of a spreadsheet named in it. Loading
goes in steps of about a millisecond, so that a homeserver can serve its people while a large network is being read.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Collection, Generator, Iterator
from collections.abc import Mapping as Mapping_
from dataclasses import replace
from datetime import UTC, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from policy.csv_people import sheet_from_csv
from policy.enrol import IDENTIFIER, ROLES, Enrolled, Enrolment, Register, day_after, day_begins, enrol, enrol_again
from policy.mistake import Mistakes, Notebook, Place, quoted
from policy.model import (
    MAX_PARTICIPANTS,
    Book,
    Cover,
    Expectation,
    Invitations,
    Membership,
    Network,
    Organisation,
    PersonId,
    Policy,
    Requirement,
    Role,
    Terms,
    Welcome,
)
from policy.sheet import Sheet
from policy.yaml_nodes import TRUTH, WHOLE, Mapping, Node, Reading, Scalar, Sequence, compose
from policy.yaml_people import YamlSheet, sheet_from_yaml

Read = Callable[[str], bytes | str]
"""The contents of a file beside the policy; raises OSError or LookupError where there is none."""

ROOT = ("networks", "organisations", "tests")
ORGANISATION = (
    *(
        "name",
        "network",
        "max_participants",
        "clients_see_each_other",
        "clients_may_export",
        "mobile",
        "language",
        "logo",
    ),
    *("welcome", "terms", "invitations", "default_book", "timezone", "people", "books", "covers"),
)
NETWORK = ("name",)
WELCOME = ("text", "link")
TERMS = ("version", "link")
INVITATIONS = ("link_days", "mail_days", "staff_domains")
BOOK = ("name", "description", "clients_see_each_other", "members")
COVER = ("absent", "stand_in", "from", "until")
EXPECTATION = ("name", "ask", "allowed", "because")
REQUIREMENTS: dict[str, Requirement] = {"required": "required", "optional": "optional", "asked": "asked"}
LANGUAGE = re.compile(r"[a-zA-Z]{2,3}(-[A-Za-z0-9]{2,8})*", re.ASCII)
DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+", re.ASCII)
RULE = re.compile(r"[A-Z]+-[0-9]+", re.ASCII)
LONGEST_TEXT, LONGEST_LINK = 5000, 2000
LEAST_PARTICIPANTS = 2
LINK_DAYS, MAIL_DAYS = (1, 365), (0, 30)
LINK = re.compile(r"https?://[^\s\"<>]+", re.ASCII)

STEP = 50
"""Books between two steps: about a millisecond."""

LET_GO = 500
"""People between two steps."""


def parse(
    text: str | bytes, read: Read, *, name: str = "policy.yaml", before: Policy | None = None
) -> Policy | Mistakes:
    """The policy that the text and its spreadsheets describe, or all their mistakes; raises nothing.

    `name` is what the file is called in mistakes; `before` is the last good policy, against which nobody may have
    become staff or client who was the other (ROLE-6).
    """
    steps = parse_steps(text, read, name=name, before=before)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Policy | Mistakes = end.value
            return result


def parse_steps(
    text: str | bytes, read: Read, *, name: str = "policy.yaml", before: Policy | None = None
) -> Generator[None, None, Policy | Mistakes]:
    """Like `parse`, yielding about every millisecond; the result is what the generator returns."""
    # The collector would walk over everything read so far again and again, for a tenth of a second each time in a large
    # network, in which the interpreter does nothing else; what is read here holds no cycles and needs no collector.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return (yield from _steps(text, read, name, before))
    finally:
        if collecting:
            gc.enable()


def _steps(text: str | bytes, read: Read, name: str, before: Policy | None) -> Generator[None, None, Policy | Mistakes]:
    notes = Notebook(name)
    decoded = _decoded(text, name, notes)
    root = None if decoded is None else (yield from compose(decoded, name, notes))
    if root is None:
        return notes.sorted()
    parsing = _Parsing(Reading(name, notes), read, before)
    policy = yield from parsing.policy(root)
    if mistakes := notes.sorted():
        yield from _let_go(parsing.register)
        return mistakes
    policy.memo[SPREADSHEETS] = parsing.spreadsheets
    return policy


def _let_go(register: Register) -> Generator[None, None, None]:
    """Nobody will use it: thrown away all at once, a large network would take a tenth of a second."""
    for kept in (register.accounts, register.people):
        while kept:
            for _ in range(min(len(kept), LET_GO)):
                kept.popitem()
            yield


def changed_roles(old: Policy, new: Policy) -> tuple[Membership, ...]:
    """The memberships whose role is another than it was (ROLE-6), as they are in the new policy."""
    return tuple(
        member
        for person, member in new.people.items()
        if (was := old.people.get(person)) is not None and was.role != member.role
    )


def _decoded(text: str | bytes, name: str, notes: Notebook) -> str | None:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        column = error.start - text.rfind(b"\n", 0, error.start)
        notes.add(Place(name, line, column), "this is not UTF-8 text: save the file in UTF-8")
    return None


Listed = dict[str, list[tuple[Scalar, str]]]
"""Identifiers that books list among their `members`: each entry, with its book."""


class Spreadsheet(NamedTuple):
    """A spreadsheet of a good policy, as it was read."""

    path: str
    data: bytes
    to: Enrolment
    """What its rows were checked against."""
    sheet: Sheet
    """Of its columns the identifiers."""
    enrolled: Enrolled


Spreadsheets = dict[str, Spreadsheet]
"""By organisation."""

SPREADSHEETS = "spreadsheets"
"""Where a policy keeps them."""


class _Parsing:
    """One reading of a policy file."""

    def __init__(self, reading: Reading, read: Read, before: Policy | None) -> None:
        self.reading, self.notes, self.read, self.before = reading, reading.notes, read, before
        self.register = Register()
        self.spreadsheets: Spreadsheets = {}
        self.networks: dict[str, Network] = {}

    def policy(self, root: Node) -> Generator[None, None, Policy]:
        fields = self.reading.fields(root, "the policy", ROOT)
        if isinstance(root, Mapping) and "organisations" not in fields:
            self.reading.note(root, "there are no organisations: write organisations: {} if there are to be none")
        self.networks = {
            key.value: self._network(key, node) for key, node in self._named(fields.get("networks"), "networks")
        }
        organisations: dict[str, Organisation] = {}
        for rank, (key, node) in enumerate(self._named(fields.get("organisations"), "organisations")):
            organisations[key.value] = yield from self._organisation(key, node, rank)
        tests = tuple(self._expectation(node) for node in self.reading.items(fields.get("tests"), "tests"))
        return Policy(
            networks=self.networks,
            organisations=organisations,
            people=self.register.people,
            accounts=self.register.accounts,
            stand_ins=_by_stand_in(organisations.values()),
            closed_books=frozenset(
                (book.organisation, book.identifier)
                for organisation in organisations.values()
                for book in organisation.books.values()
                if not book.clients_see_each_other
            ),
            tests=tests,
        )

    def _named(self, node: Node | None, what: str) -> Iterator[tuple[Scalar, Node]]:
        """A mapping from identifiers."""
        for key, value in self.reading.pairs(node, what).items():
            if not IDENTIFIER.fullmatch(key.value):
                self.reading.note(key, f"{quoted(key.value)} is not an identifier: use a-z 0-9 - . _ only")
            yield key, value

    def _name(self, key: Scalar, fields: dict[str, Node], what: str) -> str:
        name = self.reading.text(fields.get("name"), "name")
        if not name and isinstance(fields.get("name", key), Scalar):
            self.reading.note(fields.get("name", key), f"{what} has no name")
        return name

    def _network(self, key: Scalar, node: Node) -> Network:
        what = f"network {key.value}"
        return Network(key.value, self._name(key, self.reading.fields(node, what, NETWORK), what))

    def _organisation(self, key: Scalar, node: Node, rank: int) -> Generator[None, None, Organisation]:
        read, org, what = self.reading, key.value, f"organisation {key.value}"
        fields = read.fields(node, what, ORGANISATION)
        zone_name, zone = self._zone(fields.get("timezone"))
        clients_see = read.truth(fields.get("clients_see_each_other"), "clients_see_each_other", True)
        members: Listed = {}
        keys = {key.value: key for key, _ in self._named(fields.get("books"), f"books of {org}")}
        books = yield from self._books(org, fields.get("books"), clients_see, members)
        mobile = self._mobile(fields.get("mobile"))
        invitations = self._invitations(fields.get("invitations"))
        yield
        to = Enrolment(org, books, _books_of_each(members), zone, mobile, invitations.staff_domains)
        sheet, enrolled = yield from self._people(key, fields.get("people"), to)
        staffed = enrolled.staffed | self._meant_somebody(org, sheet, members)
        if sheet.whole:
            self._rules_of_people(key, enrolled, staffed, keys)
        books = yield from _filled(books, enrolled)
        return Organisation(
            identifier=org,
            name=self._name(key, fields, what),
            network=self._one_of(fields.get("network"), "network", self.networks),
            max_participants=read.whole(
                fields.get("max_participants"),
                "max_participants",
                LEAST_PARTICIPANTS,
                MAX_PARTICIPANTS,
                MAX_PARTICIPANTS,
            ),
            clients_see_each_other=clients_see,
            clients_may_export=read.truth(fields.get("clients_may_export"), "clients_may_export", False),
            mobile_staff=mobile["staff"],
            mobile_client=mobile["client"],
            language=self._shaped(fields.get("language"), "language", LANGUAGE, "a language code like en or de-AT")
            or "en",
            logo=self._logo(fields.get("logo")),
            welcome=self._welcome(fields.get("welcome")),
            terms=self._terms(fields.get("terms")),
            invitations=invitations,
            default_book=self._one_of(fields.get("default_book"), "book", books) or "",
            timezone=zone_name,
            books=books,
            covers=tuple(self._covers(org, fields.get("covers"), sheet, zone)),
            rank=rank,
        )

    def _one_of(self, node: Node | None, what: str, known: Collection[str]) -> str | None:
        """The name of something that stands elsewhere in the file."""
        name = self.reading.text(node, what)
        if node is not None and isinstance(node, Scalar) and name not in known:
            self.notes.unknown(self.reading.place(node), what, name, known)
        return name or None

    def _shaped(self, node: Node | None, what: str, shape: re.Pattern[str], right: str, longest: int = 500) -> str:
        """A text of a certain form."""
        text = self.reading.text(node, what, longest)
        if node is not None and isinstance(node, Scalar) and not shape.fullmatch(text):
            self.reading.note(node, f"{what} {quoted(text)} is not {right}")
        return text

    def _zone(self, node: Node | None) -> tuple[str, tzinfo]:
        name = self.reading.text(node, "timezone") or "UTC"
        zone = _zone_named(name)
        if zone is None and node is not None:
            self._unknown_zone(node, name)
        return name, zone or UTC

    def _unknown_zone(self, node: Node, name: str) -> None:
        """Many write the city alone."""
        zones = available_timezones() - {"localtime"}
        city = "/" + name.strip().replace(" ", "_").casefold()
        if meant := next((zone for zone in sorted(zones) if zone.casefold().endswith(city)), None):
            said = f"unknown timezone {quoted(name)} — did you mean {quoted(meant)}?"
        else:
            said = self.notes.unknown_word("timezone", name, zones)
        self.reading.note(node, said if "—" in said else f"{said}: write it like Europe/London")

    def _mobile(self, node: Node | None) -> dict[Role, Requirement]:
        """INV-8: one word for all, or one for staff and one for clients."""
        if isinstance(node, Mapping):
            fields = self.reading.fields(node, "mobile", tuple(ROLES))
        else:
            fields = {} if node is None else {"staff": node, "client": node}
        word = self.reading.word
        return {
            "staff": word(fields.get("staff"), "mobile", REQUIREMENTS, "required"),
            "client": word(fields.get("client"), "mobile", REQUIREMENTS, "required"),
        }

    def _logo(self, node: Node | None) -> str:
        logo = self.reading.text(node, "logo")
        if node is not None and logo:
            self._beside(node, logo)
        return logo

    def _beside(self, node: Node, path: str) -> bool:
        """Files lie beside the policy or below, wherever it is put."""
        if path.startswith("/") or ".." in path.split("/") or any(character in path for character in "\\:\0"):
            self.reading.note(node, f"{quoted(path)} leads away from the policy: files lie beside it")
            return False
        return True

    def _welcome(self, node: Node | None) -> Welcome | None:
        if node is None:
            return None
        fields = self.reading.fields(node, "welcome", WELCOME)
        text = self.reading.text(fields.get("text"), "text", LONGEST_TEXT, lines=True)
        if isinstance(node, Mapping) and "text" not in fields:
            self.reading.note(node, "welcome has no text")
        return Welcome(text, self._link(fields))

    def _terms(self, node: Node | None) -> Terms | None:
        if node is None:
            return None
        fields = self.reading.fields(node, "terms", TERMS)
        for needed in TERMS:
            if isinstance(node, Mapping) and needed not in fields:
                self.reading.note(node, f"terms have no {needed}")
        return Terms(self.reading.text(fields.get("version"), "version"), self._link(fields))

    def _link(self, fields: dict[str, Node]) -> str:
        return self._shaped(fields.get("link"), "link", LINK, "a link that begins with https://", LONGEST_LINK)

    def _invitations(self, node: Node | None) -> Invitations:
        """INV-5: a link lives a week unless set, mails go out for thirty days at most."""
        fields = self.reading.fields(node, "invitations", INVITATIONS)
        domains = self.reading.items(fields.get("staff_domains"), "staff_domains")
        usual = Invitations()
        return Invitations(
            link_days=self.reading.whole(fields.get("link_days"), "link_days", *LINK_DAYS, usual.link_days),
            mail_days=self.reading.whole(fields.get("mail_days"), "mail_days", *MAIL_DAYS, usual.mail_days),
            staff_domains=tuple(
                self._shaped(domain, "domain", DOMAIN, "a domain in small letters, like hillside.example")
                for domain in domains
            ),
        )

    def _books(
        self, org: str, node: Node | None, clients_see: bool, members: Listed
    ) -> Generator[None, None, dict[str, Book]]:
        books: dict[str, Book] = {}
        for number, (key, value) in enumerate(self.reading.pairs(node, f"books of {org}").items()):
            if number % STEP == 0:
                yield
            what = f"book {key.value}"
            fields = self.reading.fields(value, what, BOOK)
            self._list_members(fields.get("members"), key.value, members)
            books[key.value] = Book(
                organisation=org,
                identifier=key.value,
                name=self._name(key, fields, what),
                description=self.reading.text(fields.get("description"), "description", LONGEST_TEXT, lines=True),
                clients_see_each_other=self.reading.truth(
                    fields.get("clients_see_each_other"), "clients_see_each_other", clients_see
                ),
                members=frozenset(),
            )
        return books

    def _list_members(self, node: Node | None, book: str, members: Listed) -> None:
        seen: set[str] = set()
        for item in self.reading.items(node, f"members of {book}"):
            if not isinstance(item, Scalar):
                self.reading.note(item, "a member is an identifier, like p.chan")
            elif item.value in seen:
                self.reading.note(item, f"{quoted(item.value)} stands in book {book} twice (IMP-5)")
            else:
                seen.add(item.value)
                members.setdefault(item.value, []).append((item, book))

    def _people(self, key: Scalar, node: Node | None, to: Enrolment) -> Generator[None, None, tuple[Sheet, Enrolled]]:
        """The organisation's people, put into the register."""
        if isinstance(node, Scalar):
            path = node.value.strip()
            data = self._spreadsheet(node, path)
            if data is not None:
                yield
                return (yield from self._people_of(path, data, to))
            sheet: Sheet = YamlSheet(self.reading.file, whole=False, torn=True)
        elif node is None:
            sheet = YamlSheet(self.reading.file)
        else:
            sheet = yield from sheet_from_yaml(node, key.value, self.reading)
        return sheet, (yield from enrol(sheet, to, self.register, self.notes, self.before))

    def _spreadsheet(self, node: Scalar, path: str) -> bytes | None:
        if not self._beside(node, path):
            return None
        try:
            data = self.read(path)
        except (OSError, LookupError, ValueError) as error:
            reason = None if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None)
            reason = reason or "there is no such file beside the policy"
            self.reading.note(node, f"cannot read {quoted(path)}: {reason}")
            return None
        return data.encode() if isinstance(data, str) else data

    def _people_of(self, path: str, data: bytes, to: Enrolment) -> Generator[None, None, tuple[Sheet, Enrolled]]:
        """Those of a spreadsheet; one that says what it said in the last good policy is not read again."""
        before: Spreadsheets = self.before.memo.get(SPREADSHEETS, {}) if self.before else {}
        known = before.get(to.organisation)
        if known is not None and (known.path, known.data, known.to) == (path, data, to):
            yield from enrol_again(known.enrolled.everybody, known.sheet, to, self.register, self.notes)
        else:
            sheet = yield from sheet_from_csv(path, data, self.notes)
            enrolled = yield from enrol(sheet, to, self.register, self.notes, self.before)
            columns = {name: column for name, column in sheet.columns.items() if name == "identifier"}
            known = Spreadsheet(path, data, to, replace(sheet, columns=columns), enrolled)
        self.spreadsheets[to.organisation] = known
        return known.sheet, known.enrolled

    def _meant_somebody(self, org: str, sheet: Sheet, members: Listed) -> set[str]:
        """The books that list somebody unknown: staff may have been meant, so they are not called unstaffed."""
        people, prefix = self.register.people, f"{org}/"
        unknown = [
            each for each in members if prefix + each not in people and each not in sheet.lost and not sheet.torn
        ]
        for identifier in unknown:
            for node, _ in members[identifier]:
                self._unknown_person(node, identifier, sheet)
        return {book for identifier in unknown for _, book in members[identifier]}

    def _unknown_person(self, node: Node, word: str, sheet: Sheet) -> None:
        """Nobody has this identifier: two may have run together, or a name stand in its place."""
        known = [identifier for identifier in sheet.columns.get("identifier", []) if identifier]
        if len(parts := word.split()) > 1 and set(parts) <= set(known):
            self.reading.note(node, f"{quoted(word)} is {len(parts)} people: put a comma between them")
        else:
            self.notes.unknown(self.reading.place(node), "person", word, known)

    def _rules_of_people(
        self, key: Scalar, enrolled: Enrolled, staffed: Collection[str], books: Mapping_[str, Scalar]
    ) -> None:
        """ROLE-2, BOOK-4 and BOOK-11: status counts, not dates, so that no day makes a file a mistake."""
        if not enrolled.system_admin:
            self.reading.note(
                key,
                f"organisation {key.value} has no active system admin: give one of its staff admin: system (ROLE-2)",
            )
        people = self.register.people
        for book in books.keys() - staffed:
            members = list(map(people.__getitem__, enrolled.members.get(book, ())))
            if any(member.role == "client" and member.status != "left" for member in members):
                invited = sorted(one.name for one in members if one.role == "staff" and one.status == "invited")
                waiting = f" ({' or '.join(invited)} has to accept the invitation)" if invited else ""
                text = f"book {book} has clients but no active staff{waiting}: add one of the staff (BOOK-4, BOOK-11)"
                self.reading.note(books[book], text)

    def _covers(self, org: str, node: Node | None, sheet: Sheet, zone: tzinfo) -> Iterator[Cover]:
        """Covers that can be; the others are noted and left out."""
        found: list[Cover] = []
        for item in self.reading.items(node, "covers"):
            cover = self._cover(org, item, sheet, zone)
            if cover is None:
                continue
            for other in found:
                if other[:2] == cover[:2] and other.first_day <= cover.last_day and cover.first_day <= other.last_day:
                    days = f"{other.first_day} to {other.last_day}"
                    text = f"{cover.stand_in} covers for {cover.absent} from {days} already: choose other days"
                    self.reading.note(item, f"{text}, or change those of the other cover")
            found.append(cover)
        return iter(found)

    def _cover(self, org: str, node: Node, sheet: Sheet, zone: tzinfo) -> Cover | None:
        before = len(self.notes)
        fields = self.reading.fields(node, "a cover", COVER)
        for needed in COVER:
            if needed not in fields and isinstance(node, Mapping):
                self.reading.note(node, f"the cover has no {needed}: write absent, stand_in, from and until")
        if not isinstance(node, Mapping):
            return None
        absent, stand_in = (self._covering(org, fields.get(who), sheet) for who in ("absent", "stand_in"))
        first, last = self.reading.day(fields.get("from"), "from"), self.reading.day(fields.get("until"), "until")
        if absent is not None and absent == stand_in:
            self.reading.note(fields["stand_in"], f"{absent} cannot stand in for themselves")
        if first and last and last < first:
            self.reading.note(fields["until"], f"the cover ends on {last}, before it begins on {first}")
        if absent is None or stand_in is None or first is None or last is None or len(self.notes) > before:
            return None
        return Cover(absent, stand_in, first, last, day_begins(first, zone), day_after(last, zone))

    def _covering(self, org: str, node: Node | None, sheet: Sheet) -> PersonId | None:
        """Somebody who covers or is covered: staff, since clients serve nobody."""
        identifier = self.reading.text(node, "person")
        person = PersonId(f"{org}/{identifier}")
        member = self.register.people.get(person)
        if node is None or not isinstance(node, Scalar):
            return None
        if member is None:
            if not sheet.torn and identifier not in sheet.lost:
                self._unknown_person(node, identifier, sheet)
            return None
        if member.role == "client":
            self.reading.note(node, f"{person} is a client: only staff are covered, and only by staff")
        return person

    def _expectation(self, node: Node) -> Expectation:
        fields = self.reading.fields(node, "a test", EXPECTATION)
        for needed in ("name", "ask", "allowed"):
            if needed not in fields and isinstance(node, Mapping):
                self.reading.note(node, f"the test has no {needed}")
        ask = fields.get("ask")
        if ask is not None and not isinstance(ask, Mapping):
            self.reading.note(ask, "ask has to be a mapping, like {do: see, who: hillside/head, whom: hillside/p.chan}")
        rules = fields.get("because")
        return Expectation(
            name=self.reading.text(fields.get("name"), "name"),
            ask=self._asked(ask) if isinstance(ask, Mapping) else {},
            allowed=self.reading.truth(fields.get("allowed"), "allowed", False),
            because=None
            if rules is None
            else tuple(
                self._shaped(rule, "rule", RULE, "the id of a rule, like BOOK-8")
                for rule in self.reading.items(rules, "because")
            ),
            where=str(self.reading.place(node)),
        )

    def _asked(self, node: Mapping, depth: int = 0) -> dict[str, Any]:
        """A question as written; whether it is one, `policy.ask` says when it is asked."""
        return {
            key.value: self._answerable(value, key.value, depth)
            for key, value in self.reading.pairs(node, "ask").items()
        }

    def _answerable(self, node: Node, field: str, depth: int) -> Any:
        if isinstance(node, Mapping):
            return (
                self._asked(node, depth + 1)
                if depth < 2
                else self.reading.note(node, "nested too deeply for a question")
            )
        if isinstance(node, Sequence):
            return [self.reading.text(item, field) for item in node.items]
        return _word(node, field)


def _word(node: Scalar, field: str) -> bool | int | str:
    """Typed by the field, not by its looks: a search for 2026 is a search for text."""
    if field in ("staff_only", "draft") and node.value in TRUTH:
        return TRUTH[node.value]
    if field == "limit" and WHOLE.fullmatch(node.value):
        return int(node.value)
    return node.value


def _zone_named(name: str) -> tzinfo | None:
    """UTC needs no table of time zones, which a small machine may not have."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return None


def _books_of_each(members: Listed) -> dict[str, frozenset[str]]:
    """The books that list each identifier; equal sets are one object."""
    shared: dict[frozenset[str], frozenset[str]] = {}
    sets = ((identifier, frozenset(book for _, book in entries)) for identifier, entries in members.items())
    return {identifier: shared.setdefault(books, books) for identifier, books in sets}


def _filled(books: dict[str, Book], enrolled: Enrolled) -> Generator[None, None, dict[str, Book]]:
    """The books with their members."""
    filled: dict[str, Book] = {}
    for number, (name, book) in enumerate(books.items()):
        if number % (STEP * 4) == 0:
            yield
        filled[name] = Book(*book[:5], frozenset(enrolled.members.get(name, ())))
    return filled


def _by_stand_in(organisations: Collection[Organisation]) -> dict[PersonId, tuple[Cover, ...]]:
    stand_ins: dict[PersonId, tuple[Cover, ...]] = {}
    for organisation in organisations:
        for cover in organisation.covers:
            stand_ins[cover.stand_in] = (*stand_ins.get(cover.stand_in, ()), cover)
    return stand_ins
