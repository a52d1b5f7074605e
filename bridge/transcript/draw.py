"""Draws one volume: run as a process of its own in a folder of its own, `python draw.py FOLDER`.

The folder holds `volume.json`, `messages.jsonl`, `thumbnails/` and `fonts/`; the PDF is put beside them. A process
for each volume, because typst keeps what it has laid out for as long as its process lives, and because a process can be
ended when a volume takes too long. Nothing outside the folder can be read by the template: it is the root, and there is
no network in it.
"""

import json
import signal
import sys
from pathlib import Path

import typst

TEMPLATE = Path(__file__).with_name("page.typ")
PDF = "volume.pdf"


def draw(folder: Path) -> None:
    """Draw the volume in the folder as its `order.json` says; raises `typst.TypstError`."""
    order = json.loads((folder / "order.json").read_text())
    # Whoever started this process ends it in time; where they were killed themselves it ends on its own.
    signal.alarm(order["seconds"])
    # Of the fonts that the engine brings along the template names one, for code.
    fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=[folder / "fonts"])
    drawn = typst.compile(
        folder / TEMPLATE.name,
        root=folder,
        font_paths=fonts,
        ignore_system_fonts=True,
        sys_inputs={"families": json.dumps(_families(fonts, folder / "fonts"))},
        pdf_standards=order["standards"],
        timestamp=order["timestamp"],
    )
    (folder / PDF).write_bytes(drawn)


def _families(fonts: typst.Fonts, folder: Path) -> list[str]:
    """Families in the order of preference, in which the links in the folder are named; typst tells where they lead."""
    places = {str(link.resolve()): place for place, link in enumerate(sorted(folder.iterdir()))}
    wanted = [font for font in fonts.fonts() if font.path in places and "Mono CJK" not in font.family]
    ordered = sorted(wanted, key=lambda font: (places[font.path or ""], _han_order(font.family)))
    return list(dict.fromkeys(font.family for font in ordered))


def _han_order(family: str) -> int:
    """One file draws the Han letters of five regions: the simplified forms where nothing tells otherwise."""
    return 0 if family.endswith("CJK SC") else 1


def main() -> int:
    try:
        draw(Path(sys.argv[1]))
    except typst.TypstError as wrong:
        sys.stderr.buffer.write("; ".join([wrong.message, *wrong.hints]).encode(errors="replace"))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
