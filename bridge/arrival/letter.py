"""Invitations on paper: a PDF with a page for each person, whose QR code is the link, for a school bag."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from bridge.arrival.logo import Logo
from bridge.arrival.qr import qr_svg
from bridge.arrival.words import wording_of
from policy.model import Membership, Moment, Organisation

TEMPLATE = "letter.typ"
ENDINGS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/svg+xml": "svg",
}


class CannotDraw(Exception):
    """Letters cannot be made here; the text says what to install."""


class Letter(NamedTuple):
    """One invitation on paper."""

    member: Membership
    link: str
    until: Moment
    note: str = ""


def letters_pdf(organisation: Organisation, letters: Sequence[Letter], logo: Logo | None, now: Moment) -> bytes:
    """A PDF of the letters in their order; raises `CannotDraw`. It computes for a while: call it in a thread."""
    try:
        import typst

        from bridge.transcript import fonts
    except ImportError as error:
        raise CannotDraw("Letters need more than is installed here: install qwil with the extra `export`.") from error
    with tempfile.TemporaryDirectory(prefix="qwil-letters-") as name:
        folder = Path(name)
        order = _order(organisation, letters)
        _write(folder, order, letters, logo)
        try:
            found = fonts.find().needed(json.dumps(order, ensure_ascii=False))
        except fonts.FontsMissing as error:
            raise CannotDraw(str(error)) from error
        (folder / "fonts").mkdir()
        for place, file in enumerate(file for family in found for file in family.files):
            (folder / "fonts" / f"{place:03d}-{file.name}").symlink_to(file.resolve())
        drawn = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[folder / "fonts"])
        try:
            return bytes(
                typst.compile(
                    folder / TEMPLATE,
                    root=folder,
                    font_paths=drawn,
                    ignore_system_fonts=True,
                    sys_inputs={"families": json.dumps(_families(drawn, folder / "fonts"))},
                    timestamp=int(now),
                )
            )
        except typst.TypstError as error:
            raise CannotDraw(f"The letters could not be drawn: {error.message}") from error


def _order(organisation: Organisation, letters: Sequence[Letter]) -> dict[str, Any]:
    wording = wording_of(organisation.language)
    return {
        "language": wording.language,
        "organisation": organisation.name,
        "title": wording("page_title", organisation=organisation.name),
        "intro": wording("letter_intro", organisation=organisation.name),
        "decline": wording("letter_decline"),
        "logo": "",
        "letters": [
            {
                "name": (name := _breakable(one.member.name)),
                "job_title": _breakable(one.member.job_title),
                "greeting": wording("mail_greeting", name=name),
                "note": _breakable(one.note),
                "link": one.link,
                "qr": f"qr-{number}.svg",
                "until": wording("letter_until", until=wording.moment(one.until, organisation.timezone), name=name),
            }
            for number, one in enumerate(letters)
        ],
    }


def _breakable(text: str) -> str:
    """With places to break a word that is wider than the page, such as a web address (U+200B shows as nothing)."""
    return re.sub(r"\S{40,}", lambda word: "\u200b".join(re.findall(r".{1,20}", word[0])), text)


def _write(folder: Path, order: dict[str, Any], letters: Sequence[Letter], logo: Logo | None) -> None:
    if logo is not None:
        order["logo"] = f"logo.{ENDINGS[logo.mimetype]}"
        (folder / order["logo"]).write_bytes(logo.data)
    for number, one in enumerate(letters):
        (folder / f"qr-{number}.svg").write_text(qr_svg(one.link))
    (folder / "letters.json").write_text(json.dumps(order, ensure_ascii=False), encoding="utf-8")
    (folder / TEMPLATE).write_bytes((files("bridge.arrival") / TEMPLATE).read_bytes())


def _families(fonts: Any, folder: Path) -> list[str]:
    """Families in the order in which their files are named; typst tells where each lies."""
    places = {str(link.resolve()): place for place, link in enumerate(sorted(folder.iterdir()))}
    ordered = sorted((font for font in fonts.fonts() if font.path in places), key=lambda font: places[font.path])
    return list(dict.fromkeys(font.family for font in ordered))
