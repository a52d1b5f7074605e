"""What one person may do with another and why, down to the line, and the smallest changes that would alter it.

Every change that is proposed was tried: the question was decided again on the policy with the change in it.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import reduce
from itertools import combinations
from math import inf
from typing import NamedTuple, cast

from policy.decide import decide
from policy.decision import Decision, Objection
from policy.differences import covering
from policy.locate import Places
from policy.mistake import Place
from policy.model import Book, Membership, Moment, Organisation, PersonId, Policy, Status, UserId
from policy.question import Add, Chat, Search, See, StartChat
from policy.reach import books, linked, share_book, status

PROPOSED = 5
"""As many changes are proposed at most."""

TRIED = 12
"""As many books of a person are tried, the smallest first: to come into a small book changes least."""

TOGETHER = 3
"""As many edits make one change at most."""

ANYBODY = 100_000
"""People a search may name here: whether one is found shall not depend on how many others are."""


class Answer(NamedTuple):
    """One thing that a person may, or may not, do with another."""

    do: str
    who: PersonId
    whom: PersonId
    decision: Decision


class Fact(NamedTuple):
    """A line of the administrator's files and what it says."""

    place: Place | None
    text: str
    organisation: str
    """Whose administrators may read it."""


class Edit(NamedTuple):
    """One edit of the policy, in words, with its place and as what it makes of a policy."""

    text: str
    place: Place | None
    weight: int
    """How many people it concerns."""
    made: Callable[[Policy], Policy]


class Explanation(NamedTuple):
    """All of it."""

    one: Membership
    other: Membership
    answers: tuple[Answer, ...]
    """Of the first about the second, then the other way round."""
    facts: tuple[Fact, ...]
    altering: Answer
    """The answer that the changes would turn round."""
    changes: tuple[tuple[Edit, ...], ...]
    """The smallest first; each alone is enough, all its edits together."""


def explain(policy: Policy, one: PersonId, other: PersonId, now: Moment, places: Places | None = None) -> Explanation:
    """What `one` may do with `other` at that moment, and the other way round; raises KeyError for who is not there."""
    first, second = policy.people[one], policy.people[other]
    forth, back = _answers(policy, first, second, now), _answers(policy, second, first, now)
    altering = _to_alter(forth, first, second)
    edits = _Edits(policy, first, second, now, places)
    return Explanation(
        first,
        second,
        (*forth, *back),
        tuple(_facts(policy, first, second, now, places)),
        altering,
        tuple(_changes(policy, altering, list(edits.candidates(altering)), now)),
    )


# What is


def _answers(policy: Policy, who: Membership, whom: Membership, now: Moment) -> tuple[Answer, ...]:
    return tuple(Answer(do, who.id, whom.id, ask(policy, who, whom, now)) for do, ask in _QUESTIONS.items())


def _find(policy: Policy, who: Membership, whom: Membership, now: Moment) -> Decision:
    found = decide(policy, Search(who.id, whom.name, ANYBODY), now)
    if any(one.person == whom.id for one in found.people or ()):
        return Decision(True)
    if not found.people:
        return Decision(False, found.because)
    hidden = whom.unlisted and who.organisation != whom.organisation
    if hidden and linked(policy, who.organisation, whom.organisation):
        return Decision(False, (Objection("DIR-3", f"{whom.name} is not offered to the searches of others."),))
    rule = "DIR-2" if who.role == "client" else "DIR-4" if who.organisation != whom.organisation else "DIR-1"
    return Decision(False, (Objection(rule, f"A search for “{whom.name}” finds other people only."),))


def _alone(who: Membership) -> Chat:
    """A chat that the person has for themselves, to bring somebody into."""
    return Chat(who.organisation, (who.id,))


