"""What will not show in mails as it was meant is said by `check` and `status`, not found out by parents."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from bridge.arrival.foresight import foreseen
from bridge.cli import main
from policy.model import Policy
from policy.parse import parse

POLICY = """\
organisations:
  hill:
    name: Hill
    mobile: optional
    language: %s
    people: {head: {name: Ada Head, role: staff, admin: system, email: h@hill.example, matrix: "@head:x.example"}}
    books: {}
"""


def policy_in(language: str, logo: str = "") -> Policy:
    text = POLICY % language + (f"    logo: {logo}\n" if logo else "")
    found = parse(text.encode(), lambda _: b"", name="policy.yaml")
    assert isinstance(found, Policy), found
    return found


@pytest.mark.parametrize("language", ["en", "de-CH", "FR", "fr-BE"])
def test_a_language_there_is_needs_no_word(language: str, tmp_path: Path) -> None:
    assert foreseen(policy_in(language), tmp_path) == []


def test_a_language_there_is_not_is_said_with_those_there_are(tmp_path: Path) -> None:
    (said,) = foreseen(policy_in("sv-SE"), tmp_path)

    assert said.startswith('hill: there is no wording in the language "sv-SE": mails, letters and pages are in English')
    assert "de, en, " in said
    assert foreseen(policy_in("sv-SE"), tmp_path, ["river"]) == []


def test_a_logo_that_does_not_show_is_said_with_what_would(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    (tmp_path / "drawn.svg").write_text("<svg/>")
    (tmp_path / "large.png").write_bytes(b"x" * 500_001)

    said = {
        logo: foreseen(policy_in("en", logo), tmp_path) for logo in ("good.png", "drawn.svg", "large.png", "none.png")
    }

    assert said["good.png"] == []
    assert "does not show in mails" in said["drawn.svg"][0]
    assert "cannot be shown" in said["large.png"][0]
    assert "cannot be shown" in said["none.png"][0]


def test_check_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY % "sv")

    assert main(["check", str(tmp_path / "policy.yaml")]) == 0

    assert 'warning: hill: there is no wording in the language "sv"' in capsys.readouterr().err
