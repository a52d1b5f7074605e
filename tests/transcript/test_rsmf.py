"""The record in the format of programs for legal review."""

from __future__ import annotations

import email
import io
import json
import zipfile
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from bridge.transcript import rsmf
from bridge.transcript.verify import verify
from tests.transcript.conftest import Make
from tests.transcript.room import ANN, BEN, PAT, PEOPLE, Room, account, picture, school_trip
from tests.transcript.test_pdf import HOSTILE


def opened(path: Path) -> tuple[EmailMessage, zipfile.ZipFile, dict[str, Any]]:
    """The mail, the zip in it, and the manifest in that."""
    mail = email.message_from_bytes(path.read_bytes(), policy=default)
    assert isinstance(mail, EmailMessage)
    (attached,) = mail.iter_attachments()
    assert attached.get_filename() == "rsmf.zip"
    archive = zipfile.ZipFile(io.BytesIO(attached.get_content()))
    return mail, archive, json.loads(archive.read("rsmf_manifest.json"))


@pytest.fixture(scope="module")
def exported(make: Make) -> Path:
    return make(school_trip(), set_to={"rsmf": True}).folder / "transcript.rsmf"


def events(make: Make, room: Room) -> list[dict[str, Any]]:
    found = opened(make(room, set_to={"rsmf": True}).folder / "transcript.rsmf")[2]["events"]
    assert isinstance(found, list)
    return found


def test_it_is_a_mail_with_the_headers_of_the_format(exported: Path) -> None:
    mail, archive, manifest = opened(exported)

    assert mail["X-RSMF-Version"] == "2.0.0"
    assert mail["X-RSMF-Generator"] == "qwil 0.1.0"
    assert mail["X-RSMF-BeginDate"] == "2026-11-24T09:00:00.000Z"
    assert mail["X-RSMF-EndDate"] == "2026-11-24T13:12:00.000Z"
    assert mail["X-RSMF-EventCount"] == str(len(manifest["events"]))
    assert mail["Subject"] == "Trip to the museum"
    assert archive.testzip() is None


def test_what_review_programs_search_is_the_text_of_the_mail(exported: Path) -> None:
    body = opened(exported)[0].get_body()

    assert body is not None
    assert "Ann Lee: Please bring the signed form on Thursday." in body.get_content()
    assert "请在星期四带来签好的表格" in body.get_content()


def test_every_id_that_an_event_names_is_declared(exported: Path) -> None:
    _, archive, manifest = opened(exported)

    people = {one["id"] for one in manifest["participants"]}
    conversations = {one["id"] for one in manifest["conversations"]}
    ids = {event["id"] for event in manifest["events"]}
    for event in manifest["events"]:
        assert event["type"] in ("message", "disclaimer", "join", "leave")
        assert event["participant"] in people
        assert event["conversation"] in conversations
        assert event.get("parent", event["id"]) in ids
        for attachment in event.get("attachments", ()):
            assert len(archive.read(attachment["id"])) == attachment["size"]


def test_an_edit_is_told_at_its_message_with_what_it_was_before(make: Make) -> None:
    room = Room()
    first = room.says(PAT, "eihgt")
    room.edits(PAT, first, "eight")
    room.edits(BEN, first, "nine")

    message, foreign = events(make, room)

    assert message["body"] == "eight"
    assert [(edit["previous"], edit["new"]) for edit in message["edits"]] == [("eihgt", "eight")]
    assert foreign["body"] == "edit of 1: nine"


def test_a_deleted_message_is_marked_and_says_who_deleted_it(make: Make) -> None:
    room = Room()
    first = room.says(PAT, "private")
    room.deletes(BEN, first, "not here")

    message, deletion = events(make, room)

    assert (message["body"], message["deleted"]) == ("private", True)
    assert (deletion["type"], deletion["participant"], deletion["body"]) == (
        "disclaimer",
        BEN,
        "deletion of 1: not here",
    )


