"""Which room from before becomes a chat, and how; of every other one, why it stays as it is.

A room is taken over only where everybody in it is in the policy and they may be together, where all of it can be put on
record, and where nobody keeps more power than a chat gives. It happens by `apply` alone, so that somebody has seen it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

from policy.action import TakeOver
from policy.before import RoomBefore
from policy.decide import decide
from policy.decision import Kind
from policy.model import DEFAULT_TITLE, Membership, Moment, Policy, UserId
from policy.question import Chat, Enter
from policy.reach import present, status
from policy.rooms import stands_for, stood_for
from policy.rules.company import apart_objections, current_kind, had_client, limit_objections
from policy.template import BOT_POWER, room_name

VERSIONS = frozenset(map(str, range(1, 12)))
"""Those in which power is what the power levels say; from 12 on a creator's power has no limit."""

NAMED_IN_A_TITLE = 3

_LEVELS = ("users_default", "events_default", "state_default", "ban", "kick", "redact", "invite")
_STATE_DEFAULT = 50
"""What Matrix takes where `m.room.power_levels` does not say it."""
_INVITE_DEFAULT = 0


class Stays(NamedTuple):
    """The room stays as it is: its members write in it and leave it, nobody new enters."""

    room: str
    text: str
    """Which room and why, for its organisations' administrators."""
    organisations: frozenset[str]


def take_over(policy: Policy, before: RoomBefore, now: Moment, *, bot: UserId, server: str) -> TakeOver | Stays | None:
    """What becomes of the room; None where nobody of the policy is in it."""
    members = tuple(user for user in before.members if user != bot)
    organisations = _organisations(policy, members)
    if not organisations or before.creator == bot:
        return None
    reason = next(_hindrances(before, members, bot, server), None)
    if reason is None:
        chat = _together(policy, before, members, organisations, bot, now)
        if isinstance(chat, TakeOver):
            return chat
        reason = chat
    called = f"“{before.name}” ({before.id})" if before.name else before.id
    return Stays(before.id, f"{called} of {_titles(policy, organisations)}: {reason}", frozenset(organisations))


def shape(policy: Policy, before: RoomBefore, now: Moment, *, bot: UserId) -> TakeOver | str | None:
    """The chat that a room becomes where nothing could shape it while it was made, whoever is in it; else why not.

    None while its creator is alone with the bot, or is nobody who could have made a chat. Who may not be in it is a
    matter of each who is brought in.
    """
    members = tuple(user for user in before.members if user != bot)
    everybody = [user for user in (*members, *before.invited) if user != bot]
    creators = [member for member in policy.accounts.get(before.creator, ()) if status(member, now) == "active"]
    if not creators or before.creator not in members or len(everybody) < 2:
        return None
    reason = next(chain(_kinds_of_room(before), _powers(before, members, bot)), None)
    if reason is not None:
        return reason

    def others(member: Membership) -> int:
        return sum(stands_for(policy, member.organisation, user, now) is not None for user in everybody)

    home = max(creators, key=others)
    kind: Kind = "client" if home.role == "client" else "staff"
    return _action(before, home.organisation, kind, members, bot, "" if before.name else DEFAULT_TITLE)


def _organisations(policy: Policy, members: tuple[UserId, ...]) -> list[str]:
    """Whose people are in it, in the order of the file."""
    found = {member.organisation for user in members for member in policy.accounts.get(user, ())}
    return sorted(found, key=lambda one: policy.organisations[one].rank)


def _titles(policy: Policy, organisations: list[str]) -> str:
    return " and ".join(policy.organisations[one].name for one in organisations)


# What it is


_WHAT_IT_IS: tuple[tuple[Callable[[RoomBefore], bool], str], ...] = (
    (lambda room: room.type == "m.space", "it is a space, and spaces follow from contact books (BOOK-9)"),
    (lambda room: room.type not in ("", "m.space"), "it is a room of a special type, {room.type}, which no chat is"),
    (lambda room: room.replaced, "it was replaced by another room"),
    (lambda room: room.encrypted, "it is encrypted, so that nothing in it can be put on record (REV-1)"),
    (lambda room: room.join_rule == "public", "it is public: anybody could have entered it"),
    (lambda room: room.published, "it stands in the public directory: take it out of there first"),
    (lambda room: room.history == "world_readable", "anybody may read it without being in it"),
    (
        lambda room: room.version not in VERSIONS,
        "it has room version {room.version}, in which its creator keeps a power without limit",
    ),
)
"""What keeps any room from becoming a chat, whoever is in it."""


