"""What has to be done on the homeserver, as a short list in plain words, with a hash that names exactly this list.

`policy.reconcile` computes the actions and `bridge.perform` does them; here they are put in order, said in words, and
divided into what is done by itself and what waits for somebody to say `apply`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from policy.action import (
    Accept,
    Action,
    EnterSpace,
    LeaveSpace,
    ListInSpace,
    MakeSpace,
    NameSpace,
    Release,
    Remove,
    Return,
    SetChat,
    SetLook,
    SetPower,
    SetProfile,
    ShowKind,
    StepDown,
    TakeOver,
    UnlistInSpace,
    Wait,
    Withdraw,
)
from policy.model import Moment, Policy, UserId
from policy.observation import Look, Observation, Room, RoomName, Settings
from policy.reach import status
from policy.reconcile import reconcile
from policy.rooms import shown_name, stood_for, unavailable
from policy.takeover import Stays, take_over

Section = Literal["removals", "chats", "spaces", "names"]

SECTIONS: Mapping[Section, str] = {
    "removals": "Removals from chats",
    "chats": "Chats",
    "spaces": "Spaces",
    "names": "Names and badges",
}
"""The parts of a plan in their order: what takes something away from people comes first."""

Seat = tuple[RoomName, UserId]
"""Somebody's place in a chat."""

HASH_LENGTH = 16
"""Hexadecimal digits: enough that no two plans share a hash, few enough to type."""


def is_hash(word: str) -> bool:
    """Could a plan be called so?"""
    return len(word) == HASH_LENGTH and set(word) <= set("0123456789abcdef")


class Step(NamedTuple):
    """One action with the words for it."""

    action: Action
    section: Section
    text: str
    waits: bool
    """Only `apply` does it; everything else is done by itself."""
    organisations: frozenset[str]
    """Whose administrators it concerns."""


@dataclass(frozen=True)
class Plan:
    """Everything that is due, and remarks about what no action mends."""

    steps: tuple[Step, ...]
    full: tuple[Wait, ...] = ()
    """Whoever might come back into a chat that has no room for them: nothing is done about it."""
    notes: tuple[str, ...] = ()
    stays: tuple[Stays, ...] = ()
    """The rooms from before that are not taken over, and why."""

    @cached_property
    def hash(self) -> str:
        """Names the actions, whatever their order; two plans share it only if they do the same."""
        lines = sorted(json.dumps(as_data(step.action), sort_keys=True) for step in self.steps)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:HASH_LENGTH]

    @property
    def actions(self) -> list[Action]:
        """What performing the plan does, in its order."""
        return [step.action for step in self.steps]

    @property
    def waiting(self) -> tuple[Step, ...]:
        """The removals that only `apply` does."""
        return tuple(step for step in self.steps if step.waits and step.section == "removals")

    def of(self, organisations: Collection[str]) -> Plan:
        """The part that concerns these organisations."""
        return Plan(
            tuple(step for step in self.steps if not step.organisations.isdisjoint(organisations)),
            stays=tuple(room for room in self.stays if not room.organisations.isdisjoint(organisations)),
        )


def plan(
    policy: Policy,
    seen: Observation,
    now: Moment,
    settings: Settings,
    *,
    wait_above: int,
    waited: Collection[Seat] = frozenset(),
) -> Plan:
    """What makes the homeserver what the policy says.

    A change that takes more than `wait_above` people out of chats waits; `waited` are the seats that waited before.
    """
    before = [take_over(policy, room, now, bot=seen.bot, server=seen.server) for room in seen.before.values()]
    actions = [*(room for room in before if isinstance(room, TakeOver)), *reconcile(policy, seen, now, settings)]
    held = held_seats(actions, wait_above, waited)
    words = _Words(policy, seen, now)
    steps = [words.step(action, held) for action in actions if not isinstance(action, Wait)]
    full = tuple(action for action in actions if isinstance(action, Wait))
    places = [words.step(action, held).text for action in full]
    ordered = sorted(steps, key=_place)
    stays = tuple(room for room in before if isinstance(room, Stays))
    return Plan(tuple(ordered), full, (*places, *_crowded(policy, seen, now)), stays)


def _place(step: Step) -> tuple[int, bool, bool]:
    """Power is given up before anybody goes: nobody else can take it, and it keeps the bot from removing them."""
    return list(SECTIONS).index(step.section), not isinstance(step.action, StepDown), not step.waits


def in_words(policy: Policy, seen: Observation, now: Moment, actions: Iterable[Action]) -> Iterator[Step]:
    """Each action as a plan would say it."""
    words = _Words(policy, seen, now)
    return (words.step(action, frozenset()) for action in actions)


