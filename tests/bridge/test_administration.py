"""Administrators type to the bot: what they may, what the rules ask of them first, and what is on record of it."""

import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import bridge.office
from bridge import spreadsheet
from bridge.administration import BOOK_WORDS, Administration
from bridge.commands import Answer, Asked
from bridge.import_words import Importer
from bridge.policy_file import load
from bridge.policy_writer import PolicyWriter
from bridge.store import NewEvent, Store
from policy.amend import on_record
from policy.change import SetField
from policy.model import Membership, PersonId, Policy, UserId
from policy.parse import parse

POLICY = """\
# The office keeps this file.
organisations:
  hill:
    name: Hill
    default_book: year-1
    mobile: optional
    people:
      head: {name: Ada Head, role: staff, admin: system, email: head@hill.example, matrix: "@head:x.example"}
      office: {name: Olga Office, role: staff, admin: user, email: office@hill.example, matrix: "@office:x.example"}
      t.ok: {name: Tim Ok, role: staff, email: t@hill.example, matrix: "@tim:x.example"}
      p.chan: {name: Mei Chan, role: client, email: p@x.example, matrix: "@mei:x.example"}
      p.ray: {name: Mei Chan, role: client, email: ray@x.example, status: invited}
    books:
      year-1: {name: Year 1, members: [t.ok, p.chan, p.ray]}
      violin: {name: "Violin, one to one", members: [t.ok, p.chan]}
      empty: {name: Empty}
  river:
    name: River
    mobile: optional
    people:
      boss: {name: Bo Boss, role: staff, admin: system, email: boss@river.example, matrix: "@boss:x.example"}
    books: {}
"""
HEAD, OFFICE, TIM, MEI, BOSS = (UserId(f"@{name}:x.example") for name in ("head", "office", "tim", "mei", "boss"))
ROOM = "!direct:x.example"
NOW = 1_796_000_000.0


