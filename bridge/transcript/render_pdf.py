"""The record as PDF volumes: each drawn by a process of its own under a time limit, kept, and used again.

A volume that cannot be drawn as it is costs as little as possible: characters that turn out to have no glyph are
shown by their numbers, an entry that stops the drawing is replaced by a sentence, and a volume that is no PDF/A for
another reason becomes a plain PDF; the latter two are lines in the completeness list.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bridge.transcript import draw, record
from bridge.transcript.fonts import Family, Fonts
from bridge.transcript.legible import Legible, escaped
from bridge.transcript.model import Transcript
from bridge.transcript.pages import ENTRIES, Cut, Page, Pages, cuts

PDF_A = ("a-3b",)
"""PDF/A-3b, tagged: A-3a and UA-1 make typst write text in a way that some readers cannot search."""

PLAIN = ("1.7",)

DRAWING = "drawing-"
"""How the folders of drawing processes begin."""

TIME_LIMIT = 300.0
"""Seconds for one volume; it takes two or three."""

MOST_TRIES = 12
"""How often one volume is drawn anew with other characters shown by their numbers."""

Progress = Callable[[int, int], None]
"""Called with (volumes done, volumes in all)."""

_UNDRAWABLE = re.compile(r"the text `\"(?P<text>.*?)\"` could not be displayed", re.DOTALL)
_BY_NUMBER = re.compile(r"\\u\{([0-9a-f]+)\}")


class DrawingFailed(Exception):
    """A volume could not be drawn; the text is what the engine said."""


@dataclass(frozen=True)
class Drawn:
    """The volumes in order, and what could not be drawn in them, a sentence each."""

    volumes: tuple[Path, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """Everything one volume is drawn from."""

    page: Page
    attached: bytes
    """The volume's lines of the record."""
    families: tuple[Family, ...]
    timestamp: int
    standards: tuple[str, ...] = PDF_A


