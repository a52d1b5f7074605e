"""The JSON Schema says of a policy file what the parser says, as far as a schema can."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor

from policy.model import Policy
from policy.parse import BOOK, COVER, EXPECTATION, INVITATIONS, ORGANISATION, ROOT, parse
from policy.schema import schema
from policy.yaml_people import FIELDS

FOLDER = Path(__file__).parents[2]
EXAMPLES = [FOLDER / "policy.example.yaml", FOLDER / "bridge/demo/sample/policy.yaml"]


class _AsAnEditor(SafeConstructor):
    """YAML 1.2, in which a day is a text."""


_AsAnEditor.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: loader.construct_scalar(node))


def as_an_editor_reads(text: str) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _AsAnEditor
    return yaml.load(text)


def complaints(text: str) -> list[str]:
    errors = Draft7Validator(schema()).iter_errors(as_an_editor_reads(text))
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in errors]


def takes(text: str) -> bool:
    """Whether the parser finds no mistake."""
    return isinstance(parse(text, lambda name: (FOLDER / name).read_bytes()), Policy)


def test_the_schema_is_one() -> None:
    Draft7Validator.check_schema(schema())


def test_the_file_that_is_checked_in_is_current() -> None:
    assert json.loads((FOLDER / "policy.schema.json").read_text("utf-8")) == schema(), (
        "write it anew: qwil schema > policy.schema.json"
    )


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_the_examples_are_as_the_schema_says(file: Path) -> None:
    assert complaints(file.read_text("utf-8")) == []


def test_the_example_tells_the_editor_where_the_schema_is() -> None:
    first = EXAMPLES[0].read_text("utf-8").splitlines()[0]

    assert first == "# yaml-language-server: $schema=policy.schema.json"


KEYS = [*ROOT, *ORGANISATION, *INVITATIONS, *BOOK, *COVER, *EXPECTATION, *FIELDS]


@pytest.mark.parametrize("key", dict.fromkeys(KEYS))
def test_every_key_of_the_parser_is_completed_and_a_slip_of_the_pen_is_found_by_both(key: str) -> None:
    text = EXAMPLES[0].read_text("utf-8")
    slipped, times = re.subn(rf"\b{key}:(?=[ \n])", f"{key}x:", text, count=1)

    assert times == 1
    assert takes(text)
    assert not takes(slipped)
    assert any(f"'{key}x' was unexpected" in complaint or f"'{key}' is a required" in complaint
               for complaint in _all(slipped))  # fmt: skip


def _all(text: str) -> list[str]:
    """Every complaint, also those inside of alternatives."""
    found: list[str] = []
    waiting = list(Draft7Validator(schema()).iter_errors(as_an_editor_reads(text)))
    while waiting:
        error = waiting.pop()
        found.append(error.message)
        waiting += error.context or []
    return found


WRONG = {
    "role: staff # ": "role: stuff # ",
    "max_participants: 100": "max_participants: 101",
    "mobile: {staff: required": "mobile: {staff: needed",
    "from: 2026-12-01": "from: 1.12.2026",
    "link_days: 7": "link_days: 0",
    'link: "https://hillside.example/chat"': 'link: "hillside chat"',
    "admin: system # ": "admin: root # ",
    'matrix: "@b.ode:example.org"': 'matrix: "b.ode"',
    "email: b.ode@riverside.example": "email: b.ode",
    "clients_may_export: false": "clients_may_export: never",
    "  hillside:": "  Hill Side:",
}


@pytest.mark.parametrize(("right", "wrong"), WRONG.items(), ids=[wrong.strip() for wrong in WRONG.values()])
def test_what_is_wrong_in_itself_is_found_by_the_schema_too(right: str, wrong: str) -> None:
    text = EXAMPLES[0].read_text("utf-8")
    assert right in text

    changed = text.replace(right, wrong, 1)

    assert not takes(changed)
    assert complaints(changed)


def test_a_question_without_a_field_it_needs_is_found() -> None:
    asked = "tests: [{name: a, ask: {do: add, who: a/b, whom: a/c}, allowed: true}]"

    assert complaints(f"organisations: {{}}\n{asked}") == ["tests.0.ask: 'chat' is a required property"]


def test_keys_that_are_left_empty_are_as_if_they_were_not_there() -> None:
    text = """
organisations:
  hill:
    name: Hill
    network:
    welcome:
    mobile: optional
    books:
    people:
      head: {name: 2026, role: staff, admin: system, email: h@hill.example, until: , mobile: ""}
tests:
"""

    assert takes(text)
    assert complaints(text) == []
