"""Everything a demo needs, put up in one folder and taken down again: homeserver, module, bridge, policy, accounts.

The programs are the real ones, started as an operator starts them: Synapse with the policy module in its configuration,
and `qwil run` on a `config.yaml`. They listen on the loopback address only.
"""

import asyncio
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import aiohttp

from bridge import config, registration
from bridge.config import Config
from bridge.demo import policy_copy
from bridge.demo.homeserver import AnswerError, Homeserver, free_port
from bridge.demo.policy_copy import Loaded, PolicyError
from bridge.demo.program import Program
from bridge.demo.secrets import secrets_in
from bridge.plan_operator import plan_from_record
from bridge.policy_file import PolicySource
from policy.mistake import Mistakes
from policy.model import Membership, PersonId, UserId
from policy.plan import Step

SERVER_NAME = "qwil.test"
BOT = "qwil"
SERVER_ADMIN = "server-admin"
RESERVED = frozenset({BOT, SERVER_ADMIN})
"""Localparts that no person gets."""

READY = "ready.json"
MAIL = "mail"
"""Where invitations are written instead of mailed."""

AT_ONCE = 8
"""Accounts that are made at the same time: Synapse hashes passwords on a few threads."""

BRIDGE_PATIENCE = 120.0
"""Seconds until the bridge has to answer."""

SETTLING_PATIENCE = 120.0
"""Seconds given to the bridge for everybody's name, badge and spaces before the demo counts as up all the same."""

_CONFIG = """\
# Written by `qwil demo`; `qwil run -c config.yaml` starts the bridge of this folder again.
homeserver:
  address: {homeserver}
  server_name: {server_name}
appservice:
  address: http://127.0.0.1:{port}
  port: {port}
  bot: {bot}
database: sqlite:qwil.db
policy: {policy}
mail:
  server: file:{mail}
  sender: qwil demo <demo@{server_name}>
  per_minute: 6000
web:
  address: http://127.0.0.1:{page}
  port: {page}
  homeserver: {homeserver}
"""

Say = Callable[[str], None]


class DemoError(Exception):
    """The demo cannot start, or something in it ended; the text says what to do."""


@dataclass(frozen=True)
class Login:
    """An account of the demo: which member it is, and the password."""

    member: Membership
    password: str = field(repr=False)


@dataclass(frozen=True)
class Demo:
    """A demo that is up."""

    folder: Path
    homeserver: Homeserver
    bridge: Program
    config: Config
    loaded: Loaded
    accounts: dict[UserId, Login]
    """By Matrix ID; grows with the people who come into the copy while the demo runs."""

    @property
    def policy_file(self) -> Path:
        """The copy that may be edited."""
        return self.folder / policy_copy.POLICY

    def member(self, person: str) -> Membership:
        """A member as the policy had it when the demo started."""
        return self.loaded.policy.people[PersonId(person)]


