"""Searching the record: the same is found in SQLite and PostgreSQL, and storing an event waits for nothing."""

import asyncio
import json

import pytest

from bridge.migrations import NO_WORDS
from bridge.search_words import phrases
from bridge.store import Arrival, NewEvent, Store

ROOM = "!chat:school.example"


def message(name: str, body: str, *, at: int = 1000, sender: str = "@a:school.example", **content: object) -> NewEvent:
    whole = {"event_id": name, "content": {"body": body, **content}}
    return NewEvent(name, ROOM, sender, "m.room.message", None, at, None, json.dumps(whole))


async def found(store: Store, text: str, **only: object) -> list[str]:
    while await store.read_words():
        pass
    return [event.event_id for event in await store.search(phrases(text), **only)]  # type: ignore[arg-type]


async def test_every_word_has_to_be_there_and_its_beginning_is_enough(store: Store) -> None:
    await store.receive("t", [message("$1", "The swimming lesson is off"), message("$2", "Swimming!")], received=1.0)

    assert await found(store, "swim") == ["$2", "$1"]
    assert await found(store, "lesson SWIM") == ["$1"]
    assert await found(store, "dive") == []


async def test_what_stands_in_quotation_marks_is_a_phrase(store: Store) -> None:
    await store.receive("t", [message("$1", "after school club"), message("$2", "school after all")], received=1.0)

    assert await found(store, '"after school"') == ["$1"]
    assert await found(store, "after school") == ["$2", "$1"]


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("Crème brûlée am Montag", "creme brulee"),
        ("Der Straßenfest-Ausflug", "strassenfest"),
        ("明日は学校が休みです", "学校"),
        ("我们明天去动物园", "动物园"),
        ("स्कूल कल बंद रहेगा", "स्कूल"),
        ("المدرسة مغلقة غدا", "المدرسة"),
        ("Школа закрыта", "ШКОЛА"),
        ("write to office@hillside.example", "office@hillside.example"),
        ("don't", "don't"),
        ("see a_file_name.pdf", "file name"),
    ],
)
async def test_words_of_every_script_are_found(store: Store, written: str, typed: str) -> None:
    await store.receive("t", [message("$1", written), message("$2", "something else")], received=1.0)

    assert await found(store, typed) == ["$1"]


@pytest.mark.parametrize(
    "typed", ['"', "'", "' OR 1=1 --", "a AND NOT b*", "NEAR(a b)", "{a}:", "\\", "a:* & !b", "\0"]
)
async def test_no_query_means_anything_to_the_database(store: Store, typed: str) -> None:
    await store.receive("t", [message("$1", "nothing of it")], received=1.0)

    assert await found(store, f"{typed} zebra") == []


async def test_edits_are_found_by_their_new_words_and_originals_by_theirs(store: Store) -> None:
    edit = message("$2", "* at nine", **{"m.new_content": {"body": "at nine"}})
    await store.receive("t", [message("$1", "at eight"), edit], received=1.0)

    assert await found(store, "eight") == ["$1"]
    assert await found(store, "nine") == ["$2"]


async def test_words_that_stand_in_the_formatted_text_alone_are_found(store: Store) -> None:
    """Clients show the formatted text where there is one; the plain one may say something else."""
    html = '<p>the sec<b>ret</b> meeting</p><img src="mxc://a/b" alt="a map">&copy;'
    events = [
        message("$1", "ok", format="org.matrix.custom.html", formatted_body=html),
        message("$2", "* ok", **{"m.new_content": {"body": "ok", "formatted_body": "<i>zebra</i>"}}),
        message("$3", "* another fallback", **{"m.new_content": {"body": "ok"}}),
        message("$4", "ok", formatted_body="<b>" * 20_000 + "hidden" + "<" * 5_000),
    ]
    await store.receive("t", events, received=1.0)

    assert await found(store, '"secret meeting"') == ["$1"]
    assert await found(store, "map") == ["$1"]
    assert await found(store, "zebra") == ["$2"]
    assert await found(store, "fallback") == ["$3"]
    assert await found(store, "hidden") == ["$4"]
    assert await found(store, "mxc") == []


async def test_what_was_written_as_a_reaction_or_a_reason_is_found(store: Store) -> None:
    def event(name: str, kind: str, content: dict[str, object]) -> NewEvent:
        whole = {"event_id": name, "content": content}
        key = "@a:school.example" if kind == "m.room.member" else None
        return NewEvent(name, ROOM, "@a:school.example", kind, key, 1000, None, json.dumps(whole))

    annotates = {"rel_type": "m.annotation", "event_id": "$0", "key": "meet at the kiln"}
    place = {"uri": "geo:1,2", "description": "behind the kiln"}
    events = [
        event("$1", "m.reaction", {"m.relates_to": annotates}),
        event("$2", "m.room.redaction", {"redacts": "$0", "reason": "not the kiln"}),
        event("$3", "m.room.member", {"membership": "leave", "reason": "gone to the kiln", "displayname": "Al"}),
        event("$4", "m.poll.end", {"m.text": [{"body": "the kiln has won"}]}),
        event("$5", "m.room.message", {"msgtype": "m.location", "body": "here", "m.location": place}),
        event("$6", "m.poll.start", {"m.new_content": {"m.poll": {"question": {"m.text": [{"body": "Kiln?"}]}}}}),
    ]
    await store.receive("t", events, received=1.0)

    assert await found(store, "kiln") == ["$6", "$5", "$4", "$3", "$2", "$1"]
    assert await found(store, "Al") == [], "names are for “by”"


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("Donau\u00addampf\u00adschiff", "donaudampfschiff"),
        ("in\u2060visible", "invisible"),
        ("\u202ejoined\u202c", "joined"),
        ("مـدرسـة", "مدرسة"),
    ],
)
async def test_what_stands_unseen_inside_a_word_hides_it_from_no_search(store: Store, written: str, typed: str) -> None:
    await store.receive("t", [message("$1", f"the {written} of it")], received=1.0)

    assert await found(store, typed) == ["$1"]
    assert await found(store, written) == ["$1"]


