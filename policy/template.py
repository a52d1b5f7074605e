"""What a room of ours looks like: its settings at creation and its power levels afterwards.

The creator of a chat has no power in it: the bot is invited with 100, joins and tightens. Until then every type of the
initial state is open by power levels (Synapse sends it as the creator) and closed by the module.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterable, Mapping
from typing import Any

from policy.model import DEFAULT_TITLE, UserId
from policy.rooms import CHAT, DIRECT, DRAFT

ROOM_VERSION = "11"

BOT_POWER = 100
STAFF_POWER = 50
CLIENT_POWER = 0

POLICY = "m.room.policy"

LONGEST_TITLE = 255

_NO_LETTERS = {"Cc", "Cs", "Zl", "Zp"}
_NO_TURNS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
"""What turns the direction of everything after it, to the end of the bot's sentence."""

FIXED_STATE: dict[str, dict[str, str]] = {
    "m.room.join_rules": {"join_rule": "invite"},
    "m.room.history_visibility": {"history_visibility": "shared"},
    "m.room.guest_access": {"guest_access": "forbidden"},
}
"""State every room of ours has, state key ""; PART-5: newcomers read the whole history."""

_OPEN_AT_CREATION = (*FIXED_STATE, "m.room.name", "m.room.topic", POLICY, CHAT, DRAFT, DIRECT)


def creation_power_levels(bot: UserId, creator: UserId) -> dict[str, Any]:
    """Power levels of a room that its creator has asked for and the bot has not entered yet."""
    events = dict.fromkeys(_OPEN_AT_CREATION, CLIENT_POWER)
    return {**power_levels(bot, ()), "users": {bot: BOT_POWER, creator: CLIENT_POWER}, "events": events}


def power_levels(bot: UserId, staff: Iterable[UserId]) -> dict[str, Any]:
    """Power levels of a chat: everybody may write, rename and invite, staff may remove clients, the bot the rest."""
    return {
        "users": {bot: BOT_POWER, **dict.fromkeys(sorted(set(staff)), STAFF_POWER)},
        "users_default": CLIENT_POWER,
        "events": {
            "m.room.name": CLIENT_POWER,
            "m.room.topic": CLIENT_POWER,
            "m.room.avatar": BOT_POWER,
            "m.room.power_levels": BOT_POWER,
            "m.room.tombstone": BOT_POWER,
        },
        "events_default": CLIENT_POWER,
        "state_default": BOT_POWER,
        "invite": CLIENT_POWER,
        "kick": STAFF_POWER,
        "ban": BOT_POWER,
        "redact": BOT_POWER,
        "notifications": {"room": STAFF_POWER},
    }


def kept_powers(levels: Mapping[str, Any], inside: Container[UserId]) -> dict[UserId, int]:
    """Power that nobody can take any more: it is as much as the bot's, and its holders are out of the room.

    Only rooms from before have such people; should they come back, they give it up.
    """
    users = levels.get("users")
    held = users.items() if isinstance(users, Mapping) else ()
    return {user: level for user, level in held if type(level) is int and level >= BOT_POWER and user not in inside}


def room_name(title: str) -> str:
    """CHAT-6: an empty title is the default one. It is one line, as the bot quotes it in sentences of its own."""
    shown = "".join(" " if unicodedata.category(letter) in _NO_LETTERS else letter for letter in title)
    return " ".join(shown.translate(_NO_TURNS).split())[:LONGEST_TITLE].strip() or DEFAULT_TITLE
