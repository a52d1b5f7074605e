"""`export`, `review` and `link` as people type them to the bot: what is ordered, what is found, what is answered."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bridge.commands import Commands
from bridge.export_order import Order
from bridge.export_words import ExportWords
from bridge.observe import Observer
from bridge.store import NewEvent, Store
from policy.model import Moment, Policy, UserId
from tests.bridge.test_export_jobs import school_policy

BOT = UserId("@qwil:school.example")
ANN, TOM, PAT, PIA, BEN = (UserId(f"@{name}:school.example") for name in ("ann", "tom", "pat", "pia", "ben"))
TRIP, MUSIC, STAFF, DRAFT = (f"!{name}:school.example" for name in ("trip", "music", "staff", "draft"))
LONDON = ZoneInfo("Europe/London")
NOW = Moment(datetime(2026, 7, 20, 12, tzinfo=UTC).timestamp())
POLICY = """
networks: {trust: {name: Trust}}
organisations:
  hillside:
    name: Hillside
    network: trust
    timezone: Europe/London
    mobile: optional
    clients_may_export: false
    people:
      ann: {name: Ann Head, role: staff, admin: system, review: all, email: a@h.example, matrix: "@ann:school.example"}
      tom: {name: Tom Oak, role: staff, review: connected, email: t@h.example, matrix: "@tom:school.example"}
      pat: {name: Pat Chan, role: client, email: p@p.example, matrix: "@pat:school.example"}
      pia: {name: Pia Diaz, role: client, email: d@p.example, matrix: "@pia:school.example"}
    books: {one: {name: One, members: [ann, pat]}, two: {name: Two, members: [tom, pia]}}
  riverside:
    name: Riverside
    network: trust
    mobile: optional
    clients_may_export: true
    people:
      ben: {name: Ben Ode, role: staff, admin: system, review: all, email: b@r.example, matrix: "@ben:school.example"}
      cleo: {name: Cleo Ray, role: client, email: c@p.example, matrix: "@cleo:school.example"}
    books: {three: {name: Three, members: [ben, cleo]}}
"""


class Orders:
    """Whoever makes exports, who only writes down what was ordered."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []

    async def ask_for(self, order: Order) -> bool:
        self.taken.append(asdict(order))
        return True


