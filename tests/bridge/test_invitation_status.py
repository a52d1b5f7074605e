"""What `status` says of invitations: what wants a hand first, and never more than a message holds."""

from __future__ import annotations

from dataclasses import replace

from bridge.arrival.invitation import DAY, Invitation
from bridge.arrival.invitation_status import MOST_LINES, status_of
from policy.model import PersonId

NOW = 1_788_764_400.0


def one(identifier: str) -> Invitation:
    return Invitation(PersonId(f"hill/{identifier}"), f"{identifier}@home.example", NOW, mailed=1, next_mail=NOW + DAY,
                      link_until=NOW + 7 * DAY)  # fmt: skip


def test_each_trouble_is_a_line_of_its_own_and_what_is_well_is_counted() -> None:
    those = [
        one("well"),
        one("gone").closed("declined"),
        replace(one("quiet"), next_mail=None, link_until=NOW - 1),
        replace(one("paper"), mailed=0, letter=True, next_mail=None, link_until=NOW - 1),
        one("lost").perhaps_sent(NOW, 30, "connection lost"),
        one("waits").postponed(NOW, "connection refused"),
        one("typo").returned("550 5.1.1 User unknown"),
        one("in").closed("accepted"),
        one("out").closed("revoked"),
    ]

    assert list(status_of(those, NOW)) == [
        "Invitations: 6 pending, 1 accepted, 1 declined.",
        "- hill/waits: the mail waits for the mail server (connection refused), tried once.",
        "- hill/typo: the mail to typo@home.example came back (550 5.1.1 User unknown); “resend PERSON NEW-ADDRESS”.",
        "- hill/lost: whether the last mail to lost@home.example went out is not known (connection lost); the next one "
        "follows in a day.",
        "- hill/gone has declined; “resend” offers it again.",
        "- hill/quiet did not answer in time; “resend” offers it again.",
        "- hill/paper did not answer in time; “resend” offers it again.",
    ]


def test_four_hundred_mails_that_wait_for_one_server_are_one_line() -> None:
    those = [one(f"p{number}").postponed(NOW, "connection refused") for number in range(400)]

    assert list(status_of(those, NOW)) == [
        "Invitations: 400 pending.",
        "- 400 mails wait for the mail server (connection refused), that to p0@home.example tried once.",
    ]


def test_mails_that_have_not_been_tried_yet_are_counted() -> None:
    due = [replace(one(f"p{number}"), mailed=0, next_mail=NOW) for number in range(399)]
    turn = "turn: config.yaml says how many go out in a minute."

    assert list(status_of(due, NOW))[1:] == [f"- 399 mails wait for their {turn}"]
    assert list(status_of([due[0], one("first").postponed(NOW, "connection refused")], NOW))[1:] == [
        "- hill/first: the mail waits for the mail server (connection refused), tried once.",
        f"- 1 mail waits for its {turn}",
    ]


def test_where_no_mail_goes_out_none_waits_for_its_turn() -> None:
    due = [replace(one(f"p{number}"), mailed=0, next_mail=NOW) for number in range(3)]

    assert list(status_of(due, NOW, mails_go_out=False)) == ["Invitations: 3 pending."]


def test_a_list_too_long_for_a_message_is_cut_with_a_sentence_and_bounces_come_first() -> None:
    quiet = [replace(one(f"q{number}"), next_mail=None, link_until=NOW - 1) for number in range(400)]
    lines = list(status_of([*quiet, one("typo").returned("550")], NOW))

    assert "hill/typo" in lines[1]
    assert lines[-1] == "… and 301 more."
    assert len(lines) == MOST_LINES + 2
    assert len("\n".join(lines).encode()) < 20_000


def test_without_invitations_nothing_is_said() -> None:
    assert list(status_of([], NOW)) == []
