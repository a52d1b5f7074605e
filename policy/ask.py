"""Questions from words, and answers as words: the vocabulary of command line, batch files, tests and audit.

What cannot be read as a question is answered with an `error`, and so refused; nothing here raises for what was asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, tzinfo
from typing import Any, NamedTuple, get_args
from zoneinfo import ZoneInfo

from policy.decide import decide
from policy.decision import Decision, Found
from policy.mistake import instead, nearest, quoted
from policy.model import Expectation, Moment, PersonId, Policy, UserId
from policy.question import (
    Add,
    Administer,
    Area,
    Chat,
    Export,
    Leave,
    Question,
    Remove,
    Rename,
    Review,
    Search,
    See,
    Send,
    StartChat,
)
from policy.yaml_nodes import as_day

AREAS: Mapping[str, Area] = {area: area for area in get_args(Area)}

CHAT_NEEDS = ("organisation", "participants")
CHAT_MAY = ("former", "staff_only", "draft", "creator")

USUAL_LIMIT = 20
"""As many people a search names unless it says otherwise."""

HIGHEST_LIMIT = 1_000_000
"""More than anybody finds: a higher limit is none."""

LONGEST_LIST = 10_000
"""As many people are read in one list; no chat holds a hundredth of them."""

FAMILIES = {
    "BOOK": 16, "BUT": 3, "CHAT": 11, "CL": 4, "DEV": 1, "DIR": 4, "EXP": 5, "EXT": 13, "FIL": 1, "IMP": 6, "INV": 15,
    "LINK": 3, "LIST": 2, "PART": 9, "REV": 5, "ROLE": 7, "TRM": 1, "USR": 5,
}  # fmt: skip
"""The rules by family, each numbered from 1 to here."""


class _NoQuestionError(Exception):
    """What is wrong with the words, in a sentence."""


class Outcome(NamedTuple):
    """One of the administrator's tests, and what the policy really says."""

    expectation: Expectation
    decision: Decision

    @property
    def passed(self) -> bool:
        """Allowed or refused as expected, for the reasons expected among others; what is no question never passes."""
        expected = self.expectation
        return (
            self.decision.error is None
            and self.decision.allowed == expected.allowed
            and set(expected.because or ()) <= set(self.decision.rules)
        )


def is_rule(name: str) -> bool:
    """Is there a rule of that name?"""
    family, _, number = name.partition("-")
    return number.isdecimal() and 1 <= int(number) <= FAMILIES.get(family, 0)


def read_question(policy: Policy, data: object) -> Question | Decision:
    """The question that the words ask; where they ask none, the decision that says so."""
    try:
        return _Words(policy, data).question()
    except _NoQuestionError as wrong:
        return Decision(False, error=str(wrong))


def ask(policy: Policy, data: object, now: Moment) -> Decision:
    """What the policy says to a question in words; `now` counts where the words name no time."""
    question = read_question(policy, data)
    return question if isinstance(question, Decision) else decide(policy, question, now)


def answer(decision: Decision) -> dict[str, Any]:
    """The decision as it goes over the wire."""
    said: dict[str, Any] = {"allowed": decision.allowed, "because": [reason._asdict() for reason in decision.because]}
    if decision.kind is not None:
        said["kind"] = decision.kind
    if decision.people is not None:
        said["people"] = [_entry(found) for found in decision.people]
    if decision.error is not None:
        said["error"] = decision.error
    return said


def answer_text(policy: Policy, line: str | bytes, now: Moment) -> dict[str, Any]:
    """The answer to one line of a batch file, whatever stands in it."""
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        return answer(Decision(False, error=f"this is not JSON: {error.msg} at column {error.pos + 1}"))
    except (ValueError, RecursionError):
        return answer(Decision(False, error="this is not JSON that anybody would ask a question in"))
    return answer(ask(policy, data, now))


def run_tests(policy: Policy, now: Moment) -> list[Outcome]:
    """What becomes of the administrator's own tests, in the order of the file."""
    return [Outcome(expectation, ask(policy, expectation.ask, now)) for expectation in policy.tests]


def _entry(found: Found) -> dict[str, Any]:
    entry = {"person": found.person, "name": found.name, "organisation": found.organisation, "badge": found.badge}
    return entry if found.available else {**entry, "available": False}


