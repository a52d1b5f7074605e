"""A room seen as a chat: which membership each Matrix ID stands for, and what of it the rules need to know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from policy.decision import Badge, Kind
from policy.model import Membership, Moment, PersonId, Policy, UserId
from policy.observation import Look
from policy.question import Chat
from policy.reach import linked, status

CHAT = "org.qwil.chat"
"""State event of a chat, state key "": `{organisation, kind, draft, staff_only}`; only the bot sets it."""

DRAFT = "org.qwil.draft"
"""State event of a draft, state key "": `{with: [...]}`, whoever comes in with the first message."""

DIRECT = "org.qwil.direct"
"""State event that marks the direct chat of one person with the bot: `{user}`."""

SPACE = "org.qwil.space"
"""State event of a space made by the bot: `{book: "organisation/book"}` or `{external: "@user:server"}`."""

BOT_NAME = "qwil"
"""What the bot is called."""

GIVEN_FOR = "org.qwil.organisation"
"""In a message of the bot with a file: for which organisation the person was given it."""

KINDS: dict[str, Kind] = {"staff": "staff", "client": "client", "external": "external"}


def stands_for(policy: Policy, organisation: str, user: UserId, now: Moment) -> Membership | None:
    """The membership a Matrix ID takes part with in a chat of that organisation, or none if it cannot.

    Its membership of the home organisation if it has one that has not left, else its staff membership of an
    organisation of the network.
    """
    memberships = policy.accounts.get(user, ())
    if len(memberships) == 1 and memberships[0].organisation == organisation:
        return memberships[0] if status(memberships[0], now) != "left" else None
    if organisation not in policy.organisations:
        return None
    lasting = [member for member in memberships if status(member, now) != "left"]
    for member in lasting:
        if member.organisation == organisation:
            return member
    abroad = [m for m in lasting if m.role == "staff" and linked(policy, organisation, m.organisation)]
    # Whoever has not accepted an invitation there yet is staff here by the membership they have.
    return min(abroad, key=lambda member: status(member, now) == "invited", default=None)


def stood_for(policy: Policy, organisation: str, user: UserId, now: Moment) -> Membership | None:
    """The same for somebody who is or was in the room: also a membership that has left, or left the network."""
    memberships = policy.accounts.get(user, ())
    if len(memberships) == 1:
        return memberships[0]
    if not memberships:
        return None
    if organisation not in policy.organisations:
        return memberships[0]
    at_home = (member for member in memberships if member.organisation == organisation)
    staff = [member for member in memberships if member.role == "staff"]
    linked_staff = (member for member in staff if linked(policy, organisation, member.organisation))
    return (
        stands_for(policy, organisation, user, now)
        or next(at_home, None)
        or next(linked_staff, None)
        or next(iter(staff), memberships[0])
    )


def chat_in_room(
    policy: Policy,
    content: Mapping[str, Any],
    present: Iterable[UserId],
    former: Iterable[UserId],
    now: Moment,
    *,
    creator: UserId | None = None,
) -> Chat | None:
    """The chat in a room with that `org.qwil.chat`; none if its organisation is not in the policy.

    `present` are the Matrix IDs joined, invited or named for the draft, without the bot. Whoever is in no organisation
    is left out: such an account may do nothing in a chat, and the kind kept in the content remembers who it was.
    """
    organisation = content.get("organisation")
    if not isinstance(organisation, str) or organisation not in policy.organisations:
        return None

    def people(users: Iterable[UserId]) -> tuple[PersonId, ...]:
        members = [stood_for(policy, organisation, user, now) for user in users]
        return tuple(dict.fromkeys([member.id for member in members if member is not None]))

    author = stood_for(policy, organisation, creator, now) if creator else None
    return Chat(
        organisation=organisation,
        participants=people(present),
        former=people(former),
        staff_only=content.get("staff_only") is True,
        draft=content.get("draft") is True,
        creator=author.id if author else None,
        was=KINDS.get(str(content.get("kind"))),
    )


def shown_name(policy: Policy, member: Membership, home: str | None) -> str:
    """How a member is called in a chat of that organisation: from outside with the own organisation (EXT-8)."""
    if home is None or home == member.organisation:
        return member.name
    return f"{member.name} ({policy.organisations[member.organisation].name})"


def unavailable(name: str) -> str:
    """How somebody suspended is called outside of chats, in lists and in the search (USR-1)."""
    return f"{name} (Unavailable)"


def profile_name(look: Look) -> str:
    """What an account's own name is, outside of any room."""
    return look.name if look.available else unavailable(look.name)


def listed_name(policy: Policy, member: Membership, viewer: str, now: Moment) -> str:
    """How a member is called in a list that somebody of that organisation sees."""
    name = shown_name(policy, member, viewer)
    return unavailable(name) if status(member, now) == "suspended" else name


def shown_badge(member: Membership, home: str | None) -> Badge:
    """The badge in a chat of that organisation: clients C, its own staff S, everyone else's staff E."""
    if member.role == "client":
        return "C"
    return "S" if home is None or home == member.organisation else "E"


def badge_file(badge: Badge, user: UserId) -> str:
    """The name under which the bot uploads a person's avatar: what makes it recognisable as theirs."""
    return f"badge-{badge}-{user}.png"


def kind_file(kind: Kind) -> str:
    """The same for the avatar of chats of a kind."""
    return f"kind-{kind}.png"


def is_picture_of_ours(file: str | None) -> bool:
    """Is that the name of an avatar that the bot made?"""
    kinds = set(map(kind_file, KINDS.values()))
    return file is not None and (file in kinds or (file.startswith("badge-") and file.endswith(".png")))
