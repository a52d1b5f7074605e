"""The word `why`: whether two people can meet, and for administrators where that stands and what would alter it."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from bridge.commands import Answer, Asked, Commands, Declined, Word
from bridge.policy_file import PolicySource, places_of
from policy.decide import decide
from policy.decision import Decision, Objection
from policy.explain import change_lines, explain, fact_lines
from policy.locate import Places
from policy.model import Membership, PersonId, Policy, UserId
from policy.naming import people_named, tokens
from policy.question import Administer, StartChat
from policy.reach import linked
from policy.rooms import stands_for

_ABOUT_OTHERS = Objection("ROLE-1", "Only an administrator can ask about two other people, of their own organisation.")


class _Located(NamedTuple):
    policy: Policy
    places: Places | None


def why_words(source: PolicySource) -> dict[str, Word]:
    """The word, with the policy whose lines it names."""
    does = "whether a chat can be started with somebody, and why not"
    return {"why": Word("why PERSON [PERSON]", does, _Why(source).answer)}


class _Why:
    """Answers `why`, and keeps where everything of the policy in force stands."""

    def __init__(self, source: PolicySource) -> None:
        self._source = source
        self._known = _Located(Policy(), None)

    async def answer(self, _commands: Commands, asked: Asked) -> str:
        people = _people(asked)
        if len(people) > 1:
            return await self._about_two(asked, people[0], people[1])
        return "\n".join(dict.fromkeys([await self._about(asked, member, people[0]) for member in asked.memberships]))

    async def _about_two(self, asked: Asked, one: UserId | PersonId, other: UserId | PersonId) -> str:
        for admin in _administrators(asked):
            who, whom = (_as_member(asked, admin, person) for person in (one, other))
            if who is not None and whom is not None and who.organisation == admin.organisation:
                return await self._about(asked, who, whom.id)
        raise Declined(Decision(False, (_ABOUT_OTHERS,)))

    async def _about(self, asked: Asked, who: Membership, person: UserId | PersonId) -> str:
        whom = _as_member(asked, who, person)
        if whom is None:
            organisation = asked.policy.organisations[who.organisation].name
            return f"No: {person} belongs to no organisation that {organisation} is connected with (DIR-4)."
        verdict = _verdict(asked, who, whom)
        administered = {admin.organisation for admin in _administrators(asked)}
        if who.organisation not in administered or not linked(asked.policy, who.organisation, whom.organisation):
            return verdict
        found = explain(asked.policy, who.id, whom.id, asked.now, await self._places(asked.policy))
        readable = (fact for fact in found.facts if fact.organisation in administered)
        return "\n".join([verdict, *fact_lines(readable), *change_lines(found)])

    async def _places(self, policy: Policy) -> Places | None:
        """Read once for each policy, and not while people wait for the bridge."""
        if self._known.policy is not policy:
            try:
                self._known = _Located(policy, await asyncio.to_thread(places_of, self._source.path))
            except OSError:
                self._known = _Located(policy, None)
        return self._known.places


def _administrators(asked: Asked) -> list[Membership]:
    """The asker's memberships by which they manage people (ROLE-1)."""
    return [
        member
        for member in asked.memberships
        if decide(asked.policy, Administer(member.id, member.organisation, "people"), asked.now).allowed
    ]


def _people(asked: Asked) -> list[UserId | PersonId]:
    """Whom the words name: administrators name everybody of theirs, others whom they may reach."""
    words = tokens(asked.rest)
    if not words:
        raise Answer("Write whom it is about: “why PERSON”.")
    known = [_administered(asked, word) for word in words]
    if all(known):
        return [person for person in known if person][:2]
    named = people_named(asked.policy, asked.memberships, words, asked.now)
    if named.mistakes:
        raise Answer("\n".join(named.mistakes))
    return list(named.users[:2])


def _administered(asked: Asked, word: str) -> PersonId | UserId | None:
    if word.startswith("@"):
        return UserId(word)
    organisations = [admin.organisation for admin in _administrators(asked)]
    ids = [PersonId(word) if "/" in word else PersonId(f"{organisation}/{word}") for organisation in organisations]
    found = (asked.policy.people.get(person) for person in ids)
    return next((member.id for member in found if member is not None and member.organisation in organisations), None)


def _as_member(asked: Asked, who: Membership, person: UserId | PersonId) -> Membership | None:
    """The membership meant where `who` asks about a person or an account."""
    if person.startswith("@"):
        return stands_for(asked.policy, who.organisation, UserId(person), asked.now)
    return asked.policy.people.get(PersonId(person))


def _verdict(asked: Asked, who: Membership, whom: Membership) -> str:
    decision = decide(asked.policy, StartChat(who.id, (whom.id,)), asked.now)
    if decision.allowed:
        return f"Yes: a chat of {asked.policy.organisations[who.organisation].name} can be started."
    return f"No: {decision.text} ({', '.join(decision.rules)})"
