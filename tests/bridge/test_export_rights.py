"""Exports that whoever asked may not have any more: nothing is handed over, and that is on record."""

from __future__ import annotations

import io
import json
import time
import zipfile
from typing import Any

import pytest
from mautrix.api import Method

from bridge import config
from bridge.config import Config
from bridge.export import _exporter, _people
from bridge.export_jobs import ExportJobs
from bridge.export_order import REVIEW, Order
from bridge.export_words import ExportWords
from bridge.ledger import AuditEntry
from bridge.observe import Observer
from bridge.reviewing import may_export
from bridge.store import Store
from policy.model import Moment, UserId
from tests.bridge.test_export_jobs import (
    ANN,
    BEN,
    BOT,
    PAT,
    POLICY,
    ROOM,
    Desk,
    HomeserverInMemory,
    Source,
    a_chat,
    asked,
    joined,
    new,
    raw,
    said,
    school_policy,
)

NOW = Moment(1_770_000_100.0)
OTHER_ADMIN = """      cy: {name: Cy Ward, role: staff, admin: system, email: c@h.example}
    books: {one: {name: One, members: [ann, cy, pat]}}
"""
TWO_ADMINS = POLICY.replace("    books: {one: {name: One, members: [ann, pat]}}\n", OTHER_ADMIN)
assert TWO_ADMINS != POLICY


@pytest.fixture
def settings(tmp_path: Any) -> Config:
    text = "homeserver: {address: 'http://127.0.0.1:9', server_name: school.example}\n"
    return config.parse(text, tmp_path / "config.yaml")


