"""`qwil export` and `qwil verify` as an operator types them."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from bridge.cli import main
from bridge.store import Store
from bridge.transcript import bundle
from tests.bridge.test_export_jobs import PAT, POLICY, ROOM, a_chat, new, said

CONFIG = "homeserver: {address: 'http://127.0.0.1:9', server_name: school.example}\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with configuration, policy, a record of one chat, and an export of it."""
    folder = tmp_path_factory.mktemp("operator")
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "policy.yaml").write_text(POLICY)

    async def keep() -> None:
        store = await Store.open(f"sqlite:{folder}/qwil.db")
        events = [*a_chat(PAT), *(said(20 + place, f"message {place}") for place in range(9))]
        await store.receive("t", [new(event) for event in events], received=1.0)
        await store.close()

    asyncio.run(keep())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bridge.export_operator.PATIENCE", 0.2)
        assert main(["export", "-c", str(folder / "config.yaml"), ROOM, "-o", str(folder / "trip")]) == 0
    return folder


def verified(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(["verify", *words])
    return status, capsys.readouterr().out


def test_an_export_is_good_as_a_folder_and_as_a_zip(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle.pack(place / "trip", place / "trip.zip")

    for export in ("trip", "trip.zip"):
        status, said = verified(capsys, str(place / export))
        assert status == 0
        assert "Everything is as it was signed." in said
        assert "Signed by ed25519:" in said


def test_the_key_has_to_be_the_published_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = json.loads((place / "trip" / "manifest.sig").read_text())["key"]

    assert verified(capsys, str(place / "trip"), "--key", key)[0] == 0
    status, said = verified(capsys, str(place / "trip"), "--key", "ed25519:" + "A" * 43 + "=")
    assert status == 1
    assert "This is not what was signed." in said


def test_what_was_changed_is_named(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forged = tmp_path / "forged"
    shutil.copytree(place / "trip", forged)
    record = forged / "messages.jsonl"
    record.write_text(record.read_text().replace("message 4", "message 5"))

    status, said = verified(capsys, str(forged))

    assert status == 1
    assert "messages.jsonl" in said


def test_what_is_no_export_is_a_sentence(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(place / "config.yaml")]) == 1
    assert "is neither a folder nor a zip" in capsys.readouterr().err
    assert main(["verify", str(place / "trip"), "--key", "nonsense"]) == 1
    assert "is no public key" in capsys.readouterr().err


def test_a_chat_that_is_not_on_record_is_a_sentence(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "-c", str(place / "config.yaml"), "!other:school.example"]) == 1

    assert "no chat on record is called" in capsys.readouterr().err
