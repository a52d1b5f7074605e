"""`qwil demo` is what a stranger sees first: the copy it plays on, and the whole of it as one types it."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from bridge.demo import policy_copy, tour
from bridge.demo.player import Refused
from bridge.demo.policy_copy import SAMPLE, SAMPLE_DAY, PolicyError, load, moved_to, reloaded, with_accounts, write
from bridge.demo.stage import will_be_done
from policy.action import EnterSpace
from policy.ask import run_tests
from policy.model import PersonId, UserId
from policy.plan import Step
from policy.reach import reach, status

PATIENCE = 400.0
"""Seconds for the demo to say its next line, and to end."""

RESERVED = frozenset({"qwil", "server-admin"})

OWN_POLICY = """\
# Kept as it is, comment and all.
organisations:
  north:
    name: North Practice
    mobile: optional
    people:
      head: {name: Ann Head, role: staff, email: ann@north.example, admin: system}   # in charge
      4711: {name: Cleo Client, role: client, email: cleo@north.example}
      gone: {name: Gone Person, role: staff, email: gone@north.example, status: left}
      new: {name: New Person, role: staff, email: new@north.example, status: invited}
      ill:
        # back in spring
        name: Ill Person
        role: staff
        matrix:    # none yet
        email: ill@north.example
        status: suspended
      away: {name: Away Person, role: staff, email: away@north.example, matrix: "@away:elsewhere.example"}
    books: {all: {name: Everybody, members: [head, 4711]}}
  south: {name: South Practice, mobile: optional, people: people/south.csv}
"""
SOUTH = (
    "identifier;role;first_name;email;admin\r\n"
    'head;staff;"Sue; Head";sue@south.example;system\r\n'
    "qwil;staff;Quill;q@south.example;\r\n"
)


@pytest.fixture
def own_policy(tmp_path: Path) -> Path:
    """An administrator's own policy with a spreadsheet beside it, in a folder of its own."""
    folder = tmp_path / "own"
    write({"policy.yaml": OWN_POLICY.encode(), "people/south.csv": SOUTH.encode()}, folder)
    return folder / "policy.yaml"


def accounts_of(loaded: policy_copy.Loaded) -> dict[str, str | None]:
    return {person: member.matrix for person, member in loaded.policy.people.items()}


# The sample


@pytest.mark.parametrize("today", [SAMPLE_DAY, date(2027, 2, 28), date(2031, 12, 31)])
def test_the_sample_meets_its_own_expectations_on_whatever_day_it_is_played(today: date) -> None:
    policy = reloaded(moved_to(today, load(SAMPLE).files)).policy
    noon = datetime(today.year, today.month, today.day, 12, tzinfo=UTC).timestamp()

    assert policy.tests
    assert [result for result in run_tests(policy, noon) if not result.passed] == []


@pytest.mark.parametrize("today", [SAMPLE_DAY, date(2027, 2, 28), date(2031, 12, 31)])
def test_the_samples_stand_in_reaches_the_class_whatever_the_day(today: date) -> None:
    policy = reloaded(moved_to(today, load(SAMPLE).files)).policy
    noon = datetime(today.year, today.month, today.day, 12, tzinfo=UTC).timestamp()
    stand_in, parent = (policy.people[PersonId(f"hillside/{one}")] for one in ("m.lowe", "p.north"))

    assert reach(policy, stand_in, parent, noon)


def test_the_sample_has_somebody_of_every_kind() -> None:
    policy = load(SAMPLE).policy
    people = policy.people.values()
    now = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()

    assert {member.role for member in people} == {"staff", "client"}
    assert {status(member, now) for member in people} == {"invited", "active", "suspended", "left"}
    assert {member.admin for member in people} == {"", "system", "user"}
    assert {member.review for member in people} == {"", "connected", "clients", "all"}
    assert any(member.unlisted for member in people)
    assert any(member.until for member in people)
    assert [len(members) for members in policy.accounts.values() if len(members) > 1] == [2]


