"""YAML text as nodes that know their line and column, and the typed reading of them.

Nothing is guessed from the looks of a value: `no`, `2026-09` and `0100` are text until a field says what it holds, so
the surprises of YAML 1.1 cannot happen. Aliases share their node and are never copied. libyaml does the scanning where
`ruamel.yaml.clib` is installed, which loads a large network in a fraction of the time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterator
from collections.abc import Mapping as Mapping_
from datetime import date
from typing import Any, NamedTuple, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from policy.mistake import Notebook, Place, instead, quoted

Word = TypeVar("Word")

DEEPEST = 24
"""A policy is nested six deep; more than this is not one."""

STEP = 250
"""Events between two steps: about a millisecond with libyaml."""

EMPTY = frozenset({"", "~", "null"})
TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
MISPLACED_COLON = (
    "a colon does not fit here: put the value in quotation marks, look at the indentation, or give the line above "
    "its colon with a space after it"
)
TAB = "a tab cannot indent in YAML: use spaces"
CURLY = 'curly quotation marks mean nothing in YAML: write straight ones (")'
BINDING = "a non-breaking space cannot indent in YAML: use ordinary spaces"
_CURLY = re.compile("[“”„]")
_BINDING = re.compile(r"([ ]*)\u00a0[ \u00a0]*(?:- |[\w.-]+:)")
"""A space that binds before what looks like a key or an item."""
UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that no name or text may hold: controls other than tab and line break, and halves of characters."""


class Scalar(NamedTuple):
    """A single value, as written."""

    value: str
    line: int
    column: int
    plain: bool
    """Written without quotation marks."""


class Sequence(NamedTuple):
    """A list."""

    items: list[Node]
    line: int
    column: int


class Mapping(NamedTuple):
    """Keys and values in turn, as the file has them; a key may stand twice."""

    items: list[Node]
    line: int
    column: int

    @property
    def pairs(self) -> Iterator[tuple[Node, Node]]:
        """Each key with its value."""
        return zip(self.items[::2], self.items[1::2], strict=True)


Node = Scalar | Sequence | Mapping


class _Broken(Exception):
    """YAML, but none that could be a policy."""

    def __init__(self, mark: Any, text: str) -> None:
        super().__init__(text)
        self.problem_mark = mark


def compose(text: str, file: str, notes: Notebook) -> Generator[None, None, Node | None]:
    """The root node of the text, in steps; None with a note when the text is no YAML or holds nothing."""
    try:
        root = yield from _compose(text)
    except _Broken as broken:
        notes.add(_place(file, broken.problem_mark), str(broken))
    except MarkedYAMLError as error:
        notes.add(*_complaint(text, file, error))
    except (YAMLError, ValueError, OverflowError):
        notes.add(_unfit(text, file), "this is no text: a character stands here that YAML does not allow")
    else:
        if root is not None and not is_empty(root):
            return root
        notes.add(Place(file, 1, 1), "the file is empty: a policy has at least organisations")
    return None


def _compose(text: str) -> Generator[None, None, Node | None]:
    """Nodes from events, without recursion: a bracket opened a million times is a mistake and no crash."""
    documents: list[Node] = []
    stack = [documents]
    anchors: dict[str, Node] = {}
    for number, event in enumerate(YAML(typ="safe").parse(text)):
        if number % STEP == 0:
            yield
        kind = type(event)
        if kind is ScalarEvent:
            mark = event.start_mark
            node: Node = Scalar(event.value, mark.line, mark.column, not event.style)
            stack[-1].append(node)
        elif kind is SequenceStartEvent or kind is MappingStartEvent:
            mark = event.start_mark
            items: list[Node] = []
            node = (Sequence if kind is SequenceStartEvent else Mapping)(items, mark.line, mark.column)
            stack[-1].append(node)
            stack.append(items)
        elif kind is SequenceEndEvent or kind is MappingEndEvent:
            stack.pop()
            continue
        else:
            _admit(event, documents, stack[-1], anchors)
            continue
        if event.ctag is not None:
            raise _Broken(event.start_mark, f"the tag {quoted(str(event.tag))} has no meaning in a policy: take it out")
        if event.anchor is not None:
            anchors[event.anchor] = node
        if len(stack) > DEEPEST:
            raise _Broken(event.start_mark, "this is nested too deeply to be a policy")
    return documents[0] if documents else None


