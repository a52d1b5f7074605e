"""What the events of a room become in its record."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from bridge.transcript.compose import Composer
from bridge.transcript.model import Account, Entry, File, Person, Range, Reference, Transcript
from bridge.transcript.offers import MOST_PICTURES, Offer
from tests.transcript.room import ANN, BEN, BOT, PAT, PEOPLE, START, Room, account, up_to


def composed(room: Room | Iterable[Any], given: Account | None = None) -> tuple[list[Entry], Transcript]:
    def keep(_number: int, _sender: Person, _time: int | None, offer: Offer) -> File:
        return File(offer.name, offer.mimetype, missing="The tests keep no files.")

    composer = Composer(PEOPLE, given or account(), keep)
    entries = list(composer.entries(room.events if isinstance(room, Room) else room))
    return entries, composer.transcript()


def texts(room: Room) -> list[str | None]:
    return [entry.text for entry in composed(room)[0]]


def test_every_entry_has_the_next_number() -> None:
    room = Room()
    room.joins(ANN)
    for word in ["one", "two", "three"]:
        room.says(ANN, word)

    assert [entry.number for entry in composed(room)[0]] == [1, 2, 3, 4]


def test_an_edit_is_an_entry_of_its_own_and_the_original_stays() -> None:
    room = Room()
    first = room.says(PAT, "at eihgt")
    room.edits(PAT, first, "at eight")

    (original, edit), transcript = composed(room)

    assert (original.kind, original.text) == ("message", "at eihgt")
    assert (edit.kind, edit.text, edit.target) == ("edit", "at eight", Reference(1, first))
    assert [remark.number for remark in transcript.remarks[1]] == [2]


def test_an_edit_by_somebody_else_is_on_record_and_marked_as_none_that_clients_show() -> None:
    room = Room()
    first = room.says(PAT, "I agree")
    room.edits(BEN, first, "I do not agree")

    (_, edit), transcript = composed(room)

    assert edit.reason == "not by the author of the message; clients do not show it"
    assert 1 not in transcript.remarks


def test_an_edit_of_an_edit_is_marked_as_none_that_clients_show() -> None:
    """Client-Server API, "Validity of replacement events": the original must not itself replace another one."""
    room = Room()
    first = room.says(PAT, "at six")
    second = room.edits(PAT, first, "at seven")
    room.edits(PAT, second, "at eight")

    (_, shown, unseen), transcript = composed(room)

    assert (shown.reason, unseen.reason) == (None, "of what is an edit itself; clients do not show it")
    assert 2 not in transcript.remarks


def test_what_clients_show_that_know_no_edits_is_kept_where_it_says_something_else() -> None:
    room = Room()
    first = room.says(PAT, "Thank you")
    relation = {"rel_type": "m.replace", "event_id": first}
    html: Any = {"format": "org.matrix.custom.html"}
    new = {"msgtype": "m.text", "body": "Thank **you**", **html, "formatted_body": "Thank <b>you</b>"}
    usual = {"html": "* Thank <b>you</b>", "m.new_content": new}
    room.says(PAT, "* Thank **you**", relates=relation, **usual)
    room.says(PAT, "* I know where you live", relates=relation, **usual)
    room.says(PAT, "* Thank you", html="* and your <b>car</b>", relates=relation, **{"m.new_content": new})
    room.says(PAT, "* of a program that forgot the rest", html="<b>really</b>", relates=relation)

    (_, same, other, formatted, bare), _ = composed(room)

    assert (same.text, same.content) == ("Thank **you**", None)
    assert (other.text, other.content) == (
        "Thank **you**",
        {"body": "* I know where you live", "formatted_body": "* Thank <b>you</b>"},
    )
    assert formatted.content == {"body": "* Thank you", "formatted_body": "* and your <b>car</b>"}
    assert (bare.text, bare.html) == ("* of a program that forgot the rest", "<b>really</b>")


def test_an_edit_without_words_or_with_a_key_is_kept_as_it_came() -> None:
    room = Room()
    first = room.says(PAT, "first")
    relation = {"rel_type": "m.replace", "event_id": first}
    key = {"msgtype": "m.file", "body": "plan.pdf", "file": {"url": "mxc://hillside.example/x", "key": {"k": "abc"}}}
    for new in ({"odd": "words"}, key):
        room.says(PAT, "* first", relates=relation, **{"m.new_content": new})

    (_, odd, encrypted), transcript = composed(room)

    assert (odd.content or {}).get("m.new_content") == {"odd": "words"}
    assert (encrypted.content or {}).get("m.new_content") == key
    assert "Message 2: it has no text; the record holds what it has." in transcript.problems


def test_no_file_hides_behind_an_edit() -> None:
    room = Room()
    first = room.says(PAT, "first")
    relation = {"rel_type": "m.replace", "event_id": first}
    new = {"msgtype": "m.image", "body": "new.png", "url": "mxc://hillside.example/new"}
    text = {"msgtype": "m.text", "body": "nothing"}
    for anew, shown in ((new, "new"), (new, "other"), (text, "other")):
        told = {"msgtype": "m.image", "body": f"{shown}.png", "url": f"mxc://hillside.example/{shown}"}
        room.event("m.room.message", PAT, {**told, "m.new_content": anew, "m.relates_to": relation})

    (_, same, both, behind), _ = composed(room)

    assert [(same.file or File("", "")).name, same.pictures] == ["new.png", None]
    assert (both.file or File("", "")).name == "new.png"
    assert [file.name for file in both.pictures or ()] == ["other.png"]
    assert (behind.file or File("", "")).name == "other.png"


def test_a_deletion_names_who_deleted_what_and_why_and_the_original_stays() -> None:
    room = Room()
    first = room.says(PAT, "my telephone number")
    room.deletes(BEN, first, "private")

    original, deletion = composed(room)[0]

    assert original.text == "my telephone number"
    assert (deletion.kind, deletion.sender.name, deletion.reason) == ("deletion", "Ben Ode", "private")
    assert deletion.target == Reference(1, first)


def test_a_deletion_of_an_older_room_version_is_found_beside_the_content() -> None:
    room = Room()
    first = room.says(PAT, "my telephone number")
    room.event("m.room.redaction", PAT, {}, redacts=first)

    assert composed(room)[0][1].target == Reference(1, first)


def test_content_that_was_deleted_before_it_came_on_record_is_listed_as_missing() -> None:
    room = Room()
    room.event("m.room.message", PAT, {}, unsigned={"redacted_because": {"sender": BEN}})

    (entry,), transcript = composed(room)

    assert entry.text is None
    assert transcript.problems == ("Message 1: its content was deleted by Ben Ode before it came on record.",)


def test_a_reply_points_to_what_it_answers_and_leaves_the_quotation_of_older_clients_out() -> None:
    room = Room()
    asked = room.says(ANN, "Who comes?\nPlease tell me.")
    room.replies(PAT, asked, "> <@ann:hillside.example> Who comes?\n> Please tell me.\n\nWe do.\n> really")

    reply = composed(room)[0][1]

    assert reply.reply_to == Reference(1, asked)
    assert reply.text == "We do.\n> really"


def test_what_is_left_out_as_a_quotation_stays_in_the_record() -> None:
    """Anything may be written there, and some clients show it."""
    room = Room()
    first = room.says(ANN, "Nine?")
    room.replies(PAT, first, "> not what Ann wrote\n\nYes")
    room.replies(PAT, first, "Yes")

    (_, quoting, plain), _ = composed(room)

    assert (quoting.text, quoting.content) == ("Yes", {"body": "> not what Ann wrote\n\nYes"})
    assert plain.content is None


def test_a_quotation_that_the_sender_typed_is_kept() -> None:
    room = Room()
    room.says(PAT, "> not a reply\nindeed")

    assert texts(room) == ["> not a reply\nindeed"]


def test_a_message_in_a_thread_names_the_thread_and_is_a_reply_only_if_it_was_meant_so() -> None:
    room = Room()
    root = room.says(ANN, "Lunch")
    relation = {"rel_type": "m.thread", "event_id": root, "m.in_reply_to": {"event_id": root}}
    room.says(PAT, "no nuts", relates=relation | {"is_falling_back": True})
    room.says(PAT, "and no milk", relates=relation)

    _, fallback, meant = composed(room)[0]

    assert (fallback.thread, fallback.reply_to) == (Reference(1, root), None)
    assert (meant.thread, meant.reply_to) == (Reference(1, root), Reference(1, root))


def test_a_sender_is_named_as_they_were_named_then() -> None:
    room = Room()
    room.joins(ANN, "Ann Lee")
    room.says(ANN, "before")
    room.joins(ANN, "Ann Chan")
    room.says(ANN, "after")

    entries, transcript = composed(room)

    assert [entry.sender.name for entry in entries if entry.kind == "message"] == ["Ann Lee", "Ann Chan"]
    assert entries[2].text == "Ann Lee is called Ann Chan from here on."
    assert transcript.participants[0].names == ("Ann Lee", "Ann Chan")


def test_a_name_that_the_room_never_told_comes_from_the_policy() -> None:
    room = Room()
    room.says(PAT, "hello")

    assert composed(room)[0][0].sender == PEOPLE[PAT]


def test_coming_and_going_is_told_in_words() -> None:
    room = Room()
    room.joins(ANN)
    room.member(PAT, "invite", by=ANN)
    room.member(PAT, "leave")
    room.member(PAT, "invite", by=ANN)
    room.joins(PAT)
    room.member(PAT, "leave", by=ANN, reason="left the school")
    room.member(BEN, "ban", by=ANN)

    entries, transcript = composed(room)

    assert [(entry.kind, entry.text) for entry in entries] == [
        ("join", "Ann Lee joined."),
        ("invite", "Ann Lee invited Pat Chan."),
        ("leave", "Pat Chan declined the invitation."),
        ("invite", "Ann Lee invited Pat Chan."),
        ("join", "Pat Chan joined."),
        ("leave", "Ann Lee removed Pat Chan. (left the school)"),
        ("leave", "Ann Lee removed Ben Ode and barred them."),
    ]
    stays = {one.person.matrix: one.stays for one in transcript.participants}
    assert stays[PAT] == ((START + 4 * 60_000, START + 5 * 60_000),)
    assert stays[ANN] == ((START, None),)


def test_the_title_is_the_last_one_and_every_change_is_an_entry() -> None:
    room = Room()
    room.named("Trip")
    room.named("")

    entries, transcript = composed(room)

    assert [(entry.kind, entry.text) for entry in entries] == [
        ("rename", "Ann Lee named the chat “Trip”."),
        ("rename", "Ann Lee named the chat “New chat”."),
    ]
    assert transcript.title == "New chat"


def test_a_chat_that_becomes_external_says_so() -> None:
    room = Room()
    room.event("org.qwil.chat", BOT, {"kind": "staff"}, state_key="")
    room.event("org.qwil.chat", BOT, {"kind": "external"}, state_key="")

    assert texts(room) == ["The chat became an external chat."]


def test_a_poll_its_votes_and_its_end_are_told_in_words() -> None:
    room = Room()
    start = room.event(
        "org.matrix.msc3381.poll.start",
        ANN,
        {
            "org.matrix.msc3381.poll.start": {
                "question": {"org.matrix.msc1767.text": "Which day?"},
                "answers": [{"id": "1", "org.matrix.msc1767.text": "Monday"}, {"id": "2", "body": "Friday"}],
            }
        },
    )
    about = {"m.relates_to": {"rel_type": "m.reference", "event_id": start}}
    room.event(
        "org.matrix.msc3381.poll.response", PAT, {**about, "org.matrix.msc3381.poll.response": {"answers": ["2"]}}
    )
    room.event("m.poll.response", BEN, {**about, "m.selections": []})
    room.event("m.poll.end", ANN, {**about, "m.text": [{"body": "Friday won"}]})

    assert texts(room) == [
        "Poll: Which day?\n1. Monday\n2. Friday",
        "Pat Chan voted for “Friday”.",
        "Ben Ode took back their vote.",
        "Ann Lee ended the poll: Friday won",
    ]


def poll(question: str, *answers: str) -> dict[str, Any]:
    said = [{"m.id": str(place), "m.text": [{"body": answer}]} for place, answer in enumerate(answers)]
    return {"m.poll": {"question": {"m.text": [{"body": question}]}, "answers": said}}


def test_a_poll_that_was_edited_is_an_edit_with_its_new_words_and_votes_are_for_those() -> None:
    room = Room()
    start = room.event("m.poll.start", ANN, poll("Which day?", "Monday", "Friday"))
    replaces = {"m.relates_to": {"rel_type": "m.replace", "event_id": start}}
    vote = {"m.relates_to": {"rel_type": "m.reference", "event_id": start}, "m.selections": ["0"]}
    room.event("m.poll.response", PAT, vote)
    room.event("m.poll.start", ANN, {**replaces, "m.new_content": poll("Which day, really?", "Sunday")})
    room.event("m.poll.start", BEN, {**replaces, "m.new_content": poll("Another poll", "Never")})
    room.event("m.poll.response", PAT, vote)

    (_, _, edit, foreign, _), transcript = composed(room)

    assert (edit.kind, edit.text, edit.target) == ("edit", "Poll: Which day, really?\n1. Sunday", Reference(1, start))
    assert (foreign.kind, foreign.reason) == ("edit", "not by the author of the message; clients do not show it")
    assert texts(room)[1::3] == ["Pat Chan voted for “Monday”.", "Pat Chan voted for “Sunday”."]
    assert [remark.number for remark in transcript.remarks[1]] == [3]


def test_a_live_location_is_told_by_its_coordinates() -> None:
    room = Room()
    shared = room.event("m.beacon_info", PAT, {"live": True, "description": "the bus"}, state_key=PAT)
    at = {"uri": "geo:51.5,-0.1;u=10", "description": "the bus"}
    about = {"m.relates_to": {"rel_type": "m.reference", "event_id": shared}}
    room.event("org.matrix.msc3672.beacon", PAT, {**about, "org.matrix.msc3488.location": at})

    (_, seen), _ = composed(room)

    assert seen.text == "Pat Chan shared their live location: 51.5° N, 0.1° W, within 10 m – the bus."
    assert seen.target == Reference(1, shared)


def test_pictures_in_a_text_are_files_of_its_message() -> None:
    room = Room()
    room.says(PAT, "hi", html='hi <img src="mxc://h.example/bear" alt=":bear:"><img src="mxc://h.example/cat">')
    room.says(PAT, "hi", html="".join(f'<img src="mxc://h.example/{number}">' for number in range(MOST_PICTURES + 3)))

    (first, second), transcript = composed(room)

    assert [file.name for file in first.pictures or ()] == [":bear:", "picture"]
    assert first.file is None
    assert len(second.pictures or ()) == MOST_PICTURES
    assert transcript.problems[0] == "Message 1: the file “:bear:” is missing: The tests keep no files."
    assert "Message 2: 3 more pictures in its text are not in this export." in transcript.problems


def test_what_only_looks_like_an_edit_hides_no_file() -> None:
    room = Room()
    room.shares(PAT, "plan.png", None, "image/png", **{"m.new_content": {"msgtype": "m.text", "body": "nothing"}})

    ((entry,), _) = composed(room)

    assert entry.file is not None
    assert entry.file.name == "plan.png"


def test_no_answer_of_a_poll_is_passed_over_in_silence() -> None:
    room = Room()
    answers = [{"m.id": "same", "m.text": [{"body": f"answer {number}"}]} for number in range(23)]
    room.event("m.poll.start", ANN, {"m.poll": {"question": {"m.text": [{"body": "Which?"}]}, "answers": answers}})

    (said,) = texts(room)

    assert said is not None
    lines = said.splitlines()
    assert lines[1:3] == ["1. answer 0", "2. answer 1"]
    assert lines[20:] == ["20. answer 19", "(3 more, which clients do not show)"]


def test_a_location_is_told_by_its_coordinates() -> None:
    room = Room()
    room.event("m.room.message", PAT, {"msgtype": "m.location", "body": "the bus", "geo_uri": "geo:-33.9,18.42;u=12"})

    assert texts(room) == ["Location: 33.9° S, 18.42° E, within 12 m – the bus"]


def test_a_topic_is_told_in_each_of_its_forms() -> None:
    room = Room()
    for content in (
        {"topic": "Homework", "m.topic": {"m.text": [{"body": "Homework"}]}},
        {"topic": "Homework", "m.topic": {"m.text": [{"body": "whisky", "mimetype": "text/html"}, "odd"]}},
        {"m.topic": {"m.text": "odd"}},
    ):
        room.event("m.room.topic", ANN, content, state_key="")

    assert texts(room) == [
        "Ann Lee set the topic to “Homework”.",
        "Ann Lee set the topic to “Homework”, elsewhere shown as “whisky”.",
        "Ann Lee removed the topic.",
    ]


def test_an_event_of_an_unknown_type_is_told_and_its_content_kept() -> None:
    room = Room()
    room.event("com.example.dice", PAT, {"eyes": 6})

    (entry,), _ = composed(room)

    assert entry.kind == "notice"
    assert "com.example.dice" in (entry.text or "")
    assert entry.content == {"eyes": 6}


def test_events_that_say_nothing_are_counted_and_take_no_number() -> None:
    room = Room()
    room.event("m.room.power_levels", BOT, {"users": {}}, state_key="")
    room.says(ANN, "first")

    entries, transcript = composed(room)

    assert [entry.number for entry in entries] == [1]
    assert transcript.left_out == {"m.room.power_levels": 1}


def test_an_encrypted_file_is_listed_as_one_that_is_there_as_it_was_sent() -> None:
    room = Room()
    shared = {"msgtype": "m.file", "body": "plan.pdf", "file": {"url": "mxc://h/1", "key": {"k": "x"}}}
    room.event("m.room.message", PAT, shared)

    def keep(_number: int, _sender: Person, _time: int | None, offer: Offer) -> File:
        return File(offer.name, offer.mimetype, path="media/1.bin")

    composer = Composer(PEOPLE, account(), keep)

    (entry,) = composer.entries(room.events)
    assert entry.content == shared, "with the key to it"
    assert composer.transcript().problems == ("Message 1: the file “plan.pdf” is encrypted, and here as it was sent.",)


def test_an_encrypted_message_is_listed_as_one_that_cannot_be_read() -> None:
    room = Room()
    room.event("m.room.encrypted", PAT, {"ciphertext": "…"})

    (entry,), transcript = composed(room)

    assert entry.text is None
    assert transcript.problems == ("Message 1: it is encrypted and cannot be read.",)


BROKEN: list[Any] = [
    None,
    7,
    "{",
    "[" * 100_000,
    {"type": "m.room.message"},
    {"event_id": "$x", "type": 5, "sender": PAT},
]


def test_a_broken_event_costs_one_line_and_never_the_export() -> None:
    room = Room()
    room.says(PAT, "before")
    good = room.events.copy()

    for broken in BROKEN:
        entries, transcript = composed([broken, *good])

        assert [entry.text for entry in entries] == ["before"]
        assert len(transcript.problems) == 1
        assert transcript.problems[0].startswith("Event 1 of the history could not be read: ")


def test_what_cannot_be_read_as_what_it_is_stays_in_the_record() -> None:
    room = Room()
    gone = room.event("m.room.member", PAT, {"why": "no membership"}, state_key=PAT)
    room.event("m.room.message", PAT, {"msgtype": {"odd": 1}, "body": "still words"})
    room.says(PAT, "after")

    (odd, message, after), transcript = composed(room)

    assert (odd.kind, odd.content) == ("notice", {"why": "no membership"})
    assert (
        odd.text
        == "Pat Chan sent an event of the type “m.room.member” that cannot be read; the record holds its content."
    )
    assert (message.text, after.number) == ("still words", 3)
    (problem,) = transcript.problems
    assert problem.startswith(f"Event {gone} cannot be read as what it is (ValueError: ")


def test_nothing_in_a_sentence_about_the_export_steers_a_terminal_or_a_message() -> None:
    room = Room()
    room.named("Trip\x1b[2J\u202e\ud800 – 👨‍👩‍👧")
    room.shares(PAT, "plan\x1b]0;x\x07\ud800\n.pdf", None, "application/pdf")

    transcript = composed(room)[1]

    assert transcript.title == "Trip[U+001B][2J[U+202E][U+D800] – 👨‍👩‍👧"
    assert "“plan[U+001B]]0;x[U+0007][U+D800][U+000A].pdf” is missing" in transcript.problems[0]


def test_no_content_of_any_shape_stops_the_export() -> None:
    shapes: list[Any] = [None, 5, "text", [], {}, [[]], {"event_id": 5}, {"rel_type": "m.replace", "event_id": {}}]
    types = [
        "m.room.message",
        "m.reaction",
        "m.room.member",
        "m.poll.start",
        "m.poll.response",
        "m.sticker",
        "org.qwil.chat",
    ]
    keys = [
        "body",
        "m.relates_to",
        "m.new_content",
        "info",
        "file",
        "url",
        "m.poll",
        "membership",
        "displayname",
        "kind",
    ]
    room = Room()
    for kind in types:
        for key in keys:
            for shape in shapes:
                room.event(kind, PAT, {"msgtype": "m.file", key: shape}, state_key=PAT)
    room.events.append({"event_id": "$n", "type": "m.room.message", "sender": PAT, "content": "no object"})
    room.says(PAT, "the end")

    entries, transcript = composed(room)

    assert entries[-1].text == "the end"
    assert all(len(problem) < 300 for problem in transcript.problems)


def test_a_time_that_no_calendar_knows_is_none() -> None:
    room = Room()
    for time in (-1, 10**30, 1.5, True, "noon", None):
        room.says(PAT, "when?")
        room.events[-1]["origin_server_ts"] = time  # type: ignore[index]

    assert [entry.time for entry in composed(room)[0]] == [None] * 6


def test_the_same_event_twice_is_one_entry() -> None:
    room = Room()
    room.says(PAT, "once")
    room.events.append(json.dumps(room.events[0]))

    assert texts(room) == ["once"]


def test_up_to_a_message_nothing_later_is_in_it() -> None:
    room = Room()
    room.joins(ANN)
    end = room.says(ANN, "the last")
    room.says(ANN, "later")
    room.named("A later title")
    room.joins(PAT)

    entries, transcript = composed(room, account(range=up_to(end)))

    assert entries[-1].text == "the last"
    assert transcript.title == "New chat"
    assert [one.person.matrix for one in transcript.participants] == [ANN]


def test_until_a_time_nothing_later_is_in_it() -> None:
    room = Room()
    room.says(ANN, "before")
    room.says(ANN, "at that moment")

    entries, _ = composed(room, account(range=Range(until=START + 60_000)))

    assert [entry.text for entry in entries] == ["before"]


def test_the_end_of_an_export_is_the_earlier_of_two_though_what_comes_behind_bears_an_earlier_time() -> None:
    """A reviewer whose organisation has left asks for the time until a day after that (EXT-9)."""
    room = Room()
    room.says(ANN, "before")
    end = room.says(ANN, "the departure")
    room.says(BEN, "later, by a clock that is slow")
    late: Any = room.events[-1]
    late["origin_server_ts"] = START

    entries, transcript = composed(room, account(range=Range(until=START + 60_000, last_event=end)))

    assert [entry.text for entry in entries] == ["before"]
    assert transcript.problems == ()


def test_numbers_are_those_of_the_whole_chat_whatever_part_is_wanted() -> None:
    room = Room()
    for word in ["one", "two", "three"]:
        room.says(ANN, word)

    entries, transcript = composed(room, account(range=Range(since=START + 60_000)))

    assert [(entry.number, entry.text) for entry in entries] == [(2, "two"), (3, "three")]
    assert (transcript.first, transcript.last, transcript.entries) == (2, 3, 2)


def test_one_single_message_comes_with_what_was_changed_about_it() -> None:
    room = Room()
    room.says(ANN, "other")
    wanted = room.says(PAT, "this")
    room.reacts(ANN, wanted, "👍")
    room.says(ANN, "another")
    room.edits(PAT, wanted, "this one")

    entries, _ = composed(room, account(range=Range(only_event=wanted)))

    assert [(entry.number, entry.kind) for entry in entries] == [(2, "message"), (3, "reaction"), (5, "edit")]


def test_what_is_wrong_with_other_messages_is_no_gap_of_an_export_without_them() -> None:
    room = Room()
    room.event("m.room.encrypted", BEN, {"algorithm": "m.megolm.v1.aes-sha2"})
    wanted = room.says(PAT, "this")

    _, transcript = composed(room, account(range=Range(only_event=wanted)))

    assert transcript.problems == ()


def test_a_reaction_that_was_deleted_before_it_came_is_listed_as_missing() -> None:
    room = Room()
    room.event("m.reaction", PAT, {}, unsigned={"redacted_because": {"sender": ANN}})

    _, transcript = composed(room)

    assert transcript.problems == ("Message 1: its content was deleted by Ann Lee before it came on record.",)


def test_an_end_that_is_not_in_the_history_is_told() -> None:
    room = Room()
    room.says(ANN, "hello")

    _, transcript = composed(room, account(range=up_to("$nowhere")))

    assert transcript.problems == ("The event $nowhere, which was to be the end, is not in the history of this chat.",)


def test_what_the_caller_knows_to_be_missing_comes_first() -> None:
    _, transcript = composed([None], account(notes=("The bridge was away on 3 November.",)))

    assert transcript.problems[0] == "The bridge was away on 3 November."
    assert len(transcript.problems) == 2