def test_nobody_in_the_sample_can_be_telephoned_or_mailed() -> None:
    people = load(SAMPLE).policy.people.values()

    assert all(member.mobile.replace(" ", "").startswith("+447700900") for member in people if member.mobile)
    assert all(member.email.endswith(".example") for member in people)


# The copy


def test_everybody_who_is_active_or_suspended_gets_a_matrix_id_in_the_copy(own_policy: Path) -> None:
    copied = with_accounts(load(own_policy), "qwil.test", RESERVED)

    assert accounts_of(copied) == {
        "north/head": "@north.head:qwil.test",
        "north/4711": "@north.4711:qwil.test",
        "north/gone": None,
        "north/new": None,
        "north/ill": "@ill:qwil.test",
        "north/away": "@away:elsewhere.example",
        "south/head": "@south.head:qwil.test",
        "south/qwil": "@south.qwil:qwil.test",
    }


def test_the_copy_differs_from_the_original_in_matrix_ids_alone(own_policy: Path) -> None:
    files = with_accounts(load(own_policy), "qwil.test", RESERVED).files
    text, sheet = files["policy.yaml"].decode(), files["people/south.csv"].decode()

    for user in ("north.head", "north.4711"):
        text = text.replace(f'matrix: "@{user}:qwil.test", ', "")
    text = text.replace('matrix: "@ill:qwil.test"', "matrix:")

    assert text == OWN_POLICY
    assert (
        sheet.replace(";matrix\r\n", "\r\n").replace(";@south.head:qwil.test", "").replace(";@south.qwil:qwil.test", "")
        == SOUTH
    )


def test_a_person_written_as_a_block_gets_the_matrix_id_as_a_line_of_their_own() -> None:
    text = (
        b"organisations:\n"
        b"  a:\n"
        b"    name: A\n"
        b"    mobile: optional\n"
        b"    people:\n"
        b"      x:\n"
        b"          # one\n"
        b"          name: X\n"
        b"          role: staff\n"
        b"          email: x@a.example\n"
        b"          admin: system\n"
    )
    copied = with_accounts(reloaded({"policy.yaml": text}), "qwil.test", RESERVED).files["policy.yaml"]

    assert copied == text.replace(b"          name: X\n", b'          matrix: "@x:qwil.test"\n          name: X\n')


def test_an_empty_cell_of_the_column_matrix_is_filled_and_other_rows_stay_as_they_were() -> None:
    policy = b"organisations:\n  a: {name: A, mobile: optional, people: a.csv}\n"
    sheet = (
        "\ufeffidentifier,matrix,role,first_name,email,admin\n"
        '"x","",staff,"X, Y",x@a.example,system\n'
        '"y","@y:b.example",staff,Y,y@a.example,\n'
    )
    loaded = reloaded({"policy.yaml": policy, "a.csv": sheet.encode()})

    copied = with_accounts(loaded, "qwil.test", RESERVED).files["a.csv"].decode()

    assert copied == sheet.replace('"x","",staff', "x,@x:qwil.test,staff")


def test_a_second_copy_changes_nothing() -> None:
    copied = with_accounts(load(SAMPLE), "qwil.test", RESERVED)

    assert with_accounts(copied, "qwil.test", RESERVED).files == copied.files


def test_what_the_copy_overwrites_is_kept(tmp_path: Path) -> None:
    write({"policy.yaml": b"old"}, tmp_path)
    write({"policy.yaml": b"new"}, tmp_path)

    assert (tmp_path / "policy.yaml").read_bytes() == b"new"
    assert (tmp_path / "policy.yaml.before").read_bytes() == b"old"


def test_a_file_that_was_saved_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    write({"policy.yaml": b"saved meanwhile"}, tmp_path)
    policy_copy.rewrite({"policy.yaml": b"read"}, {"policy.yaml": b"ours"}, tmp_path)

    assert (tmp_path / "policy.yaml").read_bytes() == b"saved meanwhile"