def test_what_was_taken_back_is_an_event_of_its_own_and_changes_no_other(make: Make) -> None:
    room = Room()
    first = room.says(PAT, "at six")
    wrong = room.edits(PAT, first, "at seven")
    room.edits(PAT, first, "at eight")
    thumb = room.reacts(ANN, first, "👍")
    room.reacts(BEN, first, "👍")
    for taken_back in (wrong, thumb):
        room.deletes(ANN, taken_back)

    found = {event["id"]: event for event in events(make, room)}

    assert [edit["new"] for edit in found[first]["edits"]] == ["at eight"]
    assert [(one["count"], one["participants"]) for one in found[first]["reactions"]] == [(1, [BEN])]
    assert (found[wrong]["body"], found[wrong]["deleted"]) == ("edit of 1: at seven", True)
    assert (found[thumb]["body"], found[thumb]["deleted"]) == ("reaction of 1: 👍", True)


def test_nothing_that_is_on_the_page_is_missing_from_what_review_programs_search(make: Make) -> None:
    room = Room()
    room.shares(PAT, "lost.pdf", None, "application/pdf")
    room.shares(PAT, "plan.png", picture(form="PNG"), "image/png")
    room.says(PAT, "hi", html="<b>bring</b> the whisky")
    same = room.says(PAT, "**bring** the books", html="<b>bring</b> the books")
    relation = {"rel_type": "m.replace", "event_id": same}
    new = {"msgtype": "m.text", "body": "bring nothing"}
    room.says(PAT, "* I know where you live", relates=relation, **{"m.new_content": new})

    mail, _, manifest = opened(make(room, set_to={"rsmf": True}).folder / "transcript.rsmf")

    said = mail.get_body()
    assert said is not None
    lost = "[file “lost.pdf”: The homeserver no longer has it (404 M_NOT_FOUND).]"
    formatted = "hi\n[with its formatting: bring the whisky]"
    edited = "bring nothing\n[programs that know no edits show: * I know where you live]"
    assert [event["body"] for event in manifest["events"]] == [lost, "", formatted, edited]
    assert manifest["events"][-1]["edits"][0]["previous"] == "**bring** the books"
    for words in (lost, "[plan.png]", "bring the whisky", "I know where you live"):
        assert words in said.get_content()


def test_an_answer_to_what_is_no_event_of_the_file_says_what_it_answers(make: Make) -> None:
    room = Room()
    first = room.says(PAT, "first")
    edit = room.edits(PAT, first, "second")
    room.replies(ANN, edit, "to the edit")
    room.replies(ANN, "$nowhere", "to nothing")
    room.replies(ANN, first, "to the message")

    answers = events(make, room)[1:]

    assert [event.get("parent") for event in answers] == [None, None, first]
    assert [event["custom"][1:] for event in answers] == [
        [{"name": "In reply to", "value": edit}], [{"name": "In reply to", "value": "$nowhere"}], [],
    ]  # fmt: skip


def test_reactions_are_counted_at_their_message(make: Make) -> None:
    room = Room()
    first = room.says(PAT, "hello")
    room.reacts(ANN, first, "👍")
    room.reacts(BEN, first, "👍")

    assert events(make, room)[0]["reactions"] == [{"value": "👍", "count": 2, "participants": [ANN, BEN]}]


def test_a_long_record_comes_in_files_of_a_size_that_programs_like(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rsmf, "MOST_EVENTS", 2)
    room = Room()
    for place in range(5):
        room.says(PAT, str(place))

    export = make(room, set_to={"rsmf": True})

    files = sorted(path.name for path in export.folder.glob("*.rsmf"))
    assert files == ["transcript-001.rsmf", "transcript-002.rsmf", "transcript-003.rsmf"]
    assert verify(export.folder).good


def test_no_text_breaks_the_mail(make: Make) -> None:
    room = Room()
    room.named("Trip\r\nBcc: everybody@example.org\n\n--qwil-rsmf\n" + HOSTILE["surrogates"])
    for said in HOSTILE.values():
        room.says(PAT, said + "\r\n--qwil-rsmf--\r\n.")
    room.shares(PAT, "\r\n--qwil-rsmf", picture(), "image/jpeg")

    mail, _, manifest = opened(make(room, set_to={"rsmf": True}).folder / "transcript.rsmf")

    assert "Bcc" not in mail
    assert len(manifest["events"]) == len(HOSTILE) + 2
    assert account().room_id == manifest["conversations"][0]["id"]
    assert PEOPLE[PAT].matrix in manifest["conversations"][0]["participants"]