_QUESTIONS: dict[str, Callable[[Policy, Membership, Membership, Moment], Decision]] = {
    "see": lambda policy, who, whom, now: decide(policy, See(who.id, whom.id), now),
    "find": _find,
    "start_chat": lambda policy, who, whom, now: decide(policy, StartChat(who.id, (whom.id,)), now),
    "add": lambda policy, who, whom, now: decide(policy, Add(who.id, whom.id, _alone(who)), now),
}
"""What can be asked about two people."""


def _to_alter(answers: Iterable[Answer], one: Membership, other: Membership) -> Answer:
    """To start a chat is what most want; who may, and is not on the contact list, may want that."""
    by = {answer.do: answer for answer in answers}
    if by["start_chat"].decision.allowed and not by["see"].decision.allowed and one.organisation == other.organisation:
        return by["see"]
    return by["start_chat"]


# Where it stands


def _facts(policy: Policy, one: Membership, other: Membership, now: Moment, places: Places | None) -> Iterator[Fact]:
    alike = one.identifier == other.identifier and one.id != other.id
    for member in dict.fromkeys((one, other)):
        name = member.id if alike else member.identifier
        yield from _standing(policy, member, name, now, places)
        yield from _membership(policy, member, name, now, places)
    if one.organisation != other.organisation:
        yield from (_networked(policy.organisations[member.organisation], places) for member in (one, other))
    yield from _closed(policy, one, other, places)


def _standing(policy: Policy, member: Membership, name: str, now: Moment, places: Places | None) -> Iterator[Fact]:
    def fact(heading: str, text: str) -> Fact:
        return Fact(places.person(member.id, heading) if places else None, text, member.organisation)

    organisation = policy.organisations[member.organisation].name
    yield fact("identifier", f"says that {name} ({member.name}) is {member.role} of {organisation}")
    if member.status != "active":
        yield fact("status", f"says that {name} is {member.status}")
    if member.until is not None:
        over = "ended" if now >= member.ends else "ends"
        yield fact("until", f"says that the membership of {name} {over} with {member.until}")


def _membership(policy: Policy, member: Membership, name: str, now: Moment, places: Places | None) -> Iterator[Fact]:
    by_place: dict[Place | None, list[str]] = {}
    for book in sorted(member.books):
        by_place.setdefault(places.membership(member.id, book) if places else None, []).append(book)
    for place, names in by_place.items():
        yield Fact(place, f"puts {name} in {' and '.join(names)}", member.organisation)
    if not member.books:
        yield Fact(None, f"{name} is in no book", member.organisation)
    for cover in policy.stand_ins.get(member.id, ()):
        if cover.starts <= now < cover.ends:
            key = (cover.absent, cover.stand_in, cover.first_day.isoformat())
            place = places.covers.get(key) if places else None
            yield Fact(place, f"says that {covering(cover)}", member.organisation)


def _networked(organisation: Organisation, places: Places | None) -> Fact:
    name, network = organisation.identifier, organisation.network
    if network is None:
        return Fact(None, f"{name} is in no network", name)
    return Fact(places.network_of.get(name) if places else None, f"puts {name} in network {network}", name)


def _closed(policy: Policy, one: Membership, other: Membership, places: Places | None) -> Iterator[Fact]:
    """Books in which both are and, being clients, do not see each other (BOOK-8)."""
    if one.role == other.role == "client" and one.organisation == other.organisation:
        for book in sorted(one.books & other.books):
            if (one.organisation, book) in policy.closed_books:
                place = places.books.get((one.organisation, book)) if places else None
                text = f"is {book}, in which clients do not see each other"
                yield Fact(place, text, one.organisation)


# What would alter it


def _changes(policy: Policy, answer: Answer, candidates: list[Edit], now: Moment) -> Iterator[tuple[Edit, ...]]:
    """Sets of edits that turn the answer round, none of which holds a smaller one that does."""
    found: list[set[int]] = []
    for size in range(1, TOGETHER + 1):
        sets = combinations(range(len(candidates)), size)
        for chosen in sorted(sets, key=lambda some: sum(candidates[index].weight for index in some)):
            if any(smaller <= set(chosen) for smaller in found):
                continue
            edits = tuple(candidates[index] for index in chosen)
            if _turns_round(policy, answer, edits, now):
                found.append(set(chosen))
                yield edits
                if len(found) == PROPOSED:
                    return
        if found:
            return