class Carrier:
    """Files as they would lie on the homeserver."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.sent: list[tuple[UserId, str, bytes]] = []

    async def fetch(self, content: Mapping[str, Any], most: int) -> bytes:
        assert most == spreadsheet.LARGEST
        return self.files[content["url"]]

    async def send(self, user: UserId, data: bytes, *, name: str, mimetype: str, about: str, organisation: str) -> None:
        assert mimetype
        assert about
        assert organisation == "hill"
        self.sent.append((user, name, data))


class Office:
    """The bot's ear for administrators, on a policy in a folder."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.path = folder / "policy.yaml"
        self.path.write_text(POLICY)
        self.store = store
        self.carrier = Carrier()
        self.writer = PolicyWriter(self.path)
        office = bridge.office.Office(store=store, writer=self.writer, clock=lambda: NOW)
        importer = Importer(store=store, office=office, carrier=self.carrier)
        self.words = Administration(office).words() | importer.words()
        self._numbers = itertools.count(1)

    @property
    def policy(self) -> Policy:
        found = load(self.path)
        assert isinstance(found, Policy), found
        return found

    def person(self, identifier: str) -> Membership:
        return self.policy.people[PersonId(f"hill/{identifier}")]

    def members(self, book: str) -> set[str]:
        members = self.policy.organisations["hill"].books[book].members
        return {person.removeprefix("hill/") for person in members}

    async def event(self, user: UserId, **content: Any) -> str:
        name = f"$e{next(self._numbers)}"
        whole = {"event_id": name, "content": content}
        new = NewEvent(name, ROOM, user, "m.room.message", None, 0, None, json.dumps(whole))
        await self.store.receive(name, [new], received=NOW)
        return name

    async def say(self, user: UserId, text: str, reply_to: str | None = None) -> str:
        relation = {"m.relates_to": {"m.in_reply_to": {"event_id": reply_to}}} if reply_to else {}
        event = await self.store.event(await self.event(user, msgtype="m.text", body=text, **relation))
        assert event is not None
        word, _, rest = text.partition(" ")
        memberships = self.policy.accounts.get(user, ())
        asked = Asked(event, user, memberships, self.policy, NOW, rest.strip(), None)
        run: Callable[[Any, Asked], Awaitable[str]] = self.words[word].run
        try:
            return await run(None, asked)
        except Answer as answer:
            return str(answer)

    async def upload(self, user: UserId, data: bytes) -> str:
        address = f"mxc://x.example/f{next(self._numbers)}"
        self.carrier.files[address] = data
        return await self.event(user, msgtype="m.file", body="people.csv", url=address)

    async def record(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [(entry.who, entry.what, json.loads(entry.details)) for entry in await self.store.audit_entries()]


@pytest.fixture
def database(tmp_path: Path) -> str:
    """What is said here does not depend on the kind of the database."""
    return f"sqlite:{tmp_path}/qwil.db"


@pytest.fixture
async def office(store: Store, tmp_path: Path) -> Office:
    return Office(store, tmp_path)


async def test_a_book_is_made_filled_shown_and_emptied(office: Office) -> None:
    assert "There is a contact book choir now" in await office.say(OFFICE, 'book create choir "The Choir"')
    added = await office.say(OFFICE, "book add choir Tim Ok, p.chan")
    assert "Tim Ok and Mei Chan are in the contact book choir." in added
    assert await office.say(OFFICE, "book show choir") == (
        "choir: The Choir\n- Mei Chan (p.chan), client\n- Tim Ok (t.ok), staff"
    )
    assert "- choir: The Choir, 1 staff, 1 client" in await office.say(OFFICE, "book list")
    assert "out of the contact book choir" in await office.say(OFFICE, "book remove choir @mei:x.example")
    assert office.members("choir") == {"t.ok"}
    assert office.path.read_text().startswith("# The office keeps this file.")


async def test_a_book_is_called_by_its_name_too(office: Office) -> None:
    assert "in the contact book violin" in await office.say(OFFICE, 'book add "violin, one to one" hill/head')


async def test_what_the_rules_object_to_is_answered_with_what_to_do_first(office: Office) -> None:
    assert await office.say(OFFICE, "book remove violin t.ok") == (
        "Tim Ok is the only active staff in the contact book violin, which has a client:"
        " add another staff first. (BOOK-11)"
    )
    assert "(BOOK-4)" in await office.say(OFFICE, "book add empty p.chan")
    assert "(USR-3)" in await office.say(OFFICE, "suspend t.ok")
    await office.say(OFFICE, "book remove violin p.chan")
    assert "(BOOK-12)" in await office.say(OFFICE, "book remove year-1 p.chan")
    assert office.members("year-1") == {"t.ok", "p.chan", "p.ray"}


async def test_somebody_is_suspended_let_in_again_and_deactivated_when_it_is_said_twice(office: Office) -> None:
    assert "Mei Chan is suspended" in await office.say(OFFICE, "suspend p.chan")
    assert office.person("p.chan").status == "suspended"
    assert "is active again" in await office.say(OFFICE, "unsuspend p.chan")
    asked = await office.say(OFFICE, "deactivate p.chan")
    assert "write “deactivate hill/p.chan CONFIRM”" in asked
    assert office.person("p.chan").status == "active"
    assert "has ended" in await office.say(OFFICE, "deactivate hill/p.chan CONFIRM")
    assert office.person("p.chan").status == "left"
    assert "Mei Chan has left for good" in await office.say(OFFICE, "unsuspend hill/p.chan")


async def test_a_name_that_two_people_bear_is_asked_back(office: Office) -> None:
    assert await office.say(OFFICE, "suspend Mei Chan") == (
        'Several people are called "Mei Chan". Write which one: hill/p.chan (active), hill/p.ray (invited).'
    )
    assert await office.say(OFFICE, "suspend p.chann") == 'There is nobody called "p.chann" — did you mean "p.chan"?'


async def test_nobody_who_does_not_administer_changes_anything_and_the_attempt_is_on_record(office: Office) -> None:
    for user in (TIM, MEI):
        for text in (
            "book create x",
            "suspend p.chan",
            "book list",
            "cover t.ok by head from 2026-12-01 until 2026-12-02",
        ):
            assert "(ROLE-1)" in await office.say(user, text)
    assert office.path.read_text() == POLICY
    assert [(who, what) for who, what, _ in await office.record()][:1] == [(TIM, "refused")]


async def test_an_administrator_of_another_organisation_does_not_find_anybody_here(office: Office) -> None:
    assert "There is nobody called" in await office.say(BOSS, "suspend hill/p.chan")
    assert "There is nobody called" in await office.say(BOSS, "suspend @mei:x.example")
    assert "There is no contact book" in await office.say(BOSS, "book show year-1")
    assert "You do not administer" in await office.say(BOSS, "book create hill/x X")
    assert "River" in await office.say(BOSS, "book list")
    assert "Hill" not in await office.say(BOSS, "status")


async def test_a_user_admin_leaves_system_admins_and_rights_alone(office: Office) -> None:
    assert "(ROLE-3)" in await office.say(OFFICE, "suspend head")
    assert "(ROLE-3)" in await office.say(OFFICE, "admin t.ok user")
    assert "(ROLE-4)" in await office.say(OFFICE, "reviewer t.ok all")
    assert office.path.read_text() == POLICY


async def test_a_system_admin_gives_and_takes_rights_but_not_their_own(office: Office) -> None:
    assert "Tim Ok is system administrator." in await office.say(HEAD, "admin t.ok system")
    assert "Tim Ok reviews all chats with clients." in await office.say(HEAD, "reviewer t.ok clients")
    assert (office.person("t.ok").admin, office.person("t.ok").review) == ("system", "clients")
    assert "(ROLE-5)" in await office.say(HEAD, "admin head none")
    await office.say(TIM, "admin head none")
    assert office.person("head").admin == ""
    assert "(ROLE-1)" in await office.say(HEAD, "admin t.ok none")


async def test_a_client_gets_no_rights(office: Office) -> None:
    assert "only staff can be admins" in await office.say(HEAD, "admin p.chan user")
    assert "only staff can be reviewers" in await office.say(HEAD, "reviewer p.chan all")


async def test_a_cover_stands_in_the_file_and_one_that_overlaps_itself_does_not(office: Office) -> None:
    assert "Ada Head is in all contact books of Tim Ok from 2026-12-01 to 2026-12-19" in await office.say(
        OFFICE, "cover Tim Ok by Ada Head from 2026-12-01 until 2026-12-19"
    )
    assert "already" in await office.say(OFFICE, "cover t.ok by head from 2026-12-10 until 2026-12-24")
    assert "before it begins" in await office.say(OFFICE, "cover t.ok by head from 2026-12-30 until 2026-12-24")
    assert "only staff are covered" in await office.say(OFFICE, "cover t.ok by p.chan from 2026-12-30 until 2026-12-31")
    assert "with days like" in await office.say(OFFICE, "cover t.ok by head from monday until 2026-12-24")
    assert len(office.policy.organisations["hill"].covers) == 1
    assert "stands in for hill/t.ok from 2026-12-01" in await office.say(OFFICE, "status")


async def test_every_act_is_on_record_with_before_and_after(office: Office) -> None:
    await office.say(OFFICE, "suspend p.chan")

    [(who, what, details)] = await office.record()

    assert (who, what) == (OFFICE, "suspended hill/p.chan")
    assert details["changes"] == [
        {"person": "hill/p.chan", "field": "status", "before": "active", "after": "suspended"}
    ]
    assert details["event"].startswith("$")


def test_before_and_after_are_on_record_in_the_words_of_the_file() -> None:
    text = POLICY.replace("t@hill.example", "t@hill.example, unlisted: true, until: 2027-07-31")
    found = parse(text, dict[str, bytes]().__getitem__)
    assert isinstance(found, Policy), found
    tim = PersonId("hill/t.ok")

    said = [on_record(found, SetField(tim, *change)) for change in (("unlisted", "false"), ("until", "2027-08-31"))]

    assert [(one["before"], one["after"]) for one in said] == [("true", "false"), ("2027-07-31", "2027-08-31")]


async def test_a_cover_whose_days_are_over_is_no_cover(office: Office) -> None:
    assert (await office.say(OFFICE, "cover t.ok by head from 2025-12-01 until 2025-12-19")).startswith(
        "2025-12-19 is over already, so nothing was changed: write days to come."
    )
    assert office.path.read_text() == POLICY


async def test_a_slip_behind_import_is_named(office: Office) -> None:
    file = await office.upload(
        OFFICE, b"identifier,first_name,role,email,contact_books\nn,Nia,client,n@x.example,year-1\n"
    )

    assert await office.say(OFFICE, "import skip-exsiting", reply_to=file) == (
        '"skip-exsiting" is no organisation that you administer, and nothing else I know here'
        ' — did you mean "skip-existing"?'
    )


async def test_said_twice_it_is_done_once(office: Office) -> None:
    await office.say(OFFICE, "suspend p.chan")

    assert await office.say(OFFICE, "suspend p.chan") == "Mei Chan is suspended already: nothing was changed."
    assert await office.say(OFFICE, "unsuspend t.ok") == "Tim Ok is active already: nothing was changed."
    assert len(await office.record()) == 1


async def test_who_comes_second_is_told_that_the_file_has_changed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = office.writer.read

    def read_before_the_other_saves() -> Any:
        found = read()
        office.path.write_text(POLICY.replace("# The office", "# The other office"))
        return found

    monkeypatch.setattr(office.writer, "read", read_before_the_other_saves)

    answer = await office.say(OFFICE, "suspend p.chan")

    assert answer.startswith("Nothing was done. policy.yaml was changed by somebody else in the meantime")
    assert "suspended" not in office.path.read_text()
    assert [what for _, what, _ in await office.record()] == [
        "suspended hill/p.chan",
        "not done: suspended hill/p.chan",
    ]


async def test_while_the_saved_policy_has_mistakes_it_is_not_changed_and_status_names_them(office: Office) -> None:
    asked = office.policy
    office.path.write_text(POLICY.replace("role: client", "role: clint"))
    accounts = dict(asked.accounts)
    event = await office.store.event(await office.event(OFFICE, msgtype="m.text", body="suspend p.chan"))
    assert event is not None
    words = office.words

    with pytest.raises(Answer, match=r"has mistakes: repair them first"):
        await words["suspend"].run(None, Asked(event, OFFICE, accounts[OFFICE], asked, NOW, "p.chan", None))  # type: ignore[arg-type]
    said = await words["status"].run(None, Asked(event, OFFICE, accounts[OFFICE], asked, NOW, "", None))  # type: ignore[arg-type]

    assert 'unknown role "clint"' in said


async def test_status_counts_and_warns(office: Office) -> None:
    said = await office.say(HEAD, "status")

    assert said.startswith("Hill: 4 active, 1 invited, 0 suspended, 3 books.")


CSV = "identifier,first_name,last_name,role,email,contact_books\n"
GOOD = f"{CSV}n.new,Nia,New,client,n@x.example,year-1\n".encode()
MIXED = f"{CSV}n.new,Nia,New,client,n@x.example,year-1\nn.bad,Ned,Bad,client,,yaer-1\n".encode()


async def test_a_spreadsheet_is_tried_first_and_then_imported(office: Office) -> None:
    file = await office.upload(OFFICE, MIXED)

    dry = await office.say(OFFICE, "import", reply_to=file)

    assert dry.startswith("1 new, 1 refused.\nrow 3 n.bad: refused: email: hill/n.bad has no email")
    assert 'contact_books: unknown book "yaer-1" — did you mean "year-1"?' in dry
    assert "write “import apply”" in dry
    assert office.path.read_text() == POLICY
    [(user, name, data)] = office.carrier.sent
    assert (user, name) == (OFFICE, "refused.csv")
    assert "n.bad" in data.decode()
    assert "reason" in data.decode()
    assert "Imported: 1 new, 1 refused." in await office.say(OFFICE, "import apply")
    assert office.person("n.new").status == "invited"
    assert [what for _, what, _ in await office.record()] == ["import into hill"]


async def test_import_apply_may_be_written_as_a_reply_to_the_file_or_to_what_the_bot_said_of_it(
    office: Office,
) -> None:
    head = "identifier,first_name,role,email,contact_books\n"
    for number, reply in enumerate(("the file", "the bot's answer")):
        file = await office.upload(HEAD, f"{head}n{number},Nia,client,n{number}@x.example,year-1\n".encode())
        answer = await office.event(UserId("@qwil:x.example"), msgtype="m.notice", body="1 new, 0 refused.")
        assert "Nothing is done yet" in await office.say(HEAD, "import", reply_to=file)

        said = await office.say(HEAD, "import APPLY", reply_to=file if reply == "the file" else answer)

        assert said.startswith("Imported: 1 new"), reply
        assert office.person(f"n{number}").status == "invited"


async def test_import_apply_of_another_file_is_a_dry_run_of_that(office: Office) -> None:
    head = "identifier,first_name,role,email,contact_books\n"
    first, second = [
        await office.upload(HEAD, f"{head}{name},Nia,client,{name}@x.example,year-1\n".encode()) for name in "ab"
    ]
    await office.say(HEAD, "import", reply_to=first)

    assert "Nothing is done yet" in await office.say(HEAD, "import apply", reply_to=second)
    assert len(office.policy.people) == 6


async def test_an_import_whose_policy_changed_since_the_dry_run_is_shown_again(office: Office) -> None:
    file = await office.upload(OFFICE, GOOD)
    await office.say(OFFICE, "import", reply_to=file)
    office.path.write_text(
        POLICY.replace(
            "    books:\n      year-1",
            "      n.new: {name: Nia New, role: client, email: n@x.example}\n    books:\n      year-1",
        ).replace("p.ray]}", "p.ray, n.new]}")
    )

    again = await office.say(OFFICE, "import apply")

    assert again.startswith("The policy or the file has changed since the dry run, so nothing was done.")


async def test_somebody_elses_file_is_not_imported(office: Office) -> None:
    file = await office.upload(HEAD, GOOD)

    assert "that you sent me yourself" in await office.say(OFFICE, "import", reply_to=file)
    assert "Send me the spreadsheet" in await office.say(OFFICE, "import")


async def test_a_file_that_is_no_table_is_answered_with_what_to_do(office: Office) -> None:
    file = await office.upload(OFFICE, "identifier\nZoë\n".encode("cp1252"))

    assert "Windows-1252" in await office.say(OFFICE, "import", reply_to=file)


async def test_people_who_are_there_may_be_skipped(office: Office) -> None:
    data = f"{CSV}p.chan,Paul,Other,client,paul@x.example,year-1\n".encode()
    file = await office.upload(OFFICE, data)

    assert "1 refused" in await office.say(OFFICE, "import", reply_to=file)
    assert await office.say(OFFICE, "import skip-existing", reply_to=file) == "0 new, 1 skipped, 0 refused."


async def test_the_template_comes_as_a_file(office: Office) -> None:
    assert "people.xlsx" in await office.say(OFFICE, "import template")
    assert spreadsheet.read(office.carrier.sent[0][2]) == spreadsheet.read(spreadsheet.template("csv"))


async def test_the_guide_names_every_word(office: Office) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "administering.md").read_text("utf-8").replace("\\|", "|")

    for name, word in office.words.items():
        usages = BOOK_WORDS.values() if name == "book" else word.usage.split(" | ")
        assert [usage for usage in usages if f"`{usage}`" not in guide] == []


