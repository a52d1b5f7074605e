"""What becomes of an event in a room, without a homeserver: the cases a client on a real one does not easily make."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from policy.judge import Held, Opens, Passes, Redacts, Refused, judge, may_redact
from policy.model import Policy, UserId
from policy.parse import parse
from policy.profiles import badge_named, media_id
from policy.room import Attempt, Member, Room, chat_of, room_of, user_ids
from policy.rooms import stands_for, stood_for
from policy.template import power_levels

BOT = UserId("@qwil:hs")
HEAD, TOM, PAT, PIA, BEN, KAY, SUE, ANN = (
    UserId(f"@{name}:hs") for name in ("head", "tom", "pat", "pia", "ben", "kay", "sue", "ann")
)
NOBODY = UserId("@nobody:hs")
NOW = 1_000_000.0

POLICY = """
networks: {oak: {name: Oak}}
organisations:
  hill:
    name: Hill
    network: oak
    mobile: optional
    max_participants: 4
    people:
      head: {name: Helen, role: staff, matrix: "@head:hs", email: h@x.example, admin: system}
      ann: {name: Ann, role: staff, matrix: "@ann:hs", email: a@x.example}
      tom: {name: Tom, role: staff, matrix: "@tom:hs", email: t@x.example}
      sue: {name: Sue, role: staff, matrix: "@sue:hs", email: s@x.example, status: suspended}
      pat: {name: Pat, role: client, matrix: "@pat:hs", email: p@x.example}
      pia: {name: Pia, role: client, matrix: "@pia:hs", email: q@x.example}
    books: {one: {name: One, members: [head, pat, pia]}}
  river:
    name: River
    network: oak
    mobile: optional
    people:
      ben: {name: Ben, role: staff, matrix: "@ben:hs", email: b@x.example, admin: system}
    books: {}
  far:
    name: Far
    mobile: optional
    people:
      kay: {name: Kay, role: staff, matrix: "@kay:hs", email: k@x.example, admin: system}
    books: {}
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    parsed = parse(POLICY, dict[str, str]().__getitem__)
    assert isinstance(parsed, Policy), parsed
    return parsed


def joined(*users: UserId) -> dict[UserId, Member]:
    return {user: Member("join", user, {"membership": "join"}) for user in users}


def chat(*users: UserId, kind: str = "staff", draft: bool = False, held: tuple[UserId, ...] = (), **more: Any) -> Room:
    """A chat of Hill that the first of them made."""
    content = {"organisation": "hill", "kind": kind, "draft": draft, "staff_only": False}
    return Room(users[0], BOT, joined(*users, BOT), chat=content, held=held, **more)


def message(sender: UserId, body: str = "Hello", kind: str = "m.room.message") -> Attempt:
    return Attempt(kind, sender, {"msgtype": "m.text", "body": body})


def member(sender: UserId, target: UserId, membership: str, **content: Any) -> Attempt:
    return Attempt("m.room.member", sender, {"membership": membership, **content}, target)


def verdict(policy: Policy, room: Room, attempt: Attempt) -> Any:
    return judge(policy, "refuse", room, attempt, NOW)


def rules(policy: Policy, room: Room, attempt: Attempt) -> tuple[str, ...]:
    refused = verdict(policy, room, attempt)
    assert isinstance(refused, Refused), refused
    return refused.rules


def test_a_draft_is_opened_by_its_creators_first_message_for_everybody_who_may_still_enter(policy: Policy) -> None:
    room = chat(HEAD, draft=True, held=(TOM, KAY, NOBODY, PAT))

    assert verdict(policy, room, message(HEAD)) == Opens((TOM, PAT))


def test_who_is_suspended_waits_while_the_others_come_in(policy: Policy) -> None:
    assert verdict(policy, chat(HEAD, draft=True, held=(SUE, TOM)), message(HEAD)) == Opens((TOM,))
    assert verdict(policy, chat(HEAD, draft=True, held=(SUE,)), message(HEAD)) == Opens(())


