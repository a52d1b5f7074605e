"""`qwil import`: a dry run unless told otherwise, refused rows back in a file, every import on record."""

import asyncio
import json
from pathlib import Path

import pytest

from bridge import registration, spreadsheet
from bridge.cli import main
from bridge.policy_file import load
from bridge.store import Store
from policy.import_verdicts import Table
from policy.model import PersonId, Policy

POLICY = """\
organisations:
  hill:
    name: Hill
    mobile: optional
    people: hill.csv
    books:
      year-1: {name: Year 1}
"""
SHEET = """\
identifier,first_name,role,email,admin,contact_books,status
head,Ada,staff,head@hill.example,system,year-1,
"""
CONFIG = """\
homeserver: {{address: "http://127.0.0.1:8008", server_name: hill.example}}
appservice: {{as_token: {0.as_token}, hs_token: {0.hs_token}}}
database: sqlite:qwil.db
policy: policy.yaml
"""
GOOD = "identifier,first_name,role,email,contact_books\nn.new,Nia,client,n@x.example,year-1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "hill.csv").write_text(SHEET)
    (tmp_path / "config.yaml").write_text(CONFIG.format(registration.fresh_tokens()))
    return tmp_path


def qwil_import(folder: Path, *words: str) -> int:
    return main(["import", "-c", str(folder / "config.yaml"), *words])


def file(folder: Path, text: str) -> str:
    (folder / "people.csv").write_text(text)
    return str(folder / "people.csv")


def test_without_apply_nothing_is_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert qwil_import(folder, "hill", file(folder, GOOD)) == 0

    assert capsys.readouterr().out == "1 new, 0 refused.\nNothing is done yet: --apply does it.\n"
    assert (folder / "hill.csv").read_text() == SHEET
    assert not (folder / "qwil.db").exists()


def test_with_apply_people_stand_in_the_policy_and_the_import_on_record(folder: Path) -> None:
    assert qwil_import(folder, "hill", file(folder, GOOD), "--apply") == 0

    policy = load(folder / "policy.yaml")
    assert isinstance(policy, Policy)
    assert policy.people[PersonId("hill/n.new")].status == "invited"

    async def record() -> list[tuple[str, str, str]]:
        store = await Store.open(f"sqlite:{folder}/qwil.db")
        try:
            return [
                (entry.what, (details := json.loads(entry.details))["changes"][0]["person"], details["file"])
                for entry in await store.audit_entries()
            ]
        finally:
            await store.close()

    assert asyncio.run(record()) == [("import into hill", "hill/n.new", str(folder / "people.csv"))]


def test_refused_rows_come_back_and_go_through_when_they_are_mended(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert qwil_import(folder, "hill", file(folder, GOOD + "n.bad,Ned,client,,year-1\n"), "--apply") == 1

    back = folder / "people-refused.csv"
    assert f"The refused rows are in {back}" in capsys.readouterr().out
    text = back.read_text("utf-8-sig")
    back.write_text(text.replace("n.bad,Ned,client,,", "n.bad,Ned,client,ned@x.example,"))
    assert qwil_import(folder, "hill", str(back), "--apply") == 0


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_refused_rows_that_somebody_has_begun_to_mend_are_not_written_over(
    folder: Path, capsys: pytest.CaptureFixture[str], kind: spreadsheet.Kind
) -> None:
    source, back = folder / f"people.{kind}", folder / f"people-refused.{kind}"
    headings, rows = ["identifier", "first_name", "role"], [["n.bad", "Ned", "client"], ["n.too", "Nia", "client"]]
    source.write_bytes(spreadsheet.write(Table.of(headings, rows, [2, 3]), kind))
    for _ in range(2):
        assert qwil_import(folder, "hill", str(source)) == 1
    assert sorted(folder.glob("people-*")) == [back]

    mended = spreadsheet.write(Table.of(headings, [["n.bad", "Edward", "client"]], [2]), kind)
    back.write_bytes(mended)
    capsys.readouterr()
    assert qwil_import(folder, "hill", str(source)) == 1

    again = folder / f"people-refused-2.{kind}"
    assert f"The refused rows are in {again}," in capsys.readouterr().out
    assert back.read_bytes() == mended
    assert spreadsheet.read(again.read_bytes()).rows == rows


def test_refused_rows_that_cannot_be_written_down_keep_nobody_from_reading_why(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    people = file(folder, GOOD + "n.bad,Ned,client,,year-1\n")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)

    assert qwil_import(folder, "hill", people) == 1
    said = capsys.readouterr().out
    assert "row 3 n.bad: refused: " in said
    assert "could not be written into" in said


@pytest.mark.parametrize("name", ["people.csv", "people.xlsx"])
def test_the_template_can_be_filled_in(folder: Path, name: str) -> None:
    assert qwil_import(folder, "--template", str(folder / name)) == 0

    assert spreadsheet.read((folder / name).read_bytes()).rows == []
    assert qwil_import(folder, "--template", str(folder / name)) == 1, "a file that is there is left alone"


@pytest.mark.parametrize(
    ("organisation", "text", "said"),
    [
        ("hull", GOOD, 'there is no organisation "hull" in the policy — did you mean "hill"?'),
        ("hill", "", "The first row is empty"),
        ("hill", "identifier,nmae\na,b\n", 'Column 2 has the heading "nmae"'),
    ],
)
def test_what_cannot_be_imported_is_said_in_a_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], organisation: str, text: str, said: str
) -> None:
    assert qwil_import(folder, organisation, file(folder, text)) == 1

    printed = capsys.readouterr()
    assert said in printed.out + printed.err


def test_a_policy_with_mistakes_is_repaired_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "policy.yaml").write_text(POLICY + "tests: 1\n")

    assert qwil_import(folder, "hill", file(folder, GOOD), "--apply") == 1
    assert "repair them first" in capsys.readouterr().err


def test_what_cannot_be_put_on_record_is_not_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "qwil.db").write_text("no database at all, but something else that is long enough to be read as one")

    assert qwil_import(folder, "hill", file(folder, GOOD), "--apply") == 1
    assert "could not be put on record" in capsys.readouterr().err
    assert (folder / "hill.csv").read_text() == SHEET
