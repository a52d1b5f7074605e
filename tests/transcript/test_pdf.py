"""The drawn pages, read back with Chrome's own PDF reader and judged by a validator."""

from __future__ import annotations

import io
import json
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from email import message_from_bytes
from itertools import groupby
from pathlib import Path
from typing import Any

import page
import pypdfium2
import pytest
from PIL import Image

from bridge.transcript import fonts as font_search
from bridge.transcript.assemble import Exported
from bridge.transcript.fonts import FontsMissing
from bridge.transcript.model import Received
from bridge.transcript.render_pdf import PDF_A, DrawingFailed, Press, Sheet
from bridge.transcript.verify import verify
from tests.transcript.conftest import Make
from tests.transcript.room import ANN, BEN, PAT, SCRIPTS, Room, picture

FALSE_ALARMS = ("GLYPH-WIDTH", "STREAM-LENGTH")
"""Rules that the validator reports of files whose widths and lengths are right: the width of a glyph in a CFF subset
(read with another library it is the one that /Widths says) and the length of a stream in an A-3 file."""


def pages(pdf: Path) -> Iterator[str]:
    document = pypdfium2.PdfDocument(pdf)
    try:
        for drawn in document:
            yield drawn.get_textpage().get_text_range()
    finally:
        document.close()


def text(export: Exported) -> str:
    return bare("\n".join(one for pdf in export.pdfs for one in pages(pdf)))


def bare(said: str) -> str:
    """Without spaces, hyphens of the reader and joiners: what a search compares."""
    return unicodedata.normalize(
        "NFC", "".join(one for one in said if not one.isspace() and one not in "\u200b\ufffe\u200d\ufe0f")
    )


def failures(pdf: Path) -> list[str]:
    report = page.validate_pdf(str(pdf), profile="3b")
    return [
        f"{one.rule_id}: {one.message}"
        for one in report.failures
        if not any(alarm in one.rule_id for alarm in FALSE_ALARMS)
    ]


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script not in ("Arabic", "Hebrew", "Emoji")])
def test_what_was_written_is_found_on_the_page(trip: Exported, script: str) -> None:
    assert bare(SCRIPTS[script]) in text(trip)


def test_every_hebrew_word_is_found_on_the_page(trip: Exported) -> None:
    found = text(trip)

    assert [word for word in SCRIPTS["Hebrew"].split() if word.isalpha() and word not in found] == []


def test_every_arabic_word_is_found_where_the_system_has_a_font_with_a_glyph_a_letter(make: Make) -> None:
    room = Room()
    room.says(PAT, SCRIPTS["Arabic"])
    fonts = font_search.find()
    if fonts.family_for("ع") is None or (fonts.family_for("ع") or fonts.families[0]).name != "NotoNaskhArabic":
        pytest.skip(
            "this system has no Noto Naskh Arabic; the fonts from PyPI draw a letter in parts, which spoils searching"
        )

    found = text(make(room, set_to={"fonts": fonts}))

    assert [word for word in SCRIPTS["Arabic"].split() if word.isalpha() and word not in found] == []


def test_without_an_emoji_font_an_emoji_is_shown_by_its_number(trip: Exported) -> None:
    assert "Great[U+1F44D][U+1F3FD]" in text(trip)


def test_the_export_is_a_pdf_a(trip: Exported) -> None:
    assert failures(trip.pdfs[0]) == []


def test_the_pdf_is_tagged_and_says_its_title(trip: Exported) -> None:
    document = pypdfium2.PdfDocument(trip.pdfs[0])

    assert document.get_metadata_value("Title") == "Trip to the museum – transcript x-2026-11-24-1"
    assert pypdfium2.raw.FPDFCatalog_IsTagged(document.raw)


