"""The words of an event by which reviewers find it, and what a reviewer types turned into a query; no I/O.

Both databases are given words that were cut here, so that they find the same: small plain letters, and each Chinese or
Japanese character a word of its own, as those scripts put no spaces between words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policy.naming import tokens
from policy.search import fold

SEARCHED = (
    "m.room.message", "m.sticker", "m.poll.start", "org.matrix.msc3381.poll.start", "m.room.name", "m.room.topic",
)  # fmt: skip
"""Types of events that hold words."""

READ = ("body", "filename", "name", "topic", "question", "answers", "text", "m.text", "org.matrix.msc1767.text",
        "m.new_content", "m.poll", "m.poll.start", "org.matrix.msc3381.poll.start")  # fmt: skip
"""Keys of an event's content behind which words stand."""

DEEPEST = 6
LONGEST_WORD = 100
MOST_WORDS = 15_000
"""PostgreSQL keeps places up to 16,383."""

_ONE_BY_ONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
_WORD = re.compile(rf"[{_ONE_BY_ONE}]|[^\W_{_ONE_BY_ONE}]+")

Phrase = tuple[str, ...]
"""Words that stand behind each other; of the last one its beginning is enough."""


def words(text: str) -> list[str]:
    """The words of a text, as they are kept and looked for."""
    return [word[:LONGEST_WORD] for word in _WORD.findall(fold(text))]


def words_of(content: Mapping[str, Any]) -> list[str]:
    """All words of an event, of an edit those of its new form."""
    new = content.get("m.new_content")
    return words("\n".join(_texts(new if isinstance(new, dict) else content, DEEPEST)))[:MOST_WORDS]


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, list):
        for each in value:
            yield from _texts(each, depth - 1)
    elif depth and isinstance(value, dict):
        for key in READ:
            if key in value:
                yield from _texts(value[key], depth - 1)


def phrases(text: str) -> list[Phrase]:
    """What a reviewer typed: every word, or phrase in quotation marks, has to be there."""
    cut = [tuple(words(token)) for token in tokens(text)]
    return [phrase for phrase in cut if phrase]


def sqlite_query(wanted: list[Phrase]) -> str:
    """As FTS5 reads it (SQLite documentation, "Full-text Query Syntax")."""
    return " AND ".join(f'"{" ".join(phrase)}" *' for phrase in wanted)


def postgres_query(wanted: list[Phrase]) -> str:
    """As a `tsquery` is written."""
    return " & ".join("(" + " <-> ".join(f"'{word}'" for word in phrase) + ":*)" for phrase in wanted)


def postgres_vector(kept: list[str]) -> str:
    """As a `tsvector` is written: each word with its place."""
    return " ".join(f"'{word}':{place}" for place, word in enumerate(kept, 1))
