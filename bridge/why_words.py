"""The word `why`: whether two people can meet, and for administrators where that stands and what would alter it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from bridge.commands import Answer, Asked, Commands, Declined, Word
from bridge.policy_file import PolicySource, places_of
from policy.administered import LONGEST_NAME, members_named
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

_REACHED = (
    "Clients reach who is on their contact list (BOOK-6), staff their colleagues too (BOOK-5) and staff of connected "
    "organisations (EXT-1); of all others I tell nothing, not even whether they are there. About an account ask by its "
    "Matrix ID: “why @NAME:SERVER”."
)


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
    people, mistakes = _named(asked, words)
    if mistakes:
        raise Answer("\n".join([*mistakes, *([] if _administrators(asked) else [_REACHED])]))
    if len(people) > 2:
        raise Answer(f"Write one person or two, not {len(people)}: “why PERSON [PERSON]”.")
    return people


def _named(asked: Asked, words: list[str]) -> tuple[list[UserId | PersonId], Sequence[str]]:
    """Everybody the words name, or what is wrong with them; a name may take several words."""
    organisations = [admin.organisation for admin in _administrators(asked)]
    reached = people_named(asked.policy, asked.memberships, words, asked.now)
    if not organisations:
        return [*reached.users], reached.mistakes
    own = members_named(asked.policy, organisations, words)
    if not own.mistakes:
        return [member.id for member in own.members], ()
    # One of theirs and one of another organisation; which words are whose name is tried.
    for cut in range(1, min(len(words), 2 * LONGEST_NAME)):
        one = _alone(asked, organisations, " ".join(words[:cut]))
        other = _alone(asked, organisations, " ".join(words[cut:]))
        if one is not None and other is not None:
            return [one, other], ()
    return [*reached.users], reached.mistakes and own.mistakes


def _alone(asked: Asked, organisations: list[str], name: str) -> UserId | PersonId | None:
    """Whom a whole name means, if anybody."""
    if name.startswith("@"):
        return UserId(name) if " " not in name else None
    own = members_named(asked.policy, organisations, [name])
    if len(own.members) == 1:
        return own.members[0].id
    reached = people_named(asked.policy, asked.memberships, [name], asked.now)
    return reached.users[0] if len(reached.users) == 1 else None


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
