"""Shared files: fetched once, kept under names that harm nobody, and listed."""

from __future__ import annotations

import csv
import hashlib
import io
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from bridge.transcript import images
from bridge.transcript.images import NoPicture, thumbnail
from bridge.transcript.media import Shelf, harmless, safe_name
from bridge.transcript.model import Received
from bridge.transcript.offers import Offer
from tests.transcript.room import PAT, PEOPLE, START, Room, picture


def offer(
    name: str = "plan.pdf", mimetype: str = "application/pdf", mxc: str | None = None, event: str = "$abc"
) -> Offer:
    return Offer(event, name, mimetype, mxc)


def index(folder: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO((folder / "index.csv").read_text(encoding="utf-8-sig"))))


def test_a_file_is_kept_with_its_size_and_hash(tmp_path: Path) -> None:
    room = Room()
    room.uploads["mxc://h/1"] = b"x" * 5000
    shelf = Shelf(tmp_path, room.fetch)

    file = shelf.keep(7, PEOPLE[PAT], START, offer(mxc="mxc://h/1"))
    shelf.close()

    assert (file.path, file.size, file.sha256) == (
        "media/000007-abc.pdf",
        5000,
        hashlib.sha256(b"x" * 5000).hexdigest(),
    )
    assert (tmp_path / "media/000007-abc.pdf").read_bytes() == b"x" * 5000
    assert index(tmp_path)[1][:4] == ["7", "2026-11-24T09:00:00.000Z", "Pat Chan (@pat:hillside.example)", "plan.pdf"]


def test_the_same_upload_shared_twice_is_one_file_and_two_lines(tmp_path: Path) -> None:
    room = Room()
    room.uploads["mxc://h/1"] = b"x"
    shelf = Shelf(tmp_path, room.fetch)

    first = shelf.keep(1, PEOPLE[PAT], START, offer(mxc="mxc://h/1"))
    second = shelf.keep(2, PEOPLE[PAT], START, offer("again.pdf", mxc="mxc://h/1", event="$def"))
    shelf.close()

    assert (second.name, second.path) == ("again.pdf", first.path)
    assert room.fetched == ["mxc://h/1"]
    assert [row[0] for row in index(tmp_path)] == ["number", "1", "2"]


def test_pictures_of_one_text_have_names_of_their_own(tmp_path: Path) -> None:
    room = Room()
    room.uploads |= {"mxc://h/1": b"1", "mxc://h/2": b"2"}
    shelf = Shelf(tmp_path, room.fetch)

    kept = [
        shelf.keep(3, PEOPLE[PAT], START, offer(mxc=f"mxc://h/{place}")._replace(place=place)).path for place in (1, 2)
    ]
    shelf.close()

    assert kept == ["media/000003-abc-1.pdf", "media/000003-abc-2.pdf"]


def test_a_picture_that_does_not_say_its_type_is_drawn(tmp_path: Path) -> None:
    room = Room()
    room.uploads["mxc://h/1"] = picture()
    shelf = Shelf(tmp_path, room.fetch)

    shelf.keep(1, PEOPLE[PAT], START, offer("photo", "application/octet-stream", "mxc://h/1")._replace(picture=True))
    shelf.close()

    assert [path.stat().st_size > 0 for path in (tmp_path / "thumbnails").iterdir()] == [True]


def test_a_file_that_is_lost_says_why(tmp_path: Path) -> None:
    room = Room()
    shelf = Shelf(tmp_path, room.fetch)

    lost = shelf.keep(1, PEOPLE[PAT], START, offer(mxc="mxc://h/1"))
    unnamed = shelf.keep(2, PEOPLE[PAT], START, offer(mxc="https://elsewhere.example/file"))

    assert lost.missing == "The homeserver no longer has it (404 M_NOT_FOUND)."
    assert unnamed.missing == "The message names no upload on a homeserver."


def test_a_download_that_breaks_off_is_missing_and_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    def broken(_: str):  # type: ignore[no-untyped-def]
        yield b"half"
        raise ConnectionResetError("connection reset")

    file = Shelf(tmp_path, broken).keep(1, PEOPLE[PAT], START, offer(mxc="mxc://h/1"))

    assert file.missing == "Fetching it failed: connection reset."
    assert not (tmp_path / "media/000001-abc.pdf").exists()


