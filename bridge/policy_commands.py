"""The commands that need a policy file and nothing else: they start at once, with the core alone installed."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.command_line import (
    BAD,
    GOOD,
    NO_QUESTION,
    Command,
    Failure,
    as_json,
    good_policy,
    no_arguments,
    policy_argument,
    print_each,
    print_json,
    read_config,
    read_policy,
    say_progress,
)

if TYPE_CHECKING:
    from policy.ask import Outcome
    from policy.mistake import Mistake, Mistakes
    from policy.model import Policy

QUESTIONS = "see, search, start_chat, add, remove, leave, rename, send, export, review, administer"


def _check_arguments(parser: ArgumentParser) -> None:
    policy_argument(parser)
    parser.add_argument("--json", action="store_true", help="print mistakes and warnings as one JSON object")
    parser.add_argument(
        "-c", "--config", metavar="CONFIG", type=Path, help="the bridge's config.yaml, to check with it"
    )


def _check(asked: Namespace) -> int:
    from bridge.arrival.foresight import foreseen, unknown_networks
    from policy.forewarn import warnings

    found = read_policy(asked.policy)
    if isinstance(found, tuple):
        mistakes, warned = found, []
    else:
        mistakes, warned = (
            tuple(_broken_tests(found)),
            [*warnings(found, time.time()), *foreseen(found, asked.policy.parent)],
        )
        if asked.config is not None:
            warned += unknown_networks(read_config(asked.config).web.staff_networks, found)
    if asked.json:
        print_json({"good": not mistakes, "mistakes": _placed(mistakes), "warnings": warned})
        return BAD if mistakes else GOOD
    print_each(mistakes, sys.stdout)
    print_each((f"warning: {warning}" for warning in warned), sys.stderr)
    if isinstance(found, tuple) or mistakes:
        return BAD
    print(f"{asked.policy.name} is good: {_size(found)}.")
    return GOOD


def _broken_tests(policy: Policy) -> Iterator[Mistake]:
    """What is wrong with the file's own tests; whether the policy passes them is the matter of `test`."""
    from policy.ask import is_rule, run_tests
    from policy.mistake import Mistake, Place, quoted

    for expectation, decision in run_tests(policy, time.time()):
        unknown = [rule for rule in expectation.because or () if not is_rule(rule)]
        wrong = [decision.error] if decision.error is not None else []
        wrong += [
            f"there is no rule {rule}; `qwil explain` and every refusal name those that object" for rule in unknown
        ]
        file, line, column = expectation.where.rsplit(":", 2)
        for text in wrong:
            yield Mistake(Place(file, int(line), int(column)), f"the test {quoted(expectation.name)}: {text}")


def _size(policy: Policy) -> str:
    books = sum(len(organisation.books) for organisation in policy.organisations.values())
    counts = {"organisation": len(policy.organisations), "book": books, "member": len(policy.people)}
    return ", ".join(f"{count:,} {what}{'' if count == 1 else 's'}" for what, count in counts.items())


def _placed(notes: Mistakes) -> list[dict[str, Any]]:
    return [{**note.place._asdict(), "text": note.text} for note in notes]


def _test_arguments(parser: ArgumentParser) -> None:
    policy_argument(parser)


def _test(asked: Namespace) -> int:
    from policy.ask import run_tests

    outcomes = run_tests(good_policy(asked.policy), time.time())
    print_each(map(_verdict, outcomes), sys.stdout)
    failed = sum(not outcome.passed for outcome in outcomes)
    print(f"{len(outcomes)} tests, {len(outcomes) - failed} as expected, {failed} not.")
    return BAD if failed else GOOD


def _verdict(outcome: Outcome) -> str:
    expectation, decision = outcome
    if outcome.passed:
        return f"as expected: {expectation.name}"
    if decision.error is not None:
        said = f"this is no question: {decision.error}"
    else:
        said = f"expected {_in_short(expectation.allowed, expectation.because or ())}"
        said += f", but {_in_short(decision.allowed, decision.rules)}"
    return f"{expectation.where}: not as expected: {expectation.name}: {said}"


