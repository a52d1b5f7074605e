"""What invitations are made of: usernames, codes, wording, letters, greetings, audiences."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from string import Formatter

import pypdfium2
import pytest
from PIL import Image

from bridge.arrival.invitation import TYPED, fresh_token
from bridge.arrival.letter import Letter, letters_pdf
from bridge.arrival.logo import logo_of
from bridge.arrival.proof import LIFE, MOST_CODES, MOST_GUESSES, Proofs
from bridge.arrival.qr import qr_svg
from bridge.arrival.username import password_objection, username_objection
from bridge.arrival.welcome import greeting, staff_who_see
from bridge.arrival.words import languages, wording_of
from policy.model import Membership, Organisation, PersonId, Policy, UserId, Welcome
from policy.parse import parse

PERSON = PersonId("hillside/p.chan")
CHAN = UserId("@chan:qwil.test")
POLICY = """\
organisations:
  hillside:
    name: Hillside Primary
    mobile: optional
    people:
      head: {name: Helen Head, role: staff, admin: system, email: head@hillside.example, matrix: "@head:qwil.test"}
      okafor: {name: Tom Okafor, role: staff, email: okafor@hillside.example, matrix: "@okafor:qwil.test"}
      lowe: {name: Mary Lowe, role: staff, email: lowe@hillside.example, status: suspended}
      p.chan: {name: Pat Chan, role: client, email: chan@home.example, matrix: "@chan:qwil.test"}
      p.new: {name: Nia New, role: client, email: new@home.example, status: invited}
    books:
      year-1: {name: Year 1, members: [okafor, lowe, p.chan, p.new]}
