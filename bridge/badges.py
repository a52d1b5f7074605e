"""Avatars with S, C and E: a person's initials over a band with the badge, a chat's kind in a bubble.

Bytes in, bytes out: nothing here knows Matrix or the policy's people. Clients cut avatars to circles, so everything
that matters stands inside the inscribed circle, and it has to be read at 24 pixels. The letters are those of the font
that Pillow brings along; a name in a script it cannot draw gets a silhouette, never an empty box.
"""

import io
import unicodedata
from functools import cache
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from policy.decision import Badge, Kind

SIDE = 192
"""Pixels of an avatar's side: sharp in a profile on a dense screen, some 5 kB as PNG."""

GROUND = (40, 50, 61)
INK = (255, 255, 255)
DARK_INK = (16, 22, 29)

COLOURS: dict[Badge, tuple[int, int, int]] = {
    "S": (38, 198, 208),
    "C": (255, 200, 10),
    "E": (178, 128, 255),
}
"""Blue-turquoise, yellow, purple: each apart from the ground by 3:1, and the letter on it by 4.5:1 (WCAG 2.2 AA)."""

KIND_LETTERS: dict[Kind, Badge] = {"staff": "S", "client": "C", "external": "E"}

_FINE = 4
"""Everything is drawn this many times larger and scaled down, for edges without steps."""

_BAND = 0.60
"""Where the band with the badge begins, as a share of the height: below it the letter still fits into the circle."""

# Letters that Unicode does not take apart into one of the Latin alphabet and a mark.
_PLAIN = str.maketrans("ŁĐØÆŒĦƏ", "LDOAOHE")

_UNDRAWABLE = "\uffff"


class _Place(NamedTuple):
    """Where letters go: their middle and the height of a capital, as shares of the side."""

    x: float
    y: float
    height: float
    width: float = 1.0
    """The most they may take of the side."""


_INITIALS = _Place(0.5, 0.36, 0.25, 0.64)
_SILHOUETTE = ((0.39, 0.15, 0.61, 0.37), (0.29, 0.41, 0.71, 0.83))
_MARK = _Place(0.5, 0.775, 0.255)
_BUBBLE = (0.15, 0.19, 0.85, 0.71)
_TAIL = ((0.30, 0.66), (0.30, 0.87), (0.52, 0.68))
_KIND = _Place(0.5, 0.45, 0.32)


def badge(letter: Badge, initials: str, *, side: int = SIDE) -> bytes:
    """The avatar of a person as a PNG of `side` pixels; the same arguments make the same bytes.

    Initials that cannot be drawn whole, and none at all, are replaced by a silhouette.
    """
    image, pen = _canvas(side)
    if initials and all(map(_drawable, initials)):
        _write(pen, image.width, initials, _INITIALS, INK)
    else:
        _silhouette(pen, image.width)
    pen.rectangle(_box((0, _BAND, 1, 1), image.width), fill=COLOURS[letter])
    _write(pen, image.width, letter, _MARK, DARK_INK)
    return _png(image, side)


def kind_badge(kind: Kind, *, side: int = SIDE) -> bytes:
    """The avatar of a chat of that kind (CHAT-9): its letter in a speech bubble of its colour."""
    letter = KIND_LETTERS[kind]
    image, pen = _canvas(side)
    pen.polygon([(x * image.width, y * image.width) for x, y in _TAIL], fill=COLOURS[letter])
    pen.rounded_rectangle(_box(_BUBBLE, image.width), radius=0.14 * image.width, fill=COLOURS[letter])
    _write(pen, image.width, letter, _KIND, DARK_INK)
    return _png(image, side)


def initials_of(name: str) -> str:
    """The first letters of a name's first and last word, as far as they can be drawn whole; else nothing.

    Accents are left off: "Åsa van der Öst" is AO.
    """
    words = [word for word in name.split() if word[0].isalpha()]
    ends = words if len(words) < 2 else (words[0], words[-1])
    letters = "".join(_plain(word[0]) for word in ends)
    return letters if all(map(_drawable, letters)) else ""


def _plain(letter: str) -> str:
    """A capital without its marks."""
    return unicodedata.normalize("NFD", letter.upper())[0].translate(_PLAIN)


@cache
def _drawable(letter: str) -> bool:
    font = _font(32)
    return bytes(font.getmask(letter)) != bytes(font.getmask(_UNDRAWABLE))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow is installed without FreeType and draws no letters of a given size.")
    return font


def _canvas(side: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (side * _FINE, side * _FINE), GROUND)
    return image, ImageDraw.Draw(image)


def _png(image: Image.Image, side: int) -> bytes:
    out = io.BytesIO()
    image.resize((side, side), Image.Resampling.LANCZOS).save(out, "PNG", optimize=True)
    return out.getvalue()


def _box(shares: tuple[float, float, float, float], width: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = (share * width for share in shares)
    return left, top, right, bottom


def _silhouette(pen: ImageDraw.ImageDraw, width: int) -> None:
    for part in _SILHOUETTE:
        pen.ellipse(_box(part, width), fill=INK)


def _write(pen: ImageDraw.ImageDraw, width: int, text: str, place: _Place, ink: tuple[int, int, int]) -> None:
    """Letters centred on what is seen of them, as bold as a font of one weight becomes with an outline."""
    font = _font(_size(text, place, width))
    stroke = round(font.size / 22)
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font, stroke_width=stroke)
    at = place.x * width - (left + right) / 2, place.y * width - (top + bottom) / 2
    pen.text(at, text, fill=ink, font=font, stroke_width=stroke, stroke_fill=ink)


def _size(text: str, place: _Place, width: int) -> int:
    """The font size whose capitals are as high as the place asks, smaller where the text would be too wide."""
    _, top, _, bottom = _font(100).getbbox("E")
    left, _, right, _ = _font(100).getbbox(text)
    high, wide = place.height * width / (bottom - top), place.width * width / (right - left)
    return int(100 * min(high, wide))
