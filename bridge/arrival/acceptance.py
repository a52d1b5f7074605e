"""What somebody who follows an invitation can do: make an account or prove one, accept, decline.

An account is made first and the membership becomes active last, so that nobody is half a member: whatever fails in
between leaves an account that belongs to no organisation and can do nothing, and the link goes on working.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from bridge.arrival.accounts import Accounts
from bridge.arrival.consent import Consent, agreed, wanting
from bridge.arrival.guest import Form, Guest, Problem, Problems, opened, standing_of
from bridge.arrival.invitation import Invitation, token_hash
from bridge.arrival.ledger import Ledger
from bridge.arrival.phone import asked_for, number_of
from bridge.arrival.policy_rows import NotInvited, NotWritten, PolicyRows
from bridge.arrival.proof import Proofs
from bridge.arrival.terms import Terms, TermsKept
from bridge.arrival.username import password_objection, username_objection
from bridge.arrival.words import wording_of
from bridge.direct import Direct
from bridge.homeserver import Refused
from bridge.perform import Performer
from bridge.policy_file import PolicySource
from bridge.policy_writer import Author
from bridge.store import Store
from policy.enrol import MATRIX
from policy.model import Membership, Moment, PersonId, Requirement, UserId

ANSWER_WITHIN = 30.0
"""Seconds that somebody at the page waits for the homeserver."""

PATIENCE = 10.0
"""Seconds until the policy that was written is expected to be in force."""

log = logging.getLogger("qwil.arrival")


class Acceptance:
    """Accepts and declines."""

    def __init__(
        self,
        *,
        source: PolicySource,
        store: Store,
        ledger: Ledger,
        terms: TermsKept,
        rows: PolicyRows,
        accounts: Accounts,
        direct: Direct,
        performer: Performer,
        bot: UserId,
        settled: Callable[[], Awaitable[None]],
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._source = source
        self._store = store
        self._ledger = ledger
        self._terms = terms
        self._rows = rows
        self._accounts = accounts
        self._direct = direct
        self._performer = performer
        self._bot = bot
        self._settled = settled
        self._clock = clock
        self._proofs = Proofs()
        self._turns: dict[PersonId, asyncio.Lock] = {}
        self._chosen: set[UserId] = set()

    def guest(self, token: str) -> Guest | None:
        """Whom a link belongs to; none where it is no link of ours."""
        hashed = token_hash(token)
        invitation = self._ledger.with_link(hashed)
        if invitation is None:
            return None
        member = self._source.policy.people.get(invitation.person)
        organisation = self._source.policy.organisations.get(invitation.person.partition("/")[0])
        standing = invitation.standing(hashed, self._clock())
        if standing in ("open", "expired"):
            standing = standing_of(member, standing, self._clock())
        return Guest(invitation, member, organisation, standing)

    def sets(self, member: Membership) -> tuple[Terms, ...]:
        """The terms that somebody has to accept, the platform's first."""
        return self._terms.for_members_of(self._source.policy.organisations[member.organisation])

    def asked_for_number(self, member: Membership) -> Requirement | None:
        """Whether the page asks for a phone number (INV-8)."""
        return asked_for(member, self._source.policy.organisations[member.organisation])

    def proving(self, member: Membership) -> UserId | None:
        """The account to which a code was sent that is awaited."""
        return self._proofs.awaited(member.id, self._clock())

    async def decline(self, token: str) -> Guest | None:
        """Turn the invitation down, if it is open, also where it was accepted and waits for the first login.

        A phone number that was given for the membership is forgotten with it.
        """
        async with self._turn(token) as guest:
            if guest is not None and guest.standing == "open" and guest.member is not None:
                await self._ledger.change(guest.invitation.person, Invitation.declined)
                await self._on_record(guest.member, "invitation declined", {})
                text = self._said(guest.member, "bot_declined", person=guest.member.id)
                about = f"declined {guest.member.id} {guest.invitation.since}"
                await self._direct.tell_admins(guest.member.organisation, text, about=about)
        return self.guest(token)

    async def accept(self, token: str, form: Form) -> UserId:
        """Make the account and the membership active; raises `Problem`, or `Problems` for several fields."""
        async with self._turn(token) as guest:
            member = opened(guest)
            assert guest is not None  # noqa: S101 - it is open
            if member.matrix is not None and not self._accounts.local(member.matrix):
                raise Problem("matrix", "matrix_other", matrix=member.matrix)
            username = self._fixed_username(member) or form.username.strip().lower()
            user = self._accounts.named(username)
            if problems := [*self._objections(member, username, form), *self._wanting(member, form.consent)]:
                raise Problems(problems)
            with self._choosing(guest, user):
                await self._require_free(guest, user, username)
                await self._make(guest, user, form.password)
                await self._activate(guest, user, form.consent)
            return user

    @contextmanager
    def _choosing(self, guest: Guest, user: UserId) -> Iterator[None]:
        """Of those who choose one username the first has it: making an account that is there sets its password."""
        others = (one for one in self._ledger if one.person != guest.invitation.person and one.state == "pending")
        if user in self._chosen or any(one.account == user for one in others):
            raise Problem("username", "username_taken")
        self._chosen.add(user)
        try:
            yield
        finally:
            self._chosen.discard(user)

    def _objections(self, member: Membership, username: str, form: Form) -> Iterator[Problem]:
        if not self._fixed_username(member) and (key := username_objection(username)):
            yield Problem("username", key)
        if key := password_objection(form.password, form.again, username):
            yield Problem("password", key)

    def _wanting(self, member: Membership, consent: Consent) -> list[Problem]:
        found = wanting(consent, self.sets(member), self.asked_for_number(member))
        return [Problem(one.field, one.key, organisation=one.organisation) for one in found]

    def _fixed_username(self, member: Membership) -> str:
        """The administrator chose the account, and it is to be made here."""
        if member.matrix is None or not self._accounts.local(member.matrix):
            return ""
        return member.matrix[1:].partition(":")[0]

    async def _require_free(self, guest: Guest, user: UserId, username: str) -> None:
        """A username is taken by an account, and by a row of the policy that will be one.

        Where the administrators of several organisations invite one Matrix ID (INV-12), whoever accepts first makes it.
        What was half-made for this invitation is ours to finish, unless somebody has logged in to it.
        """
        named = guest.member is not None and guest.member.matrix == user
        rows = [one for one in self._source.policy.accounts.get(user, ()) if one.id != guest.invitation.person]
        promised = [one for one in rows if not named or one.status != "invited"]
        if promised or user == self._bot:
            raise Problem("username", "username_exists" if named else "username_taken")
        ours = guest.invitation.account == user
        if ours and await self._asked(self._accounts.is_unused(user)):
            return
        if not await self._asked(self._accounts.is_free(username)):
            raise Problem("username", "username_exists" if named or ours else "username_taken")

    async def _make(self, guest: Guest, user: UserId, password: str) -> None:
        """What is being made is noted first: after a failure or a kill it is ours to finish, and nobody else's."""
        member = opened(guest)
        await self._note(guest, account=user)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._accounts.make(user, name=member.name, password=password)
        except TimeoutError as late:
            raise Problem("", "later") from late
        except Refused as refusal:
            await self._note(guest, account=guest.invitation.account)
            log.warning("The homeserver made no account %s: %s", user, refusal)
            if "PASSWORD" in refusal.errcode:
                raise Problem("password", "password_refused", reason=str(refusal)) from refusal
            if refusal.errcode in ("M_USER_IN_USE", "M_INVALID_USERNAME", "M_EXCLUSIVE"):
                raise Problem("username", "username_taken") from refusal
            raise Problem("", "later") from refusal

    async def send_code(self, token: str, matrix: str) -> None:
        """Have the bot write a code to this account; raises `Problem`."""
        async with self._turn(token) as guest:
            member, user = opened(guest), UserId(matrix.strip())
            await self._require_provable(member, user)
            digits = self._proofs.fresh(member.id, user, self._clock())
            if digits is None:
                raise Problem("matrix", "code_too_many")
            text = self._said(member, "bot_code", code=digits)
            try:
                async with asyncio.timeout(ANSWER_WITHIN):
                    room = await self._direct.room(user)
                    await self._performer.say_in(room, text, about=f"code {member.id} {self._clock()}")
            except (Refused, TimeoutError) as refusal:
                self._proofs.forget(member.id)
                log.warning("No code could be sent to %s: %s", user, refusal)
                raise Problem("matrix", "matrix_unreachable") from refusal

    async def _require_provable(self, member: Membership, user: UserId) -> None:
        """The account is there, is the one that is invited, and is not a member already."""
        if not MATRIX.fullmatch(user) or user == self._bot:
            raise Problem("matrix", "matrix_form")
        if member.matrix is not None and member.matrix != user:
            raise Problem("matrix", "matrix_other", matrix=member.matrix)
        for other in self._source.policy.accounts.get(user, ()):
            if other.organisation == member.organisation and other.id != member.id and other.status != "left":
                name = self._source.policy.organisations[member.organisation].name
                raise Problem("matrix", "matrix_member", organisation=name)
        if self._accounts.local(user) and not await self._asked(self._accounts.exists(user)):
            raise Problem("matrix", "matrix_unknown", matrix=user)

    async def accept_with_code(self, token: str, digits: str, consent: Consent) -> UserId:
        """Make the membership active for the account to which the code was sent; raises `Problem` or `Problems`."""
        async with self._turn(token) as guest:
            member = opened(guest)
            if problems := self._wanting(member, consent):
                raise Problems(problems)
            user = self._proofs.awaited(member.id, self._clock())
            outcome = self._proofs.check(member.id, digits, self._clock())
            if user is None or outcome != "right":
                raise Problem("code", f"code_{'wrong' if outcome == 'wrong' else 'old'}")
            await self._require_provable(member, user)
            await self._activate(guest, user, consent)
            self._proofs.forget(member.id)
            return user

    async def accept_for_login(self, token: str, consent: Consent) -> UserId:
        """Accept for the account that the administrator named; raises `Problem` or `Problems`.

        Nobody but its owner logs in to it by single sign-on, so that no code is needed. The membership begins at once,
        or with the first login.
        """
        async with self._turn(token) as guest:
            member, user = opened(guest), opened(guest).matrix
            assert guest is not None  # noqa: S101 - it is open
            if user is None or not self._accounts.local(user):
                raise Problem("matrix", "matrix_form")
            if problems := self._wanting(member, consent):
                raise Problems(problems)
            if await self._asked(self._accounts.exists(user)):
                await self._activate(guest, user, consent)
                return user
            await self._keep(guest, user, consent)
            await self._note(guest, account=user, waits=True, next_mail=None)
            await self._on_record(member, "invitation accepted, waits for the first login", {"matrix": user}, who=user)
            return user

    async def begin(self, person: PersonId) -> None:
        """Make the membership of somebody who waits for the first login active, if the account is there by now."""
        async with self.turn_of(person):
            one, member = self._ledger.get(person), self._source.policy.people.get(person)
            organisation = self._source.policy.organisations.get(person.partition("/")[0])
            if one is None or not one.waits or one.state != "pending":
                return
            if standing_of(member, "open", self._clock()) != "open":
                return
            user = UserId(one.account)
            if member is None or member.matrix != user:
                # The administrator has named another account: it is to be accepted anew.
                await self._ledger.change(person, lambda latest: replace(latest, waits=False))
            elif await self._asked(self._accounts.exists(user)):
                await self._activate(Guest(one, member, organisation, "open"), user, Consent({}))

    async def _keep(self, guest: Guest, user: UserId, consent: Consent) -> None:
        """Consent to the terms, and the number that was asked for."""
        member, number = opened(guest), number_of(consent.mobile)
        await self._terms.keep(member.id, user, agreed(consent, self.sets(member)))
        if number and self.asked_for_number(member):
            await self._note(guest, mobile=number)

    async def _activate(self, guest: Guest | None, user: UserId, consent: Consent) -> None:
        """The row becomes active with the Matrix ID, and what was accepted is on record.

        Consent and number are kept first: nobody is a member for a moment who seems not to have given them.
        """
        assert guest is not None  # noqa: S101 - an open guest
        member = opened(guest)
        await self._keep(guest, user, consent)
        try:
            author = Author(member.name, str(user))
            await self._rows.accept(member.id, user, author=author, summary=f"{member.id} accepts the invitation")
        except NotInvited as overtaken:
            await self._in_force(member.id)
            raise Problem("", "closed") from overtaken
        except NotWritten as reason:
            log.warning("The invitation of %s could not be accepted: %s", member.id, reason)
            text = self._said(member, "bot_not_accepted", person=member.id, reason=str(reason))
            about = f"not accepted {member.id} {self._clock() // 3600}"
            await self._direct.tell_admins(member.organisation, text, about=about)
            raise Problem("", "later") from reason
        await self._ledger.change(member.id, lambda latest: replace(latest.closed("accepted"), account=user))
        await self._on_record(member, "invitation accepted", {"matrix": user}, who=user)
        await self._in_force(member.id)
        await self._settled()

    def _said(self, member: Membership, key: str, **values: str) -> str:
        """A sentence about somebody, in the language of the organisation that invites them."""
        organisation = self._source.policy.organisations[member.organisation]
        return wording_of(organisation.language)(key, name=member.name, organisation=organisation.name, **values)

    async def _in_force(self, person: PersonId) -> None:
        """Wait until the row that was written is in the policy, so that the page does not speak too early."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            member = self._source.policy.people.get(person)
            if member is None or member.status != "invited":
                return
            await asyncio.sleep(0.05)

    def _turn(self, token: str) -> _Turn:
        return _Turn(self, token)

    def turn_of(self, person: PersonId) -> asyncio.Lock:
        """One thing happens to an invitation at a time."""
        return self._turns.setdefault(person, asyncio.Lock())

    async def _note(self, guest: Guest, **fields: Any) -> None:
        """Note these fields of the invitation as it is, a mail having perhaps gone out meanwhile."""
        await self._ledger.change(guest.invitation.person, lambda latest: replace(latest, **fields))

    async def _asked(self, question: Awaitable[bool]) -> bool:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await question
        except TimeoutError as late:
            raise Problem("", "later") from late
        except Refused as refusal:
            log.warning("The homeserver does not answer about an account: %s", refusal)
            raise Problem("", "later") from refusal

    async def _on_record(self, member: Membership, what: str, details: Mapping[str, str], who: str = "") -> None:
        await self._store.audit(who or member.id, what, {"person": member.id, **details}, time=self._clock())


class _Turn:
    """Holds an invitation for the time of one act, and looks at its link when its turn has come."""

    def __init__(self, acceptance: Acceptance, token: str) -> None:
        self._acceptance = acceptance
        self._token = token
        self._lock: asyncio.Lock | None = None

    async def __aenter__(self) -> Guest | None:
        guest = self._acceptance.guest(self._token)
        if guest is None:
            return None
        self._lock = self._acceptance.turn_of(guest.invitation.person)
        await self._lock.acquire()
        return self._acceptance.guest(self._token)

    async def __aexit__(self, *_error: object) -> None:
        if self._lock is not None:
            self._lock.release()
