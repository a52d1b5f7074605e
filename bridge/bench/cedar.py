"""The peer: the same questions put to Cedar, the authorization engine, with policies and entities parsed beforehand.

Cedar knows no "everybody in the chat", so a question about a chat is a batch: one request for each person concerned.
What can be known before (who is in the chat, how many count, which organisations take part) is in the requests when the
clock starts, in Cedar's favour. Rule ids are the policies' annotations, and the reasons are read as ours are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from math import inf
from typing import Any

import cedarpy

from bridge.bench.questions import Asked
from policy.model import Membership, Moment, PersonId, Policy
from policy.question import Add, StartChat
from policy.reach import books, status

NEVER = 2**52

POLICIES = """
permit (principal, action, resource);

@id("INV-4") forbid (principal, action in [Action::"start_chat", Action::"add"], resource)
  when { principal.status == "invited" && context.now < principal.ends };
@id("USR-1") forbid (principal, action in [Action::"start_chat", Action::"add"], resource)
  when { principal.status == "suspended" && context.now < principal.ends };
@id("USR-2") forbid (principal, action in [Action::"start_chat", Action::"add"], resource)
  when { principal.status == "left" || context.now >= principal.ends };
@id("BOOK-10") forbid (principal, action in [Action::"start_chat", Action::"add"], resource)
  when { resource.status == "invited" && context.now < resource.ends };
@id("USR-2 whom") forbid (principal, action in [Action::"start_chat", Action::"add"], resource)
  when { resource.status == "left" || context.now >= resource.ends };

@id("BOOK-8") forbid (principal, action == Action::"start_chat", resource)
  when { principal.organisation == resource.organisation && principal.role == "client" && resource.role == "client" }
  unless { principal.open_books.containsAny(resource.open_books) };
@id("BOOK-6") forbid (principal, action == Action::"start_chat", resource)
  when { principal.organisation == resource.organisation && principal.role != resource.role }
  unless { principal.books.containsAny(resource.books) };
@id("DIR-4") forbid (principal, action in [Action::"start_chat", Action::"add"], resource)
  when { principal.organisation != resource.organisation && principal.network != resource.network };
@id("EXT-2") forbid (principal, action in [Action::"start_chat", Action::"add"], resource)
  when { context.home != resource.organisation && context.network != resource.network };
@id("EXT-1") forbid (principal, action in [Action::"start_chat", Action::"add"], resource)
  when { principal.organisation != resource.organisation && principal.role == "client" };

@id("PART-1 absent") forbid (principal, action == Action::"add", resource) unless { context.inside };
@id("PART-1") forbid (principal, action == Action::"add", resource)
  when { principal.role == "client" && resource.role == "client" }
  unless { principal.organisation == resource.organisation && principal.open_books.containsAny(resource.open_books) };
@id("PART-1 staff") forbid (principal, action == Action::"add", resource)
  when { principal.role == "client" && resource.role == "staff" }
  unless { principal.organisation == resource.organisation && principal.books.containsAny(resource.books) };
@id("PART-3") forbid (principal, action == Action::"add", resource)
  when { principal.role == "staff" && resource.role == "client" }
  unless { principal.organisation == resource.organisation && principal.books.containsAny(resource.books) };

@id("EXT-3") forbid (principal, action in [Action::"start_chat", Action::"add", Action::"take_part"], resource)
  when { context.external && resource.client_of.containsAny(context.organisations) };
@id("EXT-4") forbid (principal, action in [Action::"take_part", Action::"read_on"], resource)
  when { context.stranger && resource.role == "client" };
@id("EXT-13") forbid (principal, action == Action::"take_part", resource)
  when { context.home != resource.organisation && context.network != resource.network };
@id("CHAT-10") forbid (principal, action in [Action::"start_chat", Action::"add"], resource)
  when { context.staff_only && (resource.role == "client" || principal.role == "client") };
@id("CHAT-3") forbid (principal, action in [Action::"start_chat", Action::"add"], resource)
  when { context.count > context.limit && resource.status != "suspended" };
