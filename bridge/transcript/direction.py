"""Which way a text runs: from left to right or from right to left (UAX #9), and in which language it is shaped."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from bridge.transcript.markup import Block

_RIGHT_TO_LEFT = frozenset({"R", "AL"})
_STRONG = frozenset({"L", "R", "AL"})

# The letters of a text tell its language well enough to choose among the Han forms and to shape the rest.
_LANGUAGES = (
    ("ja", re.compile("[\u3041-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7a3\u1100-\u11ff]")),
    ("zh", re.compile("[\u3400-\u9fff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
)


def isolated(text: str) -> str:
    """The text so that its direction changes nothing around it (UAX #9, isolates); most text needs nothing."""
    if text.isascii() or _RIGHT_TO_LEFT.isdisjoint(map(unicodedata.bidirectional, text)):
        return text
    return f"\u2068{text}\u2069"


def direct(found: Iterable[Block]) -> None:
    """Give every paragraph that is not plain left-to-right its direction and language (UAX #9, P2 and P3).

    What holds paragraphs, a list for instance, has the direction of its first one.
    """
    for block in found:
        inner = [*block.get("e", ()), *(piece for row in block.get("rows", ()) for cell in row for piece in cell)]
        if inner:
            direct(inner)
            if "d" in inner[0]:
                block["d"] = inner[0]["d"]
        elif "r" in block or "t" in block:
            text = block.get("t") or "".join(run if isinstance(run, str) else run["t"] for run in block["r"])
            if not text.isascii():
                block.update(_bearing(text))


def _bearing(text: str) -> Block:
    strong = next((way for way in map(unicodedata.bidirectional, text) if way in _STRONG), "L")
    bearing: Block = {"d": "rtl"} if strong in _RIGHT_TO_LEFT else {}
    language = next((code for code, letters in _LANGUAGES if letters.search(text)), None)
    return {**bearing, "lang": language} if language else bearing
