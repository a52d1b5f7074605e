"""Avatars can be read and told apart: by their letter, their colour, and whatever the person is called."""

import io
from itertools import combinations
from typing import get_args

import pytest
from PIL import Image, ImageChops

from bridge.badges import COLOURS, DARK_INK, GROUND, INK, KIND_LETTERS, SIDE, badge, initials_of, kind_badge
from policy.decision import Badge, Kind

LETTERS: tuple[Badge, ...] = get_args(Badge)
KINDS: tuple[Kind, ...] = get_args(Kind)

Colour = tuple[int, int, int]


def drawn(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def at_24_pixels(png: bytes) -> Image.Image:
    return drawn(png).resize((24, 24), Image.Resampling.BICUBIC)


def luminance(colour: Colour) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (each / 255 for each in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Colour, other: Colour) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def share_unlike(one: Image.Image, other: Image.Image) -> float:
    """The share of pixels that differ by more than an eye overlooks."""
    difference = ImageChops.difference(one, other).convert("L")
    return sum(difference.histogram()[60:]) / (one.width * one.height)


def test_a_badge_is_a_square_png_and_always_the_same_bytes() -> None:
    png = badge("S", "AO")

    assert png.startswith(b"\x89PNG")
    assert drawn(png).size == (SIDE, SIDE)
    assert badge("S", "AO") == png


@pytest.mark.parametrize("letter", LETTERS)
def test_the_letter_and_the_initials_stand_out_as_wcag_aa_asks(letter: Badge) -> None:
    assert contrast(COLOURS[letter], DARK_INK) >= 4.5
    assert contrast(GROUND, INK) >= 4.5
    assert contrast(COLOURS[letter], GROUND) >= 3


def test_staff_are_blue_turquoise_clients_yellow_and_external_staff_purple() -> None:
    (s_red, s_green, s_blue), (c_red, c_green, c_blue), (e_red, e_green, e_blue) = (COLOURS[each] for each in "SCE")

    assert s_red < 0.5 * min(s_green, s_blue)
    assert c_blue < 0.5 * min(c_red, c_green)
    assert e_green < 0.8 * min(e_red, e_blue)


@pytest.mark.parametrize(("one", "other"), list(combinations(LETTERS, 2)))
def test_badges_differ_at_24_pixels_where_colours_cannot_be_told_apart(one: Badge, other: Badge) -> None:
    """The letter alone has to do for whoever sees no colours: compare shapes, dark on light."""

    def shape(letter: Badge) -> Image.Image:
        band = at_24_pixels(badge(letter, "AO")).crop((6, 15, 18, 22))
        ground = luminance(COLOURS[letter])
        return band.convert("L").point(lambda v: 255 if (v / 255) ** 2.2 > 0.45 * ground else 0)

    assert share_unlike(shape(one).convert("RGB"), shape(other).convert("RGB")) > 0.05


def test_a_badge_cut_to_a_circle_loses_neither_letter_nor_initials() -> None:
    image = drawn(badge("C", "WM"))
    middle, radius = SIDE / 2, SIDE / 2

    outside = [
        image.getpixel((x, y))
        for x in range(SIDE)
        for y in range(SIDE)
        if (x + 0.5 - middle) ** 2 + (y + 0.5 - middle) ** 2 > radius**2
    ]

    assert {GROUND, COLOURS["C"]} <= set(outside)
    assert INK not in outside
    assert DARK_INK not in outside


@pytest.mark.parametrize(
    ("name", "initials"),
    [
        ("Amara Okafor", "AO"),
        ("Åsa van der Öst", "AO"),
        ("Łukasz Żak", "LZ"),
        ("  ben   ode ", "BO"),
        ("Plato", "P"),
        ("O'Neill (Room 4)", "O"),
        ("陈美", ""),
        ("محمد علي", ""),
        ("Νίκος Λάσκαρης", ""),
        ("", ""),
        ("4711", ""),
    ],
)
def test_initials_come_from_the_first_and_the_last_word_or_not_at_all(name: str, initials: str) -> None:
    assert initials_of(name) == initials


@pytest.mark.parametrize("initials", ["陈", "م", "A陈", "☃"])
def test_what_cannot_be_drawn_becomes_a_silhouette_and_never_an_empty_box(initials: str) -> None:
    assert badge("E", initials) == badge("E", "")


def test_a_silhouette_is_drawn_where_there_are_no_initials() -> None:
    top = drawn(badge("S", "")).crop((0, 0, SIDE, SIDE // 2))

    assert INK in {colour for _, colour in top.getcolors(SIDE * SIDE)}


def test_long_initials_stay_inside_the_picture() -> None:
    image = drawn(badge("S", "WWWWWW"))
    sixth, half = SIDE // 6, SIDE // 2
    left, right = image.crop((0, 0, sixth, half)), image.crop((SIDE - sixth, 0, SIDE, half))
    ground = Image.new("RGB", (sixth, half), GROUND)

    assert share_unlike(left, ground) == share_unlike(right, ground) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_chats_avatar_shows_its_kind_in_the_kinds_colour(kind: Kind) -> None:
    colours = {colour: count for count, colour in drawn(kind_badge(kind)).getcolors(SIDE * SIDE)}

    assert colours[COLOURS[KIND_LETTERS[kind]]] > 0.15 * SIDE * SIDE
    assert kind_badge(kind) != badge(KIND_LETTERS[kind], "")


def test_the_side_may_be_asked_for() -> None:
    assert drawn(badge("S", "AO", side=64)).size == drawn(kind_badge("staff", side=64)).size == (64, 64)
