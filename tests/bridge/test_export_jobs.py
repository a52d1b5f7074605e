"""Exports asked of the bot: made and sent once, whatever is killed in between; the record and its gaps, the files."""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import json
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from mautrix.api import Method

from bridge import config
from bridge.bulletin import Bulletins
from bridge.completion import complete
from bridge.config import Config
from bridge.export import ExportMaker
from bridge.export_jobs import ExportJobs
from bridge.export_operator import NotExported, export_room
from bridge.export_order import PARTICIPANTS_COPY, Order
from bridge.homeserver import Refused
from bridge.media_hashes import MediaHashes
from bridge.media_repository import MediaRepository
from bridge.observe import Observer
from bridge.policy_file import load
from bridge.reviewing import access_to
from bridge.store import NewEvent, Store
from bridge.transcript.media import MediaMissing
from bridge.transcript.verify import verify
from policy.model import PersonId, Policy, UserId

BOT = UserId("@qwil:school.example")
ANN, PAT, BEN = (UserId(f"@{name}:school.example") for name in ("ann", "pat", "ben"))
ROOM = "!trip:school.example"
POLICY = """
networks: {trust: {name: Trust}}
organisations:
  hillside:
    name: Hillside
    network: trust
    mobile: optional
    people:
      ann: {name: Ann Head, role: staff, admin: system, email: a@h.example, matrix: "@ann:school.example"}
      pat: {name: Pat Chan, role: client, email: p@p.example, matrix: "@pat:school.example"}
    books: {one: {name: One, members: [ann, pat]}}
  riverside:
    name: Riverside
    network: trust
    mobile: optional
    people:
      ben: {name: Ben Ode, role: staff, admin: system, review: all, email: b@r.example, matrix: "@ben:school.example"}
    books: {}
"""


def raw(
    number: int, kind: str, content: Mapping[str, Any], *, sender: str = ANN, key: str | None = None
) -> dict[str, Any]:
    whole = {"event_id": f"${number}", "room_id": ROOM, "sender": sender, "type": kind, "content": content,
             "origin_server_ts": 1_770_000_000_000 + number * 1000}  # fmt: skip
    return whole if key is None else {**whole, "state_key": key}


def new(whole: Mapping[str, Any]) -> NewEvent:
    return NewEvent(whole["event_id"], ROOM, whole["sender"], whole["type"], whole.get("state_key"),
                    whole["origin_server_ts"], None, json.dumps(whole))  # fmt: skip


def said(number: int, text: str, sender: str = ANN) -> dict[str, Any]:
    return raw(number, "m.room.message", {"msgtype": "m.text", "body": text}, sender=sender)


def joined(number: int, user: str, membership: str = "join") -> dict[str, Any]:
    return raw(number, "m.room.member", {"membership": membership}, sender=user, key=user)


def a_chat(*others: str, kind: str = "client") -> list[dict[str, Any]]:
    chat = {"organisation": "hillside", "kind": kind, "draft": False, "staff_only": False}
    return [
        raw(1, "m.room.create", {}, key=""),
        raw(2, "org.qwil.chat", chat, key=""),
        raw(3, "m.room.name", {"name": "Trip"}, key=""),
        joined(4, BOT),
        joined(5, ANN),
        *(joined(6 + place, other) for place, other in enumerate(others)),
    ]


