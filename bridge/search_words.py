"""The words of an event by which reviewers find it, and what a reviewer types turned into a query; no I/O.

Both databases are given words that were cut here, so that they find the same: small plain letters, and each Chinese or
Japanese character a word of its own, as those scripts put no spaces between words. Whatever a client may show of an
event is read: the text with its formatting, too, which need not say the same as the one without.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bridge.transcript.markup import bare
from policy.naming import tokens
from policy.search import fold

WRITTEN = (
    "m.room.message", "m.sticker", "m.poll.start", "org.matrix.msc3381.poll.start", "m.room.name", "m.room.topic",
)  # fmt: skip
"""Types of events that are looked through where no words are sought, but somebody's messages or those of a day."""

SEARCHED = (
    *WRITTEN, "m.poll.end", "org.matrix.msc3381.poll.end", "m.reaction", "m.room.redaction", "m.room.member",
    "m.beacon_info", "org.matrix.msc3672.beacon_info",
)  # fmt: skip
"""Types of events that hold words: anything may be written as a reaction, or as the reason why somebody left."""

READ = ("body", "filename", "name", "topic", "m.topic", "question", "answers", "text", "m.text",
        "org.matrix.msc1767.text", "m.poll", "m.poll.start", "org.matrix.msc3381.poll.start", "reason", "description",
        "m.relates_to", "key", "m.location", "org.matrix.msc3488.location")  # fmt: skip
"""Keys of an event's content behind which words stand."""

DEEPEST = 6
LONGEST_WORD = 100
MOST_WORDS = 65_536
"""More do not fit into an event (Client-Server API, "Size limits")."""
LAST_PLACE = 16_383
"""PostgreSQL keeps no place behind this one; words that stand there are found, too."""

_ONE_BY_ONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
_WORD = re.compile(rf"[{_ONE_BY_ONE}]|[^\W_{_ONE_BY_ONE}]+")
_INSIDE_WORDS = re.compile("[\u00ad\u0640\u061c\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
"""What stands inside a word without being seen, or only draws it out: soft hyphens, marks of direction, the tatweel."""

Phrase = tuple[str, ...]
"""Words that stand behind each other; of the last one its beginning is enough."""


def words(text: str) -> list[str]:
    """The words of a text, as they are kept and looked for."""
    seen = text if text.isascii() else _INSIDE_WORDS.sub("", text)
    return [word[:LONGEST_WORD] for word in _WORD.findall(fold(seen))]


def words_of(content: Mapping[str, Any]) -> list[str]:
    """All words of an event, of an edit those of its new form first."""
    forms = dict.fromkeys(tuple(words(said)) for said in _forms(content))  # most say the same again
    return [word for form in forms for word in form][:MOST_WORDS]


def texts_of(content: Mapping[str, Any]) -> list[str]:
    """The texts of an event in the order in which they are searched, of an edit those of its new form first."""
    return [said for said in _forms(content) if said.strip()]


def _forms(content: Mapping[str, Any]) -> Iterator[str]:
    """What an event says, each way of saying it by itself: anew and as before, without formatting and with it."""
    for form in (content.get("m.new_content"), content):
        if isinstance(form, Mapping):
            yield "\n".join(dict.fromkeys(_texts(form, DEEPEST)))
            if isinstance(html := form.get("formatted_body"), str):
                yield bare(html)


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
    return " ".join(f"'{word}':{min(place, LAST_PLACE)}" for place, word in enumerate(kept, 1))
