"""What people can type to the bot: the first words it knows.

In its direct chat the words stand alone, in a chat with `!` before them, and there `!word` is a command only where the
word is known. Anything else is a message like every other, but in a draft: whoever mistypes `!discard` must not publish
by it what they meant to throw away (CHAT-1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from policy.mistake import nearest

FOR_EVERYBODY = frozenset(
    {
        "help", "contacts", "new", "add", "leave", "rename", "archive", "unarchive", "flag", "unflag", "discard",
        "link", "why", "accept",
    }
)  # fmt: skip
FOR_STAFF = frozenset({"find", "remove", "staff-only", "export"})
FOR_ADMINS = frozenset(
    {
        "book", "invite", "import", "resend", "revoke", "suspend", "unsuspend", "deactivate", "cover", "status", "plan",
        "apply", "broadcast",
    }
)  # fmt: skip
FOR_SYSTEM_ADMINS = frozenset({"reviewer", "admin"})
FOR_REVIEWERS = frozenset({"review"})

KNOWN_WORDS = FOR_EVERYBODY | FOR_STAFF | FOR_ADMINS | FOR_SYSTEM_ADMINS | FOR_REVIEWERS

_WORD = re.compile(r"!([a-z-]+)(?!\S)", re.IGNORECASE)
_ALMOST = re.compile(r"!([^\W\d_]\S{0,39})")


def command_word(text: str) -> str | None:
    """The known word that a text in a chat begins with: `rename` for `!rename Year 1 trip`, none for `!!` or `!hm`."""
    found = _WORD.match(text.lstrip())
    word = found[1].lower() if found else None
    return word if word in KNOWN_WORDS else None


def is_command(content: Mapping[str, Any]) -> bool:
    """Whether the content of a message is a command to the bot."""
    body = content.get("body")
    return isinstance(body, str) and command_word(body) is not None


def unknown_word(content: Mapping[str, Any]) -> str | None:
    """What stands for a command in the content of a message and is none: `!dicsard`, none for `!!` or `! well`."""
    body = content.get("body")
    found = _ALMOST.match(body.lstrip()) if isinstance(body, str) and not is_command(content) else None
    return found[0] if found else None


def not_known(word: str) -> str:
    """The answer to an unknown word in a draft, with the word that was meant where one is near."""
    meant = nearest(word[1:], sorted(KNOWN_WORDS))
    said = f"I do not know “{word}”" + (f" — did you mean “!{meant}”?" if meant else ".")
    return f"{said} If it is meant as a message, write a space behind the “!”."
