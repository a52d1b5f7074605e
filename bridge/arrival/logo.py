"""The logo of an organisation, from the file beside the policy that it names."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from policy.model import Organisation

LARGEST = 500_000
"""Bytes; it travels in every mail."""

TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}

IN_MAILS = frozenset({"image/png", "image/jpeg", "image/gif"})
"""What mail programs draw."""


class Logo(NamedTuple):
    """A picture."""

    data: bytes
    mimetype: str


def logo_of(organisation: Organisation, folder: Path) -> Logo | None:
    """The logo, if there is one that can be shown; `folder` is the policy's, and none outside it is."""
    if not organisation.logo:
        return None
    file = (folder / organisation.logo).resolve()
    mimetype = TYPES.get(file.suffix.lower())
    if mimetype is None or not file.is_relative_to(folder.resolve()):
        return None
    try:
        data = file.read_bytes() if file.stat().st_size <= LARGEST else b""
    except OSError:
        return None
    return Logo(data, mimetype) if data else None
