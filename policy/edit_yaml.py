"""Changes inside YAML text, as the smallest replacements that make them: everything else stays as it was, to the byte.

A tree of nodes that know where they begin and end is read once; each change adds replacements, which are made together.
Comments, order, quotation marks, indentation and line ends are kept because nothing rewrites them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

INDENT = 2
"""Columns that a new level is indented by."""

BY_HAND = "line {line} of {file} is written in a way that only a person can change: change it there"

_PLAIN = re.compile(r"[^\W\d_][\w.()&/@+'’-]*(?: [\w.()&/@+'’-]+)*+")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_COMMA = re.compile(r"(?:[ \t]*,)?")
_REST_OF_LINE = re.compile(r"[ \t]*,?[ \t]*(#[^\r\n]*)?\r?\n")
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
_OTHERWISE_READ = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"})
"""Words that some program takes for something else than text."""


class CannotEdit(Exception):
    """The text is good but written in a way that no program should change; the text is a sentence that says where."""


@dataclass(slots=True)
class Span:
    """A node and where it stands in the text."""

    kind: str
    """scalar, mapping, sequence or alias."""
    start: int
    end: int = 0
    value: str = ""
    flow: bool = False
    """In brackets, or, of a scalar, with its style in `style`."""
    style: str = ""
    shared: bool = False
    """It has an anchor, so that an alias may repeat it elsewhere."""
    items: list[Span] = field(default_factory=list)
    """Of a sequence its items; of a mapping keys and values in turn."""

    _index: dict[str, int] | None = None

    def index(self, key: str) -> int | None:
        """The number of the entry under a key of a mapping."""
        if self._index is None:
            self._index = {name.value: number for number, name in enumerate(self.items[::2])}
        return self._index.get(key)

    def get(self, key: str) -> Span | None:
        """The value under a key; None also where nothing was written under it."""
        index = self.index(key)
        return None if index is None else self.items[2 * index + 1]


class YamlText:
    """One YAML file and the replacements gathered so far."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self._line_end = "\r\n" if "\r\n" in text else "\n"
        self._replacements: list[tuple[int, int, str]] = []
        self._appended: dict[int, list[tuple[Span, str | None, Any]]] = {}
        """New entries, by the collection they go into."""
        self._emptied: dict[int, Span] = {}
        """Lists in lines of their own that have lost all their items."""
        self.root = _tree(text)

    def at(self, *path: str) -> Span | None:
        """The node at the end of a path of keys; refuses to look through an alias."""
        node: Span | None = self.root
        for key in path:
            if node is None or node.kind != "mapping":
                return None
            node = node.get(key)
            if node is not None and (node.kind == "alias" or node.shared):
                raise self._by_hand(node)
        return node

    def put(self, mapping: Span, key: str, value: str | bool) -> None:
        """The key gets a value; the empty text takes the key out."""
        index = mapping.index(key)
        if index is None:
            if value != "":
                self.append(mapping, value, key=key)
        elif value == "":
            self._remove(mapping, {index})
        else:
            self._overwrite(mapping.items[2 * index], mapping.items[2 * index + 1], value)

    def append(self, collection: Span, value: Any, *, key: str | None = None) -> None:
        """One more item of a list, or one more entry under a new key of a mapping."""
        self._appended.setdefault(id(collection), []).append((collection, key, value))

    def into(self, mapping: Span, key: str, value: Any, *, entry: str | None = None) -> None:
        """One more entry of the collection under a key, which is made where there is none; `entry` is its key there."""
        found = mapping.get(key)
        if found is not None and (found.kind == "alias" or found.shared):
            raise self._by_hand(found)
        if found is not None and found.kind != "scalar":
            self.append(found, value, key=entry)
            return
        for waiting in self._appended.get(id(mapping), ()):
            if waiting[1] == key:
                _add(waiting[2], entry, value)
                return
        if (empty := mapping.index(key)) is not None:
            self._remove(mapping, {empty})
        fresh: Any = [] if entry is None else {}
        _add(fresh, entry, value)
        self.append(mapping, fresh, key=key)

    def take_out(self, sequence: Span, values: Iterable[str]) -> None:
        """Take the items of these values out of a list."""
        gone = set(values)
        indices = {number for number, item in enumerate(sequence.items) if item.value in gone}
        if any(sequence.items[index].kind == "alias" for index in indices):
            raise self._by_hand(sequence)
        if indices:
            self._remove(sequence, indices)

    def changed(self) -> str:
        """The text with everything replaced."""
        for entries in self._appended.values():
            appended = self._appending(entries[0][0], [(key, value) for _, key, value in entries])
            self._replacements.append(appended)
        for name in self._emptied.keys() - self._appended.keys():
            place = self._after_colon(self._key_of(self._emptied[name]))
            self._replacements.append((place, place, " []"))
        text, end = self._text, len(self._text)
        pieces: list[str] = []
        for start, stop, new in sorted(self._replacements, key=_order, reverse=True):
            if stop > end:
                raise CannotEdit(f"{self._file} cannot take all these changes at once: make them one after the other")
            pieces += (text[stop:end], new)
            end = start
        pieces.append(text[:end])
        return "".join(reversed(pieces))

    # Replacing

    def _overwrite(self, key: Span, old: Span, value: str | bool) -> None:
        if old.kind != "scalar" or old.shared:
            raise self._by_hand(old)
        new = _flow(None, value) if isinstance(value, bool) else scalar(value, old.style)
        if old.end == old.start:
            start = self._after_colon(key)
            self._replacements.append((start, start, f" {new}"))
            return
        written = self._text[old.start : old.end]
        breaks = written[len(written.rstrip("\r\n")) :]
        self._replacements.append((old.start, old.end, new + breaks))

    def _remove(self, collection: Span, indices: set[int]) -> None:
        step = 2 if collection.kind == "mapping" else 1
        entries = [collection.items[number : number + step] for number in range(0, len(collection.items), step)]
        if collection.flow:
            self._remove_from_flow(collection, entries, indices)
            return
        for index in indices:
            start, stop = self._line_start(entries[index][0].start), self._line_after(entries[index][-1])
            self._replacements.append((start, stop, ""))
        if len(indices) == len(entries) and step == 1:
            self._emptied[id(collection)] = collection

    def _remove_from_flow(self, collection: Span, entries: list[list[Span]], indices: set[int]) -> None:
        kept = [index for index in range(len(entries)) if index not in indices]
        if not kept:
            self._replacements.append((collection.start + 1, collection.end - 1, ""))
            return
        for first, last in _runs(sorted(indices)):
            if last + 1 < len(entries):
                self._replacements.append((entries[first][0].start, entries[last + 1][0].start, ""))
            else:
                self._replacements.append(
                    (*self._tail(entries[first - 1][-1], entries[first][0], entries[last][-1]), "")
                )

    def _tail(self, before: Span, first: Span, last: Span) -> tuple[int, int]:
        """From where to where the last entries in brackets stand; comments stay with the entries they are about."""
        between = self._text[_end(before) : first.start]
        if (whole := _REST_OF_LINE.match(self._text, _end(last))) and (
            "#" in between or ("\n" in between and whole[1])
        ):
            return self._line_start(first.start), whole.end()
        if "#" in between and (comma := _COMMA.match(self._text, _end(last))):
            return first.start, comma.end()
        return _end(before), _end(last)

    def _appending(self, collection: Span, entries: list[tuple[str | None, Any]]) -> tuple[int, int, str]:
        if collection.flow:
            return self._appending_to_flow(collection, entries)
        last = collection.items[-1]
        place = self._line_after(last)
        column = self._column(collection.items[0].start if collection.kind == "mapping" else collection.start)
        lines = [line for key, value in entries for line in _block(key, value, column)]
        before = "" if self._text[:place].endswith(("\n", "\r")) else self._line_end
        after = "" if before else self._line_end
        return place, place, before + self._line_end.join(lines) + after

    def _appending_to_flow(self, collection: Span, entries: list[tuple[str | None, Any]]) -> tuple[int, int, str]:
        gone = [
            (start, stop)
            for start, stop, new in self._replacements
            if not new and collection.start < start and stop < collection.end
        ]
        emptied = any(start == collection.start + 1 and stop == collection.end - 1 for start, stop in gone)
        if not collection.items or emptied:
            self._replacements = [one for one in self._replacements if one[:2] not in gone]
            return self._refilled(collection, entries)
        kept = [one for one in collection.items if not any(start <= one.start < stop for start, stop in gone)]
        place = _end(kept[-1])
        return place, place, "".join(f", {_flow(key, value)}" for key, value in entries)

    def _refilled(self, collection: Span, entries: list[tuple[str | None, Any]]) -> tuple[int, int, str]:
        """Empty brackets hold a list as before; a mapping of entries with fields of their own gets a line each."""
        key = self._key_of(collection)
        if key is collection or not all(isinstance(value, Mapping) for _, value in entries):
            return collection.start + 1, collection.end - 1, ", ".join(_flow(name, value) for name, value in entries)
        column = self._column(key.start) + INDENT
        lines = [line for name, value in entries for line in _block(name, value, column)]
        start = self._after_colon(key)
        return start, collection.end, self._line_end + self._line_end.join(lines)

    def _key_of(self, collection: Span) -> Span:
        """The key of a mapping in lines under which a collection stands; itself where there is none."""
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            if node.kind == "mapping" and not node.flow:
                for key, value in zip(node.items[::2], node.items[1::2], strict=True):
                    if value is collection:
                        return key
            waiting += [item for item in node.items if item.kind != "scalar"]
        return collection

    # Places

    def _by_hand(self, node: Span) -> CannotEdit:
        return CannotEdit(BY_HAND.format(line=self._text.count("\n", 0, node.start) + 1, file=self._file))

    def _after_colon(self, key: Span) -> int:
        return self._text.index(":", key.end) + 1

    def _line_start(self, place: int) -> int:
        return self._text.rfind("\n", 0, place) + 1

    def _column(self, place: int) -> int:
        return place - self._line_start(place) - (1 if self._text.startswith("\ufeff") and place == 1 else 0)

    def _line_after(self, node: Span) -> int:
        """The beginning of the line after the last one of a node."""
        end, last = _end(node), _last(node)
        if last.style in ("|", ">") or last.start == last.end:
            # The marks of a text over several lines, and of nothing at all, lie behind line breaks.
            end = len(self._text[:end].rstrip())
        found = self._text.find("\n", end)
        return len(self._text) if found < 0 else found + 1


