"""Who wants what of which chat: an order, as it is handed on, written down and read again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from policy.model import Moment

REVIEW, PARTICIPANTS_COPY = "Data review", "A copy for a participant"
"""Why an export was made, where nobody was asked for their own words."""

TITLE_FOR = "title for"
"""What the audit calls the organisations that know a chat by the title in the entry."""


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants what of which chat; also as JSON, with these names."""

    key: str
    """Names the order for ever, by which it is done once."""
    room: str
    by: str
    """The Matrix ID of whoever asked, or words for somebody without one."""
    asked: Moment
    until: int | None = None
    """Milliseconds, not included."""
    last_event: str | None = None
    only_event: str | None = None
    purpose: str = ""
    rsmf: bool = False
    sends: str = ""
    """`pdf` or `zip`; empty: both."""
    reviewing: str = ""
    """The membership whose reviewer's level allows it; empty for participants."""
    named: str = ""
    """What the export is named for, where that is not the key."""

    @property
    def export_id(self) -> str:
        """A short name, the same for the same order."""
        return f"QX-{digest(self.named or self.key)[:10].upper()}"


def read_order(values: dict[str, Any]) -> Order:
    """The order that was written down."""
    return Order(**values)


def digest(text: str) -> str:
    """A name for a text that any file system takes."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
