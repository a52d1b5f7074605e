"""The program `qwil`: what an administrator or operator types, and what scripts read.

One row of `COMMANDS` is one command. Each imports what it needs when it is run, so that `check`, `ask` and `test` start
at once and need nothing but the core. Answers go to standard output, everything said to people to standard error.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from argparse import Action, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

if TYPE_CHECKING:
    from bridge.audit import Checked
    from bridge.config import Config
    from policy.ask import Outcome
    from policy.mistake import Mistakes
    from policy.model import Policy

Result = TypeVar("Result")

GOOD, BAD, NO_QUESTION = 0, 1, 2
INTERRUPTED, NOBODY_READS = 130, 141
"""Exit statuses as a shell gives them to a program that Ctrl-C or a closed pipe ended."""

UNREADABLE = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "there is no such file",
    errno.EISDIR: "this is a folder; name a file in it",
    errno.EACCES: "you may not read or write this file",
    errno.ENAMETOOLONG: "no file has so long a name",
}

QUESTIONS = "see, search, start_chat, add, remove, leave, rename, send, export, review, administer"


class Failure(Exception):
    """The command cannot do its work; the text is a whole sentence for whoever typed it."""


class Command(NamedTuple):
    """One word after `qwil`."""

    name: str
    does: str
    example: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
    failed: int = BAD
    """The exit status when it cannot do its work at all."""
    extra: str = ""
    """The extra of the package that brings what it imports."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command in `words`, by default those of the command line, and return the exit status."""
    _speak_utf8()
    asked = _parser().parse_args(words)
    command: Command = asked.command
    try:
        status = command.run(asked)
        sys.stdout.flush()
    except Failure as failure:
        return _complain(command, str(failure))
    except BrokenPipeError:
        _write_to_nobody()
        return NOBODY_READS
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModuleNotFoundError as error:
        return _complain(command, _what_is_missing(command, error))
    except OSError as error:
        return _complain(command, _unreadable(error))
    return status


class _Version(Action):
    """Look the version up only when it is asked for."""

    def __call__(self, parser: ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"qwil {version('qwil')}")
        parser.exit()


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="qwil",
        description="Chats under contact-book rules, in any Matrix client: the policy, the bridge and a demo.",
        epilog="Each command says more, with an example: qwil check --help",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="say which version this is, and end")
    words = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        word = words.add_parser(
            command.name,
            help=command.does,
            description=f"{command.does[0].upper()}{command.does[1:]}.",
            epilog=f"example:\n{command.example}",
            formatter_class=RawDescriptionHelpFormatter,
        )
        command.arguments(word)
        word.set_defaults(command=command, usage_error=word.error)
    return parser


def _complain(command: Command, text: str) -> int:
    print(f"qwil {command.name}: {text}", file=sys.stderr)
    return command.failed


def _what_is_missing(command: Command, error: ModuleNotFoundError) -> str:
    if not command.extra or (error.name or "").partition(".")[0] in ("bridge", "policy"):
        raise error
    return (
        f"the package {error.name} is missing; pip install 'qwil[{command.extra}]' brings all that this command needs"
    )


def _unreadable(error: OSError) -> str:
    what = UNREADABLE.get(error.errno or 0, error.strerror or str(error))
    return f"{error.filename}: {what}" if error.filename else what


def _speak_utf8() -> None:
    """In a pipe UTF-8 whatever the locale; what cannot be written, half a character for one, is escaped as in JSON."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def _write_to_nobody() -> None:
    """Give what is still buffered a place to go, or Python complains once more when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# The policy


def _check_arguments(parser: ArgumentParser) -> None:
    _policy_argument(parser)
    parser.add_argument("--json", action="store_true", help="print mistakes and warnings as one JSON object")


def _check(asked: Namespace) -> int:
    from policy.forewarn import warnings

    found = _read(asked.policy)
    mistakes, warned = (found, []) if isinstance(found, tuple) else ((), warnings(found, time.time()))
    if asked.json:
        _print_json({"good": not mistakes, "mistakes": _placed(mistakes), "warnings": warned})
        return BAD if mistakes else GOOD
    _print_each(mistakes, sys.stdout)
    _print_each((f"warning: {warning}" for warning in warned), sys.stderr)
    if isinstance(found, tuple):
        return BAD
    print(f"{asked.policy.name} is good: {_size(found)}.")
    return GOOD