def test_those_who_would_go_over_the_limit_or_mix_kinds_are_left_out(policy: Policy) -> None:
    room = chat(HEAD, draft=True, held=(BEN, PAT, TOM))

    assert verdict(policy, room, message(HEAD)) == Opens((BEN, TOM))


def test_a_draft_without_anybody_who_may_enter_stays_one(policy: Policy) -> None:
    assert rules(policy, chat(HEAD, draft=True, held=(KAY, NOBODY)), message(HEAD)) == ("CHAT-7",)


def test_who_is_suspended_meanwhile_is_told_that_and_not_to_invite_somebody(policy: Policy) -> None:
    refused = verdict(policy, chat(SUE, draft=True, held=(TOM,)), message(SUE))

    assert isinstance(refused, Refused)
    assert (refused.text, refused.rules) == (
        "Your membership of Hill is suspended. Please ask its office.",
        ("USR-1",),
    )


@pytest.mark.parametrize("body", ["!rename Autumn", " !ADD pat", "!staff-only", "!help"])
def test_words_to_the_bot_open_nothing(policy: Policy, body: str) -> None:
    assert verdict(policy, chat(HEAD, draft=True, held=(TOM,)), message(HEAD, body)) == Passes()


@pytest.mark.parametrize("body", ["! rename", "!!", "! hello there", "rename", "!1", "well !dicsard"])
def test_what_only_looks_like_words_to_the_bot_is_a_message(policy: Policy, body: str) -> None:
    assert verdict(policy, chat(HEAD, draft=True, held=(TOM,)), message(HEAD, body)) == Opens((TOM,))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("!dicsard", "I do not know “!dicsard” — did you mean “!discard”?"),
        (" !Discard.", "I do not know “!Discard.” — did you mean “!discard”?"),
        ("!xyzzy now", "I do not know “!xyzzy”."),
        ("!hello there", "If it is meant as a message, write a space behind the “!”."),
    ],
)
def test_a_mistyped_word_to_the_bot_publishes_no_draft(policy: Policy, body: str, said: str) -> None:
    refused = verdict(policy, chat(HEAD, draft=True, held=(TOM,)), message(HEAD, body))

    assert isinstance(refused, Refused)
    assert refused.rules == ("CHAT-1",)
    assert said in refused.text
    assert verdict(policy, chat(HEAD, TOM), message(HEAD, body)) == Passes()


@pytest.mark.parametrize("body", ["!rename Autumn", "!dicsard"])
def test_a_command_that_is_changed_afterwards_opens_nothing(policy: Policy, body: str) -> None:
    changed = Attempt("m.room.message", HEAD, {"body": f"* {body}", "m.new_content": {"body": body}})

    assert rules(policy, chat(HEAD, draft=True, held=(TOM,)), changed) == ("CHAT-1",)


def test_a_chat_somebody_came_into_has_begun_whatever_its_mark_says(policy: Policy) -> None:
    room = chat(HEAD, TOM, draft=True, held=(TOM, PAT))

    assert verdict(policy, room, message(TOM)) == Passes()
    assert verdict(policy, room, message(HEAD)) == Passes()


def test_those_still_held_are_invited_once_the_chat_has_begun(policy: Policy) -> None:
    begun = chat(HEAD, held=(TOM, PAT))

    invited = verdict(policy, begun, member(HEAD, TOM, "invite"))

    assert invited == Passes({"membership": "invite", "displayname": "Tom"})
    assert isinstance(verdict(policy, chat(HEAD, draft=True), member(HEAD, TOM, "invite")), Held)


def test_the_limit_counts_who_is_held_and_who_is_invited_but_nobody_twice(policy: Policy) -> None:
    members = joined(HEAD, TOM, BOT) | {PAT: Member("invite", HEAD, {"membership": "invite"})}
    three = replace(chat(HEAD, kind="client"), members=members)

    assert verdict(policy, three, member(HEAD, PIA, "invite")) == Passes({"membership": "invite", "displayname": "Pia"})
    assert rules(policy, replace(three, held=(ANN,)), member(HEAD, PIA, "invite")) == ("CHAT-3",)
    assert isinstance(verdict(policy, replace(three, held=(PIA, SUE)), member(HEAD, PIA, "invite")), Passes)


