"""The audit tells who did what, and shows when somebody meddled with it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bridge.audit import PolicyLog, as_text, entries, verify
from bridge.cli import main
from bridge.database import StoreRefused
from bridge.ledger import broken_link
from bridge.policy_file import PolicySource
from bridge.store import Store
from policy.mistake import Mistake, Place
from policy.model import Policy
from policy.parse import parse

POLICY = """
organisations:
  hill:
    name: Hill School
    mobile: optional
    people:
      head: {name: Ada Head, role: staff, admin: system, email: head@hill.example}
      pat: {name: Pat Parent, role: client, email: pat@hill.example}
    books:
      year-1: {name: Year 1, members: [head, pat]}
"""


def policy(text: str = POLICY) -> Policy:
    parsed = parse(text, lambda name: (_ for _ in ()).throw(FileNotFoundError(name)))
    assert isinstance(parsed, Policy), parsed
    return parsed


class Folder:
    """A policy file in force, and what notes it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "policy.yaml"
        self.source = PolicySource(self.path)
        self.save(POLICY)

    def save(self, text: str) -> Policy:
        self.path.write_text(text)
        self.source.load()
        return self.source.policy

    def log(self, store: Store) -> PolicyLog:
        """Of a bridge that was just started."""
        return PolicyLog(store, self.source.files_of, clock=lambda: 7.0)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


async def some_lines(store: Store, number: int = 5) -> None:
    for each in range(number):
        await store.audit(f"@user{each}:hill.example", "refused", {"text": f"No {each}."}, time=100.0 + each)


async def meddle(store: Store, statement: str) -> None:
    await store._database.execute(statement)


async def test_a_whole_audit_is_whole(store: Store) -> None:
    await some_lines(store)

    checked = await verify(store)

    assert (checked.lines, checked.broken) == (5, None)
    assert checked.hash == (await store.audit_head())[1]


async def test_an_empty_audit_is_whole(store: Store) -> None:
    assert await verify(store) == (0, "", None)


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        ("""UPDATE audit SET details = '{"text":"Yes."}' WHERE number = 3""", 3),
        ("UPDATE audit SET who = 'somebody else' WHERE number = 1", 1),
        ("UPDATE audit SET time = 0 WHERE number = 5", 5),
        ("DELETE FROM audit WHERE number = 2", 2),
        ("DELETE FROM audit WHERE number = 5", 5),
        ("DELETE FROM audit WHERE number < 3", 1),
        ("DELETE FROM audit", 1),
        ("DELETE FROM audit_head", 6),
    ],
)
async def test_meddling_is_found_at_its_line(store: Store, statement: str, line: int) -> None:
    await some_lines(store)

    await meddle(store, statement)

    checked = await verify(store)
    assert (checked.lines, checked.broken) == (line - 1, line)


async def test_an_audit_that_somebody_took_the_end_of_is_not_written_on(store: Store) -> None:
    await some_lines(store)

    await meddle(store, "DELETE FROM audit_head")

    with pytest.raises(StoreRefused, match="restore the database from a backup"):
        await some_lines(store)
    assert len(await store.audit_entries()) == 5


async def test_an_audit_of_many_pages_is_looked_through_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.audit.PAGE", 2)
    await some_lines(store, 7)
    assert (await verify(store)).lines == 7

    await meddle(store, "UPDATE audit SET what = 'allowed' WHERE number = 6")

    assert (await verify(store)).broken == 6


async def test_lines_are_found_by_who_what_and_since(store: Store) -> None:
    await some_lines(store)
    await store.audit("operator ann", "apply", {"plan": "0123"}, time=200.0)

    async def numbers(**wanted: object) -> list[int]:
        return [entry.number async for entry in entries(store, **wanted)]  # type: ignore[arg-type]

    assert await numbers() == [1, 2, 3, 4, 5, 6]
    assert await numbers(who="USER3") == [4]
    assert await numbers(what="apply") == [6]
    assert await numbers(what="refused", since=103.0) == [4, 5]
    assert await numbers(since=101.0, until=104.0) == [2, 3, 4]
    assert await numbers(about="no 2.") == [3]
    assert await numbers(about="operator") == [6]


async def test_a_line_reads_like_a_sentence(store: Store) -> None:
    entry = await store.audit("@ann:hill.example", "refused", {"command": "add ben", "because": ["EXT-3"]}, time=0)

    assert as_text(entry) == "1 1970-01-01 00:00:00Z @ann:hill.example: was refused: add ben; because EXT-3"


async def test_a_refused_invitation_and_a_change_of_the_policy_read_like_sentences(store: Store) -> None:
    what = "inviting @kim:far.example by @ann:hill.example in !room:hill.example"
    refused = await store.audit("@ann:hill.example", "refused", {"what": what, "because": ["DIR-4"]}, time=0)
    status = {"person": "hill/pat", "field": "status", "before": "active", "after": "left"}
    book = {"person": "hill/pat", "book": "one", "before": "not in it", "after": "in it"}
    new = {"person": "hill/kim", "before": None, "after": {"name": "Kim", "books": ["one", "two"]}}
    done = await store.audit("@ann:hill.example", "import into hill", {"changes": [status, book, new]}, time=0)

    assert as_text(refused).endswith(f"@ann:hill.example: was refused: {what}; because DIR-4")
    assert as_text(done).endswith(
        "import into hill hill/pat: status: active → left, hill/pat: contact book one: not in it → in it, "
        "hill/kim: nothing → name Kim; books one, two"
    )