class Press:
    """Draws volumes in a work folder that holds the record, the thumbnails and the volumes drawn before."""

    def __init__(
        self, folder: Path, fonts: Fonts, *, workers: int = 2, time_limit: float = TIME_LIMIT, entries: int = ENTRIES
    ) -> None:
        self._folder = folder
        self._fonts = fonts
        self._workers = workers
        self._time_limit = time_limit
        self._entries = entries
        self._volumes = folder / "volumes"
        self._volumes.mkdir(exist_ok=True)
        for left_by_a_kill in folder.glob(f"{DRAWING}*"):
            shutil.rmtree(left_by_a_kill)

    def draw(self, transcript: Transcript, *, progress: Progress | None = None) -> Drawn:
        """All volumes; those drawn before from the same input are kept. Raises `DrawingFailed` when even a plain
        PDF without the entries that stop it cannot be made.
        """
        total = len(self._places())
        done: list[tuple[Path, tuple[str, ...]]] = []
        with ThreadPoolExecutor(self._workers) as pool:
            for drawn in _a_few_ahead(pool, self._printed, self.sheets(transcript), ahead=self._workers):
                done.append(drawn)
                if progress:
                    progress(len(done), total)
        return Drawn(tuple(path for path, _ in done), tuple(problem for _, problems in done for problem in problems))

    def sheets(self, transcript: Transcript) -> Iterator[Sheet]:
        """What each volume is drawn from, in order."""
        places = self._places()
        pages = Pages(transcript, self._folder)
        with (self._folder / record.NAME).open("rb") as lines:
            for place, cut in enumerate(places, 1):
                attached = lines.read(cut.length)
                legible = Legible(self._fonts.draws)
                entries = map(record.loads, attached.splitlines())
                page = pages.volume(entries, legible, place=place, of=len(places))
                yield Sheet(page, attached, self._fonts.needed(legible.drawn()), transcript.account.made // 1000)

    def _places(self) -> list[Cut]:
        return list(cuts(self._folder / record.NAME, entries=self._entries))

    def _printed(self, sheet: Sheet) -> tuple[Path, tuple[str, ...]]:
        """The volume of a sheet, drawn now or before, and its problems."""
        text = _text(sheet)
        name = self._fingerprint(sheet, text)
        path, told = self._volumes / f"{name}.pdf", self._volumes / f"{name}.json"
        if not told.exists():
            pdf, problems = self._as_well_as_possible(sheet, text)
            _write(path, pdf)
            _write(told, json.dumps(problems).encode())
        return path, tuple(json.loads(told.read_bytes()))

    def _as_well_as_possible(self, sheet: Sheet, text: str) -> tuple[bytes, list[str]]:
        try:
            return self._drawn(sheet, text), []
        except DrawingFailed as failed:
            first = str(failed)
        sheet, problems = self._without_what_stops_it(sheet)
        try:
            return self._drawn(sheet), problems
        except DrawingFailed:
            which = sheet.page["volume"]
            problems.append(f"Volume {which} is a plain PDF, not a PDF/A, because the drawing failed: {first}")
            return self._drawn(replace(sheet, standards=PLAIN)), problems

    def _drawn(self, sheet: Sheet, text: str | None = None) -> bytes:
        """The PDF; characters without a glyph are shown by their numbers in another try.

        `text` is the sheet's page as JSON, where that is known already.
        """
        text = text or _text(sheet)
        for _ in range(MOST_TRIES):
            try:
                return self._drawn_once(sheet, text)
            except DrawingFailed as failed:
                refused = _refused_characters(str(failed))
                if not refused & set(text):
                    raise
                for character in refused:
                    text = text.replace(character, escaped(character))
        raise DrawingFailed(f"after {MOST_TRIES} tries there were still characters without a glyph")

    def _drawn_once(self, sheet: Sheet, text: str) -> bytes:
        with tempfile.TemporaryDirectory(prefix=DRAWING, dir=self._folder) as name:
            folder = Path(name)
            self.lay_out(sheet, folder, text)
            self._run(folder)
            return (folder / draw.PDF).read_bytes()

    def lay_out(self, sheet: Sheet, folder: Path, text: str | None = None) -> None:
        """Put everything into an empty folder that the drawing process, `draw.py`, reads there.

        `text` is the sheet's page as JSON, where it is not the page's own.
        """
        (folder / "volume.json").write_text(text or _text(sheet), encoding="utf-8")
        shutil.copyfile(draw.TEMPLATE, folder / draw.TEMPLATE.name)
        (folder / record.NAME).write_bytes(sheet.attached)
        seconds = math.ceil(self._time_limit) + 1
        order = {"standards": sheet.standards, "timestamp": sheet.timestamp, "seconds": seconds}
        (folder / "order.json").write_text(json.dumps(order))
        (folder / "fonts").mkdir()
        for place, file in enumerate(file for family in sheet.families for file in family.files):
            (folder / "fonts" / f"{place:03d}-{file.name}").symlink_to(file.resolve())
        (folder / "thumbnails").mkdir()
        for image in _images(sheet.page):
            shutil.copyfile(self._folder / "thumbnails" / image, folder / "thumbnails" / image)

    def _run(self, folder: Path) -> None:
        command = [sys.executable, "-P", draw.__file__, str(folder)]
        try:
            ended = subprocess.run(command, capture_output=True, timeout=self._time_limit, check=False)  # noqa: S603 - our own program
        except subprocess.TimeoutExpired:
            raise DrawingFailed(f"it took longer than {self._time_limit:g} seconds") from None
        if ended.returncode != 0:
            raise DrawingFailed(ended.stderr.decode(errors="replace").strip() or f"it ended with {ended.returncode}")

    def _without_what_stops_it(self, sheet: Sheet) -> tuple[Sheet, list[str]]:
        """The sheet with each entry that alone makes the drawing fail replaced by a sentence."""
        days = sheet.page["days"]
        entries = [(day, place) for day in days for place in range(len(day["entries"]))]
        stopping = self._stopping(sheet, [day["entries"][place] for day, place in entries])
        for day, place in entries:
            if day["entries"][place]["n"] in stopping:
                day["entries"][place] = _instead_of(day["entries"][place])
        return sheet, [f"Message {number} could not be drawn; the record holds it." for number in sorted(stopping)]

    def _stopping(self, sheet: Sheet, entries: list[Page]) -> set[int]:
        """Numbers of the entries that make the drawing fail, found by halving."""
        if not entries or self._can_draw(sheet, entries):
            return set()
        if len(entries) == 1:
            return {entries[0]["n"]}
        half = len(entries) // 2
        return self._stopping(sheet, entries[:half]) | self._stopping(sheet, entries[half:])

    def _can_draw(self, sheet: Sheet, entries: list[Page]) -> bool:
        alone = {key: value for key, value in sheet.page.items() if key != "cover"}
        try:
            self._drawn(replace(sheet, page={**alone, "days": [{"day": "", "entries": entries}]}))
        except DrawingFailed:
            return False
        return True

    def _fingerprint(self, sheet: Sheet, text: str) -> str:
        """A name that changes with anything that changes the PDF."""
        digest = hashlib.sha256(text.encode())
        digest.update(json.dumps([sheet.timestamp, sheet.standards]).encode())
        digest.update(sheet.attached)
        digest.update(draw.TEMPLATE.read_bytes())
        digest.update(version("typst").encode())
        for file in (file for family in sheet.families for file in family.files):
            digest.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
        for image in _images(sheet.page):
            digest.update((self._folder / "thumbnails" / image).read_bytes())
        return digest.hexdigest()


def _text(sheet: Sheet) -> str:
    return json.dumps(sheet.page, ensure_ascii=False)


def _a_few_ahead(
    pool: ThreadPoolExecutor, print_: Callable[[Sheet], Any], sheets: Iterator[Sheet], *, ahead: int
) -> Iterator[Any]:
    """Results in order, with no more than a few sheets made before they are needed."""
    waiting: deque[Future[Any]] = deque()
    for sheet in sheets:
        waiting.append(pool.submit(print_, sheet))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _refused_characters(message: str) -> set[str]:
    """The characters without a glyph that an error of the engine names; printable ASCII is never among them."""
    quoted = (found["text"] for found in _UNDRAWABLE.finditer(message))
    named = (_BY_NUMBER.sub(lambda code: chr(int(code[1], 16)), text) for text in quoted)
    return {character for text in named for character in text if not character.isascii()}


def _images(page: Page) -> list[str]:
    files = (file for day in page["days"] for entry in day["entries"] for file in entry.get("f", ()))
    return sorted({file["image"] for file in files if file.get("image")})


def _instead_of(entry: Page) -> Page:
    kept = {key: entry[key] for key in ("n", "k", "w", "day", "who")}
    return {**kept, "t": f"Message {entry['n']} of {entry['who']} could not be drawn; messages.jsonl holds it."}


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, however the program ends."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