class HomeserverInMemory:
    """Gives the room's history and takes messages and uploads, all of which it keeps."""

    def __init__(self, history: Sequence[dict[str, Any]] = (), *, limit: int | None = None) -> None:
        self.history = list(history)
        self.originals: dict[str, dict[str, Any]] = {}
        self.sent: dict[str, Mapping[str, Any]] = {}
        self.uploads: list[tuple[str, bytes]] = []
        self.limit = limit
        self.page = 3
        self.pages = 0
        self.refuses = False
        self.dies_after: int | None = None

    async def ask(self, method: Method, path: Any, content: Any = None, *, query: Any = None) -> Any:
        words = str(path).strip("/").split("/")
        if words[-1] == "messages":
            return self._messages(query or {})
        if words[-1] == "state":
            latest = {(one["type"], one["state_key"]): one for one in self.history if "state_key" in one}
            return list(latest.values())
        if "fetch_event" in words:
            return self._original(self._unquoted(words[-1]))
        if words[-1] == "config":
            return {"m.upload.size": self.limit} if self.limit else {}
        assert method == Method.PUT
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                raise asyncio.CancelledError
        self.sent.setdefault(words[-1], content)
        return {"event_id": f"$sent{list(self.sent).index(words[-1])}"}

    async def upload(self, data: bytes, *, name: str, mimetype: str) -> str:
        assert mimetype
        self.uploads.append((name, data))
        return f"mxc://school.example/{len(self.uploads)}"

    def _messages(self, query: Mapping[str, str]) -> dict[str, Any]:
        if self.refuses:
            raise Refused(403, "M_FORBIDDEN", "You are not in that room.")
        self.pages += 1
        end = int(query.get("from", len(self.history)))
        start = max(end - self.page, 0)
        return {"chunk": self.history[start:end][::-1], **({"end": str(start)} if start else {})}

    def _original(self, event: str) -> dict[str, Any]:
        if event not in self.originals:
            raise Refused(404, "M_NOT_FOUND", "Event not found")
        return {"event": self.originals[event]}

    def _unquoted(self, word: str) -> str:
        from urllib.parse import unquote

        return unquote(word)

    @property
    def texts(self) -> list[str]:
        return [content["body"] for content in self.sent.values() if content["msgtype"] != "m.file"]

    @property
    def files(self) -> list[str]:
        return [content["body"] for content in self.sent.values() if content["msgtype"] == "m.file"]


class DirectChats:
    async def room(self, user: UserId) -> str:
        return f"!direct-{user}"


def school_policy(text: str = POLICY) -> Policy:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "policy.yaml")
        path.write_text(text)
        found = load(path)
    assert isinstance(found, Policy), found
    return found


class Source:
    policy: Policy = school_policy()


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    text = "homeserver: {address: 'http://127.0.0.1:9', server_name: school.example}\n"
    return config.parse(text, tmp_path / "config.yaml")


class Desk:
    """The jobs of a bridge that may die and be started again, on one record."""

    def __init__(self, settings: Config, store: Store, homeserver: HomeserverInMemory) -> None:
        self.settings, self.store, self.homeserver = settings, store, homeserver

    async def jobs(self) -> ExportJobs:
        from bridge.attachments import Attachments

        observer = Observer(self.store, bot=BOT, server="school.example")
        await observer.load()
        anything: Any = self.homeserver
        direct: Any = DirectChats()
        source: Any = Source()
        return ExportJobs(
            maker=ExportMaker(self.settings, self.store, anything, BOT, patience=0),
            source=source,
            store=self.store,
            observer=observer,
            homeserver=anything,
            attachments=Attachments(self.settings, anything, direct),
            bulletins=Bulletins(self.store, anything, direct),
        )

    async def run(self, jobs: ExportJobs | None = None) -> None:
        """Work until nothing is due, or until it dies."""
        running = asyncio.create_task((jobs or await self.jobs()).run())
        try:
            async with asyncio.timeout(120):
                while await self.store.next_job() is not None and not running.done():  # noqa: ASYNC110 - looks at the record
                    await asyncio.sleep(0.02)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def asked(jobs: ExportJobs, key: str = "$asked", **order: Any) -> bool:
    whole = {"key": key, "room": ROOM, "by": ANN, "asked": time.time(), "purpose": PARTICIPANTS_COPY, **order}
    return await jobs.ask_for(Order(**whole))


@pytest.fixture
async def desk(settings: Config, store: Store) -> Desk:
    history = [*a_chat(PAT), said(20, "hello"), said(21, "and a reply", PAT)]
    await store.receive("t", [new(event) for event in history], received=1.0)
    return Desk(settings, store, HomeserverInMemory(history))


async def audit_lines(store: Store) -> list[str]:
    return [entry.what for entry in await store.audit_entries()]


async def test_an_export_is_made_sent_and_on_record_and_nothing_of_it_stays(desk: Desk, tmp_path: Path) -> None:
    jobs = await desk.jobs()
    await asked(jobs)

    await desk.run(jobs)

    assert desk.homeserver.files[0].endswith("-transcript.pdf")
    assert desk.homeserver.texts[0].startswith("The export of “Trip” is being made")
    assert desk.homeserver.texts[-1].startswith("* The export of “Trip” is done")
    name, data = desk.homeserver.uploads[-1]
    (tmp_path / name).write_bytes(data)
    assert verify(tmp_path / name).good
    (entry,) = await desk.store.audit_entries()
    assert entry.what == "export"
    assert json.loads(entry.details)["purpose"] == "A copy for a participant"
    assert list(desk.settings.exports.folder.iterdir()) == []