@asynccontextmanager
async def started(
    folder: Path, say: Say, *, policy: Path | None = None, port: int | None = None
) -> AsyncIterator[Demo]:
    """The whole demo, up and with `ready.json` written; everything ends at the exit.

    The folder is made; without `policy` the demo plays the sample network. Raises PolicyError, HomeserverError and
    DemoError.
    """
    folder = _own_folder(folder, policy)
    if port is not None and not _is_free(port):
        raise DemoError(f"Another program listens on port {port}: give --port another one, or none.")
    loaded = policy_copy.with_accounts(policy_copy.for_demo(policy), SERVER_NAME, RESERVED)
    policy_copy.write(loaded.files, folder)
    settings = _configure(folder, port or free_port())
    say(f"Starting a homeserver; everything of this demo lies in {folder}")
    async with _homeserver(folder, settings) as homeserver:
        await _make_bot_administrator(homeserver, settings)
        say("Making the accounts")
        accounts = await _make_accounts(homeserver, loaded)
        say("Starting the bridge, which gives everybody a name and a badge")
        async with _bridge(folder, settings) as bridge:
            demo = Demo(folder, homeserver, bridge, settings, loaded, accounts)
            # Read before anybody can know of the copy and change it: what comes after is then a change.
            source = PolicySource(demo.policy_file)
            source.load()
            _write_ready(demo)
            following = asyncio.create_task(_follow(demo, source, say))
            try:
                yield demo
            finally:
                following.cancel()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def _own_folder(folder: Path, policy: Path | None) -> Path:
    """The demo's folder, never one that holds somebody's own policy."""
    folder = folder.resolve()
    foreign = (folder / policy_copy.POLICY).exists() and not (folder / "homeserver").exists()
    if foreign or (policy is not None and policy.resolve().parent == folder):
        raise DemoError(
            f"{folder} holds a policy that is not the demo's, which would write a copy of its own over it: "
            "give --dir another folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / READY).unlink(missing_ok=True)
    return folder


def _configure(folder: Path, port: int) -> Config:
    """The bridge's configuration and its registration, with fresh tokens, written into the folder."""
    file = folder / "config.yaml"
    text = _CONFIG.format(
        homeserver=f"http://127.0.0.1:{port}",
        server_name=SERVER_NAME,
        port=free_port(),
        bot=BOT,
        policy=policy_copy.POLICY,
        mail=MAIL,
        page=free_port(),
    )
    (folder / MAIL).mkdir(mode=0o700, exist_ok=True)
    settings = config.parse(text, file)
    tokens = registration.fresh_tokens()
    _write_for_us_alone(file, registration.with_tokens(text, settings, tokens) or text)
    _write_for_us_alone(folder / "registration.yaml", registration.registration_text(settings, tokens))
    return config.load(file)


def _homeserver(folder: Path, settings: Config) -> Homeserver:
    return Homeserver(
        folder / "homeserver",
        server_name=SERVER_NAME,
        port=int(settings.homeserver.address.rpartition(":")[2]),
        module={"policy": str(settings.policy), "bot": settings.bot},
        app_services=[folder / "registration.yaml"],
    )


async def _make_bot_administrator(homeserver: Homeserver, settings: Config) -> None:
    """The bot's account, with the rights on the homeserver that keeping names and the record takes."""
    async with aiohttp.ClientSession(homeserver.url) as http:
        bridge = {"Authorization": f"Bearer {settings.appservice.as_token}"}
        body: dict[str, object] = {"type": "m.login.application_service", "username": BOT, "inhibit_login": True}
        async with http.post("/_matrix/client/v3/register", json=body, headers=bridge) as answer:
            if answer.status != 200 and (await answer.json()).get("errcode") != "M_USER_IN_USE":
                raise DemoError(f"The homeserver made no account for the bot: {await answer.text()}")
        administrator = await homeserver.login(homeserver.server_admin.user_id, homeserver.server_admin.password)
        rights = {"Authorization": f"Bearer {administrator.access_token}"}
        path = f"/_synapse/admin/v2/users/{settings.bot}"
        async with http.put(path, json={"admin": True}, headers=rights) as answer:
            if answer.status != 200:
                raise DemoError(f"The bot could not be made an administrator: {await answer.text()}")


async def _make_accounts(homeserver: Homeserver, loaded: Loaded) -> dict[UserId, Login]:
    """An account for everybody active or suspended with a Matrix ID on this homeserver; all have one password."""
    accounts = _logins(loaded, _password(homeserver.folder))
    await _make(homeserver, accounts)
    return accounts


async def _make(homeserver: Homeserver, accounts: dict[UserId, Login]) -> dict[UserId, Login]:
    """Those of the accounts that were not there before."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def make_one(user: UserId, login: Login) -> bool:
        async with turns:
            return await _register(homeserver, user, login)

    made = await asyncio.gather(*(make_one(user, login) for user, login in accounts.items()))
    return {user: login for (user, login), new in zip(accounts.items(), made, strict=True) if new}


def _logins(loaded: Loaded, password: str) -> dict[UserId, Login]:
    """Who gets an account; where several members are one person, the first of the file gives the name."""
    logins: dict[UserId, Login] = {}
    for user, members in loaded.policy.accounts.items():
        staying = [member for member in members if member.status in ("active", "suspended")]
        if staying and user.endswith(f":{SERVER_NAME}"):
            logins[user] = Login(min(staying, key=lambda member: member.status), password)
    return logins


async def _register(homeserver: Homeserver, user: UserId, login: Login) -> bool:
    """Whether the account is new."""
    localpart = user[1:].partition(":")[0]
    try:
        await homeserver.register(localpart, login.password, displayname=login.member.name)
    except AnswerError as refusal:
        if refusal.errcode != "M_USER_IN_USE":
            raise DemoError(
                f"The homeserver makes no account {user} for {login.member.id}: {refusal.error}"
            ) from refusal
        return False
    return True


async def _follow(demo: Demo, source: PolicySource, say: Say) -> NoReturn:
    """Whoever comes into the copy while the demo runs gets an account like everybody else."""

    async def changed() -> None:
        try:
            for user, login in (await _newcomers(demo)).items():
                say(f"{login.member.name} ({login.member.id}) has an account now: {user}")
        except (DemoError, PolicyError, OSError) as error:
            say(f"The changed policy has people without an account. {error}")

    async def broken(_mistakes: Mistakes) -> None:
        """The bridge tells the administrators, and the last good policy stays."""

    await source.watch(changed, broken)


async def _newcomers(demo: Demo) -> dict[UserId, Login]:
    """The people without an account, who have one now."""
    found = policy_copy.load(demo.policy_file)
    loaded = policy_copy.with_accounts(found, SERVER_NAME, RESERVED)
    policy_copy.rewrite(found.files, loaded.files, demo.folder)
    logins = _logins(loaded, _password(demo.homeserver.folder))
    # Who accepted an invitation has an account already, with a password of their own.
    fresh = await _make(demo.homeserver, {user: one for user, one in logins.items() if user not in demo.accounts})
    if fresh:
        demo.accounts.update(fresh)
        _write_ready(demo)
    return fresh


def _password(homeserver: Path) -> str:
    """Everybody's password: short enough to type, the same when the folder's demo starts again."""
    secret = secrets_in(homeserver).registration.encode()
    return hmac.new(secret, b"everybody's password", hashlib.sha256).hexdigest()[:10]


@asynccontextmanager
async def _bridge(folder: Path, settings: Config) -> AsyncIterator[Program]:
    words = ("bridge", "run", "-c", str(settings.file))
    program = await Program.start(*words, folder=folder, log=folder / "bridge.log")
    try:
        await _until_it_answers(program, settings)
        await _until_it_settled(settings)
        yield program
    finally:
        await program.stop()


async def _until_it_answers(program: Program, settings: Config) -> None:
    """Until the homeserver can hand its events to the bridge (Application Service API, ping)."""
    deadline = asyncio.get_running_loop().time() + BRIDGE_PATIENCE
    path = f"/_matrix/client/v1/appservice/{settings.appservice.id}/ping"
    headers = {"Authorization": f"Bearer {settings.appservice.as_token}"}
    async with aiohttp.ClientSession(settings.homeserver.address, headers=headers) as http:
        while not await _reaches(http, path):
            late = asyncio.get_running_loop().time() > deadline
            if late or not program.running:
                what = "did not answer in time" if late else "ended while it started"
                raise DemoError(f"The bridge {what}. The end of {program.log}:\n{program.last_words()}")
            await asyncio.sleep(0.1)


async def _until_it_settled(settings: Config) -> None:
    """Until the homeserver is what the policy says, so that nobody finds the bridge busy with its first work."""
    deadline = asyncio.get_running_loop().time() + SETTLING_PATIENCE
    while asyncio.get_running_loop().time() < deadline:
        found = await plan_from_record(settings)
        if isinstance(found, list) or not any(will_be_done(step) for step in found.plan.steps):
            return
        await asyncio.sleep(0.7)


def will_be_done(step: Step) -> bool:
    """Whether the bridge will do it by itself: other homeservers are out of the demo's reach."""
    user: str = getattr(step.action, "user", "")
    return not step.waits and (not user or user.endswith(f":{SERVER_NAME}"))


async def _reaches(http: aiohttp.ClientSession, path: str) -> bool:
    async with http.post(path, json={}) as answer:
        return answer.status == 200


def _write_ready(demo: Demo) -> None:
    admin = demo.homeserver.server_admin
    ready = {
        "homeserver": demo.homeserver.url,
        "server_name": SERVER_NAME,
        "bot": demo.config.bot,
        "policy": str(demo.policy_file),
        "config": str(demo.config.file),
        "mail": str(demo.folder / MAIL),
        "accounts": {
            user: {"password": login.password, "person": login.member.id} for user, login in demo.accounts.items()
        },
        "server_admin": {"user": admin.user_id, "password": admin.password},
    }
    text = json.dumps(ready, indent=2, ensure_ascii=False) + "\n"
    fresh = demo.folder / f".{READY}"
    _write_for_us_alone(fresh, text)
    fresh.replace(demo.folder / READY)


def _write_for_us_alone(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")
