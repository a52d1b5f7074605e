"""What `review find` says of a message that it found: when, by whom, in which chat, and the words around the hit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo

from bridge.commands import Asked
from bridge.days import zone_of
from bridge.reviewing import Access
from bridge.search_words import Phrase, texts_of, words
from bridge.store import StoredEvent
from bridge.transcript.legible import harmless
from policy.rooms import shown_name, stood_for

EXCERPT = 160
"""Letters shown of a message."""

WORDS_BEFORE = 8
"""Words shown before the one that was found, where a message is too long to be shown whole."""

SAID_AS: Mapping[str, str] = {
    "m.reaction": "(as a reaction) ",
    "m.room.redaction": "(as the reason of a deletion) ",
    "m.room.member": "(as the reason of coming or going) ",
}
"""Where words stand that are no message."""


def hit_line(asked: Asked, access: Access, event: StoredEvent, wanted: Iterable[Phrase]) -> str:
    """One message that was found, on one line."""
    home = asked.policy.organisations.get(access.room.home)
    moment = _moment(event.origin_server_ts, zone_of(asked.policy, access.room.home))
    member = stood_for(asked.policy, access.room.home, event.sender, asked.now)
    name = shown_name(asked.policy, member, access.room.home) if member is not None else event.sender
    where = f"“{access.title}” ({home.name if home is not None else access.room.home}, {access.room.id})"
    return harmless(f"{moment} {name} in {where}: {SAID_AS.get(event.type, '')}{excerpt(event, wanted)}")


def how_to_go_on(event: StoredEvent) -> str:
    """What to write for the whole of a chat."""
    return f"Write “review export ROOM”, such as “review export {event.room_id}”, for the whole chat."


def excerpt(event: StoredEvent, wanted: Iterable[Phrase]) -> str:
    """What the event says, around the first of the words that were sought where it is long."""
    sought = {word for phrase in wanted for word in phrase}
    said = max(texts_of(event.content) or [event.type], key=lambda text: len(_found(sought, text)))
    pieces = said.split()
    if len(" ".join(pieces)) <= EXCERPT:
        return " ".join(pieces)
    first = next((place for place, piece in enumerate(pieces) if _found(sought, piece)), 0)
    start = max(0, first - WORDS_BEFORE)
    text = " ".join(pieces[start:])
    return f"{'… ' if start else ''}{text[:EXCERPT]}{'…' if len(text) > EXCERPT else ''}"


def _found(sought: set[str], text: str) -> set[str]:
    """Those of the words sought that the text holds, or with which a word of it begins."""
    held = words(text)
    return {one for one in sought if any(word.startswith(one) for word in held)}


def _moment(time: int, zone: tzinfo) -> str:
    try:
        return datetime.fromtimestamp(time / 1000, zone).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return "at no time that a calendar knows"
