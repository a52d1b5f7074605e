"""Real Synapses for tests, and clients on them.

A start takes seconds, so a test file starts what it needs once (fixtures of module scope on top of `start_homeserver`)
and every test makes rooms and people of its own. Without a policy, `plain_homeserver` serves the whole run.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import aiohttp
import nio
import pytest

from bridge.demo.homeserver import AnswerError, Homeserver
from tests.homeserver.matrix_client import Client

PASSWORD = "correct horse battery staple"
SERVER_NAME = "qwil.test"
BOT = f"@qwil:{SERVER_NAME}"


class StartHomeserver(Protocol):
    """Start a homeserver that ends with the test file.

    `policy` is the text of policy.yaml, found afterwards as `homeserver.folder / "policy.yaml"`; None leaves the policy
    module out. `module` adds to the module's configuration, which names the policy file and the bot `BOT`. `files` are
    written beside the policy: CSV files it names.
    """

    async def __call__(
        self,
        policy: str | None = None,
        *,
        module: Mapping[str, object] | None = None,
        files: Mapping[str, str] | None = None,
        app_services: Sequence[Path] = (),
        postgres: str | None = None,
        port: int | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> Homeserver: ...


class Connect(Protocol):
    """Log in as `user` (a localpart or a Matrix ID), whose account is made where there is none yet."""

    async def __call__(self, homeserver: Homeserver, user: str) -> Client: ...


class ConnectNio(Protocol):
    """The same with matrix-nio: a client as people use it, logged in."""

    async def __call__(self, homeserver: Homeserver, user: str) -> nio.AsyncClient: ...


@pytest.fixture(scope="module")
async def start_homeserver(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StartHomeserver]:
    async with AsyncExitStack() as running:

        async def start(
            policy: str | None = None,
            *,
            module: Mapping[str, object] | None = None,
            files: Mapping[str, str] | None = None,
            app_services: Sequence[Path] = (),
            postgres: str | None = None,
            port: int | None = None,
            settings: Mapping[str, object] | None = None,
        ) -> Homeserver:
            folder = tmp_path_factory.mktemp("homeserver")
            texts = dict(files or {}) | ({} if policy is None else {"policy.yaml": policy})
            for name, text in texts.items():
                (folder / name).write_text(text)
            configuration = {"policy": str(folder / "policy.yaml"), "bot": BOT, **(module or {})}
            homeserver = Homeserver(
                folder,
                server_name=SERVER_NAME,
                port=port,
                module=None if policy is None else configuration,
                app_services=app_services,
                postgres=postgres,
                settings=settings,
            )
            return await running.enter_async_context(homeserver)

        yield start


@pytest.fixture(scope="session")
async def plain_homeserver(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Homeserver]:
    """A homeserver without policy, for the whole run: choose names for people that no other test uses."""
    async with Homeserver(tmp_path_factory.mktemp("plain"), server_name=SERVER_NAME) as homeserver:
        yield homeserver


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(scope="session")
def connect(http: aiohttp.ClientSession) -> Connect:
    async def connected(homeserver: Homeserver, user: str) -> Client:
        return Client(homeserver, await homeserver.login(user, await _password(homeserver, user)), http)

    return connected


@pytest.fixture
async def connect_nio() -> AsyncIterator[ConnectNio]:
    async with AsyncExitStack() as open_clients:

        async def connected(homeserver: Homeserver, user: str) -> nio.AsyncClient:
            password = await _password(homeserver, user)
            client = nio.AsyncClient(homeserver.url, user)
            open_clients.push_async_callback(client.close)
            answer = await client.login(password)
            assert isinstance(answer, nio.LoginResponse), answer
            return client

        yield connected


async def _password(homeserver: Homeserver, user: str) -> str:
    """The password of an account that is there from now on."""
    if user in (homeserver.server_admin.user_id, "server-admin"):
        return homeserver.server_admin.password
    try:
        await homeserver.register(user.removeprefix("@").partition(":")[0], PASSWORD)
    except AnswerError as refusal:
        if refusal.errcode != "M_USER_IN_USE":
            raise
    return PASSWORD
