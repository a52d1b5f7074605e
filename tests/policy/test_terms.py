"""Who has to accept new terms, and what they are told (TRM-1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy.judge import Passes, Refused, judge
from policy.model import PersonId, Policy, UserId
from policy.parse import parse
from policy.room import Attempt, Member, Room
from policy.terms import Owed, Unread, owed_file, owed_objection, owed_text, owing
from policy.terms_file import OwedFile

CHAN = UserId("@chan:qwil.test")
HEAD = PersonId("hillside/head")
BOT = UserId("@qwil:qwil.test")
POLICY = """\
organisations:
  hillside:
    name: Hillside Primary
    mobile: optional
    terms: {version: "2", link: "https://hillside.example/terms"}
    people:
      head: {name: Helen Head, role: staff, admin: system, email: head@hillside.example, matrix: "@head:qwil.test"}
      chan: {name: Pat Chan, role: client, email: chan@home.example, matrix: "@chan:qwil.test"}
    books:
      year-1: {name: Year 1, members: [head, chan]}
"""


@pytest.fixture
def policy() -> Policy:
    found = parse(POLICY.encode(), lambda _: b"", name="policy.yaml")
    assert isinstance(found, Policy)
    return found


def test_whoever_owes_an_answer_is_refused_with_the_link_and_nobody_else_is(policy: Policy) -> None:
    owed = owing(b'["hillside/chan"]')

    objection = owed_objection(policy, owed, "hillside", CHAN, 0.0)

    assert objection is not None
    assert objection.rule == "TRM-1"
    assert objection.text == (
        "Hillside Primary has new terms. Read them at https://hillside.example/terms and write “accept” in your chat "
        "with the bot first."
    )
    assert owed_objection(policy, owed, "hillside", UserId("@head:qwil.test"), 0.0) is None
    assert owed_objection(policy, owed, "elsewhere", CHAN, 0.0) is None
    assert owed_objection(policy, owed, None, CHAN, 0.0) is None


def test_whoever_owes_both_sets_is_told_of_both_and_who_owes_the_platforms_alone_of_that(policy: Policy) -> None:
    oakfield = Unread("Oakfield Chat", "https://oakfield.example/terms")
    owed = Owed(frozenset({PersonId("hillside/chan")}), frozenset({PersonId("hillside/chan"), HEAD}), oakfield)

    objections = [owed_objection(policy, owed, "hillside", user, 0.0) for user in (CHAN, UserId("@head:qwil.test"))]

    assert [one.text for one in objections if one] == [
        "Oakfield Chat and Hillside Primary have new terms. Read them at https://oakfield.example/terms and at "
        "https://hillside.example/terms and write “accept” in your chat with the bot first.",
        "Oakfield Chat has new terms. Read them at https://oakfield.example/terms and write “accept” in your chat with "
        "the bot first.",
    ]


def test_what_is_written_of_who_owes_an_answer_is_read_again() -> None:
    chan = frozenset({PersonId("hillside/chan")})
    every = [
        Owed(),
        Owed(chan),
        Owed(frozenset(), chan, Unread("Oakfield Chat", "")),
        Owed(chan, chan | {HEAD}, Unread("Oakfield “Chat”", "https://oakfield.example/terms")),
    ]

    assert [owing(owed_text(owed).encode()) for owed in every] == every
    assert [bool(owed) for owed in every] == [False, True, True, True]
    assert [HEAD in owed for owed in every] == [False, False, False, True]


NO_FILES = [b"{}", b"[1]", b"[", b"\xff", b'"hillside/chan"', b'{"organisations": [], "platform": 1}',
            b'{"organisations": [], "platform": [], "platform_name": 1}']  # fmt: skip


@pytest.mark.parametrize("text", NO_FILES)
def test_a_file_that_is_no_list_is_no_answer(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own and ours alike
        owing(text)


def test_the_file_is_followed_and_one_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    file = Path(owed_file(str(policy)))
    owed = OwedFile(policy)
    owed.load()
    assert owed.people == Owed()

    file.write_text('["hillside/chan"]')
    owed.load()
    assert owed.people == Owed(frozenset({PersonId("hillside/chan")}))
    file.write_text("half of it [")
    owed.load()
    assert owed.people == Owed(frozenset({PersonId("hillside/chan")}))
    file.unlink()
    owed.load()
    assert owed.people == Owed()


def direct_chat(user: UserId, membership: str) -> Room:
    """The direct chat that the bot opened for an account."""
    members = {BOT: Member("join", BOT, {}), user: Member(membership, BOT, {})}
    return Room(creator=BOT, bot=BOT, members=members, direct=user)


def test_an_account_of_no_organisation_may_answer_the_bot_by_entering_its_own_direct_chat_and_do_nothing_there(
    policy: Policy,
) -> None:
    stranger, other = UserId("@stranger:qwil.test"), UserId("@other:qwil.test")

    def verdict(room: Room, sender: UserId, kind: str, key: str | None = None, **content: str) -> object:
        return judge(policy, "refuse", room, Attempt(kind, sender, content, key), 0.0)

    invited = direct_chat(stranger, "invite")
    entering = verdict(invited, stranger, "m.room.member", stranger, membership="join")
    assert isinstance(entering, Passes)
    others = [
        verdict(invited, other, "m.room.member", other, membership="join"),
        verdict(invited, stranger, "m.room.member", other, membership="join"),
        verdict(invited, stranger, "m.room.member", other, membership="invite"),
        verdict(direct_chat(stranger, "leave"), stranger, "m.room.member", stranger, membership="join"),
        verdict(direct_chat(stranger, "join"), stranger, "m.room.member", stranger, membership="join"),
        verdict(direct_chat(stranger, "join"), stranger, "m.room.message", body="hello"),
        verdict(direct_chat(stranger, "join"), stranger, "m.room.name", "", name="mine"),
    ]
    assert all(isinstance(one, Refused) for one in others)