class Bot:
    """The bot's ear and mouth, on a record."""

    def __init__(self, store: Store) -> None:
        self.store, self.policy, self.orders = store, school_policy(POLICY), Orders()
        self.observer = Observer(store, bot=BOT, server="school.example")
        self.answers: list[str] = []
        self.exports = ExportWords(store=store, observer=self.observer, jobs=self.orders, clock=lambda: NOW)
        nothing: Any = None
        this: Any = self
        self._commands = Commands(
            source=this,
            store=store,
            observer=self.observer,
            performer=nothing,
            direct=this,
            message_link="https://matrix.to/#/{room}/{event}?via={server}",
            more=self.exports.words(),
            clock=lambda: NOW,
        )
        self._numbers = itertools.count(1)

    async def tell(self, _user: UserId, text: str, *, about: str, room: str | None = None) -> None:
        assert about
        assert room is None or room.startswith("!direct")
        self.answers.append(text)

    async def event(
        self, room: str, sender: str, kind: str, content: dict[str, Any], *, at: Moment = NOW, key: str | None = None
    ) -> str:
        name = f"$e{next(self._numbers)}"
        time = int(at * 1000)
        whole = {"event_id": name, "room_id": room, "sender": sender, "type": kind, "content": content,
                 "origin_server_ts": time}  # fmt: skip
        text = json.dumps(whole if key is None else {**whole, "state_key": key})
        await self.store.receive(name, [NewEvent(name, room, sender, kind, key, time, None, text)], received=at)
        return name

    async def chat(self, room: str, kind: str, *people: str, name: str, draft: bool = False) -> None:
        """A chat of Hillside's with these people, the first of whom made it."""
        content = {"organisation": "hillside", "kind": kind, "draft": draft, "staff_only": False}
        await self.event(room, people[0], "m.room.create", {}, key="")
        await self.event(room, people[0], "org.qwil.chat", content, key="")
        await self.event(room, people[0], "m.room.name", {"name": name}, key="")
        for user in (BOT, *people):
            await self.moves(room, user, "join")

    async def moves(self, room: str, user: str, membership: str, at: Moment = NOW) -> str:
        return await self.event(room, user, "m.room.member", {"membership": membership}, at=at, key=user)

    async def hears(self, room: str, user: UserId, text: str, at: Moment = NOW) -> str:
        """Somebody writes in a chat."""
        return await self.event(room, user, "m.room.message", {"msgtype": "m.text", "body": text}, at=at)

    async def asked(self, user: UserId, text: str, room: str = "", reply_to: str | None = None) -> str:
        """Somebody writes to the bot, in the direct chat or in a chat; what it says."""
        await self.observer.load()
        direct = f"!direct-{user}"
        if not room:
            await self.event(direct, BOT, "m.room.create", {}, key="")
            await self.event(direct, BOT, "org.qwil.direct", {"user": user}, key="")
            await self.observer.load()
        relation = {"m.relates_to": {"m.in_reply_to": {"event_id": reply_to}}} if reply_to else {}
        said = {"msgtype": "m.text", "body": text, **relation}
        event = await self.store.event(await self.event(room or direct, user, "m.room.message", said))
        assert event is not None
        self.answers.clear()
        await self._commands.handle(event)
        return "\n".join(self.answers)

    async def audit(self) -> list[tuple[str, dict[str, Any]]]:
        return [(entry.what, json.loads(entry.details)) for entry in await self.store.audit_entries()]


@pytest.fixture
def database(tmp_path: Any) -> str:
    """What is said here does not depend on the kind of the database."""
    return f"sqlite:{tmp_path}/qwil.db"


@pytest.fixture
async def bot(store: Store) -> Bot:
    bot = Bot(store)
    await bot.chat(TRIP, "client", ANN, PAT, name="Trip")
    await bot.chat(MUSIC, "external", ANN, BEN, name="Music")
    await bot.chat(STAFF, "staff", ANN, TOM, name="Rota")
    return bot


def allowing_clients(home: bool) -> Policy:
    return school_policy(POLICY.replace("clients_may_export: false", f"clients_may_export: {str(home).lower()}"))


# Export


async def test_a_client_exports_where_the_chats_own_organisation_lets_clients(bot: Bot) -> None:
    bot.policy = allowing_clients(True)

    assert await bot.asked(PAT, "!export pdf", TRIP) == ""

    (order,) = bot.orders.taken
    assert (order["room"], order["by"], order["sends"], order["reviewing"]) == (TRIP, PAT, "pdf", "")
    assert order["purpose"] == "A copy for a participant"


async def test_a_client_cannot_export_elsewhere_and_the_refusal_is_on_record(bot: Bot) -> None:
    said = await bot.asked(PAT, "!export", TRIP)

    assert said == "Only staff can export a chat. Please ask a member of staff for a copy."
    assert bot.orders.taken == []
    assert [(what, details["because"]) for what, details in await bot.audit()] == [("refused", ["EXP-1"])]


async def test_staff_who_are_not_in_a_chat_cannot_export_it(bot: Bot) -> None:
    assert "Only staff who are in a chat can export it" in await bot.asked(TOM, "!export", TRIP)
    assert bot.orders.taken == []


async def test_a_reviewer_from_outside_is_shown_the_other_word(bot: Bot) -> None:
    await bot.moves(MUSIC, BEN, "leave")

    assert "Reviewers export it with “review export ROOM”" in await bot.asked(BEN, "!export", MUSIC)
    assert bot.orders.taken == []


