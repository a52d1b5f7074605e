"""The two sets of terms, the platform's and the organisation's, and who has accepted which version (TRM-1).

The policy says which version of an organisation's is in force, config.yaml which of the platform's; who accepted what
is in the database. Who owes an answer is written into a file beside the policy, which the Synapse module follows like
the policy itself: it refuses their messages from memory. Whoever was a member when an organisation was first met has
accepted its version of then: they came before the bridge. The platform's terms are the bridge's own, and everybody is
asked. The bot speaks of them in the language of the organisation, for somebody in several in that of the first to ask.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from bridge.arrival.words import Wording, wording_of
from bridge.config import Config
from bridge.direct import Direct
from bridge.policy_file import PolicySource
from bridge.store import Store
from policy.model import Membership, Moment, Organisation, PersonId, Policy, UserId
from policy.reach import present, status
from policy.terms import Owed, Unread, owed_file, owed_text

ACCEPTED = "terms:"
"""`terms:ORGANISATION/IDENTIFIER`: the version of the organisation's terms that somebody accepted."""

PLATFORM_ACCEPTED = "platform-terms:"
"""`platform-terms:MATRIX-ID`: the version of the platform's."""

AT_FIRST = "terms-at-first:"
"""`terms-at-first:ORGANISATION`: the version in force when the organisation was first met, and its people then."""

TOLD = "terms-told:"
"""`terms-told:MATRIX-ID`: the sets and versions that the bot has last told somebody of."""

PAGE = "/terms"
"""Where the platform's terms are shown that config.yaml names as a file."""

EACH_TURN = 10

log = logging.getLogger("qwil.arrival")


class Terms(NamedTuple):
    """A set of terms in its present version."""

    field: str
    """`platform` or `terms`: the box on the page."""
    whose: str
    version: str
    link: str

    def key(self, member: PersonId, user: UserId) -> str:
        """Under which it is kept that somebody accepted: the platform's once for an account."""
        return f"{PLATFORM_ACCEPTED}{user}" if self.field == "platform" else f"{ACCEPTED}{member}"


def platform_terms(config: Config) -> Terms | None:
    """The platform's own terms, if it has any."""
    theirs = config.terms
    if not theirs.version:
        return None
    link = theirs.link or (f"{config.web.address}{PAGE}" if config.web.address else "")
    return Terms("platform", theirs.name or config.homeserver.server_name, theirs.version, link)


def _of(organisation: Organisation) -> Terms | None:
    """The organisation's terms, if it has any."""
    terms = organisation.terms
    return Terms("terms", organisation.name, terms.version, terms.link) if terms else None