def test_all_mistakes_of_an_own_policy_are_told_with_their_places(tmp_path: Path) -> None:
    policy = tmp_path / "mine.yaml"
    policy.write_text("organisations:\n  a: {name: A, nam: B}\n  b: {}\n")

    with pytest.raises(PolicyError) as error:
        load(policy)

    assert "mine.yaml:2:16" in str(error.value)
    assert "mine.yaml:3:3" in str(error.value)


# The tour


async def test_a_step_that_goes_otherwise_than_told_is_told_plainly_and_fails_the_tour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def untrue(told: tour.Tour) -> None:
        told.true("Pigs fly.", False)

    async def refused(_: tour.Tour) -> None:
        raise Refused("Clients cannot be invited to external chats.", ("EXT-3",))

    async def allowed(told: tour.Tour) -> None:
        await told.refused("A parent enters", asyncio.sleep(0), "EXT-3")

    async def refused_otherwise(told: tour.Tour) -> None:
        await told.refused("A parent enters", refused(told), "BOOK-8")

    async def good(told: tour.Tour) -> None:
        told.true("Birds fly.", True)

    monkeypatch.setattr(tour, "STEPS", tuple((step.__name__, step) for step in (untrue, refused, allowed, good)))
    said: list[str] = []
    went_well = await tour.tell(SimpleNamespace(folder="/the/demo"), said.append)
    monkeypatch.setattr(tour, "STEPS", (("refused otherwise", refused_otherwise),))
    went_well_otherwise = await tour.tell(SimpleNamespace(folder="/the/demo"), said.append)

    assert not went_well
    assert not went_well_otherwise
    assert "   FAILED: Pigs fly: this is not so." in said
    assert "   FAILED: it was refused. “Clients cannot be invited to external chats.” (EXT-3)" in said
    assert "   FAILED: A parent enters: it was allowed and should have been refused (EXT-3)." in said
    assert any(
        line.startswith("   FAILED: A parent enters: it was refused for EXT-3 instead of BOOK-8") for line in said
    )
    assert "   Birds fly." in said
    assert "\n3 of 4 steps did not go as told. The logs lie in /the/demo." in said


# The whole


class Running:
    """`qwil demo` as one types it, and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""

    async def until_it_says(self, words: str) -> None:
        """Read until it says this; AssertionError when it ends before."""
        assert self.process.stdout is not None
        while words not in self.said:
            async with asyncio.timeout(PATIENCE):
                line = await self.process.stdout.readline()
            assert line, f"the demo ended before it said “{words}”; it said:\n{self.said}"
            self.said += line.decode()

    async def ended(self) -> int:
        """Read to the end; the exit status."""
        async with asyncio.timeout(PATIENCE):
            rest, _ = await self.process.communicate()
        self.said += rest.decode()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def demo(*arguments: str | Path) -> AsyncIterator[Running]:
    """`qwil demo` with these arguments, ended with the test by its own process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bridge", "demo", *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


def children_of(pid: int) -> set[int]:
    """The processes that this one started and that run still."""
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


async def are_gone(pids: set[int], *, patience: float = 60) -> bool:
    deadline = time.monotonic() + patience
    while any(_runs(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.1)
    return True


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def ask(ready: dict[str, Any], method: str, path: str, token: str = "", **body: Any) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, ready["homeserver"] + path, json=body or None, headers=headers) as answer,
    ):
        return dict(await answer.json())


async def log_in(ready: dict[str, Any], user: str, password: str) -> str:
    who = {"type": "m.id.user", "user": user}
    path = "/_matrix/client/v3/login"
    answer = await ask(ready, "POST", path, type="m.login.password", identifier=who, password=password)
    return str(answer["access_token"])


async def test_the_tour_goes_as_told_and_the_demo_ends_with_it(tmp_path: Path) -> None:
    async with demo("--once", "--dir", tmp_path / "demo") as running:
        status = await running.ended()

    assert status == 0, running.said
    assert "FAILED" not in running.said
    assert "steps went as told" in running.said
    assert "Clients cannot be invited to external chats." in running.said