def _kinds_of_room(before: RoomBefore) -> Iterator[str]:
    return (text.format(room=before) for is_so, text in _WHAT_IT_IS if is_so(before))


def _hindrances(before: RoomBefore, members: tuple[UserId, ...], bot: UserId, server: str) -> Iterator[str]:
    yield from _kinds_of_room(before)
    away = [user for user in members if not user.endswith(f":{server}")]
    if away:
        yield f"{_some(away)} {_be(away)} on another homeserver, where nobody can be made to leave"
    if len(members) < 2:
        yield "nobody else is in it (CHAT-7)"
    yield from _powers(before, members, bot)


def _powers(before: RoomBefore, members: tuple[UserId, ...], bot: UserId) -> Iterator[str]:
    """Nobody gets power who has none, and nobody is left with more than a chat gives."""
    levels = before.levels
    users = _mapping(levels.get("users"))
    stated = [*map(levels.get, _LEVELS), *users.values(), *_mapping(levels.get("events")).values()]
    if not levels or not all(level is None or type(level) is int for level in stated):
        yield "its power levels cannot be read"
    elif any(level is not None and level > BOT_POWER for level in stated) or _level(levels, None) >= BOT_POWER:
        yield f"its power levels go beyond {BOT_POWER}, which is all that anybody could give the bot"
    elif _giver(before, members, bot) is None:
        yield "nobody in it has the power to hand it over"


def _giver(before: RoomBefore, members: tuple[UserId, ...], bot: UserId) -> UserId | None:
    """Who lets the bot in and gives it power, the creator rather than another; the bot may have the power already."""
    levels = before.levels
    needed = _number(levels.get("invite"), _INVITE_DEFAULT)
    if _level(levels, bot) < BOT_POWER:
        state = _number(levels.get("state_default"), _STATE_DEFAULT)
        setting = _number(_mapping(levels.get("events")).get("m.room.power_levels"), state)
        needed = max(needed, setting, BOT_POWER)
    able = [user for user in members if _level(levels, user) >= needed]
    return before.creator if before.creator in able else next(iter(able), None)


def _level(levels: Mapping[str, Any], user: UserId | None) -> int:
    default = _number(levels.get("users_default"), 0)
    return _number(_mapping(levels.get("users")).get(user), default)


# Who is in it


def _together(
    policy: Policy, before: RoomBefore, members: tuple[UserId, ...], organisations: list[str], bot: UserId, now: Moment
) -> TakeOver | str:
    """The chat of the first organisation in whose name these people may be together, else why not in the likeliest."""
    reasons: list[str] = []
    for home in _homes(policy, before, members, organisations):
        objection = _strangers(policy, home, members, now) or _apart(policy, before, home, members, bot, now)
        if objection is None:
            return _taken(policy, before, home, members, bot, now)
        reasons.append(objection)
    return reasons[0]


def _homes(policy: Policy, before: RoomBefore, members: tuple[UserId, ...], organisations: list[str]) -> list[str]:
    """Its creator's organisation first, then the one with the most people in it."""
    creators = {member.organisation for member in policy.accounts.get(before.creator, ())}

    def order(home: str) -> tuple[bool, int]:
        own = sum(any(one.organisation == home for one in policy.accounts.get(user, ())) for user in members)
        return home not in creators, -own

    return sorted(organisations, key=order)


def _strangers(policy: Policy, home: str, members: tuple[UserId, ...], now: Moment) -> str | None:
    unknown = [user for user in members if user not in policy.accounts]
    if unknown:
        return f"{_some(unknown)} {_be(unknown)} in no organisation"
    others = [user for user in members if not _stays(stands_for(policy, home, user, now), now)]
    if others:
        return f"{_some(others)} {_be(others)} no member of {policy.organisations[home].name} or of its network"
    return None


