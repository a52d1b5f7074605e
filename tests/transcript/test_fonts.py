"""Where fonts are looked for, and which comes first."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import ImageFont

from bridge.transcript import fonts as font_search
from bridge.transcript.fonts import Family, Fonts, FontsMissing


def copied(fonts: Fonts, name: str, to: Path) -> Path:
    file = next(family.files[0] for family in fonts.families if family.name == name)
    return Path(shutil.copyfile(file, to))


def drawing(letter: str, fonts: Fonts) -> Family:
    family = fonts.family_for(letter)
    assert family is not None
    return family


def test_a_font_of_the_configured_folder_comes_before_the_same_one_elsewhere(fonts: Fonts, tmp_path: Path) -> None:
    chosen = copied(fonts, "NotoSansHebrew", tmp_path / "NotoSansHebrew-Regular.ttf")

    found = font_search.find(tmp_path, system=False)

    assert drawing("א", found).files == (chosen,)


def test_a_typeface_of_the_operators_choice_comes_first(fonts: Fonts, tmp_path: Path) -> None:
    copied(fonts, "NotoSans", tmp_path / "School-Regular.ttf")

    assert font_search.find(tmp_path, system=False).families[0].name == "School"


def test_an_emoji_font_never_draws_the_digits(fonts: Fonts, tmp_path: Path) -> None:
    copied(fonts, "NotoSans", tmp_path / "SchoolEmoji.ttf")

    found = font_search.find(tmp_path, system=False)

    assert drawing("7", found).name == "NotoSans"


def test_a_broken_font_file_draws_nothing_and_stops_nothing(tmp_path: Path) -> None:
    for place, content in enumerate((b"", b"ttcf", b"\x00\x01\x00\x00\x00\x09rest", bytes(500))):
        (tmp_path / f"Broken{place}-Regular.ttf").write_bytes(content)

    found = font_search.find(tmp_path, system=False)

    assert drawing("a", found).name == "NotoSans"


def test_bold_and_italic_files_go_with_their_family(fonts: Fonts, tmp_path: Path) -> None:
    for style in ("Regular", "Bold", "Italic", "BoldItalic", "Thin"):
        copied(fonts, "NotoSans", tmp_path / f"NotoSans-{style}.ttf")

    family = font_search.find(tmp_path, system=False).families[0]

    styles = [file.stem.removeprefix("NotoSans-") for file in family.files]
    assert styles == ["Regular", "Bold", "BoldItalic", "Italic"]


def test_without_any_font_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(font_search, "PACKAGES", ())

    with pytest.raises(FontsMissing, match="install qwil with the extra `export`"):
        font_search.find(tmp_path, system=False)


def test_what_a_font_says_it_draws_is_what_the_engine_finds_in_it(fonts: Fonts) -> None:
    """Read a second time with Pillow's FreeType: a letter that is there is not drawn as the box for none."""
    family: Family = next(family for family in fonts.families if family.name == "NotoSansTamil")
    drawn = ImageFont.truetype(str(family.files[0]), 24)
    box = bytes(drawn.getmask("\uffff"))

    for code in range(0x0B80, 0x0C00):
        assert family.draws(chr(code)) == (bytes(drawn.getmask(chr(code))) != box), hex(code)