def held_seats(actions: Iterable[Action], wait_above: int, waited: Collection[Seat] = frozenset()) -> frozenset[Seat]:
    """The seats whose removal waits for `apply`, because nobody shall be surprised by it.

    These are people of an organisation that left the network (EXT-13), everybody where one change takes out more people
    than the setting, and whoever waited before: that some of them went by themselves does not make it nobody's doing.
    """
    removals = [action for action in actions if isinstance(action, Remove | Withdraw)]
    if len({action.user for action in removals}) > wait_above:
        return frozenset((action.room, action.user) for action in removals)
    return frozenset(
        seat
        for action in removals
        if (seat := (action.room, action.user)) in waited or (isinstance(action, Remove) and action.waits)
    )


def waits(action: Action, held: Collection[Seat]) -> bool:
    """Does this action wait for `apply`? The rights in a chat are set when those have gone who will have none."""
    match action:
        case Remove(room, user) | Withdraw(room, user):
            return (room, user) in held
        case SetPower(room):
            return any(room == where for where, _ in held)
        case TakeOver():
            return True
    return False


def as_data(action: Action) -> dict[str, Any]:
    """The action as JSON has it: `{"do": "Remove", "room": ..., ...}`."""
    return {"do": type(action).__name__, **{name: _plain(value) for name, value in asdict(action).items()}}


def _plain(value: Any) -> Any:
    return value._asdict() if isinstance(value, Look) else value


def as_json(planned: Plan) -> dict[str, Any]:
    """The plan for programs."""
    return {
        "hash": planned.hash,
        "steps": [
            {"section": step.section, "text": step.text, "waits": step.waits, "action": as_data(step.action)}
            for step in planned.steps
        ],
        "notes": list(planned.notes),
        "rooms_from_before": [{"room": room.room, "text": room.text} for room in planned.stays],
    }


def lines(planned: Plan, longest: int | None = None) -> Iterator[str]:
    """The plan for people; of each section at most `longest` lines are shown, and how many more there are."""
    for section, heading in SECTIONS.items():
        texts = [f"- {step.text}{_WAITS if step.waits else ''}" for step in planned.steps if step.section == section]
        if not texts:
            continue
        yield f"{heading} ({len(texts)}):"
        yield from texts[:longest]
        if longest is not None and len(texts) > longest:
            yield f"- … and {len(texts) - longest} more"
    yield from (f"Note: {note}" for note in planned.notes[:longest])
    if planned.stays:
        yield f"Rooms from before that stay as they are, where people may write and leave ({len(planned.stays)}):"
        yield from (f"- {room.text}" for room in planned.stays[:longest])
        if longest is not None and len(planned.stays) > longest:
            yield f"- … and {len(planned.stays) - longest} more"


_WAITS = " [waits for apply]"


class _Words:
    """Says actions in words, by people's names and rooms' titles."""

    def __init__(self, policy: Policy, seen: Observation, now: Moment) -> None:
        self.policy, self.seen, self.now = policy, seen, now

    def step(self, action: Action, held: Collection[Seat]) -> Step:
        section, say = _SAID[type(action)]
        return Step(action, section, say(self, action), waits(action, held), self._concerned(action))

    def who(self, user: UserId, room: RoomName | None = None) -> str:
        """By the name others in the room see, else by the name of the first membership."""
        known = self.seen.rooms.get(room) if room is not None else None
        if known is not None and known.home in self.policy.organisations:
            member = stood_for(self.policy, known.home, user, self.now)
            return shown_name(self.policy, member, known.home) if member is not None else user
        members = self.policy.accounts.get(user, ())
        return members[0].name if members else user

    def chat(self, room: RoomName) -> str:
        known = self.seen.rooms.get(room)
        if known is None:
            return f"“{room}”"
        home = self.policy.organisations.get(known.home)
        return f"“{known.name or room}”" + (f" of {home.name}" if home is not None else "")

    def space(self, room: RoomName) -> str:
        known = self.seen.rooms.get(room)
        owner = UserId(str(known.space["external"])) if known is not None and "external" in known.space else None
        title = known.name if known is not None else room
        return f"the space “{title}”" + (f" of {self.who(owner)}" if owner is not None else "")

    def _concerned(self, action: Action) -> frozenset[str]:
        match action:
            case SetProfile(user, _):
                return self._organisations(user)
            case MakeSpace(key=key):
                return self._keepers(key)
            case TakeOver(chat=chat):
                return frozenset({str(chat["organisation"])})
        known: Room | None = self.seen.rooms.get(action.room)
        if known is None:
            return frozenset()
        return self._keepers(known.space) if known.space else frozenset({known.home})

    def _keepers(self, key: Mapping[str, Any]) -> frozenset[str]:
        """Whose a space is: the book's organisation, or those of its one owner."""
        if "external" in key:
            return self._organisations(UserId(str(key["external"])))
        return frozenset({str(key.get("book", "")).partition("/")[0]})

    def _organisations(self, user: UserId) -> frozenset[str]:
        return frozenset(member.organisation for member in self.policy.accounts.get(user, ()))