async def test_a_reply_orders_up_to_that_message_and_export_message_that_one_alone(bot: Bot) -> None:
    first = await bot.hears(TRIP, PAT, "hello")

    await bot.asked(ANN, "!export zip", TRIP, reply_to=first)
    await bot.asked(ANN, "!export message", TRIP, reply_to=first)

    up_to, single = bot.orders.taken
    assert (up_to["last_event"], up_to["only_event"], up_to["sends"]) == (first, None, "zip")
    assert (single["last_event"], single["only_event"]) == (None, first)


async def test_until_is_the_end_of_that_day_where_the_organisation_is(bot: Bot) -> None:
    await bot.asked(ANN, "!export until 2026-07-20", TRIP)

    assert bot.orders.taken[0]["until"] == datetime(2026, 7, 21, tzinfo=LONDON).timestamp() * 1000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("!export message", "as a reply to the message that you want"),
        ("!export everything", 'I do not understand "everything" there. Write “!export [pdf|zip] [until DATE]”'),
        ("!export until tomorrow", 'A date is written like 2026-12-24, not "tomorrow"'),
        ("!export until", "A date is written like 2026-12-24"),
        ("!export until 2026-02-30", "There is no 2026-02-30."),
        ("!export pdf zip", 'I do not understand "zip" there'),
    ],
)
async def test_what_is_no_order_is_answered_with_what_would_be_one(bot: Bot, words: str, sentence: str) -> None:
    assert sentence in await bot.asked(ANN, words, TRIP)
    assert bot.orders.taken == []


async def test_a_message_of_another_chat_is_no_end(bot: Bot) -> None:
    elsewhere = await bot.hears(MUSIC, BEN, "elsewhere")

    for event in (elsewhere, "$nowhere"):
        assert "not on record in this chat" in await bot.asked(ANN, "!export", TRIP, reply_to=event)
    assert bot.orders.taken == []


# Review


async def found(bot: Bot, user: UserId, text: str) -> list[str]:
    """What stands behind the colon of every line that a search shows."""
    said = await bot.asked(user, f"review find {text}")
    return [line.split("): ", 1)[1] for line in said.splitlines() if "): " in line]


def on(day: int, hour: int = 12) -> Moment:
    return Moment(datetime(2026, 7, day, hour, tzinfo=UTC).timestamp())


async def test_a_kind_narrows_a_search_to_the_chats_of_that_kind(bot: Bot) -> None:
    for room, user, text in ((TRIP, PAT, "kiln one"), (MUSIC, BEN, "kiln two"), (STAFF, TOM, "kiln three")):
        await bot.hears(room, user, text)

    assert await found(bot, ANN, "kiln") == ["kiln three", "kiln two", "kiln one"]
    assert await found(bot, ANN, "kiln kind client") == ["kiln one"]
    assert await found(bot, ANN, "kiln kind EXTERNAL") == ["kiln two"]
    assert await found(bot, ANN, "kiln kind staff") == ["kiln three"]
    assert 'A chat\'s kind is one of staff, client, external, not "group"' in await bot.asked(
        ANN, "review find kiln kind group"
    )


async def test_a_person_narrows_a_search_by_name_identifier_or_matrix_id(bot: Bot) -> None:
    await bot.hears(TRIP, PAT, "kiln one")
    await bot.hears(TRIP, ANN, "kiln two")
    await bot.hears(MUSIC, BEN, "kiln three")

    for who in ('"Pat Chan"', '"pat CHAN"', "pat", "hillside/pat", "@pat:school.example"):
        assert await found(bot, ANN, f"kiln by {who}") == ["kiln one"]
    assert await found(bot, ANN, 'kiln by "Ben Ode"') == ["kiln three"], "external staff's messages, too (REV-4)"
    assert await found(bot, ANN, "by pat") == ["kiln one"], "no word is needed beside a person"
    assert 'Nobody is called "Zoe"' in await bot.asked(ANN, "review find kiln by Zoe")


