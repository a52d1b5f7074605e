"""Fonts for every script, found without a network: a configured folder first, then the system's, then PyPI packages.

No font file belongs to the project. A PDF/A must draw every character it holds, so that what can be drawn is asked
before a page is made: the answer is in a font's `cmap` table (OpenType, cmap), read here as ranges.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import NamedTuple

SYSTEM_FOLDERS = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path.home() / ".local/share/fonts",
    Path("/Library/Fonts"),
    Path("/System/Library/Fonts"),
    Path("C:/Windows/Fonts"),
)

PACKAGES = ("fontpkg_noto_sans", "justmytype_intl_rtl", "justmytype_intl_south_asia", "noto_cjk_sans_otc")

ORDER = (
    "NotoSans",
    # Naskh draws an Arabic letter as one glyph, so that a search for a word succeeds; the Sans fills its gaps.
    "NotoNaskhArabic",
    "NotoSansArabic",
    "NotoSansHebrew",
    "NotoSansDevanagari",
    "NotoColorEmoji",
    "NotoSansCJK",
    "NotoSansSymbols",
    "NotoSansSymbols2",
    "NotoSansMath",
)
"""Families in the order in which a character is looked for; others named NotoSans* come after these."""

_ENDING = r"(?:-(?P<style>\w+))?(?:\[.*\])?\.(?:ttf|otf|ttc)"
_FILE = re.compile(rf"(?P<family>Noto(?:Sans|NaskhArabic|ColorEmoji)\w*?){_ENDING}", re.IGNORECASE)
_ANY_FILE = re.compile(rf"(?P<family>[^-\[]+){_ENDING}", re.IGNORECASE)
_STYLES = frozenset({None, "Regular", "Bold", "Italic", "BoldItalic"})
_NOT_WANTED = re.compile(r"UI$|Mono|Display|SansSerif")

_BROKEN = (struct.error, OSError, ValueError, IndexError, OverflowError)


class FontsMissing(Exception):
    """No font for Latin letters was found anywhere; the text says where one was looked for."""


class Family(NamedTuple):
    """The files of one typeface: the upright one first, then bold and italic as far as there are any."""

    name: str
    files: tuple[Path, ...]

    def draws(self, character: str) -> bool:
        """Whether its upright file has a glyph for the character."""
        starts, ends = _coverage(self.files[0])
        place = bisect_right(starts, ord(character)) - 1
        return place >= 0 and ord(character) <= ends[place]


class Fonts:
    """The families there are, in order of preference."""

    def __init__(self, families: Iterable[Family]) -> None:
        self.families = tuple(families)
        self._found: dict[str, Family | None] = {}

    def family_for(self, character: str) -> Family | None:
        """The first family that draws the character; none if it cannot be drawn."""
        if character not in self._found:
            self._found[character] = next((family for family in self.families if family.draws(character)), None)
        return self._found[character]

    def draws(self, character: str) -> bool:
        """Whether any family draws the character."""
        return self.family_for(character) is not None

    def needed(self, characters: Iterable[str]) -> tuple[Family, ...]:
        """The first family, and those others that these characters need, in order."""
        wanted = {self.families[0], *filter(None, map(self.family_for, characters))}
        return tuple(family for family in self.families if family in wanted)


def find(folder: Path | None = None, *, system: bool = True) -> Fonts:
    """All usable fonts: every font file of `folder`, then what the system has, then what came from PyPI.

    Raises `FontsMissing` when not even Latin letters can be drawn.
    """
    families: dict[str, Family] = {}
    for own, place in _places(folder, system):
        for family in _families_in(place, _ANY_FILE if own else _FILE):
            families.setdefault(family.name, family)
    fonts = Fonts(sorted(families.values(), key=lambda family: _rank(family, folder)))
    if not fonts.families or not fonts.draws("a"):
        looked = ", ".join(str(place) for _, place in _places(folder, system)) or "no folder that exists"
        raise FontsMissing(
            f"No font for Latin letters was found (looked in {looked}):"
            " install qwil with the extra `export`, or the system's Noto Sans, or name a folder with fonts."
        )
    return fonts


def _places(folder: Path | None, system: bool) -> Iterator[tuple[bool, Path]]:
    if folder is not None:
        yield True, folder
    if system:
        yield from ((False, place) for place in SYSTEM_FOLDERS if place.is_dir())
    for package in PACKAGES:
        spec = find_spec(package)
        yield from ((False, Path(place)) for place in (spec.submodule_search_locations or () if spec else ()))


def _families_in(folder: Path, named: re.Pattern[str]) -> list[Family]:
    files: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.rglob("*")):
        matched = named.fullmatch(path.name)
        if matched and matched["style"] in _STYLES and not _NOT_WANTED.search(matched["family"]):
            files.setdefault(matched["family"], {})[matched["style"] or "Regular"] = path
    return [
        Family(name, (styles.pop("Regular"), *(path for _, path in sorted(styles.items()))))
        for name, styles in files.items()
        if "Regular" in styles
    ]


def _rank(family: Family, configured: Path | None) -> tuple[int, str]:
    """The place of a family: as in `ORDER`, and in front where an operator chose one that is not in it."""
    name = family.name
    if name not in ORDER and configured is not None and configured in family.files[0].parents:
        # Emoji fonts draw digits, too, and must never be asked for them first.
        return (ORDER.index("NotoColorEmoji") if "moji" in name.lower() else -1), name
    return (ORDER.index(name) if name in ORDER else len(ORDER)), name


@cache
def _coverage(path: Path) -> tuple[list[int], list[int]]:
    """Where the ranges of characters that a font file draws start and end; a broken file draws nothing."""
    try:
        # A font for Chinese has sixteen megabytes, of which this is one part in a thousand.
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as font:
            ranges = sorted(_ranges(font))
    except _BROKEN:
        return [], []
    return [start for start, _ in ranges], [end for _, end in ranges]


def _ranges(font: mmap) -> Iterator[tuple[int, int]]:
    """The ranges of the best subtable for Unicode: format 12 if there is one, else format 4."""
    start = struct.unpack_from(">I", font, 12)[0] if font[:4] == b"ttcf" else 0
    tables = struct.unpack_from(">H", font, start + 4)[0]
    records = (struct.unpack_from(">4sIII", font, start + 12 + 16 * place) for place in range(tables))
    cmap: int | None = next((offset for tag, _, offset, _ in records if tag == b"cmap"), None)
    if cmap is None:
        return
    count = struct.unpack_from(">H", font, cmap + 2)[0]
    offsets = {cmap + struct.unpack_from(">HHI", font, cmap + 4 + 8 * place)[2] for place in range(count)}
    formats = {struct.unpack_from(">H", font, offset)[0]: offset for offset in sorted(offsets)}
    if 12 in formats:
        yield from _segmented(font, formats[12])
    elif 4 in formats:
        yield from _two_byte(font, formats[4])


def _segmented(font: mmap, offset: int) -> Iterator[tuple[int, int]]:
    """Format 12: groups of (first, last, glyph of the first)."""
    groups = struct.unpack_from(">I", font, offset + 12)[0]
    begin = offset + 16
    numbers = array("I", font[begin : begin + 12 * groups])
    if sys.byteorder == "little":
        numbers.byteswap()
    firsts, lasts, glyphs = numbers[0::3], numbers[1::3], numbers[2::3]
    if 0 in glyphs:
        firsts = array("I", (first + (glyph == 0) for first, glyph in zip(firsts, glyphs, strict=True)))
    return zip(firsts, lasts, strict=True)


def _two_byte(font: mmap, offset: int) -> Iterator[tuple[int, int]]:
    """Format 4: segments of the basic plane, some with a glyph array in which 0 is no glyph."""
    half = struct.unpack_from(">H", font, offset + 6)[0]
    layout = f">{half // 2}H"
    ends = struct.unpack_from(layout, font, offset + 14)
    starts = struct.unpack_from(layout, font, offset + 16 + half)
    deltas = struct.unpack_from(layout, font, offset + 16 + 2 * half)
    into = struct.unpack_from(layout, font, offset + 16 + 3 * half)
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if start == 0xFFFF:
            continue
        if into[place]:
            glyphs = offset + 16 + 3 * half + 2 * place + into[place]
            drawn = struct.unpack_from(f">{end - start + 1}H", font, glyphs)
            yield from ((code, code) for code, glyph in enumerate(drawn, start) if glyph)
        else:
            # The one code of the segment that comes to glyph 0, if it is in it.
            none = -deltas[place] & 0xFFFF
            yield from ((start, end),) if not start <= none <= end else ((start, none - 1), (none + 1, end))