def _size(policy: Policy) -> str:
    books = sum(len(organisation.books) for organisation in policy.organisations.values())
    counts = {"organisation": len(policy.organisations), "book": books, "member": len(policy.people)}
    return ", ".join(f"{count:,} {what}{'' if count == 1 else 's'}" for what, count in counts.items())


def _placed(notes: Mistakes) -> list[dict[str, Any]]:
    return [{**note.place._asdict(), "text": note.text} for note in notes]


def _test_arguments(parser: ArgumentParser) -> None:
    _policy_argument(parser)


def _test(asked: Namespace) -> int:
    from policy.ask import run_tests

    outcomes = run_tests(_good(asked.policy), time.time())
    _print_each(map(_verdict, outcomes), sys.stdout)
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


def _policy_argument(parser: ArgumentParser) -> None:
    parser.add_argument("policy", metavar="POLICY", type=Path, help="the policy file; its spreadsheets lie beside it")


def _read(path: Path) -> Policy | Mistakes:
    """The policy in the file or its mistakes, of which not being readable is one."""
    from bridge.policy_file import load
    from policy.mistake import Mistake, Place

    try:
        return load(path)
    except (OSError, ValueError) as error:
        text = UNREADABLE.get(getattr(error, "errno", 0), getattr(error, "strerror", None) or str(error))
        return (Mistake(Place(path.name, 1, 1), f"this file cannot be read: {text}"),)


def _good(path: Path) -> Policy:
    """The policy in the file; with mistakes in it there is nothing to ask."""
    found = _read(path)
    if not isinstance(found, tuple):
        return found
    _print_each(found, sys.stderr)
    number = f"{len(found)} mistakes" if len(found) > 1 else "a mistake"
    raise Failure(f"the policy has {number}, see above: nothing can be asked of it until qwil check {path} finds none")


# Questions


def _ask_arguments(parser: ArgumentParser) -> None:
    _policy_argument(parser)
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
    _policy_argument(parser)
    parser.add_argument("one", metavar="A", help="a person, as organisation/identifier or Matrix ID")
    parser.add_argument("other", metavar="B", help="another person")
    parser.add_argument("--on", metavar="DATE", help="at which moment, as 2026-12-24 or 2026-12-24T08:00:00Z")


def _explain(asked: Namespace) -> int:
    from bridge.policy_file import places_of
    from policy.ask import read_question
    from policy.explain import explain, lines
    from policy.question import See

    policy = _good(asked.policy)
    words = {"do": "see", "who": asked.one, "whom": asked.other, **({"on": asked.on} if asked.on else {})}
    question = read_question(policy, words)
    if not isinstance(question, See):
        raise Failure(str(getattr(question, "error", "this is no question")))
    now = time.time() if question.on is None else question.on
    _print_each(lines(explain(policy, question.who, question.whom, now, places_of(asked.policy))), sys.stdout)
    return GOOD


def _no_arguments(_parser: ArgumentParser) -> None:
    """The command takes none."""


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

    said = answer(ask(_good(asked.policy), _question(asked), time.time()))
    _print_json(said)
    if sys.stderr.isatty():
        _print_each(_in_words(said), sys.stderr)
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

    policy = _good(asked.policy)
    standing_by = asked.batch == "-"
    with nullcontext(sys.stdin.buffer) if standing_by else Path(asked.batch).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            # A program that asks and waits for the answer gets it at once; a file is answered at full speed.
            print(_json(answer_text(policy, line, time.time())), flush=standing_by)
            if number % 1000 == 0:
                _progress(f"{number:,} questions answered")
    _progress("")
    return GOOD


# The bridge


def _config_argument(parser: ArgumentParser) -> None:
    parser.add_argument("-c", "--config", metavar="CONFIG", type=Path, required=True, help="the bridge's config.yaml")


