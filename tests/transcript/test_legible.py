"""What may stand on a page, and how the rest is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.transcript.fonts import Fonts
from bridge.transcript.legible import BREAK, PIECE, Legible, broken


def legible(text: str) -> str:
    return Legible(lambda _: True)(text)


def test_what_fonts_draw_stays_as_it_is() -> None:
    for text in ("Plain text.", "Xin chào", "שלום עולם", "مرحبا", "नमस्ते", "木曜日", "क\u200dष", "a\u00a0b"):
        assert legible(text) == text


def test_controls_overrides_private_letters_and_broken_ones_are_shown_by_their_numbers() -> None:
    assert legible("a\x00b\x1bc") == "a[U+0000]b[U+001B]c"
    assert legible("c\ud800d\ue000e\uffff") == "c[U+D800]d[U+E000]e[U+FFFF]"
    assert legible("invoice\u202efdp.exe") == "invoice[U+202E]fdp.exe"
    assert legible("\u2067right\u2069") == "[U+2067]right[U+2069]"
    assert legible("a\ufeffb\U000e0041c") == "a[U+FEFF]b[U+E0041]c"


def test_what_no_font_draws_is_shown_by_its_number() -> None:
    assert Legible(lambda character: character != "😀")("a 😀") == "a [U+1F600]"


def test_every_end_of_line_is_one_line_feed() -> None:
    assert legible("a\r\nb\rc\u2028d\u2029e\x0bf\x85g") == "a\nb\nc\nd\ne\nf\ng"


def test_a_long_word_can_be_broken_and_loses_nothing() -> None:
    shown = legible("x" * 200_000)

    assert shown.replace(BREAK, "") == "x" * 200_000
    assert max(map(len, shown.split(BREAK))) == PIECE


def test_no_break_goes_through_what_stands_for_a_character() -> None:
    shown = Legible(str.isascii)("x" * 7 + "\u0e01" * 30 + "y" * 25)

    assert shown.split(BREAK) == ["x" * 7, *["[U+0E01]"] * 30, "y" * 10, "y" * 10, "y" * 5]


def test_the_more_columns_the_shorter_the_words_that_are_left_whole() -> None:
    assert broken("responsibilities 12", 2) == "responsibilities 12"
    assert broken("responsibilities", 5).split(BREAK) == ["responsib", "ilities"]


def test_a_word_of_a_length_that_fits_on_a_line_is_left_alone() -> None:
    for word in ("Rechtsschutzversicherungsgesellschaften", "https://hillside.example/plan/of/the/day"):
        assert legible(f"{word} {word}") == f"{word} {word}"


def test_scripts_that_break_anywhere_get_no_breaks_inside() -> None:
    assert legible("木曜日に署名した用紙を持ってきてください" * 20).count(BREAK) == 0


def test_towers_of_marks_are_cut_down_and_the_rest_is_shown() -> None:
    assert legible("a" + "\u0301" * 8) == "a" + "\u0301" * 6 + "[U+0301][U+0301]"


def test_the_fonts_from_packages_draw_ten_scripts_and_no_emoji(fonts: Fonts) -> None:
    assert all(fonts.draws(letter) for letter in "aệЖΩعא木の한क")
    assert not fonts.draws("😀")
    assert not fonts.draws("\ue000")


def test_only_the_fonts_that_a_text_needs_are_given_to_the_page(fonts: Fonts) -> None:
    assert [family.name for family in fonts.needed("abc")] == ["NotoSans"]
    assert [family.name for family in fonts.needed("aع")] == ["NotoSans", "NotoSansArabic"]


@given(st.text(st.characters()))
def test_whatever_is_written_what_is_shown_can_be_drawn(fonts: Fonts, text: str) -> None:
    shown = Legible(fonts.draws)(text)

    assert shown.encode().decode() == shown
    assert Legible(fonts.draws)(shown.replace(BREAK, "")).replace(BREAK, "") == shown.replace(BREAK, "")
