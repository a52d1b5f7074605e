"""Which mistakes are shown to which organisation's administrators."""

import pytest

from policy.concern import mistakes_of, sections
from policy.model import Policy
from policy.parse import parse

POLICY = """\
networks:
  oak: {name: Oak, colour: green}
organisations:
  hill:
    name: Hill
    mobile: optional
    people:
      head: {name: Helen, role: staff, email: h@x.example, admin: system}
      pat: {name: Pat Secret, role: client, email: pat@home.example}
    books: {}
  # a comment
  river:
    name: River
    mobile: optional
    people: river.csv
    books: {}
tests:
  - {name: one, ask: {do: see, who: hill/pat, whom: river/nobody}, allowed: true}
"""
RIVER = "identifier,first_name,role,email,admin\nben,Ben,staff,b@x.example,system\nzoe,Zoe,clietn,z@x.example,\n"


def shown(*organisations: str) -> str:
    found = parse(POLICY, {"river.csv": RIVER}.__getitem__)
    assert not isinstance(found, Policy)
    return "\n".join(mistakes_of(POLICY, "policy.yaml", found, organisations))


def test_an_organisation_is_found_by_its_indentation() -> None:
    assert [(one.organisation, one.first, one.last, one.spreadsheet) for one in sections(POLICY)] == [
        ("hill", 4, 11, ""),
        ("river", 12, 16, "river.csv"),
    ]


@pytest.mark.parametrize(
    ("organisation", "own", "others"), [("hill", "hill/pat", "clietn"), ("river", "clietn", "pat")]
)
def test_administrators_read_the_mistakes_of_their_own_organisation(organisation: str, own: str, others: str) -> None:
    text = shown(organisation)

    assert own in text
    assert others not in text
    assert "in what other organisations have written" in text


def test_what_is_in_no_organisation_is_everybodys() -> None:
    assert "colour" in shown("hill")
    assert "colour" in shown("river")


def test_whoever_administers_all_reads_all() -> None:
    assert "other organisations" not in shown("hill", "river")


def test_a_file_that_cannot_be_read_at_all_is_everybodys() -> None:
    broken = "organisations: ["
    found = parse(broken, dict[str, str]().__getitem__)
    assert not isinstance(found, Policy)

    assert mistakes_of(broken, "policy.yaml", found, ["hill"]) == [str(mistake) for mistake in found]