def _order(replacement: tuple[int, int, str]) -> tuple[int, int, int]:
    """By place; of what comes into the same place, what is indented most belongs to what stands above it."""
    start, stop, new = replacement
    body = new.lstrip("\r\n")
    return start, stop, len(body.lstrip(" ")) - len(body)


def scalar(value: str, style: str = "") -> str:
    """A text as a YAML value on one line, in the quotation marks it had or in none where nobody could misread it."""
    if style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    plain = _DAY.fullmatch(value) or (_PLAIN.fullmatch(value) and value.lower() not in _OTHERWISE_READ)
    if plain and style != '"' and len(value) < 200:
        return value
    return '"' + "".join(_ESCAPED.get(c) or (c if c.isprintable() else f"\\U{ord(c):08x}") for c in value) + '"'


def _block(key: str | None, value: Any, column: int) -> Iterator[str]:
    """The lines of an entry in a block collection."""
    margin = " " * column
    if key is None:
        yield f"{margin}- {_flow(None, value)}"
    elif isinstance(value, Mapping) and value:
        yield f"{margin}{scalar(key)}:"
        for name, inner in value.items():
            yield from _block(name, inner, column + INDENT)
    elif isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(one, Mapping) for one in value):
        yield f"{margin}{scalar(key)}:"
        for inner in value:
            yield from _block(None, inner, column + INDENT)
    else:
        yield f"{margin}{_flow(key, value)}"


