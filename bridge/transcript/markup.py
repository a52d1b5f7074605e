"""The Matrix HTML subset as structure: paragraphs, quotes, lists, code and tables of runs of text.

Nothing here makes mark-up: what comes out are lists and strings that a page is drawn from, so that no message can
become part of the page's own source. Tags outside the subset (Client-Server API, m.room.message msgtypes) are left out
and their text is kept; colours are, too, since white on white would hide what was said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html import unescape
from html.parser import HTMLParser
from typing import Any

Run = str | dict[str, Any]
"""Text, or `{"t": text}` with any of `b` bold, `i` italic, `s` struck, `u` underlined, `c` code, `p` raised or not."""

Block = dict[str, Any]
"""`{"k": kind}` with runs `r`, inner blocks `e`, list items or table rows `rows` (a list may `start` at another number
than 1), text `t`, level `l`."""

DEEPEST = 6
"""Quotes and lists inside each other; what is deeper stands at this depth."""

MOST_OPEN = 100
"""Blocks open inside each other; the specification lets clients stop there, too."""

MOST_TAGS = 1500
"""A message with more is shown by its plain text: the parser's time grows faster than their number."""

STYLES: Mapping[str, tuple[str, Any]] = {
    "b": ("b", 1), "strong": ("b", 1), "i": ("i", 1), "em": ("i", 1), "u": ("u", 1), "ins": ("u", 1),
    "del": ("s", 1), "s": ("s", 1), "strike": ("s", 1), "code": ("c", 1), "sup": ("p", 1), "sub": ("p", -1),
}  # fmt: skip

CONTAINERS: Mapping[str, str] = {"blockquote": "quote", "ul": "list", "ol": "numbers", "li": "item", "details": "quote"}
CELLS: Mapping[str, str] = {"tr": "row", "td": "cell", "th": "head"}
KEPT_EMPTY = frozenset({"cell", "head", "item"})
"""Without them those behind them would stand in another column, or bear another number."""
HEADINGS: Mapping[str, int] = {f"h{level}": level for level in range(1, 7)}
PARAGRAPHS = frozenset({"p", "div", "caption", "summary", "table", "thead", "tbody", *HEADINGS})

