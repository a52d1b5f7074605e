"""`broadcast`: who may, to whom it goes, with which file, and what is refused before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge import spreadsheet
from bridge.arrival.broadcast_words import LIST_LIFE, LONGEST, BroadcastWords
from bridge.arrival.recipients import named, split
from bridge.commands import Answer, Asked, Declined
from bridge.office import Office as Desks
from bridge.store import NewEvent, Store
from policy.model import PersonId, UserId
from tests.bridge.test_administration import BOSS, HEAD, NOW, OFFICE, ROOM, Office

ROWS = b"identifier;email\r\nt.ok;\r\n;P@X.example\r\np.ray;\r\nnobody;\r\n;\r\n"


class Begun:
    """Takes the orders."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}

    async def begin(self, name: str, **order: Any) -> bool:
        self.orders.setdefault(name, order)
        return True


class School(Office):
    """A bot's ear that knows `broadcast`."""

    def __init__(self, store: Store, folder: Path) -> None:
        super().__init__(store, folder)
        self.begun = Begun()
        office = Desks(store=store, writer=self.writer, clock=lambda: NOW)
        self.words = BroadcastWords(
            store=store,
            office=office,
            carrier=self.carrier,
            broadcasts=self.begun,  # type: ignore[arg-type]
            wake=lambda: None,
        ).words()

    @property
    def order(self) -> dict[str, Any]:
        """The one that was given."""
        (order,) = self.begun.orders.values()
        return order

    async def file(self, user: UserId, **more: Any) -> str:
        content = {"msgtype": "m.file", "body": "trip.pdf", "url": "mxc://x.example/trip", **more}
        return await self.event(user, **{key: value for key, value in content.items() if value is not None})

    async def put(self, event: str, room: str, kind: str, *, redacts: str | None = None, **content: Any) -> None:
        whole = json.dumps({"event_id": event, "content": content})
        await self.store.receive(event, [NewEvent(event, room, HEAD, kind, None, 0, redacts, whole)], received=NOW)

    async def later(self, user: UserId, text: str, seconds: float) -> str:
        event = await self.store.event(await self.event(user, msgtype="m.text", body=text))
        assert event is not None
        rest = text.partition(" ")[2]
        asked = Asked(event, user, self.policy.accounts.get(user, ()), self.policy, NOW + seconds, rest, None)
        try:
            return await self.words["broadcast"].run(None, asked)  # type: ignore[arg-type]
        except Answer as answer:
            return str(answer)


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path}/qwil.db"


@pytest.fixture
def school(store: Store, tmp_path: Path) -> School:
    return School(store, tmp_path)


@pytest.mark.parametrize(
    ("text", "whom", "said"),
    [
        ("staff Hello, all", ["staff"], "Hello, all"),
        ("year-1,violin Hello", ["year-1", "violin"], "Hello"),
        ("year-1 , p.chan,\nt.ok\nHello\n\nthere ", ["year-1", "p.chan", "t.ok"], "Hello\n\nthere "),
        ("list", ["list"], ""),
        ("", [], ""),
    ],
)
def test_whom_and_what_are_told_apart(text: str, whom: list[str], said: str) -> None:
    assert split(text) == (whom, said)


@pytest.mark.parametrize(
    ("words", "people"),
    [
        ("staff", ["head", "office", "t.ok"]),
        ("clients", ["p.chan"]),
        ("everybody", ["head", "office", "t.ok", "p.chan"]),
        ("year-1", ["t.ok", "p.chan"]),
        ("Year 1", ["t.ok", "p.chan"]),
        ("empty", []),
        ("hill/t.ok", ["t.ok"]),
        ("P@x.example", ["p.chan"]),
        ("@mei:x.example", ["p.chan"]),
        ("clients,year-1,t.ok,head", ["p.chan", "t.ok", "head"]),
    ],
)
def test_an_audience_is_everybody_active_whom_the_words_mean_each_once(
    school: School, words: str, people: list[str]
) -> None:
    found = named(school.policy, "hill", words.split(","), NOW)

    assert ([person.removeprefix("hill/") for person in found.people], found.mistakes) == (people, [])


def test_whoever_is_meant_by_no_word_is_told(school: School) -> None:
    known = "staff, clients, everybody, list, year-1, violin, empty"

    assert named(school.policy, "hill", ["yaer-1", "boss", "boss@river.example"], NOW).mistakes == [
        'There is no contact book or person "yaer-1" — did you mean "year-1"?',
        f'There is no contact book or person "boss" — known: {known}',
        f'There is no contact book or person "boss@river.example" — known: {known}',
    ]


async def test_a_system_administrator_writes_to_books_and_people_at_once(school: School) -> None:
    said = await school.say(HEAD, "broadcast violin, office Dear {first_name},\nno lesson today")

    assert said == "It goes to 3 people. I tell you here how far it is."
    assert school.order["people"] == [PersonId(f"hill/{name}") for name in ("t.ok", "p.chan", "office")]
    assert school.order["text"] == "Dear {first_name},\nno lesson today"
    assert school.order["file"] is None
    assert await school.record() == [
        (
            HEAD,
            "broadcast to hill: violin, office",
            {"people": 3, "text": school.order["text"], "file": "", "event": "$e1", "room": ROOM},
        )
    ]


