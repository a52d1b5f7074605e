"""What the bridge does by itself about people who arrive: invite, mail day after day, welcome, tell the staff.

The policy says who is invited; the ledger says what was done about it. One loop does one thing after the other: it is
woken by a changed policy and otherwise when the next mail is due.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple, NoReturn

from bridge.arrival.bounce import return_address
from bridge.arrival.broadcast import Broadcasts
from bridge.arrival.foresight import unknown_networks
from bridge.arrival.invitation import DAY, Invitation, fresh_token, invited, token_hash
from bridge.arrival.invitation_status import status_of
from bridge.arrival.ledger import Ledger
from bridge.arrival.logo import logo_of
from bridge.arrival.mail import Letterhead, invitation_mail
from bridge.arrival.post import Away, Bounced, Carrier, NotSent, Uncertain
from bridge.arrival.terms import TermsKept
from bridge.arrival.welcome import Welcomes
from bridge.config import SENDER, Config
from bridge.policy_file import PolicySource
from bridge.retry import Unavailable, until_available
from policy.model import Invitations, Membership, Moment, Organisation, PersonId, Policy

LONGEST_SLEEP = 60.0
"""Seconds until everything is looked at again, whatever wakes it."""

SERVER_AWAY = 30.0
"""Seconds until a mail server that is away is called again, for whomever."""

SHORTEST_SLEEP = 0.5
"""Seconds until one whose turn has not come is looked at again."""

MOST_NUMBERS = 50
"""Phone numbers listed in an answer to `status`."""

log = logging.getLogger("qwil.arrival")


class PrintedLink(NamedTuple):
    """A link that goes on paper."""

    person: PersonId
    address: str
    until: Moment
    hash: str


class Arrivals:
    """Invites and welcomes."""

    def __init__(
        self,
        *,
        source: PolicySource,
        ledger: Ledger,
        carrier: Carrier | None,
        welcomes: Welcomes,
        broadcasts: Broadcasts,
        terms: TermsKept,
        config: Config,
        clock: Callable[[], Moment] = time.time,
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._carrier = carrier
        self._welcomes = welcomes
        self._broadcasts = broadcasts
        self._terms = terms
        self._config = config
        self._clock = clock
        self._followed: Policy | None = None
        self._awake = asyncio.Event()
        self._rest_until: Moment = 0.0
        """No mail before this, whoever wakes us: what goes out in a minute is limited."""

    async def run(self) -> NoReturn:
        """Work until cancelled; the ledger is loaded."""
        await until_available(self.recover)
        while True:
            self._awake.clear()
            try:
                pause = await self.work()
            except Exception:
                # One that cannot be served must not keep out the others, now or tomorrow.
                log.exception("People who arrive could not be served; it is tried again in %d s", LONGEST_SLEEP)
                pause = LONGEST_SLEEP
            await self._sleep(pause)

    def wake(self) -> None:
        """The policy changed, or somebody wants a mail now."""
        self._awake.set()

    async def recover(self) -> None:
        """A mail that was being sent when the bridge ended may have arrived: only the next day's follows it."""
        for one in self._ledger:
            if one.sending:
                now, days = self._clock(), self._mail_days(one.person)
                await self._replace(one, one.perhaps_sent(now, days, "the bridge ended while it was sent"))

    async def work(self) -> float:
        """Do what is due, one mail at the most; seconds until there is more to do."""
        await self.follow_policy()
        more = False
        for part in (self._welcomes.work, self._terms.work, self._broadcasts.work):
            more |= await self._safely(part)
        mailed = await self.mail_next()
        if more:
            return 0.0
        if mailed:
            return self._pace
        due = self._ledger.next_mail()
        if due is None or self._carrier is None or not self._config.web.address:
            return LONGEST_SLEEP
        return min(max(max(due, self._rest_until) - self._clock(), SHORTEST_SLEEP), LONGEST_SLEEP)

    async def _safely(self, part: Callable[[], Awaitable[bool | None]]) -> bool:
        """Whether there is more of it; what fails in one part keeps back no other."""
        try:
            return bool(await part())
        except Unavailable:
            raise
        except Exception:  # one part must not keep the others from being done
            log.exception("A part of the work about people who arrive failed")
            return False

    @property
    def _pace(self) -> float:
        return 60.0 / self._config.mail.per_minute

    async def follow_policy(self) -> None:
        """Every invited row of the policy has an invitation, and every invitation a row that is still invited."""
        policy = self._source.policy
        if not policy.organisations or policy is self._followed:
            return
        for member in policy.people.values():
            if member.status == "invited":
                await self._offer(member)
        for one in self._ledger:
            row = policy.people.get(one.person)
            await self._ledger.change(one.person, partial(Invitation.settled, member=row))
        self._followed = policy

    async def _offer(self, member: Membership) -> None:
        now = self._clock()
        if await self._ledger.change(member.id, lambda known: known.offered(now, member.email)) is None:
            await self._ledger.put(invited(member, now, await self._ledger.note(member.id)))

    async def _replace(self, one: Invitation, by: Invitation) -> bool:
        """Put another in its place, unless something has happened to it meanwhile; whether it was put there."""
        return await self._ledger.change(one.person, lambda latest: by if latest == one else latest) == by

    async def mail_next(self) -> bool:
        """Send the mail that has waited longest, if one is due and there is a server for it; whether one was tried."""
        now = self._clock()
        due = [one for one in self._ledger if one.next_mail is not None and one.next_mail <= now and not one.sending]
        possible = self._source.policy.organisations and self._config.web.address
        if self._carrier is None or not possible or now < self._rest_until or not due:
            return False
        one = min(due, key=lambda waiting: (waiting.next_mail or 0.0, waiting.person))
        member = self._source.policy.people.get(one.person)
        if member is not None and member.status == "invited" and member.ends <= now:
            await self._replace(one, replace(one, next_mail=None))
            return False
        if member is None or member.status != "invited" or member.email != one.email:
            # A corrected address is in the ledger before it is in force.
            await self._replace(one, replace(one, next_mail=now + SHORTEST_SLEEP))
            return False
        self._rest_until = now + self._pace
        try:
            await self._mail(one, member, self._carrier)
        except Unavailable:
            raise
        except Exception:
            # One mail that cannot be made must not keep four hundred others from theirs.
            log.exception("The mail for %s could not be made or sent", one.person)
            await self._failed(one)
        return True

    async def _failed(self, one: Invitation) -> None:
        trouble, now = "it could not be made, and the log of the bridge says why", self._clock()
        days = self._mail_days(one.person)

        def failed(latest: Invitation) -> Invitation:
            if latest.state != "pending":
                return latest
            return latest.perhaps_sent(now, days, trouble) if latest.sending else latest.postponed(now, trouble)

        await self._ledger.change(one.person, failed)

    async def _mail(self, one: Invitation, member: Membership, carrier: Carrier) -> None:
        """A fresh link is the newest from the moment the mail may arrive, and stays so whatever happens meanwhile."""
        now, organisation = self._clock(), self._source.policy.organisations[member.organisation]
        token, until = fresh_token(), now + organisation.invitations.link_days * DAY
        days = organisation.invitations.mail_days
        # What of the mail can fail is made before anything is noted.
        try:
            mail = invitation_mail(
                self._letterhead(organisation), member, link=self.link(token), until=until, note=one.note, now=now,
                occasion=f"{one.person} {one.since} {one.mailed}",
            )  # fmt: skip
        except Bounced as reason:
            await self._replace(one, one.returned(str(reason)))
            return
        if not await self._replace(one, replace(one.with_link(token_hash(token), until), sending=True)):
            return
        try:
            await carrier.send(mail, self._returns_to(one))
        except NotSent as reason:
            trouble = str(reason)
            if isinstance(reason, Away):
                self._rest_until = self._clock() + SERVER_AWAY
            await self._after(one, lambda _: one.postponed(self._clock(), trouble))
        except Bounced as reason:
            trouble = str(reason)
            await self._after(one, lambda latest: latest.returned(trouble))
        except Uncertain as reason:
            trouble = str(reason)
            await self._after(one, lambda latest: latest.perhaps_sent(now, days, trouble))
        else:
            await self._after(one, lambda latest: latest.sent(now, days))

    async def _after(self, one: Invitation, change: Callable[[Invitation], Invitation]) -> None:
        """Note what became of a mail, unless the invitation was settled or made anew while it was sent."""

        def unless_settled(latest: Invitation) -> Invitation:
            return change(latest) if latest.sending and latest.since == one.since else latest

        # A database that is away just now must not make an unknown outcome of a known one.
        await until_available(lambda: self._ledger.change(one.person, unless_settled))

    def _returns_to(self, one: Invitation) -> str:
        form = self._config.bounces.address
        return return_address(form, self._ledger.mark(one)) if form else ""

    def link(self, token: str) -> str:
        """The address of the page for this token."""
        return f"{self._config.web.address}/invitation/{token}"

    def _letterhead(self, organisation: Organisation) -> Letterhead:
        return Letterhead(organisation, self._config.mail.sender, logo_of(organisation, self._source.path.parent))

    def printed_link(self, one: Invitation) -> PrintedLink:
        """A link for a letter, which works once it is adopted."""
        organisation = self._source.policy.organisations[one.person.partition("/")[0]]
        token = fresh_token()
        until = self._clock() + organisation.invitations.link_days * DAY
        return PrintedLink(one.person, self.link(token), until, token_hash(token))

    async def adopt(self, printed: PrintedLink) -> None:
        """It is the newest link from now on: no mail replaces it, nor does one that is being sent."""

        def adopted(one: Invitation) -> Invitation:
            linked = one.with_link(printed.hash, printed.until)
            return replace(linked, letter=True, next_mail=None, sending=False) if one.state == "pending" else one

        await self._ledger.change(printed.person, adopted)

    async def resend(self, member: Membership) -> None:
        """Offer it again now, whatever became of it; every link before is dead (INV-6)."""
        now = self._clock()
        if await self._ledger.change(member.id, lambda known: known.anew(now, member.email)) is None:
            await self._ledger.put(invited(member, now))
        self.wake()

    async def revoke(self, person: PersonId) -> None:
        """Take the offer back: no link of it works any more."""
        await self._ledger.change(person, Invitation.withdrawn)

    def status_lines(self, organisations: Iterable[str]) -> Iterator[str]:
        """What administrators of these organisations should know about their invitations."""
        wanted = set(organisations)
        ours = [one for one in self._ledger if one.person.partition("/")[0] in wanted]
        missing = self.missing()
        yield from status_of(ours, self._clock(), mails_go_out=not missing)
        if any(one.state == "pending" for one in ours):
            yield from filter(None, [missing, self._from_nowhere()])
        yield from self._numbers(ours)
        yield from self.unknown_networks()

    def _numbers(self, ours: Iterable[Invitation]) -> Iterator[str]:
        """INV-8: what people gave themselves, which is in no row."""
        people = self._source.policy.people
        given = [one for one in ours if one.mobile and one.person in people and not people[one.person].mobile]
        if given:
            listed = "; ".join(f"{people[one.person].name} {one.mobile}" for one in given[:MOST_NUMBERS])
            more = f"; and {len(given) - MOST_NUMBERS} more" if len(given) > MOST_NUMBERS else ""
            yield f"Phone numbers that people gave themselves: {listed}{more}. A number in their row takes its place."

    def unknown_networks(self) -> list[str]:
        """Rules about staff of organisations that are none."""
        return unknown_networks(self._config.web.staff_networks, self._source.policy)

    def missing(self) -> str:
        """Why nobody is mailed as the bridge is set up, else empty."""
        no_server = "" if self._carrier else "Nobody is mailed: config.yaml names no mail server (mail: server)."
        return " ".join(filter(None, [self.missing_page(), no_server]))

    def _from_nowhere(self) -> str:
        """A sender's address that most mail servers do not take, else empty."""
        mail = self._config.mail
        if not mail.server or mail.folder is not None or mail.sender != SENDER:
            return ""
        return f"Mails come from {SENDER}, which other mail servers refuse: config.yaml says from whom (mail: sender)."

    def missing_page(self) -> str:
        """Why nobody could accept as the bridge is set up, else empty."""
        return "" if self._config.web.address else "Nobody is invited: config.yaml names no page (web: address)."

    def _mail_days(self, person: PersonId) -> int:
        organisation = self._source.policy.organisations.get(person.partition("/")[0])
        return (organisation.invitations if organisation is not None else Invitations()).mail_days

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._awake.wait()
        except TimeoutError:
            return
