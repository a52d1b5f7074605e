"""The mail itself: whatever stands in names and notes, its headers say what they should and nothing else."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.arrival.invitation import LONGEST_NOTE
from bridge.arrival.mail import LONGEST_NAME, Letterhead, invitation_mail, one_line
from bridge.arrival.post import Bounced, NotSent, Smtp
from bridge.config import Mail
from policy.model import Membership, Organisation, PersonId
from tests.homeserver.mailbox import Mailbox, text_of

HILLSIDE = Organisation("hillside", "Hillside Primary")
PAT = Membership(
    PersonId("hillside/p.chan"), "hillside", "p.chan", "Pat Chan", "client", None, frozenset({"year-1"}), "invited",
    email="chan@home.example",
)  # fmt: skip
NAMES = [
    "Pat Chan", "Anne-Marie O'Neill",
    "王小明", "ليلى حداد", "Müller, Jörg", "Πηνελόπη Παπαδοπούλου", "ที่รัก", "👩‍🏫 Éloïse",
]  # fmt: skip
NO_ADDRESSES = ["pat.@h.example", "pät@h.example", "p..c@h.example", "p@[192.0.2.1]", "p\x7fc@h.example"]
HEADERS = ["Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
           "Content-Language"]  # fmt: skip
TREACHEROUS = st.text(
    st.one_of(
        st.sampled_from(" ,;:<>()[]@\"\\'.=?_-\t\r\n\x85\u2028\u202e\u200b👩\u200d🏫ﬁ王ل"),
        st.characters(codec="utf-8"),
    ),
    max_size=200,
) | st.lists(
    st.sampled_from(["=?utf-8?q?evil?=", "<x@evil.example>", "\r\nBcc: a@b", ", ", "a" * 30, "é", "王小明", " "]),
    max_size=12,
).map("".join)


def written(*, name: str = "Pat Chan", organisation: str = "Hillside Primary", note: str = "", **more: str) -> bytes:
    return invitation_mail(
        Letterhead(replace(HILLSIDE, name=organisation), "Office <office@hillside.example>", None),
        PAT._replace(name=name, **more),
        link="https://chat.example/invitation/x",
        until=1_788_764_400.0,
        note=note,
        now=1_788_764_400.0,
        occasion="x",
    ).as_bytes()


def header(raw: bytes, name: str) -> str:
    """One header as mail programs read it (RFC 2047)."""
    head = raw.partition(b"\r\n\r\n")[0].decode("ascii").replace("\r\n ", " ")
    (line,) = [line for line in head.split("\r\n") if line.startswith(f"{name}: ")]
    return line.partition(": ")[2]


def shown(raw: bytes, name: str) -> str:
    return str(make_header(decode_header(header(raw, name).rpartition(" <")[0])))


def test_a_sender_called_like_the_organisation_is_named_once() -> None:
    assert shown(written(), "From") == "Hillside Primary (Office)"
    assert shown(written(organisation="Office"), "From") == "Office"


@settings(max_examples=300)
@given(name=TREACHEROUS, organisation=TREACHEROUS)
def test_a_name_names_and_does_nothing_else(name: str, organisation: str) -> None:
    raw = written(name=name, organisation=organisation, note=name)

    read = message_from_bytes(raw, policy=policy.default)
    assert list(read.keys()) == HEADERS
    assert [address.addr_spec for address in read["To"].addresses] == ["chan@home.example"]
    assert [address.addr_spec for address in read["From"].addresses] == ["office@hillside.example"]
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert shown(raw, "To").strip() == one_line(name)[:LONGEST_NAME].strip()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_any_script_is_readable_in_header_and_body(name: str) -> None:
    raw = written(name=name, job_title=f"{name}, Year 1", note=f"To {name}")

    assert raw.isascii()
    assert shown(raw, "To") == name
    read = message_from_bytes(raw, policy=policy.default)
    assert isinstance(read, EmailMessage)
    for kind in ("plain", "html"):
        assert text_of(read, kind).count(name) >= 3 or "'" in name


def test_a_note_of_the_longest_length_stands_in_it_whole_and_as_text() -> None:
    note = ("<b>Hello</b> & “welcome”\n" * LONGEST_NOTE)[:LONGEST_NOTE]
    read = message_from_bytes(written(note=note), policy=policy.default)
    assert isinstance(read, EmailMessage)

    assert note.strip() in text_of(read).replace("\r\n", "\n")
    assert "&lt;b&gt;Hello&lt;/b&gt; &amp; “welcome”" in text_of(read, "html")
    assert "<b>" not in text_of(read, "html")


def test_every_line_fits_and_paragraphs_stand_apart() -> None:
    read = message_from_bytes(written(note="Hi", job_title="Mia, Year 1"), policy=policy.default)
    assert isinstance(read, EmailMessage)
    text = text_of(read).replace("\r\n", "\n")

    assert "\n\nThe invitation is about: Mia, Year 1\n\nA note from Hillside Primary:\n\nHi\n\nLook at" in text


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_an_address_that_mail_servers_do_not_know_is_refused_before_they_are_asked(address: str) -> None:
    with pytest.raises(Bounced, match="mail servers know no such address"):
        written(email=address)


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        ("550 5.1.1 No such mailbox", Bounced),
        ("550 No such mailbox", Bounced),
        ("552 5.2.2 Mailbox full", Bounced),
        ("550 5.7.1 Relaying denied", NotSent),
        ("554 5.7.0 Your address is on a list", NotSent),
        ("530 Authentication required", NotSent),
        ("553 5.5.4 Sender not owned by user", NotSent),
        ("450 4.2.0 Greylisted, try again in five minutes", NotSent),
        ("421 4.3.2 Too many connections", NotSent),
    ],
)
async def test_only_what_a_mail_server_says_of_the_address_makes_a_bounce_of_it(
    answer: str, trouble: type[Exception]
) -> None:
    mailbox = Mailbox()
    mailbox.refused = {"chan@home.example": answer}
    mailbox.start()
    mail = message_from_bytes(written(), policy=policy.default)
    assert isinstance(mail, EmailMessage)
    try:
        with pytest.raises(trouble, match=answer.split(" ", 1)[1].split()[-1]):
            await Smtp(Mail(server=f"smtp://127.0.0.1:{mailbox.port}")).send(mail)
    finally:
        mailbox.stop()
