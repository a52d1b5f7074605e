"""People search: a viewer and words make people, best first, complete for that viewer (DIR-1 to DIR-4, LIST-1).

Whoever may be found stands in one of three kinds of index, built once per policy: the listed staff of a network, the
unlisted staff of an organisation, and its clients. A search asks those that its viewer may look into. Contact lists
that are short are read through instead, long ones are an index behind a condition.

Ranks: the name begins so, words of it begin so, the organisation answers, the words are elsewhere in the name. Equal
ranks stand by folded name, organisation and person.
"""

from __future__ import annotations

import sys
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain, islice
from typing import Any, NamedTuple, Protocol, TypeVar

from policy.decision import Badge, Decision, Found, Objection
from policy.model import Membership, Moment, PersonId, Policy, Role
from policy.question import Search
from policy.reach import books, see
from policy.rules.person import actor_objections

_READ_THROUGH = 1500
"""Contact lists up to this length are read through; behind longer ones the index soon meets enough people."""

_FEW_WORDS = 8
_SOME_WORDS = 500
_SOME_PEOPLE = 1000
"""Up to here hits are gathered and put in order; where there are more, reading the names in order soon meets enough."""

_STEP = 500
"""Things done between two pauses while the index is built: about a millisecond."""

_LAST = chr(sys.maxunicode)
"""Stands behind every letter."""

_LONGEST = 2000
"""Characters; no name and organisation together are that long, so a longer text finds nobody."""

_APART = str.maketrans(dict.fromkeys('-‐‑‒–—―_.,;:/\\|()[]{}"“”„«»·・', " ") | dict.fromkeys("'’‘‛`´ʼʻʹʿʾ", ""))
"""What separates words, and what people leave out when they type: anne-marie is anne marie, o'neill is oneill."""

_TYPED = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ŧ": "t", "ı": "i"}
)
"""Letters that Unicode does not take apart, as people without the key type them."""

T = TypeVar("T")
Steps = Generator[None, None, T]


def search(policy: Policy, question: Search, now: Moment) -> Decision:
    """Whom the viewer finds, at most `limit` of them; nobody is a refusal with DIR-3 (staff) or DIR-2 (client)."""
    viewer = policy.people[question.who]
    if because := tuple(actor_objections(policy, viewer, now)):
        return Decision(False, because, people=())
    text = fold(question.text) if len(question.text) <= _LONGEST else None
    if text == "":
        return Decision(False, (_nothing_asked(viewer),), people=())
    entries = _best(policy, viewer, text, max(question.limit, 1), now) if text else ()
    if not entries:
        return Decision(False, (_nobody_found(policy, viewer),), people=())
    return Decision(True, people=tuple(_shown(policy, viewer, entry.member) for entry in entries))


def fold(text: str) -> str:
    """The text as it is compared: words in small plain letters with single spaces between them."""
    text = text.translate(_APART)
    if not text.isascii():
        text = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    text = text.casefold()
    return " ".join((text if text.isascii() else text.translate(_TYPED)).split())


def index_steps(policy: Policy) -> Iterator[None]:
    """Make the policy ready for searching, with a pause after each millisecond or so; does nothing a second time."""
    if "directory" not in policy.memo:
        policy.memo["directory"] = yield from _directory(policy)


def _nothing_asked(viewer: Membership) -> Objection:
    if viewer.role == "client":
        return Objection("DIR-2", "Please type the name, or a part of the name, of somebody on your contact list.")
    return Objection("DIR-3", "Please type the name, or a part of the name, of a person or an organisation.")


def _nobody_found(policy: Policy, viewer: Membership) -> Objection:
    home = policy.organisations[viewer.organisation]
    if viewer.role == "client":
        return Objection(
            "DIR-2",
            f"Nobody of that name is on your contact list at {home.name}. "
            "Please check the spelling, or ask its office to put you in touch.",
        )
    where = home.name if home.network is None else f"{home.name}, or in the organisations of its network"
    return Objection(
        "DIR-3",
        f"No person or organisation of that name was found among your contacts, at {where}. "
        "Please check the spelling; whoever is not there yet has to be invited first by an administrator.",
    )


