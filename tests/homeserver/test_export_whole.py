"""A chat with something of everything, written in real clients: what people and operators have of it afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pypdfium2
import pytest

from bridge.media_hashes import received
from bridge.store import Store
from bridge.transcript.verify import verify
from tests.homeserver import two_schools
from tests.homeserver.bridged import Bridged, bridged
from tests.homeserver.matrix_client import Client, eventually
from tests.homeserver.test_export import HILLSIDE, ask, chat, done, download, uploaded
from tests.transcript.room import picture
from tests.transcript.test_pdf import bare

PEOPLE = ["head", "okafor", "lowe", "chan", "diaz", "ode", "reed"]
PLAN, LOST = b"%PDF the plan", b"%PDF soon lost"


class Written(NamedTuple):
    """The chat."""

    room: str
    plan: str
    late: str


@pytest.fixture(scope="module")
async def school(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridged]:
    policy = two_schools.policy(hillside=HILLSIDE, more="    clients_may_export: true\n")
    policy = policy.replace("name: Ben Ode,", "name: Ben Ode, review: all,")
    async with bridged(tmp_path_factory.mktemp("whole"), policy, PEOPLE) as running:
        yield running


def relates(kind: str, event: str, **more: Any) -> dict[str, Any]:
    return {"m.relates_to": {"rel_type": kind, "event_id": event, **more}}


def formatted(body: str, html: str) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": body, "format": "org.matrix.custom.html", "formatted_body": html}


@pytest.fixture(scope="module")
async def written(school: Bridged) -> Written:
    """Half of it while the bridge was away, with an edit and a deletion of what it had not seen."""
    okafor, chan, diaz = await school.clients("okafor", "chan", "diaz")
    room, (form,) = await chat(okafor, chan, "Museum", "Bring the signed form")
    plan, lost = await uploaded(chan, PLAN), await uploaded(chan, LOST)
    photo = await uploaded(chan, picture(form="PNG"))
    for name, mxc in (("=plan.pdf", plan), ("lost.pdf", lost)):
        content = {"msgtype": "m.file", "body": name, "url": mxc, "info": {"mimetype": "application/pdf"}}
        await chan.send_event(room, "m.room.message", content)
    store = await Store.open(school.settings.database)
    await eventually(lambda: received(store, room), lambda known: {plan, lost} <= set(known))
    await store.close()
    await remove_upload(school, lost)
    await school.stop()

    await chan.send_event(room, "m.room.message", {"msgtype": "m.image", "body": "photo.png", "url": photo})
    answer = {"msgtype": "m.text", "body": "Will do", "m.relates_to": {"m.in_reply_to": {"event_id": form}}}
    await chan.send_event(room, "m.room.message", answer)
    await chan.send_event(room, "m.reaction", relates("m.annotation", form, key="ok"))
    wrong = await chan.send(room, "at eihgt")
    new = {"msgtype": "m.text", "body": "at eight"}
    await chan.send_event(
        room, "m.room.message", {**new, "body": "* at eight", "m.new_content": new, **relates("m.replace", wrong)}
    )
    private = await chan.send(room, "my number is 900010")
    await chan.redact(room, private, "not for all")
    await okafor.send_event(room, "m.room.message", {**formatted("in a thread", "in a <b>thread</b>"),
                                                     **relates("m.thread", form)})  # fmt: skip
    poll = {
        "question": {"m.text": [{"body": "Which day?"}]},
        "answers": [{"m.id": "f", "m.text": [{"body": "Friday"}]}],
    }
    start = await okafor.send_event(room, "m.poll.start", {"m.text": [{"body": "Which day?"}], "m.poll": poll})
    vote = {**relates("m.reference", start), "m.selections": ["f"]}
    await chan.send_event(room, "m.poll.response", vote)
    place = {"msgtype": "m.location", "body": "The museum", "geo_uri": "geo:51.4967,-0.1764;u=35"}
    await okafor.send_event(room, "m.room.message", place)
    code = formatted("x", "<pre><code>if late:\n    call()</code></pre><ul><li>lunch</li></ul>")
    await okafor.send_event(room, "m.room.message", code)
    late = await chan.send(room, "the last word of the day")
    await school.start()
    await okafor.invite(room, diaz.user_id)
    await eventually(lambda: okafor.members(room), lambda members: diaz.user_id in members)
    await okafor.set_state(room, "m.room.name", {"name": "Museum in June"})
    return Written(room, plan, late)


async def remove_upload(school: Bridged, mxc: str) -> None:
    """As a homeserver loses a file."""
    admin = school.homeserver.server_admin
    login = await school.homeserver.login(admin.user_id, admin.password)
    client = Client(school.homeserver, login, school._http)
    await client.ask("DELETE", f"/_synapse/admin/v1/media/{mxc.removeprefix('mxc://')}")


def text_of(pdf: Path) -> str:
    document = pypdfium2.PdfDocument(pdf)
    try:
        return bare("\n".join(page.get_textpage().get_text_range() for page in document))
    finally:
        document.close()


async def qwil(*words: str | Path, **environment: str) -> tuple[int, str]:
    """What the program answers, and its exit status."""
    command = [sys.executable, "-m", "bridge", *map(str, words)]
    whole = {**os.environ, **environment}
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, env=whole)
    return ended.returncode, ended.stdout + ended.stderr


async def test_all_of_it_is_on_the_pages_in_the_record_and_among_the_media(
    school: Bridged, written: Written, tmp_path: Path
) -> None:
    (okafor,) = await school.clients("okafor")

    await ask(okafor, written.room, "!export")

    files = await done(school, okafor, "Museum in June")
    pdf, archive = [await download(okafor, file, tmp_path) for file in sorted(files, key=lambda file: file["body"])]
    pdf, archive = (pdf, archive) if pdf.suffix == ".pdf" else (archive, pdf)
    page = text_of(pdf)
    for said in (
        "Museum in June", "Hillside Primary", "Kind of chat client", "Purpose A copy for a participant",
        "Exported by Tom Okafor (@okafor:qwil.test, Hillside Primary)",
        "Bring the signed form", "Reactions: ok Pat Chan", "In reply to", "Will do",
        "at eihgt", "Edited later by Pat Chan", "at eight", "The original:",
        "my number is 900010", "Deleted later by Pat Chan", "(not for all)",
        "In the thread of", "Poll: Which day?", "Pat Chan voted for “Friday”.",
        "Location: 51.4967° N, 0.1764° W, within 35 m – The museum", "if late:", "lunch", "Pia Diaz joined",
        "Tom Okafor named the chat “Museum in June”.", f"SHA-256 {hashlib.sha256(PLAN).hexdigest()}",
        f"When it was received it had 14 bytes and the SHA-256 {hashlib.sha256(LOST).hexdigest()}.",
        "Without its formatting, as some programs show it, this message reads: x",
    ):  # fmt: skip
        assert bare(said) in page, said
    assert verify(archive).good
    with zipfile.ZipFile(archive) as whole:
        lines = [json.loads(line) for line in whole.read("messages.jsonl").splitlines()]
        manifest = json.loads(whole.read("manifest.json"))
        (whole_media := tmp_path / "media.zip").write_bytes(whole.read("media.zip"))
    assert [line["number"] for line in lines] == list(range(1, len(lines) + 1))
    texts = [line["text"] for line in lines if line["kind"] in ("message", "edit")]
    assert texts == [
        "Bring the signed form", "", "", "", "Will do", "at eihgt", "at eight", "my number is 900010", "in a thread",
        "Poll: Which day?\n1. Friday", "Location: 51.4967° N, 0.1764° W, within 35 m – The museum", "x",
        "the last word of the day", "!export",
    ], "what was written while the bridge was away stands where it belongs"  # fmt: skip
    assert len(manifest["missing"]) == 1, manifest["missing"]
    with zipfile.ZipFile(whole_media) as media:
        assert "'=plan.pdf" in media.read("index.csv").decode()
        assert PLAN in [media.read(name) for name in media.namelist()]


async def test_how_far_it_is_stands_in_one_message_that_is_edited(school: Bridged, written: Written) -> None:
    (lowe,) = await school.clients("lowe")
    okafor = (await school.clients("okafor"))[0]
    room, _ = await chat(okafor, lowe, "Progress", "hello")

    await ask(lowe, room, "!export pdf")

    assert [Path(file["body"]).suffix for file in await done(school, lowe, "Progress")] == [".pdf"]
    (direct,) = await school.directs(lowe)
    told = [
        event for event in await lowe.messages(direct) if "export of “Progress”" in event["content"].get("body", "")
    ]
    first, *edits = told
    assert first["content"]["body"].startswith("The export of “Progress” is being made (QX-")
    assert {edit["content"]["m.relates_to"]["event_id"] for edit in edits} == {first["event_id"]}
    assert edits[-1]["content"]["m.new_content"]["body"].startswith("The export of “Progress” is done (QX-")


async def test_an_operator_exports_checks_and_finds_what_was_changed(
    school: Bridged, written: Written, tmp_path: Path
) -> None:
    config = school.settings.policy.parent / "config.yaml"
    out = tmp_path / "out"

    status, said = await qwil(
        "export", "-c", config, "Museum in June", "-o", out, "--rsmf", "--purpose", "complaint 17"
    )

    assert status == 0, said
    assert "lost.pdf” is missing" in said
    assert "complaint 17" in json.loads((out / "manifest.json").read_text())["export"]["purpose"]
    assert (out / "transcript.rsmf").exists()
    key = next(word for word in (out / "README.txt").read_text().split() if word.startswith("ed25519:"))
    status, said = await qwil("verify", out, "--key", key)
    assert (status, said.splitlines()[-1]) == (0, "Everything is as it was signed.")

    def forged_from(line: bytes) -> bytes:
        return line.replace(b"eihgt", b"eight")

    tampered: dict[str, Callable[[list[bytes], int], list[bytes]]] = {
        "was changed": lambda lines, at: [*lines[:at], forged_from(lines[at]), *lines[at + 1 :]],
        "was added": lambda lines, at: [*lines[:at], forged_from(lines[at]), *lines[at:]],
        "was removed": lambda lines, at: [*lines[:at], *lines[at + 1 :]],
        "was moved or repeated": lambda lines, at: [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
    }
    lines = (out / "messages.jsonl").read_bytes().splitlines(keepends=True)
    at = next(place for place, line in enumerate(lines) if b"eihgt" in line)
    for told, change in tampered.items():
        forged = tmp_path / told
        shutil.copytree(out, forged)
        (forged / "messages.jsonl").write_bytes(b"".join(change(lines, at)))
        status, said = await qwil("verify", forged)
        assert status == 1
        assert told in said
        assert f"messages.jsonl: entry {at + 1}" in said or f"messages.jsonl: entry {at + 2}" in said
    (out / "one-more.txt").write_text("x")
    assert "one-more.txt" in (await qwil("verify", out))[1]


async def test_an_export_is_made_again_from_the_same_record_byte_for_byte(
    school: Bridged, written: Written, tmp_path: Path
) -> None:
    config = school.settings.policy.parent / "config.yaml"
    first, second = tmp_path / "first", tmp_path / "second"
    words: list[str | Path] = ["export", "-c", config, written.room, "--until", written.late, "--rsmf", "-o"]
    status, said = await qwil(*words, first)
    assert status == 0, said
    made = datetime.fromisoformat(json.loads((first / "manifest.json").read_text())["export"]["made"])

    assert (await qwil(*words, second, SOURCE_DATE_EPOCH=str(int(made.timestamp()))))[0] == 0

    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert [name for name in names if (first / name).read_bytes() != (second / name).read_bytes()] == []
    assert "Museum in June" not in (first / "messages.jsonl").read_text()
    assert b"the last word of the day" in (first / "messages.jsonl").read_bytes()
    status, said = await qwil(*words, tmp_path / "third", SOURCE_DATE_EPOCH="noon")
    assert (status, "is a number of seconds since 1970" in said) == (1, True)


async def test_until_a_day_before_the_chat_there_is_nothing_and_the_export_says_so(
    school: Bridged, written: Written, tmp_path: Path
) -> None:
    """A client asks, whose organisation lets clients export."""
    (chan,) = await school.clients("chan")
    before = (datetime.now(UTC) - timedelta(days=2)).date()

    await ask(chan, written.room, f"!export until {before}")

    pdf, archive = sorted(await done(school, chan, "New chat"), key=lambda file: file["body"].endswith(".zip"))
    assert bare("This export holds no entries.") in text_of(await download(chan, pdf, tmp_path))
    assert verify(await download(chan, archive, tmp_path)).good


async def test_two_exports_at_once_are_both_whole(school: Bridged, written: Written, tmp_path: Path) -> None:
    reed, ode = await school.clients("reed", "ode")
    rooms = [(await chat(reed, ode, title, f"words of {title}"))[0] for title in ("Left", "Right")]

    await asyncio.gather(*(ask(client, room, "!export zip") for room, client in zip(rooms, (reed, ode), strict=True)))

    for client, title in ((reed, "Left"), (ode, "Right")):
        (file,) = await done(school, client, title)
        archive = await download(client, file, tmp_path)
        assert verify(archive).good
        with zipfile.ZipFile(archive) as whole:
            assert f"words of {title}" in whole.read("messages.jsonl").decode()


async def test_a_reviewer_narrows_a_search_by_every_filter(school: Bridged, written: Written) -> None:
    (head,) = await school.clients("head")
    today = datetime.now(UTC).date()
    tomorrow, yesterday = today + timedelta(days=1), today - timedelta(days=1)
    # The chat may have been written before the midnight that has just passed.
    long_before = today - timedelta(days=2)

    for found, filters in (
        ("at eight", f'at eight by "Pat Chan" from {yesterday} until {tomorrow} kind client'),
        ("at eihgt", "eihgt"),
        ("my number is 900010", "900010 by hillside/chan"),
        ("if late: call() lunch", f"call kind client from {yesterday}"),
        ("(as the reason of a deletion) not for all", '"not for all"'),
        ("Which day? Friday", "friday by @okafor:qwil.test"),
    ):
        assert f"{written.room}): {found}" in await school.say(head, f"review find {filters}"), filters
    for nothing in (
        f"eight until {long_before}",
        f"eight from {tomorrow}",
        "eight kind external",
        'eight by "Mary Lowe"',
    ):
        assert (await school.say(head, f"review find {nothing}")).startswith("Nothing was found"), nothing