def test_a_former_client_keeps_external_staff_out(policy: Policy) -> None:
    left = joined(HEAD, TOM, BOT) | {PAT: Member("leave", PAT, {"membership": "leave"})}

    assert rules(policy, replace(chat(HEAD), members=left), member(HEAD, BEN, "invite")) == ("EXT-4",)


def test_whoever_is_in_no_organisation_any_more_can_be_removed_by_staff_alone(policy: Policy) -> None:
    room = chat(HEAD, PAT, NOBODY, kind="client")

    assert verdict(policy, room, member(HEAD, NOBODY, "leave")) == Passes()
    assert rules(policy, room, member(PAT, NOBODY, "leave")) == ("PART-7",)


def test_a_chat_of_an_organisation_that_is_gone_can_only_be_left(policy: Policy) -> None:
    room = replace(chat(HEAD, BEN), chat={"organisation": "gone", "kind": "staff", "draft": False})

    for attempt in (
        message(HEAD),
        member(HEAD, PAT, "invite"),
        member(BEN, BEN, "join", displayname="x"),
        Attempt("m.room.name", HEAD, {"name": "x"}, ""),
    ):
        assert rules(policy, room, attempt) == ("DIR-4",)
    assert verdict(policy, room, member(HEAD, HEAD, "leave")) == Passes()


@pytest.mark.parametrize("marks", [{}, {"organisation": 7}, {"organisation": ["hill"]}, {"kind": {}}])
def test_marks_that_are_broken_refuse(policy: Policy, marks: Mapping[str, Any]) -> None:
    assert isinstance(verdict(policy, replace(chat(HEAD, TOM), chat=marks), message(HEAD)), Refused)


def test_the_name_a_member_event_carries_is_the_policys(policy: Policy) -> None:
    room = chat(HEAD, BEN, kind="external")
    plain = member(BEN, BEN, "join", displayname="Ben", reason="new job", extra=1)
    boss = member(BEN, BEN, "join", displayname="Boss")
    portrait = member(BEN, BEN, "join", displayname="Ben", avatar_url="mxc://hs/own")

    assert verdict(policy, room, plain) == Passes(
        {"membership": "join", "displayname": "Ben (River)", "reason": "new job"}
    )
    assert verdict(policy, room, boss) == Refused(
        "Names are given by your organisation; ask its office to change yours.", ("USR-5",)
    )
    assert verdict(policy, room, portrait) == Refused(
        "Pictures show who is staff, client or external, and are set by the system.", ("EXT-8",)
    )
    right = {"membership": "join", "displayname": "Ben (River)", "avatar_url": "mxc://hs/e"}
    assert verdict(policy, room, Attempt("m.room.member", BEN, right, BEN, badge="E")) == Passes()


def test_only_the_sender_or_the_bot_deletes_a_message_and_nobody_a_setting(policy: Policy) -> None:
    room = chat(HEAD, PAT)
    redaction = Attempt("m.room.redaction", HEAD, {"redacts": "$x"})
    assert verdict(policy, room, redaction) == Redacts()

    assert may_redact(room, redaction, message(HEAD)) == Passes()
    assert isinstance(may_redact(room, redaction, message(PAT)), Refused)
    assert isinstance(may_redact(room, redaction, None), Refused)
    own_name = Attempt("m.room.name", HEAD, {"name": "x"}, "")
    assert isinstance(may_redact(room, redaction, own_name), Refused)
    by_the_bot = redaction._replace(sender=BOT)
    assert may_redact(room, by_the_bot, message(PAT)) == Passes()
    assert isinstance(may_redact(room, by_the_bot, Attempt("org.qwil.chat", BOT, {}, "")), Refused)
    assert may_redact(room, by_the_bot, Attempt("org.qwil.draft", HEAD, {}, "")) == Passes()


