"""The people of one organisation as columns of text, before anybody has looked at what they say.

A file of people is checked by column, not by person: the columns of a good file pass at the speed of the interpreter's
own loops, and only a column that does not pass is gone through cell by cell, to say where it is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from policy.mistake import Place

COLUMNS = (
    "identifier",
    "first_name",
    "last_name",
    "role",
    "job_title",
    "email",
    "mobile",
    "matrix",
    "contact_books",
    "admin",
    "review",
    "status",
    "until",
    "unlisted",
)
"""The headings of a CSV file, as the import template has them."""


@dataclass(slots=True)
class Sheet:
    """Columns of equal length under their headings; a column may be missing."""

    file: str
    columns: dict[str, list[str]] = field(default_factory=dict)
    count: int = 0
    """How many people."""
    lost: set[str] = field(default_factory=set)
    """Identifiers of people whose row could not be read: nobody shall call them unknown."""
    whole: bool = True
    """False when people are missing here, so that nothing follows from who is not."""
    bare: bool = False
    """True where no cell has spaces around it."""
    torn: bool = False
    """True when not even their identifiers are known."""

    def cells(self, heading: str, start: int, end: int) -> list[str]:
        """A stretch of a column; empty cells where the column is missing."""
        column = self.columns.get(heading)
        if column is None:
            return [""] * (end - start)
        return column if start == 0 and end == len(column) else column[start:end]

    def place(self, index: int, heading: str) -> Place:
        """Where the cell of a person stands, or where it would; index -1 is the headings."""
        raise NotImplementedError