async def test_a_policy_that_comes_into_force_is_noted_with_what_is_different(store: Store, folder: Folder) -> None:
    log = folder.log(store)
    await log.note(policy())

    await log.note(policy(POLICY.replace("role: client,", "role: client, status: suspended,")))

    first, second = await store.audit_entries()
    assert json.loads(first.details)["differences"] is None
    details = json.loads(second.details)
    assert details["differences"] == ["Pat Parent (hill/pat): status active → suspended"]
    assert details["before"] == json.loads(first.details)["after"]
    assert (second.what, second.time) == ("policy", 7.0)


async def test_a_file_saved_without_a_difference_is_not_noted(store: Store, folder: Folder) -> None:
    log = folder.log(store)
    await log.note(policy())

    await log.note(policy(f"# a comment\n{POLICY}"))

    assert len(await store.audit_entries()) == 1


async def test_what_was_changed_while_no_bridge_ran_is_noted_with_what_is_different(
    store: Store, folder: Folder
) -> None:
    before = folder.log(store)
    await before.note(folder.source.policy)
    await before.keep()

    await folder.log(store).note(policy())
    unchanged = len(await store.audit_entries())
    await folder.log(store).note(folder.save(POLICY.replace("Ada Head", "Ada Foot")))

    assert unchanged == 1
    assert json.loads((await store.audit_entries())[-1].details)["differences"] == [
        "Ada Foot (hill/head): name Ada Head → Ada Foot"
    ]


async def test_a_spreadsheet_that_was_changed_while_no_bridge_ran_is_noted_too(store: Store, folder: Folder) -> None:
    sheet = folder.path.with_name("hill.csv")
    sheet.write_text("identifier,first_name,role,email,admin\nhead,Ada,staff,h@hill.example,system\n")
    people = "organisations: {hill: {name: Hill, mobile: optional, people: hill.csv}}"
    before = folder.log(store)
    await before.note(folder.save(people))
    await before.keep()

    sheet.write_text(sheet.read_text().replace("Ada", "Ida"))
    await folder.log(store).note(folder.save(people))

    assert json.loads((await store.audit_entries())[-1].details)["differences"] == ["Ida (hill/head): name Ada → Ida"]


@pytest.mark.parametrize("in_force", [True, False])
async def test_files_that_were_saved_again_in_the_meantime_are_kept_as_nobody_elses(
    store: Store, folder: Folder, in_force: bool
) -> None:
    log, later = folder.log(store), POLICY.replace("Ada Head", "Ada Foot")
    await log.note(folder.source.policy)
    if in_force:
        folder.save(later)
    else:
        folder.path.write_text(later)
    await log.keep()

    await folder.log(store).note(folder.save(later))

    assert json.loads((await store.audit_entries())[-1].details)["differences"] is None


async def test_a_policy_that_did_not_come_into_force_is_noted_with_its_mistakes(store: Store, folder: Folder) -> None:
    await folder.log(store).note_mistakes((Mistake(Place("policy.yaml", 3, 1), "this is wrong"),))

    (entry,) = await store.audit_entries()
    assert json.loads(entry.details)["mistakes"] == ["policy.yaml:3:1: this is wrong"]


CONFIG = """
homeserver: {address: "http://127.0.0.1:1", server_name: hill.example}
database: "sqlite:qwil.db"
"""


async def cli(*words: str) -> int:
    return await asyncio.to_thread(main, list(words))


async def test_the_program_shows_hands_out_and_checks_the_audit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    store = await Store.open(f"sqlite:{tmp_path}/qwil.db")
    await some_lines(store, 3)

    assert await cli("audit", "-c", str(config), "--who", "user1") == 0
    assert capsys.readouterr().out == "2 1970-01-01 00:01:41Z @user1:hill.example: was refused: text No 1.\n"

    for until, there in (("1970-01-01", 1), ("1970-01-01T00:01:41Z", 0)):
        assert await cli("audit", "-c", str(config), "--about", "No 1.", "--until", until) == 0
        assert len(capsys.readouterr().out.splitlines()) == there

    assert await cli("audit", "-c", str(config), "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    handed_out = [entry for entry in await store.audit_entries() if entry._asdict() in lines]
    assert len(handed_out) == 3
    assert broken_link(handed_out) is None

    assert await cli("audit", "verify", "-c", str(config)) == 0
    assert lines[-1]["hash"] in capsys.readouterr().out
    await meddle(store, "UPDATE audit SET who = 'nobody' WHERE number = 2")
    await store.close()
    assert await cli("audit", "verify", "-c", str(config)) == 1
    assert "line 2 was changed" in capsys.readouterr().out


async def test_a_moment_that_is_none_is_answered_with_one_that_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)

    with pytest.raises(SystemExit) as ended:
        await cli("audit", "-c", str(tmp_path / "config.yaml"), "--since", "yesterday")

    assert ended.value.code == 2
    assert "2026-12-01" in capsys.readouterr().err