def _registration(asked: Namespace) -> int:
    from bridge.registration import fresh_tokens, registration_text, with_tokens

    config = _config(asked.config)
    tokens = fresh_tokens()
    file = config.file.parent / "registration.yaml"
    changed = with_tokens(config.file.read_text("utf-8-sig"), config, tokens)
    if changed is None:
        raise Failure(
            f"{asked.config} is written in a way that its tokens cannot be changed in: write appservice over several"
            " lines, as config.example.yaml does"
        )
    _replace({file: registration_text(config, tokens), config.file: changed})
    print(f"{file} and {asked.config} have fresh tokens.")
    print("Name the registration in homeserver.yaml under app_service_config_files and restart the homeserver.")
    return GOOD


def _replace(texts: Mapping[Path, str]) -> None:
    """Write files that hold secrets: both or neither, whole, and for nobody else's eyes unless they were before."""
    written: list[tuple[Path, Path]] = []
    try:
        for file, text in texts.items():
            target = file.resolve()
            draft = target.with_name(f".{target.name}.{os.getpid()}")
            written.append((draft, target))
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
                out.write(text)
            if target.exists():
                draft.chmod(target.stat().st_mode & 0o777)
        for draft, target in written:
            draft.replace(target)
    finally:
        for draft, _ in written:
            draft.unlink(missing_ok=True)


def _run(asked: Namespace) -> int:
    import asyncio
    import logging

    from bridge import app
    from bridge.homeserver import Refused
    from bridge.store import StoreRefused

    config = _config(asked.config)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        with suppress(asyncio.CancelledError):
            asyncio.run(_until_told_to_end(app.run(config)))
    except (app.StartRefused, StoreRefused, Refused) as refused:
        raise Failure(str(refused)) from refused
    return GOOD