def _admit(event: Any, documents: list[Node], siblings: list[Node], anchors: dict[str, Node]) -> None:
    """The rarer events: an alias stands for the node it names, and there is one document."""
    if isinstance(event, AliasEvent):
        if event.anchor not in anchors:
            known = instead(event.anchor, anchors)
            raise _Broken(
                event.start_mark, f"nothing above is marked &{event.anchor}, so *{event.anchor} is nothing{known}"
            )
        siblings.append(anchors[event.anchor])
    if isinstance(event, DocumentStartEvent) and documents:
        raise _Broken(event.start_mark, "a second document begins here: a policy is one, so take out the line ---")


def _complaint(text: str, file: str, error: MarkedYAMLError) -> tuple[Place, str]:
    """What the scanner stumbled over, in the words of somebody who writes a policy."""
    if (pasted := _pasted(text, file, error)) is not None:
        return pasted
    problem, context = str(error.problem), str(error.context)
    opened = error.context_mark or error.problem_mark
    if "quoted scalar" in context and "end of stream" in problem:
        return _place(file, opened), "the quotation mark opened here is never closed"
    if "quoted scalar" in context:
        return _place(
            file, error.problem_mark
        ), "what follows a backslash here has no meaning: write \\\\ for a backslash"
    if "flow sequence" in context or "flow mapping" in context:
        return _place(file, opened), "the bracket opened here is not closed, or a comma is missing between two values"
    place = _place(file, error.problem_mark)
    if "cannot start any token" in problem:
        return place, _beginning(text, error.problem_mark)
    if "mapping values" in problem:
        return place, MISPLACED_COLON
    if "tab character" in problem:
        return place, TAB
    if "expected ':'" in problem:
        return place, "a line without a colon stands here or above: write key: value, with a space after the colon"
    if "block" in context:
        return (
            place,
            "this does not fit what stands above: look at the indentation, and for a quotation mark or bracket",
        )
    return place, f"this is not YAML: {problem}"


def _pasted(text: str, file: str, error: MarkedYAMLError) -> tuple[Place, str] | None:
    """Characters of a word processor or a web page, where they are what the scanner stumbled over."""
    lines = text.split("\n", error.problem_mark.line + 1)[: error.problem_mark.line + 1] if error.problem_mark else []
    for number, line in enumerate(lines, 1):
        if (space := _BINDING.match(line)) is not None:
            return Place(file, number, space.end(1) + 1), BINDING
    if lines and (mark := _CURLY.search(lines[-1])) is not None:
        return Place(file, len(lines), mark.start() + 1), CURLY
    return None


def _beginning(text: str, mark: Any) -> str:
    lines = text.split("\n", mark.line + 1)
    character = lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""
    if character == "\t":
        return TAB
    return f"a value cannot begin with {quoted(character)}: put it in quotation marks"


def _place(file: str, mark: Any) -> Place:
    return Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)


def _unfit(text: str, file: str) -> Place:
    found = UNFIT.search(text)
    if found is None:
        return Place(file, 1, 1)
    before = text[: found.start()]
    return Place(file, before.count("\n") + 1, found.start() - before.rfind("\n"))


def is_empty(node: Node) -> bool:
    """Nothing, `~` or `null`: as if the key were not there."""
    return isinstance(node, Scalar) and node.plain and node.value in EMPTY


