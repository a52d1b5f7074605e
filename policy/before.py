"""A room from before: one that is none of ours, as its state says; whatever has the wrong shape counts as missing.

It was there before the policy was, or was made where nothing shaped it. Most say nothing about the policy; some can be
taken over and become chats (`policy.takeover`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from policy.model import UserId

FIRST_VERSION = "1"
"""What a create event without a room version means (Matrix specification, m.room.create)."""


@dataclass(frozen=True, slots=True)
class RoomBefore:
    """What of such a room decides whether it can become a chat."""

    id: str
    creator: UserId
    members: tuple[UserId, ...]
    """Everybody joined."""
    invited: tuple[UserId, ...] = ()
    former: tuple[UserId, ...] = ()
    """Who left it or was removed; whoever was only invited once is among them."""
    made: int = 0
    """Milliseconds since the epoch, as its creator's homeserver says."""
    name: str = ""
    version: str = FIRST_VERSION
    type: str = ""
    """`m.space` and the like; empty in ordinary rooms."""
    encrypted: bool = False
    replaced: bool = False
    """It was upgraded: another room took its place."""
    published: bool = False
    """It stands in the homeserver's public directory."""
    join_rule: str = "invite"
    history: str = "shared"
    levels: Mapping[str, Any] = field(default_factory=dict)
    """Content of `m.room.power_levels`; empty where there is none."""


def room_before(room: str, state: Iterable[Any], *, published: bool = False) -> RoomBefore:
    """The room with these state events, each an object as the homeserver has it."""
    events = [event for event in state if isinstance(event, Mapping) and isinstance(event.get("state_key"), str)]
    settings = {str(event.get("type")): event for event in events if event["state_key"] == ""}
    create = settings.get("m.room.create", {})

    def content(kind: str) -> Mapping[str, Any]:
        return _mapping(settings.get(kind, {}).get("content"))

    def people(*memberships: str) -> tuple[UserId, ...]:
        members = (event for event in events if event.get("type") == "m.room.member")
        return tuple(
            sorted(UserId(one["state_key"]) for one in members if _membership(one) in memberships),
        )

    sent = create.get("origin_server_ts")
    return RoomBefore(
        id=room,
        creator=UserId(_text(create.get("sender"))),
        members=people("join"),
        invited=people("invite", "knock"),
        former=people("leave", "ban"),
        made=sent if isinstance(sent, int) else 0,
        name=_text(content("m.room.name").get("name")).strip(),
        version=_text(content("m.room.create").get("room_version")) or FIRST_VERSION,
        type=_text(content("m.room.create").get("type")),
        encrypted="m.room.encryption" in settings,
        replaced="m.room.tombstone" in settings,
        published=published,
        join_rule=_text(content("m.room.join_rules").get("join_rule")) or "public",
        history=_text(content("m.room.history_visibility").get("history_visibility")) or "shared",
        levels=dict(content("m.room.power_levels")),
    )


def as_data(before: RoomBefore) -> dict[str, Any]:
    """The room as JSON has it."""
    return asdict(before)


def from_data(data: Mapping[str, Any]) -> RoomBefore:
    """The room that `as_data` made JSON of."""
    lists = {key: tuple(map(UserId, data[key])) for key in ("members", "invited", "former")}
    return RoomBefore(**{**data, **lists})


def _membership(event: Mapping[str, Any]) -> str:
    return _text(_mapping(event.get("content")).get("membership"))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