async def _until_told_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Ctrl-C and SIGTERM are how a bridge ends: it stops its parts in order, whatever it was doing."""
    import asyncio

    task = asyncio.ensure_future(work)
    for told in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(told, task.cancel)
    await task


def _config(path: Path) -> Config:
    from bridge.config import ConfigError, load

    try:
        return load(path)
    except ConfigError as error:
        raise Failure(f"{path} has mistakes:\n{error}") from error


# What is to be done on the homeserver


def _plan_arguments(parser: ArgumentParser) -> None:
    _config_argument(parser)
    parser.add_argument("--policy", metavar="CANDIDATE", type=Path, help="plan this policy as if it were in place")
    parser.add_argument("--json", action="store_true", help="print the plan as one JSON object")


def _plan(asked: Namespace) -> int:
    from bridge.planning import CHANGES, NOTHING, as_data, plan_from_record, said

    config = _config(asked.config)
    found = _with_the_record(plan_from_record(config, asked.policy))
    if isinstance(found, list):
        raise _mistaken(asked.policy or config.policy, found)
    if asked.json:
        _print_json(as_data(found))
    else:
        _print_each(said(found), sys.stdout)
    return CHANGES if found.plan.steps or found.differences else NOTHING


def _apply_arguments(parser: ArgumentParser) -> None:
    _config_argument(parser)
    parser.add_argument("--plan", metavar="HASH", help="do exactly the plan of that name, as qwil plan printed it")
    parser.add_argument("--json", action="store_true", help="print what was done as one JSON object")


def _apply(asked: Namespace) -> int:
    from getpass import getuser

    from bridge.planning import Stopped, apply_from_outside, report

    try:
        answer = _with_the_record(apply_from_outside(_config(asked.config), asked.plan, f"operator {getuser()}"))
    except Stopped as stopped:
        raise Failure(str(stopped)) from stopped
    if asked.json:
        _print_json(answer)
    else:
        _print_each(report(answer), sys.stdout)
    status: int = answer["status"]
    return status


def _history_arguments(parser: ArgumentParser) -> None:
    _config_argument(parser)
    parser.add_argument("--policy", metavar="CANDIDATE", type=Path, help="try this policy instead of the one in place")
    parser.add_argument("--days", metavar="N", type=float, default=30, help="how far back, by default 30")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each thing refused")


def _history(asked: Namespace) -> int:
    config = _config(asked.config)
    policy = _read(asked.policy or config.policy)
    if isinstance(policy, tuple):
        raise _mistaken(asked.policy or config.policy, policy)
    return _with_the_record(_tried(config, policy, asked))


async def _tried(config: Config, policy: Policy, asked: Namespace) -> int:
    from dataclasses import asdict

    from bridge.history import Tried, as_text, history, summary
    from bridge.store import Store
    from policy.model import UserId

    store, tried = await Store.open(config.database), Tried()
    since = time.time() - asked.days * 86_400
    try:
        async for refused in history(store, policy, bot=UserId(config.bot), since=since, tried=tried):
            print(_json(asdict(refused)) if asked.json else as_text(refused))
    finally:
        await store.close()
    print(summary(tried, asked.days), file=sys.stderr if asked.json else sys.stdout)
    return BAD if tried.refused else GOOD


def _audit_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("do", metavar="verify", nargs="?", choices=["verify"], help="check that nothing was changed")
    _config_argument(parser)
    parser.add_argument("--who", metavar="TEXT", default="", help="only lines of those whose name holds this")
    parser.add_argument("--what", metavar="TEXT", default="", help="only lines about this: refused, policy, apply, ...")
    parser.add_argument("--since", metavar="DATE", help="only lines from this day or moment on (UTC)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, with the hashes")


def _audit(asked: Namespace) -> int:
    return _with_the_record(_audited(_config(asked.config), asked, _since(asked)))


def _since(asked: Namespace) -> float:
    from datetime import UTC, datetime

    if asked.since is None:
        return 0
    try:
        moment = datetime.fromisoformat(asked.since)
    except ValueError:
        asked.usage_error(f"--since is a day or a moment like 2026-12-01 or 2026-12-01T09:30:00Z, not {asked.since!r}")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


async def _audited(config: Config, asked: Namespace, since: float) -> int:
    from bridge import audit
    from bridge.store import Store

    store = await Store.open(config.database)
    try:
        if asked.do == "verify":
            return _say_checked(await audit.verify(store), asked)
        async for entry in audit.entries(store, who=asked.who, what=asked.what, since=since):
            print(_json(audit.as_data(entry)) if asked.json else audit.as_text(entry))
    finally:
        await store.close()
    return GOOD


def _say_checked(checked: Checked, asked: Namespace) -> int:
    if asked.json:
        _print_json(checked._asdict())
    elif checked.broken is None:
        print(f"The audit is whole: {checked.lines} lines, the last has the hash {checked.hash or 'of nothing'}.")
        print("Note number and hash somewhere else: only they show if its end is ever cut off.")
    else:
        print(f"The audit is not whole: line {checked.broken} was changed, left out or put in.")
        print(f"The {checked.lines} lines before it are as they were written.")
    return GOOD if checked.broken is None else BAD


def _export_arguments(parser: ArgumentParser) -> None:
    _config_argument(parser)
    parser.add_argument("room", metavar="ROOM", help="the chat, as !opaque:server, or its title where one bears it")
    parser.add_argument("--until", metavar="EVENT|DATE", help="up to this event, $..., or this day, as 2026-12-24")
    parser.add_argument("-o", "--out", metavar="DIR", type=Path, help="a folder that is not there yet")
    parser.add_argument("--rsmf", action="store_true", help="with a file for eDiscovery tools (RSMF)")
    parser.add_argument("--purpose", metavar="TEXT", default="", help="what it is for, as the cover says")


def _export(asked: Namespace) -> int:
    from getpass import getuser

    from bridge.export_operator import NotExported, export_room

    config = _config(asked.config)
    policy = _read(config.policy)
    if isinstance(policy, tuple):
        raise _mistaken(config.policy, policy)
    try:
        made = _with_the_record(
            export_room(
                config,
                policy,
                asked.room,
                by=f"operator {getuser()}",
                until=asked.until,
                out=asked.out,
                rsmf=asked.rsmf,
                purpose=asked.purpose,
                progress=lambda done, total: _progress(f"part {done} of {total} is drawn"),
            )
        )
    except NotExported as refused:
        raise Failure(str(refused)) from refused
    _progress("")
    _print_each((f"missing: {sentence}" for sentence in made.missing), sys.stderr)
    print(f"{made.folder} holds “{made.title}”: {made.entries} entries.")
    print(f"Check it with: qwil verify {made.folder}")
    return GOOD


def _verify_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("export", metavar="EXPORT", type=Path, help="the folder or zip of an export")
    parser.add_argument("--key", metavar="KEY", help="the public key that has to have signed it: ed25519:...")


def _verify(asked: Namespace) -> int:
    from bridge.transcript.signature import WrongKey
    from bridge.transcript.verify import NotAnExport, verify

    try:
        found = verify(asked.export, asked.key)
    except (NotAnExport, WrongKey) as wrong:
        raise Failure(str(wrong)) from wrong
    _print_each(found.problems, sys.stdout)
    if found.signer is not None:
        print(f"Signed by {found.signer}.")
        if asked.key is None:
            print("Compare this key with the one that the organisation has published, or give it as --key.")
    _print_each((f"missing since it was made: {sentence}" for sentence in found.missing), sys.stdout)
    print("Everything is as it was signed." if found.good else "This is not what was signed.")
    return GOOD if found.good else BAD


def _with_the_record(work: Coroutine[Any, Any, Result]) -> Result:
    """Run what needs the database, and say plainly where it cannot be had."""
    import asyncio

    from bridge.store import StoreRefused, StoreUnavailable

    try:
        return asyncio.run(work)
    except (StoreRefused, StoreUnavailable) as away:
        raise Failure(str(away)) from away


def _mistaken(path: Path, mistakes: Sequence[object]) -> Failure:
    _print_each(mistakes, sys.stderr)
    number = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "a mistake"
    return Failure(f"the policy has {number}, see above: nothing follows from it until qwil check {path} finds none")


def _demo_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="end after the tour instead of staying up")
    parser.add_argument("--policy", metavar="POLICY", type=Path, help="try your own policy, without the tour")
    parser.add_argument("--dir", metavar="DIR", type=Path, help="the folder for everything, by default a temporary one")
    parser.add_argument("--port", metavar="N", type=int, help="the homeserver's port, by default a free one")


def _demo(asked: Namespace) -> int:
    from bridge.demo.run import main as demo

    return demo(asked)


def _bench_arguments(parser: ArgumentParser) -> None:
    known = "decisions, loading, search, editing, planning, importing, record, export, sending"
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"only these of: {known}")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")


def _bench(asked: Namespace) -> int:
    from bridge.bench.run import BENCHMARKS, rows, table

    for name in asked.names:
        if name not in BENCHMARKS:
            asked.usage_error(f"there is no benchmark {name!r}: known are {', '.join(BENCHMARKS)}")
    measured = []
    for row in rows(asked.names or BENCHMARKS, _progress):
        measured.append(row)
        if asked.json:
            _progress("")
            print(_json(row.as_json()), flush=True)
    _progress("")
    if not asked.json:
        print(table(measured))
    return GOOD


def _import_arguments(parser: ArgumentParser) -> None:
    _config_argument(parser)
    parser.add_argument("organisation", metavar="ORG", nargs="?", help="the organisation, by its identifier")
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="people, as .csv or .xlsx")
    parser.add_argument("--apply", action="store_true", help="do it; without this it is only said what would be done")
    parser.add_argument("--skip-existing", action="store_true", help="pass over people whose identifier is in use")
    parser.add_argument("--template", metavar="FILE", type=Path, help="write an empty .csv or .xlsx with the headings")


def _import(asked: Namespace) -> int:
    from bridge import import_file

    if asked.template is None and asked.file is None:
        asked.usage_error("say which organisation and which file, or --template FILE")
    try:
        if asked.template is not None:
            import_file.write_template(asked.template)
            print(f"{asked.template} has the headings: fill in a row for each person.")
        if asked.file is None:
            return GOOD
        said, good = import_file.run(
            _config(asked.config), asked.organisation, asked.file, apply=asked.apply, skip_existing=asked.skip_existing
        )
    except import_file.NotImported as error:
        raise Failure(str(error)) from error
    _print_each(said, sys.stdout)
    return GOOD if good else BAD


# What is said


def _print_each(texts: Iterable[object], to: IO[str]) -> None:
    for text in texts:
        print(text, file=to)


def _print_json(value: object) -> None:
    print(_json(value))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _progress(text: str) -> None:
    """What is being done, over what was said before; to a terminal, and not among the answers on it."""
    if sys.stderr.isatty() and not sys.stdout.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


COMMANDS = (
    Command(
        "demo",
        "a homeserver, the bridge and two schools on this machine, with a tour that tells what it does",
        "  qwil demo --once\n  qwil demo --policy policy.yaml --dir try --port 8008",
        _demo_arguments,
        _demo,
        extra="demo",
    ),
    Command(
        "run",
        "run the bridge until Ctrl-C or SIGTERM",
        "  qwil run -c config.yaml",
        _config_argument,
        _run,
        extra="bridge",
    ),
    Command(
        "registration",
        "write registration.yaml for the homeserver, with fresh tokens here and in config.yaml",
        "  cp config.example.yaml config.yaml\n  qwil registration -c config.yaml",
        _config_argument,
        _registration,
        extra="bridge",
    ),
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
        "import",
        "take people from a spreadsheet into the policy: what each row would do, and with --apply do it",
        "  qwil import -c config.yaml --template people.xlsx\n"
        "  qwil import -c config.yaml hillside people.xlsx\n"
        "  qwil import -c config.yaml hillside people.xlsx --apply\n"
        "\nexit status: 0 every row good, 1 some refused",
        _import_arguments,
        _import,
        extra="bridge",
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
        _no_arguments,
        _schema,
    ),
    Command(
        "plan",
        "list what is to be done on the homeserver so that it is what the policy says, and what waits for apply",
        "  qwil plan -c config.yaml\n  qwil plan -c config.yaml --policy policy.next.yaml\n"
        "\nexit status: 0 nothing to do, 2 changes, 1 the plan cannot be made",
        _plan_arguments,
        _plan,
        extra="bridge",
    ),
    Command(
        "apply",
        "do what qwil plan lists, also what waits; the policy's own tests come first",
        "  qwil apply -c config.yaml\n  qwil apply -c config.yaml --plan 0123456789abcdef\n"
        "\nexit status: 0 done, 1 some actions failed or nothing could be done, 3 the world moved since the plan",
        _apply_arguments,
        _apply,
        extra="bridge",
    ),
    Command(
        "history",
        "say what a policy would have refused of all that people did lately, going through the record",
        "  qwil history -c config.yaml --policy policy.next.yaml --days 30"
        "\n\nexit status: 0 nothing would have been refused, 1 something",
        _history_arguments,
        _history,
        extra="bridge",
    ),
    Command(
        "audit",
        "show who was refused what, who changed what and when, or check that the audit is whole",
        "  qwil audit -c config.yaml --what refused --since 2026-11-01\n  qwil audit verify -c config.yaml"
        "\n\nexit status: 0, and with verify 1 when the audit is not whole",
        _audit_arguments,
        _audit,
        extra="bridge",
    ),
    Command(
        "export",
        "write a chat into a folder: PDF, media, the record, and a signed manifest of them",
        "  qwil export -c config.yaml '!opaque:school.example' -o trip --purpose complaint-17\n"
        "  qwil export -c config.yaml '!opaque:school.example' --until 2026-12-24"
        "\n\nWhat could not be had is listed. Asked for again after a kill, with the same words, it goes on."
        "\nexit status: 0 done, 1 not",
        _export_arguments,
        _export,
        extra="bridge,export",
    ),
    Command(
        "verify",
        "check without any server that an export is as it was signed, or name what is not",
        "  qwil verify trip\n  qwil verify trip.zip --key ed25519:PUBLISHED\n\nexit status: 0 as it was signed, 1 not",
        _verify_arguments,
        _verify,
        extra="export",
    ),
    Command(
        "bench",
        "measure decisions, loading, search and sending against peers in the same run",
        "  qwil bench\n  qwil bench decisions --json",
        _bench_arguments,
        _bench,
        extra="dev",
    ),
)
"""Everything that `qwil` can do; a new command is one more row."""