def _shown(policy: Policy, viewer: Membership, member: Membership) -> Found:
    """The person as the viewer may see them; badges are relative to who looks."""
    badge: Badge = "C" if member.role == "client" else "S" if member.organisation == viewer.organisation else "E"
    organisation = policy.organisations[member.organisation].name
    return Found(member.id, member.name, organisation, badge, member.status == "active")


class Entry(NamedTuple):
    """Somebody who may be found; entries sort as equal ranks are shown."""

    name: str
    """Folded, with a space before every word, so that ` b` is in the name where a word begins with b."""
    organisation: str
    """Its folded name."""
    id: PersonId
    member: Membership


class Query(NamedTuple):
    """What was asked for, folded and held against the names of the organisations."""

    text: str
    """With a space before every word."""
    words: tuple[str, ...]
    left: Mapping[str, tuple[str, ...]]
    """For each organisation whose name answers at least one of the words, those it leaves to the person's name."""

    def left_in(self, organisation: str) -> tuple[str, ...]:
        return self.left.get(organisation, self.words)

    def groups(self) -> Mapping[tuple[str, ...], set[str]]:
        """The same, with the organisations that leave the same words together."""
        groups: dict[tuple[str, ...], set[str]] = {}
        for organisation, words in self.left.items():
            groups.setdefault(words, set()).add(organisation)
        return groups


class Source(Protocol):
    """Where a viewer may look."""

    def ranked(self, query: Query, rank: int) -> Iterable[Entry]:
        """Everybody of that rank in order, among them perhaps people of better ranks, and the same more than once."""


class Index:
    """Many people, found without reading through all of them."""

    __slots__ = ("entries", "grams", "names", "offsets", "postings", "staff", "starts", "text", "words")

    def __init__(self) -> None:
        self.entries: Sequence[Entry] = ()
        """In order; a *place* is a position in it."""
        self.names: list[str] = []
        self.text = ""
        """All names in order, one after the other."""
        self.offsets = array("I", [0])
        """Where each name begins in the text, and where the last one ends."""
        self.words: list[str] = []
        """Every word of every name once, in order."""
        self.postings = array("I")
        """Word by word the places that have it, in order."""
        self.starts = array("I", [0])
        """Where the places of each word begin in the postings, and where those of the last one end."""
        self.grams: dict[str, array[int]] = {}
        """One to three letters: which words have them side by side."""
        self.staff: dict[str, array[int]] = {}
        """The places of each organisation, in order."""

    def ranked(self, query: Query, rank: int) -> Iterable[Entry]:
        entries = self.entries
        return (entries[place] for place in _RANKS[rank](self, query))

    def opening(self, query: Query) -> Iterable[int]:
        """Rank 0: the name begins with the text."""
        return range(*_span(self.names, query.text))

    def starting(self, query: Query) -> Iterable[int]:
        """Rank 1: each of the words begins a word of the name."""
        return self._all_starting(query.words)

    def answering(self, query: Query) -> Iterable[int]:
        """Rank 2: the organisation answers some of the words, and the others begin words of the name."""
        return merge(
            *(
                self._of(organisations, self._all_starting(words)) if words else self._everybody(organisations)
                for words, organisations in query.groups().items()
            )
        )

    def elsewhere(self, query: Query) -> Iterable[int]:
        """Rank 3: what the organisation does not answer is anywhere in the name."""
        return merge(
            self._all_containing(query.words),
            *(
                self._of(organisations, self._all_containing(words))
                for words, organisations in query.groups().items()
                if words
            ),
        )

    def _everybody(self, organisations: Collection[str]) -> Iterable[int]:
        return merge(*(self.staff[one] for one in organisations if one in self.staff))

    def _of(self, organisations: Collection[str], places: Iterable[int]) -> Iterator[int]:
        return (place for place in places if self.entries[place].member.organisation in organisations)

    def _all_starting(self, words: Sequence[str]) -> Iterable[int]:
        return self._all([f" {word}" for word in words], [range(*_span(self.words, word)) for word in words])

    def _all_containing(self, words: Sequence[str]) -> Iterable[int]:
        return self._all(words, [self._with(word) for word in words])

    def _all(self, needles: Sequence[str], matches: Sequence[Sequence[int]]) -> Iterable[int]:
        """The places of names with all needles, in order: those of the rarest one, held against the others."""
        rarest = min(range(len(needles)), key=lambda nth: self._count(matches[nth]))
        places = self._places(needles[rarest], matches[rarest])
        others = [*needles[:rarest], *needles[rarest + 1 :]]
        if not others:
            return places
        names = self.names
        return (place for place in places if all(needle in names[place] for needle in others))

    def _with(self, part: str) -> Sequence[int]:
        """Which words have that part; of very frequent parts, which words may have it."""
        size = min(len(part), 3)
        grams = (part[at : at + size] for at in range(len(part) - size + 1))
        rarest = min((self.grams.get(gram, ()) for gram in grams), key=len)
        if len(part) <= 3 or len(rarest) > _SOME_WORDS:
            return rarest
        return [word for word in rarest if part in self.words[word]]

    def _count(self, words: Sequence[int]) -> int:
        """How many places these words have, or, of many words, at least how many."""
        if isinstance(words, range):
            return self.starts[words.stop] - self.starts[words.start] if words else 0
        if len(words) > _SOME_WORDS:
            return len(words)
        starts = self.starts
        return sum([starts[word + 1] - starts[word] for word in words])

    def _places(self, needle: str, words: Sequence[int]) -> Iterable[int]:
        if len(words) <= _FEW_WORDS:
            return merge(*map(self._posted, words)) if len(words) != 1 else self._posted(words[0])
        if len(words) <= _SOME_WORDS and self._count(words) <= _SOME_PEOPLE:
            return sorted(chain.from_iterable(map(self._posted, words)))
        return self._read(needle)

    def _posted(self, word: int) -> Iterable[int]:
        return memoryview(self.postings)[self.starts[word] : self.starts[word + 1]]

    def _read(self, needle: str) -> Iterator[int]:
        """The places of names with the needle, which has no space but before it and so never lies across two names."""
        find, offsets = self.text.find, self.offsets
        at = find(needle)
        while at >= 0:
            place = bisect_right(offsets, at) - 1
            yield place
            at = find(needle, offsets[place + 1])


