"""The commands of an operator: they need a `config.yaml`, and most of them the record or the homeserver."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bridge.command_line import (
    BAD,
    GOOD,
    Command,
    Failure,
    as_json,
    config_argument,
    print_each,
    print_json,
    read_config,
    read_policy,
    say_progress,
)

if TYPE_CHECKING:
    from bridge.audit import Checked
    from bridge.config import Config
    from policy.model import Policy

Result = TypeVar("Result")

SILENCE = 15.0
"""Seconds after which somebody at the machine should hear something."""


def _registration(asked: Namespace) -> int:
    from bridge.registration import fresh_tokens, registration_text, with_tokens

    config = read_config(asked.config)
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
    print("Name the registration in homeserver.yaml under app_service_config_files and restart the homeserver,")
    print("whose account has to be able to read it.")
    print(f"It holds secrets; its rights are {file.stat().st_mode & 0o777:o}: docs/operating.md says who needs which.")
    return GOOD


def _replace(texts: Mapping[Path, str]) -> None:
    """Write files that hold secrets: both or neither, whole, for the eyes of their owner and group alone."""
    written: list[tuple[Path, Path]] = []
    try:
        for file, text in texts.items():
            target = file.resolve()
            draft = target.with_name(f".{target.name}.{os.getpid()}")
            written.append((draft, target))
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
                out.write(text)
            if target.exists():
                before = target.stat()
                # Somebody with more rights than the bridge's account must not lock it out of its own file.
                with suppress(PermissionError):
                    os.chown(draft, before.st_uid, before.st_gid)
                draft.chmod(before.st_mode & 0o770)
        for draft, target in written:
            draft.replace(target)
    finally:
        for draft, _ in written:
            draft.unlink(missing_ok=True)


def _run_arguments(parser: ArgumentParser) -> None:
    config_argument(parser)
    parser.add_argument(
        "--new-record", action="store_true", help="begin with an empty database though there are chats: theirs is lost"
    )


def _run(asked: Namespace) -> int:
    import asyncio
    import logging

    from bridge import app
    from bridge.database import StoreRefused
    from bridge.homeserver import Refused

    config = read_config(asked.config)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        with suppress(asyncio.CancelledError):
            asyncio.run(_until_told_to_end(app.run(config, new_record=asked.new_record)))
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


def _plan_arguments(parser: ArgumentParser) -> None:
    config_argument(parser)
    parser.add_argument("--policy", metavar="CANDIDATE", type=Path, help="plan this policy as if it were in place")
    parser.add_argument("--json", action="store_true", help="print the plan as one JSON object")


def _plan(asked: Namespace) -> int:
    from bridge.empty_record import RecordMissing
    from bridge.plan_operator import CHANGES, NOTHING, as_data, plan_from_record, said

    config = read_config(asked.config)
    try:
        found = _with_the_record(plan_from_record(config, asked.policy))
    except RecordMissing as missing:
        raise Failure(str(missing)) from missing
    if isinstance(found, list):
        raise _mistaken(asked.policy or config.policy, found)
    if asked.json:
        print_json(as_data(found))
    else:
        print_each(said(found), sys.stdout)
    return CHANGES if found.plan.steps or found.differences else NOTHING


def _apply_arguments(parser: ArgumentParser) -> None:
    config_argument(parser)
    parser.add_argument("--plan", metavar="HASH", help="do exactly the plan of that name, as qwil plan printed it")
    parser.add_argument("--json", action="store_true", help="print what was done as one JSON object")


def _apply(asked: Namespace) -> int:
    from getpass import getuser
    from platform import node

    from bridge.plan_operator import apply_from_outside, report
    from bridge.planning import Stopped
    from policy.plan import is_hash

    if asked.plan is not None and not is_hash(asked.plan):
        asked.usage_error(f"--plan is the name that qwil plan prints, like 0123456789abcdef, not {asked.plan!r}")
    by = f"operator {getuser()} on {node()}"
    try:
        answer = _with_the_record(_told_to_wait(apply_from_outside(read_config(asked.config), asked.plan, by)))
    except Stopped as stopped:
        raise Failure(str(stopped)) from stopped
    if asked.json:
        print_json(answer)
    else:
        print_each(report(answer), sys.stdout)
    status: int = answer["status"]
    return status


async def _told_to_wait(work: Coroutine[Any, Any, Result]) -> Result:
    """What the work answers; whoever waits for long is told for what, once."""
    import asyncio

    task = asyncio.ensure_future(work)
    if not (await asyncio.wait({task}, timeout=SILENCE))[0]:
        print(
            "Waiting: many changes take a while, and a homeserver that does not answer is waited for. Ctrl-C ends the"
            " waiting; a running bridge goes on with it.",
            file=sys.stderr,
        )
    return await task


def _history_arguments(parser: ArgumentParser) -> None:
    config_argument(parser)
    parser.add_argument("--policy", metavar="CANDIDATE", type=Path, help="try this policy instead of the one in place")
    parser.add_argument("--days", metavar="N", type=float, default=30, help="how far back, by default 30")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each thing refused")


def _history(asked: Namespace) -> int:
    if not asked.days > 0:
        asked.usage_error(f"--days is a number of days greater than 0, not {asked.days:g}")
    config = read_config(asked.config)
    policy = read_policy(asked.policy or config.policy)
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
            print(as_json(asdict(refused)) if asked.json else as_text(refused))
    finally:
        await store.close()
    print(summary(tried, asked.days), file=sys.stderr if asked.json else sys.stdout)
    return BAD if tried.refused else GOOD


def _audit_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("do", metavar="verify", nargs="?", choices=["verify"], help="check that nothing was changed")
    config_argument(parser)
    parser.add_argument("--who", metavar="TEXT", default="", help="only lines of those whose name holds this")
    parser.add_argument("--what", metavar="TEXT", default="", help="only lines about this: refused, policy, apply, ...")
    parser.add_argument(
        "--about",
        metavar="TEXT",
        default="",
        help="only lines that say this anywhere: a person, a book, a room, a rule",
    )
    parser.add_argument("--since", metavar="DATE", help="only lines from this day or moment on (UTC)")
    parser.add_argument("--until", metavar="DATE", help="only lines to the end of this day, or to this moment (UTC)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, with the hashes")


def _audit(asked: Namespace) -> int:
    since, until = _moment(asked, "since", 0), _moment(asked, "until", math.inf)
    return _with_the_record(_audited(read_config(asked.config), asked, since, until))


def _moment(asked: Namespace, name: str, otherwise: float) -> float:
    """A day begins with its first moment, and ends with its last."""
    from datetime import UTC, datetime, timedelta

    word: str | None = getattr(asked, name)
    if word is None:
        return otherwise
    try:
        moment = datetime.fromisoformat(word)
    except ValueError:
        asked.usage_error(f"--{name} is a day or a moment like 2026-12-01 or 2026-12-01T09:30:00Z, not {word!r}")
    if name == "until" and len(word) <= len("2026-12-01"):
        moment += timedelta(days=1)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


async def _audited(config: Config, asked: Namespace, since: float, until: float) -> int:
    from bridge import audit
    from bridge.store import Store

    store = await Store.open(config.database)
    try:
        if asked.do == "verify":
            return _say_checked(await audit.verify(store), asked)
        sought = {"who": asked.who, "what": asked.what, "about": asked.about}
        async for entry in audit.entries(store, **sought, since=since, until=until):
            print(as_json(audit.as_data(entry)) if asked.json else audit.as_text(entry))
    finally:
        await store.close()
    return GOOD


def _say_checked(checked: Checked, asked: Namespace) -> int:
    if asked.json:
        print_json(checked._asdict())
    elif checked.broken is None:
        print(f"The audit is whole: {checked.lines} lines, the last has the hash {checked.hash or 'of nothing'}.")
        print("Note number and hash somewhere else: only they show if its end is ever cut off.")
    else:
        print(f"The audit is not whole: line {checked.broken} was changed, left out or put in.")
        print(f"The {checked.lines} lines before it are as they were written.")
    return GOOD if checked.broken is None else BAD


def _export_arguments(parser: ArgumentParser) -> None:
    config_argument(parser)
    parser.add_argument("room", metavar="ROOM", help="the chat, as !opaque:server, or its title where one bears it")
    parser.add_argument("--until", metavar="EVENT|DATE", help="up to this event, $..., or this day, as 2026-12-24")
    parser.add_argument("-o", "--out", metavar="DIR", type=Path, help="a folder that is not there yet")
    parser.add_argument("--rsmf", action="store_true", help="with a file for eDiscovery tools (RSMF)")
    parser.add_argument("--purpose", metavar="TEXT", default="", help="what it is for, as the cover says")


def _export(asked: Namespace) -> int:
    from getpass import getuser

    from bridge.export_operator import NotExported, export_room

    config = read_config(asked.config)
    policy = read_policy(config.policy)
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
                progress=lambda done, total: say_progress(f"part {done} of {total} is drawn"),
            )
        )
    except NotExported as refused:
        raise Failure(str(refused)) from refused
    say_progress("")
    print_each((f"missing: {sentence}" for sentence in made.missing), sys.stderr)
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
    print_each(found.problems, sys.stdout)
    if found.signer is not None:
        print(f"Signed by {found.signer}.")
        if asked.key is None:
            print("Compare this key with the one that the organisation has published, or give it as --key.")
    print_each((f"missing since it was made: {sentence}" for sentence in found.missing), sys.stdout)
    print("Everything is as it was signed." if found.good else "This is not what was signed.")
    return GOOD if found.good else BAD


def _with_the_record(work: Coroutine[Any, Any, Result]) -> Result:
    """Run what needs the database, and say plainly where it cannot be had."""
    import asyncio

    from bridge.database import StoreRefused, StoreUnavailable

    try:
        return asyncio.run(work)
    except (StoreRefused, StoreUnavailable) as away:
        raise Failure(str(away)) from away


def _mistaken(path: Path, mistakes: Sequence[object]) -> Failure:
    print_each(mistakes, sys.stderr)
    number = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "a mistake"
    return Failure(f"the policy has {number}, see above: nothing follows from it until qwil check {path} finds none")


def _import_arguments(parser: ArgumentParser) -> None:
    config_argument(parser)
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
        config = read_config(asked.config)
        said, good = import_file.run(
            config, asked.organisation, asked.file, apply=asked.apply, skip_existing=asked.skip_existing
        )
    except import_file.NotImported as error:
        raise Failure(str(error)) from error
    print_each(said, sys.stdout)
    return GOOD if good else BAD


OPERATOR_COMMANDS = (
    Command(
        "run",
        "run the bridge until Ctrl-C or SIGTERM",
        "  qwil run -c config.yaml",
        _run_arguments,
        _run,
        extra="bridge",
    ),
    Command(
        "registration",
        "write registration.yaml for the homeserver, with fresh tokens here and in config.yaml",
        "  cp config.example.yaml config.yaml\n  qwil registration -c config.yaml",
        config_argument,
        _registration,
        extra="bridge",
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
        "  qwil audit -c config.yaml --what refused --since 2026-11-01 --until 2026-11-30\n"
        "  qwil audit -c config.yaml --about hillside/p.chan --json > p.chan.jsonl\n"
        "  qwil audit verify -c config.yaml"
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
        "\nThe same record makes the same bytes: SOURCE_DATE_EPOCH=SECONDS gives an export the time of an earlier one."
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
)
