"""The files that a message says it carries: one that it shares, and the pictures that stand in its text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bridge.transcript.events import Event, mapping, text
from bridge.transcript.markup import pictures

SHARED = frozenset({"m.room.message", "m.sticker"})
"""Types of events that carry files."""

FILES = frozenset({"m.image", "m.file", "m.audio", "m.video"})

MOST_PICTURES = 50
"""In one text; a client shows no more of it than a line or two of them."""


class Offer(NamedTuple):
    """A file that a message says it carries."""

    event_id: str
    name: str
    mimetype: str
    mxc: str | None
    encrypted: bool = False
    picture: bool = False
    """Whether clients show it as one, whatever else it calls itself."""
    place: int = 0
    """Which picture of its text it is; 0 for the file that is shared."""


def is_file(content: Mapping[str, Any]) -> bool:
    """Whether a message shares a file."""
    return text(content, "msgtype") in FILES or "url" in content or "file" in content


def carries(content: Mapping[str, Any]) -> bool:
    """Whether a message may carry any; most do not."""
    return is_file(content) or "m.new_content" in content or "formatted_body" in content


def offered(event: Event, *, edits: bool) -> Offer | None:
    """The file of a message or a sticker, if it has one; of one that `edits` another it is the new one."""
    forms = (mapping(event.content, "m.new_content"), event.content) if edits else (event.content,)
    content = next(filter(is_file, forms), None)
    return _offer(event, content) if content is not None else None


def _offer(event: Event, content: Mapping[str, Any], *, place: int = 0) -> Offer:
    encrypted = mapping(content, "file")
    mimetype = text(mapping(content, "info"), "mimetype") or "application/octet-stream"
    return Offer(
        event_id=event.event_id,
        name=text(content, "filename") or text(content, "body") or "file",
        mimetype=mimetype,
        mxc=text(content, "url") or text(encrypted, "url"),
        encrypted=bool(encrypted),
        picture=mimetype.startswith("image/") or content.get("msgtype") == "m.image" or event.type == "m.sticker",
        place=place,
    )


def beside_edit(event: Event) -> list[Offer]:
    """Another file than the new one, which clients show that know no edits."""
    new = mapping(event.content, "m.new_content")
    if not (is_file(new) and is_file(event.content)):
        return []
    shown = _offer(event, event.content, place=MOST_PICTURES + 1)
    return [shown] if shown.mxc not in (None, _offer(event, new).mxc) else []


def pictured(event: Event, html: str | None) -> tuple[list[Offer], int]:
    """The pictures in a text (Client-Server API, m.room.message msgtypes, `img`), and how many there are besides."""
    found = [
        Offer(event.event_id, described or "picture", "application/octet-stream", mxc, picture=True, place=place)
        for place, (mxc, described) in enumerate(pictures(html) if html else (), 1)
    ]
    return found[:MOST_PICTURES], max(0, len(found) - MOST_PICTURES)