class _Words:
    """The words of one question."""

    def __init__(self, policy: Policy, data: object) -> None:
        if not isinstance(data, Mapping):
            raise _NoQuestionError('a question is an object like {"do": "see", "who": "...", "whom": "..."}')
        self.policy = policy
        self.data = data

    def question(self) -> Question:
        """The question, or the error that there is none."""
        do = self.data.get("do")
        if not isinstance(do, str) or do not in QUESTIONS:
            raise _NoQuestionError(f"do says what is asked: {_unknown('word', do, QUESTIONS)}")
        form = QUESTIONS[do]
        _expect_fields(self.data, {"do", "who", *form.needs}, {"on", *form.may}, do)
        return form.make(self)

    def person(self, field: str) -> PersonId:
        """The person named in a field."""
        return named(self.policy, self.data[field], field)

    def on(self) -> Moment | None:
        """The moment asked about; a day means its noon where the asker is."""
        text = self.data.get("on")
        if text is None:
            return None
        organisation = self.policy.people[self.person("who")].organisation
        moment = _moment(text, _zone(self.policy, organisation)) if isinstance(text, str) else None
        if moment is None:
            raise _NoQuestionError(f"on is a time like 2026-12-01 or 2026-12-01T09:30:00Z, not {_shown(text)}")
        return moment

    def chat(self) -> Chat:
        """The chat as it stands."""
        words = self.data["chat"]
        if not isinstance(words, Mapping):
            raise _NoQuestionError(f"chat is an object with organisation and participants, not {_shown(words)}")
        _expect_fields(words, set(CHAT_NEEDS), set(CHAT_MAY), "chat")
        creator = words.get("creator")
        return Chat(
            organisation=self.organisation(words["organisation"]),
            participants=self.people(words["participants"], "participants"),
            former=self.people(words.get("former", []), "former"),
            staff_only=_truth(words.get("staff_only", False), "staff_only"),
            draft=_truth(words.get("draft", False), "draft"),
            creator=None if creator is None else named(self.policy, creator, "creator"),
        )

    def people(self, words: object, field: str) -> tuple[PersonId, ...]:
        """A list of people, each once."""
        if not isinstance(words, (list, tuple)):
            raise _NoQuestionError(f"{field} is a list of people, not {_shown(words)}")
        if len(words) > LONGEST_LIST:
            raise _NoQuestionError(f"{field} names {len(words)} people, {LONGEST_LIST} at most can be asked about")
        return tuple(dict.fromkeys(named(self.policy, word, field) for word in words))

    def organisation(self, word: object) -> str:
        """An organisation of the policy."""
        if isinstance(word, str) and word in self.policy.organisations:
            return word
        raise _NoQuestionError(_unknown("organisation", word, self.policy.organisations))

    def home(self) -> str | None:
        """The organisation in whose name a chat is to start, if one is named."""
        word = self.data.get("organisation")
        return None if word is None else self.organisation(word)

    def text(self) -> str:
        """What is searched for."""
        text = self.data["text"]
        if not isinstance(text, str):
            raise _NoQuestionError(f"text is what to search for, in quotation marks, not {_shown(text)}")
        return text

    def limit(self) -> int:
        """How many people a search names at most."""
        limit = self.data.get("limit", USUAL_LIMIT)
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise _NoQuestionError(f"limit is a whole number from 1, not {_shown(limit)}")
        return min(limit, HIGHEST_LIMIT)

    def staff_only(self) -> bool:
        """Whether clients are barred for good."""
        return _truth(self.data.get("staff_only", False), "staff_only")

    def area(self) -> Area:
        """What is to be administered."""
        what = self.data["what"]
        if isinstance(what, str) and what in AREAS:
            return AREAS[what]
        raise _NoQuestionError(_unknown("area", what, AREAS))


class _Form(NamedTuple):
    """How a question is put: the fields it needs, those it may have, and what they make."""

    needs: tuple[str, ...]
    may: tuple[str, ...]
    make: Callable[[_Words], Question]