async def test_the_same_order_twice_is_one_export(desk: Desk) -> None:
    jobs = await desk.jobs()

    assert await asked(jobs)
    assert not await asked(jobs)
    await desk.run(jobs)

    assert len(desk.homeserver.files) == 2


async def test_two_orders_at_once_are_two_whole_exports(desk: Desk, tmp_path: Path) -> None:
    jobs = await desk.jobs()
    await asyncio.gather(asked(jobs, "$one", sends="zip"), asked(jobs, "$two", sends="zip"))

    await desk.run(jobs)

    assert len(set(desk.homeserver.files)) == 2
    for name, data in desk.homeserver.uploads:
        (tmp_path / name).write_bytes(data)
        assert verify(tmp_path / name).good


# Dies in the progress message, between the audit and the first file, between two files, and before the last word.
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
async def test_an_export_survives_a_kill_and_nothing_is_sent_twice(desk: Desk, steps: int) -> None:
    jobs = await desk.jobs()
    await asked(jobs)
    desk.homeserver.dies_after = steps
    await desk.run(jobs)
    assert await desk.store.next_job() is not None
    desk.homeserver.dies_after = None

    await desk.run()

    assert len(desk.homeserver.files) == 2
    assert await audit_lines(desk.store) == ["export"]
    assert sum(text.startswith("* The export of “Trip” is done") for text in desk.homeserver.texts) == 1


async def test_what_is_larger_than_the_homeserver_takes_comes_in_parts(desk: Desk) -> None:
    desk.homeserver.limit = 20_000
    jobs = await desk.jobs()
    await asked(jobs, sends="zip")

    await desk.run(jobs)

    assert len(desk.homeserver.uploads) > 1
    assert all(len(data) <= 20_000 for _, data in desk.homeserver.uploads)
    assert [name[-8:] for name in desk.homeserver.files[:2]] == [".zip.001", ".zip.002"]
    assert "open the first one with an archive program" in desk.homeserver.texts[-1]


async def test_an_export_that_fails_is_told_and_holds_up_no_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.export_jobs.TRIES", 1)
    desk.settings.exports.key.write_text("no key")
    jobs = await desk.jobs()
    await asked(jobs, "$one")
    await desk.run(jobs)
    desk.settings.exports.key.unlink()

    await asked(jobs, "$two")
    await desk.run(jobs)

    assert any("could not be made" in text and "holds no signing key" in text for text in desk.homeserver.texts)
    assert len(desk.homeserver.files) == 2


async def test_what_never_came_is_fetched_before_an_export_and_stands_where_it_belongs(desk: Desk) -> None:
    anything: Any = desk.homeserver
    desk.homeserver.history.insert(
        -1, said(20, "in between") | {"event_id": "$lost", "origin_server_ts": 1_770_000_020_500}
    )

    assert await complete(desk.store, anything, ROOM) == ()

    bodies = [event.content.get("body") async for event in desk.store.history(ROOM) if event.type == "m.room.message"]
    assert bodies == ["hello", "in between", "and a reply"]


