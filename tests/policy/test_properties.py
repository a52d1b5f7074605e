"""Promises that hold for every policy, over generated ones."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from io import StringIO
from itertools import product
from math import inf
from random import Random
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from policy.ask import QUESTIONS, ask
from policy.decide import decide
from policy.decision import Kind
from policy.model import Book, Cover, Membership, Network, Organisation, PersonId, Policy, UserId
from policy.parse import parse
from policy.question import (
    Add,
    Administer,
    BarClients,
    Chat,
    Enter,
    Export,
    Leave,
    Question,
    Remove,
    Rename,
    Review,
    Search,
    See,
    Send,
    StartChat,
)
from policy.reach import acquainted, reach, see, status

NOW = 1000.0
NETWORKS = ("north", "south")
ORGANISATIONS = ("abbey", "beck", "cove")
BOOKS = ("red", "green", "blue")
ACCOUNTS = tuple(UserId(f"@u{number}:example.org") for number in range(6))


class Rows(NamedTuple):
    """A policy as rows, in the order of some file."""

    organisations: tuple[Organisation, ...]
    members: tuple[Membership, ...]
    covers: tuple[Cover, ...]

    def shuffled(self, seed: int) -> "Rows":
        random = Random(seed)  # noqa: S311 - an order, no secret
        return Rows(*(tuple(random.sample(rows, len(rows))) for rows in self))


def policy_of(rows: Rows) -> Policy:
    organisations = {
        one.identifier: replace(
            one,
            rank=rank,
            books={name: book_of(rows, one, name) for name in BOOKS},
            covers=tuple(cover for cover in rows.covers if cover.absent.startswith(f"{one.identifier}/")),
        )
        for rank, one in enumerate(rows.organisations)
    }
    return Policy(
        networks={name: Network(name, name.title()) for name in NETWORKS},
        organisations=organisations,
        people={member.id: member for member in rows.members},
        accounts=grouped(rows.members, "matrix"),
        stand_ins=grouped(rows.covers, "stand_in"),
        closed_books=frozenset(
            (one.identifier, book.identifier)
            for one in organisations.values()
            for book in one.books.values()
            if not book.clients_see_each_other
        ),
    )


def book_of(rows: Rows, organisation: Organisation, name: str) -> Book:
    inside = (m.id for m in rows.members if m.organisation == organisation.identifier and name in m.books)
    return Book(
        organisation.identifier, name, name, "", organisation.clients_see_each_other or name == "red", frozenset(inside)
    )


def grouped(rows: Sequence[Any], field: str) -> dict[Any, tuple[Any, ...]]:
    groups: dict[Any, tuple[Any, ...]] = {}
    for row in rows:
        if (key := getattr(row, field)) is not None:
            groups[key] = (*groups.get(key, ()), row)
    return groups


@st.composite
def all_rows(draw: st.DrawFn) -> Rows:
    organisations = tuple(
        Organisation(
            identifier=name,
            name=f"{name.title()} School",
            network=draw(st.sampled_from((None, *NETWORKS))),
            max_participants=draw(st.sampled_from((2, 3, 100))),
            clients_see_each_other=draw(st.booleans()),
            clients_may_export=draw(st.booleans()),
        )
        for name in ORGANISATIONS
    )
    return Rows(organisations, members := draw(all_members()), draw(all_covers(members)))


@st.composite
def all_members(draw: st.DrawFn) -> tuple[Membership, ...]:
    members: list[Membership] = []
    for number, name in enumerate(draw(st.lists(st.sampled_from(ORGANISATIONS), min_size=1, max_size=9))):
        taken = {one.matrix for one in members if one.organisation == name}
        free = [account for account in ACCOUNTS if account not in taken]
        staff = draw(st.booleans())
        members.append(
            Membership(
                id=PersonId(f"{name}/p{number}"),
                organisation=name,
                identifier=f"p{number}",
                name=f"Zoe{number} Quux{number}",
                role="staff" if staff else "client",
                matrix=draw(st.sampled_from((None, *free))),
                books=frozenset(draw(st.sets(st.sampled_from(BOOKS)))),
                status=draw(st.sampled_from(("active", "active", "active", "invited", "suspended", "left"))),
                ends=draw(st.sampled_from((inf, inf, inf, NOW, NOW + 1))),
                admin=draw(st.sampled_from(("", "user", "system"))) if staff else "",
                review=draw(st.sampled_from(("", "connected", "clients", "all"))) if staff else "",
                unlisted=draw(st.booleans()),
            )
        )
    return tuple(members)


@st.composite
def all_covers(draw: st.DrawFn, members: tuple[Membership, ...]) -> tuple[Cover, ...]:
    pairs = [
        (one.id, other.id)
        for one in members
        for other in members
        if one.organisation == other.organisation and one.id != other.id and one.role == other.role == "staff"
    ]
    if not pairs:
        return ()
    day = date(1970, 1, 1)
    chosen = draw(
        st.lists(st.tuples(st.sampled_from(pairs), st.booleans()), max_size=3, unique_by=lambda pair: pair[0])
    )
    return tuple(Cover(*pair, day, day, 0.0 if past else NOW, NOW if past else inf) for pair, past in chosen)


def people(policy: Policy) -> st.SearchStrategy[PersonId]:
    return st.sampled_from(sorted(policy.people))


@st.composite
def chats(draw: st.DrawFn, policy: Policy) -> Chat:
    """Any people anywhere, or such as might really be together."""
    organisation = draw(st.sampled_from(ORGANISATIONS))
    network = policy.organisations[organisation].network or organisation
    fitting = [
        one
        for one, m in policy.people.items()
        if network in (policy.organisations[m.organisation].network, m.organisation)
    ]
    chosen = draw(st.sampled_from((sorted(policy.people), sorted(fitting), sorted(fitting))))
    everybody = draw(st.permutations(chosen))
    inside = draw(st.integers(0, len(everybody)))
    outside = draw(st.integers(inside, len(everybody)))
    return Chat(
        organisation=organisation,
        participants=tuple(everybody[:inside]),
        former=tuple(everybody[inside:outside]),
        staff_only=draw(st.booleans()),
        draft=draw(st.integers(0, 3)) == 0,
        was=draw(st.sampled_from((None, None, "staff", "client", "external"))),
    )


@st.composite
def questions(draw: st.DrawFn, policy: Policy) -> Question:
    who, whom = draw(people(policy)), draw(people(policy))
    kind = draw(
        st.sampled_from(
            (See, Search, StartChat, Administer, Add, Remove, Leave, Rename, Send, Export, Review, Enter, BarClients)
        )
    )
    if kind is See:
        return See(who, whom)
    if kind is Search:
        return Search(who, draw(st.sampled_from(("z", "zoe1", "school", "abbey", "quux", "nobody"))))
    if kind is StartChat:
        return StartChat(who, tuple(draw(st.lists(people(policy), max_size=4))), staff_only=draw(st.booleans()))
    if kind is Administer:
        return Administer(
            who,
            draw(st.sampled_from(ORGANISATIONS)),
            draw(st.sampled_from(("people", "books", "settings", "reviewers"))),
        )
    chat = draw(chats(policy))
    if kind is Add:
        return Add(who, whom, chat)
    return Remove(who, whom, chat) if kind is Remove else kind(who, chat)


policies = all_rows().map(policy_of)
asked = policies.flatmap(lambda policy: st.tuples(st.just(policy), questions(policy)))
with_chats = policies.flatmap(lambda policy: st.tuples(st.just(policy), people(policy), people(policy), chats(policy)))


@given(asked)
def test_an_empty_policy_allows_nothing(case: tuple[Policy, Question]) -> None:
    _policy, question = case
    try:
        decision = decide(Policy(), question, NOW)
    except KeyError:
        return

    assert not decision.allowed


@given(asked)
def test_every_refusal_has_a_reason_and_what_is_allowed_has_none(case: tuple[Policy, Question]) -> None:
    decision = decide(*case, NOW)

    assert decision.allowed is (not decision.because and decision.error is None)
    assert all(objection.rule and objection.text.endswith((".", "?")) for objection in decision.because)


@given(asked)
def test_only_the_active_are_allowed_anything_but_to_leave(case: tuple[Policy, Question]) -> None:
    policy, question = case
    if decide(policy, question, NOW).allowed and status(policy.people[question.who], NOW) != "active":
        assert status(policy.people[question.who], NOW) == "suspended"
        assert isinstance(question, Leave) or (isinstance(question, Remove) and question.who == question.whom)


@given(asked)
def test_a_refusal_names_nobody_whom_the_asker_may_not_know(case: tuple[Policy, Question]) -> None:
    policy, question = case
    decision = decide(policy, question, NOW)
    asker = policy.people[question.who]
    words = {word.strip(".;:,") for word in decision.text.split()}

    for other in policy.people.values():
        if words & set(other.name.split()) and other.id != asker.id:
            assert status(asker, NOW) == "active"
            assert acquainted(policy, asker, other, NOW)


@given(policies)
def test_to_see_is_symmetric_among_active_people(policy: Policy) -> None:
    for one, other in everybody_twice(policy):
        if status(one, NOW) == status(other, NOW) == "active":
            seen, seen_back = (decide(policy, See(*pair), NOW) for pair in ((one.id, other.id), (other.id, one.id)))
            assert seen.allowed == seen_back.allowed


@given(policies)
def test_whoever_is_seen_can_be_reached(policy: Policy) -> None:
    for one, other in everybody_twice(policy):
        if see(policy, one, other, NOW):
            assert reach(policy, one, other, NOW)


@given(policies)
def test_whom_one_reaches_is_with_whom_one_may_start_a_chat(policy: Policy) -> None:
    """But for staff who are a client where the other works: they may be reached, and EXT-3 bars the chat."""
    for one, other in everybody_twice(policy):
        decision = decide(policy, StartChat(one.id, (other.id,)), NOW)
        if reach(policy, one, other, NOW):
            assert decision.allowed or (decision.rules == ("EXT-3",) and one.role == other.role == "staff")
        else:
            assert not decision.allowed


@given(policies)
def test_nothing_crosses_a_network(policy: Policy) -> None:
    for who, whom in meetings(policy):
        if who.organisation != whom.organisation:
            networks = {policy.organisations[one.organisation].network for one in (who, whom)}
            assert len(networks) == 1
            assert None not in networks
            assert who.role == whom.role == "staff"


@given(policies)
def test_nobody_meets_who_has_not_accepted_or_has_left(policy: Policy) -> None:
    for who, whom in meetings(policy):
        assert who.status == "active"
        assert whom.status in ("active", "suspended")
        assert min(who.ends, whom.ends) > NOW


def everybody_twice(policy: Policy) -> Iterator[tuple[Membership, Membership]]:
    return product(policy.people.values(), repeat=2)


def meetings(policy: Policy) -> Iterator[tuple[Membership, Membership]]:
    """Who sees, finds, starts a chat with, or adds whom."""
    for who, whom in everybody_twice(policy):
        chat = Chat(who.organisation, (who.id,))
        meeting = (See(who.id, whom.id), StartChat(who.id, (whom.id,)), Add(who.id, whom.id, chat))
        if any(decide(policy, question, NOW).allowed for question in meeting):
            yield who, whom
    for who in policy.people.values():
        for found in decide(policy, Search(who.id, "zoe", limit=100), NOW).people or ():
            yield who, policy.people[found.person]


@given(policies)
def test_another_book_hides_nobody(before: Policy) -> None:
    name, *_ = (member.organisation for member in before.people.values())
    members = [
        member._replace(books=member.books | {"gold"}) if member.organisation == name and number % 2 else member
        for number, member in enumerate(before.people.values())
    ]
    covers = [cover for covers in before.stand_ins.values() for cover in covers]
    more = policy_of(Rows(tuple(before.organisations.values()), tuple(members), tuple(covers)))

    for after in (more, replace(more, closed_books=before.closed_books | {(name, "gold")})):
        assert set(ids(meetings(before))) <= set(ids(meetings(after)))


def ids(met: Iterable[tuple[Membership, Membership]]) -> Iterator[tuple[PersonId, PersonId]]:
    return ((who.id, whom.id) for who, whom in met)


@given(policies)
def test_a_chat_that_may_be_started_fits_in_and_does_not_mix(policy: Policy) -> None:
    for who, member in policy.people.items():
        near = [one for one, other in policy.people.items() if one != who and reach(policy, member, other, NOW)]
        for chosen in (*((one,) for one in near), *(near[:count] for count in range(2, len(near) + 1))):
            if decide(policy, StartChat(who, tuple(chosen)), NOW).allowed:
                check_together(policy, member.organisation, (who, *chosen))


def check_together(policy: Policy, organisation: str, together: Sequence[PersonId]) -> None:
    """No more than the limit, and no client with another organisation, by whatever membership (EXT-3)."""
    members = [policy.people[person] for person in together]
    counted = {one.matrix or one.id for one in members if status(one, NOW) not in ("suspended", "left")}
    taking_part = {organisation, *(one.organisation for one in members)}
    clients = {
        one.matrix or one.id
        for one in policy.people.values()
        if one.role == "client" and one.organisation in taking_part and status(one, NOW) != "left"
    }

    assert len(counted) <= policy.organisations[organisation].max_participants
    if len(taking_part) > 1:
        assert not clients & {one.matrix or one.id for one in members}


@given(all_rows(), st.integers(), st.data())
def test_the_order_of_rows_does_not_matter(rows: Rows, seed: int, data: st.DataObject) -> None:
    policy, other = policy_of(rows), policy_of(rows.shuffled(seed))
    question = data.draw(questions(policy))

    assert decide(policy, question, NOW) == decide(other, question, NOW)


@given(all_rows(), st.integers(), st.data())
def test_the_order_of_files_and_rows_does_not_matter(rows: Rows, seed: int, data: st.DataObject) -> None:
    """The same people in YAML and CSV, in whatever order, are the same policy as the rows they were written from."""
    rows = with_heads(rows)
    policy = policy_of(rows)
    question = data.draw(questions(policy))
    expected = decide(policy, question, NOW)

    for order in (rows, rows.shuffled(seed)):
        assert decide(read(*written(order)), question, NOW) == expected


def read(text: str, files: dict[str, str]) -> Policy:
    parsed = parse(text, files.__getitem__)
    assert isinstance(parsed, Policy), "\n".join(map(str, parsed))
    return parsed


def with_heads(rows: Rows) -> Rows:
    """Rows that make a policy without mistakes: a head in every book, and every client in one."""
    heads = [
        Membership(
            PersonId(f"{name}/head"),
            name,
            "head",
            "Ada Head",
            "staff",
            None,
            frozenset(BOOKS),
            "active",
            admin="system",
        )
        for name in ORGANISATIONS
    ]
    placed = [m if m.role == "staff" or m.books else m._replace(books=frozenset({"blue"})) for m in rows.members]
    return rows._replace(members=(*placed, *heads))


def written(rows: Rows) -> tuple[str, dict[str, str]]:
    """As a policy file, with the people of one organisation in a spreadsheet, and that spreadsheet."""
    organisations: dict[str, Any] = {}
    for one in rows.organisations:
        people = {m.identifier: words_of(m) for m in rows.members if m.organisation == one.identifier}
        organisations[one.identifier] = {
            "name": one.name,
            **({"network": one.network} if one.network else {}),
            "max_participants": one.max_participants,
            "clients_see_each_other": one.clients_see_each_other,
            "clients_may_export": one.clients_may_export,
            "mobile": "optional",
            "people": "beck.csv" if one.identifier == "beck" else people,
            "books": {name: words_of_book(rows, one, name) for name in BOOKS},
            "covers": [words_of_cover(cover) for cover in rows.covers if cover.absent.startswith(f"{one.identifier}/")],
        }
    networks = {name: {"name": name.title()} for name in NETWORKS}
    return json.dumps({"organisations": organisations, "networks": networks}, indent=1), {"beck.csv": sheet_of(rows)}


def words_of(member: Membership) -> dict[str, Any]:
    words = {
        "first_name": member.name.split()[0],
        "last_name": member.name.split()[1],
        "role": member.role,
        "email": f"{member.identifier}@{member.organisation}.example",
        "status": member.status,
        "unlisted": member.unlisted,
        "matrix": member.matrix,
        "admin": member.admin,
        "review": member.review,
        "until": "" if member.ends == inf else "1969-12-31" if member.ends == NOW else "1970-01-01",
    }
    return {field: word for field, word in words.items() if word not in ("", None)}


def words_of_book(rows: Rows, organisation: Organisation, name: str) -> dict[str, Any]:
    book = book_of(rows, organisation, name)
    inside = [m.identifier for m in rows.members if m.id in book.members and organisation.identifier != "beck"]
    return {"name": name, "clients_see_each_other": book.clients_see_each_other, "members": inside}


def words_of_cover(cover: Cover) -> dict[str, str]:
    days = (
        {"from": "1969-01-01", "until": "1969-12-31"}
        if cover.ends <= NOW
        else {"from": "1970-01-01", "until": "1970-01-31"}
    )
    return {"absent": cover.absent.split("/")[1], "stand_in": cover.stand_in.split("/")[1], **days}


def sheet_of(rows: Rows) -> str:
    sheet = StringIO()
    fields = [
        "identifier",
        "contact_books",
        *words_of(rows.members[0]._replace(matrix=UserId("x"), admin="user", review="all", ends=NOW)),
    ]
    writer = csv.DictWriter(sheet, fields)
    writer.writeheader()
    for member in rows.members:
        if member.organisation == "beck":
            words = words_of(member)
            words["unlisted"] = "true" if member.unlisted else "false"
            writer.writerow({"identifier": member.identifier, "contact_books": ";".join(sorted(member.books)), **words})
    return sheet.getvalue()


@given(st.sampled_from(sorted(QUESTIONS)), st.sampled_from(("abbey/p1", "@u1:example.org", "", "nobody", 7, None)))
def test_nobody_asks_an_empty_policy_anything(do: str, who: object) -> None:
    chat = {"organisation": "abbey", "participants": [who]}
    fields: dict[str, Any] = {
        "whom": who,
        "with": [who],
        "text": "zoe",
        "chat": chat,
        "organisation": "abbey",
        "what": "people",
    }
    decision = ask(Policy(), {"do": do, "who": who, **{field: fields[field] for field in QUESTIONS[do].needs}}, NOW)

    assert not decision.allowed
    assert decision.error


@given(asked, st.data())
def test_naming_more_people_undoes_no_objection(case: tuple[Policy, Question], data: st.DataObject) -> None:
    policy, _ = case
    who = data.draw(people(policy))
    few = tuple(data.draw(st.lists(people(policy), max_size=3)))
    more = (*few, *data.draw(st.lists(people(policy), max_size=3)))
    less = set(decide(policy, StartChat(who, few), NOW).because)
    objections = {(one.rule, one.text) for one in decide(policy, StartChat(who, more), NOW).because}

    assert {(one.rule, one.text) for one in less if one.rule != "CHAT-7"} <= objections


@given(with_chats, st.data())
def test_more_people_in_a_chat_undo_no_objection_to_adding_one(
    case: tuple[Policy, PersonId, PersonId, Chat], data: st.DataObject
) -> None:
    policy, who, whom, chat = case
    crowded = replace(chat, participants=tuple(dict.fromkeys((*chat.participants, data.draw(people(policy))))))
    newly = set(crowded.participants) - set(chat.participants)
    decision = decide(policy, Add(who, whom, chat), NOW)
    if newly & {who, whom} or decide(policy, Add(who, whom, crowded), NOW).error:
        return
    crowded = replace(crowded, creator=chat.author, former=tuple(one for one in chat.former if one not in newly))

    assert set(decision.rules) <= set(decide(policy, Add(who, whom, crowded), NOW).rules)


@given(with_chats)
def test_who_may_be_added_fits_in_and_no_client_meets_external_staff(
    case: tuple[Policy, PersonId, PersonId, Chat],
) -> None:
    policy, _who, whom, chat = case
    for who in chat.participants:
        decision = decide(policy, Add(who, whom, chat), NOW)
        if decision.allowed and status(policy.people[whom], NOW) != "suspended":
            check_together(policy, chat.organisation, (*chat.participants, whom))
        if decision.allowed and policy.people[whom].organisation != chat.organisation:
            assert "client" not in {policy.people[one].role for one in chat.former}


@given(with_chats)
def test_nobody_writes_where_clients_and_another_organisation_are_together(
    case: tuple[Policy, PersonId, PersonId, Chat],
) -> None:
    policy, _who, _whom, chat = case
    roles = {policy.people[one].role for one in chat.participants}
    elsewhere = {policy.people[one].organisation for one in chat.participants} - {chat.organisation}
    if "client" in roles and elsewhere:
        assert not any(decide(policy, Send(one, chat), NOW).allowed for one in chat.participants)


@given(all_rows())
def test_a_cover_that_is_over_gives_nothing(rows: Rows) -> None:
    over = rows._replace(covers=tuple(cover._replace(starts=0.0, ends=NOW) for cover in rows.covers))
    without = rows._replace(covers=())

    assert set(ids(meetings(policy_of(over)))) == set(ids(meetings(policy_of(without))))


@given(with_chats)
def test_the_kind_of_a_chat_never_goes_back(case: tuple[Policy, PersonId, PersonId, Chat]) -> None:
    policy, who, whom, chat = case
    later: dict[Kind, set[Kind]] = {
        "staff": {"staff", "client", "external"},
        "client": {"client"},
        "external": {"external"},
    }
    before = decide(policy, Send(who, chat), NOW).kind
    added = decide(policy, Add(who, whom, chat), NOW)
    gone = replace(chat, participants=(), former=(*chat.participants, *chat.former))

    assert before is not None
    assert added.kind is not None
    assert added.kind in later[before]
    assert decide(policy, Send(who, gone), NOW).kind == before


@given(with_chats)
def test_the_kind_of_a_chat_outlives_the_rows_of_who_was_in_it(case: tuple[Policy, PersonId, PersonId, Chat]) -> None:
    policy, who, _whom, chat = case
    before = decide(policy, Send(who, chat), NOW).kind
    forgotten = replace(chat, participants=(), former=(), was=before)

    assert decide(policy, Send(who, forgotten), NOW).kind == before
