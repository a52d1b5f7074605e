"""Which usernames and passwords somebody may choose (INV-7); objections are keys of the wording."""

from __future__ import annotations

import re

SHORTEST_USERNAME, LONGEST_USERNAME = 6, 100
SHORTEST_PASSWORD, LONGEST_PASSWORD = 10, 512

_ALLOWED = re.compile(r"[a-z0-9._-]+")


def username_objection(username: str) -> str:
    """Why this cannot be a username, else empty: six characters or more, with a letter, no e-mail, no specials."""
    if not username:
        return "username_missing"
    if "@" in username:
        return "username_is_email"
    if not _ALLOWED.fullmatch(username):
        return "username_characters"
    if username.startswith("_"):
        # Synapse keeps these for application services.
        return "username_begins"
    if len(username) < SHORTEST_USERNAME:
        return "username_short"
    if len(username) > LONGEST_USERNAME:
        return "username_long"
    return "" if re.search("[a-z]", username) else "username_letter"


def password_objection(password: str, again: str, username: str) -> str:
    """Why this cannot be the password, else empty."""
    if len(password) < SHORTEST_PASSWORD:
        return "password_short"
    if len(password) > LONGEST_PASSWORD:
        return "password_long"
    if username and username in password.casefold() and len(password) < len(username) + SHORTEST_PASSWORD // 2:
        return "password_is_username"
    return "" if password == again else "password_differs"
