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
from bisect import bisect_left
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, reduce
from heapq import merge
from itertools import chain, islice
from operator import and_
from typing import Any, NamedTuple, Protocol, TypeVar

from policy.decision import Badge, Decision, Found, Objection
from policy.model import Membership, Moment, PersonId, Policy, Role
from policy.question import Search
from policy.reach import books, see
from policy.rules.person import actor_objections

_READ_THROUGH = 1500
"""Contact lists up to this length are read through; behind longer ones the index soon meets enough people."""

_DENSE = 128
_FEW = 128
"""Letters that more than one name in so many, and more than so many names, have side by side are kept as bits, others
as a list of places."""

_BLOCK = 2048
"""Places to one whole number of bits: one too large is slow to go through, many too small slow to combine."""

_GRAM = 3
_NOWHERE = array("I")

_STEP = 500
"""People put in order between two pauses while the index is built, or read otherwise: about a millisecond."""

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

    __slots__ = ("dense", "entries", "names", "organisations", "sparse")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        """In order; a *place* is a position in it."""
        self.names: list[str] = []
        self.sparse: dict[str, array[int]] = {}
        """One to three letters of a word and the space before it: the places that have them side by side, in order.
        Also, by their sign, the places of each organisation."""
        self.dense: dict[str, tuple[int, ...]] = {}
        """The same for frequent ones: a bit for each place, the lowest first, block by block."""
        self.organisations: set[str] = set()

    def ranked(self, query: Query, rank: int) -> Iterable[Entry]:
        entries = self.entries
        return (entries[place] for place in _RANKS[rank](self, query))

    def opening(self, query: Query) -> Iterable[int]:
        """Rank 0: the name begins with the text."""
        return range(*_span(self.names, query.text))

    def starting(self, query: Query) -> Iterable[int]:
        """Rank 1: each of the words begins a word of the name."""
        return self._with([f" {word}" for word in query.words])

    def answering(self, query: Query) -> Iterable[int]:
        """Rank 2: the organisation answers some of the words, and the others begin words of the name."""
        groups = query.groups().items()
        return merge(*(self._within(ones, [f" {word}" for word in words]) for words, ones in groups))

    def elsewhere(self, query: Query) -> Iterable[int]:
        """Rank 3: what the organisation does not answer is anywhere in the name."""
        groups = query.groups().items()
        return merge(self._with(query.words), *(self._within(ones, words) for words, ones in groups if words))

    def _within(self, organisations: Collection[str], needles: Sequence[str]) -> Iterable[int]:
        """The places of these organisations with all the needles, in order."""
        ours = self.organisations.intersection(organisations)
        if ours == self.organisations:
            return self._with(needles) if needles else range(len(self.names))
        return merge(*(self._with(needles, one) for one in ours))

    def _with(self, needles: Sequence[str], organisation: str | None = None) -> Iterable[int]:
        """The places of names with all the needles, in order: at least one needle, or an organisation."""
        grams = {gram for needle in needles for gram in _longest_grams(needle)}
        if organisation is not None:
            grams.add(_sign(organisation))
        sparse = [self.sparse.get(gram, _NOWHERE) for gram in grams if gram not in self.dense]
        if not sparse:
            return self._holding(
                [needle for needle in needles if len(needle) > _GRAM], _common([self.dense[gram] for gram in grams])
            )
        fewest = min(sparse, key=len)
        places = self._holding(needles, fewest)
        if organisation is None:
            return places
        return (place for place in places if self.entries[place].member.organisation == organisation)

    def _holding(self, needles: Iterable[str], places: Iterable[int]) -> Iterable[int]:
        for needle in needles:
            places = _having(needle, self.names, places)
        return places


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
    for shelf in shelves.values():
        yield from _put_in_order(shelf)
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


def _put_in_order(shelf: dict[str, list[Entry]]) -> Steps[None]:
    """What is in order already is quickly put in order again with others."""
    for some in _portions(list(shelf), _STEP // 8):
        for book in some:
            if len(shelf[book]) > _STEP:
                shelf[book] = yield from _in_order(shelf[book])
            else:
                shelf[book].sort()
        yield


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
    index = Index((yield from _in_order(people)))
    few, size = max(len(index.entries) // _DENSE, _FEW), -(-len(index.entries) // _BLOCK) * _BLOCK // 8
    bits: dict[str, bytearray] = {}
    grams_of = lru_cache(maxsize=8192)(_grams)
    for entries in _portions(enumerate(index.entries), _STEP // 8):
        for place, entry in entries:
            organisation = entry.member.organisation
            index.names.append(entry.name)
            index.organisations.add(organisation)
            for gram in {_sign(organisation)}.union(*map(grams_of, entry.name.split())):
                if gram in bits:
                    bits[gram][place >> 3] |= 1 << (place & 7)
                else:
                    posting = _posting(index.sparse, gram)
                    posting.append(place)
                    if len(posting) > few:
                        bits[gram] = _as_bits(index.sparse.pop(gram), size)
        yield
    for frequent in _portions(bits.items(), _STEP // 8):
        index.dense.update((gram, _in_blocks(places)) for gram, places in frequent)
        yield
    return index


def _grams(word: str) -> frozenset[str]:
    """Every one to three letters side by side in the word with a space before it, but for the space alone."""
    spaced = f" {word}"
    pieces = {spaced[at : at + size] for size in range(1, _GRAM + 1) for at in range(len(spaced) - size + 1)}
    return frozenset(pieces - {" "})


def _sign(organisation: str) -> str:
    """Stands among the grams for an organisation; no name has a line feed."""
    return f"\n{organisation}"


def _longest_grams(needle: str) -> Iterable[str]:
    size = min(len(needle), _GRAM)
    return (needle[at : at + size] for at in range(len(needle) - size + 1))


def _having(needle: str, names: Sequence[str], places: Iterable[int]) -> Iterator[int]:
    return (place for place in places if needle in names[place])


def _as_bits(places: Iterable[int], size: int) -> bytearray:
    bits = bytearray(size)
    for place in places:
        bits[place >> 3] |= 1 << (place & 7)
    return bits


def _in_blocks(bits: bytearray) -> tuple[int, ...]:
    size = _BLOCK // 8
    return tuple(int.from_bytes(bits[at : at + size], "little") for at in range(0, len(bits), size))


def _common(postings: Sequence[Sequence[int]]) -> Iterator[int]:
    """The places whose bits are set in all of them, in order."""
    for block, parts in enumerate(zip(*postings, strict=True)):
        bits = reduce(and_, parts)
        while bits:
            lowest = bits & -bits
            yield block * _BLOCK + lowest.bit_length() - 1
            bits ^= lowest


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


def _portions(items: Iterable[T], size: int = _STEP) -> Iterator[Sequence[T]]:
    rest = iter(items)
    while portion := tuple(islice(rest, size)):
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
