"""The record as RSMF 2.0, the format in which programs for legal review read chats.

An RSMF file is a mail (RFC 5322) whose one attachment, `rsmf.zip`, holds `rsmf_manifest.json` and the shared files; the
mail's text is what such programs search. Not more than 10,000 events are advised for one file. An edit or a deletion
is told at its message where both are in one file, and a deletion also as an event of its own, with who and when.
"""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from email.header import Header
from email.utils import format_datetime
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from bridge.transcript import bundle, record
from bridge.transcript.events import iso
from bridge.transcript.markup import bare, says_more
from bridge.transcript.message import said_otherwise
from bridge.transcript.model import Transcript
from bridge.transcript.record import Line

VERSION = "2.0.0"
MOST_EVENTS = 10_000
BOUNDARY = "qwil-rsmf"
PLATFORM = "matrix"
PIECE = 57 * 1024
"""Bytes encoded at a time: a multiple of what one line of base64 holds (RFC 2045)."""

Event = dict[str, Any]


def write(transcript: Transcript, work: Path, folder: Path) -> list[Path]:
    """Write one RSMF file for every 10,000 entries of the record in the work folder."""
    lines = record.lines(work / record.NAME)
    parts = -(-max(transcript.entries, 1) // MOST_EVENTS)
    written = []
    for place in range(1, parts + 1):
        path = folder / ("transcript.rsmf" if parts == 1 else f"transcript-{place:03d}.rsmf")
        _write_one(transcript, list(islice(lines, MOST_EVENTS)), work, path)
        written.append(path)
    return written


def manifest(transcript: Transcript, lines: Iterable[Line]) -> dict[str, Any]:
    """What `rsmf_manifest.json` says of these entries."""
    people = {one.person.matrix: one.person.name for one in transcript.participants}
    events: dict[int, Event] = {}
    for line in lines:
        for person in filter(None, (line["sender"], line.get("member"))):
            people.setdefault(person["matrix"], person["name"])
        event = _event(transcript, line)
        original = events.get((line.get("target") or {}).get("number") or 0)
        undone = any(remark.kind == "deletion" for remark in transcript.remarks.get(line["number"], ()))
        if original is None or undone or not AT_ITS_MESSAGE.get(line["kind"], _nowhere)(original, line):
            events[line["number"]] = event
    ids = {event["id"] for event in events.values()}
    for event in events.values():
        if event.get("parent", event["id"]) not in ids:
            event["custom"].append({"name": "In reply to", "value": event.pop("parent")})
    conversation = {
        "id": transcript.account.room_id,
        "display": transcript.title,
        "platform": PLATFORM,
        "type": "channel",
        "participants": list(people),
        "custom": [{"name": "Kind of chat", "value": transcript.account.kind}],
    }
    return {
        "version": VERSION,
        "participants": [{"id": matrix, "display": name, "account_id": matrix} for matrix, name in people.items()],
        "conversations": [conversation],
        "events": list(events.values()),
    }


def _event(transcript: Transcript, line: Line) -> Event:
    event: Event = {
        "id": line["event_id"],
        "type": TYPES.get(line["kind"], "disclaimer"),
        "body": _body(line),
        "participant": (line.get("member") or line["sender"])["matrix"],
        "conversation": transcript.account.room_id,
        "custom": [{"name": "Number", "value": str(line["number"])}],
    }
    if line["time"]:
        event["timestamp"] = line["time"]
    if parent := (line.get("thread") or line["reply_to"]):
        event["parent"] = parent["event_id"]
    if files := [file for file in record.files(line) if file["path"]]:
        event["attachments"] = [
            {"id": Path(file["path"]).name, "display": file["name"], "size": file["size"]} for file in files
        ]
    return event


def _body(line: Line) -> str:
    said = _said(line) or line.get("reaction") or ""
    if line["kind"] == "deletion":
        said = line.get("reason") or ""
    about = line.get("target")
    named = str(about["number"] or about["event_id"]) if about else ""
    return f"{line['kind']} of {named}: {said}" if named and line["kind"] in AT_ITS_MESSAGE else said


def _said(line: Line) -> str:
    """The text, what the formatted one says besides, and what is not as it should be with the files."""
    parts = [line["text"] or ""]
    if (html := line.get("html")) and says_more(formatted := bare(html), parts[0]):
        parts.append(f"[with its formatting: {formatted}]" if parts[0] else formatted)
    if line["kind"] == "edit" and (otherwise := said_otherwise(line.get("content") or {}, " ".join(parts))):
        parts.append(f"[programs that know no edits show: {otherwise}]")
    doubted = [(file, file.get("missing") or file.get("changed")) for file in record.files(line)]
    parts += [f"[file “{file['name']}”: {doubt}]" for file, doubt in doubted if doubt]
    return "\n".join(filter(None, parts))


def _edit(original: Event, line: Line) -> bool:
    """The message reads as it was left; what it was before is among its edits. No edit by another is one."""
    if line.get("reason") or original["participant"] != line["sender"]["matrix"]:
        return False
    edit = {"participant": line["sender"]["matrix"], "previous": original["body"], "new": _said(line)}
    if line["time"]:
        edit["timestamp"] = line["time"]
    original.setdefault("edits", []).append(edit)
    original["body"] = edit["new"]
    return not record.files(line)


def _reaction(original: Event, line: Line) -> bool:
    reactions: list[Event] = original.setdefault("reactions", [])
    value = line.get("reaction") or "?"
    known = next((reaction for reaction in reactions if reaction["value"] == value), None)
    if known is None:
        known = {"value": value, "count": 0, "participants": []}
        reactions.append(known)
    known["count"] += 1
    known["participants"].append(line["sender"]["matrix"])
    return True


def _deletion(original: Event, _: Line) -> bool:
    original["deleted"] = True
    return False


def _nowhere(_original: Event, _line: Line) -> bool:
    return False


AT_ITS_MESSAGE = {"edit": _edit, "reaction": _reaction, "deletion": _deletion}
"""What is told at the message that it is about; true where that tells all of it."""

TYPES = {"message": "message", "edit": "message", "join": "join", "leave": "leave"}


def _write_one(transcript: Transcript, lines: list[Line], work: Path, path: Path) -> None:
    archive = work / "rsmf.zip"
    whole = manifest(transcript, lines)
    names = dict.fromkeys(file["id"] for event in whole["events"] for file in event.get("attachments", ()))
    content = json.dumps(whole, indent=1).encode()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(zipfile.ZipInfo("rsmf_manifest.json", bundle.ALWAYS), content)
        for name in names:
            bundle.put(packed, name, work / "media" / name)
    with path.open("wb") as out:
        out.writelines(line.encode("ascii") + b"\r\n" for line in _head(transcript, whole["events"]))
        _encode("\r\n".join(_readable(lines)).encode(errors="replace"), out)
        out.writelines(line.encode("ascii") + b"\r\n" for line in ATTACHMENT)
        with archive.open("rb") as zipped:
            while piece := zipped.read(PIECE):
                _encode(piece, out)
        out.write(f"\r\n--{BOUNDARY}--\r\n".encode())


def _head(transcript: Transcript, events: list[Event]) -> Iterator[str]:
    times = [event["timestamp"] for event in events if "timestamp" in event] or [iso(transcript.account.made)]
    yield "MIME-Version: 1.0"
    yield f"Date: {format_datetime(datetime.fromisoformat(min(times)))}"
    yield f"Subject: {_header(transcript.title)}"
    yield f"X-RSMF-Version: {VERSION}"
    yield f"X-RSMF-Generator: {_header(transcript.account.software)}"
    yield f"X-RSMF-BeginDate: {min(times)}"
    yield f"X-RSMF-EndDate: {max(times)}"
    yield f"X-RSMF-EventCount: {len(events)}"
    yield f'Content-Type: multipart/mixed; boundary="{BOUNDARY}"'
    yield ""
    yield f"--{BOUNDARY}"
    yield "Content-Type: text/plain; charset=utf-8"
    yield "Content-Transfer-Encoding: base64"
    yield ""


ATTACHMENT = (
    "",
    f"--{BOUNDARY}",
    'Content-Type: application/zip; name="rsmf.zip"',
    "Content-Transfer-Encoding: base64",
    'Content-Disposition: attachment; filename="rsmf.zip"',
    "",
)


def _readable(lines: list[Line]) -> Iterator[str]:
    """The text that review programs search, an entry a line."""
    for line in lines:
        said = " ".join([_body(line), *(f"[{file['name']}]" for file in record.files(line))])
        yield f"{line['number']} {line['time'] or 'time unknown'} {line['sender']['name']}: {said}".rstrip()


def _header(text: str) -> str:
    """Text as it may stand in a header: on one line, whatever is in it."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return Header(printable, "utf-8", maxlinelen=70).encode(linesep="\r\n")


def _encode(content: bytes, out: BinaryIO) -> None:
    out.write(base64.encodebytes(content).replace(b"\n", b"\r\n"))
