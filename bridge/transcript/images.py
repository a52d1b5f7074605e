"""Pictures small enough for a page: decoded under limits and written anew, so that nothing of the sender's bytes
reaches it. Only pixel formats that Pillow reads itself; SVG is a program and is never opened.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
MOVING = ("GIF", "PNG", "WEBP")
"""Those of them that may move."""

MOST_PIXELS = 40_000_000
"""A decoded picture takes 4 bytes a pixel; what claims to be larger is not decoded."""

SIZE = (480, 360)
"""Pixels of a thumbnail at most."""

DRAWN_AT_ONCE = (960, 720)
"""What a JPEG is scaled to while it is decoded, where its own size is larger."""


class NoPicture(Exception):
    """A file that is no picture we draw; the text says why."""


class Thumbnail(NamedTuple):
    """A picture made small."""

    jpeg: bytes
    """The first frame, without any metadata."""
    moves: bool
    """Whether clients show more of them, one after the other."""


def thumbnail(path: Path) -> Thumbnail:
    """A picture made small; raises `NoPicture`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # judged below, by our own limit
            with Image.open(path, formats=FORMATS) as picture:
                return Thumbnail(_small(picture), _moves(picture))
    except NoPicture:
        raise
    except Image.DecompressionBombError:
        raise NoPicture("the picture claims too many pixels to draw") from None
    except Exception as wrong:  # Pillow's decoders raise whatever the broken bytes led them into
        raise NoPicture(f"the picture cannot be decoded ({type(wrong).__name__})") from wrong


def _moves(picture: Image.Image) -> bool:
    # Telephones put several pictures into one JPEG, of which clients show the first.
    if picture.format not in MOVING:
        return False
    try:
        return bool(getattr(picture, "is_animated", False))
    except Exception:  # of what is broken behind its first picture, no more than that one is ever seen
        return False


def _small(picture: Image.Image) -> bytes:
    if picture.width * picture.height > MOST_PIXELS:
        raise NoPicture(f"the picture claims {picture.width} × {picture.height} pixels, too many to draw")
    picture.draft("RGB", DRAWN_AT_ONCE)
    upright = ImageOps.exif_transpose(picture)
    # Pillow cannot halve sixteen bits of grey, by which it makes large pictures small more quickly.
    upright.thumbnail(SIZE, reducing_gap=None if upright.mode.startswith("I;16") else 2.0)
    out = io.BytesIO()
    drawn = _on_white(upright)
    drawn.info.clear()  # Pillow would write a comment of the sender's into the new file
    drawn.save(out, "JPEG", quality=80)
    return out.getvalue()


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode in ("RGB", "L"):
        return picture
    if picture.mode.startswith("I"):  # 16 bits of grey, as scanners make them: all but black would become white
        return picture.convert("I").point(lambda grey: grey * (1 / 257)).convert("L")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    whole = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