def _turns_round(policy: Policy, answer: Answer, edits: Iterable[Edit], now: Moment) -> bool:
    """Decided again, on a policy that is still one."""
    after = reduce(lambda before, edit: edit.made(before), edits, policy)
    who, whom = after.people[answer.who], after.people[answer.whom]
    decision = _QUESTIONS[answer.do](after, who, whom, now)
    return decision.allowed != answer.decision.allowed and _sound(after, (who, whom))


def _sound(policy: Policy, members: Iterable[Membership]) -> bool:
    """BOOK-3 and BOOK-11 hold for whoever was touched: a client has a book, a book with clients has active staff."""
    for member in members:
        if member.role == "client" and member.status != "left" and not member.books:
            return False
    organisations = {member.organisation for member in members}
    return all(
        _staffed(policy, book)
        for organisation in organisations
        for book in policy.organisations[organisation].books.values()
        if isinstance(book.members, _Touched)
    )


class _Touched(frozenset[PersonId]):
    """The members of a book that an edit was made to."""


def _staffed(policy: Policy, book: Book) -> bool:
    people = [policy.people[person] for person in book.members]
    served = any(one.role == "client" and one.status != "left" for one in people)
    return not served or any(one.role == "staff" and one.status == "active" for one in people)


class _Edits:
    """The edits that could matter between two people."""

    def __init__(self, policy: Policy, one: Membership, other: Membership, now: Moment, places: Places | None) -> None:
        self.policy, self.one, self.other, self.now, self.places = policy, one, other, now, places

    def candidates(self, answer: Answer) -> Iterator[Edit]:
        """To allow what is refused, or to refuse what is allowed."""
        here = self.one.organisation == self.other.organisation
        if answer.decision.allowed:
            yield from self._parting() if here else self._unlinking()
            return
        yield from self._readmitting(self.one, acts=True)
        yield from self._readmitting(self.other, acts=False)
        yield from self._meeting() if here else self._linking()

    def _readmitting(self, member: Membership, *, acts: bool) -> Iterator[Edit]:
        """Who has not accepted, is suspended while having to act, or has left."""
        standing = status(member, self.now)
        if member.status == "suspended" and acts:
            yield self._status(member, f"unsuspend {member.id}")
        elif member.status == "invited":
            yield self._status(member, f"have {member.id} accept the invitation (status: active)")
        elif member.status == "left":
            # Tried as if it were the same membership: the new one would be in the same books.
            yield self._status(member, f"invite {member.name} anew under another identifier, as {member.id} has left")
        if standing == "left" and member.status != "left":
            place = self.places.person(member.id, "until") if self.places else None
            text = f"move the end date of {member.id} (until: {member.until}) to a later day"
            yield Edit(text, place, 1, lambda policy: with_person(policy, member.id, ends=inf, until=None))

    def _status(self, member: Membership, text: str) -> Edit:
        place = self.places.person(member.id, "status") if self.places else None
        active: Status = "active"
        return Edit(text, place, 1, lambda policy: with_person(policy, member.id, status=active))

    def _meeting(self) -> Iterator[Edit]:
        """A common book, and between clients one in which they see each other."""
        if share_book(self.policy, self.one, self.other, self.now):
            return
        ours, theirs = (books(self.policy, member, self.now) for member in (self.one, self.other))
        for book in self._smallest((ours & theirs) or (ours | theirs)):
            if not book.clients_see_each_other and self.one.role == self.other.role == "client":
                yield self._opening(book)
        yield from (self._joining(self.one, book) for book in self._smallest(theirs - ours))
        yield from (self._joining(self.other, book) for book in self._smallest(ours - theirs))
        if not ours and not theirs:
            every = self.policy.organisations[self.one.organisation].books
            for book in self._smallest(every.keys()):
                yield from (self._joining(member, book) for member in (self.one, self.other))

    def _parting(self) -> Iterator[Edit]:
        """No common book; whoever shares one by a cover alone is parted by its end."""
        for book in self._smallest(self.one.books & self.other.books):
            yield from (self._leaving(member, book) for member in (self.one, self.other))
            if book.clients_see_each_other and self.one.role == self.other.role == "client":
                yield self._closing(book)

    def _smallest(self, names: Iterable[str]) -> list[Book]:
        known = self.policy.organisations[self.one.organisation].books
        return sorted((known[name] for name in names), key=lambda book: (len(book.members), book.identifier))[:TRIED]

    def _joining(self, member: Membership, book: Book) -> Edit:
        place = self.places.members.get((book.organisation, book.identifier)) if self.places else None
        return Edit(
            f"add {member.id} to book {book.identifier}",
            place,
            len(book.members) + 1,
            lambda policy: with_membership(policy, member.id, book.identifier, inside=True),
        )

    def _leaving(self, member: Membership, book: Book) -> Edit:
        place = self.places.membership(member.id, book.identifier) if self.places else None
        return Edit(
            f"take {member.id} out of book {book.identifier}",
            place,
            len(book.members),
            lambda policy: with_membership(policy, member.id, book.identifier, inside=False),
        )

    def _opening(self, book: Book) -> Edit:
        return self._seeing(book, True, f"let clients see each other in book {book.identifier}")

    def _closing(self, book: Book) -> Edit:
        return self._seeing(book, False, f"keep clients in book {book.identifier} from seeing each other")

    def _seeing(self, book: Book, sees: bool, text: str) -> Edit:
        place = self.places.books.get((book.organisation, book.identifier)) if self.places else None
        word = "true" if sees else "false"
        return Edit(
            f"{text} (clients_see_each_other: {word})",
            place,
            len(book.members) ** 2,
            lambda policy: with_book(policy, book._replace(clients_see_each_other=sees)),
        )

    def _linking(self) -> Iterator[Edit]:
        """Staff of organisations in one network reach each other; for clients no network does anything (EXT-1)."""
        ours, theirs = (self.policy.organisations[one.organisation] for one in (self.one, self.other))
        if linked(self.policy, ours.identifier, theirs.identifier):
            return
        if ours.network is None and theirs.network is None:
            yield self._into_one(ours, theirs)
        if ours.network is not None:
            yield self._network(theirs, ours.network)
        if theirs.network is not None:
            yield self._network(ours, theirs.network)

    def _unlinking(self) -> Iterator[Edit]:
        yield from (self._network(self.policy.organisations[one.organisation], None) for one in (self.one, self.other))

    def _network(self, organisation: Organisation, network: str | None) -> Edit:
        name = organisation.identifier
        text = f"put {name} into network {network}" if network else f"take {name} out of network {organisation.network}"
        place = self.places.network_of.get(name) if self.places else None
        weight = len(self.policy.people)
        return Edit(
            text, place, weight, lambda policy: with_organisation(policy, replace(organisation, network=network))
        )

    def _into_one(self, ours: Organisation, theirs: Organisation) -> Edit:
        networks = list(self.policy.networks)
        which = networks[0] if len(networks) == 1 else "a network of their own"
        place = self.places.organisations.get(ours.identifier) if self.places else None

        def made(policy: Policy) -> Policy:
            after = with_organisation(policy, replace(ours, network=which))
            return with_organisation(after, replace(theirs, network=which))

        text = f"put {ours.identifier} and {theirs.identifier} into one network ({which})"
        return Edit(text, place, len(self.policy.people), made)


