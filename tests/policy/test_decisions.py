"""The specification, page by page: every file in `decisions/` is a sentence, its cases are what the sentence means.

A page names the rules it is about and has either cases or `proved_by`, the tests that show what no decision can. A case
asks a question (`ask`) of the page's policy or of its shared world, or says what is wrong with a policy (`mistakes`).
"""

import ast
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from policy.ask import answer, ask
from policy.mistake import Mistakes
from policy.model import Policy
from policy.parse import parse

ROOT = Path(__file__).parents[2]
PAGES = Path(__file__).parent / "decisions"
WORLDS = Path(__file__).parent / "worlds"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()

PAGE = {"rules", "world", "policy", "chats", "cases", "proved_by"}
QUESTION_CASE = {
    *("name", "scenario", "ask", "allowed", "because", "kind", "people"),
    *("any_order", "error", "says", "never_says"),
}
FILE_CASE = {"name", "scenario", "policy", "mistakes"}


def read(file: Path) -> Any:
    return YAML(typ="safe").load(file.read_text("utf-8"))


def pages() -> list[Path]:
    return sorted(PAGES.glob("*.yaml"))


def cases() -> Iterator[Any]:
    for file in pages():
        page = read(file)
        for case in page.get("cases", ()):
            yield pytest.param(page, case, id=f"{file.stem}: {case['name']}")


def proofs() -> Iterator[Any]:
    for file in pages():
        for target in read(file).get("proved_by", ()):
            yield pytest.param(target, id=f"{file.stem}: {target}")


def no_spreadsheet(name: str) -> bytes:
    raise FileNotFoundError(name)


@cache
def policy_of(text: str) -> Policy:
    parsed = parse(text, no_spreadsheet)
    assert isinstance(parsed, Policy), "\n".join(map(str, parsed))
    return parsed


def world_of(page: Mapping[str, Any]) -> Policy:
    return policy_of(page["policy"] if "policy" in page else (WORLDS / f"{page['world']}.yaml").read_text("utf-8"))


@pytest.mark.parametrize(("page", "case"), list(cases()))
def test_the_specification(page: dict[str, Any], case: dict[str, Any]) -> None:
    if "mistakes" in case:
        check_mistakes(parse(case["policy"], no_spreadsheet), case["mistakes"])
    else:
        check_answer(asked(world_of(page), page, case["ask"]), case)


def check_mistakes(parsed: Policy | Mistakes, expected: list[str]) -> None:
    """Three dots stand for words that a page is not about."""
    found = [] if isinstance(parsed, Policy) else [str(mistake) for mistake in parsed]
    patterns = [".*".join(map(re.escape, text.removesuffix(" ...").split(" ... "))) for text in expected]

    assert len(found) == len(expected), found
    for text, pattern in zip(found, patterns, strict=True):
        assert re.match(pattern, text), text


def asked(policy: Policy, page: dict[str, Any], words: dict[str, Any]) -> dict[str, Any]:
    """The answer as any program gets it."""
    chat = words.get("chat")
    return answer(ask(policy, {**words, "chat": page["chats"][chat]} if isinstance(chat, str) else words, NOW))


def check_answer(given: dict[str, Any], case: dict[str, Any]) -> None:
    text = " ".join([given.get("error", ""), *(objection["text"] for objection in given.get("because", ()))])

    assert given["allowed"] is case["allowed"], text
    assert sorted({objection["rule"] for objection in given.get("because", ())}) == sorted(case.get("because", [])), (
        text
    )
    assert ("error" in given) == ("error" in case)
    assert case.get("error", "") in given.get("error", "")
    for words in case.get("says", ()):
        assert words.casefold() in text.casefold()
    for words in case.get("never_says", ()):
        assert words.casefold() not in text.casefold()
    if "kind" in case:
        assert given.get("kind") == case["kind"]
    if "people" in case:
        check_people(given["people"], case)


def check_people(found: list[dict[str, Any]], case: dict[str, Any]) -> None:
    """A page may name of an entry only what it is about."""
    expected = [entry if isinstance(entry, dict) else {"person": entry} for entry in case["people"]]
    if case.get("any_order"):
        found = sorted(found, key=lambda entry: str(entry["person"]))
        expected.sort(key=lambda entry: str(entry["person"]))

    assert [{key: one.get(key) for key in two} for one, two in zip(found, expected, strict=False)] == expected
    assert [entry["person"] for entry in found] == [entry["person"] for entry in expected]


@pytest.mark.parametrize("file", pages(), ids=lambda file: file.stem)
def test_a_page_says_what_it_means_and_no_more(file: Path) -> None:
    page = read(file)

    assert page.keys() <= PAGE
    assert page["rules"]
    assert page.get("cases") or page.get("proved_by")
    assert not {"world", "policy"} <= page.keys()
    names = [case["name"] for case in page.get("cases", ())]
    assert len(names) == len(set(names))
    for case in page.get("cases", ()):
        assert case.keys() <= (FILE_CASE if "mistakes" in case else QUESTION_CASE), case["name"]
        if "mistakes" not in case:
            assert case["allowed"] is ("because" not in case and "error" not in case), case["name"]
    used = {case["ask"]["chat"] for case in page.get("cases", ()) if isinstance(case.get("ask", {}).get("chat"), str)}
    assert page.get("chats", {}).keys() == used


def test_every_world_is_on_some_page() -> None:
    assert {file.stem for file in WORLDS.glob("*")} == {page["world"] for page in map(read, pages()) if "world" in page}


@pytest.mark.parametrize("target", list(proofs()))
def test_what_no_decision_can_show_is_proved_elsewhere(target: str) -> None:
    path, _, function = target.partition("::")
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}

    assert function in functions
