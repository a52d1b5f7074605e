"""What a member event says of a person: the policy's name, and a picture only where the bot made it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from policy.decision import Badge
from policy.model import Membership, Policy, UserId
from policy.rooms import badge_file, shown_badge, shown_name

_MXC = re.compile(r"mxc://([^/]+)/([A-Za-z0-9_=-]+)")
_KEPT = ("membership", "reason", "is_direct")


def media_id(url: object, server_name: str) -> str | None:
    """The id of a picture on our own server; none for any other address."""
    found = _MXC.fullmatch(url) if isinstance(url, str) else None
    return found[2] if found and found[1] == server_name else None


def badge_named(file: str | None, user: UserId) -> Badge | None:
    """The letter in a file name under which the bot uploads that person's avatars."""
    letters: tuple[Badge, ...] = get_args(Badge)
    return next((letter for letter in letters if file == badge_file(letter, user)), None)


def member_content(
    policy: Policy,
    member: Membership | None,
    home: str | None,
    content: Mapping[str, Any],
    *,
    before: Mapping[str, Any],
    badge: Badge | None,
) -> dict[str, Any]:
    """A member event as it may stand in a room of that organisation, whatever name and picture its sender asked for.

    `badge` is the letter of the picture in `content` where it is one of the bot's for this very person; a picture that
    may not stand gives way to the one before. Whoever is in no organisation has neither name nor picture.
    """
    kept = {key: content[key] for key in _KEPT if key in content}
    if member is None:
        return kept
    avatar = content.get("avatar_url") if badge == shown_badge(member, home) else before.get("avatar_url")
    return kept | {"displayname": shown_name(policy, member, home)} | ({"avatar_url": avatar} if avatar else {})