async def test_a_history_is_walked_to_its_beginning_once(desk: Desk) -> None:
    anything: Any = desk.homeserver
    await complete(desk.store, anything, ROOM)
    walked = desk.homeserver.pages

    await complete(desk.store, anything, ROOM)

    assert walked == -(-len(desk.homeserver.history) // desk.homeserver.page)
    assert desk.homeserver.pages == walked + 1


async def test_a_history_that_does_not_reach_back_to_its_beginning_is_told_with_every_export(desk: Desk) -> None:
    """The bot came later than the first words, and the homeserver shows it none of them."""
    anything: Any = desk.homeserver
    desk.homeserver.history = [said(10, "the first that is shown"), *desk.homeserver.history[6:]]
    told = (
        "The homeserver shows the chat's history from 2026-02-02T02:40:10.000Z on; what was before is not on record.",
    )

    assert await complete(desk.store, anything, ROOM) == told
    assert await complete(desk.store, anything, ROOM) == told


async def test_a_history_that_was_received_from_its_beginning_may_be_shown_shortened(desk: Desk) -> None:
    """The homeserver has purged what the record holds."""
    anything: Any = desk.homeserver
    desk.homeserver.history = [*desk.homeserver.history[-2:], said(30, "new")]

    assert await complete(desk.store, anything, ROOM) == ()


async def test_a_beginning_that_is_shown_after_all_is_no_gap_any_more(desk: Desk) -> None:
    anything: Any = desk.homeserver
    whole = desk.homeserver.history
    desk.homeserver.history = [said(10, "the first that is shown"), *whole[6:]]
    await complete(desk.store, anything, ROOM)
    await desk.store.forget(f"complete:{ROOM}")
    desk.homeserver.history = [*whole[:6], said(10, "the first that is shown"), *whole[6:]]

    assert await complete(desk.store, anything, ROOM) == ()


async def test_what_the_history_holds_and_nobody_can_read_is_told_with_every_export(desk: Desk) -> None:
    anything: Any = desk.homeserver
    desk.homeserver.history[6:6] = [{"type": "m.room.message"}, {"event_id": 7, "content": "\ud800"}]
    told = ("2 events of the history had no sound id, sender or type and could not be kept.",)

    for _ in range(3):
        assert await complete(desk.store, anything, ROOM) == told


async def test_what_was_deleted_meanwhile_is_kept_as_it_was_where_the_homeserver_still_knows(desk: Desk) -> None:
    anything: Any = desk.homeserver
    because = {"unsigned": {"redacted_because": {"sender": ANN}}}
    gone = [raw(number, "m.room.message", {}) | because for number in (30, 31)]
    desk.homeserver.history.extend(gone)
    desk.homeserver.originals["$30"] = said(30, "as it was")

    await complete(desk.store, anything, ROOM)

    kept = [await desk.store.event(event) for event in ("$30", "$31")]
    assert [event.content for event in kept if event] == [{"msgtype": "m.text", "body": "as it was"}, {}]
    assert kept[0] is not None
    assert "redacted_because" not in kept[0].json


async def test_a_history_that_is_refused_is_told_and_stops_no_export(desk: Desk) -> None:
    desk.homeserver.refuses = True
    jobs = await desk.jobs()
    await asked(jobs)

    await desk.run(jobs)

    assert "does not show the chat's history" in desk.homeserver.texts[-1]
    assert len(desk.homeserver.files) == 2


async def test_a_lost_file_is_one_line(desk: Desk) -> None:
    shared = {
        "msgtype": "m.image",
        "body": "plan.png",
        "url": "mxc://school.example/gone",
        "info": {"mimetype": "image/png"},
    }
    picture = raw(40, "m.room.message", shared)
    await desk.store.receive("t2", [new(picture)], received=2.0)
    jobs = await desk.jobs()
    await asked(jobs)

    await desk.run(jobs)

    assert desk.homeserver.texts[-1].count("plan.png") == 1
    assert len(desk.homeserver.files) == 2


async def test_a_lost_file_is_told_with_what_it_was_when_it_came(desk: Desk) -> None:
    picture = raw(40, "m.room.message", {"msgtype": "m.image", "body": "plan.png", "url": "mxc://school.example/gone"})
    await desk.store.receive("t2", [new(picture)], received=2.0)
    observer = Observer(desk.store, bot=BOT, server="school.example")
    await observer.load()
    hashes = MediaHashes(store=desk.store, observer=observer, fetch=lambda _: [b"a plan"])
    event = await desk.store.event("$40")
    assert event is not None
    await hashes.note(event)
    await hashes.catch_up()
    jobs = await desk.jobs()
    await asked(jobs)

    await desk.run(jobs)

    digest = hashlib.sha256(b"a plan").hexdigest()
    assert f"When it was received it had 6 bytes and the SHA-256 {digest}." in desk.homeserver.texts[-1]


async def test_an_operator_exports_without_a_homeserver_and_is_told_what_that_costs(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.export_operator.PATIENCE", 0.2)
    settings = config.parse(
        "homeserver: {address: 'http://127.0.0.1:9', server_name: school.example}\ndatabase: sqlite:qwil.db\n",
        tmp_path / "config.yaml",
    )
    if desk.store._database.scheme.value != "sqlite":
        settings = replace(settings, database=str(desk.store._database.url))
    await desk.store.remember(f"begins:{ROOM}", 1_770_000_000_000)
    wanted: dict[str, Any] = {"by": "operator ann", "rsmf": True, "purpose": "a test", "progress": lambda *_: None}

    made = await export_room(settings, Source.policy, "trip", until="$20", out=tmp_path / "out", **wanted)

    assert verify(made.folder).good
    assert made.missing == (
        "The homeserver did not answer: what never reached the record could not be looked for.",
        "The homeserver shows the chat's history from 2026-02-02T02:40:00.000Z on; what was before is not on record.",
    )
    assert "and a reply" not in (made.folder / "messages.jsonl").read_text()
    assert await audit_lines(desk.store) == ["export"]
    for room, until, sentence in (
        ("nothing", None, "no chat on record is called"),
        ("trip", "$99", "is on record in that chat"),
        ("trip", "tomorrow", "a day like 2026-12-24"),
    ):
        with pytest.raises(NotExported, match=sentence):
            await export_room(settings, Source.policy, room, until=until, out=tmp_path / "other", **wanted)
    with pytest.raises(NotExported, match="never written over another"):
        await export_room(settings, Source.policy, "trip", until=None, out=tmp_path / "out", **wanted)


async def test_an_organisation_reviews_up_to_the_departure_of_its_last_member(store: Store) -> None:
    events = [*a_chat(BEN, kind="external"), said(20, "while Ben is here"), joined(21, BEN, "leave"), said(22, "later")]
    await store.receive("t", [new(event) for event in events], received=1.0)
    observer = Observer(store, bot=BOT, server="school.example")
    await observer.load()
    policy = Source.policy
    ben = policy.people[PersonId("riverside/ben")]

    access = await access_to(store, policy, observer.rooms[ROOM], BOT, [ben], 1_770_000_100.0)

    assert access is not None
    assert access.last is not None
    assert access.last.event_id == "$21"
    shown = [event.event_id async for event in store.history(ROOM) if access.holds(event)]
    assert "$20" in shown
    assert "$22" not in shown


# Files


class Media(http.server.BaseHTTPRequestHandler):
    answers: ClassVar[list[tuple[int, bytes, int | None]]] = []
    tokens: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        status, body, promised = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.tokens.append(self.headers.get("Authorization"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if promised is None else promised))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def media() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Media)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Media.tokens.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def fetched(address: str, mxc: str = "mxc://school.example/abc", patience: float = 10.0) -> bytes:
    repository = MediaRepository(address, "token", patience=patience, pause=lambda _: None)
    return b"".join(repository.fetch(mxc))


def test_a_file_is_fetched_with_the_bots_token(media: str) -> None:
    Media.answers = [(200, b"x" * 3_000_000, None)]

    assert len(fetched(media)) == 3_000_000
    assert Media.tokens == ["Bearer token"]


def test_a_homeserver_that_is_busy_or_breaks_off_is_asked_again(media: str) -> None:
    Media.answers = [(503, b"", None), (200, b"half", 8), (200, b"the file", None)]

    assert fetched(media) == b"the file"


@pytest.mark.parametrize(
    ("answer", "mxc", "sentence"),
    [
        ((404, b"", None), "mxc://school.example/abc", "does not have it any more"),
        ((503, b"", None), "mxc://school.example/abc", "could not be reached"),
        ((200, b"", None), "mxc://school.example/../../admin", "names no upload"),
    ],
)
def test_a_file_that_cannot_be_had_is_a_sentence(
    media: str, answer: tuple[int, bytes, int | None], mxc: str, sentence: str
) -> None:
    Media.answers = [answer]

    with pytest.raises(MediaMissing, match=sentence):
        fetched(media, mxc)


def test_whoever_was_waited_for_in_vain_is_not_waited_for_with_every_file(media: str) -> None:
    Media.answers = [(503, b"", None)]
    pauses: list[float] = []
    repository = MediaRepository(media, "token", patience=5.0, pause=pauses.append)

    for _ in range(3):
        with pytest.raises(MediaMissing):
            list(repository.fetch("mxc://school.example/abc"))

    assert sum(pauses) <= 5.0
