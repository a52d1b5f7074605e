"""The table rule -> pages, printed with `pytest -rP tests/policy/test_rule_table.py`: a rule without a page fails."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

PAGES = Path(__file__).parent / "decisions"

HOW_MANY = {"BOOK": 16, "DIR": 4, "LIST": 2, "CHAT": 11, "PART": 9, "EXT": 13, "CL": 4, "EXP": 5, "LINK": 3, "REV": 5}
"""Rules of each family, numbered from 1: what people may see, start, do in a chat, export, and review."""

BESIDES = ["ROLE-1", "ROLE-2", "ROLE-3", "ROLE-4", "USR-1", "USR-2", "INV-4"]
"""Rules of other families that decisions name."""

RULES = [f"{family}-{number}" for family, count in HOW_MANY.items() for number in range(1, count + 1)] + BESIDES


def pages_by_rule() -> dict[str, list[str]]:
    table: dict[str, list[str]] = {rule: [] for rule in RULES}
    for file in sorted(PAGES.glob("*.yaml")):
        for rule in YAML(typ="safe").load(file.read_text("utf-8"))["rules"]:
            table.setdefault(rule, []).append(file.stem)
    return table


TABLE = pages_by_rule()


@pytest.mark.parametrize("rule", TABLE)
def test_every_rule_has_a_page(rule: str) -> None:
    print(f"{rule:8} {', '.join(TABLE[rule])}")  # noqa: T201 - the table is read by people

    assert TABLE[rule], f"no page in {PAGES.name}/ is about {rule}"


def test_pages_name_known_rules_only() -> None:
    assert TABLE.keys() <= set(RULES)