_NUMBER = re.compile(r"[0-9]{1,9}")
_SPACE = re.compile(r"[ \t\r\n\f]+")
_MENTION = re.compile(r"https://matrix\.to/#/")
_TAG = re.compile(r"[/!?a-z]", re.IGNORECASE)
_PARTS = re.compile(
    r"/?(?:p|div|br|hr|li|ul|ol|t[rdh]|h[1-6]|blockquote|pre|table|details|summary|caption)\b", re.IGNORECASE
)
_DESCRIBED = re.compile(
    r"""\b(?:alt|title|data-mx-spoiler|data-mx-maths)\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE
)

_WORD = re.compile(r"[^\W_]+")
_MARKS = re.compile(r"https://matrix\.to/\S+|```\w*|^\s*\d+[.)]", re.MULTILINE)
_SOURCE = re.compile(r"""\bsrc\s*=\s*["']?\s*(mxc://[^\s"'>]+)""", re.IGNORECASE)


def blocks(html: str, *, answers: bool = False) -> list[Block] | None:
    """The structure of a message's HTML; none where only its plain text can be shown.

    Of a message that `answers` another one, clients leave out what stands in `mx-reply`.
    """
    if html.count("<") > MOST_TAGS:
        return None
    reader = _Reader(answers)
    try:
        reader.feed(html)
        reader.close()
    except (AssertionError, ValueError, RecursionError):
        return None
    return reader.finish()


def bare(html: str) -> str:
    """The text of some HTML without its tags, in a time that grows with its length alone."""
    first, *pieces = html.split("<")
    return unescape(first + "".join(map(_after_tag, pieces)))


def says_more(text: str, shown: str) -> bool:
    """Whether a message without its formatting says words that are not in what is shown of the formatted one.

    How formatting is written (Markdown), the numbers of lists, and where mentions lead count for nothing.
    """
    return not set(_WORD.findall(_MARKS.sub(" ", text).casefold())) <= set(_WORD.findall(shown.casefold()))


def pictures(html: str) -> list[tuple[str, str]]:
    """The uploads that the text shows as pictures, each once, with what they are said to be."""
    found: dict[str, str] = {}
    for tag in html.split("<")[1:]:
        if tag[:3].lower() == "img" and (source := _SOURCE.search(tag)):
            described = _DESCRIBED.search(tag)
            found.setdefault(unescape(source[1]), unescape(described[1] or described[2] or "") if described else "")
    return list(found.items())


def _after_tag(piece: str) -> str:
    """What is seen of a piece of HTML that stood behind a `<`: no tag, but what it says in place of something."""
    tag, closed, rest = piece.partition(">")
    if not (closed and _TAG.match(tag)):
        return f"<{piece}"
    if _PARTS.match(tag):
        return f"\n{rest}"
    described = [f" {one[1] or one[2] or ''} " for one in _DESCRIBED.finditer(tag)]
    return "".join([*described, rest])


def paragraphs(text: str) -> list[Block]:
    """Plain text as paragraphs, a line each; empty lines part them."""
    return [{"k": "p", "r": [line]} for line in text.split("\n")] if text else []


def plain(found: Sequence[Block]) -> str:
    """All text of some blocks, for comparing and quoting."""
    return " ".join(filter(None, map(_plain, found)))


def _plain(block: Block) -> str:
    inner = [plain(block.get("e", ()))]
    for row in block.get("rows", ()):
        inner += [plain(cell) for cell in row]
    runs = "".join(run if isinstance(run, str) else run["t"] for run in block.get("r", ()))
    return " ".join(filter(None, [runs, block.get("t", ""), *inner]))


def each_text(found: Sequence[Block], change: Callable[[str], str]) -> None:
    """Put every text of the blocks through `change`, in place."""
    for block in found:
        if "t" in block:
            block["t"] = change(block["t"])
        if "r" in block:
            block["r"] = [_changed(run, change) for run in block["r"]]
        each_text(block.get("e", ()), change)
        for row in block.get("rows", ()):
            for cell in row:
                each_text(cell, change)


def _changed(run: Run, change: Callable[[str], str]) -> Run:
    return change(run) if isinstance(run, str) else {**run, "t": change(run["t"])}


class _Reader(HTMLParser):
    """Builds blocks while the parser reads."""

    def __init__(self, answers: bool) -> None:
        super().__init__(convert_charrefs=True)
        self._answers = answers
        self._stack: list[tuple[str, list[Block]]] = [("", [])]
        self._runs: list[Run] = []
        self._styles: list[tuple[str, str, Any]] = []
        self._links: list[tuple[str, int]] = []
        self._pre: list[str] | None = None
        self._ignored = 0
        self._heading = 0
        self._starts: dict[int, int] = {}
        """What lists that are open begin to count from, by their depth."""

    def finish(self) -> list[Block]:
        """Everything read, with what was left open closed."""
        self._end_pre()
        while len(self._stack) > 1:
            self._close(self._stack[-1][0])
        self._end_paragraph()
        return self._stack[0][1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "mx-reply":
            self._ignored += self._answers
        elif tag == "pre":
            self._end_paragraph()
            self._pre = []
        elif tag == "br":
            self.handle_data("\n") if self._pre is not None else self._add("\n")
        elif tag == "hr":
            self._end_paragraph()
            self._stack[-1][1].append({"k": "rule"})
        elif tag == "img":
            self._picture(dict(attrs))
        elif tag in STYLES:
            self._styles.append((tag, *STYLES[tag]))
        elif tag == "a":
            self._links.append((dict(attrs).get("href") or "", len(self._runs)))
        elif tag == "span":
            self._span(dict(attrs))
        else:
            self._start_block(tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        if tag == "mx-reply":
            self._ignored = max(0, self._ignored - 1)
        elif tag == "pre":
            self._end_pre()
        elif tag in STYLES or tag == "span":
            self._end_style(tag)
        elif tag == "a":
            self._end_link()
        elif tag in CONTAINERS or tag in CELLS:
            self._close(CELLS.get(tag) or CONTAINERS[tag])
        elif tag in PARAGRAPHS:
            self._end_paragraph()

    def handle_data(self, data: str) -> None:
        if self._ignored:
            return
        if self._pre is not None:
            self._pre.append(data)
        else:
            self._add(_SPACE.sub(" ", data))

    def unknown_decl(self, data: str) -> None:
        """What browsers hide is still something that was sent."""
        self.handle_data(data)

    def _start_block(self, tag: str, attributes: dict[str, str | None]) -> None:
        if tag in CONTAINERS:
            self._open(CONTAINERS[tag])
            if tag == "ol" and _NUMBER.fullmatch(start := attributes.get("start") or ""):
                self._starts[len(self._stack)] = int(start)
        elif tag in CELLS:
            self._open(CELLS[tag])
        elif tag in PARAGRAPHS:
            self._end_paragraph()
            self._heading = HEADINGS.get(tag, 0)

    def _span(self, attributes: dict[str, str | None]) -> None:
        hidden = "data-mx-spoiler" in attributes
        self._styles.append(("span", "u", 1) if hidden else ("span", "", 0))
        if hidden:
            reason = attributes["data-mx-spoiler"]
            self._add(f"[spoiler: {reason}] " if reason else "[spoiler] ")
        if attributes.get("data-mx-maths"):
            self._add(f"{attributes['data-mx-maths']} ")

    def _picture(self, attributes: dict[str, str | None]) -> None:
        described = attributes.get("alt") or attributes.get("title")
        self._add(f"[picture: {described}]" if described else "[picture]")

    def _add(self, text: str) -> None:
        if self._ignored or not text:
            return
        styles = {name: value for _, name, value in self._styles if name}
        self._runs.append({"t": text, **styles} if styles else text)

    def _end_style(self, tag: str) -> None:
        for place in range(len(self._styles) - 1, -1, -1):
            if self._styles[place][0] == tag:
                del self._styles[place]
                return

    def _end_link(self) -> None:
        """The address stands beside a label that differs from it, so that a page shows where a link leads."""
        if not self._links:
            return
        address, start = self._links.pop()
        if (
            address
            and not _MENTION.match(address)
            and self._label(start) not in (address, address.removeprefix("mailto:"))
        ):
            self._add(f" ({address})")

    def _label(self, start: int) -> str:
        return "".join(run if isinstance(run, str) else run["t"] for run in self._runs[start:]).strip()

    def _end_labels(self) -> None:
        """A link whose label has begun shows its address with this paragraph, any other one with a later."""
        waiting = [(address, 0) for address, start in self._links if not self._label(start)]
        self._links = [link for link in self._links if self._label(link[1])]
        while self._links:
            self._end_link()
        self._links = waiting

    def _end_pre(self) -> None:
        if self._pre is not None:
            code = "".join(self._pre).strip("\n").expandtabs()
            self._pre = None
            if code:
                self._stack[-1][1].append({"k": "code", "t": code})

    def _end_paragraph(self) -> None:
        self._end_labels()
        runs, self._runs = _trimmed(self._runs), []
        if runs:
            heading = {"k": "h", "l": self._heading} if self._heading else {"k": "p"}
            self._stack[-1][1].append({**heading, "r": runs})
        self._heading = 0

    def _open(self, kind: str) -> None:
        self._end_paragraph()
        if len(self._stack) < MOST_OPEN:
            self._stack.append((kind, []))

    def _close(self, kind: str) -> None:
        """Close the innermost block of that kind with all that is open inside it; none of it is an error."""
        self._end_paragraph()
        if kind not in (open_kind for open_kind, _ in self._stack[1:]):
            return
        while True:
            start = self._starts.pop(len(self._stack), None)
            closed, inner = self._stack.pop()
            if inner or closed in KEPT_EMPTY:
                self._put(closed, inner, start)
            if closed == kind:
                return

    def _put(self, kind: str, inner: list[Block], start: int | None) -> None:
        around = self._stack[-1][1]
        if len(self._stack) > DEEPEST:
            around.extend(inner)
        elif kind == "row":
            cells = [_cell(block) for block in inner]
            if around and around[-1]["k"] == "table":
                around[-1]["rows"].append(cells)
            else:
                around.append({"k": "table", "rows": [cells]})
        elif kind in ("list", "numbers"):
            items = [block["e"] if block["k"] == "item" else [block] for block in inner]
            starts = {"start": start} if start is not None else {}
            around.append({"k": kind, **starts, "rows": [[item] for item in items]})
        else:
            around.append({"k": kind, "e": inner})


def _cell(block: Block) -> list[Block]:
    """What stands in a cell; in one that heads others it is bold."""
    if block["k"] == "head":
        for inner in block["e"]:
            if "r" in inner:
                inner["r"] = [{"t": run, "b": 1} if isinstance(run, str) else {**run, "b": 1} for run in inner["r"]]
    return block["e"] if block["k"] in ("cell", "head") else [block]


def _trimmed(runs: list[Run]) -> list[Run]:
    """Runs without the white space that HTML does not show at the ends of a paragraph."""
    text = [run if isinstance(run, str) else run["t"] for run in runs]
    while text and not text[0].strip():
        text, runs = text[1:], runs[1:]
    while text and not text[-1].strip():
        text, runs = text[:-1], runs[:-1]
    return runs
