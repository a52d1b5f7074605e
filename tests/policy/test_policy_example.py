"""The example that an administrator starts from is a good policy and passes its own tests."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

from policy.ask import run_tests
from policy.model import Organisation, Policy
from policy.parse import BOOK, COVER, EXPECTATION, ORGANISATION, ROOT, parse
from policy.sheet import COLUMNS
from policy.yaml_people import FIELDS

FOLDER = Path(__file__).parents[2]
TEXT = (FOLDER / "policy.example.yaml").read_text("utf-8")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()


def example() -> Policy:
    policy = parse(TEXT, lambda name: (FOLDER / name).read_bytes(), name="policy.example.yaml")
    assert isinstance(policy, Policy), [str(mistake) for mistake in policy]
    return policy


def test_the_example_passes_its_own_tests() -> None:
    outcomes = run_tests(example(), NOW)

    assert len(outcomes) == 6
    assert [(outcome.expectation.name, outcome.decision) for outcome in outcomes if not outcome.passed] == []


def test_every_key_there_is_stands_in_the_example() -> None:
    keys = {*ROOT, *ORGANISATION, *BOOK, *COVER, *EXPECTATION, *FIELDS}

    assert [key for key in keys if f"{key}:" not in TEXT] == []


def test_the_spreadsheet_beside_it_has_every_column() -> None:
    head = (FOLDER / "policy.example.csv").read_text("utf-8").splitlines()[0]

    assert tuple(head.split(",")) == COLUMNS


def test_every_setting_of_an_organisation_is_used_in_the_example() -> None:
    hillside = example().organisations["hillside"]
    unused = {"max_participants", "clients_see_each_other", "clients_may_export", "language", "mobile_staff", "rank"}

    defaults = Organisation("", "")
    same = {
        field.name
        for field in dataclasses.fields(Organisation)
        if getattr(hillside, field.name) == getattr(defaults, field.name)
    }

    assert same <= unused
