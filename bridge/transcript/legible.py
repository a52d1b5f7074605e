"""Text as it may stand on a page: every character drawn, or shown as `[U+202E]` where that cannot or must not be.

A page of evidence must not be turned around by an override, hide anything behind a control character, or fail as a
whole because one character has no glyph (PDF/A, ISO 19005-3, 6.2.11.8). What was written stays as it was in the
record; this is about the page alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

LONGEST_WORD = 40
"""Letters of a word that is left alone: as many of the widest letter still fit on a line."""

PIECE = 10
"""Letters after which a longer word may be broken, so that none runs off the page or out of its column."""

LETTERS_OF_A_LINE = 45
"""The widest letters that fit on a line of several columns, all together."""

MOST_MARKS = 6
"""Marks above and below one letter; more would be drawn over the neighbouring lines."""

BREAK = "\u200b"

_LINE_ENDS = re.compile("\r\n|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")
_STEERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_MARK_RANGES = ((0x300, 0x370), (0x483, 0x48A), (0x1AB0, 0x1B00), (0x1DC0, 0x1E00), (0x20D0, 0x2100), (0xFE20, 0xFE30))
_MARK_SET = frozenset(chr(code) for start, end in _MARK_RANGES for code in range(start, end))
_MARKS = "".join(f"{chr(start)}-{chr(end - 1)}" for start, end in _MARK_RANGES)
_TOO_MANY_MARKS = re.compile(f"([{_MARKS}]{{{MOST_MARKS}}})([{_MARKS}]+)")
# Scripts that are broken anywhere need no help, and a break inside would spoil searching.
_BREAKS_ITSELF = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff"
    "\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
)
_ESCAPE = r"\[U\+[0-9A-F]{4,6}\]"


class _Breaks(NamedTuple):
    """How long words are broken."""

    long: re.Pattern[str]
    piece: re.Pattern[str]

    def __call__(self, text: str) -> str:
        return self.long.sub(lambda found: BREAK.join(self.piece.findall(found[0])), text)


@cache
def _breaks(longest: int) -> _Breaks:
    """Breaks in words longer than that, none of them inside of what stands for a character."""
    # Nothing possessive here: Pythons before 3.11.5 go wrong where such a piece holds what backtracks (gh-106052).
    piece = rf"{_ESCAPE}|(?:(?!{_ESCAPE}).){{1,{min(PIECE, longest)}}}"
    return _Breaks(re.compile(rf"[^\s{BREAK}{_BREAKS_ITSELF}]{{{longest + 1},}}"), re.compile(piece, re.DOTALL))


# Joiners that scripts need, marks of direction that change nothing but neighbours, soft hyphens and breaks.
_INVISIBLE_BUT_MEANT = frozenset("\u00ad\u034f\u061c\u200b\u200c\u200d\u200e\u200f\u2060")
_VARIATIONS = frozenset(map(chr, (*range(0x180B, 0x180E), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
_NEVER = frozenset({"Cc", "Cs", "Co", "Cn"})
# All other formatting characters are shown, above all those that turn text around: U+202A to U+202E and the isolates
# (Unicode Technical Report 36, bidirectional text spoofing), but for the few that are seen: the Arabic number sign, ...
_SEEN_THOUGH_FORMATTING = range(0x0600, 0x08E3)


def escaped(character: str) -> str:
    """How a character that cannot be drawn is shown."""
    return f"[U+{ord(character):04X}]"


def harmless(text: str) -> str:
    """The text as it stands in a sentence for a terminal or a message: nothing in it steers those."""
    return text if text.isprintable() else _STEERS.sub(lambda found: escaped(found[0]), text)


def broken(text: str, columns: int) -> str:
    """Legible text for one of so many columns."""
    return _breaks(LETTERS_OF_A_LINE // columns)(text)


class Legible:
    """Makes text legible with given fonts, and knows which characters it let through."""

    def __init__(self, draws: Callable[[str], bool]) -> None:
        self._draws = draws
        self._replaced: dict[int, str] = {}
        self._replaceable: set[str] = set()
        self.characters: set[str] = set()
        """Every character seen so far, as it was written."""
        self._lines: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """The text with line feeds as its only controls, nothing invisible and no word too long for a line."""
        if text.isascii() and text.isprintable() and len(text) <= LONGEST_WORD:
            return text
        text = _LINE_ENDS.sub("\n", text)
        seen = set(text)
        self._learn(seen - self.characters)
        if not seen.isdisjoint(self._replaceable):
            text = text.translate(self._replaced)
        if not seen.isdisjoint(_MARK_SET):
            text = _TOO_MANY_MARKS.sub(_mark_by_mark, text)
        return _breaks(LONGEST_WORD)(text) if len(text) > LONGEST_WORD else text

    def line(self, text: str) -> str:
        """The same on one line. Names come again and again, so that what was asked before is remembered."""
        if text not in self._lines:
            self._lines[text] = self(text).replace("\n", " ")
        return self._lines[text]

    def drawn(self) -> set[str]:
        """The characters that fonts have to draw: those seen and not replaced, and printable ASCII."""
        return (self.characters - self._replaceable) | {"a"}

    def _learn(self, characters: set[str]) -> None:
        self.characters |= characters
        for character in characters:
            shown = self._shown(character)
            if shown != character:
                self._replace(character, shown)

    def _replace(self, character: str, shown: str) -> None:
        self._replaced[ord(character)] = shown
        self._replaceable.add(character)

    def _shown(self, character: str) -> str:
        if character == "\n" or character in _INVISIBLE_BUT_MEANT:
            return character
        category = unicodedata.category(character)
        if character == "\t" or category == "Zs":
            return character if category == "Zs" and self._draws(character) else " "
        if category in _NEVER or (category == "Cf" and ord(character) not in _SEEN_THOUGH_FORMATTING):
            return escaped(character)
        if self._draws(character):
            return character
        return "" if character in _VARIATIONS else escaped(character)


def _mark_by_mark(found: re.Match[str]) -> str:
    return found[1] + "".join(map(escaped, found[2]))