@pytest.fixture
async def desk(settings: Config, store: Store, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An external chat of Ann's and Ben's."""
    monkeypatch.setattr(Source, "policy", school_policy(TWO_ADMINS))
    history = [*a_chat(BEN, kind="external"), said(20, "hello"), said(21, "and a reply", BEN)]
    await store.receive("t", [new(event) for event in history], received=1.0)
    return Desk(settings, store, HomeserverInMemory(history))


def changed(monkeypatch: pytest.MonkeyPatch, before: str, after: str) -> None:
    """The policy says something else from here on."""
    assert before in TWO_ADMINS
    monkeypatch.setattr(Source, "policy", school_policy(TWO_ADMINS.replace(before, after)))


async def refusals(store: Store) -> list[tuple[str, dict[str, Any]]]:
    entries: list[AuditEntry] = await store.audit_entries()
    return [(entry.what, json.loads(entry.details)) for entry in entries]


async def ask_as_reviewer(jobs: ExportJobs, **order: Any) -> None:
    whole = {"key": "$review", "sends": "zip", "reviewing": "riverside/ben", "purpose": REVIEW}
    await jobs.ask_for(Order(room=ROOM, by=BEN, asked=time.time(), **(whole | order)))


async def test_a_person_suspended_since_asking_gets_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = await desk.jobs()
    await asked(jobs)
    changed(monkeypatch, "{name: Ann Head,", "{status: suspended, name: Ann Head,")

    await desk.run(jobs)

    assert desk.homeserver.uploads == []
    ((what, details),) = await refusals(desk.store)
    assert what == "export refused"
    assert details["because"] == ["USR-1"]
    assert details["sent"] == []
    assert details["organisation"] == "hillside, riverside"
    (text,) = desk.homeserver.texts
    assert "Your membership of Hillside is suspended. Please ask its office. It is not handed over." in text
    assert "Trip" not in text, "what the chat is called by now is no business of theirs"
    assert list(desk.settings.exports.folder.glob("*")) == []


async def test_whoever_left_the_organisation_is_told_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = await desk.jobs()
    await asked(jobs)
    changed(monkeypatch, "{name: Ann Head,", "{status: left, name: Ann Head,")

    await desk.run(jobs)

    assert desk.homeserver.sent == {}
    assert [what for what, _ in await refusals(desk.store)] == ["export refused"]


async def test_an_account_that_is_another_persons_now_gets_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = await desk.jobs()
    await asked(jobs)
    changed(monkeypatch, '"@ann:school.example"', '"@anew:school.example"')

    await desk.run(jobs)

    assert desk.homeserver.sent == {}
    assert [details["text"] for _, details in await refusals(desk.store)] == [
        "You are in no organisation that takes part in this chat."
    ]


async def test_who_was_put_out_of_the_chat_gets_nothing_though_the_bridge_has_not_heard_of_it(desk: Desk) -> None:
    jobs = await desk.jobs()
    await asked(jobs)
    desk.homeserver.history.append(raw(30, "m.room.member", {"membership": "leave"}, sender=BEN, key=ANN))

    await desk.run(jobs)

    assert desk.homeserver.uploads == []
    assert [(what, details["because"]) for what, details in await refusals(desk.store)] == [
        ("export refused", ["EXP-1"])
    ]
    assert "Only staff who are in a chat can export it" in desk.homeserver.texts[-1]
    assert ANN in jobs._observer.rooms[ROOM].inside(BOT), "what the bridge goes by follows when it handles the event"


class PutsOutAfter(HomeserverInMemory):
    """Somebody puts Ann out of the chat once so many files were sent."""

    files_before = 1

    async def ask(self, method: Method, path: Any, content: Any = None, *, query: Any = None) -> Any:
        answer = await super().ask(method, path, content, query=query)
        if method == Method.PUT and content["msgtype"] == "m.file" and len(self.files) == self.files_before:
            self.history.append(raw(30, "m.room.member", {"membership": "leave"}, sender=BEN, key=ANN))
        return answer


async def test_who_is_put_out_between_two_files_gets_no_second_one(desk: Desk) -> None:
    desk.homeserver = PutsOutAfter(desk.homeserver.history)
    jobs = await desk.jobs()
    await asked(jobs)

    await desk.run(jobs)

    (file,) = desk.homeserver.files
    (_, exported), (what, refused) = await refusals(desk.store)
    assert (what, refused["sent"]) == ("export refused", [file])
    assert exported["export"] == refused["export"]
    assert "Its other files are not handed over." in desk.homeserver.texts[-1]


async def test_who_is_put_out_while_it_is_made_gets_no_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = await desk.jobs()
    make = jobs._maker.make

    async def made_meanwhile(*given: Any, **more: Any) -> Any:
        made = await make(*given, **more)
        desk.homeserver.history.append(raw(30, "m.room.member", {"membership": "leave"}, sender=BEN, key=ANN))
        return made

    monkeypatch.setattr(jobs._maker, "make", made_meanwhile)
    await asked(jobs)

    await desk.run(jobs)

    assert desk.homeserver.uploads == []
    assert [what for what, _ in await refusals(desk.store)] == ["export refused"]


async def test_a_refusal_is_on_record_once_though_the_bridge_dies_before_it_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = await desk.jobs()
    await asked(jobs)
    changed(monkeypatch, "{name: Ann Head,", "{status: suspended, name: Ann Head,")
    desk.homeserver.dies_after = 0
    await desk.run(jobs)
    desk.homeserver.dies_after = None

    await desk.run()

    assert [what for what, _ in await refusals(desk.store)] == ["export refused"]
    assert len(desk.homeserver.texts) == 1


@pytest.mark.parametrize(("exporter", "other_child"), [(PAT, ""), (ANN, "Leo Kim, Year 2")])
@pytest.mark.parametrize("acquainted", [False, True])
async def test_a_parent_exports_no_other_childs_name_that_their_contact_list_keeps_from_them(
    store: Store, exporter: UserId, other_child: str, acquainted: bool
) -> None:
    """The title of a parent names the child (INV-3); parents of a book may be kept apart (BOOK-8)."""
    kim = UserId("@kim:school.example")
    client = f'{{name: Kim Ito, role: client, job_title: "Leo Kim, Year 2", email: k@k.example, matrix: "{kim}"}}'
    text = POLICY.replace("role: client,", 'role: client, job_title: "Mia Chan, Year 1",')
    text = text.replace(
        "    books: {one: {name: One, members: [ann, pat]}}",
        f"""      kim: {client}
    clients_may_export: true
    clients_see_each_other: {str(acquainted).lower()}
    books: {{one: {{name: One, members: [ann, pat, kim]}}}}""",
    )
    policy = school_policy(text)
    await store.receive("t", [new(event) for event in a_chat(PAT, kim)], received=1.0)
    observer = Observer(store, bot=BOT, server="school.example")
    await observer.load()
    order = Order("$key", ROOM, exporter, NOW)

    people = _people(order, policy, observer.rooms[ROOM], BOT)

    assert people[kim].job_title == ("Leo Kim, Year 2" if acquainted else other_child)
    assert people[PAT].job_title == "Mia Chan, Year 1"


async def test_a_reviewer_gets_the_chat_while_the_level_allows_it(desk: Desk) -> None:
    jobs = await desk.jobs()
    await ask_as_reviewer(jobs)

    await desk.run(jobs)

    ((what, details),) = await refusals(desk.store)
    assert (what, details["as"], details["purpose"]) == ("review export", "riverside/ben", "Data review")
    assert len(desk.homeserver.files) == 1


async def test_a_review_is_signed_for_the_organisation_whose_reviewer_asked(store: Store) -> None:
    """Who reviews for one organisation may be staff of the chat's own one, too (EXT-9)."""
    here = 'ben: {name: Ben Ode, role: staff, email: b@h.example, matrix: "@ben:school.example"}'
    policy = school_policy(
        POLICY.replace("      pat: {", f"      {here}\n      pat: {{").replace("ann, pat", "ann, ben, pat")
    )
    room = await room_of(store, a_chat(BEN, kind="external"))

    copy = _exporter(Order("$key", ROOM, BEN, NOW), policy, room)
    review = _exporter(Order("$key", ROOM, BEN, NOW, reviewing="riverside/ben"), policy, room)

    assert (copy.organisation, review.organisation) == ("Hillside", "Riverside")


@pytest.mark.parametrize(("level", "rule"), [("", "REV-2"), ("review: clients,", "REV-3")])
async def test_a_reviewer_whose_level_was_taken_gets_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, level: str, rule: str
) -> None:
    jobs = await desk.jobs()
    await ask_as_reviewer(jobs)
    changed(monkeypatch, "review: all,", level)

    await desk.run(jobs)

    assert desk.homeserver.uploads == []
    ((what, details),) = await refusals(desk.store)
    assert what == "review export refused"
    assert rule in details["because"]


