"""A real Synapse of one's own: written into a folder, started, asked to make accounts, stopped.

The demo, the tests and the benchmarks all run on it. It listens on the loopback address only. Its process is owned by
the object and ends with it: when a start fails, when a test is interrupted, and when this program dies.
"""

import asyncio
import hashlib
import hmac
import random
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from bridge.demo.child import end_with_parent, without_proxies
from bridge.demo.homeserver_yaml import HomeserverYaml
from bridge.demo.secrets import secrets_in

_LOG_YAML = """\
version: 1
disable_existing_loggers: false
formatters: {line: {format: "%(asctime)s %(levelname)s %(name)s: %(message)s"}}
handlers: {stream: {class: logging.StreamHandler, formatter: line}}
root: {level: INFO, handlers: [stream]}
"""


PORTS = range(15_000, 32_000)
"""From which free ports are chosen. Programs beside each other take none from one another where these differ."""

_given: set[int] = set()


class HomeserverError(Exception):
    """The homeserver did not do what it was asked to."""


class StartError(HomeserverError):
    """Synapse ended, or never answered; the text carries the end of its log."""


class AnswerError(HomeserverError):
    """Synapse answered with an error: `status` as in HTTP, `errcode` and `error` as in Matrix."""

    def __init__(self, asked: str, status: int, body: Mapping[str, object]) -> None:
        self.status = status
        self.errcode = str(body.get("errcode", ""))
        self.error = str(body.get("error", ""))
        super().__init__(f"{asked} was answered {status} {self.errcode}: {self.error}")


@dataclass(frozen=True)
class Account:
    """An account that can log in with any client."""

    user_id: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Login:
    """One device of an account, logged in."""

    user_id: str
    device_id: str
    access_token: str = field(repr=False)


class Homeserver:
    """A Synapse in `folder`; the same folder again is the same homeserver with its accounts and rooms.

    `port` is chosen free unless given and stays the same over a restart. `module` is the configuration of the policy
    module (None leaves it out), `app_services` are registration files, `postgres` a connection string (None: SQLite),
    `settings` goes over `homeserver.yaml` key by key. Used as `async with` it is started and stopped.
    """

    def __init__(
        self,
        folder: Path,
        *,
        server_name: str = "qwil.test",
        port: int | None = None,
        module: Mapping[str, object] | None = None,
        app_services: Sequence[Path] = (),
        postgres: str | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.server_name = server_name
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.folder / "homeserver.log"
        self._secrets = secrets_in(self.folder)
        self._yaml = HomeserverYaml(
            folder=self.folder,
            server_name=server_name,
            port=self.port,
            secrets=self._secrets,
            postgres=postgres,
            module=module,
            app_services=app_services,
            settings=settings or {},
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def server_admin(self) -> Account:
        """The homeserver's administrator, outside every policy; the account is there once the homeserver answers."""
        return Account(self.user_id("server-admin"), self._secrets.admin_password)

    @property
    def pid(self) -> int | None:
        """The process, None while it is stopped."""
        return self._process.pid if self._process else None

    def user_id(self, localpart: str) -> str:
        return f"@{localpart}:{self.server_name}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, *, patience: float = 120) -> None:
        """Write the configuration, start Synapse and return when it answers.

        Raises StartError when Synapse ends instead or says nothing for `patience` seconds, and leaves nothing running.
        """
        if self._process:
            return
        self._write_configuration()
        self._process = self._spawn()
        try:
            async with asyncio.timeout(patience):
                await self._until_it_answers()
            await self._ensure_server_admin()
        except TimeoutError:
            self.kill()
            raise StartError(f"Synapse did not answer within {patience:g} s. {self._end_of_log()}") from None
        except BaseException:
            self.kill()
            raise

    async def stop(self, *, grace: float = 20) -> None:
        """Ask Synapse to end and wait for it, `grace` seconds politely; does nothing when it is stopped."""
        if not self._process:
            return
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, grace)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """End Synapse at once, as a power cut would; does nothing when it is stopped."""
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = None

    async def register(self, user: str, password: str, *, admin: bool = False, displayname: str | None = None) -> str:
        """Make the account `user` (a localpart) and return its Matrix ID; many may be made at once.

        Raises AnswerError, for a name that is taken with `errcode` M_USER_IN_USE.
        """
        async with aiohttp.ClientSession(self.url) as http:
            path = "/_synapse/admin/v1/register"
            nonce = str((await _answer(http, "GET", path))["nonce"])
            body: dict[str, object] = {
                "username": user,
                "password": password,
                "admin": admin,
                "nonce": nonce,
                "inhibit_login": True,
            }
            if displayname is not None:
                body["displayname"] = displayname
            body["mac"] = self._proof(nonce, user, password, admin=admin)
            return str((await _answer(http, "POST", path, body))["user_id"])

    async def login(self, user: str, password: str, *, device_id: str | None = None) -> Login:
        """Log in with a password, as `user` (a localpart or a Matrix ID); raises AnswerError."""
        who = {"type": "m.id.user", "user": user}
        body: dict[str, object] = {"type": "m.login.password", "identifier": who, "password": password}
        if device_id:
            body["device_id"] = device_id
        async with aiohttp.ClientSession(self.url) as http:
            answer = await _answer(http, "POST", "/_matrix/client/v3/login", body)
        return Login(str(answer["user_id"]), str(answer["device_id"]), str(answer["access_token"]))

    def _proof(self, nonce: str, user: str, password: str, *, admin: bool) -> str:
        said = "\0".join((nonce, user, password, "admin" if admin else "notadmin"))
        return hmac.new(self._secrets.registration.encode(), said.encode(), hashlib.sha1).hexdigest()

    async def _ensure_server_admin(self) -> None:
        try:
            await self.register("server-admin", self.server_admin.password, admin=True)
        except AnswerError as refusal:
            if refusal.errcode != "M_USER_IN_USE":
                raise

    def _write_configuration(self) -> None:
        (self.folder / "log.yaml").write_text(_LOG_YAML)
        configuration = self.folder / "homeserver.yaml"
        configuration.touch(mode=0o600)
        configuration.write_text(self._yaml.text())

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "synapse.app.homeserver", "-c", str(self.folder / "homeserver.yaml")]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=without_proxies(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in the terminal is for this program, which then stops Synapse in order.
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )

    async def _until_it_answers(self) -> None:
        async with aiohttp.ClientSession(self.url) as http:
            while not await _answers(http):
                if self._process is None or self._process.poll() is not None:
                    raise StartError(f"Synapse ended while it started. {self._end_of_log()}")
                await asyncio.sleep(0.05)

    def _end_of_log(self, lines: int = 30) -> str:
        end = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"The end of {self.log}:", *end])


def free_port() -> int:
    """A loopback port nobody listens on, below those the system gives to outgoing connections; each another one.

    Out of that range, because a client that keeps asking whether the homeserver is back could otherwise be given the
    very port it asks for, reach itself and keep the homeserver out.
    """
    while True:
        # Whoever was given one may begin to listen on it later.
        port = random.choice([port for port in PORTS if port not in _given] or PORTS)  # noqa: S311 - a port is no secret
        _given.add(port)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


async def _answers(http: aiohttp.ClientSession) -> bool:
    try:
        async with http.get("/_matrix/client/versions") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def _answer(
    http: aiohttp.ClientSession, method: str, path: str, body: Mapping[str, object] | None = None
) -> Mapping[str, object]:
    async with http.request(method, path, json=body) as response:
        answer: Mapping[str, object] = await response.json(content_type=None)
        if response.status != 200:
            raise AnswerError(f"{method} {path}", response.status, answer)
        return answer
