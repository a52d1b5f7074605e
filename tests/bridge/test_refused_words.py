"""What the bot refuses it explains and keeps: who asked for what, and by which rule not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from bridge.administration import Administration
from bridge.commands import Commands
from bridge.store import Store
from tests.bridge.test_export_jobs import school_policy
from tests.bridge.test_export_words import ANN, NOW, PAT, PIA, POLICY, TOM, TRIP, Bot

NONE = cast("Any", None)


class School(Bot):
    """A bot that knows administrators' words too."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        this: Any = self
        self._commands = Commands(
            source=this,
            store=store,
            observer=self.observer,
            performer=NONE,
            direct=this,
            message_link="https://matrix.to/#/{room}/{event}?via={server}",
            more={**self.exports.words(), **Administration(NONE).words()},
            clock=lambda: NOW,
        )

    async def refusals(self) -> list[tuple[str, list[str]]]:
        """What was asked for, and the rules against it."""
        return [(details["command"], details["because"]) for what, details in await self.audit() if what == "refused"]


@pytest.fixture
def database(tmp_path: Any) -> str:
    """What is said here does not depend on the kind of the database."""
    return f"sqlite:{tmp_path}/qwil.db"


@pytest.fixture
async def school(store: Store) -> School:
    school = School(store)
    await school.chat(TRIP, "client", ANN, PAT, name="Trip")
    return school


@pytest.mark.parametrize(
    ("text", "said", "rule"),
    [
        ("remove Ann Head", "Only staff can remove people; you can leave with “!leave”.", "PART-7"),
        ("staff-only", "Only staff can make a chat staff-only.", "CHAT-10"),
        ("suspend ann", "“suspend” is for administrators of your organisation.", "ROLE-1"),
        ("reviewer pat all", "“reviewer” is for administrators of your organisation.", "ROLE-1"),
        ("review find kiln", "Only data reviewers read chats they are not in", "REV-2"),
        ("export", "export", "EXP-1"),
    ],
)
async def test_a_word_of_others_is_refused_with_the_reason_and_kept(
    school: School, text: str, said: str, rule: str
) -> None:
    answer = await school.asked(PAT, f"!{text}", TRIP)

    assert said in answer
    assert "I do not know" not in answer
    assert await school.refusals() == [(text, [rule])]


async def test_who_is_suspended_is_kept_on_record_with_what_they_asked_for(school: School) -> None:
    school.policy = school_policy(POLICY.replace("name: Pia Diaz,", "name: Pia Diaz, status: suspended,"))

    assert "suspended" in await school.asked(PIA, "contacts")
    assert await school.refusals() == [("contacts", ["USR-1"])]


async def test_an_unknown_word_is_answered_with_the_one_that_was_meant(school: School) -> None:
    assert (await school.asked(ANN, "suspnd pat")).startswith("I do not know “suspnd” — did you mean “suspend”?")
    assert (await school.asked(PAT, "suspnd ann")).startswith("I do not know “suspnd”. ")
    assert await school.refusals() == []


async def test_help_lists_what_one_may_use_or_tells_of_one_word(school: School) -> None:
    assert "!export" not in await school.asked(PAT, "help")
    assert "!export" in await school.asked(TOM, "help")
    assert "suspend" not in await school.asked(TOM, "help")
    one = await school.asked(ANN, "help !book")
    assert len(one.splitlines()) == 2
    assert one.splitlines()[1].startswith("book list | show BOOK")
    assert (await school.asked(PAT, "help book")).startswith("I do not know “book”")

    school.policy = school_policy(POLICY.replace("clients_may_export: false", "clients_may_export: true"))
    assert "!export" in await school.asked(PAT, "help")


async def test_a_word_that_needs_more_asks_for_it_and_does_nothing(school: School) -> None:
    assert await school.asked(ANN, "!rename", TRIP) == "Write what to call it: “!rename TITLE”."
    assert await school.asked(ANN, "!remove", TRIP) == "Write whom to remove: “!remove PERSON”."
