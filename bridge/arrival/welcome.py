"""Somebody has arrived: the bot opens their direct chat with the organisation's welcome and tells the staff (BUT-2).

Whoever was a member when the bridge first ran is not greeted: they have been there all along.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator

from bridge.arrival.ledger import Ledger
from bridge.arrival.marks import said
from bridge.arrival.phone import phone_of
from bridge.arrival.words import wording_of
from bridge.direct import Direct
from bridge.homeserver import Homeserver, Refused
from bridge.perform import Performer
from bridge.policy_file import PolicySource
from bridge.store import Store
from policy.model import Membership, Moment, Organisation, PersonId, Policy, UserId
from policy.reach import present, see, status

MET = "met:"
MET_AT_FIRST = "met-at-first"
MEETING = "meeting:"
"""Whose greeting has begun and is not over: some of it may be said already."""

MARK = "org.qwil.arrival"
"""In each message: the occasion and whose arrival it is about, as a hash, since identifiers are for administrators."""

AGAIN = 15.0
"""Seconds until somebody who could not be greeted is tried again: their account may be on its way."""

PLACEHOLDERS = ("first_name", "last_name", "name", "organisation")
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")

log = logging.getLogger("qwil.arrival")


class Welcomes:
    """Greets everybody once."""

    def __init__(
        self,
        *,
        source: PolicySource,
        store: Store,
        direct: Direct,
        homeserver: Homeserver,
        performer: Performer,
        ledger: Ledger,
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._source = source
        self._store = store
        self._direct = direct
        self._homeserver = homeserver
        self._performer = performer
        self._ledger = ledger
        self._clock = clock
        self._met: set[str] = set()
        self._begun: set[str] = set()
        self._loaded = False
        self._seen: Policy | None = None
        self._later: dict[PersonId, Moment] = {}

    async def load(self) -> None:
        """Remember who was greeted; at the very first start everybody who is there already counts as such."""
        first = await self._store.recall(MET_AT_FIRST)
        if first is None:
            policy, now = self._source.policy, self._clock()
            if not policy.organisations:
                return
            first = sorted(member.id for member in policy.people.values() if present(member, now))
            await self._store.remember(MET_AT_FIRST, first)
        later = await self._store.recall_all(MET)
        self._met = {*first, *(key.removeprefix(MET) for key in later)}
        self._begun = {key.removeprefix(MEETING) for key in await self._store.recall_all(MEETING)}
        self._loaded = True

    async def work(self) -> None:
        """Greet everybody new; who cannot be reached yet is tried again."""
        if not self._loaded:
            await self.load()
        policy, now = self._source.policy, self._clock()
        due = any(moment <= now for moment in self._later.values())
        if not self._loaded or (policy is self._seen and not due):
            return
        for member in policy.people.values():
            if member.id not in self._met and member.matrix is not None and status(member, now) == "active":
                await self._meet(policy, member, now)
        self._seen = policy

    async def _meet(self, policy: Policy, member: Membership, now: Moment) -> None:
        if self._later.get(member.id, 0.0) > now:
            return
        sure = member.id not in self._begun
        if sure:
            await self._store.remember(f"{MEETING}{member.id}", now)
            self._begun.add(member.id)
        try:
            await self._greet(policy.organisations[member.organisation], member, sure=sure)
        except Refused as refusal:
            log.info("%s could not be greeted yet: %s", member.id, refusal)
            self._later[member.id] = now + AGAIN
            return
        await self._announce(policy, member, now, sure=sure)
        await self._store.remember(f"{MET}{member.id}", now)
        await self._store.forget(f"{MEETING}{member.id}")
        self._met.add(member.id)
        self._begun.discard(member.id)
        self._later.pop(member.id, None)

    async def _greet(self, organisation: Organisation, member: Membership, *, sure: bool) -> None:
        assert member.matrix is not None  # noqa: S101 - asked before
        await self._say(member.matrix, greeting(organisation, member), f"welcome {member.id}", sure=sure)

    async def _announce(self, policy: Policy, member: Membership, now: Moment, *, sure: bool) -> None:
        """Once to every account of the staff on whose contact list the newcomer is (INV-4), with the phone number."""
        number = phone_of(member, self._ledger.get(member.id))
        text = announcement(policy.organisations[member.organisation], member, number)
        for one in staff_who_see(policy, member, now):
            if one.matrix is not None:
                try:
                    await self._say(one.matrix, text, f"joined {member.id}", sure=sure)
                except Refused as refusal:
                    log.warning("%s could not be told that %s has joined: %s", one.matrix, member.id, refusal)

    async def _say(self, user: UserId, text: str, about: str, *, sure: bool) -> None:
        """Once; where it is not `sure` that nothing was said before a kill, the chat is asked. Raises `Refused`."""
        room, mark = await self._direct.room(user), hashlib.sha256(about.encode()).hexdigest()
        if sure or mark not in await said(self._homeserver, room, MARK):
            await self._performer.say_in(room, text, about=about, marks={MARK: mark})


def staff_who_see(policy: Policy, member: Membership, now: Moment) -> Iterator[Membership]:
    """The active staff who can chat with somebody from their contact list, each Matrix ID once."""
    told = {member.matrix}
    for one in policy.people.values():
        colleague = one.organisation == member.organisation and one.role == "staff" and status(one, now) == "active"
        if colleague and one.matrix not in told and see(policy, one, member, now):
            told.add(one.matrix)
            yield one


def greeting(organisation: Organisation, member: Membership) -> str:
    """The organisation's welcome for one person, with its link; ours where it has none of its own."""
    welcome = organisation.welcome
    if welcome is None:
        first_name = _names(organisation, member)["first_name"] or member.name
        return wording_of(organisation.language)("bot_welcome", organisation=organisation.name, first_name=first_name)
    return "\n".join(filter(None, [with_names(welcome.text, organisation, member), welcome.link]))


def announcement(organisation: Organisation, member: Membership, number: str) -> str:
    """What the staff are told of a newcomer, in the language of their organisation."""
    w = wording_of(organisation.language)
    joined = w("bot_joined", name=with_title(member), organisation=organisation.name)
    return f"{joined} {w('bot_phone', number=number)}" if number else joined


def with_names(text: str, organisation: Organisation, member: Membership) -> str:
    """The text with `{first_name}`, `{last_name}`, `{name}` and `{organisation}` filled in; all else stays as it is."""
    names = _names(organisation, member)
    return PLACEHOLDER.sub(lambda found: names.get(found[1], found[0]), text)


def _names(organisation: Organisation, member: Membership) -> dict[str, str]:
    first, _, last = member.name.partition(" ")
    return {
        "first_name": member.first_name or (first if not member.last_name else ""),
        "last_name": member.last_name or (last if not member.first_name else ""),
        "name": member.name,
        "organisation": organisation.name,
    }


def unknown_placeholders(text: str) -> list[str]:
    """What stands in a text like a placeholder and is none: it would be sent as it is written."""
    written = re.findall(r"\{\s*[A-Za-z][A-Za-z0-9_ -]{0,39}\}", text)
    return [one for one in dict.fromkeys(written) if one[1:-1] not in PLACEHOLDERS]


def with_title(member: Membership) -> str:
    """The name with the job title, which for parents names the child (INV-3)."""
    return f"{member.name} ({member.job_title})" if member.job_title else member.name