class Reading:
    """Reads nodes as what a field says they hold; what is something else is noted, and the default stands for it."""

    def __init__(self, file: str, notes: Notebook) -> None:
        self.file = file
        self.notes = notes

    def place(self, node: Node) -> Place:
        """Where the node stands."""
        return Place(self.file, node.line + 1, node.column + 1)

    def note(self, node: Node, text: str) -> None:
        """Note a mistake at the node."""
        self.notes.add(self.place(node), text)

    def pairs(self, node: Node | None, what: str) -> dict[Scalar, Node]:
        """A mapping from names of the administrator's own choice; a name that stands twice keeps its first meaning."""
        if node is None or is_empty(node):
            return {}
        if not isinstance(node, Mapping):
            self.note(node, f"{what} has to be a mapping (key: value), not {_kind(node)}")
            return {}
        first: dict[str, Scalar] = {}
        entries: dict[Scalar, Node] = {}
        for key, value in node.pairs:
            if not isinstance(key, Scalar):
                self.note(key, f"a key of {what} has to be a single word, not {_kind(key)}")
            elif key.value in first:
                self.note(
                    key, f"{quoted(key.value)} stands twice in {what}; the first is in line {first[key.value].line + 1}"
                )
            else:
                first[key.value] = key
                entries[key] = value
        return entries

    def fields(self, node: Node | None, what: str, known: Collection[str]) -> dict[str, Node]:
        """A mapping with the keys that belong there; fields left empty are as if they were not there."""
        entries = self.pairs(node, what)
        for key in entries:
            if key.value not in known:
                self.notes.unknown(self.place(key), f"key of {what}", key.value, known)
        return {key.value: value for key, value in entries.items() if key.value in known and not is_empty(value)}

    def items(self, node: Node | None, what: str) -> list[Node]:
        """A list; nothing is an empty one."""
        if node is None or is_empty(node):
            return []
        if isinstance(node, Sequence):
            return node.items
        self.note(node, f"{what} has to be a list [a, b], not {_kind(node)}")
        return []

    def text(self, node: Node | None, what: str, longest: int = 500, *, lines: bool = False) -> str:
        """A text of at most so many characters, without spaces around it; one line unless `lines`."""
        if node is None:
            return ""
        if not isinstance(node, Scalar):
            self.note(node, f"{what} has to be a text, not {_kind(node)}")
            return ""
        value = node.value.strip()
        objection = unfit_text(value, longest, lines=lines)
        if objection:
            self.note(node, f"{what} {objection}")
        return value

    def truth(self, node: Node | None, what: str, default: bool) -> bool:
        """true or false."""
        if node is None:
            return default
        if isinstance(node, Scalar) and node.value in TRUTH:
            return TRUTH[node.value]
        self.note(node, f"{what} is true or false, not {_kind(node)}")
        return default

    def whole(self, node: Node | None, what: str, least: int, most: int, default: int) -> int:
        """A whole number within bounds."""
        if node is None:
            return default
        if isinstance(node, Scalar) and WHOLE.fullmatch(node.value) and least <= int(node.value) <= most:
            return int(node.value)
        self.note(node, f"{what} is a whole number from {least} to {most}, not {_kind(node)}")
        return default

    def word(self, node: Node | None, what: str, known: Mapping_[str, Word], default: Word) -> Word:
        """One of a few known words."""
        if node is None:
            return default
        if not isinstance(node, Scalar):
            self.note(node, f"{what} is one of {', '.join(known)}, not {_kind(node)}")
        elif node.value in known:
            return known[node.value]
        else:
            self.notes.unknown(self.place(node), what, node.value, known)
        return default

    def day(self, node: Node | None, what: str) -> date | None:
        """A day, written 2026-12-31."""
        if node is None:
            return None
        day = as_day(node.value) if isinstance(node, Scalar) else None
        if day is None:
            word = node.value if isinstance(node, Scalar) else ""
            self.note(node, f"{what} {no_day(word, _kind(node))}")
        return day


def as_day(text: str) -> date | None:
    """The day that the text names as year-month-day, if the calendar has it."""
    try:
        return date.fromisoformat(text) if DAY.fullmatch(text) else None
    except ValueError:
        return None


def no_day(word: str, shown: str) -> str:
    """What is wrong with a word that is no day, as the end of a sentence."""
    missing = f"names a day that there is not: there is no {word}"
    return missing if DAY.fullmatch(word) else f"is a day like 2026-12-31 (year-month-day), not {shown}"


def unfit_text(value: str, longest: int, *, lines: bool = False) -> str | None:
    """What is wrong with a text, as the end of a sentence."""
    if len(value) > longest:
        return f"has {len(value)} characters, {longest} at most are allowed"
    if UNFIT.search(value) or (not lines and ("\n" in value or "\t" in value)):
        return f"holds a control character or a line break: {quoted(value)}"
    return None


def _kind(node: Node) -> str:
    if isinstance(node, Scalar):
        return "empty" if is_empty(node) else quoted(node.value)
    return "a list" if isinstance(node, Sequence) else "a mapping"