# A policy with something in it changed; what can be computed from a policy is computed anew (`Policy.memo`).


def with_person(policy: Policy, person: PersonId, **fields: object) -> Policy:
    """The policy with these fields of a membership."""
    old = policy.people[person]
    new = old._replace(**fields)  # type: ignore[arg-type]
    # Laid over the others: a large network is not copied for every edit that is tried.
    people = ChainMap({person: new}, cast(dict[PersonId, Membership], policy.people))
    if old.matrix is None:
        return replace(policy, people=people)
    held = tuple(new if one.id == person else one for one in policy.accounts[old.matrix])
    accounts = ChainMap({old.matrix: held}, cast(dict[UserId, tuple[Membership, ...]], policy.accounts))
    return replace(policy, people=people, accounts=accounts)


def with_membership(policy: Policy, person: PersonId, book: str, *, inside: bool) -> Policy:
    """The policy with the person in, or out of, a book."""
    member = policy.people[person]
    old = policy.organisations[member.organisation].books[book]
    after = with_person(policy, person, books=member.books | {book} if inside else member.books - {book})
    members = old.members | {person} if inside else old.members - {person}
    return with_book(after, old._replace(members=_Touched(members)))


def with_book(policy: Policy, book: Book) -> Policy:
    """The policy with this book in place of the one of its name."""
    organisation = policy.organisations[book.organisation]
    after = with_organisation(policy, replace(organisation, books={**organisation.books, book.identifier: book}))
    key = (book.organisation, book.identifier)
    closed = policy.closed_books - {key} if book.clients_see_each_other else policy.closed_books | {key}
    return replace(after, closed_books=closed)