async def test_a_search_does_not_tell_who_is_a_client_of_another_organisation(bot: Bot) -> None:
    for who in ("Cleo Ray", "cleo", "riverside/cleo"):
        assert f'Nobody is called "{who}"' in await bot.asked(ANN, f'review find kiln by "{who}"')
    assert "Nothing was found" in await bot.asked(BEN, 'review find kiln by "Cleo Ray"')


async def test_dates_narrow_a_search_by_the_days_of_the_reviewers_organisation(bot: Bot) -> None:
    # In summer London's day begins at 23:00 UTC of the day before.
    for text, at in (("kiln a", on(9, 22)), ("kiln b", on(9, 23)), ("kiln c", on(10, 22)), ("kiln d", on(10, 23))):
        await bot.hears(TRIP, PAT, text, at=at)

    assert await found(bot, ANN, "kiln from 2026-07-10") == ["kiln d", "kiln c", "kiln b"]
    assert await found(bot, ANN, "kiln until 2026-07-10") == ["kiln c", "kiln b", "kiln a"]
    assert await found(bot, ANN, "kiln from 2026-07-10 until 2026-07-10") == ["kiln c", "kiln b"]
    assert "A date is written like" in await bot.asked(ANN, "review find kiln from july")


async def test_the_days_are_those_of_the_organisation_for_which_somebody_reviews(bot: Bot) -> None:
    ann = 'ann: {name: Ann Head, role: staff, admin: system, email: a@a.example, matrix: "@ann:school.example"}'
    academy = f"  academy:\n    name: Academy\n    mobile: optional\n    people:\n      {ann}\n    books: {{}}\n"
    bot.policy = school_policy(POLICY.replace("  hillside:\n", f"{academy}  hillside:\n"))
    await bot.hears(TRIP, PAT, "kiln", at=on(9, 23))

    assert await found(bot, ANN, "kiln from 2026-07-10") == ["kiln"], "the tenth in London, though not in UTC"


async def test_all_filters_together_stand_in_any_order_and_words_like_them_are_words(bot: Bot) -> None:
    await bot.hears(TRIP, PAT, "home by the river, kind regards", at=on(10))
    await bot.hears(TRIP, PAT, "home by the river", at=on(12))
    await bot.hears(TRIP, ANN, "home by the river", at=on(10))
    once = ["home by the river, kind regards"]

    assert await found(bot, ANN, "home kind client until 2026-07-11 by pat from 2026-07-09") == once
    assert await found(bot, ANN, '"by the river" kind') == once
    assert await found(bot, ANN, '"the river, kind"') == once


async def test_a_search_without_any_word_says_so_and_shows_no_messages_as_if_they_were_found(bot: Bot) -> None:
    await bot.hears(TRIP, PAT, "kiln")

    for text in ("🔪", "… ?!", "🔪 by pat"):
        assert " holds no word. " in await bot.asked(ANN, f"review find {text}")
    assert await found(bot, ANN, "🔪 kiln") == ["kiln"]


async def test_what_was_found_is_shown_whatever_kind_of_message_it_is(bot: Bot) -> None:
    long = "word " * 100
    poll = {"question": {"m.text": [{"body": "Which kiln?"}]}, "answers": [{"m.id": "a", "m.text": [{"body": "Red"}]}]}
    reaction = {"rel_type": "m.annotation", "event_id": "$e1", "key": "kiln!"}
    await bot.hears(TRIP, PAT, f"{long}then the kiln burst {long}")
    await bot.event(TRIP, PAT, "m.poll.start", {"m.poll": poll})
    await bot.event(TRIP, PAT, "m.reaction", {"m.relates_to": reaction})
    await bot.event(
        TRIP, PAT, "m.room.message", {"body": "ok", "format": "org.matrix.custom.html", "formatted_body": "<b>kiln</b>"}
    )

    assert await found(bot, ANN, "kiln") == [
        "kiln",
        "(as a reaction) kiln!",
        "Which kiln? Red",
        f"… {'word ' * 6}then the kiln burst {'word ' * 40}"[:162] + "…",
    ]
    assert await found(bot, ANN, "by pat until 2026-07-20") == [
        "ok",
        "Which kiln? Red",
        (long + "then")[:160] + "…",
    ], "without words, messages alone"