QUESTIONS: Mapping[str, _Form] = {
    "see": _Form(("whom",), (), lambda w: See(w.person("who"), w.person("whom"), w.on())),
    "search": _Form(("text",), ("limit",), lambda w: Search(w.person("who"), w.text(), w.limit(), w.on())),
    "start_chat": _Form(
        ("with",),
        ("organisation", "staff_only"),
        lambda w: StartChat(w.person("who"), w.people(w.data["with"], "with"), w.home(), w.staff_only(), w.on()),
    ),
    "add": _Form(("whom", "chat"), (), lambda w: Add(w.person("who"), w.person("whom"), w.chat(), w.on())),
    "remove": _Form(("whom", "chat"), (), lambda w: Remove(w.person("who"), w.person("whom"), w.chat(), w.on())),
    "leave": _Form(("chat",), (), lambda w: Leave(w.person("who"), w.chat(), w.on())),
    "rename": _Form(("chat",), (), lambda w: Rename(w.person("who"), w.chat(), w.on())),
    "send": _Form(("chat",), (), lambda w: Send(w.person("who"), w.chat(), w.on())),
    "export": _Form(("chat",), (), lambda w: Export(w.person("who"), w.chat(), w.on())),
    "review": _Form(("chat",), (), lambda w: Review(w.person("who"), w.chat(), w.on())),
    "administer": _Form(
        ("organisation", "what"),
        (),
        lambda w: Administer(w.person("who"), w.organisation(w.data["organisation"]), w.area(), w.on()),
    ),
}
"""Everything that can be asked in words."""


def named(policy: Policy, word: object, field: str) -> PersonId:
    """The person that a field names as `organisation/identifier`, or by a Matrix ID that is one person's alone."""
    if not isinstance(word, str):
        raise _NoQuestionError(f"{field} is a person, written organisation/identifier, not {_shown(word)}")
    person = PersonId(word)
    if person in policy.people:
        return person
    if word.startswith("@"):
        return _by_account(policy, word)
    organisation = word.partition("/")[0]
    if "/" in word and organisation not in policy.organisations:
        raise _NoQuestionError(
            f"unknown person {quoted(word)}: {_unknown('organisation', organisation, policy.organisations)}"
        )
    prefix = f"{organisation}/"
    if "/" not in word:
        bearers = [f"{org}/{word}" for org in policy.organisations if f"{org}/{word}" in policy.people]
        meant = f" — did you mean {' or '.join(map(quoted, bearers))}?"
        how = meant if bearers else ": people are written organisation/identifier, or by their Matrix ID"
        raise _NoQuestionError(f"unknown person {quoted(word)}{how}")
    prefix = f"{organisation}/"
    near = nearest(
        word.removeprefix(prefix), (each.removeprefix(prefix) for each in policy.people if each.startswith(prefix))
    )
    raise _NoQuestionError(
        f"unknown person {quoted(word)}" + (f" — did you mean {quoted(prefix + near)}?" if near else "")
    )


def _by_account(policy: Policy, word: str) -> PersonId:
    """Of several memberships the one that has not left, if there is only one."""
    members = policy.accounts.get(UserId(word), ())
    living = [member for member in members if member.status != "left"]
    for some in (members, living):
        if len(some) == 1:
            return some[0].id
    if members:
        ids = ", ".join(member.id for member in members)
        raise _NoQuestionError(f"{quoted(word)} is several persons: {ids}; say which")
    raise _NoQuestionError(_unknown("person", word, policy.accounts))


def _expect_fields(words: Mapping[Any, Any], needed: set[str], allowed: set[str], what: str) -> None:
    known = needed | allowed
    for field in words:
        if field not in known:
            raise _NoQuestionError(_unknown(f"field of {what}", field, sorted(known)))
    for field in sorted(needed - words.keys()):
        raise _NoQuestionError(f"{what} needs a field {quoted(field)}")


def _truth(value: object, field: str) -> bool:
    if isinstance(value, bool):
        return value
    raise _NoQuestionError(f"{field} is true or false, not {_shown(value)}")


def _moment(text: str, zone: tzinfo) -> Moment | None:
    """ISO 8601; without an offset the time is that of the zone, and a day alone is its noon."""
    day = as_day(text)
    try:
        moment = datetime.combine(day, time(12)) if day else datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        return None


def _zone(policy: Policy, organisation: str) -> tzinfo:
    name = policy.organisations[organisation].timezone
    return UTC if name == "UTC" else ZoneInfo(name)


def _unknown(what: str, word: object, known: Any) -> str:
    if word is None:
        return f"no {what} is given{instead('', known)}"
    return f"unknown {what} {_shown(word)}{instead(word if isinstance(word, str) else '', known)}"


def _shown(value: object) -> str:
    """A value of the question as it may stand in a sentence."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return "a number"