def with_organisation(policy: Policy, organisation: Organisation) -> Policy:
    """The policy with this organisation in place of the one of its name."""
    return replace(policy, organisations={**policy.organisations, organisation.identifier: organisation})


# In words

_VERBS = {
    "see": "has {whom} on the contact list",
    "find": "finds {whom} by search",
    "start_chat": "may start a chat with {whom}",
    "add": "may add {whom} to a chat",
}
_NOT = {
    "see": "does not have {whom} on the contact list",
    "find": "does not find {whom} by search",
    "start_chat": "may not start a chat with {whom}",
    "add": "may not add {whom} to a chat",
}


def said(answer: Answer) -> str:
    """The answer as a sentence, with the rules and their reasons where it is no."""
    words = _VERBS if answer.decision.allowed else _NOT
    sentence = f"{answer.who} {words[answer.do].format(whom=answer.whom)}"
    if answer.decision.allowed:
        return f"{sentence}."
    return f"{sentence}: {answer.decision.text} ({', '.join(answer.decision.rules)})"


def lines(explanation: Explanation) -> Iterator[str]:
    """The explanation for people."""
    yield from map(said, explanation.answers)
    yield "Where it stands:"
    yield from fact_lines(explanation.facts)
    yield from change_lines(explanation)


def fact_lines(facts: Iterable[Fact]) -> Iterator[str]:
    """What stands where."""
    return (f"- {fact.place} {fact.text}" if fact.place is not None else f"- {fact.text}" for fact in facts)


def change_lines(explanation: Explanation) -> Iterator[str]:
    """What would turn the answer round."""
    allowed = explanation.altering.decision.allowed
    verb = _VERBS[explanation.altering.do].format(whom=explanation.other.id)
    about = f"{explanation.one.id} {verb}"
    if not explanation.changes:
        yield f"No small change would {'end' if allowed else 'allow'} it ({about}){_hopeless(explanation)}."
        return
    yield f"Any one of these changes would {'end' if allowed else 'allow'} it ({about}), the smallest first:"
    for edits in explanation.changes:
        yield "- " + ", and ".join(f"{edit.text}{f' ({edit.place})' if edit.place else ''}" for edit in edits)


def _hopeless(explanation: Explanation) -> str:
    one, other = explanation.one, explanation.other
    if explanation.altering.decision.allowed:
        return ": colleagues reach each other with or without a book (BOOK-5)" if one.role == other.role else ""
    if one.organisation != other.organisation and "client" in (one.role, other.role):
        return ": clients reach people of their own organisation only (EXT-1); one of the two needs a membership there"
    return ""