def _stays(member: Membership | None, now: Moment) -> bool:
    return member is not None and present(member, now)


def _apart(
    policy: Policy, before: RoomBefore, home: str, members: tuple[UserId, ...], bot: UserId, now: Moment
) -> str | None:
    """The first rule that keeps them apart, as for a chat that somebody returns to; how many there are comes first."""
    chat = _chat(policy, before, home, members, bot, now)
    kind = current_kind(policy, chat)
    for objection in (
        *limit_objections(policy, home, chat.participants, kind, now),
        *apart_objections(policy, chat, now),
        *_entries(policy, chat, now),
    ):
        return f"{objection.text.rstrip('.')} ({objection.rule})"
    if kind == "external" and had_client(policy, chat):
        return (
            "people of several organisations are in it, and it has, or once may have had, a client: "
            "external staff would read what was written then (EXT-4)"
        )
    return None


def _entries(policy: Policy, chat: Chat, now: Moment) -> Iterator[Any]:
    """Could each of them enter, were they not inside? Suspended people are out of it as soon as it is a chat."""
    for person in chat.participants:
        if status(policy.people[person], now) != "active":
            continue
        others = tuple(one for one in chat.participants if one != person)
        rest = Chat(chat.organisation, others, chat.former, was=chat.was)
        yield from decide(policy, Enter(person, rest), now).because


def _chat(policy: Policy, before: RoomBefore, home: str, members: tuple[UserId, ...], bot: UserId, now: Moment) -> Chat:
    """The chat it would be. Somebody unknown who left it may have been a client, whose words are still in it."""
    people = [stands_for(policy, home, user, now) for user in members]
    former = [stood_for(policy, home, user, now) for user in before.former if user != bot]
    return Chat(
        organisation=home,
        participants=tuple(dict.fromkeys(member.id for member in people if member is not None)),
        former=tuple(dict.fromkeys(member.id for member in former if member is not None)),
        was="client" if None in former else None,
    )


def _taken(
    policy: Policy, before: RoomBefore, home: str, members: tuple[UserId, ...], bot: UserId, now: Moment
) -> TakeOver:
    kind = current_kind(policy, _chat(policy, before, home, members, bot, now))
    name = "" if before.name else _title(policy, home, members, now)
    withdrawn = tuple(user for user in before.invited if user != bot)
    return _action(before, home, kind, members, bot, name, withdrawn)


def _action(
    before: RoomBefore,
    home: str,
    kind: Kind,
    members: tuple[UserId, ...],
    bot: UserId,
    name: str,
    withdrawn: tuple[UserId, ...] = (),
) -> TakeOver:
    giver = _giver(before, members, bot)
    assert giver is not None  # noqa: S101 - `_powers` asked for one
    given = {**before.levels, "users": {**_mapping(before.levels.get("users")), bot: BOT_POWER}}
    return TakeOver(
        room=before.id,
        chat={"organisation": home, "kind": kind, "draft": False, "staff_only": False},
        members=members,
        giver=giver,
        levels=None if _level(before.levels, bot) >= BOT_POWER else given,
        name=name,
        withdrawn=withdrawn,
    )


def _title(policy: Policy, home: str, members: tuple[UserId, ...], now: Moment) -> str:
    """CHAT-6: a chat has a name; one that had none is called by those who are in it."""
    people = [stands_for(policy, home, user, now) for user in members]
    names = [member.name for member in people if member is not None]
    more = len(names) - NAMED_IN_A_TITLE
    shown = names if more <= 1 else [*names[:NAMED_IN_A_TITLE], f"{more} more"]
    return room_name(", ".join(shown))


def _some(users: list[UserId]) -> str:
    """A few of them, so that a sentence stays one."""
    return users[0] if len(users) == 1 else f"{users[0]} and {len(users) - 1} more"


def _be(users: list[UserId]) -> str:
    return "is" if len(users) == 1 else "are"


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object, default: int) -> int:
    return value if type(value) is int else default
