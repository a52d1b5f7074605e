"""The program `qwil`: what an administrator or operator types, and what scripts read.

One row of `COMMANDS` is one command. Each imports what it needs when it is run, so that `check`, `ask` and `test` start
at once and need nothing but the core.
"""

from __future__ import annotations

import os
import sys
from argparse import Action, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bridge.command_line import (
    GOOD,
    UNREADABLE,
    Command,
    Failure,
    as_json,
    say_progress,
)
from bridge.operator_commands import OPERATOR_COMMANDS
from bridge.policy_commands import POLICY_COMMANDS

if TYPE_CHECKING:
    pass

INTERRUPTED, NOBODY_READS = 130, 141
"""Exit statuses as a shell gives them to a program that Ctrl-C or a closed pipe ended."""


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
    for row in rows(asked.names or BENCHMARKS, say_progress):
        measured.append(row)
        if asked.json:
            say_progress("")
            print(as_json(row.as_json()), flush=True)
    say_progress("")
    if not asked.json:
        print(table(measured))
    return GOOD


COMMANDS = (
    Command(
        "demo",
        "a homeserver, the bridge and two schools on this machine, with a tour that tells what it does",
        "  qwil demo --once\n  qwil demo --policy policy.yaml --dir try --port 8008",
        _demo_arguments,
        _demo,
        extra="demo",
    ),
    *POLICY_COMMANDS,
    *OPERATOR_COMMANDS,
    Command(
        "bench",
        "measure decisions, loading, search and sending against peers in the same run",
        "  qwil bench\n  qwil bench decisions --json",
        _bench_arguments,
        _bench,
        extra="dev",
    ),
)