"""


@pytest.fixture
def policy() -> Policy:
    found = parse(POLICY.encode(), lambda _: b"", name="policy.yaml")
    assert isinstance(found, Policy)
    return found


@pytest.mark.parametrize("username", ["patchan", "p.chan", "pat_chan-2", "a12345"])
def test_such_usernames_may_be_chosen(username: str) -> None:
    assert username_objection(username) == ""


@pytest.mark.parametrize(
    ("username", "objection"),
    [
        ("", "username_missing"),
        ("pchan", "username_short"),
        ("123456", "username_letter"),
        ("12.34-56", "username_letter"),
        ("pat chan", "username_characters"),
        ("pat/chan", "username_characters"),
        ("pät.chan", "username_characters"),
        ("pat.chan\n", "username_characters"),
        ("pat@home.example", "username_is_email"),
        ("x" * 101, "username_long"),
        ("_pat.chan", "username_begins"),
    ],
)
def test_such_usernames_may_not(username: str, objection: str) -> None:
    assert username_objection(username) == objection


def test_a_password_is_long_is_typed_twice_alike_and_is_not_the_username() -> None:
    assert password_objection("correct horse", "correct horse", "pat.chan") == ""
    assert password_objection("short", "short", "pat.chan") == "password_short"
    assert password_objection("correct horse", "correct hors", "pat.chan") == "password_differs"
    assert password_objection("pat.chan.long", "pat.chan.long", "pat.chan.long") == "password_is_username"
    assert password_objection("x" * 513, "x" * 513, "pat.chan") == "password_long"


def test_a_code_is_right_once_for_a_while_and_cannot_be_guessed() -> None:
    proofs = Proofs()
    digits = proofs.fresh(PERSON, CHAN, 0.0)
    assert digits is not None
    assert len(digits) == 8

    assert proofs.check(PERSON, f" {digits[:4]}-{digits[4:]} ", 1.0) == "right"
    assert proofs.check(PERSON, digits, LIFE) == "old"
    assert proofs.awaited(PERSON, LIFE) is None
    wrong = f"{(int(digits) + 1) % 10**8:08d}"
    guesses = [proofs.check(PERSON, wrong, 2.0) for _ in range(MOST_GUESSES)]
    assert set(guesses[:-1]) == {"wrong"}
    assert proofs.check(PERSON, digits, 3.0) == "old"


def test_so_many_codes_an_hour_and_no_more() -> None:
    proofs = Proofs()

    assert all(proofs.fresh(PERSON, CHAN, float(number)) for number in range(MOST_CODES))
    assert proofs.fresh(PERSON, CHAN, 100.0) is None
    assert proofs.fresh(PERSON, CHAN, 3700.0) is not None


def test_a_token_can_be_typed_from_paper_and_is_never_the_same() -> None:
    tokens = {fresh_token() for _ in range(1000)}

    assert len(tokens) == 1000
    assert set("".join(tokens)) <= set(TYPED)
    assert len(TYPED) ** min(map(len, tokens)) > 2**128


@pytest.mark.parametrize("language", languages())
def test_every_language_says_everything_with_the_same_names_in_it(language: str) -> None:
    folder = files("bridge.arrival") / "wording"
    english = json.loads((folder / "en.json").read_text("utf-8"))
    sentences = json.loads((folder / f"{language}.json").read_text("utf-8"))

    assert list(sentences) == list(english)
    for key, sentence in sentences.items():
        assert names_in(sentence) == names_in(english[key]), key
        assert sentence.strip() == sentence != ""


def names_in(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


def test_a_moment_is_written_as_in_each_language_in_the_time_of_the_organisation() -> None:
    said = {language: wording_of(language).moment(1_788_764_400.0, "Europe/London") for language in languages()}

    assert said == {
        "de": "07.09.2026, 08:00",
        "en": "7 September 2026, 08:00",
        "es": "07/09/2026 a las 08:00",
        "fr": "07/09/2026 à 08:00",
        "it": "07/09/2026 alle 08:00",
        "nl": "07-09-2026 om 08:00",
        "pl": "07.09.2026, godz. 08:00",
    }
    assert wording_of("de").moment(1_788_764_400.0, "Nowhere/Else") == "07.09.2026, 07:00"


def test_an_unknown_language_is_english_and_regions_are_their_language() -> None:
    assert [wording_of(language).language for language in ("xx", "de-CH", "fr_BE", "EN", "")] == [
        "en", "de", "fr", "en", "en",
    ]  # fmt: skip


def test_a_letter_holds_the_name_the_link_and_a_page_for_each(policy: Policy, tmp_path: Path) -> None:
    Image.new("RGB", (80, 40), "#0b6e78").save(tmp_path / "logo.png")
    organisation = Organisation("hillside", "Hillside Primary", logo="logo.png", language="de")
    member = policy.people[PERSON]
    names = ["Pat Chan", "王小明", "ليلى حداد", "#show [*_`$"]
    letters = [
        Letter(member._replace(name=name), f"https://chat.example/invitation/{name[0]}x", 0.0, "Hi\n*x*")
        for name in names
    ]

    pdf = pypdfium2.PdfDocument(letters_pdf(organisation, letters, logo_of(organisation, tmp_path), 0.0))

    texts = [page.get_textpage().get_text_bounded() for page in pdf]
    assert len(texts) == len(names)
    assert "Einladung von Hillside Primary" in texts[0]
    assert "https://chat.example/invitation/Px" in texts[0].replace("\r\n", "")
    assert "王小明" in texts[1]
    assert "#show [*_`$" in texts[3]
    assert "*x*" in texts[0]


def test_nothing_runs_off_the_page_of_a_letter_whatever_is_how_long(policy: Policy) -> None:
    organisation = Organisation("hillside", "Hillside Primary")
    member = policy.people[PERSON]._replace(name="x" * 150, job_title="y" * 150)
    link = f"https://chat.{'a-long-name.' * 8}example/invitation/{'a' * 26}"

    pdf = pypdfium2.PdfDocument(letters_pdf(organisation, [Letter(member, link, 0.0, "z" * 300)], None, 0.0))

    for page in pdf:
        text, width = page.get_textpage(), page.get_width()
        rights = [text.get_charbox(place)[2] for place in range(text.count_chars())]
        assert max(rights) < width - 50


def test_a_logo_lies_beside_the_policy_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "outside.png")
    Image.new("RGB", (8, 8)).save(folder / "inside.png")
    (folder / "page.html").write_text("<script>")

    found = {name: logo_of(Organisation("o", "O", logo=name), folder) for name in
             ("inside.png", "../outside.png", "page.html", "none.png", "")}  # fmt: skip

    assert [name for name, logo in found.items() if logo] == ["inside.png"]


def test_a_qr_code_scales_and_has_a_quiet_border() -> None:
    svg = qr_svg("https://chat.example/")

    assert svg.startswith("<svg ")
    assert 'viewBox="0 0 ' in svg


def test_a_greeting_has_the_names_and_leaves_other_braces_alone(policy: Policy) -> None:
    welcome = Welcome("Dear {first_name} {last_name}, {name} of {organisation}: {x} {0} {", "https://h.example")
    member = policy.people[PERSON]._replace(first_name="Pat {name}", last_name="Chan")

    text = greeting(Organisation("hillside", "Hillside", welcome=welcome), member)

    assert text == "Dear Pat {name} Chan, Pat Chan of Hillside: {x} {0} {\nhttps://h.example"


def test_the_active_staff_of_a_newcomers_books_are_told_and_nobody_else(policy: Policy) -> None:
    arrived: Membership = policy.people[PERSON]

    assert [one.identifier for one in staff_who_see(policy, arrived, 0.0)] == ["okafor"]
