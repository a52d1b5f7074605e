"""`qwil demo`: puts the stage up, has the tour told, says how to log in, and stays until told to end."""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bridge.demo import tour
from bridge.demo.homeserver import HomeserverError
from bridge.demo.policy_copy import PolicyError
from bridge.demo.stage import READY, Demo, DemoError, Login, started
from policy.model import UserId

SHOWN_OF_EACH = 2
"""Staff, and clients, of each organisation that are named as examples; `ready.json` has everybody."""


def main(args: argparse.Namespace) -> int:
    """Run the demo; `args` has `once` (a truth), `policy` and `dir` (paths or None) and `port` (a number or None).

    Returns the exit status: 0 when every step of the tour went as told, or none was to be told.
    """
    try:
        return asyncio.run(_demo(args))
    except (DemoError, PolicyError, HomeserverError) as error:
        print(error, file=sys.stderr)
    except asyncio.CancelledError:
        print("The demo was told to end before it had come to its end.", file=sys.stderr)
    return 1


async def _demo(args: argparse.Namespace) -> int:
    _end_when_told()
    folder = Path(args.dir or tempfile.mkdtemp(prefix="qwil-demo-"))
    policy = Path(args.policy) if args.policy else None
    status = 1
    try:
        async with started(folder, _say, policy=policy, port=args.port) as demo:
            status = 0 if policy or await tour.tell(demo, _say) else 1
            if args.once and policy:
                _say(_came_up(demo))
            if not args.once:
                _say(_how_to_log_in(demo))
                await _stay(demo)
    finally:
        # After a failure the logs stay to be read.
        if not args.dir and status == 0:
            shutil.rmtree(folder, ignore_errors=True)
    return status


def _end_when_told() -> None:
    """Ctrl-C and SIGTERM cancel the demo, which takes the stage down in order."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        if task is not None:
            loop.add_signal_handler(each, task.cancel)


async def _stay(demo: Demo) -> None:
    """Until somebody ends the demo; raises DemoError when one of its programs ends by itself."""
    try:
        await demo.bridge.ended()
    except asyncio.CancelledError:
        _say("\nEnding the demo.")
        return
    raise DemoError(f"The bridge ended by itself. The end of {demo.bridge.log}:\n{demo.bridge.last_words()}")


def _say(text: str) -> None:
    print(text, flush=True)


def _came_up(demo: Demo) -> str:
    everybody = len(demo.loaded.policy.people)
    return "\n".join(
        [f"It all came up: {len(demo.accounts)} of {everybody} people of the policy have an account.", *_left_out(demo)]
    )


def _left_out(demo: Demo) -> Iterator[str]:
    """Why somebody has no account here."""
    elsewhere = sum(1 for user in demo.loaded.policy.accounts if not user.endswith(f":{demo.homeserver.server_name}"))
    if elsewhere:
        yield (
            f"Matrix IDs of other homeservers ({elsewhere}) take no part: without their `matrix:` these people get an "
            "account of this one."
        )


def _how_to_log_in(demo: Demo) -> str:
    return "\n".join(
        [
            "",
            *(_logins(demo) if demo.accounts else ["The demo is up, but nobody of this policy can log in."]),
            *_left_out(demo),
            "",
            f"Find people by the client's people search, and write to the bot, {demo.config.bot}: help",
            f"Change {demo.policy_file} in an editor: what you save takes effect within two seconds.",
            "Ctrl-C ends the demo.",
        ]
    )


def _logins(demo: Demo) -> Iterator[str]:
    password = next(iter(demo.accounts.values())).password
    yield "The demo is up. Log in with any Matrix client on this machine:"
    yield ""
    yield f"  homeserver  {demo.homeserver.url}  (in the client: another homeserver, or edit the server)"
    yield f"  password    {password}  (the same for everybody)"
    yield f"  user name   one of these, or any other of {demo.folder / READY}"
    yield ""
    yield from _examples(demo)


def _examples(demo: Demo) -> Iterator[str]:
    """A few people of every organisation, its administrator first."""
    for organisation in demo.loaded.policy.organisations.values():
        few = list(_few_of(demo, organisation.identifier))
        yield f"    {organisation.name}" + ("" if few else ": nobody has an account here")
        for user, login in few:
            member = login.member
            rights = {"system": ", system admin", "user": ", user admin"}.get(member.admin, "")
            yield f"      {user}  {member.name} ({member.role}{rights})"


def _few_of(demo: Demo, organisation: str) -> Iterator[tuple[UserId, Login]]:
    for role in ("staff", "client"):
        active = [
            (user, login)
            for user, login in demo.accounts.items()
            if login.member.organisation == organisation
            and login.member.role == role
            and login.member.status == "active"
        ]
        yield from sorted(active, key=lambda each: each[1].member.admin != "system")[:SHOWN_OF_EACH]