class TermsKept:
    """Knows who has accepted what, and who owes an answer."""

    def __init__(
        self,
        *,
        source: PolicySource,
        store: Store,
        direct: Direct,
        platform: Terms | None = None,
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._source = source
        self._store = store
        self._direct = direct
        self._platform = platform
        self._clock = clock
        self._turn = asyncio.Lock()
        self._written: Owed | None = None
        self._told: dict[str, Any] | None = None
        self._looked_at: Policy | None = None
        self._answers = 0

    def for_members_of(self, organisation: Organisation) -> tuple[Terms, ...]:
        """Every set that a member of this organisation has to accept, as it is now."""
        return tuple(terms for terms in (self._platform, _of(organisation)) if terms is not None)

    async def keep(self, member: PersonId, user: UserId, sets: Sequence[Terms]) -> None:
        """Somebody has accepted these, which goes on record."""
        for terms in sets:
            details = {"person": member, "of": terms.whose, "terms": terms.version}
            await self._store.audit(user, "terms accepted", details, time=self._clock())
            await self._store.remember(terms.key(member, user), terms.version)
        self._answers += 1
        self._looked_at = None

    async def work(self) -> bool:
        """Bring the file up to date and tell some of those who owe an answer; whether there are more to tell."""
        async with self._turn:
            policy = self._source.policy
            if policy is self._looked_at or not policy.organisations:
                return False
            answers, owed = self._answers, await self._owed(policy)
            written = await self._write(owed)
            more = await self._tell(policy, owed)
            # Whoever answers meanwhile makes what was worked out untrue.
            if written and not more and answers == self._answers:
                self._looked_at = policy
            return more

    async def _owed(self, policy: Policy) -> Owed:
        now = self._clock()
        people = [member for member in policy.people.values() if present(member, now)]
        theirs = await self._unaccepted(people, await self._at_first(policy, people), policy)
        ours = await self._unaccepted_of_platform(people)
        whose = Unread(self._platform.whose, self._platform.link) if self._platform else Unread("", "")
        return Owed(theirs, ours, whose) if ours else Owed(theirs)

    async def _unaccepted(
        self, people: Sequence[Membership], first: Mapping[str, Any], policy: Policy
    ) -> frozenset[PersonId]:
        """Who has not accepted the terms of their organisation, and was not there before the bridge."""
        versions = {name: one.terms.version for name, one in policy.organisations.items() if one.terms}
        early = {name: frozenset(one["people"]) for name, one in first.items() if one["version"] == versions.get(name)}
        asked = [
            member
            for member in people
            if member.organisation in versions and member.id not in early.get(member.organisation, ())
        ]
        accepted = await self._store.recall_all(ACCEPTED) if asked else {}
        return frozenset(
            member.id for member in asked if accepted.get(f"{ACCEPTED}{member.id}") != versions[member.organisation]
        )

    async def _unaccepted_of_platform(self, people: Sequence[Membership]) -> frozenset[PersonId]:
        if self._platform is None:
            return frozenset()
        accepted = await self._store.recall_all(PLATFORM_ACCEPTED)
        return frozenset(
            member.id
            for member in people
            if member.matrix is not None
            and accepted.get(f"{PLATFORM_ACCEPTED}{member.matrix}") != self._platform.version
        )

    async def _at_first(self, policy: Policy, people: Sequence[Membership]) -> dict[str, Any]:
        """The version and the people of each organisation when it was first met, by its identifier."""
        kept = await self._store.recall_all(AT_FIRST)
        first: dict[str, Any] = {}
        for name, organisation in policy.organisations.items():
            known = kept.get(f"{AT_FIRST}{name}")
            if not isinstance(known, dict):
                # A bridge before this one kept the version alone.
                version = known if isinstance(known, str) else organisation.terms.version if organisation.terms else ""
                known = {"version": version, "people": [one.id for one in people if one.organisation == name]}
                await self._store.remember(f"{AT_FIRST}{name}", known)
            first[name] = known
        return first

    async def accept(self, user: UserId, memberships: Sequence[Membership]) -> str:
        """Have everything accepted that waits for this account; the answer to it."""
        async with self._turn:
            policy = self._source.policy
            owed = await self._owed(policy)
            waiting = list(self._waiting(policy, owed, memberships))
            w = _wording(policy, [*(member for member, _ in waiting), *memberships])
            if not waiting:
                return w("bot_terms_none")
            if await self._changed_since_told(user, waiting):
                await self._note_told(user, waiting)
                return f"{w('bot_terms_changed')} {notice(w, [terms for _, terms in waiting])}"
            for member, terms in waiting:
                await self.keep(member.id, user, [terms])
        await self.work()
        return w("bot_terms_accepted", whose=_together(w, [terms.whose for _, terms in waiting]))

    async def _changed_since_told(self, user: UserId, waiting: Sequence[tuple[Membership, Terms]]) -> bool:
        """Whoever was told of a version, did not accept it, and is not told of the next one yet means the one before.

        Whoever was told of none has followed the link in a refusal, which is that of the version in force.
        """
        told = (await self._told_so_far()).get(f"{TOLD}{user}")
        for member, terms in waiting:
            key = terms.key(member.id, user)
            before = told.get(key) if isinstance(told, dict) else None
            if before not in (None, terms.version, await self._store.recall(key)):
                return True
        return False

    def _waiting(
        self, policy: Policy, owed: Owed, memberships: Sequence[Membership]
    ) -> Iterator[tuple[Membership, Terms]]:
        """What these memberships of one account have yet to accept; the platform's once."""
        ours = [member for member in memberships if member.id in owed.platform]
        if ours and self._platform is not None:
            yield ours[0], self._platform
        for member in memberships:
            terms = _of(policy.organisations[member.organisation]) if member.id in owed.organisations else None
            if terms is not None:
                yield member, terms

    async def _write(self, owed: Owed) -> bool:
        """No file where nobody owes anything; whether it is as it should be."""
        if owed == self._written:
            return True
        try:
            await asyncio.to_thread(_put, Path(owed_file(str(self._source.path))), owed)
        except OSError as error:
            log.error("Who has to accept new terms cannot be written beside the policy: %s", error.strerror)
            return False
        self._written = owed
        return True

    async def _tell(self, policy: Policy, owed: Owed) -> bool:
        """Once for every version, and at most a few a turn; whether there are more."""
        if not owed:
            return False
        told, now, left = await self._told_so_far(), self._clock(), EACH_TURN
        for user, memberships in policy.accounts.items():
            active = [member for member in memberships if member.id in owed and status(member, now) == "active"]
            waiting = list(self._waiting(policy, owed, active))
            said = told.get(f"{TOLD}{user}")
            if not waiting or (isinstance(said, dict) and _told(user, waiting).items() <= said.items()):
                continue
            if not left:
                return True
            left -= 1
            await self._tell_one(policy, user, waiting)
        return False

    async def _tell_one(self, policy: Policy, user: UserId, waiting: Sequence[tuple[Membership, Terms]]) -> None:
        text = notice(_wording(policy, [member for member, _ in waiting]), [terms for _, terms in waiting])
        await self._direct.tell(user, text, about=f"{TOLD}{user} {sorted(_told(user, waiting).items())}")
        await self._note_told(user, waiting)

    async def _told_so_far(self) -> dict[str, Any]:
        if self._told is None:
            self._told = await self._store.recall_all(TOLD)
        return self._told

    async def _note_told(self, user: UserId, waiting: Sequence[tuple[Membership, Terms]]) -> None:
        (await self._told_so_far())[f"{TOLD}{user}"] = what = _told(user, waiting)
        await self._store.remember(f"{TOLD}{user}", what)


def notice(w: Wording, waiting: Sequence[Terms]) -> str:
    """What the bot tells whoever owes an answer to these."""
    whose, links = _together(w, [terms.whose for terms in waiting]), [terms.link for terms in waiting if terms.link]
    several = len({terms.whose for terms in waiting}) > 1
    news = w("bot_new_terms_several" if several else "bot_new_terms_one", whose=whose)
    asked = w("bot_terms_read", links=_together(w, links)) if links else w("bot_terms_accept")
    return f"{news} {asked}"


def _together(w: Wording, names: Sequence[str]) -> str:
    return reduce(lambda one, other: w("bot_terms_and", one=one, other=other), dict.fromkeys(names))


def _wording(policy: Policy, memberships: Sequence[Membership]) -> Wording:
    """The language of the organisation that speaks first."""
    return wording_of(policy.organisations[memberships[0].organisation].language if memberships else "en")


def _told(user: UserId, waiting: Sequence[tuple[Membership, Terms]]) -> dict[str, str]:
    return {terms.key(member.id, user): terms.version for member, terms in waiting}


def _put(file: Path, owed: Owed) -> None:
    if not owed:
        file.unlink(missing_ok=True)
        return
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.write_text(owed_text(owed), encoding="utf-8")
    draft.chmod(0o644)
    draft.replace(file)