def _made(words: _Words, action: MakeSpace) -> str:
    if "external" in action.key:
        return f"the space “{action.name}” is made for {words.who(UserId(action.key['external']))}"
    people = "1 person" if len(action.members) == 1 else f"{len(action.members)} people"
    return f"the space “{action.name}” is made for book {action.key.get('book')}, with {people}"


def _kind(words: _Words, action: SetChat) -> str:
    kind = action.content.get("kind")
    told = ", and everybody in it is told (EXT-12)" if action.notice else ""
    return f"{words.chat(action.room)} is a chat of kind {kind} from now on{told}"


def _looks(words: _Words, action: SetLook) -> str:
    return f"{action.user} is shown as “{action.look.name}” with badge {action.look.badge} in {words.chat(action.room)}"


def _profile(_words: _Words, action: SetProfile) -> str:
    name, badge, available = action.look
    return f"{action.user} is called “{name if available else unavailable(name)}” with badge {badge}"


def _taken(words: _Words, action: TakeOver) -> str:
    room = words.seen.before[action.room]
    home = words.policy.organisations[str(action.chat["organisation"])].name
    called = f", called “{action.name}” from then on" if action.name else ""
    out = f"; {len(action.withdrawn)} old invitations to it end" if action.withdrawn else ""
    return (
        f"the room from before “{room.name or room.id}” with {len(action.members)} people becomes a chat of {home} "
        f"of kind {action.chat['kind']}{called}{out}"
    )


_SAID: Mapping[type[Action], tuple[Section, Callable[[_Words, Any], str]]] = {
    Remove: (
        "removals",
        lambda w, a: f"{w.who(a.user, a.room)} is removed from {w.chat(a.room)}: {a.reason} ({a.rule})",
    ),
    Withdraw: (
        "removals",
        lambda w, a: f"{w.who(a.user, a.room)} is out of {w.chat(a.room)} while suspended, and comes back (USR-1)",
    ),
    Release: (
        "removals",
        lambda w, a: f"{w.who(a.user, a.room)} does not come back to {w.chat(a.room)}: {a.reason}",
    ),
    Return: ("chats", lambda w, a: f"{w.who(a.user, a.room)} comes back to {w.chat(a.room)} (USR-1)"),
    Wait: ("chats", lambda w, a: f"{w.who(a.user, a.room)} cannot come back to {w.chat(a.room)} yet: {a.reason}"),
    Accept: ("chats", lambda w, a: f"{w.who(a.user, a.room)} enters {w.chat(a.room)}, as invited"),
    SetChat: ("chats", _kind),
    ShowKind: ("chats", lambda w, a: f"{w.chat(a.room)} shows the picture of its kind, {a.kind} (CHAT-9)"),
    SetPower: ("chats", lambda w, a: f"the rights in {w.chat(a.room)} are set: its staff may remove people (PART-7)"),
    StepDown: ("removals", lambda w, a: f"{w.who(a.user, a.room)} gives up the power to change {w.chat(a.room)}"),
    TakeOver: ("chats", _taken),
    MakeSpace: ("spaces", _made),
    NameSpace: ("spaces", lambda w, a: f"{w.space(a.room)} is called “{a.name}”"),
    EnterSpace: ("spaces", lambda w, a: f"{w.who(a.user)} comes into {w.space(a.room)}"),
    LeaveSpace: ("spaces", lambda w, a: f"{w.who(a.user)} goes out of {w.space(a.room)}"),
    ListInSpace: ("spaces", lambda w, a: f"{w.chat(a.child)} is shown in {w.space(a.room)}"),
    UnlistInSpace: ("spaces", lambda w, a: f"{w.chat(a.child)} is shown in {w.space(a.room)} no longer"),
    SetProfile: ("names", _profile),
    SetLook: ("names", _looks),
}
"""What each action is called in a plan."""


def _crowded(policy: Policy, seen: Observation, now: Moment) -> Iterator[str]:
    """Chats with more people than their organisation allows now: nobody is thrown out, nobody comes in (CHAT-3)."""
    for room in seen.rooms.values():
        home = policy.organisations.get(room.home)
        if home is None or room.draft:
            continue
        inside = list(room.inside(seen.bot))
        if len(inside) <= home.max_participants:
            continue
        inside = [user for user in inside if _stays(policy, room.home, user, now)]
        if len(inside) > home.max_participants:
            yield (
                f"“{room.name or room.id}” of {home.name} has {len(inside)} participants and may have "
                f"{home.max_participants}: nobody can be added until some have left (CHAT-3)"
            )


def _stays(policy: Policy, home: str, user: UserId, now: Moment) -> bool:
    member = stood_for(policy, home, user, now)
    return member is not None and status(member, now) not in ("left", "suspended")
