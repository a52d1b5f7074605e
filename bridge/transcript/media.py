"""The shared files of a chat, kept under safe names with their hashes, and thumbnails of the pictures among them.

A file is fetched once and kept in the work folder, so that an export that was killed goes on where it was. Names are
made from the entry's number and the event's id, never from what the sender called the file.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from bridge.transcript import legible
from bridge.transcript.events import iso
from bridge.transcript.images import NoPicture, Thumbnail, thumbnail
from bridge.transcript.model import File, Milliseconds, Person, Received
from bridge.transcript.offers import Offer

Fetch = Callable[[str], Iterable[bytes]]
"""The bytes behind a Matrix content URI, in pieces; raises `MediaMissing` where there are none."""

NONE_KNOWN: Mapping[str, Received] = {}

HEADINGS = ("number", "time", "sender", "name", "size", "sha256", "path", "missing")

EXTENSIONS = {
    "image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp", "image/bmp": "bmp",
    "image/heic": "heic", "image/tiff": "tif", "audio/mpeg": "mp3", "audio/ogg": "ogg", "audio/mp4": "m4a",
    "audio/wav": "wav", "audio/webm": "weba", "audio/aac": "aac", "audio/flac": "flac", "video/mp4": "mp4",
    "video/webm": "webm", "video/quicktime": "mov", "application/pdf": "pdf", "application/zip": "zip",
    "text/plain": "txt", "text/csv": "csv", "text/calendar": "ics", "application/rtf": "rtf",
    "application/msword": "doc", "application/vnd.ms-excel": "xls", "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.oasis.opendocument.text": "odt", "application/vnd.oasis.opendocument.spreadsheet": "ods",
}  # fmt: skip
"""Endings that open in a viewer; everything else ends in `bin`, programs and web pages above all."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_SIGNS = r"[=+\-@%|\uff1d\uff0b\uff0d\uff20]"
"""What begins a formula, in letters of either width."""
_UNSEEN = r'(?:[^\S\t\r\n]|[\x00-\x08\x0b\x0c\x0e-\x1f\u200b-\u200f\u2060\ufeff"])*+'
_STARTS_A_FORMULA = re.compile(rf"{_UNSEEN}{_SIGNS}|[\t\r\n]")
# Where lists are parted by semicolons a spreadsheet ends the cell there, whatever stands in quotation marks.
_FORMULA_INSIDE = re.compile(rf"[;,\t\r\n]{_UNSEEN}(?={_SIGNS})")


class MediaMissing(Exception):
    """A file cannot be had; the text is a sentence that says why."""


class Shelf:
    """Keeps the files of one export in `folder`: `media/`, `thumbnails/` and `index.csv`."""

    def __init__(self, folder: Path, fetch: Fetch, received: Mapping[str, Received] = NONE_KNOWN) -> None:
        self._folder = folder
        self._fetch = fetch
        self._received = received
        self._kept: dict[str, File] = {}
        self._index = (folder / "index.csv").open("w", encoding="utf-8-sig", errors="backslashreplace", newline="")
        self._rows = csv.writer(self._index, lineterminator="\r\n")
        self._rows.writerow(HEADINGS)
        for name in ("media", "thumbnails"):
            (folder / name).mkdir(exist_ok=True)

    def close(self) -> None:
        """Finish the index."""
        self._index.close()

    def keep(self, number: int, sender: Person, time: Milliseconds | None, offer: Offer) -> File:
        """The file of that entry, fetched unless it is here already, or the reason why it is missing."""
        file = self._kept_before(offer) or self._fetched(number, offer)
        self._rows.writerow(harmless(legible.harmless(cell)) for cell in _row(number, sender, time, file))
        return file

    def _kept_before(self, offer: Offer) -> File | None:
        """The same upload shared again is one file."""
        kept = self._kept.get(offer.mxc or "")
        return kept._replace(name=offer.name, mimetype=offer.mimetype) if kept else None

    def _fetched(self, number: int, offer: Offer) -> File:
        file = File(offer.name, offer.mimetype)
        if not offer.mxc or not offer.mxc.startswith("mxc://"):
            return file._replace(missing="The message names no upload on a homeserver.")
        name = safe_name(number, offer)
        path = self._folder / "media" / name
        try:
            self._store(offer.mxc, path)
        except Exception as wrong:  # whatever goes wrong with one file, the others and the export go on
            return file._replace(missing=_reason(wrong) + self._as_received(offer.mxc))
        file = file._replace(path=f"media/{name}", size=path.stat().st_size, sha256=_sha256(path))
        if file.sha256 != self._received.get(offer.mxc, file).sha256:
            file = file._replace(changed=f"It is not the file that was received.{self._as_received(offer.mxc)}")
        self._draw(path, offer)
        self._kept[offer.mxc] = file
        return file

    def _as_received(self, mxc: str) -> str:
        then = self._received.get(mxc)
        return f" When it was received it had {then.size:,} bytes and the SHA-256 {then.sha256}." if then else ""

    def _store(self, mxc: str, path: Path) -> None:
        if path.exists():
            return
        unfinished = path.with_name(path.name + ".part")
        try:
            with unfinished.open("wb") as out:
                out.writelines(self._fetch(mxc))
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _draw(self, path: Path, offer: Offer) -> None:
        """A thumbnail beside a picture; one that cannot be drawn leaves an empty file that says so."""
        small = thumbnail_path(self._folder, path.name)
        if small.exists() or offer.encrypted or not offer.picture:
            return
        try:
            drawn = thumbnail(path)
        except NoPicture:
            drawn = Thumbnail(b"", moves=False)
        if drawn.moves:
            moving_path(small).touch()
        unfinished = small.with_name(small.name + ".part")
        unfinished.write_bytes(drawn.jpeg)
        unfinished.replace(small)


def thumbnail_path(folder: Path, name: str) -> Path:
    """Where the thumbnail of a kept file lies, if it has one; an empty file is a picture that cannot be drawn."""
    return folder / "thumbnails" / f"{name}.jpg"


def moving_path(small: Path) -> Path:
    """What lies beside the thumbnail of a picture that moves."""
    return small.with_name(small.name + ".moves")


def safe_name(number: int, offer: Offer) -> str:
    """A name that is unique in the export and means nothing to any file system or viewer but its ending."""
    letters = _UNSAFE.sub("", offer.event_id)[:60]
    kind = offer.mimetype.partition(";")[0].strip().lower()
    place = f"-{offer.place}" if offer.place else ""
    return f"{number:06d}-{letters}{place}.{EXTENSIONS.get(kind, 'bin')}"


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula, nor any part of it (OWASP, CSV injection)."""
    marked = _FORMULA_INSIDE.sub(r"\g<0>'", cell)
    return f"'{marked}" if _STARTS_A_FORMULA.match(marked) else marked


def _row(number: int, sender: Person, time: Milliseconds | None, file: File) -> tuple[str, ...]:
    size = "" if file.size is None else str(file.size)
    who, doubt = f"{sender.name} ({sender.matrix})", file.missing or file.changed or ""
    return (str(number), iso(time) or "", who, file.name, size, file.sha256 or "", file.path or "", doubt)


def _reason(wrong: Exception) -> str:
    said = str(wrong) or type(wrong).__name__
    return said if isinstance(wrong, MediaMissing) else f"Fetching it failed: {said}."


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
