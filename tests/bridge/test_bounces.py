"""Mails that come back: their invitations learn of it, by a mark that nobody can make up, and of nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from email.message import EmailMessage

import pytest

from bridge.arrival.bounce import Bounce, bounce_of, mark_of, return_address
from bridge.arrival.bounce_watch import BounceWatch
from bridge.arrival.inbox import AT_ONCE, LONGEST
from bridge.arrival.invitation import Invitation
from bridge.arrival.ledger import Ledger
from bridge.arrival.post import Smtp
from bridge.config import Bounces, Mail
from bridge.store import Store
from policy.model import PersonId
from tests.bridge.returned_mail import Home, Relay, report

PERSON = PersonId("hillside/p.chan")
FORM = "bounces+{id}@school.example"
MARK = "0123456789abcdef" * 2
TO = return_address(FORM, MARK)
NOW = 1_788_764_400.0


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    server = Home()
    async with server.running():
        yield server


@pytest.fixture
async def ledger(store: Store) -> Ledger:
    ledger = Ledger(store)
    await ledger.load()
    await ledger.put(Invitation(PERSON, "chan@home.example", NOW, mailed=1, next_mail=NOW + 86_400))
    return ledger


def watch(home: Home, store: Store, ledger: Ledger, **more: str) -> BounceWatch:
    mailbox = f"imap://127.0.0.1:{home.imap}/INBOX/Returned"
    settings = {"address": FORM, "mailbox": mailbox, "username": "bounces", "password": "s3cret", **more}
    return BounceWatch(bounces=Bounces(**settings), store=store, ledger=ledger, clock=lambda: NOW)


def invitation(ledger: Ledger) -> Invitation:
    one = ledger.get(PERSON)
    assert one is not None
    return one


def returning(ledger: Ledger) -> str:
    return return_address(FORM, ledger.mark(invitation(ledger)))


def a_mail(to: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Office <office@school.example>", f"Pat <{to}>", "An invitation"
    mail.set_content("Hello")
    return mail


# What a report says


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ({}, "bounced"),
        ({"status": "5.2.2", "said": "552 5.2.2 Mailbox full"}, "bounced"),
        ({"action": "FAILED", "status": "5.1.10 (address)"}, "bounced"),
        ({"status": "4.4.7", "said": "delivery time expired"}, "lost"),
        ({"action": "delayed", "status": "4.4.1", "said": "connect to mx.home.example: timed out"}, "delayed"),
        ({"action": "delayed", "status": "5.0.0"}, "delayed"),
        ({"action": "delivered", "status": "2.1.5"}, None),
        ({"action": "relayed", "status": "2.0.0"}, None),
        ({"status": "nonsense"}, None),
        ({"to": f"Bounces <{TO.upper()}>"}, "bounced"),
        ({"to": "bounces@school.example"}, None),
        ({"to": return_address(FORM, MARK[:-1])}, None),
        ({"to": return_address(FORM, MARK + "0")}, None),
        ({"to": f"x{TO}"}, None),
    ],
)
def test_a_report_says_whether_the_mail_came_back_for_good(told: dict[str, str], outcome: str | None) -> None:
    bounce = bounce_of(report(**{"to": TO, **told}), FORM)

    assert (bounce.outcome if bounce else None) == outcome
    assert bounce is None or bounce.mark == MARK


def test_the_reason_is_what_the_other_server_said_on_one_line() -> None:
    said = "550 5.1.1 <chan@home.example>:\n    User unknown\x07 in relay table"

    assert bounce_of(report(TO, said=said), FORM) == Bounce(
        MARK, "bounced", "550 5.1.1 <chan@home.example>: User unknown in relay table"
    )
    assert bounce_of(report(TO, said="x"), FORM) == Bounce(MARK, "bounced", "5.1.1 x")


def test_the_address_may_stand_in_any_header_that_mailboxes_write() -> None:
    for header in ("Delivered-To", "X-Original-To", "Envelope-To"):
        data = f"{header}: {TO}\r\n".encode() + report("postmaster@school.example")

        assert bounce_of(data, FORM) == bounce_of(report(TO), FORM)


def test_what_is_no_report_says_nothing() -> None:
    away = f"To: {TO}\r\nSubject: I am away\r\n\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    # Inside the mail that came back, which anybody may have written, nothing counts.
    original = report(TO).decode().replace("\r\n", "\n").replace("4B1C2", "inner")
    inside = report(TO, action="delayed", status="4.4.1", original=original)

    assert bounce_of(away.encode(), FORM) is None
    found = bounce_of(inside, FORM)
    assert found is not None
    assert found.outcome == "delayed"


def test_a_report_for_addresses_in_every_script_is_understood() -> None:
    # RFC 6533
    data = report(TO).replace(b"message/delivery-status", b"message/global-delivery-status")

    assert bounce_of(data, FORM) == bounce_of(report(TO), FORM)


@pytest.mark.parametrize("cut", [100, 600, 900])
def test_a_report_cut_off_anywhere_breaks_nothing(cut: int) -> None:
    assert bounce_of(report(TO)[:cut], FORM) is None


def test_the_mark_is_another_one_for_another_address_another_offer_and_another_bridge() -> None:
    one = Invitation(PERSON, "chan@home.example", NOW)
    marks = [
        mark_of(one, b"key"),
        mark_of(Invitation(PERSON, "pat@home.example", NOW), b"key"),
        mark_of(one.anew(NOW + 1, one.email), b"key"),
        mark_of(one, b"other"),
    ]

    assert len(set(marks)) == len(marks)
    assert mark_of(one.sent(NOW, 30).with_link("x", NOW), b"key") == marks[0]


# The way there and back


async def test_a_mail_that_comes_back_hours_later_stops_the_next_and_shows_why(
    home: Home, store: Store, ledger: Ledger
) -> None:
    relay = Relay(home.smtp)
    relay.start()
    relay.nowhere = {"chan@home.example"}
    try:
        post = Smtp(Mail(server=f"smtp://127.0.0.1:{relay.port}"))
        await post.send(a_mail("chan@home.example"), returning(ledger))
    finally:
        relay.stop()
    assert relay.senders == [returning(ledger)]
    bounces = watch(home, store, ledger)

    assert not await bounces.look()

    one = invitation(ledger)
    assert (one.bounced, one.next_mail) == (True, None)
    assert one.trouble == "550 5.1.1 <chan@home.example>: Recipient address rejected: User unknown"
    assert bounces.status_lines() == []


async def test_a_delay_is_shown_as_one_and_the_next_mail_goes_out(home: Home, store: Store, ledger: Ledger) -> None:
    home.put(report(returning(ledger), action="delayed", status="4.4.1", said="connection timed out"))

    await watch(home, store, ledger).look()

    one = invitation(ledger)
    assert (one.bounced, one.next_mail) == (False, NOW + 86_400)
    assert one.trouble == "the mail to chan@home.example is delayed (4.4.1 connection timed out)"


async def test_forged_late_and_repeated_bounces_change_nothing(home: Home, store: Store, ledger: Ledger) -> None:
    old = returning(ledger)
    await ledger.put(invitation(ledger).anew(NOW + 5, "chan@home.example"))
    before = invitation(ledger)
    home.put(report(TO))
    home.put(report(old))
    home.put(report("bounces@school.example"))

    await watch(home, store, ledger).look()

    assert invitation(ledger) == before
    await ledger.put(before.closed("accepted"))
    home.put(report(returning(ledger)))
    await watch(home, store, ledger).look()
    assert invitation(ledger).state == "accepted"
    assert not invitation(ledger).bounced


async def test_the_mailbox_is_only_looked_at_and_other_peoples_mails_are_not_read(
    home: Home, store: Store, ledger: Ledger
) -> None:
    home.put(b"To: office@school.example\r\nSubject: My son is ill\r\n\r\nPrivate\r\n")
    home.put(report(returning(ledger)))

    await watch(home, store, ledger).look()

    assert {words.split()[0] for words in home.heard} == {"CAPABILITY", "LOGIN", "EXAMINE", "UID", "LOGOUT"}
    assert not [words for words in home.heard if "STORE" in words or "BODY[" in words]
    whole = [words.split()[2] for words in home.heard if words.startswith("UID FETCH") and f"<0.{LONGEST}>" in words]
    assert whole == ["2"]
    assert invitation(ledger).bounced


async def test_each_mail_is_read_once_also_over_a_restart_and_none_is_passed_over(
    home: Home, store: Store, ledger: Ledger
) -> None:
    await watch(home, store, ledger).look()
    home.put(b"To: office@school.example\r\n\r\n")
    await watch(home, store, ledger).look()
    home.heard.clear()

    await watch(home, store, ledger).look()

    assert not [words for words in home.heard if words.startswith("UID FETCH")]
    home.put(report(returning(ledger)))
    await watch(home, store, ledger).look()
    assert invitation(ledger).bounced


async def test_a_mailbox_that_was_made_anew_is_read_from_its_beginning(
    home: Home, store: Store, ledger: Ledger
) -> None:
    for _ in range(3):
        home.put(b"To: office@school.example\r\n\r\n")
    await watch(home, store, ledger).look()
    home.validity, home.mails = 2, {1: report(returning(ledger))}

    await watch(home, store, ledger).look()

    assert invitation(ledger).bounced


async def test_many_mails_are_read_in_turns(home: Home, store: Store, ledger: Ledger) -> None:
    for _ in range(AT_ONCE):
        home.put(b"To: office@school.example\r\n\r\n")
    home.put(report(returning(ledger)))
    bounces = watch(home, store, ledger)

    assert await bounces.look()
    assert not invitation(ledger).bounced
    assert not await bounces.look()
    assert invitation(ledger).bounced


async def test_a_mail_that_breaks_its_reader_keeps_back_no_other(
    home: Home, store: Store, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = bounce_of

    def breaks(data: bytes, form: str) -> Bounce | None:
        assert b"odd" not in data
        return real(data, form)

    monkeypatch.setattr("bridge.arrival.bounce_watch.bounce_of", breaks)
    home.put(f"To: {returning(ledger)}\r\n\r\nodd\r\n".encode())
    home.put(report(returning(ledger)))

    await watch(home, store, ledger).look()

    assert invitation(ledger).bounced


async def test_a_mailbox_that_cannot_be_read_shows_in_words_without_the_password(
    home: Home, store: Store, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = watch(home, store, ledger, password="hush-hush")
    elsewhere = watch(home, store, ledger, mailbox=f"imap://127.0.0.1:{home.imap}/Sent")
    home.put(report(returning(ledger)))

    assert not await wrong.look()
    assert not await elsewhere.look()

    said = "Mails that come back cannot be read just now: "
    assert wrong.status_lines() == [f"{said}[AUTHENTICATIONFAILED] Authentication failed."]
    assert elsewhere.status_lines() == [f"{said}[NONEXISTENT] Mailbox does not exist"]
    assert "hush-hush" not in caplog.text
    home.password = "hush-hush"
    await wrong.look()
    assert wrong.status_lines() == []
    assert invitation(ledger).bounced


async def test_a_mailbox_that_is_away_is_tried_again(home: Home, store: Store, ledger: Ledger) -> None:
    away = watch(home, store, ledger, mailbox="imap://127.0.0.1:9/INBOX")

    assert not await away.look()

    assert "Connection refused" in away.status_lines()[0]


async def test_a_mailbox_that_answers_like_none_is_looked_at_again(
    home: Home, store: Store, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.arrival.bounce_watch.EVERY", 0.0)
    bounces, twice = watch(home, store, ledger), asyncio.Event()
    calls = []

    async def odd() -> bool:
        calls.append(bounces.status_lines())
        if len(calls) > 1:
            twice.set()
        raise TypeError("out of the blue")

    monkeypatch.setattr(bounces, "look", odd)
    running = asyncio.create_task(bounces.run())
    async with asyncio.timeout(60):
        await twice.wait()
    running.cancel()

    assert calls[:2] == [[], ["Mails that come back cannot be read just now: the log of the bridge says why"]]


async def test_without_a_mailbox_nothing_is_read_and_without_an_address_that_is_said(
    store: Store, ledger: Ledger
) -> None:
    for bounces in (Bounces(), Bounces(mailbox="imap://127.0.0.1:9/INBOX")):
        idle = BounceWatch(bounces=bounces, store=store, ledger=ledger)
        async with asyncio.timeout(60):
            await idle.run()

    assert idle.status_lines() == [
        "Mails that come back are not read: config.yaml names no address for them (bounces: address)."
    ]