_RANKS: tuple[Callable[[Index, Query], Iterable[int]], ...] = (
    Index.opening,
    Index.starting,
    Index.answering,
    Index.elsewhere,
)


class Contacts:
    """A short contact list in one organisation, found by reading through it."""

    __slots__ = ("_matching", "_organisation", "_people")

    def __init__(self, organisation: str, people: Iterable[Entry]) -> None:
        self._organisation = organisation
        self._people = people
        self._matching: list[Entry] | None = None

    def ranked(self, query: Query, rank: int) -> Iterable[Entry]:
        left = query.left_in(self._organisation)
        if self._matching is None:
            self._matching = _containing(list(self._people), left)
        match rank:
            case 0:
                return sorted([entry for entry in self._matching if entry.name.startswith(query.text)])
            case 1:
                return sorted(_containing(self._matching, [f" {word}" for word in query.words]))
            case 2:
                starting = _containing(self._matching, [f" {word}" for word in left])
                return sorted(starting) if left != query.words else ()
            case _:
                return sorted(self._matching)


class Behind:
    """An index of which a viewer sees those who fulfil a condition."""

    __slots__ = ("_index", "_sees")

    def __init__(self, index: Index, sees: Callable[[Membership], bool]) -> None:
        self._index = index
        self._sees = sees

    def ranked(self, query: Query, rank: int) -> Iterable[Entry]:
        sees = self._sees
        return (entry for entry in self._index.ranked(query, rank) if sees(entry.member))


class Directory(NamedTuple):
    """Everything of a policy that searches need, made from it once."""

    colleagues: Mapping[str, Index]
    """The listed staff of each organisation's network, or, where it is in none, its own. By organisation."""
    unlisted: Mapping[str, Index]
    clients: Mapping[str, Index]
    names: Mapping[str, Sequence[tuple[str, str]]]
    """For each organisation the words in the names of those it may search, each with its organisation, in order."""
    shelves: Mapping[tuple[str, Role], Mapping[str, Sequence[Entry]]]
    """By organisation and role, and then by book: who is in it, stand-ins not counted."""
    stand_ins: Mapping[tuple[str, Role], Sequence[Entry]]