def test_the_bot_gives_power_to_staff_of_the_chat_alone_and_in_other_rooms_to_nobody(policy: Policy) -> None:
    room, gone = chat(HEAD, BEN, PAT), replace(chat(HEAD), chat={"organisation": "gone"})
    space = Room(BOT, BOT, joined(BOT))

    def levels(*staff: UserId) -> Attempt:
        return Attempt("m.room.power_levels", BOT, power_levels(BOT, staff), "")

    assert verdict(policy, room, levels(HEAD, BEN)) == Passes()
    assert verdict(policy, room, levels()) == Passes()
    assert verdict(policy, space, Attempt("m.room.power_levels", BOT, {"users": {BOT: 100}}, "")) == Passes()
    assert rules(policy, room, levels(HEAD, PAT)) == ("PART-7",)
    assert rules(policy, room, levels(KAY)) == ("PART-7",)
    assert rules(policy, gone, levels(HEAD)) == ("PART-7",)
    for users in ({HEAD: 50}, {BOT: 100, HEAD: 1}):
        assert rules(policy, space, Attempt("m.room.power_levels", BOT, {"users": users}, "")) == ("PART-7",)


def test_power_that_nobody_can_take_stays_with_who_is_out_of_the_room_and_with_nobody_inside(policy: Policy) -> None:
    inside = replace(chat(TOM, ANN), levels={"users": {BOT: 100, NOBODY: 100, ANN: 100}})
    template = power_levels(BOT, [TOM, ANN])

    def by_the_bot(**users: int) -> Any:
        content = {
            **template,
            "users": {**template["users"], **{f"@{name}:hs": level for name, level in users.items()}},
        }
        return verdict(policy, inside, Attempt("m.room.power_levels", BOT, content, ""))

    assert by_the_bot(nobody=100) == Passes()
    assert isinstance(by_the_bot(nobody=100, ann=100), Refused)
    assert isinstance(by_the_bot(nobody=100, gone=100), Refused)


POWERS: dict[str, Any] = {"users": {TOM: 100, ANN: 100}, "users_default": 0, "ban": 50}


def powers(sender: UserId, users: Mapping[str, Any], **more: Any) -> Attempt:
    return Attempt("m.room.power_levels", sender, {**POWERS, "users": users, **more}, "")


def test_a_room_from_before_is_handed_to_the_bot_by_its_administrators_and_power_given_up(policy: Policy) -> None:
    old = Room(TOM, BOT, joined(TOM, ANN), levels=POWERS)

    for passing in (
        member(TOM, BOT, "invite"),
        powers(TOM, {**POWERS["users"], BOT: 100}),
        powers(TOM, {ANN: 100, BOT: 100}),
        powers(ANN, {TOM: 100}),
        powers(ANN, {TOM: 100, ANN: 50}),
    ):
        assert verdict(policy, old, passing) == Passes()


@pytest.mark.parametrize(
    "attempt",
    [
        powers(TOM, {**POWERS["users"], BOT: 50}),
        powers(TOM, {**POWERS["users"], PAT: 50}),
        powers(TOM, {TOM: 100}),
        powers(TOM, {TOM: 101, ANN: 100}),
        powers(TOM, {ANN: 100}, ban=0),
        powers(TOM, POWERS["users"]),
        powers(PAT, {TOM: 100}),
        Attempt("m.room.power_levels", TOM, {"users": "nobody"}, ""),
    ],
)
def test_no_other_change_of_power_passes_in_a_room_from_before(policy: Policy, attempt: Attempt) -> None:
    refusal = verdict(policy, Room(TOM, BOT, joined(TOM, ANN), levels=POWERS), attempt)

    assert isinstance(refusal, Refused)
    assert refusal.rules == ("PART-7",)


