"""What people are told when a day brings it about: a cover begins or is over, a membership has ended (BOOK-7, USR-2).

Each is told once. What was told is remembered after it was said; killed in between, the bot says it again under the
same transaction, which the homeserver knows already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bridge.direct import Direct
from bridge.store import Store
from policy.model import Cover, Membership, Moment, Policy, UserId
from policy.reach import books

COVER = "cover:"
ENDED = "ended:"
SINCE = "notices:since"
"""When notices began: what was over before is no news."""

LISTED = 50
"""Memberships in one notice to administrators."""


class Notices:
    """Tells what time has brought about."""

    def __init__(self, store: Store, direct: Direct, clock: Callable[[], Moment] = time.time) -> None:
        self._store = store
        self._direct = direct
        self._clock = clock

    async def tell(self, policy: Policy) -> None:
        """Tell what is so now and was not told yet."""
        if not policy.organisations:
            return
        now = self._clock()
        if await self._store.recall(SINCE) is None:
            await self._store.remember(SINCE, now)
        await self._tell_covers(policy, now)
        await self._tell_ended(policy, now)

    async def _tell_covers(self, policy: Policy, now: Moment) -> None:
        in_force = {_key(cover): cover for cover in _covers(policy) if cover.starts <= now < cover.ends}
        known = await self._store.recall_all(COVER)
        for key, cover in in_force.items():
            if key not in known:
                await self._begin(policy, key, cover, now)
        for key, told in known.items():
            if key not in in_force:
                await self._end(policy, key, told)

    async def _begin(self, policy: Policy, key: str, cover: Cover, now: Moment) -> None:
        absent, stand_in = policy.people[cover.absent], policy.people[cover.stand_in]
        days = f"from {cover.first_day} to {cover.last_day}"
        names = ", ".join(_book_names(policy, stand_in, now)) or "none yet"
        text = f"You stand in for {absent.name} {days}: you share their contact books until then ({names})."
        await self._say(stand_in.matrix, text, f"{key} begins")
        text = f"{stand_in.name} stands in for you {days} and shares your contact books until then."
        await self._say(absent.matrix, text, f"{key} begins")
        text = f"{stand_in.name} stands in for {absent.name} {days}."
        await self._direct.tell_admins(absent.organisation, text, about=f"{key} begins, for admins")
        told = {
            "organisation": absent.organisation,
            "absent": [absent.matrix, absent.name],
            "stand_in": [stand_in.matrix, stand_in.name],
        }
        await self._store.remember(key, told)

    async def _end(self, policy: Policy, key: str, told: Mapping[str, Any]) -> None:
        """Over by its date, or taken out of the file before."""
        (absent, absent_name), (stand_in, stand_in_name) = told["absent"], told["stand_in"]
        text = f"You stand in for {absent_name} no longer. The chats you are in stay; new ones follow your own books."
        await self._say(stand_in, text, f"{key} ends")
        await self._say(absent, f"{stand_in_name} stands in for you no longer.", f"{key} ends")
        if told["organisation"] in policy.organisations:
            text = f"{stand_in_name} stands in for {absent_name} no longer."
            await self._direct.tell_admins(told["organisation"], text, about=f"{key} ends, for admins")
        await self._store.forget(key)

    async def _tell_ended(self, policy: Policy, now: Moment) -> None:
        since: Moment = await self._store.recall(SINCE, now)
        known = await self._store.recall_all(ENDED)
        news = [
            member
            for member in policy.people.values()
            if since < member.ends <= now and member.status in ("active", "suspended") and _ended(member) not in known
        ]
        for member in news:
            organisation = policy.organisations[member.organisation].name
            text = f"Your membership of {organisation} has ended with {member.until}. Please ask its office."
            await self._say(member.matrix, text, _ended(member))
        for organisation_id in dict.fromkeys(member.organisation for member in news):
            await self._tell_admins_of_ended(
                organisation_id, [member for member in news if member.organisation == organisation_id]
            )
        for member in news:
            await self._store.remember(_ended(member), True)

    async def _tell_admins_of_ended(self, organisation: str, members: list[Membership]) -> None:
        lines = [f"- {member.name} ({member.id}), until {member.until}" for member in members[:LISTED]]
        more = [f"- … and {len(members) - LISTED} more"] if len(members) > LISTED else []
        text = "\n".join([f"These memberships have ended ({len(members)}):", *lines, *more])
        about = f"ended {organisation} {' '.join(sorted(map(_ended, members)))}"
        await self._direct.tell_admins(organisation, text, about=about)

    async def _say(self, user: UserId | None, text: str, about: str) -> None:
        if user is not None:
            await self._direct.tell(user, text, about=about)


def _covers(policy: Policy) -> Iterator[Cover]:
    return (cover for organisation in policy.organisations.values() for cover in organisation.covers)


def _key(cover: Cover) -> str:
    return f"{COVER}{cover.absent} {cover.stand_in} {cover.first_day}"


def _ended(member: Membership) -> str:
    return f"{ENDED}{member.id} {member.until}"


def _book_names(policy: Policy, stand_in: Membership, now: Moment) -> list[str]:
    """What the covers of that moment add to the stand-in's own books."""
    known = policy.organisations[stand_in.organisation].books
    return sorted(known[book].name for book in books(policy, stand_in, now) - stand_in.books)
