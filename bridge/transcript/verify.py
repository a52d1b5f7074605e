"""Checking an export without any server: who signed it, and which file and entry is not as it was signed.

What is checked was made by somebody else: no name in it is followed anywhere, nothing is unpacked, and sizes that a
zip claims are not believed. While every file's hash is right nothing else needs to be read; only where one is wrong are
its entries or members compared, to name those that were changed, added, removed or reordered.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

from bridge.transcript import bundle, record, signature
from bridge.transcript.bundle import MANIFEST, MEDIA, SIGNATURE

LARGEST_MANIFEST = 256 << 20
"""Bytes; a manifest of a million entries has some 20 MiB."""

LONGEST_LINE = 8 << 20
"""Bytes; an event of 64 KiB makes a line of some 400 KiB at most. Longer ones are read as several lines."""

MOST_ADDED = 100_000
"""Lines more than were signed after which reading ends."""

PIECE = 1 << 20


@dataclass(frozen=True)
class Verification:
    """What a check found."""

    signer: str | None
    """The public key that signed the manifest, if its signature is good."""
    problems: tuple[str, ...]
    """What is not as it was signed, a sentence each with file and entry."""
    missing: tuple[str, ...] = ()
    """What the manifest itself says was not to be had when the export was made."""

    @property
    def good(self) -> bool:
        """Whether everything is as it was signed."""
        return self.signer is not None and not self.problems


class NotAnExport(Exception):
    """There is nothing to check; the text says what was looked for."""


class Place(Protocol):
    """Where the files of an export are: a folder or a zip."""

    def names(self) -> list[str]:
        """Every file, twice where a zip has it twice."""

    def open(self, name: str) -> IO[bytes]:
        """A file's bytes."""


class Folder:
    """An export in a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        return sorted(path.relative_to(self._path).as_posix() for path in self._path.rglob("*") if not _is_folder(path))

    def open(self, name: str) -> IO[bytes]:
        path = self._path / name
        if path.is_symlink() or not path.is_file():
            raise OSError("it is no ordinary file")
        return path.open("rb")


class Zip:
    """An export in one zip."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def names(self) -> list[str]:
        return self._archive.namelist()

    def open(self, name: str) -> IO[bytes]:
        return self._archive.open(name)