async def test_nothing_that_was_found_turns_the_answer_around(bot: Bot) -> None:
    await bot.event(TRIP, ANN, "m.room.name", {"name": "Trip\u202e"}, key="")
    await bot.hears(TRIP, PAT, "kiln \u202efdp.exe\x07")

    said = await bot.asked(ANN, "review find kiln")

    assert f"in “Trip[U+202E]” (Hillside, {TRIP}): kiln [U+202E]fdp.exe[U+0007]" in said


async def test_a_search_is_on_record_with_its_words_and_shown_in_status(bot: Bot) -> None:
    await bot.hears(TRIP, PAT, "kiln")
    await bot.asked(ANN, "review find kiln kind client")
    await bot.asked(BEN, "review find kiln")

    assert await bot.audit() == [
        ("review find", {"text": "kiln kind client", "found": 1, "organisation": "hillside"}),
        ("review find", {"text": "kiln", "found": 0, "organisation": "riverside"}),
    ]
    lines = await bot.exports.status_lines(frozenset({"hillside"}), NOW)
    assert lines == [
        "Exports and reviews in the last 30 days: 1.",
        "- 2026-07-20 12:00 UTC @ann:school.example: review find “kiln kind client”",
    ]


async def test_what_was_stopped_is_in_status_too(bot: Bot) -> None:
    details = {"organisation": "hillside, riverside", "title": "Music"}
    await bot.store.audit(BEN, "review export refused", details, time=NOW)

    for organisation in ("hillside", "riverside"):
        assert (await bot.exports.status_lines(frozenset({organisation}), NOW))[1:] == [
            "- 2026-07-20 12:00 UTC @ben:school.example: review export refused “Music”"
        ]
    assert await bot.exports.status_lines(frozenset({"another"}), NOW) == []


async def test_levels_reach_what_the_rules_say_and_no_draft(bot: Bot) -> None:
    await bot.chat("!pia:school.example", "client", TOM, PIA, name="Pia")
    await bot.chat(DRAFT, "staff", ANN, name="Draft", draft=True)
    for room, user in ((TRIP, PAT), ("!pia:school.example", PIA), (MUSIC, BEN), (STAFF, ANN), (DRAFT, ANN)):
        await bot.hears(room, user, f"kiln in {room[1:-15]}")

    assert sorted(await found(bot, ANN, "kiln")) == ["kiln in music", "kiln in pia", "kiln in staff", "kiln in trip"]
    assert await found(bot, TOM, "kiln") == ["kiln in pia"], "connected: clients on the reviewer's own contact list"
    assert await found(bot, BEN, "kiln") == ["kiln in music"], "each organisation for itself (EXT-9)"
    assert 'no chat called "Draft"' in await bot.asked(ANN, "review export Draft")
    assert f'no chat called "{DRAFT}"' in await bot.asked(ANN, f"review export {DRAFT}")
    assert bot.orders.taken == []


async def test_an_organisation_that_left_reads_up_to_its_departure(bot: Bot) -> None:
    await bot.hears(MUSIC, BEN, "kiln before", at=on(10))
    gone = await bot.moves(MUSIC, BEN, "leave", at=on(11))
    await bot.hears(MUSIC, ANN, "kiln after", at=on(12))

    assert await found(bot, BEN, "kiln") == ["kiln before"]
    assert await found(bot, ANN, "kiln") == ["kiln after", "kiln before"]
    await bot.asked(BEN, f"review export {MUSIC}")
    assert [(order["last_event"], order["reviewing"]) for order in bot.orders.taken] == [(gone, "riverside/ben")]


