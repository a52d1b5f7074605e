"""`why`: whom its words mean, for administrators and for everybody else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bridge.commands import Answer, Asked
from bridge.why_words import why_words
from policy.model import UserId
from tests.bridge.test_export_jobs import school_policy

POLICY = """
networks: {trust: {name: Trust}}
organisations:
  hillside:
    name: Hillside
    network: trust
    mobile: optional
    people:
      head: {name: Ann Head, role: staff, admin: system, email: a@h.example, matrix: "@ann:x.example"}
      r.diaz: {name: Rosa Díaz, role: staff, email: r@h.example, matrix: "@rosa:x.example"}
      c.kaya: {name: Çağla Kaya, role: client, email: c@p.example, status: invited}
    books: {one: {name: One, members: [r.diaz, c.kaya]}}
  riverside:
    name: Riverside
    network: trust
    mobile: optional
    people:
      b.ode: {name: Ben van der Ode, role: staff, admin: system, email: b@r.example, matrix: "@ben:x.example"}
      t.ess: {name: Tess Ode, role: staff, email: t@r.example, matrix: "@tess:x.example"}
    books: {}
"""
NOW = 1_796_000_000.0


async def why(user: str, words: str, tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    policy = school_policy(POLICY)
    name = UserId(f"@{user}:x.example")
    asked = Asked(cast("Any", None), name, policy.accounts[name], policy, NOW, words, None)
    run = why_words(cast("Any", SimpleNamespace(policy=policy, path=path)))["why"].run
    try:
        return await run(cast("Any", None), asked)
    except Answer as answer:
        return str(answer)


@pytest.mark.parametrize(
    "words",
    [
        "r.diaz c.kaya",
        "Rosa Díaz Çağla Kaya",
        '"Rosa Díaz" c.kaya',
        "hillside/r.diaz Çağla Kaya",
        "@rosa:x.example hillside/c.kaya",
    ],
)
async def test_an_administrator_asks_about_two_by_any_of_their_names(words: str, tmp_path: Path) -> None:
    said = await why("ann", words, tmp_path)

    assert said.startswith(("No: ", "Yes: "))
    assert "Çağla Kaya" in said


@pytest.mark.parametrize("other", ["Ben van der Ode", "riverside/b.ode", "@ben:x.example"])
async def test_one_of_the_two_may_be_of_another_organisation(other: str, tmp_path: Path) -> None:
    assert (await why("ann", f"Rosa Díaz {other}", tmp_path)).startswith("Yes: a chat of Hillside can be started.")
    assert "(EXT" in await why("ann", f"Çağla Kaya {other}", tmp_path)


async def test_everybody_asks_about_one_by_a_whole_name(tmp_path: Path) -> None:
    for name in ("Ann Head", "hillside/head", "head", "Ben van der Ode", "riverside/b.ode"):
        assert (await why("rosa", name, tmp_path)).startswith("Yes: ")


@pytest.mark.parametrize("user", ["ben", "tess"])
async def test_who_cannot_be_reached_is_answered_like_who_is_not_there(user: str, tmp_path: Path) -> None:
    there, not_there = await why(user, '"Çağla Kaya"', tmp_path), await why(user, '"Cagla Maya"', tmp_path)

    assert there.replace("Çağla Kaya", "…") == not_there.replace("Cagla Maya", "…")
    assert ("(BOOK-6)" in there) == (user == "tess")


async def test_three_people_are_too_many(tmp_path: Path) -> None:
    assert "not 3" in await why("ann", "head r.diaz c.kaya", tmp_path)