def _in_short(allowed: bool, rules: Sequence[str]) -> str:
    return "allowed" if allowed else f"refused by {', '.join(rules)}" if rules else "refused"


def _ask_arguments(parser: ArgumentParser) -> None:
    policy_argument(parser)
    parser.add_argument("do", metavar="DO", nargs="?", help=f"what is asked: {QUESTIONS}")
    parser.add_argument("--who", metavar="PERSON", help="who wants to do it, as organisation/identifier or Matrix ID")
    parser.add_argument("--whom", metavar="PERSON", help="to whom: see, add, remove")
    parser.add_argument("--with", metavar="PERSON,...", dest="with_", type=_names, help="with whom: start_chat")
    parser.add_argument("--text", help="what is searched for")
    parser.add_argument("--limit", metavar="N", help="how many people a search answers with at most")
    parser.add_argument("--organisation", metavar="ORG", help="in which organisation: start_chat, administer")
    parser.add_argument("--staff-only", action="store_true", help="the chat is for staff only")
    parser.add_argument("--what", help="what is administered: people, books, settings, reviewers")
    parser.add_argument("--on", metavar="DATE", help="at which moment, as 2026-12-24 or 2026-12-24T08:00:00Z")
    chat = parser.add_argument_group("the chat, for add, remove, leave, rename, send, export, review")
    chat.add_argument("--chat", metavar="JSON", help='all of it: {"organisation": ..., "participants": [...]}')
    chat.add_argument("--home", metavar="ORG", help="its organisation")
    chat.add_argument("--participants", metavar="PERSON,...", type=_names, help="who is in it")
    chat.add_argument("--former", metavar="PERSON,...", type=_names, help="who was in it")
    chat.add_argument("--draft", action="store_true", help="it has not begun")
    chat.add_argument("--creator", metavar="PERSON", help="who began the draft")
    parser.add_argument("--batch", metavar="FILE", help="a JSON question a line, an answer a line; - is standard input")


def _explain_arguments(parser: ArgumentParser) -> None:
    policy_argument(parser)
    parser.add_argument("one", metavar="A", help="a person, as organisation/identifier or Matrix ID")
    parser.add_argument("other", metavar="B", help="another person")
    parser.add_argument("--on", metavar="DATE", help="at which moment, as 2026-12-24 or 2026-12-24T08:00:00Z")


def _explain(asked: Namespace) -> int:
    from bridge.policy_file import places_of
    from policy.ask import read_question
    from policy.explain import explain, lines
    from policy.question import See

    policy = good_policy(asked.policy)
    words = {"do": "see", "who": asked.one, "whom": asked.other, **({"on": asked.on} if asked.on else {})}
    question = read_question(policy, words)
    if not isinstance(question, See):
        raise Failure(str(getattr(question, "error", "this is no question")))
    now = time.time() if question.on is None else question.on
    print_each(lines(explain(policy, question.who, question.whom, now, places_of(asked.policy))), sys.stdout)
    return GOOD


def _schema(_asked: Namespace) -> int:
    from policy.schema import schema

    print(json.dumps(schema(), indent=2, ensure_ascii=False))
    return GOOD


def _names(words: str) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()]


def _ask(asked: Namespace) -> int:
    if (asked.do is None) == (asked.batch is None):
        asked.usage_error("ask one question with DO, or many with --batch FILE")
    if asked.batch is not None:
        return _ask_batch(asked)
    from policy.ask import answer, ask

    said = answer(ask(good_policy(asked.policy), _question(asked), time.time()))
    print_json(said)
    if sys.stderr.isatty():
        print_each(_in_words(said), sys.stderr)
    return NO_QUESTION if "error" in said else GOOD if said["allowed"] else BAD