async def test_another_membership_of_the_reviewer_does_not_stand_in(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = await desk.jobs()
    await ask_as_reviewer(jobs, reviewing="hillside/gone")

    await desk.run(jobs)

    assert desk.homeserver.uploads == []
    assert "You are no reviewer any more" in desk.homeserver.texts[-1]


async def test_a_reviewer_whose_organisation_left_since_asks_again_for_what_it_may_read(desk: Desk) -> None:
    jobs = await desk.jobs()
    await ask_as_reviewer(jobs)
    gone = joined(30, BEN, "leave")
    desk.homeserver.history += [gone, said(31, "among ourselves again")]
    await desk.run(jobs)
    assert desk.homeserver.uploads == []
    assert [details["because"] for _, details in await refusals(desk.store)] == [["EXT-9"]]
    await ask_as_reviewer(jobs, key="$again", last_event="$30")

    await desk.run(jobs)

    assert len(desk.homeserver.files) == 1


async def test_who_left_is_told_nothing_of_what_became_of_the_chat_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    compass = (
        TWO_ADMINS
        + """  compass:
    name: Compass
    network: trust
    mobile: optional
    people: {kay: {name: Kay Kemp, role: staff, admin: system, email: k@c.example, matrix: "@kay:school.example"}}
    books: {}
"""
    )
    monkeypatch.setattr(Source, "policy", school_policy(compass))
    later = [
        joined(30, BEN, "leave"),
        joined(31, "@kay:school.example"),
        raw(32, "m.room.name", {"name": "Secret"}, key=""),
    ]
    await desk.store.receive("later", [new(event) for event in later], received=2.0)
    desk.homeserver.history += later
    jobs = await desk.jobs()
    await ask_as_reviewer(jobs, last_event="$30", sends="")

    await desk.run(jobs)

    (archive,) = [data for name, data in desk.homeserver.uploads if name.endswith(".zip")]
    with zipfile.ZipFile(io.BytesIO(archive)) as export:
        chat = json.loads(export.read("manifest.json"))["chat"]
    assert (chat["title"], chat["organisations"]) == ("Trip", ["Hillside", "Riverside"])
    assert not [text for text in desk.homeserver.texts if "Secret" in text]


async def test_status_names_a_chat_to_who_left_by_its_id_alone(desk: Desk) -> None:
    later = [joined(30, BEN, "leave"), raw(31, "m.room.name", {"name": "Secret"}, key="")]
    await desk.store.receive("later", [new(event) for event in later], received=2.0)
    desk.homeserver.history += later
    jobs = await desk.jobs()
    await asked(jobs)
    await asked(jobs, "$refused", by=PAT)
    await desk.run(jobs)
    words = ExportWords(store=desk.store, observer=Observer(desk.store, bot=BOT, server="school.example"), jobs=None)

    hillside = await words.status_lines(frozenset({"hillside"}), time.time())
    riverside = await words.status_lines(frozenset({"riverside"}), time.time())

    assert [line.rsplit(": ", 1)[1] for line in hillside[1:]] == ["export refused “Secret”", "export “Secret”"]
    assert [line.rsplit(": ", 1)[1] for line in riverside[1:]] == [f"export refused “{ROOM}”", f"export “{ROOM}”"]


async def room_of(store: Store, history: list[dict[str, Any]]) -> Any:
    await store.receive("t", [new(event) for event in history], received=1.0)
    observer = Observer(store, bot=BOT, server="school.example")
    await observer.load()
    return observer.rooms[ROOM]


@pytest.mark.parametrize(
    ("user", "allowed"),
    [(ANN, True), (BEN, False), (PAT, False), (UserId("@nobody:school.example"), False)],
    ids=["participant", "reviewer who left", "client", "stranger"],
)
async def test_only_who_is_inside_exports_as_a_participant(store: Store, user: UserId, allowed: bool) -> None:
    """A reviewer from outside may read up to an end (EXT-9), and asks for that by other words."""
    policy = school_policy()
    room = await room_of(store, [*a_chat(BEN, kind="external"), joined(30, BEN, "leave")])

    assert may_export(policy, room, BOT, user, NOW).allowed is allowed
