"""Mistakes in a policy: what is wrong, where it stands, and what would have been right.

Places count from 1, lines and columns alike; in a CSV file they are row and column, the headings being row 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import NamedTuple

FEW = 16
"""As many words of a vocabulary are worth listing; of more only the nearest is named."""

SMALL = 500
"""As many words are compared one by one; of more only those that begin or end alike."""

GUESSES = 50
"""So often a parse looks for what was meant: a file that is wrong throughout shall not take minutes to refuse."""


class Place(NamedTuple):
    """Where something stands in a file."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Mistake(NamedTuple):
    """One mistake; as text `policy.yaml:12:7: unknown book "yaer-1" — did you mean "year-1"?`."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


Mistakes = tuple[Mistake, ...]
"""Every mistake of a policy, in the order of the files and, inside one, of the places."""


class Notebook:
    """Collects the mistakes of one parse, of the policy file and of those it names."""

    def __init__(self, policy_file: str) -> None:
        self._policy_file = policy_file
        self._notes: dict[Mistake, None] = {}
        self._guesses = 0

    def add(self, place: Place, text: str) -> None:
        """Take note of a mistake; the same one twice is one."""
        self._notes[Mistake(place, text)] = None

    def unknown(self, place: Place, what: str, word: str, known: Collection[str]) -> None:
        """Take note of a word that is none of the known ones, and of the one that was probably meant."""
        self.add(place, self.unknown_word(what, word, known))

    def unknown_word(self, what: str, word: str, known: Collection[str]) -> str:
        """The sentence for a word that is none of the known ones."""
        self._guesses += 1
        return f"unknown {what} {quoted(word)}{instead(word, known if self._guesses <= GUESSES else ())}"

    def sorted(self) -> Mistakes:
        """All of them; the policy file comes first, then the others in the order in which they were read."""
        files = {self._policy_file: None} | {mistake.place.file: None for mistake in self._notes}
        rank = {file: number for number, file in enumerate(files)}
        return tuple(sorted(self._notes, key=lambda note: (rank[note.place.file], *note.place[1:], note.text)))

    def __len__(self) -> int:
        return len(self._notes)


def quoted(word: str, longest: int = 60) -> str:
    """A word of the file as it may stand in a sentence: in quotation marks, in one line, not too long."""
    shown = word if len(word) <= longest else word[: longest - 1] + "…"
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in shown)
    return f'"{shown}"'


def instead(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, or all of them when they are few."""
    words = list(dict.fromkeys(known))
    near = nearest(word, words)
    if near is not None:
        return f" — did you mean {quoted(near)}?"
    return f" — known: {', '.join(words)}" if 0 < len(words) <= FEW else ""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like this one, if any is alike; differences in case and spaces count for nothing."""
    words = {_folded(each): each for each in known}
    target = _folded(word)[:200]
    if target in words:
        return words[target]
    close = get_close_matches(target, _candidates(target, list(words)), n=1, cutoff=0.6)
    return words[close[0]] if close else None


def _candidates(target: str, words: list[str]) -> list[str]:
    if len(words) <= SMALL:
        return words
    return [w for w in words if abs(len(w) - len(target)) <= 2 and (w[:2] == target[:2] or w[-3:] == target[-3:])]


def _folded(word: str) -> str:
    return word.strip().casefold()
