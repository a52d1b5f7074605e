"""What no participant may put into a room, whatever the policy: event types and the reason, as a table.

Messages are anybody's who may write, name and topic anybody's who may rename, and member events have rules of their
own (`policy.judge`). Everything else that is state belongs to the bot.
"""

from __future__ import annotations

from policy.decision import Objection

ENCRYPTED = Objection(
    "REV-1", "Chats here are on record and cannot be encrypted. Switch encryption off for this chat and send it again."
)
SPACES = Objection("BOOK-9", "Spaces are made and filled by the administrators, as contact books are.")
POWER = Objection(
    "PART-7", "What people may do in a chat follows from their role in their organisation and cannot be changed in it."
)
ENTRY = Objection("PART-1", "People come into a chat when somebody in it adds them; it cannot be opened to others.")
PUBLISHED = Objection("DIR-4", "Chats are not listed in public directories and have no public addresses.")
MAILED = Objection(
    "INV-1", "People are invited by their organisation, not from a chat. Ask an administrator to invite this person."
)
OWN_MARKS = Objection("CHAT-9", "The marks of a chat are kept by the system; only the bot sets them.")
POLICY_STAYS = Objection("EXT-2", "The policy of a chat cannot be switched off.")
RECORD = Objection("REV-1", "Chats hold messages, a name and a topic; other settings are left to the system.")

_NAMED = {
    "m.room.create": Objection("REV-1", "Rooms are made by starting a chat."),
    "m.room.encryption": ENCRYPTED,
    "m.room.encrypted": ENCRYPTED,
    "m.room.power_levels": POWER,
    "m.room.join_rules": ENTRY,
    "m.room.guest_access": Objection("INV-1", "Only people invited by their organisation can be in a chat, no guests."),
    "m.room.history_visibility": Objection(
        "PART-5", "Whoever is added to a chat reads its whole history; that is fixed."
    ),
    "m.room.server_acl": Objection("DIR-4", "Which servers take part follows from the organisations in the chat."),
    "m.room.tombstone": Objection("REV-1", "A chat stays one room so that its record is whole; it cannot be replaced."),
    "m.room.canonical_alias": PUBLISHED,
    "m.room.aliases": PUBLISHED,
    "m.room.policy": POLICY_STAYS,
    "org.matrix.msc4284.policy": POLICY_STAYS,
    "m.room.third_party_invite": MAILED,
    "m.room.avatar": Objection("CHAT-9", "The picture of a chat shows its kind and is set by the system."),
    "org.qwil.draft": Objection(
        "CHAT-1", "Who is named for a draft is kept by the system. Invite people to name them."
    ),
    "org.qwil.direct": Objection("BUT-1", "The direct chat with the bot is marked by the system."),
}
_FAMILIES = {"m.space.": SPACES, "org.qwil.": OWN_MARKS}

TITLES = ("m.room.name", "m.room.topic")


def objection_to(kind: str, *, state: bool) -> Objection | None:
    """Why no participant may send this type of event, as state or as a message; none where it depends on who asks."""
    if named := _NAMED.get(kind):
        return named
    if family := next((objection for prefix, objection in _FAMILIES.items() if kind.startswith(prefix)), None):
        return family
    return RECORD if state and kind not in TITLES else None
