"""Consent to two sets of terms, and a phone number: what is asked, what counts, who owes an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from bridge.arrival.consent import Consent, Wanting, agreed, wanting
from bridge.arrival.invitation import Invitation
from bridge.arrival.phone import asked_for, number_of, phone_objection, phone_of
from bridge.arrival.terms import AT_FIRST, Terms, TermsKept
from bridge.direct import Direct
from bridge.policy_file import PolicySource
from bridge.store import Store
from policy.model import Membership, Organisation, PersonId, Requirement, Role, UserId
from policy.terms import Owed, owed_file, owing

NOW = 1_800_000_000.0
PLATFORM = Terms("platform", "Oakfield Chat", "p1", "https://oakfield.example/terms")
SCHOOL = Terms("terms", "Hillside Primary", "1", "https://hillside.example/terms")
HEAD, CHAN, LATE = (PersonId(f"hillside/{name}") for name in ("head", "chan", "late"))
POLICY = """\
organisations:
  hillside:
    name: Hillside Primary
    mobile: optional
    terms: {version: "%(version)s", link: "https://hillside.example/terms"}
    people:
      head: {name: Helen Head, role: staff, admin: system, email: head@hillside.example, matrix: "@head:qwil.test"}
      chan: {name: Pat Chan, role: client, email: chan@home.example, matrix: "@chan:qwil.test"}
%(more)s
    books:
      year-1: {name: Year 1, members: [head, chan]}
  riverside:
    name: Riverside Academy
    mobile: optional
    people:
      ode: {name: Ben Ode, role: staff, admin: system, email: ode@riverside.example, matrix: "@ode:qwil.test"}
      helen: {name: Helen Head, role: staff, email: head@riverside.example, matrix: "@head:qwil.test"}
    books: {}
"""
NEWCOMER = '      late: {name: Lee Late, role: staff, email: late@hillside.example, matrix: "@late:qwil.test"}'


def test_both_sets_are_ticked_in_the_version_that_was_shown_and_no_other() -> None:
    def found(**versions: str) -> list[Wanting]:
        return list(wanting(Consent(versions), (PLATFORM, SCHOOL), None))

    assert found(platform="p1", terms="1") == []
    assert found() == [
        Wanting("platform", "terms", "Oakfield Chat"),
        Wanting("terms", "terms", "Hillside Primary"),
    ]
    assert found(platform="p0", terms="1") == [Wanting("platform", "terms_changed", "Oakfield Chat")]
    assert list(wanting(Consent({}), (), None)) == []


def test_what_was_read_is_kept_and_not_what_came_after() -> None:
    newer = SCHOOL._replace(version="2")

    assert agreed(Consent({"terms": "1"}), (PLATFORM, newer)) == [SCHOOL]


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("+44 7700 900010", "+447700900010"),
        (" +44 (7700) 900-010 ", "+447700900010"),
        ("+44 (0)7700 900010", "+447700900010"),
        ("+49\u00a0151/23456789", "+4915123456789"),
        ("07700 900010", ""),
        ("0044 7700 900010", ""),
        ("+0 7700 900010", ""),
        ("+44", ""),
        ("+44 7700 900010 ext 5", ""),
        ("+447700900010\nBcc: x", ""),
        ("+1234567890123456", ""),
        ("+٤٤٧٧٠٠٩٠٠٠١٠", ""),
    ],
)
def test_a_number_is_international_and_kept_without_decoration(typed: str, number: str) -> None:
    assert number_of(typed) == number


@pytest.mark.parametrize(
    ("typed", "needed", "objection"),
    [
        ("", "asked", "mobile_missing"),
        ("  ", "asked", "mobile_missing"),
        ("", "optional", ""),
        ("07700 900010", "optional", "mobile_country"),
        ("+44 77oo", "asked", "mobile_form"),
        ("+44 7700 900010", "asked", ""),
        ("nonsense", None, ""),
    ],
)
def test_whoever_is_asked_has_to_answer_and_whoever_may_answer_has_to_answer_rightly(
    typed: str, needed: Requirement | None, objection: str
) -> None:
    assert phone_objection(typed, needed) == objection


def test_staff_and_clients_are_asked_as_the_organisation_says_and_nobody_whose_row_has_a_number() -> None:
    organisation = Organisation("hillside", "Hillside", mobile_staff="required", mobile_client="asked")

    def member(role: Role, mobile: str = "") -> Membership:
        books: frozenset[str] = frozenset()
        return Membership(CHAN, "hillside", "chan", "Pat Chan", role, None, books, "invited", mobile=mobile)

    assert asked_for(member("client"), organisation) == "asked"
    assert asked_for(member("client", "+44 7700 900010"), organisation) is None
    assert asked_for(member("staff"), organisation) is None
    given = Invitation(CHAN, "chan@home.example", NOW, mobile="+447700900011")
    assert phone_of(member("client"), given) == "+447700900011"
    assert phone_of(member("client", "+44 7700 900010"), given) == "+44 7700 900010"
    assert phone_of(member("client"), None) == ""


class Told:
    """Stands for the bot's direct chats."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    async def tell(self, user: UserId, text: str, *, about: str) -> None:
        assert about
        self.texts.append((user, text))