THEN = Received(hashlib.sha256(b"as it came").hexdigest(), 10)


def test_a_file_that_is_lost_says_what_it_was_when_it_came(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, Room().fetch, {"mxc://hillside.example/1": THEN})

    kept = shelf.keep(1, PEOPLE[PAT], START, offer(mxc="mxc://hillside.example/1"))

    assert kept.path is None
    assert str(kept.missing).endswith(f" When it was received it had 10 bytes and the SHA-256 {THEN.sha256}.")


def test_a_file_that_is_not_the_one_that_came_is_kept_and_says_so(tmp_path: Path) -> None:
    room = Room()
    room.uploads["mxc://hillside.example/1"] = b"another one"
    shelf = Shelf(tmp_path, room.fetch, {"mxc://hillside.example/1": THEN})

    kept = shelf.keep(1, PEOPLE[PAT], START, offer(mxc="mxc://hillside.example/1"))
    shelf.close()

    assert (tmp_path / str(kept.path)).read_bytes() == b"another one"
    assert kept.changed == (
        f"It is not the file that was received. When it was received it had 10 bytes and the SHA-256 {THEN.sha256}."
    )
    assert index(tmp_path)[1][-1] == kept.changed


def test_a_file_that_is_still_the_one_that_came_has_nothing_to_say(tmp_path: Path) -> None:
    room = Room()
    room.uploads["mxc://hillside.example/1"] = b"as it came"
    shelf = Shelf(tmp_path, room.fetch, {"mxc://hillside.example/1": THEN})

    assert shelf.keep(1, PEOPLE[PAT], START, offer(mxc="mxc://hillside.example/1")).changed is None


@pytest.mark.parametrize(
    ("name", "mimetype", "event"),
    [
        ("../../etc/passwd", "text/html", "$../../x"),
        ("a.exe", "application/x-msdownload", "$CON"),
        ("plan\u202efdp.exe", "image/svg+xml", "$\x00\n"),
        ("x" * 5000, "IMAGE/JPEG; charset=x", "$" + "y" * 5000),
    ],
)
def test_names_in_the_zip_come_from_number_and_event_alone(name: str, mimetype: str, event: str) -> None:
    safe = safe_name(12, offer(name, mimetype, event=event))

    assert safe.startswith("000012-")
    assert safe.endswith((".bin", ".jpg"))
    assert len(safe) < 80
    assert not set(safe) & set('/\\:*?"<>|\x00\n\u202e')
    assert ".." not in safe


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t1", "\r1", "|cmd",
     " =1", "\ufeff=1", "\x00=1", "\u200b=1", '"=1', "＝1", "＠SUM"],
)  # fmt: skip
def test_no_cell_is_a_formula(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("plan.pdf;=1+1", "plan.pdf;'=1+1"),
        ("plan.pdf,@SUM(A1)", "plan.pdf,'@SUM(A1)"),
        ('plan;"=cmd|x";-1', "plan;\"'=cmd|x\";'-1"),
        ("plan\t=1\n+1", "plan\t'=1\n'+1"),
    ],
)
def test_no_part_of_a_cell_is_a_formula_where_cells_end_at_another_sign(cell: str, written: str) -> None:
    """Spreadsheets of many countries part cells by semicolons, inside of quotation marks too."""
    assert harmless(cell) == written


@pytest.mark.parametrize(
    "cell", ["Trip - final (2).pdf", "a=b.txt", "x@y.example", "Meyer; Anna.docx", "50 %.xlsx", ""]
)
def test_other_cells_stay_as_they_are(cell: str) -> None:
    assert harmless(cell) == cell


def test_a_file_name_that_is_a_formula_is_none_in_the_index(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, Room().fetch)
    shelf.keep(1, PEOPLE[PAT], START, offer('=HYPERLINK("https://evil.example","a\nb")'))
    shelf.close()

    assert index(tmp_path)[1][3] == '\'=HYPERLINK("https://evil.example","a[U+000A]b")'