async def test_nobody_else_writes_to_many(school: School) -> None:
    assert "Only system administrators" in await school.say(OFFICE, "broadcast staff Hello")
    assert "no contact book or person" in await school.say(BOSS, "broadcast year-1 Hello")
    assert not school.begun.orders


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("broadcast", "Write to whom, and what"),
        ("broadcast staff", "Write what to say behind it, or send it as a reply to a file"),
        ("broadcast yaer-1 Hello", 'did you mean "year-1"?'),
        ("broadcast empty Hello", "Nobody active is among them."),
        (f"broadcast staff {'x' * (LONGEST + 1)}", "The text has 10,001 characters, 10,000 at most"),
        ("broadcast list Hello", "There is no list of today"),
        ("broadcast list", "Send me a spreadsheet"),
        ("broadcast staff,list Hello", "A list goes alone"),
        ("broadcast staff Dear {nickname}", "nothing to put in for {nickname}: there are {first_name}, {last_name}"),
        ("broadcast staff Dear {First_Name} { name }", "nothing to put in for {First_Name}, { name }"),
    ],
)
async def test_what_cannot_be_sent_is_refused_with_what_would_have_been_right(
    school: School, text: str, answer: str
) -> None:
    assert answer in await school.say(HEAD, text)
    assert not school.begun.orders


async def test_a_file_goes_along_with_a_reply_to_it_with_or_without_a_text(school: School) -> None:
    info = {"mimetype": "application/pdf", "size": 7, "thumbnail_url": "mxc://x/y", "odd": {"a": 1}}
    file = await school.file(HEAD, info=info, **{"org.example.more": 1})

    said = await school.say(HEAD, "broadcast staff", file)

    assert said == "It goes to 3 people, with the file trip.pdf. I tell you here how far it is."
    assert school.order["file"] == {
        "msgtype": "m.file",
        "body": "trip.pdf",
        "url": "mxc://x.example/trip",
        "info": {"mimetype": "application/pdf", "size": 7},
    }
    assert school.order["text"] == ""


async def test_a_reply_to_a_text_takes_nothing_along(school: School) -> None:
    text = await school.event(UserId("@bot:x.example"), msgtype="m.text", body="The list names 3 people.")

    await school.say(HEAD, "broadcast staff Hello", text)

    assert school.order["file"] is None


async def test_only_the_administrators_own_file_of_this_chat_goes_along_and_not_when_it_is_gone_or_encrypted(
    school: School,
) -> None:
    others = await school.file(UserId("@bot:x.example"))
    hidden = await school.file(HEAD, url=None, file={"url": "mxc://x.example/trip", "key": {}})
    gone = await school.file(HEAD)
    await school.put("$redaction", ROOM, "m.room.redaction", redacts=gone)
    await school.put("$elsewhere", "!chat:x.example", "m.room.message", msgtype="m.file", url="mxc://x.example/f")

    answers = [
        await school.say(HEAD, "broadcast staff Hello", event)
        for event in (others, hidden, gone, "$elsewhere", "$nothing")
    ]

    assert [answer.split(":")[0] for answer in answers] == [
        "Only a file that you sent me yourself can go along",
        "That file is encrypted, or is none",
        "That file has been deleted",
        "I do not have the message that you reply to",
        "I do not have the message that you reply to",
    ]
    assert not school.begun.orders


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
async def test_a_list_is_shown_first_and_then_written_to(school: School, kind: spreadsheet.Kind) -> None:
    sheet = await school.upload(HEAD, spreadsheet.write(spreadsheet.read(ROWS), kind))

    shown = await school.say(HEAD, "broadcast list", sheet)

    assert shown.splitlines() == [
        "The list names 3 people.",
        "These of them are not active and will not be reached:",
        "- Mei Chan (p.ray) is invited",
        "These rows name nobody, and nothing is sent for them:",
        '- row 5: there is nobody with the identifier "nobody"',
        "Nothing is sent yet: write “broadcast list TEXT” to send it.",
    ]
    assert not school.begun.orders
    file = await school.file(HEAD)
    assert "It goes to 3 people, with the file trip.pdf" in await school.say(HEAD, "broadcast list Dear {name}", file)
    assert school.order["people"] == [PersonId(f"hill/{name}") for name in ("t.ok", "p.chan", "p.ray")]


async def test_a_list_never_goes_out_itself_is_of_one_administrator_and_of_today(school: School) -> None:
    sheet = await school.upload(HEAD, ROWS)
    await school.say(HEAD, "broadcast list", sheet)

    assert "That file is the list itself" in await school.say(HEAD, "broadcast list Hello", sheet)
    assert "no list of today" in await school.say(BOSS, "broadcast list Hello")
    assert "no list of today" in await school.later(HEAD, "broadcast list Hello", LIST_LIFE + 1)
    assert not school.begun.orders


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"name\r\nPat\r\n", "The first row has to hold one of the headings identifier, matrix, email."),
        (b"identifier\r\nriver/boss\r\n", 'row 2: there is nobody with the identifier "river/boss"'),
        (b"email\r\nboss@river.example\r\n", 'row 2: there is nobody with the email "boss@river.example"'),
        (b"identifier\r\n", "The list names nobody:"),
        (b"\xd0\xcf\x11\xe0", "save it as .xlsx"),
    ],
)
async def test_a_list_that_names_nobody_is_told_why(school: School, data: bytes, answer: str) -> None:
    sheet = await school.upload(HEAD, data)

    assert answer in await school.say(HEAD, "broadcast list", sheet)


async def test_a_refused_broadcast_names_its_rule_so_that_it_is_kept_on_record(school: School) -> None:
    event = await school.store.event(await school.event(OFFICE, msgtype="m.text", body="broadcast staff Hello"))
    assert event is not None
    asked = Asked(event, OFFICE, school.policy.accounts[OFFICE], school.policy, NOW, "staff Hello", None)

    with pytest.raises(Declined) as declined:
        await school.words["broadcast"].run(None, asked)  # type: ignore[arg-type]

    assert declined.value.decision.rules == ("BUT-3",)