async def test_an_own_policy_is_tried_without_the_tour(tmp_path: Path, own_policy: Path) -> None:
    folder = tmp_path / "demo"
    async with demo("--policy", own_policy, "--dir", folder) as running:
        await running.until_it_says("Ctrl-C ends the demo.")
        ready = json.loads((folder / "ready.json").read_text())
        tokens = {user: await log_in(ready, user, known["password"]) for user, known in ready["accounts"].items()}
        admin = await log_in(ready, ready["server_admin"]["user"], ready["server_admin"]["password"])
        version = await ask(ready, "GET", "/_synapse/admin/v1/server_version", admin)
        head, cleo = "@north.head:qwil.test", "@north.4711:qwil.test"
        allowed = await ask(ready, "POST", "/_matrix/client/v3/createRoom", tokens[head], invite=[cleo])
        refused = await ask(
            ready, "POST", "/_matrix/client/v3/createRoom", tokens[head], invite=["@south.head:qwil.test"]
        )
        children = children_of(running.process.pid)
        running.process.send_signal(signal.SIGINT)

        assert await running.ended() == 0
    assert await are_gone(children)

    assert "The tour" not in running.said
    assert "Matrix IDs of other homeservers (1) take no part" in running.said
    assert {user: known["person"] for user, known in ready["accounts"].items()} == {
        head: "north/head",
        cleo: "north/4711",
        "@ill:qwil.test": "north/ill",
        "@south.head:qwil.test": "south/head",
        "@south.qwil:qwil.test": "south/qwil",
    }
    assert ready["server_name"] == "qwil.test"
    assert ready["bot"] == "@qwil:qwil.test"
    assert ready["policy"] == str(folder / "policy.yaml")
    assert ready["config"] == str(folder / "config.yaml")
    assert "server_version" in version
    assert "room_id" in allowed
    assert "DIR-4" in refused["org.qwil.rules"]
    assert own_policy.read_text() == OWN_POLICY


async def test_somebody_added_to_the_copy_while_it_runs_gets_an_account_and_a_killed_demo_leaves_nothing_running(
    tmp_path: Path, own_policy: Path
) -> None:
    folder = tmp_path / "demo"
    async with demo("--policy", own_policy, "--dir", folder) as running:
        await running.until_it_says("Ctrl-C ends the demo.")
        policy = folder / "policy.yaml"
        policy.write_text(policy.read_text().replace("status: invited", "status: active"))
        await running.until_it_says("New Person (north/new) has an account now: @new:qwil.test")
        ready = json.loads((folder / "ready.json").read_text())
        children = children_of(running.process.pid)
        running.process.kill()
        await running.ended()

    assert ready["accounts"]["@new:qwil.test"]["person"] == "north/new"
    assert 'new: {matrix: "@new:qwil.test"' in policy.read_text()
    assert len(children) == 2
    assert await are_gone(children)


def test_a_demo_does_not_wait_for_people_of_other_homeservers() -> None:
    def step(user: str, *, waits: bool = False) -> Step:
        return Step(EnterSpace("space", UserId(user)), "spaces", "", waits, frozenset())

    assert will_be_done(step("@ann:qwil.test"))
    assert not will_be_done(step("@ann:qwil.test", waits=True))
    assert not will_be_done(step("@ann:elsewhere.example"))


async def test_a_demo_never_writes_into_the_folder_of_somebodys_own_policy(own_policy: Path) -> None:
    async with demo("--once", "--policy", own_policy, "--dir", own_policy.parent) as running:
        assert await running.ended() == 1

    assert "give --dir another folder" in running.said
    assert own_policy.read_text() == OWN_POLICY


async def test_a_port_that_is_taken_is_said_to_be(tmp_path: Path, own_policy: Path) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with demo("--once", "--policy", own_policy, "--dir", tmp_path / "demo", "--port", str(port)) as running:
            assert await running.ended() == 1

    assert f"Another program listens on port {port}" in running.said