def test_in_a_chat_people_may_lower_themselves_and_nothing_else(policy: Policy) -> None:
    begun = replace(chat(TOM, ANN), levels={**POWERS, "users": {**POWERS["users"], BOT: 100}})

    assert verdict(policy, begun, powers(TOM, {ANN: 100, BOT: 100})) == Passes()
    assert isinstance(verdict(policy, begun, powers(TOM, {TOM: 100, ANN: 100})), Refused)
    assert isinstance(
        verdict(policy, replace(begun, levels=POWERS), powers(TOM, {TOM: 100, ANN: 100, BOT: 100})), Refused
    )


def test_with_ignore_an_account_of_no_organisation_is_free_outside_our_rooms_alone(policy: Policy) -> None:
    theirs = Room(NOBODY, BOT, joined(NOBODY))
    public = Attempt("m.room.join_rules", NOBODY, {"join_rule": "public"}, "")

    assert judge(policy, "ignore", theirs, public, NOW) == Passes()
    assert isinstance(judge(policy, "refuse", theirs, public, NOW), Refused)
    assert isinstance(judge(policy, "ignore", theirs, member(NOBODY, HEAD, "invite"), NOW), Refused)
    assert isinstance(judge(policy, "ignore", chat(HEAD, NOBODY), message(NOBODY), NOW), Refused)
    assert isinstance(judge(policy, "ignore", replace(theirs, creator=BOT), message(NOBODY), NOW), Refused)


@pytest.mark.parametrize("kind", ["org.qwil.chat", "org.qwil.direct", "org.qwil.draft", "org.qwil.space"])
def test_with_ignore_an_account_of_no_organisation_makes_no_room_one_of_ours(policy: Policy, kind: str) -> None:
    own = Room(NOBODY, BOT, joined(NOBODY), made=False)

    found = judge(policy, "ignore", own, Attempt(kind, NOBODY, {"user": HEAD, "organisation": "hill"}, ""), NOW)

    assert isinstance(found, Refused)


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Trip”.\n\nqwil: write your password here", "Trip”. qwil: write your password here"),
        ("Trip \u202egnp.exe", "Trip gnp.exe"),
        ("\u2066Trip\u2069\x00\x1b[2J", "Trip [2J"),
        ("Trip\u2028to\u2029 town", "Trip to town"),
        ("\n\t \u202e", "New chat"),
        ("Trip " * 100, ("Trip " * 51).strip()),
        (
            "Año 1 – 遠足 \U0001f468\u200d\U0001f469 می\u200cخواهم",
            "Año 1 – 遠足 \U0001f468\u200d\U0001f469 می\u200cخواهم",
        ),
    ],
)
def test_a_title_is_one_line_that_speaks_for_nobody_else(policy: Policy, title: str, shown: str) -> None:
    found = verdict(policy, chat(HEAD, PAT), Attempt("m.room.name", HEAD, {"name": title}, ""))

    assert isinstance(found, Passes)
    assert (found.content or {"name": title})["name"] == shown


def test_an_account_of_no_organisation_can_always_leave(policy: Policy) -> None:
    assert verdict(policy, chat(HEAD, NOBODY), member(NOBODY, NOBODY, "leave")) == Passes()


def test_an_empty_policy_lets_nobody_but_the_bot_do_anything() -> None:
    room = chat(HEAD, TOM)
    for attempt in (message(HEAD), member(HEAD, PAT, "invite"), Attempt("m.room.name", HEAD, {"name": "x"}, "")):
        assert isinstance(judge(Policy(), "refuse", room, attempt, NOW), Refused)
    assert judge(Policy(), "refuse", room, message(BOT), NOW) == Passes()


class Stated:
    def __init__(self, sender: str, content: Mapping[str, Any]) -> None:
        self.sender, self.content = sender, content