def test_no_file_name_in_the_index_looks_like_another_one(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, Room().fetch)
    for name in ("invoice\u202efdp.exe", "a\x00\x1b[2J\u2066.txt", "Größe – 表 👍.pdf"):
        shelf.keep(1, PEOPLE[PAT], START, offer(name))
    shelf.close()

    names = [row[3] for row in index(tmp_path)[1:]]
    assert names == ["invoice[U+202E]fdp.exe", "a[U+0000][U+001B][2J[U+2066].txt", "Größe – 表 👍.pdf"]


# Pictures


def small(tmp_path: Path, content: bytes) -> Image.Image:
    (tmp_path / "picture").write_bytes(content)
    return Image.open(io.BytesIO(thumbnail(tmp_path / "picture").jpeg))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
def test_a_picture_becomes_a_small_jpeg(tmp_path: Path, form: str) -> None:
    drawn = small(tmp_path, picture(size=(1600, 1200), form=form))

    assert (drawn.format, drawn.size) == ("JPEG", (480, 360))


@pytest.mark.parametrize(("form", "moves"), [("GIF", True), ("PNG", True), ("WEBP", True), ("MPO", False)])
def test_what_clients_show_one_after_the_other_moves_and_what_a_telephone_adds_does_not(
    tmp_path: Path, form: str, moves: bool
) -> None:
    """MPO is a JPEG that holds several pictures."""
    first, second = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "blue")
    first.save(tmp_path / "picture", form, save_all=True, append_images=[second])

    assert thumbnail(tmp_path / "picture").moves is moves


def test_a_thumbnail_carries_nothing_of_the_senders_metadata(tmp_path: Path) -> None:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x010E] = "taken at 12 Church Lane"
    Image.new("RGB", (100, 100)).save(out, "JPEG", exif=exif, comment=b"secret")

    (tmp_path / "picture").write_bytes(out.getvalue())

    drawn = thumbnail(tmp_path / "picture").jpeg
    assert b"Church" not in drawn
    assert b"secret" not in drawn


def test_a_picture_that_lies_on_its_side_is_set_upright(tmp_path: Path) -> None:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 100)).save(out, "JPEG", exif=exif)

    assert small(tmp_path, out.getvalue()).size == (90, 360)


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(out, "PNG")

    assert small(tmp_path, out.getvalue()).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("grey", [0, 0x4000, 0x8000, 0xFFFF])
def test_a_scan_in_sixteen_bits_of_grey_is_as_dark_as_it_was(tmp_path: Path, grey: int) -> None:
    out = io.BytesIO()
    Image.new("I;16", (10, 10), grey).save(out, "PNG")

    assert small(tmp_path, out.getvalue()).convert("L").getpixel((5, 5)) == pytest.approx(grey / 257, abs=2)


def test_a_scan_in_sixteen_bits_of_grey_is_drawn_however_large_it_is(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("I;16", (1654, 2339), 0x8000).save(out, "PNG")

    drawn = small(tmp_path, out.getvalue())
    assert drawn.size == (255, 360)
    assert drawn.convert("L").getpixel((100, 100)) == pytest.approx(128, abs=2)


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        whole = kind + content
        return len(content).to_bytes(4, "big") + whole + zlib.crc32(whole).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\x00" * 100)) + chunk(b"IEND", b"")
    )


def test_a_picture_that_claims_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    for side in (7_000, 60_000):
        (tmp_path / "bomb").write_bytes(png_of(side, side))

        with pytest.raises(NoPicture, match=r"too many to draw|too many pixels"):
            thumbnail(tmp_path / "bomb")


@pytest.mark.parametrize(
    "content",
    [b"", b"GIF89a", b"\xff\xd8\xff\xe0broken", png_of(100, 100)[:60], b'<svg xmlns="http://www.w3.org/2000/svg"/>'],
)
def test_a_broken_picture_and_svg_are_no_pictures(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Synapse, which other tests import into this process, makes Pillow forgiving.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    (tmp_path / "picture").write_bytes(content)

    with pytest.raises(NoPicture):
        thumbnail(tmp_path / "picture")


def test_nothing_but_pixel_formats_is_opened() -> None:
    assert set(images.FORMATS) == {"JPEG", "PNG", "GIF", "WEBP", "BMP"}
