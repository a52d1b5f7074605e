"""What people can type to the bot: the first words it knows.

In its direct chat the words stand alone, in a chat with `!` before them, and there `!word` is a command only where the
word is known: anything else is a message like every other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

FOR_EVERYBODY = frozenset(
    {
        "help", "contacts", "new", "add", "leave", "rename", "archive", "unarchive", "flag", "unflag", "discard",
        "link", "why",
    }
)  # fmt: skip
FOR_STAFF = frozenset({"find", "remove", "staff-only", "export"})
FOR_ADMINS = frozenset(
    {
        "book", "invite", "import", "resend", "revoke", "suspend", "unsuspend", "deactivate", "cover", "status", "plan",
        "apply",
    }
)  # fmt: skip
FOR_SYSTEM_ADMINS = frozenset({"reviewer", "admin"})
FOR_REVIEWERS = frozenset({"review"})

KNOWN_WORDS = FOR_EVERYBODY | FOR_STAFF | FOR_ADMINS | FOR_SYSTEM_ADMINS | FOR_REVIEWERS

_WORD = re.compile(r"!([a-z-]+)(?!\S)", re.IGNORECASE)


def command_word(text: str) -> str | None:
    """The known word that a text in a chat begins with: `rename` for `!rename Year 1 trip`, none for `!!` or `!hm`."""
    found = _WORD.match(text.lstrip())
    word = found[1].lower() if found else None
    return word if word in KNOWN_WORDS else None


def is_command(content: Mapping[str, Any]) -> bool:
    """Whether the content of a message is a command to the bot."""
    body = content.get("body")
    return isinstance(body, str) and command_word(body) is not None
