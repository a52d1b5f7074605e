"""Terms that somebody has to accept before the next message (TRM-1): the file that says who, and the refusal.

The bridge knows who accepted which version and writes those who owe an answer beside the policy; whoever decides on
messages reads it. Without the file nobody owes anything.
"""

from __future__ import annotations

import json

from policy.decision import Objection
from policy.model import Moment, Organisation, PersonId, Policy, UserId
from policy.rooms import stands_for


def owed_file(policy: str) -> str:
    """The path of the file that belongs to a policy's: `policy.yaml.terms-owed` beside `policy.yaml`."""
    return f"{policy}.terms-owed"


def owing(text: bytes) -> frozenset[PersonId]:
    """The memberships that owe an answer, as the file says; raises ValueError where it is none."""
    people = json.loads(text)
    if not isinstance(people, list) or not all(isinstance(person, str) for person in people):
        raise ValueError("this is no list of memberships")
    return frozenset(map(PersonId, people))


def refusal_text(organisation: Organisation) -> str:
    """What whoever owes an answer is told."""
    link = organisation.terms.link if organisation.terms else ""
    where = f" Read them: {link} Then write" if link else " Write"
    return f"{organisation.name} has new terms.{where} “accept” to me, in our direct chat, to go on."


def owed_objection(
    policy: Policy, owing: frozenset[PersonId], home: str | None, sender: UserId, now: Moment
) -> Objection | None:
    """Why somebody may write nothing in a chat of that organisation, if the membership they act by owes an answer."""
    if home not in policy.organisations:
        return None
    member = stands_for(policy, str(home), sender, now)
    if member is None or member.id not in owing:
        return None
    return objection(policy.organisations[member.organisation])


def objection(organisation: Organisation) -> Objection:
    """Why a message is refused."""
    link = organisation.terms.link if organisation.terms else ""
    read = f" Read them at {link} and write" if link else " Write"
    return Objection("TRM-1", f"{organisation.name} has new terms.{read} “accept” in your chat with the bot first.")
