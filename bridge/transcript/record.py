"""The record: `messages.jsonl`, an entry a line, and what can be said about a line without reading it.

Lines are UTF-8, end with a line feed and hold no other. The same entries make the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bridge.transcript.events import iso
from bridge.transcript.model import Entry, File, Person, Reference

NAME = "messages.jsonl"

DIGEST_LETTERS = 16
"""64 bits of a line's SHA-256: enough to name the line that changed; the whole file's hash proves that one did."""

Line = dict[str, Any]
"""An entry as it stands in the record."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_encode_escaped = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def line(entry: Entry) -> Line:
    """The entry as a JSON object: the fields that every entry has, and those others that this one has."""
    whole: Line = {
        "number": entry.number,
        "event_id": entry.event_id,
        "kind": entry.kind,
        "time": iso(entry.time),
        "sender": _person(entry.sender),
        "text": entry.text,
        "reply_to": _reference(entry.reply_to) if entry.reply_to else None,
        "file": _file(entry.file) if entry.file else None,
    }
    # One by one, for this is done with every entry of every export.
    if entry.html is not None:
        whole["html"] = entry.html
    if entry.thread is not None:
        whole["thread"] = _reference(entry.thread)
    if entry.target is not None:
        whole["target"] = _reference(entry.target)
    if entry.member is not None:
        whole["member"] = _person(entry.member)
    if entry.reason is not None:
        whole["reason"] = entry.reason
    if entry.reaction is not None:
        whole["reaction"] = entry.reaction
    if entry.content is not None:
        whole["content"] = entry.content
    return whole


def encoded(whole: Line) -> bytes:
    """A line's bytes; text that is no Unicode (a lone surrogate) is written as JSON escapes."""
    try:
        return _encode(whole).encode() + b"\n"
    except UnicodeEncodeError:
        return _encode_escaped(whole).encode() + b"\n"


def write(entries: Iterable[Entry], out: BinaryIO) -> None:
    """Write the record."""
    out.writelines(encoded(line(entry)) for entry in entries)


def lines(path: Path) -> Iterator[Line]:
    """Read the record back, a line at a time."""
    with path.open("rb") as record:
        for raw in record:
            yield loads(raw)


def loads(raw: bytes) -> Line:
    """One line of the record."""
    whole: Line = json.loads(raw)
    return whole


def digests(path: Path) -> Iterator[str]:
    """A short digest of every line, in order."""
    with path.open("rb") as record:
        for raw in record:
            yield hashlib.sha256(raw).hexdigest()[:DIGEST_LETTERS]


def _person(person: Person | None) -> Line | None:
    if person is None:
        return None
    return {"matrix": person.matrix, "name": person.name, "role": person.role, "organisation": person.organisation}


def _reference(reference: Reference | None) -> Line | None:
    return {"number": reference.number, "event_id": reference.event_id} if reference else None


def _file(file: File | None) -> Line | None:
    if file is None:
        return None
    whole: Line = {
        "name": file.name,
        "path": file.path,
        "size": file.size,
        "sha256": file.sha256,
        "mimetype": file.mimetype,
    }
    return {**whole, "missing": file.missing} if file.missing else whole
