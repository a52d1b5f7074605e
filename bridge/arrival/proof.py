"""Proving that a Matrix account is one's own: the bot sends a code to its direct chat, and the page asks for it.

Codes live in memory: after a restart one asks for another.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import Literal

from policy.model import Moment, PersonId, UserId

LIFE = 900.0
"""Seconds a code is good for."""

MOST_GUESSES = 5
MOST_CODES = 5
"""So many codes are sent for one invitation in an hour."""

HOUR = 3600.0

Outcome = Literal["right", "wrong", "old"]


@dataclass(slots=True)
class _Code:
    matrix: UserId
    digits: str
    until: Moment
    guesses: int = 0


class Proofs:
    """The codes that are out."""

    def __init__(self) -> None:
        self._codes: dict[PersonId, _Code] = {}
        self._sent: dict[PersonId, list[Moment]] = {}

    def fresh(self, person: PersonId, matrix: UserId, now: Moment) -> str | None:
        """A code for this account, in place of any before; none where there were too many."""
        lately = [moment for moment in self._sent.get(person, ()) if moment > now - HOUR]
        if len(lately) >= MOST_CODES:
            return None
        self._sent[person] = [*lately, now]
        code = _Code(matrix, f"{secrets.randbelow(10**8):08d}", now + LIFE)
        self._codes[person] = code
        return code.digits

    def awaited(self, person: PersonId, now: Moment) -> UserId | None:
        """The account to which a code was sent that is still good."""
        code = self._codes.get(person)
        return code.matrix if code is not None and now < code.until else None

    def check(self, person: PersonId, digits: str, now: Moment) -> Outcome:
        """Is this the code? After a few wrong ones no answer is right any more."""
        code = self._codes.get(person)
        if code is None or now >= code.until or code.guesses >= MOST_GUESSES:
            return "old"
        code.guesses += 1
        given = "".join(digits.split()).replace("-", "")
        return "right" if hmac.compare_digest(given.encode(), code.digits.encode()) else "wrong"

    def forget(self, person: PersonId) -> None:
        """The code has done its work."""
        self._codes.pop(person, None)