def test_every_day_has_a_bookmark(make: Make) -> None:
    room = Room(minutes=16 * 60)
    for word in ["one", "two", "three", "four"]:
        room.says(ANN, word)

    document = pypdfium2.PdfDocument(make(room).pdfs[0])

    assert [mark.get_title() for mark in document.get_toc()] == [
        "Completeness",
        "Participants",
        "Tuesday, 24 November 2026",
        "Wednesday, 25 November 2026",
        "Thursday, 26 November 2026",
    ]


def test_a_day_that_comes_again_out_of_order_is_marked_once(make: Make) -> None:
    room = Room()
    for place, word in enumerate(["one", "a year later", "two", "a year later", "three"]):
        room.says(ANN, word)
        if "later" in word:
            room.events[place]["origin_server_ts"] += 365 * 86_400_000  # type: ignore[index, operator]

    export = make(room)

    marks = [mark.get_title() for mark in pypdfium2.PdfDocument(export.pdfs[0]).get_toc()]
    assert marks[2:] == ["Tuesday, 24 November 2026", "Wednesday, 24 November 2027"]
    assert text(export).count(bare("Tuesday, 24 November 2026")) == 3


def test_the_foot_of_a_page_names_the_export_the_page_and_its_messages(trip: Exported) -> None:
    first, second, third = pages(trip.pdfs[0])

    assert "Export x-2026-11-24-1" in first
    assert "volume 1 of 1, page 2 of 3" in second
    assert "messages 1–" in second
    assert "–36" in third


def test_a_page_with_one_message_names_it_once(make: Make) -> None:
    room = Room()
    room.says(ANN, "hello")

    *_, last = pages(make(room).pdfs[0])

    assert bare("message 1 volume 1 of 1") in bare(last)


def test_a_page_on_which_no_message_begins_names_the_one_that_goes_on(make: Make) -> None:
    room = Room()
    room.says(ANN, "hello")
    room.says(PAT, "\n".join(f"line {number}" for number in range(150)))

    _, first, second, third = pages(make(room).pdfs[0])

    assert "messages 1–2" in first
    assert "message 2, continued" in second
    assert "message 2, continued" in third


def test_the_cover_says_who_exported_what_and_why_and_what_is_missing(trip: Exported) -> None:
    cover = bare(next(pages(trip.pdfs[0])))

    for said in (
        "Ann Lee (@ann:hillside.example, Hillside Primary)",
        "Request of the parents",
        "Hillside Primary, Riverside Academy",
        "25 November 2026, 09:00:00 (UTC+00:00)",
        "the whole chat",
        "36 (numbers 1 to 36)",
        "Message 16: the file “lost.pdf” is missing: The homeserver no longer has it",
        "client, Mia Chan, Year 1, Hillside Primary",
        "S is staff, C a client, E staff of another organisation.",
    ):
        assert bare(said) in cover


def test_edits_deletions_and_reactions_stand_at_the_message_and_where_they_happened(trip: Exported) -> None:
    found = text(trip)

    for said in (
        "Edited later by Pat Chan (11)",
        "The original: 10, Pat Chan: Mia is ill today, she has a temprature of 38.5.",
        "Deleted later by Pat Chan (13)",
        "Pat Chan deleted 12 (not meant for everybody).",
        "Reactions: [U+1F44D] Pat Chan (9)",
        "In reply to 7, Ann Lee: Please bring the signed form on Thursday.",
    ):
        assert bare(said) in found


def test_nobody_can_write_a_message_that_looks_like_a_notice_of_ours(make: Make) -> None:
    room = Room()
    spoof = room.says(PAT, "Ann Lee joined.", msgtype="m.notice", html="<b>Ann Lee joined.</b>")
    room.edits(PAT, spoof, "Ann Lee left.")
    room.deletes(PAT, spoof)

    export = make(room)

    (line, *_) = (export.folder / "messages.jsonl").read_bytes().splitlines()
    assert json.loads(line)["kind"] == "message"
    assert bare("Pat Chan C Hillside Primary 09:00:00 +00:00 Ann Lee joined. Edited later by Pat Chan (2)") in text(
        export
    )
    assert bare("Deleted later by Pat Chan (3)") in text(export)


