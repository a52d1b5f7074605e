"""What the content of a message says about it: what it answers or replaces, and what of it is kept as it came."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bridge.transcript.events import mapping, text
from bridge.transcript.markup import bare, says_more
from bridge.transcript.offers import is_file

_ORIGINAL_ABOVE = re.compile(r"(?:> .*(?:\n|$))+\n*")
"""What older clients put above a reply: the answered message, quoted (Client-Server API, rich replies)."""


def thread_and_answered(relation: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The thread that a message belongs to, and the message that it answers."""
    thread = text(relation, "event_id") if relation.get("rel_type") == "m.thread" else None
    # A client without threads shows the fallback as a reply; it answers nothing (Client-Server API, threading).
    is_fallback = thread is not None and relation.get("is_falling_back") is True
    return thread, None if is_fallback else text(mapping(relation, "m.in_reply_to"), "event_id")


def replaced(relation: Mapping[str, Any]) -> str | None:
    """The event that is to be replaced."""
    return text(relation, "event_id") if relation and relation.get("rel_type") == "m.replace" else None


def html_of(content: Mapping[str, Any]) -> str | None:
    """The text with its formatting, if it has one (Client-Server API, m.room.message msgtypes)."""
    return text(content, "formatted_body") if content.get("format") == "org.matrix.custom.html" else None


def kept_beside(content: Mapping[str, Any], answer: str | None) -> Mapping[str, Any] | None:
    """What the record holds of a message beside its words: all where there are none, or a key stands there (encrypted
    files); and what stood above an answer, if only clients call it a quotation.
    """
    if content and ("file" in content or not _has_words(content)):
        return content
    if answer is None or not (body := text(content, "body") or "").startswith("> ") or body == answer:
        return None
    return {"body": body}


def kept_beside_edit(content: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The same of an edit; also what clients show of it that know no edits, a locked telephone for instance, where
    that says something else (Client-Server API, event replacements: the content beside `m.new_content`).
    """
    if "file" not in new and "formatted_body" not in content and content.get("body") == f"* {new.get('body')}":
        return None  # nearly all of them
    if "file" in (new or content) or not _has_words(new or content):
        return content
    said, anew = (text(content, "body") or "", html_of(content) or ""), (text(new, "body") or "", html_of(new) or "")
    if not new or all(then.removeprefix("* ") == now for then, now in zip(said, anew, strict=True)):
        return None
    if not says_more(f"{said[0]} {bare(said[1])}", f"{anew[0]} {bare(anew[1])}"):
        return None
    return {name: one for name, one in zip(("body", "formatted_body"), said, strict=True) if one}


def said_otherwise(beside: Mapping[str, Any], shown: str) -> str:
    """What clients show of an edit that know none, of what was kept beside it, where what is shown does not say it."""
    html = text(beside, "formatted_body")
    forms = filter(None, [text(beside, "body"), bare(html) if html else None])
    return "\n".join(dict.fromkeys(form for form in forms if says_more(form, shown)))


def _has_words(content: Mapping[str, Any]) -> bool:
    return isinstance(content.get("body"), str) or content.get("msgtype") == "m.location" or is_file(content)


def without_original(body: str) -> str:
    """The text of an answer alone."""
    return _ORIGINAL_ABOVE.sub("", body, count=1)
