"""An invitation and what becomes of it, as data: nothing here mails, stores or reads a clock.

The policy's row `status: invited` is what invites somebody; what is kept beside it is how often they were mailed and
which link works. A link is a secret: of its token only the hash is ever kept.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from typing import Any, Literal

from policy.model import Membership, Moment, PersonId

State = Literal["pending", "accepted", "declined", "revoked"]
Standing = Literal["open", "unknown", "replaced", "expired", "accepted", "declined", "revoked"]
"""What a link is good for."""

DAY = 86_400.0
LONGEST_NOTE = 5_000
"""INV-10: characters of the personal note."""

TYPED = "abcdefghjkmnpqrstuvwxyz23456789"
"""Letters and digits that nobody takes for another."""

TOKEN_LENGTH = 26
"""31 to the power of 26 is more than 2 to the power of 128."""

PAUSES = (30.0, 60.0, 120.0, 300.0, 900.0, 1800.0)
"""Seconds until a mail that could not be sent is tried again, the last one for ever."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """The offer to one person to join one organisation."""

    person: PersonId
    email: str
    since: Moment
    """When it was made, or made anew: mails go out for `mail_days` from here (INV-5)."""
    state: State = "pending"
    mailed: int = 0
    """Mails since then."""
    next_mail: Moment | None = None
    link: str = ""
    """The hash of the newest link's token."""
    link_until: Moment = 0.0
    replaced: tuple[str, ...] = ()
    """Hashes of the links before it, which are told that they are old."""
    note: str = ""
    sending: bool = False
    """A mail was handed to the mail server and the answer is not on record: it is not sent again."""
    failures: int = 0
    trouble: str = ""
    """Why the last mail was not sent, or came back."""
    bounced: bool = False
    """The mail server refused the address: nothing more is sent until it is corrected."""
    letter: bool = False
    """It travels on paper: a further mail would make the printed link an old one."""
    account: str = ""
    """The Matrix ID that was made, or is being made, for it."""
    mobile: str = ""
    """The phone number that the person gave on accepting (INV-8)."""
    waits: bool = False
    """It is accepted, and the membership begins when `account` logs in for the first time."""

    def with_link(self, token_hash: str, until: Moment) -> Invitation:
        """With a fresh link, the only one that works from now on."""
        old = (*self.replaced, self.link) if self.link else self.replaced
        return replace(self, link=token_hash, link_until=until, replaced=old[-100:])

    def sent(self, now: Moment, mail_days: int) -> Invitation:
        """After its mail has gone out; the next one follows a day later (INV-5)."""
        mailed = self.mailed + 1
        in_time = now + DAY < self.since + mail_days * DAY
        following = now + DAY if mailed < mail_days and in_time and not self.waits else None
        return replace(self, sending=False, mailed=mailed, next_mail=following, failures=0, trouble="", bounced=False)

    def perhaps_sent(self, now: Moment, mail_days: int, trouble: str) -> Invitation:
        """The server had the mail and did not say whether it took it: it counts, and is not sent again (INV-5)."""
        after = self.sent(now, mail_days)
        following = "the next one follows in a day" if after.next_mail is not None else "it was the last one: “resend”"
        told = f"whether the last mail to {self.email} went out is not known ({trouble[:300]}); {following}"
        return replace(after, trouble=told)

    def postponed(self, now: Moment, trouble: str) -> Invitation:
        """The mail could not be sent, and is tried again after a pause that grows."""
        pause = PAUSES[min(self.failures, len(PAUSES) - 1)]
        return replace(
            self, sending=False, failures=self.failures + 1, trouble=trouble[:300], next_mail=now + pause, bounced=False
        )

    def returned(self, trouble: str) -> Invitation:
        """The address is none: nobody is mailed until it is corrected."""
        return replace(self, sending=False, trouble=trouble[:300], bounced=True, next_mail=None)

    def anew(self, now: Moment, email: str) -> Invitation:
        """Offered again (INV-6): the link before it is dead, and the days of mailing begin again."""
        dead = self.with_link("", 0.0)
        return replace(
            dead, email=email, since=now, state="pending", mailed=0, next_mail=now, sending=False, failures=0,
            trouble="", bounced=False, letter=False, waits=False,
        )  # fmt: skip

    def closed(self, state: State) -> Invitation:
        """Settled one way or the other; nothing is mailed any more."""
        return replace(self, state=state, next_mail=None, sending=False)

    def declined(self) -> Invitation:
        """Turned down, also where it was accepted and waits; a number that was given for it is forgotten."""
        return replace(self.closed("declined"), waits=False, mobile="") if self.state == "pending" else self

    def withdrawn(self) -> Invitation:
        """Taken back on purpose: its link does not work again either, should the person be invited once more."""
        return self.with_link("", 0.0).closed("revoked")

    def offered(self, now: Moment, email: str) -> Invitation:
        """Now that the policy's row invites somebody at this address."""
        if self.state == "accepted":
            # The row was set back by hand: the person is to be asked again.
            return self.anew(now, email)
        if self.state == "revoked":
            # A row that was gone by mistake is back as it was: nobody is mailed twice for that.
            return self.reopened(now) if self.email == email and self.link else self.anew(now, email)
        return self.anew(now, email) if self.state == "pending" and self.email != email else self

    def settled(self, member: Membership | None) -> Invitation:
        """Now that this is the policy's row, or there is none."""
        if self.state != "pending":
            return self
        if member is None:
            return self.closed("revoked")
        if member.status == "left":
            return self.withdrawn()
        return self.closed("accepted") if member.status in ("active", "suspended") else self

    def reopened(self, now: Moment) -> Invitation:
        """Taken back by mistake, and on again: its link works, and the daily mails go on."""
        return replace(self, state="pending", next_mail=None if self.letter else now + (DAY if self.mailed else 0.0))

    def standing(self, token_hash: str, now: Moment) -> Standing:
        """What the link with this token is good for."""
        if self.state != "pending":
            return self.state
        if not hmac.compare_digest(self.link, token_hash):
            return "replaced"
        return "open" if now < self.link_until else "expired"


def invited(member: Membership, now: Moment, note: str = "") -> Invitation:
    """The first offer to somebody, to be mailed at once."""
    return Invitation(member.id, member.email, now, next_mail=now, note=note[:LONGEST_NOTE])


def fresh_token() -> str:
    """A link's secret: 128 bits that nobody guesses, in letters that can be typed from paper."""
    return "".join(secrets.choice(TYPED) for _ in range(TOKEN_LENGTH))


def token_hash(token: str) -> str:
    """What is kept of a token: SHA-256, in hexadecimal."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def as_json(invitation: Invitation) -> dict[str, Any]:
    """The invitation as it is stored."""
    return {name: getattr(invitation, name) for name in Invitation.__slots__}


def from_json(kept: dict[str, Any]) -> Invitation:
    """The invitation that was stored."""
    known = {name: value for name, value in kept.items() if name in Invitation.__slots__}
    return Invitation(**{**known, "replaced": tuple(known.get("replaced", ()))})
