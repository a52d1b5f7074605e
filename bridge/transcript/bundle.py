"""Everything of an export in one folder: files with their hashes in a manifest, and the manifest signed.

The same files and account make the same bytes: zips bear fixed times and keep their members in order.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from nacl.signing import SigningKey

from bridge.transcript import record, signature
from bridge.transcript.events import iso
from bridge.transcript.model import Account, Transcript

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
MEDIA = "media.zip"
INDEX = "index.csv"
README = "README.txt"
FORMAT = "qwil export 1"

ALWAYS = (1980, 1, 1, 0, 0, 0)
"""The time of every member of a zip: the earliest one that a zip can say."""

PIECE = 1 << 20


class Stored(NamedTuple):
    """A file or a member of a zip, as the manifest names it."""

    name: str
    size: int
    sha256: str


README_TEXT = """\
This is the export of one chat.

{pdf}  the chat, for reading
messages.jsonl    the record: one entry a line, as JSON; this is what counts
media.zip         the shared files, with index.csv
manifest.json     the SHA-256 of every file, what was exported by whom and why, and what is missing
manifest.sig      the signature of manifest.json (Ed25519, with the signer's public key)

To check that nothing was changed, added, removed or reordered, without any server:

    qwil verify FOLDER-OR-ZIP --key KEY

KEY is the public key that the organisation has published. It signed this export with
    {key}

Without qwil: the SHA-256 of each file (sha256sum FILE) has to be the one in manifest.json, there may be no other
file, and the signature in manifest.sig has to be that of the bytes of manifest.json by the published key.

The pages of the PDF are for reading and for finding. To quote, use messages.jsonl, where each text stands exactly as
it was sent; the numbers are the same.
"""


def zip_media(index: Path, media: Path, out: Path, paths: Iterable[str]) -> list[Stored]:
    """Write the media zip, stored and not compressed again, and say what is in it."""
    members: list[Stored] = []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, strict_timestamps=True) as archive:
        members.append(put(archive, INDEX, index))
        members.extend(put(archive, path, media / Path(path).name) for path in paths)
    return members


def pack(folder: Path, out: Path) -> None:
    """The folder of an export as one zip; the same folder makes the same bytes."""
    unfinished = out.with_name(out.name + ".part")
    with zipfile.ZipFile(unfinished, "w") as archive:
        for path in sorted(folder.iterdir()):
            is_text = path.suffix in (".json", ".jsonl", ".txt", ".sig")
            put(archive, path.name, path, zipfile.ZIP_DEFLATED if is_text else zipfile.ZIP_STORED)
    unfinished.replace(out)


def split(path: Path, limit: int) -> list[Path]:
    """The file itself if it has at most `limit` bytes, else its numbered pieces (`export.zip.001`, ...) in its place.

    The pieces joined in order are the file; archive programs open the first piece of a zip and find the others.
    """
    if path.stat().st_size <= limit:
        return [path]
    pieces: list[Path] = []
    with path.open("rb") as whole:
        while whole.peek(1):
            pieces.append(path.with_name(f"{path.name}.{len(pieces) + 1:03d}"))
            _copy(whole, pieces[-1], limit)
    path.unlink()
    return pieces


def _copy(source: BinaryIO, target: Path, size: int) -> None:
    with target.open("wb") as out:
        while size > 0 and (piece := source.read(min(PIECE, size))):
            out.write(piece)
            size -= len(piece)


def write_readme(path: Path, volumes: Sequence[str], key: SigningKey) -> None:
    """Say how to check the export."""
    pdf = volumes[0] if len(volumes) == 1 else f"{volumes[0]} to {volumes[-1]}"
    text = README_TEXT.format(pdf=f"{pdf:<16}", key=signature.public_text(key.verify_key))
    path.write_text(text, encoding="utf-8", newline="\n")


def seal(
    folder: Path, transcript: Transcript, members: Sequence[Stored], problems: Sequence[str], key: SigningKey
) -> None:
    """Write the manifest of everything in the folder, and its signature."""
    files = [_stored(path) for path in sorted(folder.iterdir())]
    manifest = {
        "format": FORMAT,
        "export": _account(transcript.account),
        "chat": _chat(transcript),
        "missing": [*transcript.problems, *problems],
        "left_out": dict(transcript.left_out),
        "files": [file._asdict() for file in files],
        "media": [member._asdict() for member in members],
        # One short digest a line lets a check name the entry that was changed; each line's place is its place here.
        "entries": " ".join(record.digests(folder / record.NAME)),
    }
    content = json.dumps(manifest, ensure_ascii=False, indent=1).encode(errors="backslashreplace") + b"\n"
    (folder / MANIFEST).write_bytes(content)
    (folder / SIGNATURE).write_bytes(signature.sign(content, key))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stored(path: Path) -> Stored:
    return Stored(path.name, path.stat().st_size, sha256_of(path))


def put(archive: zipfile.ZipFile, name: str, path: Path, method: int = zipfile.ZIP_STORED) -> Stored:
    """Add a file to a zip, with nothing in it but its name and its bytes."""
    member = zipfile.ZipInfo(name, ALWAYS)
    member.compress_type = method
    member.external_attr = 0o644 << 16
    member.file_size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as source, archive.open(member, "w") as target:
        while piece := source.read(PIECE):
            digest.update(piece)
            target.write(piece)
    return Stored(name, member.file_size, digest.hexdigest())


def _account(account: Account) -> dict[str, Any]:
    wanted, by = account.range, account.exporter
    return {
        "id": account.export_id,
        "by": {"matrix": by.matrix, "name": by.name, "role": by.role, "organisation": by.organisation},
        "purpose": account.purpose,
        "made": iso(account.made),
        "range": {
            "since": iso(wanted.since),
            "until": iso(wanted.until),
            "last_event": wanted.last_event,
            "only_event": wanted.only_event,
        },
        "timezone": account.timezone,
        "handling": account.handling,
        "software": account.software,
    }


def _chat(transcript: Transcript) -> dict[str, Any]:
    account = transcript.account
    return {
        "room": account.room_id,
        "title": transcript.title,
        "kind": account.kind,
        "organisations": list(account.organisations),
        "entries": transcript.entries,
        "first": transcript.first,
        "last": transcript.last,
        "begins": iso(transcript.begins),
        "ends": iso(transcript.ends),
        "kinds": dict(transcript.by_kind),
    }
