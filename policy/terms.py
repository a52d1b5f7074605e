"""Terms that somebody has to accept before the next message (TRM-1): the file that says who, and the refusal.

There are two sets, the platform's and the organisation's. The bridge knows who accepted which version and writes those
who owe an answer beside the policy; whoever decides on messages reads it. Without the file nobody owes anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from policy.decision import Objection
from policy.model import Membership, Moment, Organisation, PersonId, Policy, UserId
from policy.rooms import stands_for


@dataclass(frozen=True, slots=True)
class Unread:
    """One set of terms that waits for an answer: whose it is, and where it can be read if anywhere."""

    whose: str
    link: str


@dataclass(frozen=True, slots=True)
class Owed:
    """The memberships that owe an answer to the terms of their organisation, and those to the platform's."""

    organisations: frozenset[PersonId] = frozenset()
    platform: frozenset[PersonId] = frozenset()
    terms_of_platform: Unread = Unread("", "")

    def __contains__(self, person: object) -> bool:
        return person in self.organisations or person in self.platform

    def __bool__(self) -> bool:
        return bool(self.organisations or self.platform)

    def by(self, policy: Policy, member: Membership) -> list[Unread]:
        """What this membership has to accept."""
        theirs = [self.terms_of_platform] if member.id in self.platform else []
        if member.id in self.organisations:
            theirs.append(unread(policy.organisations[member.organisation]))
        return theirs


def unread(organisation: Organisation) -> Unread:
    """The organisation's terms, for whoever has yet to accept them."""
    return Unread(organisation.name, organisation.terms.link if organisation.terms else "")


def owed_file(policy: str) -> str:
    """The path of the file that belongs to a policy's: `policy.yaml.terms-owed` beside `policy.yaml`."""
    return f"{policy}.terms-owed"


def owing(text: bytes) -> Owed:
    """Who owes an answer, as the file says; raises ValueError where it is none."""
    said = json.loads(text)
    if isinstance(said, list):
        return Owed(_people(said))
    if not isinstance(said, dict):
        raise ValueError("this says nothing of who owes an answer")
    whose, link = (said.get(key, "") for key in ("platform_name", "platform_link"))
    if not isinstance(whose, str) or not isinstance(link, str):
        raise ValueError("the platform's name and link are no texts")
    return Owed(_people(said.get("organisations")), _people(said.get("platform")), Unread(whose, link))


def _people(said: Any) -> frozenset[PersonId]:
    if not isinstance(said, list) or not all(isinstance(person, str) for person in said):
        raise ValueError("this is no list of memberships")
    return frozenset(map(PersonId, said))


def owed_text(owed: Owed) -> str:
    """What the file holds, for `owing`; a list alone where nobody owes anything to the platform."""
    if not owed.platform:
        return json.dumps(sorted(owed.organisations))
    platform = owed.terms_of_platform
    said = {"organisations": sorted(owed.organisations), "platform": sorted(owed.platform)}
    return json.dumps({**said, "platform_name": platform.whose, "platform_link": platform.link})


def owed_objection(policy: Policy, owed: Owed, home: str | None, sender: UserId, now: Moment) -> Objection | None:
    """Why somebody may write nothing in a chat of that organisation, if the membership they act by owes an answer."""
    if home not in policy.organisations:
        return None
    member = stands_for(policy, str(home), sender, now)
    return objection(owed.by(policy, member)) if member is not None and member.id in owed else None


def objection(waiting: Sequence[Unread]) -> Objection:
    """Why a message is refused."""
    links = _links(waiting)
    read = f" Read them at {' and at '.join(links)} and write" if links else " Write"
    return Objection("TRM-1", f"{_have_new_terms(waiting)}{read} “accept” in your chat with the bot first.")


def _have_new_terms(waiting: Sequence[Unread]) -> str:
    names = [one.whose for one in waiting]
    return f"{' and '.join(names)} {'has' if len(names) == 1 else 'have'} new terms."


def _links(waiting: Iterable[Unread]) -> list[str]:
    return [one.link for one in waiting if one.link]