@pytest.mark.parametrize("without", ["    network: trust\n    timezone", "    network: trust\n    mobile"])
async def test_each_organisation_reviews_on_though_one_of_them_has_left_the_network(bot: Bot, without: str) -> None:
    """EXT-9, EXT-13: what they saw until then stays theirs, whichever of the two has left."""
    await bot.hears(MUSIC, BEN, "kiln one", at=on(10))
    bot.policy = school_policy(POLICY.replace(without, without.partition("\n")[2]))
    await bot.moves(MUSIC, BEN, "leave", at=on(11))
    await bot.hears(MUSIC, ANN, "kiln two", at=on(12))

    assert await found(bot, BEN, "kiln") == ["kiln one"]
    assert await found(bot, ANN, "kiln") == ["kiln two", "kiln one"]
    assert await bot.asked(BEN, f"review export {MUSIC} until 2026-07-31") == ""
    assert (bot.orders.taken[-1]["reviewing"], bot.orders.taken[-1]["last_event"]) == ("riverside/ben", await left(bot))


async def left(bot: Bot) -> str:
    """The event with which Ben left."""
    events = await bot.store.events_of_type(MUSIC, "m.room.member")
    return next(event.event_id for event in events if event.content["membership"] == "leave")


async def test_who_left_knows_a_chat_by_what_it_was_called_then(bot: Bot) -> None:
    await bot.hears(MUSIC, BEN, "kiln before", at=on(10))
    gone = await bot.moves(MUSIC, BEN, "leave", at=on(21))
    await bot.event(MUSIC, ANN, "m.room.name", {"name": "Secret"}, at=on(22), key="")

    assert "in “Music” (" in await bot.asked(BEN, "review find kiln")
    assert "in “Secret” (" in await bot.asked(ANN, "review find kiln")
    assert 'no chat called "Secret"' in await bot.asked(BEN, "review export Secret")
    await bot.asked(BEN, "review export Music")
    assert [order["last_event"] for order in bot.orders.taken] == [gone]


async def test_a_chat_is_ordered_by_its_title_where_only_one_is_called_so(bot: Bot) -> None:
    await bot.chat("!two:school.example", "client", ANN, PAT, name="Trip")

    assert '2 chats are called "trip"' in await bot.asked(ANN, "review export trip")
    await bot.asked(ANN, "review export Music pdf until 2026-07-10")

    (order,) = bot.orders.taken
    assert (order["room"], order["sends"], order["reviewing"]) == (MUSIC, "pdf", "hillside/ann")
    assert order["purpose"] == "Data review"


async def test_review_is_refused_to_who_does_not_review(bot: Bot) -> None:
    bot.policy = school_policy(POLICY.replace("review: connected, ", ""))

    for user in (TOM, PAT):
        assert (await bot.asked(user, "review find kiln")).startswith("Only data reviewers")
        assert "review" not in await bot.asked(user, "help")
    assert "review find" in await bot.asked(ANN, "help")


# Links


async def test_a_link_names_the_message_and_carries_nothing_of_it(bot: Bot) -> None:
    message = await bot.hears(TRIP, PAT, "the secret word")

    link, sentence = (await bot.asked(PAT, "!link", TRIP, reply_to=message)).splitlines()

    assert link == f"https://matrix.to/#/{TRIP}/{message}?via=school.example"
    assert sentence == "It opens the message for those who are in the chat, and for nobody else."


async def test_a_link_is_asked_for_as_a_reply_in_a_chat(bot: Bot) -> None:
    assert "as a reply to the message" in await bot.asked(PAT, "!link", TRIP)
    assert "in the chat it is about" in await bot.asked(PAT, "link")


async def test_what_a_reply_names_can_put_nothing_else_into_a_link(bot: Bot) -> None:
    said = await bot.asked(PAT, "!link", TRIP, reply_to="$x?a=b#/https://evil.example/ \n")

    assert said.splitlines()[0].endswith("/$x%3Fa%3Db%23%2Fhttps%3A%2F%2Fevil.example%2F%20%0A?via=school.example")
