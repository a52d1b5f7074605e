"""QR codes as pictures that need nothing else: SVG in a page or a letter."""

from __future__ import annotations

import io

import segno


def qr_svg(text: str) -> str:
    """The text as an SVG element with the quiet border that scanners need (ISO/IEC 18004, 4 modules)."""
    out = io.BytesIO()
    code = segno.make(text, error="m", micro=False)
    code.save(out, kind="svg", border=4, xmldecl=False, svgns=True, dark="#000", light="#fff", omitsize=True)
    return out.getvalue().decode()