@pytest.mark.parametrize("text", ["import river", "import river skip-existing", "book create river/choir"])
async def test_what_is_another_organisations_is_refused_and_kept_on_record(office: Office, text: str) -> None:
    file = await office.upload(HEAD, b"identifier")

    assert 'You do not administer "river". (ROLE-1)' in await office.say(HEAD, text, reply_to=file)

    who, what, details = (await office.record())[-1]
    assert (who, what, details["command"], details["because"]) == (HEAD, "refused", text, ["ROLE-1"])


async def test_a_template_of_another_kind_is_not_given_as_a_spreadsheet(office: Office) -> None:
    assert "“import template csv” or “import template xlsx”" in await office.say(OFFICE, "import template pdf")
    assert not office.carrier.sent
    assert "Fill in people.csv" in await office.say(OFFICE, "import template CSV")


async def test_rights_and_rules_are_looked_at_before_anybody_is_asked_to_confirm(office: Office) -> None:
    assert "CONFIRM" not in (said := await office.say(OFFICE, "deactivate hill/head"))
    assert "(ROLE-" in said
    assert "CONFIRM" not in await office.say(HEAD, "deactivate t.ok")
    assert [what for _, what, _ in await office.record()] == ["refused", "refused"]


async def test_confirm_may_be_written_in_small_letters(office: Office) -> None:
    await office.say(OFFICE, "book remove violin p.chan")

    assert "has ended" in await office.say(OFFICE, "deactivate hill/p.ray confirm")
    assert office.person("p.ray").status == "left"