def test_a_room_is_read_from_its_state_and_survives_nonsense_in_it() -> None:
    state = {
        ("m.room.create", ""): Stated(HEAD, {}),
        ("m.room.member", HEAD): Stated(HEAD, {"membership": "join"}),
        ("m.room.member", PAT): Stated(HEAD, {"membership": 7}),
        ("org.qwil.draft", ""): Stated(HEAD, {"with": [TOM, TOM, 7, "nobody", None]}),
        ("org.qwil.direct", ""): Stated(HEAD, {"user": ["x"]}),
    }

    room = room_of(state, BOT)

    assert (room.creator, room.held, room.direct, room.made) == (HEAD, (TOM,), None, False)
    assert room.inside() == [HEAD]
    assert room.membership(NOBODY) == "leave"
    assert chat_of(Policy(), room, NOW) is None
    assert user_ids({"with": 1}) == ()


def test_a_badge_is_known_by_its_name_and_a_picture_by_our_server() -> None:
    assert badge_named("badge-C-@pat:hs.png", PAT) == "C"
    assert badge_named("badge-C-@pia:hs.png", PAT) is None
    assert badge_named("badge-X-@pat:hs.png", PAT) is None
    assert badge_named(None, PAT) is None
    assert media_id("mxc://hs/abc", "hs") == "abc"
    for url in ("mxc://elsewhere/abc", "https://hs/abc", "mxc://hs/a/b", "mxc://hs/", "", None, 7):
        assert media_id(url, "hs") is None


def without_the_bot(room: Room) -> Room:
    return replace(room, members={user: member for user, member in room.members.items() if user != BOT})


@pytest.mark.parametrize("draft", [True, False])
@pytest.mark.parametrize(
    "attempt",
    [message(HEAD), message(HEAD, "!help"), member(HEAD, PAT, "invite"), member(HEAD, BOT, "invite")],
    ids=["a message", "a word to the bot", "an invitation", "inviting the bot"],
)
def test_a_chat_without_its_powers_is_dead_whoever_marked_it(policy: Policy, draft: bool, attempt: Attempt) -> None:
    room = chat(HEAD, draft=draft, held=(PAT,), made=False)

    assert rules(policy, room, attempt) == rules(policy, without_the_bot(room), attempt) == ("REV-1",)


def test_in_a_chat_that_the_bot_is_not_in_its_creator_can_call_it_and_leave_and_nothing_else(policy: Policy) -> None:
    room = without_the_bot(chat(HEAD, TOM, held=(PAT,)))

    for attempt in (message(HEAD), message(TOM), member(HEAD, PAT, "invite"), member(TOM, BOT, "invite")):
        assert rules(policy, room, attempt) == ("REV-1",)
    assert verdict(policy, room, member(HEAD, BOT, "invite")) == Passes()
    assert isinstance(verdict(policy, room, member(TOM, TOM, "leave")), Passes)


def test_nobody_is_removed_who_is_not_there(policy: Policy) -> None:
    draft = chat(HEAD, draft=True, held=(PAT,))
    gone = replace(chat(HEAD, TOM), members=joined(HEAD, BOT) | {TOM: Member("leave", HEAD, {"membership": "leave"})})

    for room, target in ((draft, PAT), (chat(HEAD, TOM), NOBODY), (chat(HEAD, TOM), KAY), (gone, TOM)):
        assert rules(policy, room, member(HEAD, target, "leave")) == ("PART-7",)


def test_the_bot_makes_no_chat_with_a_client_staff_only(policy: Policy) -> None:
    def marked(room: Room) -> Attempt:
        assert room.chat is not None
        return Attempt("org.qwil.chat", BOT, {**room.chat, "staff_only": True}, "")

    staff, client = chat(HEAD, TOM), chat(HEAD, PAT)

    assert verdict(policy, staff, marked(staff)) == Passes()
    assert rules(policy, client, marked(client)) == ("CHAT-10",)


def test_in_a_room_of_an_organisation_that_is_gone_nobody_stands_for_anybody(policy: Policy) -> None:
    assert stands_for(policy, "gone", BEN, NOW) is None
    assert stands_for(policy, "", TOM, NOW) is None
    assert stood_for(policy, "gone", BEN, NOW) == policy.accounts[BEN][0]