def _question(asked: Namespace) -> dict[str, Any]:
    """The question as a batch would write it."""
    chat = _chat(asked)
    staff_only = asked.staff_only or None
    words = {
        "do": asked.do, "who": asked.who, "whom": asked.whom, "with": asked.with_, "text": asked.text,
        "limit": _number(asked.limit), "organisation": asked.organisation, "what": asked.what, "on": asked.on,
        "staff_only": staff_only if chat is None else None, "chat": chat,
    }  # fmt: skip
    return {word: value for word, value in words.items() if value is not None}


def _chat(asked: Namespace) -> Any:
    """The chat that the options describe, None if none does."""
    parts = {
        "organisation": asked.home,
        "participants": asked.participants,
        "former": asked.former,
        "draft": asked.draft or None,
        "creator": asked.creator,
    }
    given = {word: value for word, value in parts.items() if value is not None}
    if asked.chat is None:
        return {**given, **({"staff_only": True} if asked.staff_only else {})} if given else None
    if given:
        asked.usage_error("describe the chat with --chat, or with --home, --participants and so on, not with both")
    try:
        return json.loads(asked.chat)
    except (ValueError, RecursionError):
        asked.usage_error('--chat is JSON like {"organisation": "hillside", "participants": ["hillside/head"]}')


def _number(word: str | None) -> int | str | None:
    return int(word) if word is not None and word.isdecimal() else word


def _in_words(said: Mapping[str, Any]) -> Iterator[str]:
    if error := said.get("error"):
        yield f"Not a question: {error}"
    elif said["allowed"]:
        yield f"Allowed, in a chat of kind {said['kind']}." if "kind" in said else "Allowed."
    for objection in said["because"]:
        yield f"Refused by {objection['rule']}: {objection['text']}"


def _ask_batch(asked: Namespace) -> int:
    from policy.ask import answer_text

    policy = good_policy(asked.policy)
    standing_by = asked.batch == "-"
    with nullcontext(sys.stdin.buffer) if standing_by else Path(asked.batch).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            # A program that asks and waits for the answer gets it at once; a file is answered at full speed.
            print(as_json(answer_text(policy, line, time.time())), flush=standing_by)
            if number % 1000 == 0:
                say_progress(f"{number:,} questions answered")
    say_progress("")
    return GOOD


POLICY_COMMANDS = (
    Command(
        "check",
        "find all mistakes in a policy, each with file, line and column",
        "  qwil check policy.yaml\n\nexit status: 0 good, 1 mistakes",
        _check_arguments,
        _check,
    ),
    Command(
        "ask",
        "ask the policy whether somebody may do something, and why not",
        "  qwil ask policy.yaml start_chat --who hillside/p.chan --with hillside/t.okafor,hillside/p.diaz\n"
        "  qwil ask policy.yaml add --who hillside/head --whom riverside/b.ode \\\n"
        "      --home hillside --participants hillside/head,hillside/t.okafor\n"
        "  qwil ask policy.yaml search --who hillside/head --text river\n"
        "  qwil ask policy.yaml --batch questions.jsonl > answers.jsonl\n"
        "\nexit status: 0 allowed, 1 refused, 2 not a question; with --batch 0",
        _ask_arguments,
        _ask,
        failed=NO_QUESTION,
    ),
    Command(
        "explain",
        "say what one person may do with another and why, down to file and line, and what would alter it",
        "  qwil explain policy.yaml hillside/p.chan hillside/p.north",
        _explain_arguments,
        _explain,
        failed=NO_QUESTION,
    ),
    Command(
        "test",
        "hold the policy against the expectations under its tests:",
        "  qwil test policy.yaml\n\nexit status: 0 all as expected, 1 not",
        _test_arguments,
        _test,
    ),
    Command(
        "schema",
        "print the JSON Schema of the policy file, for completion and checking in editors",
        "  qwil schema > policy.schema.json\n\nThe first line of a policy then tells the editor:"
        "\n  # yaml-language-server: $schema=policy.schema.json",
        no_arguments,
        _schema,
    ),
)