def _best(policy: Policy, viewer: Membership, text: str, limit: int, now: Moment) -> Sequence[Entry]:
    """The best people for that folded text, at most `limit`."""
    for _ in index_steps(policy):
        pass
    directory: Directory = policy.memo["directory"]
    query = _query(text, directory.names[viewer.organisation])
    sources = list(_sources(policy, directory, viewer, now))
    known: set[PersonId] = {viewer.id}
    found: list[Entry] = []
    for rank in range(len(_RANKS)):
        room = limit - len(found)
        if room:
            hits = chain.from_iterable(_first(room, source.ranked(query, rank), known, now) for source in sources)
            new = {entry.id: entry for entry in sorted(hits)}
            found += islice(new.values(), room)
            known.update(new)
    return found


def _query(text: str, names: Sequence[tuple[str, str]]) -> Query:
    words = tuple(dict.fromkeys(text.split()))
    answered: dict[str, set[str]] = {}
    for word in words:
        for _, organisation in names[bisect_left(names, (word,)) : bisect_left(names, (word + _LAST,))]:
            answered.setdefault(organisation, set()).add(word)
    left = {one: tuple(word for word in words if word not in answers) for one, answers in answered.items()}
    return Query(f" {text}", words, left)


def _first(room: int, hits: Iterable[Entry], known: Collection[PersonId], now: Moment) -> Iterable[Entry]:
    """The first of them that are new and whose membership has not ended."""
    new: dict[PersonId, Entry] = {}
    for entry in hits:
        if entry.id not in known and now < entry.member.ends:
            new[entry.id] = entry
            if len(new) == room:
                break
    return new.values()


def _sources(policy: Policy, directory: Directory, viewer: Membership, now: Moment) -> Iterator[Source]:
    """Where the viewer may look: staff in the directory (DIR-1, DIR-3), everybody in their books (DIR-2, LIST-1)."""
    home, shared = viewer.organisation, books(policy, viewer, now)
    if viewer.role == "staff":
        yield from (directory.colleagues[home], directory.unlisted[home])
        yield from _in_books(directory, home, "client", shared)
        yield from _standing_in(policy, directory, viewer, "client", now)
    else:
        opened = {book for book in shared if (home, book) not in policy.closed_books}
        yield from _in_books(directory, home, "staff", shared)
        yield from _in_books(directory, home, "client", opened)
        yield from _standing_in(policy, directory, viewer, "staff", now)
        yield from _standing_in(policy, directory, viewer, "client", now)


def _in_books(directory: Directory, home: str, role: Role, shared: Collection[str]) -> Iterator[Source]:
    """Those of that role whom the file puts in the books, read through or looked up, whatever is quicker."""
    if len(shared) <= _READ_THROUGH:
        shelf = directory.shelves.get((home, role), {})
        people = [entries for entries in map(shelf.get, shared) if entries]
        if sum(map(len, people)) <= _READ_THROUGH:
            yield from (Contacts(home, chain.from_iterable(people)),) if people else ()
            return
    disjoint = frozenset(shared).isdisjoint
    staff = (directory.colleagues[home], directory.unlisted[home])
    for index in staff if role == "staff" else (directory.clients[home],):
        yield Behind(index, lambda member: member.organisation == home and not disjoint(member.books))


def _standing_in(policy: Policy, directory: Directory, viewer: Membership, role: Role, now: Moment) -> Iterator[Source]:
    """Those who are in the viewer's books for the time of a cover."""
    if people := directory.stand_ins.get((viewer.organisation, role)):
        yield Contacts(viewer.organisation, [entry for entry in people if see(policy, viewer, entry.member, now)])