async def test_a_day_that_is_none_is_said_to_be_none(office: Office) -> None:
    said = await office.say(OFFICE, "cover t.ok by head from 2026-11-31 until 2026-12-24")

    assert said.startswith("There is no 2026-11-31. Write “cover")
    assert (await office.say(OFFICE, "cover t.ok by head from soon until later")).startswith("Write “cover")


async def test_a_refusal_begins_with_a_name_and_never_with_a_capitalised_identifier(office: Office) -> None:
    said = await office.say(HEAD, "reviewer p.chan all")

    assert "Hill/p.chan" not in said
    assert "Mei Chan" in said


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("book LIST", "Hill:\n- year-1: Year 1, 1 staff, 2 clients"),
        ("book show Year 1", "year-1: Year 1\n- Mei Chan (p.chan), client"),
        ("book show year-1 and more", 'There is no contact book "year-1 and more"'),
        ("book add Year 1 Ada Head", "Ada Head is in the contact book year-1."),
        ("book add year-1 Ada Head and Olga Office", "Ada Head and Olga Office are in the contact book year-1."),
        ("admin t.ok USER", "Tim Ok is user administrator."),
        ("reviewer Tim Ok All", "Tim Ok reviews all chats."),
        ("cover Tim Ok By Ada Head From 2026-12-01 Until 2026-12-19", "Ada Head is in all contact books of Tim Ok"),
    ],
)
async def test_capital_letters_and_names_of_several_words_are_understood(
    office: Office, said: str, answer: str
) -> None:
    assert (await office.say(HEAD, said)).startswith(answer)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("book create Year 2", 'Write “book create year-2 "Year 2"”, for instance.'),
        ('book create Reception "The little ones"', 'Write “book create reception "The little ones"”, for instance.'),
        ("book create Été", 'Write “book create ete "Été"”, for instance.'),
    ],
)
async def test_a_book_that_is_called_by_its_name_alone_is_answered_with_how_to_write_it(
    office: Office, said: str, meant: str
) -> None:
    assert (await office.say(HEAD, said)).endswith(meant)
    assert await office.say(HEAD, meant.split("“")[1].split("”")[0]) != ""
    assert len(office.policy.organisations["hill"].books) == 4


async def test_whose_status_a_word_cannot_change_is_answered_with_the_word_that_can(office: Office) -> None:
    assert await office.say(HEAD, "suspend p.ray") == (
        "Mei Chan has yet to accept the invitation: “revoke p.ray” takes it back."
    )
    await office.say(HEAD, "deactivate p.chan CONFIRM")
    assert await office.say(HEAD, "unsuspend p.chan") == (
        "Mei Chan has left for good: invite the person anew under another identifier."
    )


async def test_a_cover_of_later_days_is_not_said_to_begin_now(office: Office) -> None:
    later = await office.say(HEAD, "cover t.ok by head from 2027-04-01 until 2027-04-05")
    assert later.endswith("both days included. It is saved, and begins and ends by itself.")

    today = await office.say(HEAD, "cover t.ok by office from 2026-11-01 until 2026-12-05")
    assert today.endswith("It takes effect within 2 seconds.")


async def test_a_refusal_is_on_record_with_where_it_was_asked_for(office: Office) -> None:
    await office.say(OFFICE, "admin t.ok system")

    [(who, what, details)] = await office.record()

    assert (who, what, details["because"], details["room"]) == (OFFICE, "refused", ["ROLE-3"], ROOM)
    assert details["event"].startswith("$")