"""

Requests = Sequence[dict[str, Any]]
Answer = tuple[bool, tuple[str, ...]]
"""Allowed or not, and the ids of the rules that objected."""


class Cedar:
    """A policy in Cedar's form, parsed once."""

    def __init__(self, policy: Policy, now: Moment) -> None:
        self._policy = policy
        self._now = now
        self._rules = cedarpy.PolicySet.from_str(POLICIES)
        self._entities = cedarpy.Entities.from_json_str(
            json.dumps([self._entity(one) for one in policy.people.values()])
        )

    def requests(self, question: Asked) -> Requests:
        """The batch that asks this question."""
        return self._start(question) if isinstance(question, StartChat) else self._add(question)

    def answer(self, requests: Requests) -> Answer:
        """What Cedar says to a batch, with all reasons."""
        results = cedarpy.is_authorized_batch(list(requests), self._rules, self._entities)
        rules = [rule for one in results if not one.allowed for rule in _rules(one)]
        return all(one.allowed for one in results), tuple(dict.fromkeys(rules))

    def _entity(self, member: Membership) -> dict[str, Any]:
        home = member.organisation
        shelf = books(self._policy, member, self._now)
        accounts = self._policy.accounts.get(member.matrix, ()) if member.matrix else ()
        living = [one for one in accounts if status(one, self._now) != "left"]
        client_of = {one.organisation for one in (member, *living) if one.role == "client"}
        return {
            "uid": {"type": "Person", "id": member.id},
            "attrs": {
                "organisation": home,
                "network": self._network(home),
                "role": member.role,
                "status": member.status,
                "ends": NEVER if member.ends == inf else int(member.ends),
                "books": sorted(shelf),
                "open_books": sorted(book for book in shelf if (home, book) not in self._policy.closed_books),
                "client_of": sorted(client_of),
            },
            "parents": [],
        }

    def _network(self, organisation: str) -> str:
        """An organisation in no network is one of its own."""
        return self._policy.organisations[organisation].network or f"only {organisation}"

    def _start(self, question: StartChat) -> Requests:
        home = self._policy.people[question.who].organisation
        everybody = (question.who, *question.people)
        context = self._context(home, everybody, staff_only=question.staff_only)
        return [
            *(_request(question.who, "start_chat", whom, context) for whom in question.people),
            _request(question.who, "take_part", question.who, context),
        ]

    def _add(self, question: Add) -> Requests:
        chat = question.chat
        everybody = (*chat.participants, question.whom)
        context = self._context(chat.organisation, everybody, staff_only=chat.staff_only)
        stranger = self._policy.people[question.whom].organisation != chat.organisation
        outside = any(self._policy.people[one].organisation != chat.organisation for one in chat.former)
        inside = question.who in chat.participants
        adding = context | {"inside": inside, "external": context["external"] or outside}
        company = context | {"stranger": stranger}
        return [
            _request(question.who, "add", question.whom, adding),
            *(_request(question.whom, "take_part", one, company) for one in chat.participants),
            *(_request(question.whom, "read_on", one, company) for one in chat.former),
        ]

    def _context(self, home: str, everybody: Iterable[PersonId], *, staff_only: bool) -> dict[str, Any]:
        members = [self._policy.people[one] for one in dict.fromkeys(everybody)]
        organisations = {home, *(member.organisation for member in members)}
        counted = {one.matrix or one.id for one in members if status(one, self._now) not in ("suspended", "left")}
        return {
            "now": int(self._now),
            "home": home,
            "network": self._network(home),
            "organisations": sorted(organisations),
            "external": len(organisations) > 1,
            "stranger": False,
            "staff_only": staff_only,
            "count": len(counted),
            "limit": self._policy.organisations[home].max_participants,
        }


def _request(principal: str, action: str, resource: str, context: dict[str, Any]) -> dict[str, Any]:
    return {
        "principal": {"type": "Person", "id": principal},
        "action": {"type": "Action", "id": action},
        "resource": {"type": "Person", "id": resource},
        # Serialised beforehand, as the engine takes it.
        "context": json.dumps(context),
    }


def _rules(result: cedarpy.AuthzResult) -> Iterable[str]:
    return result.diagnostics.id_annotations_by_reason.values()