def _directory(policy: Policy) -> Steps[Directory]:
    titles = {organisation.identifier: fold(organisation.name) for organisation in policy.organisations.values()}
    entries: dict[PersonId, Entry] = {}
    listed: dict[str, list[Entry]] = {one: [] for one in titles}
    unlisted: dict[str, list[Entry]] = {one: [] for one in titles}
    clients: dict[str, list[Entry]] = {one: [] for one in titles}
    shelves: dict[tuple[str, Role], dict[str, list[Entry]]] = {}
    for members in _portions(policy.people.values()):
        for member in members:
            if member.status == "active" or member.status == "suspended":
                home = member.organisation
                entry = Entry(_spaced(fold(member.name)), titles[home], member.id, member)
                entries[member.id] = entry
                kind = clients if member.role == "client" else unlisted if member.unlisted else listed
                kind[home].append(entry)
                shelf = shelves.setdefault((home, member.role), {})
                for book in member.books:
                    shelf.setdefault(book, []).append(entry)
        yield
    stand_ins: dict[tuple[str, Role], list[Entry]] = {}
    for person in policy.stand_ins:
        if person in entries:
            member = entries[person].member
            stand_ins.setdefault((member.organisation, member.role), []).append(entries[person])
    colleagues: dict[str, Index] = {}
    names: dict[str, Sequence[tuple[str, str]]] = {}
    for organisations in _linked(policy):
        index = yield from _index(chain.from_iterable(listed[one] for one in organisations))
        words = sorted({(word, one) for one in organisations for word in titles[one].split()})
        colleagues.update(dict.fromkeys(organisations, index))
        names.update(dict.fromkeys(organisations, words))
    return Directory(
        colleagues, (yield from _indexes(unlisted)), (yield from _indexes(clients)), names, shelves, stand_ins
    )


def _linked(policy: Policy) -> Iterable[Sequence[str]]:
    """The organisations of each network together, and those in none each alone."""
    groups: dict[tuple[str | None, str], list[str]] = {}
    for one in policy.organisations.values():
        groups.setdefault((one.network, one.identifier if one.network is None else ""), []).append(one.identifier)
    return groups.values()


def _indexes(people: Mapping[str, Iterable[Entry]]) -> Steps[Mapping[str, Index]]:
    indexes: dict[str, Index] = {}
    for organisation, entries in people.items():
        indexes[organisation] = yield from _index(entries)
    return indexes


def _index(people: Iterable[Entry]) -> Steps[Index]:
    index = Index()
    index.entries = yield from _in_order(people)
    places = yield from _read_names(index)
    index.words = yield from _in_order(places)
    for words in _portions(enumerate(index.words)):
        for nth, word in words:
            index.postings.extend(places.pop(word))
            index.starts.append(len(index.postings))
            for gram in {word[at : at + size] for size in (1, 2, 3) for at in range(len(word) - size + 1)}:
                _posting(index.grams, gram).append(nth)
        yield
    return index


def _read_names(index: Index) -> Steps[dict[str, array[int]]]:
    """The index with its names, and the places of each word in them."""
    places: dict[str, array[int]] = {}
    texts: list[str] = []
    for entries in _portions(enumerate(index.entries)):
        for place, entry in entries:
            index.names.append(entry.name)
            index.offsets.append(index.offsets[-1] + len(entry.name))
            _posting(index.staff, entry.member.organisation).append(place)
            for word in set(entry.name.split()):
                _posting(places, word).append(place)
        texts.append("".join(index.names[-len(entries) :]))
        yield
    index.text = "".join(texts)
    return places


def _posting(postings: dict[str, array[int]], key: str) -> array[int]:
    posting = postings.get(key)
    if posting is None:
        posting = postings[key] = array("I")
    return posting


def _in_order(items: Iterable[Any]) -> Steps[list[Any]]:
    """What `sorted` does, with pauses."""
    runs: list[list[Any]] = []
    for portion in _portions(items):
        runs.append(sorted(portion))
        yield
    ordered: list[Any] = []
    for portion in _portions(merge(*runs)):
        ordered += portion
        yield
    return ordered


def _portions(items: Iterable[T]) -> Iterator[Sequence[T]]:
    rest = iter(items)
    while portion := tuple(islice(rest, _STEP)):
        yield portion


def _spaced(folded: str) -> str:
    return f" {folded}" if folded else ""


def _containing(entries: Iterable[Entry], needles: Sequence[str]) -> list[Entry]:
    """Those whose names have all the needles."""
    found = list(entries) if not needles else []
    for needle in needles[:1]:
        found = [entry for entry in entries if needle in entry.name]
    for needle in needles[1:]:
        found = [entry for entry in found if needle in entry.name]
    return found


def _span(ordered: Sequence[str], start: str) -> tuple[int, int]:
    """From where to where they begin like that."""
    return bisect_left(ordered, start), bisect_left(ordered, start + _LAST)