BROKEN = (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What reading a damaged or strange file raises."""


def verify(export: Path, key: str | None = None) -> Verification:
    """Check the export in a folder or zip; with `key` it has to be signed by that one.

    Raises `NotAnExport` where there is no manifest, and `signature.WrongKey` where `key` is no key.
    """
    wanted = signature.public_text(signature.public_key(key)) if key is not None else None
    with _opened(export) as place:
        return _Check(place, export.name).result(wanted)


@contextmanager
def _opened(export: Path) -> Iterator[Place]:
    if export.is_dir():
        yield Folder(export)
        return
    try:
        with zipfile.ZipFile(export) as archive:
            yield Zip(archive)
    except (FileNotFoundError, zipfile.BadZipFile) as wrong:
        in_parts = ". It is a part of one: join the parts in their order first" if export.suffix[1:].isdigit() else ""
        raise NotAnExport(f"{export} is neither a folder nor a zip: {wrong}{in_parts}") from wrong


class _Check:
    """One run over one export."""

    def __init__(self, place: Place, called: str) -> None:
        self._place = place
        self._called = called
        self._problems: list[str] = []

    def result(self, wanted: str | None) -> Verification:
        content = self._read(MANIFEST)
        signed_by = self._signer(content, wanted)
        manifest = _parsed(content)
        if manifest is None:
            return Verification(signed_by, (*self._problems, f"{MANIFEST}: it is no manifest of an export."))
        self._compare_names(manifest)
        for file in manifest["files"]:
            self._compare(file, manifest)
        missing = manifest.get("missing")
        told = tuple(_shown(str(one)) for one in missing) if isinstance(missing, list) else ()
        return Verification(signed_by, tuple(self._problems), told)

    def _read(self, name: str) -> bytes:
        if name not in self._place.names():
            raise NotAnExport(f"{self._called} holds no {name}, so that it is no export or not a whole one")
        try:
            with self._place.open(name) as file:
                content = file.read(LARGEST_MANIFEST + 1)
        except BROKEN as wrong:
            raise NotAnExport(f"the {name} of {self._called} cannot be read ({wrong})") from wrong
        if len(content) > LARGEST_MANIFEST:
            raise NotAnExport(f"the {name} of {self._called} is larger than any manifest can be")
        return content

    def _signer(self, content: bytes, wanted: str | None) -> str | None:
        if SIGNATURE not in self._place.names():
            self._problems.append(f"{SIGNATURE}: it is missing, so that nobody vouches for this export.")
            return None
        try:
            signed_by = signature.public_text(signature.signer(content, self._read(SIGNATURE)))
        except signature.WrongSignature as wrong:
            self._problems.append(f"{SIGNATURE}: {wrong}.")
            return None
        if wanted not in (None, signed_by):
            self._problems.append(f"{SIGNATURE}: the export is signed by {signed_by}, not by {wanted}.")
        return signed_by

    def _compare_names(self, manifest: Any) -> None:
        listed = {file["name"] for file in manifest["files"]} | {MANIFEST, SIGNATURE}
        names = Counter(self._place.names())
        for name in sorted(names.keys() - listed):
            self._problems.append(f"{_shown(name)}: it was added; the manifest does not list it.")
        for name in sorted(name for name, times in names.items() if times > 1):
            self._problems.append(f"{_shown(name)}: it is there twice.")

    def _compare(self, file: dict[str, Any], manifest: Any) -> None:
        name = file["name"]
        if name not in self._place.names():
            self._problems.append(f"{_shown(name)}: it was removed.")
            return
        try:
            with self._place.open(name) as opened:
                if _digest(opened, file["size"]) == file["sha256"]:
                    return
            found = list(self._differences(name, manifest))
        except BROKEN as wrong:
            found = [f"it cannot be read ({wrong})"]
        self._problems += [f"{_shown(name)}: {difference}." for difference in found or ["it was changed"]]

    def _differences(self, name: str, manifest: Any) -> Iterator[str]:
        if name == record.NAME:
            first = manifest["chat"].get("first") or 1
            with self._place.open(name) as lines:
                signed = str(manifest["entries"]).split()
                yield from _entries_changed(signed, _lines(lines, len(signed) + MOST_ADDED), first)
        elif name == MEDIA:
            with self._place.open(name) as opened, zipfile.ZipFile(opened) as archive:
                yield from _members_changed(manifest["media"], archive)


def _parsed(content: bytes) -> Any:
    """The manifest, if it has the shape of one."""
    try:
        manifest = json.loads(content)
        fits = manifest["format"] == bundle.FORMAT and "entries" in manifest
        fits = fits and isinstance(manifest["chat"].get("first"), int | None)
        for stored in (*manifest["files"], *manifest["media"]):
            fits = fits and isinstance(stored["name"], str) and isinstance(stored["sha256"], str)
            fits = fits and isinstance(stored["size"], int)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return manifest if fits else None


def _digest(file: IO[bytes], size: int) -> str:
    """The SHA-256 of a file; reading ends soon after the size it should have, whatever a zip unpacks to."""
    digest, read = hashlib.sha256(), 0
    while read <= size and (piece := file.read(PIECE)):
        read += len(piece)
        digest.update(piece)
    return digest.hexdigest()


def _lines(file: IO[bytes], most: int) -> Iterator[bytes]:
    """The lines of a file that anybody may have written, without believing in their length or number."""
    return islice(iter(partial(file.readline, LONGEST_LINE), b""), most)


def _shown(name: str) -> str:
    """A name that a stranger chose, harmless to a terminal."""
    return name if name.isprintable() else ascii(name)


def _entries_changed(signed: Sequence[str], lines: Iterable[bytes], first: int) -> Iterator[str]:
    """Which entries are not as they were signed; a signed entry is named by its number, one found by its line."""
    found: list[str] = []
    numbers: list[Any] = []
    for line in lines:
        found.append(hashlib.sha256(line).hexdigest()[: record.DIGEST_LETTERS])
        numbers.append(_number(line))
    places = {digest: place for place, digest in enumerate(signed)}
    present = set(found)
    for before, after in _gaps(_unmoved(places, found), len(signed), len(found)):
        gone = [place for place in before if signed[place] not in present]
        new = [place for place in after if found[place] not in places]
        changed = min(len(gone), len(new))
        yield from (f"entry {numbers[place]} (line {place + 1}) was changed" for place in new[:changed])
        yield from (f"entry {first + place} (line {place + 1} as signed) was removed" for place in gone[changed:])
        yield from (f"entry {numbers[place]} (line {place + 1}) was added" for place in new[changed:])
        yield from _moved(places, found, after, numbers)


def _moved(places: dict[str, int], found: Sequence[str], after: range, numbers: Sequence[Any]) -> Iterator[str]:
    for place in after:
        if (signed := places.get(found[place])) is not None:
            yield f"entry {numbers[place]} was moved or repeated: it is line {place + 1} and was line {signed + 1}"


def _unmoved(places: dict[str, int], found: Sequence[str]) -> list[tuple[int, int]]:
    """The longest row of (signed place, found place) that keeps its order: everything else moved (patience sorting)."""
    pairs = [(places[digest], place) for place, digest in enumerate(found) if digest in places]
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, (signed, _) in enumerate(pairs):
        length = bisect_left(tails, signed)
        tails[length : length + 1] = [signed]
        ends[length : length + 1] = [index]
        before.append(ends[length - 1] if length else -1)
    row, index = [], ends[-1] if ends else -1
    while index >= 0:
        row.append(pairs[index])
        index = before[index]
    return row[::-1]


def _gaps(row: Sequence[tuple[int, int]], signed: int, found: int) -> Iterator[tuple[range, range]]:
    """What lies between the unmoved entries, in what was signed and in what was found."""
    start_signed = start_found = 0
    for end_signed, end_found in (*row, (signed, found)):
        if end_signed > start_signed or end_found > start_found:
            yield range(start_signed, end_signed), range(start_found, end_found)
        start_signed, start_found = end_signed + 1, end_found + 1


def _number(line: bytes) -> Any:
    """The number that a line claims to have."""
    try:
        return int(json.loads(line)["number"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return "without a number"


def _members_changed(signed: Sequence[dict[str, Any]], archive: zipfile.ZipFile) -> Iterator[str]:
    """Which files of the media zip are not as they were signed."""
    listed = {member["name"]: member for member in signed}
    names = Counter(archive.namelist())
    yield from (f"the file {_shown(name)} was removed from it" for name in listed if name not in names)
    yield from (f"the file {_shown(name)} was added to it" for name in names if name not in listed)
    yield from (f"the file {_shown(name)} is in it twice" for name in listed if names[name] > 1)
    for name, member in listed.items():
        if name in names:
            try:
                with archive.open(name) as opened:
                    same = _digest(opened, member["size"]) == member["sha256"]
            except BROKEN as wrong:
                yield f"the file {_shown(name)} in it cannot be read ({wrong})"
            else:
                if not same:
                    yield f"the file {_shown(name)} in it was changed"
    if archive.namelist() != list(listed) and sorted(archive.namelist()) == sorted(listed):
        yield "its files were reordered"


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
