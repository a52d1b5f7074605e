"""A request for a new room: may it be made, and the room of ours that it becomes.

Clients ask for rooms in their own ways. What would give somebody power, open the room or forge its marks is refused;
what is merely a client's habit (encryption, history, guests, powers of calls) gives way silently, so that every client
can start a chat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policy.decide import decide
from policy.decision import Decision, Objection
from policy.judge import UNLISTED, stranger
from policy.model import Membership, Moment, Policy, UserId
from policy.question import StartChat
from policy.reach import linked, share_book, status
from policy.room import user_ids
from policy.room_events import ENTRY, MAILED, POWER, PUBLISHED, SPACES, TITLES, objection_to
from policy.rooms import CHAT, DIRECT, DRAFT, stands_for
from policy.rules.person import actor_objections
from policy.template import CLIENT_POWER, FIXED_STATE, POLICY, STAFF_POWER, creation_power_levels, room_name

Json = Mapping[str, Any]

_PRIVATE = ("private_chat", "trusted_private_chat")
_SYNAPSES_OWN = ("room_version", "creator")
_GUARDED = ("m.room.", "m.space.", "org.qwil.")
LONGEST_TOPIC = 4_000
"""Bytes; it stands in its event twice, and a control character in six."""

_HABITS = {
    "m.room.encryption",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.avatar",
    "m.room.name",
    "m.room.topic",
}
"""What clients put into the initial state without asking their user."""


@dataclass(frozen=True, slots=True)
class Making:
    """A room that is being made: the request as it goes to the homeserver, and so what the room may begin with."""

    creator: UserId
    organisation: str | None
    """The home organisation; none for a direct chat with the bot."""
    request: dict[str, Any]

    @property
    def state(self) -> dict[str, Json]:
        """The state it begins with besides members, by type; every state key is empty."""
        told = {event["type"]: event["content"] for event in self.request["initial_state"]}
        name = {"m.room.name": {"name": self.request["name"]}} if "name" in self.request else {}
        return told | name

    def makes(self, kind: str, content: Json) -> bool:
        """Whether this event is one the room begins with."""
        if kind == "m.room.create":
            told = {key: value for key, value in content.items() if key not in _SYNAPSES_OWN}
            return bool(told == self.request["creation_content"])
        if kind == "m.room.power_levels":
            return _contains(content, self.request["power_level_content_override"])
        if kind == "m.room.topic":
            return "topic" in self.request and content.get("topic") == self.request["topic"]
        return kind in self.state and self.state[kind] == content


def _contains(content: Json, expected: Json) -> bool:
    return all(content.get(key, ()) == value for key, value in expected.items())


def room_asked_for(
    policy: Policy,
    request: Json,
    creator: UserId,
    bot: UserId,
    *,
    now: Moment,
    room_version: str,
    policy_server: Json | None = None,
) -> Making | Decision:
    """The room that this request becomes, or why it may not be made.

    The creator needs a membership. With the bot alone it is their direct chat, with nobody an empty draft. A chat names
    the `policy_server`, the content of m.room.policy, where there is one.
    """
    invited = user_ids(request.get("invite"))
    others = tuple(user for user in invited if user not in (bot, creator))
    candidates = _candidates(policy, creator, others, now)
    if not candidates:
        return Decision(False, (UNLISTED,))
    if objections := tuple(dict.fromkeys(request_objections(request, bot))):
        return Decision(False, objections)
    decisions = [(_may_start(policy, member, others, now), member) for member in candidates]
    decision, member = next((pair for pair in decisions if pair[0].allowed), decisions[0])
    if not decision.allowed:
        return decision
    if bot in invited and not others:
        return Making(creator, None, _direct_chat(request, creator, bot, room_version))
    chat = {
        "organisation": member.organisation,
        "kind": decision.kind or ("client" if member.role == "client" else "staff"),
        "draft": True,
        "staff_only": False,
    }
    marks: dict[str, Json] = {CHAT: chat, DRAFT: {"with": list(others)}}
    if policy_server is not None:
        marks[POLICY] = policy_server
    template = _room(request, creator, bot, room_version, marks)
    name = {"name": room_name(_title(request))}
    return Making(
        creator,
        member.organisation,
        {**template, **name, "creation_content": {"m.federate": spans_servers(policy, member.organisation)}},
    )


def _candidates(policy: Policy, creator: UserId, others: tuple[UserId, ...], now: Moment) -> list[Membership]:
    """The creator's memberships: first those that share a book with everybody invited, then in the file's order."""
    memberships = policy.accounts.get(creator, ())
    lasting = [member for member in memberships if status(member, now) != "left"] or list(memberships[:1])

    def order(member: Membership) -> tuple[bool, int]:
        return not _shares_books(policy, member, others, now), policy.organisations[member.organisation].rank

    return sorted(lasting, key=order)


def _shares_books(policy: Policy, member: Membership, others: tuple[UserId, ...], now: Moment) -> bool:
    people = [stands_for(policy, member.organisation, user, now) for user in others]
    return all(
        other is not None and other.organisation == member.organisation and share_book(policy, member, other, now)
        for other in people
    )


def _may_start(policy: Policy, who: Membership, others: tuple[UserId, ...], now: Moment) -> Decision:
    people = [(user, stands_for(policy, who.organisation, user, now)) for user in others]
    strangers = tuple(stranger(policy, who, user) for user, member in people if member is None)
    known = tuple(member.id for _, member in people if member is not None)
    if known:
        decision = decide(policy, StartChat(who.id, known), now)
    else:
        because = tuple(actor_objections(policy, who, now))
        decision = Decision(not because, because)
    return Decision(False, (*decision.because, *strangers)) if strangers else decision


def request_objections(request: Json, bot: UserId) -> Iterator[Objection]:
    """What in a request may not be, whoever asks."""
    if request.get("invite_3pid"):
        yield MAILED
    if request.get("room_alias_name") or request.get("visibility") == "public":
        yield PUBLISHED
    if request.get("preset") not in (None, *_PRIVATE):
        yield ENTRY
    yield from _creation_objections(_mapping(request.get("creation_content")))
    yield from power_objections(_mapping(request.get("power_level_content_override")), bot)
    initial = request.get("initial_state")
    for event in initial if isinstance(initial, list) else ():
        yield from _initial_objections(_mapping(event), bot)
    # An event that is too large ends the making of a room in its middle.
    if len(_topic(request).encode(errors="replace")) > LONGEST_TOPIC:
        yield Objection("CHAT-6", f"A topic has at most {LONGEST_TOPIC:,} bytes. Shorten it, or write it as a message.")


def _creation_objections(content: Json) -> Iterator[Objection]:
    if content.get("type") is not None:
        yield SPACES
    if content.get("additional_creators"):
        yield POWER


def _initial_objections(event: Json, bot: UserId) -> Iterator[Objection]:
    kind, content = str(event.get("type")), _mapping(event.get("content"))
    if kind == "m.room.power_levels":
        yield from power_objections(content, bot)
    elif kind == "m.room.join_rules":
        if content.get("join_rule") != "invite":
            yield ENTRY
    elif kind not in _HABITS and (objection := objection_to(kind, state=False)):
        yield objection


def power_objections(levels: Json, bot: UserId) -> Iterator[Objection]:
    """Whether powers are asked for that would count: less guarded than is usual, or anybody's but the bot's.

    Powers of calls and widgets are a client's habit, and so are the usual ones of rooms written out.
    """
    guarded = [levels.get(key) for key in ("ban", "kick", "redact", "state_default")]
    events = _mapping(levels.get("events")).items()
    guarded += [level for kind, level in events if kind.startswith(_GUARDED) and kind not in TITLES]
    raised = [level for user, level in _mapping(levels.get("users")).items() if user != bot]
    raised.append(levels.get("users_default", CLIENT_POWER))
    if any(_below(level, STAFF_POWER) for level in guarded) or any(level != CLIENT_POWER for level in raised):
        yield POWER


def _below(level: object, needed: int) -> bool:
    return level is not None and not (isinstance(level, int) and level >= needed)


def _direct_chat(request: Json, creator: UserId, bot: UserId, room_version: str) -> dict[str, Any]:
    template = _room(request, creator, bot, room_version, {DIRECT: {"user": creator}})
    title = _title(request).strip()
    name = {"name": title} if title else {}
    return {**template, **name, "creation_content": {"m.federate": False}}


def _room(request: Json, creator: UserId, bot: UserId, room_version: str, marks: Mapping[str, Json]) -> dict[str, Any]:
    topic = _topic(request)
    return {
        "preset": "private_chat",
        "visibility": "private",
        "room_version": room_version,
        "invite": [bot],
        "power_level_content_override": creation_power_levels(bot, creator),
        "initial_state": [
            {"type": kind, "state_key": "", "content": content} for kind, content in {**FIXED_STATE, **marks}.items()
        ],
        **({"topic": topic} if topic else {}),
    }


def _topic(request: Json) -> str:
    topic = request.get("topic") or _initial(request, "m.room.topic").get("topic")
    return topic if isinstance(topic, str) else ""


def _title(request: Json) -> str:
    name = request.get("name") or _initial(request, "m.room.name").get("name")
    return name if isinstance(name, str) else ""


def _initial(request: Json, kind: str) -> Json:
    """The content of an event of that type in the initial state asked for."""
    initial = request.get("initial_state")
    events = [_mapping(event) for event in initial] if isinstance(initial, list) else []
    return next((_mapping(event.get("content")) for event in events if event.get("type") == kind), {})


def _mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def spanning_steps(policy: Policy, server_name: str) -> Iterator[None]:
    """Find the organisations whose network has people on other servers, pausing after each millisecond or so."""
    abroad: set[str] = set()
    for number, (user, memberships) in enumerate(policy.accounts.items()):
        if not user.endswith(f":{server_name}"):
            abroad.update(member.organisation for member in memberships)
        if number % 2000 == 0:
            yield
    policy.memo["abroad"] = abroad


def spans_servers(policy: Policy, organisation: str) -> bool:
    """Whether anybody of the organisation or of its network is on another server; false before `spanning_steps`."""
    return any(linked(policy, organisation, other) for other in policy.memo.get("abroad", ()))