class School:
    """A policy, and who owes an answer to its terms."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.file = folder / "policy.yaml"
        self.source = PolicySource(self.file)
        self.store = store
        self.told = Told()
        self.save()

    def save(self, version: str = "1", more: str = "") -> None:
        self.file.write_text(POLICY % {"version": version, "more": more})
        self.source.load()

    def bridge(self, platform: Terms | None = None) -> TermsKept:
        """One that has just started."""
        direct = cast(Direct, self.told)
        return TermsKept(source=self.source, store=self.store, direct=direct, platform=platform, clock=lambda: NOW)

    def owed(self) -> Owed:
        file = Path(owed_file(str(self.file)))
        return owing(file.read_bytes()) if file.exists() else Owed()

    async def accept(self, terms: TermsKept, user: str) -> str:
        account = UserId(user)
        return await terms.accept(account, self.source.policy.accounts[account])


@pytest.fixture
def school(tmp_path: Path, store: Store) -> School:
    return School(tmp_path, store)


async def test_those_who_came_before_the_bridge_have_accepted_and_those_who_come_after_have_not(
    school: School,
) -> None:
    terms = school.bridge()
    await terms.work()
    assert not school.owed()

    school.save(more=NEWCOMER)
    await terms.work()

    assert school.owed() == Owed(frozenset({LATE}))
    assert [user for user, _ in school.told.texts] == ["@late:qwil.test"]
    assert (
        await school.accept(terms, "@late:qwil.test") == "You have accepted the terms of Hillside Primary. Thank you."
    )
    assert not school.owed()
    assert await school.accept(terms, "@late:qwil.test") == "There are no new terms that wait for you."


async def test_a_record_of_an_older_bridge_knows_the_version_alone_and_asks_nobody_who_is_there(
    school: School, store: Store
) -> None:
    await store.remember(f"{AT_FIRST}hillside", "1")
    terms = school.bridge()
    await terms.work()
    assert not school.owed()

    school.save(version="2")
    await terms.work()

    assert school.owed() == Owed(frozenset({HEAD, CHAN}))


async def test_everybody_accepts_the_terms_of_the_platform_once_for_an_account(school: School) -> None:
    terms = school.bridge(PLATFORM)
    await terms.work()

    everybody = {HEAD, CHAN, PersonId("riverside/ode"), PersonId("riverside/helen")}
    assert school.owed().platform == everybody
    assert school.owed().terms_of_platform.link == PLATFORM.link
    assert sorted(user for user, _ in school.told.texts) == ["@chan:qwil.test", "@head:qwil.test", "@ode:qwil.test"]
    assert await school.accept(terms, "@head:qwil.test") == "You have accepted the terms of Oakfield Chat. Thank you."
    assert school.owed().platform == {CHAN, PersonId("riverside/ode")}

    again = school.bridge(PLATFORM)
    await again.work()
    assert school.owed().platform == {CHAN, PersonId("riverside/ode")}
    assert len(school.told.texts) == 3
    newer = school.bridge(PLATFORM._replace(version="p2"))
    await newer.work()
    assert school.owed().platform == everybody
    assert len(school.told.texts) == 6


async def test_one_word_accepts_both_sets_and_both_are_on_record(school: School, store: Store) -> None:
    terms = school.bridge(PLATFORM)
    await terms.work()
    school.save(version="2")
    await terms.work()

    said = await school.accept(terms, "@chan:qwil.test")

    assert said == "You have accepted the terms of Oakfield Chat and Hillside Primary. Thank you."
    assert CHAN not in school.owed()
    details = [json.loads(entry.details) for entry in await store.audit_entries() if entry.what == "terms accepted"]
    assert [(one["of"], one["terms"]) for one in details] == [("Oakfield Chat", "p1"), ("Hillside Primary", "2")]


async def test_an_answer_to_terms_that_have_changed_once_more_is_no_answer_to_those(school: School) -> None:
    terms = school.bridge()
    await terms.work()
    school.save(version="2")
    await terms.work()
    school.save(version="3")

    said = await school.accept(terms, "@chan:qwil.test")

    assert said.startswith("Meanwhile they have changed once more. Hillside Primary has new terms. Read them: ")
    await terms.work()
    assert CHAN in school.owed()
    assert "You have accepted" in await school.accept(terms, "@chan:qwil.test")
    assert CHAN not in school.owed()


async def test_whoever_follows_the_link_of_a_refusal_need_not_wait_to_be_told(school: School) -> None:
    terms = school.bridge()
    await terms.work()
    school.save(version="2")

    assert "You have accepted" in await school.accept(terms, "@chan:qwil.test")


async def test_somebody_who_accepts_while_it_is_worked_out_who_owes_an_answer_owes_none(
    school: School, store: Store
) -> None:
    terms = school.bridge()
    await terms.work()
    school.save(version="2")
    recall_all = store.recall_all

    async def meanwhile(prefix: str) -> dict[str, Any]:
        found = await recall_all(prefix)
        if prefix == "terms:" and not accepted:
            accepted.append(True)
            await terms.keep(CHAN, UserId("@chan:qwil.test"), [SCHOOL._replace(version="2")])
        return found

    accepted: list[bool] = []
    store.recall_all = meanwhile  # type: ignore[method-assign]
    await terms.work()
    await terms.work()

    assert school.owed() == Owed(frozenset({HEAD}))
