"""The spaces of the bot: one for each contact book that is large enough, one for each person's external chats."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from policy.action import Action, EnterSpace, LeaveSpace, ListInSpace, MakeSpace, NameSpace, UnlistInSpace
from policy.model import Book, Membership, Moment, Organisation, Policy, UserId
from policy.observation import Observation, Room, RoomName, Settings
from policy.reach import books, status

EXTERNAL_CHATS = "External chats"

Key = tuple[tuple[str, str], ...]


def space_actions(policy: Policy, seen: Observation, now: Moment, settings: Settings) -> Iterator[Action]:
    """A space for each book that is large enough, and one for each person with external chats (EXT-7)."""
    users = {user for room in seen.rooms.values() for user in room.inside(seen.bot)}
    yield from _due(seen, "book", _book_spaces(policy, now, settings))
    yield from _due(seen, "external", _external_spaces(seen, users))


def external_space_actions(seen: Observation, room: Room) -> Iterator[Action]:
    """What the spaces of those who are, or were, in this chat need."""
    users = set(room.members)
    due = _due(seen, "external", _external_spaces(seen, users))
    spaces = {one.id: one.space.get("external") for one in seen.rooms.values()}
    return (action for action in due if isinstance(action, MakeSpace) or spaces.get(_place(action)) in users)


def _place(action: Action) -> RoomName:
    return getattr(action, "room", "")


def _due(seen: Observation, name: str, wanted: Mapping[Key, MakeSpace]) -> Iterator[Action]:
    spaces = {_key(room.space): room for room in seen.rooms.values() if name in room.space}
    for key, space in wanted.items():
        room = spaces.get(key)
        if room is None:
            yield space
        else:
            yield from _space_actions(seen, room, space)
    for key, room in spaces.items():
        if key not in wanted:
            yield from (LeaveSpace(room.id, user) for user in room.inside(seen.bot))
            yield from (UnlistInSpace(room.id, child) for child in sorted(room.children))


def _key(space: Mapping[str, str]) -> Key:
    return tuple(sorted((str(name), str(value)) for name, value in space.items()))


def _space_actions(seen: Observation, room: Room, wanted: MakeSpace) -> Iterator[Action]:
    inside, members = set(room.inside(seen.bot)), set(wanted.members)
    if room.name != wanted.name:
        yield NameSpace(room.id, wanted.name)
    yield from (LeaveSpace(room.id, user) for user in sorted(inside - members))
    joined = {user for user in inside if room.members[user].presence == "join" or not seen.local(user)}
    yield from (EnterSpace(room.id, user) for user in sorted(members - joined))
    yield from (UnlistInSpace(room.id, child) for child in sorted(room.children - set(wanted.children)))
    yield from (ListInSpace(room.id, child) for child in sorted(set(wanted.children) - room.children))


def _book_spaces(policy: Policy, now: Moment, settings: Settings) -> dict[Key, MakeSpace]:
    """Clients are in a book's space only where its clients see each other: a space shows everybody to everybody."""
    spaces = {}
    covering = _covering(policy, now)
    for organisation in policy.organisations.values():
        for book in organisation.books.values():
            members = _book_members(policy, organisation, book, covering, now)
            if len(members) < settings.book_space_members:
                continue
            shown = [one for one in members if one.role == "staff" or book.clients_see_each_other]
            users = sorted({one.matrix for one in shown if one.matrix is not None})
            key = {"book": f"{organisation.identifier}/{book.identifier}"}
            spaces[_key(key)] = MakeSpace(key, book.name, tuple(users))
    return spaces


def _covering(policy: Policy, now: Moment) -> dict[tuple[str, str], list[Membership]]:
    """The stand-ins of every book at that moment."""
    covering: dict[tuple[str, str], list[Membership]] = {}
    for person in policy.stand_ins:
        member = policy.people[person]
        for book in books(policy, member, now) - member.books:
            covering.setdefault((member.organisation, book), []).append(member)
    return covering


def _book_members(
    policy: Policy,
    organisation: Organisation,
    book: Book,
    covering: Mapping[tuple[str, str], list[Membership]],
    now: Moment,
) -> list[Membership]:
    own = [policy.people[person] for person in book.members]
    stand_ins = covering.get((organisation.identifier, book.identifier), [])
    return [member for member in (*own, *stand_ins) if status(member, now) == "active"]


def _external_spaces(seen: Observation, users: Container[UserId]) -> dict[Key, MakeSpace]:
    """EXT-7: the tab "External chats" is a space of one's own."""
    chats: dict[UserId, list[RoomName]] = {}
    for room in seen.rooms.values():
        if room.draft or room.chat.get("kind") != "external":
            continue
        for user in room.inside(seen.bot):
            if user in users and room.members[user].presence == "join" and seen.local(user):
                chats.setdefault(user, []).append(room.id)
    keys: dict[UserId, dict[str, str]] = {user: {"external": user} for user in chats}
    return {
        _key(keys[user]): MakeSpace(keys[user], EXTERNAL_CHATS, (user,), tuple(sorted(rooms)))
        for user, rooms in chats.items()
    }
