"""The record: `messages.jsonl`, an entry a line, and what can be said about a line without reading it.

Lines are UTF-8, end with a line feed and hold no other. The same entries make the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from json.encoder import encode_basestring as _quoted
from pathlib import Path
from typing import Any, BinaryIO

from bridge.transcript.events import iso
from bridge.transcript.model import Entry, File, Person, Reference

NAME = "messages.jsonl"

DIGEST_LETTERS = 16
"""64 bits of a line's SHA-256: enough to name the line that changed; the whole file's hash proves that one did."""

Line = dict[str, Any]
"""An entry as it stands in the record."""

PEOPLE_KEPT = 1024
"""People whose piece of a line is kept for their next one; a chat has some hundred at most, with all their names."""

_decode = json.JSONDecoder().raw_decode
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_json_escaped = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def encoded(entry: Entry) -> bytes:
    """The entry's line: the fields that every entry has, and those others that this one has.

    Text that is no Unicode (a lone surrogate) is written as JSON escapes.
    """
    whole = _line(entry)
    try:
        return whole.encode()
    except UnicodeEncodeError:
        return f"{_json_escaped(json.loads(whole))}\n".encode()


def write(entries: Iterable[Entry], out: BinaryIO) -> None:
    """Write the record."""
    out.writelines(map(encoded, entries))


def lines(path: Path) -> Iterator[Line]:
    """Read the record back, a line at a time."""
    with path.open("rb") as record:
        for raw in record:
            yield loads(raw)


def loads(raw: bytes) -> Line:
    """One line of the record."""
    whole: Line = _decode(raw.decode())[0]
    return whole


def files(line: Line) -> list[Line]:
    """The files of an entry: the one that was shared, and the pictures in its text."""
    return [*filter(None, [line["file"]]), *line.get("pictures", ())]


def digests(path: Path) -> Iterator[str]:
    """A short digest of every line, in order."""
    with path.open("rb") as record:
        for raw in record:
            yield hashlib.sha256(raw).hexdigest()[:DIGEST_LETTERS]


def _line(entry: Entry) -> str:
    """Put together from its pieces, for this is done with every entry of every export."""
    text = "null" if entry.text is None else _quoted(entry.text)
    time = "null" if entry.time is None else f'"{iso(entry.time)}"'
    reply_to = "null" if entry.reply_to is None else _reference(entry.reply_to)
    file = "null" if entry.file is None else _file(entry.file)
    return (
        f'{{"number":{entry.number},"event_id":{_quoted(entry.event_id)},"kind":"{entry.kind}","time":{time},'
        f'"sender":{_person(entry.sender)},"text":{text},"reply_to":{reply_to},"file":{file}'
        f"{_more(entry) if entry[len(EVERY) :] != NOTHING_MORE else ''}}}\n"
    )


def _more(entry: Entry) -> str:
    """The fields that few entries have, after a comma."""
    pieces = zip(MORE.items(), entry[len(EVERY) :], strict=True)
    return "".join(f',"{name}":{piece(value)}' for (name, piece), value in pieces if value is not None)


@lru_cache(maxsize=PEOPLE_KEPT)
def _person(person: Person) -> str:
    return _json(
        {"matrix": person.matrix, "name": person.name, "role": person.role, "organisation": person.organisation}
    )


def _reference(reference: Reference) -> str:
    number = "null" if reference.number is None else reference.number
    return f'{{"number":{number},"event_id":{_quoted(reference.event_id)}}}'


def _file(file: File) -> str:
    whole: Line = {
        "name": file.name,
        "path": file.path,
        "size": file.size,
        "sha256": file.sha256,
        "mimetype": file.mimetype,
    }
    doubts = {"missing": file.missing, "changed": file.changed}
    return _json(whole | {name: doubt for name, doubt in doubts.items() if doubt})


EVERY = ("number", "event_id", "kind", "time", "sender", "text", "reply_to", "file")
MORE: Mapping[str, Callable[[Any], str]] = {
    "html": _quoted,
    "thread": _reference,
    "target": _reference,
    "member": _person,
    "reason": _quoted,
    "reaction": _quoted,
    "content": _json,
    "pictures": lambda pictures: f"[{','.join(map(_file, pictures))}]",
}
"""The fields of an entry behind those, in their order, and how each is written."""
NOTHING_MORE = (None,) * len(MORE)