async def test_what_an_older_version_did_not_read_is_found_once_its_record_is_opened_anew(
    store: Store, database: str
) -> None:
    hello = message("$1", "hello", formatted_body="<b>meet me alone</b>")
    await store.receive("t", [hello, message("$2", "goodbye")], received=1.0)
    assert await found(store, "alone") == ["$1"]
    # As the version before this one left it: words of fewer places, and one event whose turn had not come.
    await store._execute(NO_WORDS["sqlite" if database.startswith("sqlite") else "postgres"])
    await store._execute("INSERT INTO unread_words (arrival) VALUES (2)")
    await store._execute("UPDATE schema_version SET version = 2")
    assert await store.search(phrases("alone")) == []

    opened = await Store.open(database)
    try:
        assert await found(opened, "alone") == ["$1"]
        assert await found(opened, "goodbye") == ["$2"]
    finally:
        await opened.close()


async def test_a_topic_is_found_by_each_of_its_forms(store: Store) -> None:
    """Client-Server API, `m.room.topic`: `m.topic` may say something else than `topic`."""
    content = {"topic": "Homework", "m.topic": {"m.text": [{"body": "whisky"}]}}
    whole = json.dumps({"event_id": "$1", "content": content})
    topic = NewEvent("$1", ROOM, "@a:school.example", "m.room.topic", "", 1000, None, whole)
    await store.receive("t", [topic], received=1.0)

    assert await found(store, "homework") == await found(store, "whisky") == ["$1"]


async def test_words_at_the_end_of_the_longest_message_are_found(store: Store) -> None:
    await store.receive("t", [message("$1", "a " * 30_000 + "kiln")], received=1.0)

    assert await found(store, "kiln") == ["$1"]


async def test_people_and_dates_narrow_a_search(store: Store) -> None:
    events = [message(f"${n}", "hello", at=n * 1000, sender=f"@{'ab'[n % 2]}:school.example") for n in range(6)]
    await store.receive("t", events, received=1.0)

    assert await found(store, "hello", senders=["@a:school.example"]) == ["$4", "$2", "$0"]
    assert await found(store, "hello", since=2000, until=4000) == ["$3", "$2"]
    assert await found(store, "", senders=["@b:school.example"], until=4000) == ["$3", "$1"]


async def test_pages_follow_each_other(store: Store) -> None:
    await store.receive("t", [message(f"${n}", "hello") for n in range(5)], received=1.0)
    first = [await found(store, "hello", limit=2)]
    last = (await store.search(phrases("hello"), limit=2))[-1]

    assert first == [["$4", "$3"]]
    assert await found(store, "hello", limit=2, before=last.arrival) == ["$2", "$1"]


async def test_two_who_read_words_at_once_keep_them_once(store: Store) -> None:
    await store.receive("t", [message(f"${n}", "hello") for n in range(50)], received=1.0)

    await asyncio.gather(*(store.read_words() for _ in range(4)))

    assert len(await found(store, "hello")) == 50
    assert await store.read_words() == 0


async def test_an_event_that_cannot_be_read_stops_no_search(store: Store) -> None:
    broken = NewEvent("$1", ROOM, "@a:school.example", "m.room.message", None, 1, None, "[" * 5000)
    odd = message("$2", "fine", question={"deep": [[[["x"]]]]}, topic=7)
    nul = message("$3", "zero \0 and \ud800 half")
    await store.receive("t", [broken, odd, nul, message("$4", "x" * 60_000)], received=1.0)

    assert await found(store, "fine") == ["$2"]
    assert await found(store, "half") == ["$3"]


async def test_history_puts_late_events_where_their_time_says(store: Store) -> None:
    await store.receive("t", [message("$1", "a", at=10), message("$4", "d", at=40)], received=1.0)
    await store.fill(ROOM, [message("$3", "c", at=30), message("$0", "0", at=1)], [], asked=Arrival(0), received=2.0)
    await store.receive("t2", [message("$2", "forged time, came last", at=2)], received=3.0)

    assert [event.event_id async for event in store.history(ROOM)] == ["$0", "$1", "$3", "$4", "$2"]


async def test_what_is_on_record_about_exports_is_found_in_the_audit(store: Store) -> None:
    for number, what in enumerate(["refused", "export", "review find", "policy"]):
        await store.audit("@a:school.example", what, {}, time=float(number))

    assert [entry.what for entry in await store.audit_about(["export", "review find"], since=0)] == [
        "export",
        "review find",
    ]
    assert await store.audit_about(["export"], since=2.0) == []