def _flow(key: str | None, value: Any) -> str:
    if isinstance(value, Mapping):
        written = "{" + ", ".join(_flow(name, inner) for name, inner in value.items()) + "}"
    elif isinstance(value, Sequence) and not isinstance(value, str):
        written = "[" + ", ".join(_flow(None, inner) for inner in value) + "]"
    elif isinstance(value, bool):
        written = str(value).lower()
    else:
        written = scalar(str(value))
    return written if key is None else f"{scalar(key)}: {written}"


def _add(collection: Any, key: str | None, value: Any) -> None:
    if key is None:
        collection.append(value)
    else:
        collection[key] = value


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each stretch of numbers that follow each other."""
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


def _last(node: Span) -> Span:
    """The node's own last value, which decides where it ends: the marks of a block lie behind the comments after it."""
    while node.kind in ("mapping", "sequence") and not node.flow and node.items:
        node = node.items[-1]
    return node


def _end(node: Span) -> int:
    return _last(node).end


def _tree(text: str) -> Span:
    """The root node; the text is known to be a good policy."""
    root: list[Span] = []
    stack = [root]
    open_: list[Span] = []
    offset = 1 if text.startswith("\ufeff") else 0
    for event in YAML(typ="safe").parse(text[offset:]):
        if isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            stack.pop()
            open_.pop().end = event.end_mark.index + offset
            continue
        node = _span(event, offset)
        if node is None:
            continue
        stack[-1].append(node)
        if node.kind in ("mapping", "sequence"):
            stack.append(node.items)
            open_.append(node)
    return root[0]


def _span(event: Any, offset: int) -> Span | None:
    if isinstance(event, AliasEvent):
        return Span("alias", event.start_mark.index + offset, event.end_mark.index + offset)
    if not isinstance(event, (ScalarEvent, MappingStartEvent, SequenceStartEvent)):
        return None
    start, end = event.start_mark.index + offset, event.end_mark.index + offset
    shared = event.anchor is not None
    if isinstance(event, ScalarEvent):
        return Span("scalar", start, end, event.value, style=event.style or "", shared=shared)
    kind = "mapping" if isinstance(event, MappingStartEvent) else "sequence"
    return Span(kind, start, end, flow=bool(event.flow_style), shared=shared)