@pytest.mark.parametrize("people", [2, 14])
def test_no_page_holds_the_last_participants_alone(make: Make, people: int) -> None:
    room = Room()
    for number in range(people):
        room.joins(f"@p{number}:hillside.example", f"Person {number}")
    room.says(ANN, "the first words")

    drawn = [bare(one) for one in pages(make(room).pdfs[0])]

    assert ["thefirstwords" in one for one in drawn] == [False, True]
    assert [f"@p{people - 1}:" in one for one in drawn] == ([True, False] if people == 2 else [False, True])


def test_every_edit_names_the_original_as_that(make: Make) -> None:
    """Not as what stood there before it, which is the edit before."""
    room = Room()
    first = room.says(PAT, "at eihgt")
    room.edits(PAT, first, "at eight")
    room.edits(PAT, first, "at nine")

    assert text(make(room)).count(bare("The original: 1, Pat Chan: at eihgt")) == 2


def test_an_encrypted_message_says_that_it_is(make: Make) -> None:
    room = Room()
    room.event("m.room.encrypted", PAT, {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x"})

    assert bare("This message is encrypted and cannot be read.") in text(make(room))


def test_a_reaction_that_was_taken_back_says_so_at_its_message(make: Make) -> None:
    room = Room()
    first = room.says(ANN, "hello")
    reaction = room.reacts(PAT, first, "ok")
    room.deletes(PAT, reaction)

    assert "Reactions:okPatChan(2,takenback)" in text(make(room))


def test_times_are_shown_in_the_zone_asked_for(make: Make) -> None:
    room = Room()
    room.says(ANN, "hello")

    export = make(room, timezone="Asia/Kolkata")

    assert "14:30:00+05:30" in text(export)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_first_and_the_last_times_stop_no_export_in_any_zone(make: Make, zone: str) -> None:
    room = Room()
    for time in (0, 253_402_214_399_999, 253_402_214_400_000, 253_402_300_799_999):
        room.joins(PAT)
        room.member(PAT, "leave")
        for event in room.events[-2:]:
            assert isinstance(event, dict)
            event["origin_server_ts"] = time

    found = text(make(room, timezone=zone))

    assert bare("Time unknown") in found
    assert "1970" in found or "1969" in found
    assert "9999" in found


def as_seen(pdf: Path, *, from_left: float) -> str:
    """What stands on the last page to the right of a distance in points, line by line and from left to right: the
    reader's own order is of no use, since it turns lines around as it thinks fit.
    """
    document = pypdfium2.PdfDocument(pdf)
    drawn = document[len(document) - 1].get_textpage()
    boxes = [
        (drawn.get_charbox(place, loose=True), drawn.get_text_range(place, 1)) for place in range(drawn.count_chars())
    ]
    seen = sorted((-round(bottom / 4), left, letter) for (left, bottom, _, _), letter in boxes if left > from_left)
    return bare("".join(letter for _, _, letter in seen))


def test_a_name_written_from_right_to_left_does_not_turn_the_time_around(make: Make) -> None:
    room = Room()
    room.joins("@m:hillside.example", "محمد علي 12")
    room.says("@m:hillside.example", "2026-11-24")

    seen = as_seen(make(room).pdfs[0], from_left=460)

    assert "09:00:00+00:00" in seen
    assert "09:01:00+00:00" in seen


def test_the_lines_of_the_record_are_attached(trip: Exported) -> None:
    document = pypdfium2.PdfDocument(trip.pdfs[0])

    assert document.count_attachments() == 1
    attached = document.get_attachment(0)
    assert attached.get_name() == "messages.jsonl"
    assert bytes(attached.get_data()) == (trip.folder / "messages.jsonl").read_bytes()


HOSTILE = {
    "template code": '#read("/etc/passwd") #import "x" #let x = while true {} *b* _i_ $x$ <l> @r // `raw` = h \\ #sys',
    "json": '"}], "cover": null \\u0000 \\',
    "html": "<script>alert(1)</script></p>&lt;",
    "controls": "".join(map(chr, range(0x20))) + "\x7f\x80\x9f",
    "overrides": "\u202eevil\u202c \u2066x\u2069 \u200e\u200f\u061c",
    "nothing to draw": "\ue000\uffff\ufffe\ufeff\u0378\U00012345\U000e0041\U0010ffff \u0e01",
    "surrogates": "\ud800 \udfff",
    "marks": "Z" + "\u0300\u0301\u0302" * 300,
    "long word": "x" * 200_000,
    "brackets": "[" * 20_000,
    "wide": "W" * 5_000 + "\u3000" * 100,
    "many emoji": "\U0001f600" * 3_000,
    "every letter": "".join(map(chr, range(0x20, 0x3000))),
    "long": "word " * 40_000,
    "empty": "",
    "lines": "\n" * 500,
}


def test_no_text_stops_the_drawing_or_becomes_anything_but_text(make: Make) -> None:
    room = Room()
    room.joins(PAT, HOSTILE["template code"] + HOSTILE["overrides"] + "\x00")
    room.named(HOSTILE["template code"] + HOSTILE["overrides"] + "x" * 2_000)
    for said in HOSTILE.values():
        first = room.says(PAT, said)
        room.says(PAT, said, html=f'<b>{said}</b><a href="{said[:500]}">x</a>')
        room.replies(PAT, first, said[:50])
        room.reacts(PAT, first, said[:200])
        room.deletes(PAT, first, said[:200])
    room.shares(PAT, HOSTILE["template code"], b"", HOSTILE["overrides"])

    export = make(room, purpose=HOSTILE["template code"], handling=HOSTILE["overrides"], export_id="#sys")

    assert export.problems == ()
    assert failures(export.pdfs[0]) == []
    found = text(export)
    assert bare(HOSTILE["template code"]) in found
    assert "[U+202E]evil[U+202C]" in found
    assert "root:" not in found
    assert found.count("x") > 400_000


def test_no_letter_leaves_the_page(make: Make) -> None:
    wide = "W" * 300
    room = Room()
    room.joins(PAT, wide)
    cells = "".join(f"<td>{wide}</td>" for _ in range(8))
    table = f"<table><tr>{cells}</tr><tr><td><table><tr>{cells}</tr></table></td></tr></table>"
    html = f"<h1>{wide}</h1><ul><li><b>{wide}</b></li></ul><pre>{wide}</pre><code>{wide}</code>{table}"
    first = room.says(PAT, wide, html=html + table.replace("</tr>", f"{cells}</tr>"))
    room.replies(PAT, first, wide)
    room.reacts(PAT, first, wide)
    room.deletes(PAT, first, wide)
    room.shares(PAT, wide, b"", wide)
    room.named(wide)

    document = pypdfium2.PdfDocument(make(room, purpose=wide).pdfs[0])

    for leaf in document:
        drawn = leaf.get_textpage()
        for place in range(drawn.count_chars()):
            left, _, right, _ = drawn.get_charbox(place)
            assert 0 <= left <= right <= leaf.get_width(), drawn.get_text_range(max(0, place - 20), 21)


def test_no_word_of_a_participant_reaches_into_the_next_column(make: Make) -> None:
    """The widest letters of the widest face: a word that is short on a line is long in a third of one."""
    room = Room()
    long = f"@{'w' * 38}:h.example"
    room.joins(long, "W" * 39)

    document = pypdfium2.PdfDocument(make(room).pdfs[0])
    drawn = document[0].get_textpage()

    whole = drawn.get_text_range()
    (second,) = (drawn.get_charbox(place)[0] for place in [whole.index("Role and organisation")])
    letters = [
        place
        for place, letter in enumerate(whole)
        if letter in "Ww" and "W" * 3 in whole[place - 3 : place + 4].upper()
    ]
    assert len(letters) >= 70
    assert max(drawn.get_charbox(place)[2] for place in letters) <= second


def letters(leaf: Any) -> list[tuple[str, float, float, float, float]]:
    """Every letter of a page with its left, bottom, right and top."""
    drawn = leaf.get_textpage()
    return [
        (drawn.get_text_range(place, 1), *drawn.get_charbox(place, loose=True)) for place in range(drawn.count_chars())
    ]


@pytest.mark.parametrize("columns", range(2, 9))
def test_no_word_of_a_table_reaches_into_the_next_column(make: Make, columns: int) -> None:
    room = Room()
    cells = "".join(f"<th>{letter * 60}</th>" for letter in ("WM" * 4)[:columns])
    room.says(PAT, "-", html=f"<table><tr>{cells}</tr></table>")

    leaf = pypdfium2.PdfDocument(make(room).pdfs[0])[1]

    row = sorted((left, right, letter) for letter, left, _, right, _ in letters(leaf) if letter in "WM")
    runs = [(letter, max(right for _, right, _ in found)) for letter, found in groupby_list(row)]
    assert "".join(letter for letter, _ in runs) == ("WM" * 4)[:columns]
    starts = [min(left for left, _, _ in found) for _, found in groupby_list(row)]
    assert all(end <= start for (_, end), start in zip(runs, starts[1:], strict=False))


def groupby_list(row: list[tuple[float, float, str]]) -> list[tuple[str, list[tuple[float, float, str]]]]:
    return [(letter, list(found)) for letter, found in groupby(row, key=lambda each: each[2])]


def test_a_table_too_wide_for_a_page_is_shown_a_row_a_paragraph(make: Make) -> None:
    room = Room()
    row = "".join(f"<td>cell{number}</td>" for number in range(40))
    room.says(PAT, "-", html=f"<table><tr>{row}</tr></table>")

    assert bare(" | ".join(f"cell{number}" for number in range(40))) in text(make(room))


def test_a_table_in_arabic_begins_at_the_right(make: Make) -> None:
    room = Room()
    room.says(PAT, "-", html="<table><tr><td>يوم</td><td>QQ</td></tr><tr><td>ساعة</td><td>QQ</td></tr></table>")

    leaf = letters(pypdfium2.PdfDocument(make(room).pdfs[0])[1])

    second = [right for letter, _, _, right, _ in leaf if letter == "Q"]
    first = [left for letter, left, *_ in leaf if letter in "يوماعة"]
    assert len(second) == 4
    assert max(second) < min(first)


def test_code_is_drawn_in_letters_of_one_width(make: Make) -> None:
    room = Room()
    room.says(PAT, "-", html="<pre>||||@@@@</pre><p><code>||||@@@@</code></p>")

    export = make(room)

    code = [letter for letter in letters(pypdfium2.PdfDocument(export.pdfs[0])[1]) if letter[0] in "|@"]
    assert len(code) == 16
    assert len({round(right - left, 1) for _, left, _, right, _ in code}) == 2, "one in the block and one in the line"
    assert failures(export.pdfs[0]) == []


def test_where_the_text_without_formatting_says_something_else_both_stand_on_the_page(make: Make) -> None:
    room = Room()
    room.says(PAT, "Meet at nine, bring 500", html="See you at <b>eight</b>")
    same = room.says(PAT, "**Lunch** at noon", html="<b>Lunch</b> at noon")
    room.replies(ANN, same, "fine")
    room.replies(ANN, "$event00000", "no", html="<i>no</i>")

    found = text(make(room))

    assert found.count(bare("Without its formatting, as some programs show it, this message reads:")) == 1
    assert "Meetatnine,bring500" in found
    assert bare("In reply to 1, Pat Chan: See you at eight") in found, "quoted as it is shown"
    assert bare("In reply to 2, Pat Chan: Lunch at noon") in found


def test_what_somebody_does_begins_with_their_name_with_its_formatting_too(make: Make) -> None:
    room = Room()
    for body, html in (("waves boldly", "waves <b>boldly</b>"), ("to all", "<ul><li>to all</li></ul>")):
        content = {"msgtype": "m.emote", "body": body, "format": "org.matrix.custom.html", "formatted_body": html}
        waves = room.event("m.room.message", PAT, content)
    room.replies(ANN, waves, "hello")
    room.says(PAT, "* Pat Chan\n* Ann Lee", html="<ul><li>Pat Chan</li><li>Ann Lee</li></ul>")

    found = text(make(room))

    assert "*PatChanwavesboldly" in found
    assert found.count("*PatChan") == 3, "at both and in the quotation, and not before a list that begins with a name"
    assert found.count("PatChanPatChan") == 0


def test_what_programs_without_edits_show_stands_at_the_edit(make: Make) -> None:
    room = Room()
    first = room.says(PAT, "Thank you")
    relation = {"rel_type": "m.replace", "event_id": first}
    new = {"msgtype": "m.text", "body": "Thank you!"}
    room.says(PAT, "* I know where you live", relates=relation, **{"m.new_content": new})
    room.edits(PAT, first, "Thank you, Ann")

    found = text(make(room))

    assert found.count(bare("Programs that know no edits show this instead:")) == 1
    assert bare("show this instead: * I know where you live") in found


def test_two_of_the_same_name_are_told_apart_by_their_accounts(make: Make) -> None:
    room = Room()
    room.joins(ANN)
    room.joins(PAT)
    room.says(ANN, "of Ann")
    room.joins(PAT, "Ann\u200b  LEE")
    room.says(PAT, "of another")
    room.says(BEN, "of Ben")

    found = text(make(room))

    assert bare(f"Hillside Primary, {ANN}") in found
    assert bare(f"Hillside Primary, {PAT}") in found
    assert bare(f"Pat Chan is called Ann LEE from here on. ({PAT})") in found
    assert bare(f"Riverside Academy, {BEN}") not in found


def test_what_claims_to_quote_but_answers_nothing_is_shown(make: Make) -> None:
    room = Room()
    room.says(PAT, "ok", html="<mx-reply>the hidden part</mx-reply>ok")

    assert bare("the hidden part") in text(make(room))


def test_a_message_with_too_many_tags_is_shown_by_what_its_formatting_says(make: Make) -> None:
    room = Room()
    room.says(PAT, "ok", html="<b></b>" * 1000 + "the hidden part")

    assert bare("the hidden part") in text(make(room))


def test_a_picture_in_a_text_is_in_the_export_and_on_the_page(make: Make) -> None:
    room = Room()
    room.uploads["mxc://hillside.example/bear"] = picture(form="PNG")
    room.says(PAT, "hi", html='hi <img data-mx-emoticon src="mxc://hillside.example/bear" alt=":bear:">')

    export = make(room, set_to={"rsmf": True})

    (line,) = (export.folder / "messages.jsonl").read_bytes().splitlines()
    (kept,) = json.loads(line)["pictures"]
    with zipfile.ZipFile(export.folder / "media.zip") as archive:
        assert archive.read(kept["path"]) == picture(form="PNG")
        assert ":bear:" in archive.read("index.csv").decode()
    assert bare("Picture in the text: :bear:") in text(export)
    assert verify(export.folder).good
    mail: Any = message_from_bytes((export.folder / "transcript.rsmf").read_bytes())
    with zipfile.ZipFile(io.BytesIO(mail.get_payload()[1].get_payload(decode=True))) as archive:
        assert Path(kept["path"]).name in archive.namelist()


def test_a_head_in_any_script_stands_on_one_line_with_its_number_and_time(make: Make) -> None:
    room = Room()
    room.joins(PAT, "محمد علي")
    room.says(PAT, "-")

    leaf = pypdfium2.PdfDocument(make(room).pdfs[0])[1]

    drawn = leaf.get_textpage()
    digits = [
        drawn.get_charbox(place) for place in range(drawn.count_chars()) if drawn.get_text_range(place, 1).isdigit()
    ]
    numbers = [bottom for left, bottom, *_ in digits if 70 < left < 95 and bottom > 70]
    times = {round(bottom, 1) for left, bottom, *_ in digits if left > 480 and bottom > 70}
    assert len(numbers) == 2
    assert all(any(abs(number - time) < 0.5 for time in times) for number in numbers)


def test_a_picture_and_what_is_said_of_it_stay_together(make: Make) -> None:
    room = Room()
    for number in range(40):
        room.says(ANN, f"filler {number}\n" * (number % 3 + 1))
        room.shares(ANN, f"{number}.png", picture(form="PNG", size=(300, 40 + number * 60)), "image/png")

    for leaf in list(pages(make(room).pdfs[0]))[1:]:
        assert leaf.count("File:") == leaf.count("SHA-256")


def test_what_is_said_to_be_edited_or_answered_turns_nothing_around(make: Make) -> None:
    room = Room()
    room.says(PAT, "edit", relates={"rel_type": "m.replace", "event_id": "$a\u202e\ud800\nb"})
    room.says(PAT, "in a thread", relates={"rel_type": "m.thread", "event_id": "$c\u202ed", "is_falling_back": True})
    room.replies(PAT, "$e\u202ef", "answer")

    found = text(make(room))

    assert bare("Edit of $a[U+202E][U+D800] b, which is not on record") in found
    assert bare("The original: $a[U+202E][U+D800] b, which this export does not hold") in found
    assert bare("In the thread of $c[U+202E]d, which is not on record") in found
    assert bare("In reply to: $e[U+202E]f, which this export does not hold") in found


def test_a_picture_that_moves_says_that_the_first_one_is_shown(make: Make) -> None:
    room = Room()
    for form in ("GIF", "WEBP", "PNG"):
        out = io.BytesIO()
        first, *others = (Image.new("RGB", (32, 24), colour) for colour in ("teal", "red", "black"))
        first.save(out, form, save_all=True, append_images=others)
        room.shares(PAT, f"moving.{form}", out.getvalue(), f"image/{form.lower()}")
        room.shares(PAT, f"still.{form}", picture(form=form), f"image/{form.lower()}")
    room.shares(PAT, "still.jpg", picture(), "image/jpeg")

    assert text(make(room)).count(bare("Animated: the first of its pictures is shown.")) == 3


def test_a_wide_picture_takes_no_more_room_than_it_fills(make: Make) -> None:
    room = Room()
    room.shares(ANN, "wide.png", picture(form="PNG", size=(2000, 80)), "image/png")
    room.shares(ANN, "tall.png", picture(form="PNG", size=(60, 1500)), "image/png")

    document = pypdfium2.PdfDocument(make(room).pdfs[0])

    drawn = [
        one.get_bounds() for one in document[1].get_objects(filter=(pypdfium2.raw.FPDF_PAGEOBJ_IMAGE,), max_depth=9)
    ]
    (left, bottom, right, top), (_, tall_bottom, _, tall_top) = sorted(drawn, key=lambda box: -box[3])
    said = document[1].get_textpage()
    above = said.get_charbox(said.get_text_range().index("SHA-256"))[1]
    assert right - left > 420
    assert top - bottom < 25
    assert above - top < 10
    assert tall_top - tall_bottom == pytest.approx(32 / 25.4 * 72, abs=1)


def test_the_record_keeps_what_the_page_cannot_show(make: Make) -> None:
    room = Room()
    for said in HOSTILE.values():
        room.says(PAT, said)

    lines = (make(room).folder / "messages.jsonl").read_bytes().splitlines()

    assert [json.loads(line)["text"] for line in lines] == list(HOSTILE.values())


def test_a_file_that_is_another_one_says_so_on_the_cover_and_where_it_was_shared(make: Make) -> None:
    room = Room()
    event = room.shares(ANN, "plan.pdf", b"another one", "application/pdf")
    then = Received("5" * 64, 1234)

    export = make(room, received={room.events[0]["content"]["url"]: then})

    said = "It is not the file that was received. When it was received it had 1,234 bytes and the SHA-256 " + "5" * 64
    assert export.problems == (f"Message 1: the file “plan.pdf”: {said}.",)
    assert text(export).count(bare(said)) == 2
    (line,) = (export.folder / "messages.jsonl").read_bytes().splitlines()
    assert json.loads(line)["event_id"] == event
    assert json.loads(line)["file"]["changed"] == f"{said}."


def test_a_broken_picture_is_named_and_the_page_goes_on(make: Make) -> None:
    room = Room()
    room.shares(ANN, "broken.png", b"\x89PNG\r\n\x1a\nbroken", "image/png")
    room.shares(ANN, "drawing.svg", b"<svg/>", "image/svg+xml")
    room.shares(ANN, "good.png", picture(form="PNG"), "image/png")

    export = make(room)

    assert text(export).count(bare("The picture cannot be drawn; the file is in the export.")) == 2
    document = pypdfium2.PdfDocument(export.pdfs[0])
    drawn = [
        one for leaf in document for one in leaf.get_objects(filter=(pypdfium2.raw.FPDF_PAGEOBJ_IMAGE,), max_depth=9)
    ]
    assert len(drawn) == 1


def test_a_character_that_turns_out_to_have_no_glyph_is_shown_by_its_number(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(font_search.Fonts, "draws", lambda *_: True)
    room = Room()
    room.says(PAT, "thai \u0e01 and \U0001f600")

    export = make(room)

    assert "thai[U+0E01]and[U+1F600]" in text(export)
    assert failures(export.pdfs[0]) == []


def failing_where(monkeypatch: pytest.MonkeyPatch, fault: Callable[[Sheet, str], bool]) -> None:
    """Let the engine fail for some pages, as if it had a fault there."""
    draw = Press._drawn_once

    def drawn_once(self: Press, sheet: Sheet, said: str) -> bytes:
        if fault(sheet, said):
            raise DrawingFailed("the engine has a fault")
        return draw(self, sheet, said)

    monkeypatch.setattr(Press, "_drawn_once", drawn_once)


def test_a_message_that_stops_the_drawing_is_replaced_by_a_sentence(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room()
    for place in range(20):
        room.says(PAT, "stop the engine" if place in (3, 13) else f"number {place}")
    failing_where(monkeypatch, lambda _, said: "stop the engine" in said)

    export = make(room)

    assert export.problems == tuple(f"Message {number} could not be drawn; the record holds it." for number in (4, 14))
    assert bare("Message 14 of Pat Chan could not be drawn; messages.jsonl holds it.") in text(export)
    assert "number19" in text(export)
    assert json.loads((export.folder / "manifest.json").read_bytes())["missing"] == list(export.problems)


def test_a_volume_that_cannot_be_a_pdf_a_is_a_plain_pdf_and_says_so(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room()
    room.says(PAT, "hello")
    failing_where(monkeypatch, lambda sheet, said: sheet.standards == PDF_A and '"cover"' in said)

    export = make(room)

    assert export.problems == (
        "Volume 1 is a plain PDF, not a PDF/A, because the drawing failed: the engine has a fault",
    )
    assert "hello" in text(export)


def test_a_volume_that_takes_too_long_is_ended_and_told(make: Make) -> None:
    room = Room()
    room.says(PAT, "hello")

    with pytest.raises(DrawingFailed, match=r"it took longer than 0\.001 seconds"):
        make(room, set_to={"time_limit": 0.001})


def test_a_chat_without_messages_is_a_cover_that_says_so(make: Make) -> None:
    export = make(Room())

    assert "Thisexportholdsnoentries." in text(export)
    assert failures(export.pdfs[0]) == []


def test_fonts_that_are_missing_are_told_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(font_search, "PACKAGES", ("no_such_package",))

    with pytest.raises(FontsMissing):
        font_search.find(system=False)
