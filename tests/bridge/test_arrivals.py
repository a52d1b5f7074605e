"""What goes on by itself about invitations: a mail a day, the newest link alone, nobody twice, patience."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest

from bridge import config
from bridge.arrival.arrivals import SERVER_AWAY, Arrivals
from bridge.arrival.broadcast import Broadcasts
from bridge.arrival.invitation import DAY, Invitation, token_hash
from bridge.arrival.ledger import Ledger
from bridge.arrival.post import Away, Bounced, Carrier, NotSent, Smtp, Uncertain, carrier_for
from bridge.arrival.terms import TermsKept
from bridge.arrival.welcome import Welcomes
from bridge.config import Mail
from bridge.policy_file import PolicySource
from bridge.store import Store
from policy.model import PersonId
from tests.homeserver.mailbox import Mailbox, link_in, text_of

PERSON = PersonId("hillside/p.chan")
POLICY = """\
organisations:
  hillside:
    name: Hillside Primary
    mobile: optional
    invitations: {link_days: 7, mail_days: %(days)d}
    people:
      head: {name: Helen Head, role: staff, admin: system, email: head@hillside.example, matrix: "@head:qwil.test"}
      p.chan: {name: %(name)s, role: client, email: %(email)s, status: %(status)s}
    books:
      year-1: {name: Year 1, members: [head, p.chan]}
"""
CONFIG = """\
homeserver: {address: "http://127.0.0.1:1", server_name: qwil.test}
mail: {server: "file:mail", sender: "Office <office@hillside.example>", per_minute: 60}
web: {address: "http://127.0.0.1:9"}
"""


class Idle:
    """Stands for what has nothing to do in these tests."""

    async def work(self) -> bool:
        return False


class Postbag:
    """Takes mails, or fails as it is told."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.return_addresses: list[str] = []
        self.trouble: Exception | None = None
        self.on_the_way: Callable[[], Awaitable[None]] | None = None

    async def send(self, mail: EmailMessage, returns_to: str = "") -> None:
        self.return_addresses.append(returns_to)
        if self.on_the_way is not None:
            await self.on_the_way()
        if isinstance(self.trouble, NotSent | Bounced | ValueError):
            raise self.trouble
        self.mails.append(mail)
        if self.trouble is not None:
            raise self.trouble

    def links(self) -> list[str]:
        return [link_in(mail) for mail in self.mails]


class Office:
    """A bridge's invitations on a clock of their own."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.now = 1_800_000_000.0
        self.folder = folder
        self.store = store
        self.bag = Postbag()
        self.carrier: Carrier = self.bag
        (folder / "config.yaml").write_text(CONFIG)
        self.settings = config.load(folder / "config.yaml")
        self.source = PolicySource(folder / "policy.yaml")
        self.save()

    def save(self, **words: Any) -> None:
        filled = {"days": 30, "name": "Pat Chan", "email": "chan@home.example", "status": "invited", **words}
        (self.folder / "policy.yaml").write_text(POLICY % filled)
        self.source = PolicySource(self.folder / "policy.yaml")
        self.source.load()

    async def started(self) -> Arrivals:
        """A bridge that has just started on this record."""
        self.ledger = Ledger(self.store)
        await self.ledger.load()
        arrivals = Arrivals(
            source=self.source,
            ledger=self.ledger,
            carrier=self.carrier,
            welcomes=cast(Welcomes, Idle()),
            broadcasts=cast(Broadcasts, Idle()),
            terms=cast(TermsKept, Idle()),
            config=self.settings,
            clock=lambda: self.now,
        )
        await arrivals.recover()
        return arrivals

    @property
    def invitation(self) -> Invitation:
        found = self.ledger.get(PERSON)
        assert found is not None
        return found

    def standing(self, link: str) -> str:
        return self.invitation.standing(token_hash(link.rpartition("/")[2]), self.now)


@pytest.fixture
async def office(tmp_path: Path, store: Store) -> Office:
    return Office(tmp_path, store)


async def test_a_mail_goes_out_every_day_for_the_days_of_the_organisation_and_the_newest_link_alone_works(
    office: Office,
) -> None:
    office.save(days=3)
    arrivals = await office.started()
    for _ in range(10):
        await arrivals.work()
        await arrivals.work()
        office.now += DAY

    links = office.bag.links()
    office.now -= 8 * DAY

    assert len(set(links)) == len(links) == 3
    assert [office.standing(link) for link in links] == ["replaced", "replaced", "open"]
    office.now += 8 * DAY
    assert office.standing(links[-1]) == "expired"


async def test_thirty_mails_at_the_most_unless_set(office: Office) -> None:
    arrivals = await office.started()
    for _ in range(40):
        await arrivals.work()
        office.now += DAY

    assert len(office.bag.mails) == 30


async def test_after_a_restart_nobody_is_mailed_again(office: Office) -> None:
    arrivals = await office.started()
    await arrivals.work()

    for _ in range(3):
        arrivals = await office.started()
        await arrivals.work()

    assert len(office.bag.mails) == 1


async def test_a_mail_that_was_on_its_way_when_the_bridge_was_killed_is_not_sent_again_and_its_link_works(
    office: Office,
) -> None:
    class KilledError(BaseException):
        pass

    async def killed() -> None:
        raise KilledError

    arrivals = await office.started()
    sent: list[str] = []
    real = arrivals.link
    arrivals.link = lambda token: sent.append(real(token)) or sent[-1]  # type: ignore[method-assign, func-returns-value]
    office.bag.on_the_way = killed
    with pytest.raises(KilledError):
        await arrivals.work()
    office.bag.on_the_way = None

    arrivals = await office.started()
    await arrivals.work()

    assert office.bag.mails == []
    assert office.standing(sent[0]) == "open"
    office.now += DAY
    await arrivals.work()
    assert len(office.bag.mails) == 1


async def test_administrators_are_told_of_the_page_and_the_mail_server_that_are_missing_at_once(office: Office) -> None:
    office.settings = replace(office.settings, web=replace(office.settings.web, address=""))
    office.carrier = cast(Carrier, None)
    arrivals = await office.started()
    await arrivals.work()

    assert (
        "Nobody is invited: config.yaml names no page (web: address)."
        " Nobody is mailed: config.yaml names no mail server (mail: server)."
    ) in list(arrivals.status_lines(["hillside"]))


async def test_while_the_mail_server_is_away_the_link_before_goes_on_working_and_the_mail_follows(
    office: Office,
) -> None:
    arrivals = await office.started()
    await arrivals.work()
    office.now += DAY
    office.bag.trouble = NotSent("connection refused")
    await arrivals.work()

    assert office.standing(office.bag.links()[0]) == "open"
    assert any("connection refused" in line for line in arrivals.status_lines(["hillside"]))
    office.bag.trouble = None
    office.now += 31
    await arrivals.work()
    assert len(office.bag.mails) == 2
    assert not any("connection refused" in line for line in arrivals.status_lines(["hillside"]))


async def test_a_mail_server_that_is_away_is_not_called_for_each_of_four_hundred(office: Office) -> None:
    office.bag.trouble = Away("connection refused")
    arrivals = await office.started()

    await arrivals.work()
    head = office.source.policy.people[PersonId("hillside/head")]
    await arrivals.resend(head._replace(id=PERSON, status="invited", email="chan@home.example"))
    for _ in range(5):
        assert await arrivals.work() > 20
        office.now += 1

    assert len(office.bag.return_addresses) == 1
    office.now += SERVER_AWAY
    await arrivals.work()
    assert len(office.bag.return_addresses) == 2


async def test_pauses_grow_while_the_mail_server_is_away(office: Office) -> None:
    office.bag.trouble = NotSent("away")
    arrivals = await office.started()
    pauses = []
    for _ in range(8):
        await arrivals.work()
        pauses.append((office.invitation.next_mail or 0) - office.now)
        office.now = office.invitation.next_mail or 0

    assert pauses == [30, 60, 120, 300, 900, 1800, 1800, 1800]


async def test_a_bounced_address_is_mailed_again_only_when_it_was_corrected(office: Office) -> None:
    office.bag.trouble = Bounced("550 No such mailbox")
    arrivals = await office.started()
    await arrivals.work()
    office.now += 3 * DAY
    office.bag.trouble = None
    await arrivals.work()

    assert office.bag.mails == []
    assert any("550 No such mailbox" in line for line in arrivals.status_lines(["hillside"]))
    assert not list(arrivals.status_lines(["riverside"]))
    office.save(email="pat@home.example")
    arrivals = await office.started()
    await arrivals.work()
    assert [str(mail["To"]) for mail in office.bag.mails] == ["Pat Chan <pat@home.example>"]


async def test_whether_a_mail_arrived_is_not_found_out_by_sending_it_twice(office: Office) -> None:
    office.bag.trouble = Uncertain("connection lost")
    arrivals = await office.started()
    await arrivals.work()
    office.bag.trouble = None
    await arrivals.work()

    assert len(office.bag.mails) == 1
    assert office.standing(office.bag.links()[0]) == "open"
    assert list(arrivals.status_lines(["hillside"]))[1:] == [
        "- hillside/p.chan: whether the last mail to chan@home.example went out is not known (connection lost); "
        "the next one follows in a day."
    ]
    office.now += DAY
    await arrivals.work()
    assert len(office.bag.mails) == 2
    assert len(list(arrivals.status_lines(["hillside"]))) == 1


async def test_a_letter_printed_while_a_mail_is_on_its_way_is_not_made_old_by_a_mail(office: Office) -> None:
    arrivals = await office.started()
    printed = []

    async def printing() -> None:
        letter = arrivals.printed_link(office.invitation)
        await arrivals.adopt(letter)
        printed.append(letter.address)

    office.bag.on_the_way = printing
    await arrivals.work()
    office.bag.on_the_way = None
    office.now += DAY
    await arrivals.work()

    assert len(office.bag.mails) == 1
    assert office.standing(printed[0]) == "open"


@pytest.mark.parametrize("address", ["pat.@home.example", "p..chan@home.example", "pät@home.example", "p@[192.0.2.1]"])
async def test_an_address_that_is_none_shows_as_such_and_keeps_nobody_else_from_their_mail(
    office: Office, address: str
) -> None:
    text = (office.folder / "policy.yaml").read_text()
    odd = f'      a.odd: {{name: Al Odd, role: client, email: "{address}", status: invited}}\n      p.chan:'
    text = text.replace("      p.chan:", odd).replace("[head, p.chan]", "[head, a.odd, p.chan]")
    (office.folder / "policy.yaml").write_text(text)
    office.source.load()
    arrivals = await office.started()

    await arrivals.work()
    office.now += 60
    await arrivals.work()

    assert [mail["To"].addresses[0].addr_spec for mail in office.bag.mails] == ["chan@home.example"]
    assert [line for line in arrivals.status_lines(["hillside"]) if address in line and "RESEND" in line.upper()]


async def test_a_mail_that_cannot_be_made_or_sent_for_an_unknown_reason_keeps_nobody_else_from_theirs(
    office: Office,
) -> None:
    office.bag.trouble = ValueError("out of the blue")
    arrivals = await office.started()

    await arrivals.work()

    assert not office.invitation.sending
    assert "the log of the bridge says why" in list(arrivals.status_lines(["hillside"]))[1]


async def test_a_domain_in_any_script_is_mailed_as_mail_servers_know_it(office: Office) -> None:
    office.save(email="chan@straße.example")
    arrivals = await office.started()
    await arrivals.work()

    assert office.bag.mails[0]["To"].addresses[0].addr_spec == "chan@xn--strae-oqa.example"


async def test_each_mail_comes_back_to_an_address_that_tells_the_invitation_and_nothing_of_the_link(
    office: Office,
) -> None:
    office.settings = config.parse(CONFIG + "bounces: {address: 'b+{id}@hillside.example'}\n", office.folder / "c.yaml")
    arrivals = await office.started()
    await arrivals.work()
    (address,) = office.bag.return_addresses
    token = office.bag.links()[0].rpartition("/")[2]

    assert office.ledger.with_mark(address[2:34]) == office.invitation
    assert address == f"b+{address[2:34]}@hillside.example"
    assert token not in address
    assert token_hash(token)[:32] not in address
    again = await office.started()
    office.now += DAY
    await again.work()
    assert office.bag.return_addresses == [address, address]


@pytest.mark.parametrize("status", ["active", "left"])
async def test_whoever_is_invited_no_more_is_not_mailed_and_the_link_is_dead(office: Office, status: str) -> None:
    arrivals = await office.started()
    await arrivals.work()
    office.save(status=status)
    arrivals = await office.started()
    office.now += DAY
    await arrivals.work()

    assert len(office.bag.mails) == 1
    assert office.standing(office.bag.links()[0]) == ("accepted" if status == "active" else "revoked")


async def test_a_mail_that_arrives_after_the_invitation_was_settled_changes_nothing(office: Office) -> None:
    arrivals = await office.started()

    async def declined() -> None:
        await office.ledger.put(office.invitation.closed("declined"))

    office.bag.on_the_way = declined
    await arrivals.work()

    assert office.invitation.state == "declined"
    assert office.invitation.next_mail is None


async def test_who_declines_while_the_mail_server_takes_the_mail_has_declined(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrivals = await office.started()
    write, writing, one_by_one = office.store.remember, asyncio.Event(), asyncio.Lock()
    declining: list[asyncio.Task[Invitation | None]] = []

    async def slowly(key: str, value: Any) -> None:
        async with one_by_one:
            writing.set()
            for _ in range(10):
                await asyncio.sleep(0)
            await write(key, value)

    async def declines() -> None:
        monkeypatch.setattr(office.store, "remember", slowly)
        declining.append(asyncio.create_task(office.ledger.change(PERSON, Invitation.declined)))
        await writing.wait()

    office.bag.on_the_way = declines
    await arrivals.work()
    await declining[0]

    assert (office.invitation.state, office.invitation.next_mail) == ("declined", None)
    await office.started()
    assert office.invitation.state == "declined"


async def test_so_many_mails_a_minute_and_no_more(office: Office) -> None:
    arrivals = await office.started()

    assert await arrivals.work() == 1.0
    assert await arrivals.work() == 60.0


async def test_the_rate_holds_whoever_is_in_a_hurry_and_whatever_else_is_done_meanwhile(office: Office) -> None:
    class Busy(Idle):
        async def work(self) -> bool:
            return True

    arrivals = await office.started()
    arrivals._broadcasts = cast(Broadcasts, Busy())
    head = office.source.policy.people[PersonId("hillside/head")]
    for _ in range(30):
        await arrivals.resend(head._replace(id=PERSON, status="invited", email="chan@home.example"))
        assert await arrivals.work() == 0.0
        office.now += 0.5

    # A mail a second, for fifteen seconds.
    assert len(office.bag.mails) == 15


async def test_what_fails_beside_the_mails_does_not_keep_them_back(office: Office) -> None:
    class Failing(Idle):
        async def work(self) -> bool:
            raise ValueError("out of the blue")

    arrivals = await office.started()
    arrivals._welcomes = cast(Welcomes, Failing())

    await arrivals.work()

    assert len(office.bag.mails) == 1


async def test_a_row_that_was_gone_by_mistake_goes_on_where_it_was(office: Office) -> None:
    arrivals = await office.started()
    await arrivals.work()
    whole = (office.folder / "policy.yaml").read_text()
    lines = [line for line in whole.splitlines() if "Pat Chan" not in line]
    (office.folder / "policy.yaml").write_text("\n".join(lines).replace("[head, p.chan]", "[head]") + "\n")
    office.source.load()
    await arrivals.work()
    assert office.standing(office.bag.links()[0]) == "revoked"

    (office.folder / "policy.yaml").write_text(whole)
    office.source.load()
    office.now += 60
    await arrivals.work()

    assert len(office.bag.mails) == 1
    assert office.standing(office.bag.links()[0]) == "open"
    office.now += DAY
    await arrivals.work()
    assert len(office.bag.mails) == 2


async def test_whoever_is_invited_again_after_a_revocation_gets_a_fresh_link_at_once_and_the_old_one_stays_dead(
    office: Office,
) -> None:
    arrivals = await office.started()
    await arrivals.work()
    office.save(status="left")
    arrivals = await office.started()
    await arrivals.work()
    office.save(status="invited")
    arrivals = await office.started()

    await arrivals.work()

    assert [office.standing(link) for link in office.bag.links()] == ["replaced", "open"]


async def test_whoever_is_invited_anew_with_a_word_is_mailed_at_once_with_the_new_note(office: Office) -> None:
    arrivals = await office.started()
    await arrivals.work()
    whole = (office.folder / "policy.yaml").read_text()
    without = "\n".join(line for line in whole.splitlines() if "Pat Chan" not in line).replace(
        "[head, p.chan]", "[head]"
    )
    (office.folder / "policy.yaml").write_text(without + "\n")
    office.source.load()
    office.now += 60
    await arrivals.work()

    await office.ledger.keep_note(PERSON, "Good to see you again")
    (office.folder / "policy.yaml").write_text(whole)
    office.source.load()
    await arrivals.work()

    assert [office.standing(link) for link in office.bag.links()] == ["replaced", "open"]
    assert "Good to see you again" in text_of(office.bag.mails[1])


async def test_a_sender_from_nowhere_is_said(office: Office) -> None:
    server = "mail: {server: 'smtp://127.0.0.1:9'}"
    office.settings = config.parse(re.sub("mail: .*", server, CONFIG), office.folder / "config.yaml")
    arrivals = await office.started()
    await arrivals.follow_policy()

    assert any("Mails come from qwil <noreply@localhost>" in line for line in arrivals.status_lines(["hillside"]))


async def test_the_days_are_counted_also_while_the_mail_server_was_away(office: Office) -> None:
    office.save(days=3)
    office.bag.trouble = NotSent("away")
    arrivals = await office.started()
    await arrivals.work()
    office.now += 5 * DAY
    office.bag.trouble = None
    await arrivals.work()
    office.now += DAY
    await arrivals.work()

    # Whoever got none gets one; what was to follow is over.
    assert len(office.bag.mails) == 1


async def test_a_mail_in_hand_at_a_kill_is_followed_also_where_the_policy_is_broken_at_the_start(
    office: Office,
) -> None:
    arrivals = await office.started()
    await arrivals.work()
    await office.ledger.put(replace(office.invitation, sending=True))
    good = (office.folder / "policy.yaml").read_text()
    (office.folder / "policy.yaml").write_text("organisatoins: {}\n")
    office.source = PolicySource(office.folder / "policy.yaml")
    office.source.load()

    await office.started()

    assert office.invitation.next_mail == office.now + DAY
    (office.folder / "policy.yaml").write_text(good)


async def test_while_no_policy_is_in_force_nothing_becomes_of_anybody(office: Office) -> None:
    arrivals = await office.started()
    await arrivals.work()
    (office.folder / "policy.yaml").write_text("organisatoins: {}\n")
    office.source = PolicySource(office.folder / "policy.yaml")
    office.source.load()
    arrivals = await office.started()
    before = office.invitation
    office.now += 2 * DAY

    await arrivals.work()

    assert office.invitation == before


async def test_a_letter_has_its_own_link_and_no_mail_takes_its_place(office: Office) -> None:
    arrivals = await office.started()
    await arrivals.work()
    letter = arrivals.printed_link(office.invitation)
    assert office.standing(office.bag.links()[0]) == "open"
    await arrivals.adopt(letter)
    office.now += DAY
    await arrivals.work()

    assert len(office.bag.mails) == 1
    assert office.standing(office.bag.links()[0]) == "replaced"
    assert office.standing(letter.address) == "open"


async def test_tokens_are_kept_as_hashes_alone_and_never_logged(
    office: Office, caplog: pytest.LogCaptureFixture, store: Store
) -> None:
    caplog.set_level(logging.DEBUG)
    arrivals = await office.started()
    await arrivals.work()
    token = office.bag.links()[0].rpartition("/")[2]

    kept = str(await store.recall_all(""))

    assert token_hash(token) in kept
    assert token not in kept
    assert token not in caplog.text
    assert token not in repr(arrivals.__dict__)


@pytest.mark.parametrize(
    "name",
    [
        "Pat\\r\\nBcc: everybody@home.example",
        "Pat, Chan <evil@home.example>",
        "王小明",
        "ليلى حداد",
        'O\'Neill-Øst \\"Patty\\"',
        "👩‍🏫 Éloïse",
    ],
)
async def test_a_name_is_a_name_whatever_is_in_it(office: Office, name: str) -> None:
    office.save(name=f'"{name}"')
    arrivals = await office.started()
    await arrivals.work()
    if PERSON not in office.source.policy.people:
        # A control character in a name is a mistake of the policy already.
        assert "\\r" in name
        return
    mail = office.bag.mails[0]
    raw = mail.as_bytes()

    assert [address.addr_spec for address in mail["To"].addresses] == ["chan@home.example"]
    assert mail["To"].addresses[0].display_name == office.source.policy.people[PERSON].name
    assert mail["Bcc"] is None
    assert office.source.policy.people[PERSON].name in text_of(mail)
    assert b"\nBcc" not in raw


async def test_the_mail_is_in_the_language_of_the_organisation(office: Office) -> None:
    text = (office.folder / "policy.yaml").read_text().replace("    mobile:", "    language: de-CH\n    mobile:")
    (office.folder / "policy.yaml").write_text(text)
    office.source.load()
    arrivals = await office.started()
    await arrivals.work()

    assert office.bag.mails[0]["Subject"] == "Hillside Primary lädt Sie zum Chat ein"
    assert "Guten Tag Pat Chan," in text_of(office.bag.mails[0])


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    box.start()
    yield box
    box.stop()


def mail_to(address: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Office <office@hillside.example>", f"Pat <{address}>", "Grüße"
    mail.set_content("Good morning, 王小明")
    return mail


async def test_a_mail_server_takes_mails_refuses_addresses_and_is_away(mailbox: Mailbox) -> None:
    carrier = carrier_for(Mail(server=f"smtp://127.0.0.1:{mailbox.port}"))
    assert carrier is not None
    mailbox.refused = {"no@home.example": "550 No such mailbox", "later@home.example": "451 Try later"}

    await carrier.send(mail_to("pat@home.example"))

    assert mailbox.mails[0].get_content().strip() == "Good morning, 王小明"
    assert mailbox.mails[0]["Subject"] == "Grüße"
    with pytest.raises(Bounced, match="550 No such mailbox"):
        await carrier.send(mail_to("no@home.example"))
    with pytest.raises(NotSent, match="451 Try later"):
        await carrier.send(mail_to("later@home.example"))
    mailbox.stop()
    with pytest.raises(NotSent):
        await carrier.send(mail_to("pat@home.example"))


async def test_a_greylisted_mail_is_taken_at_the_second_try_and_its_link_works(
    office: Office, mailbox: Mailbox
) -> None:
    office.carrier = Smtp(Mail(server=f"smtp://127.0.0.1:{mailbox.port}"))
    mailbox.refused = {"chan@home.example": "450 4.2.0 Greylisted, try again in a minute"}
    arrivals = await office.started()
    await arrivals.work()
    assert "450 4.2.0 Greylisted" in "".join(arrivals.status_lines(["hillside"]))
    mailbox.refused.clear()
    office.now += 31

    await arrivals.work()

    (mail,) = mailbox.mails
    assert office.standing(link_in(mail)) == "open"
    assert list(arrivals.status_lines(["hillside"])) == ["Invitations: 1 pending."]


async def test_mails_can_be_caught_in_a_folder(tmp_path: Path) -> None:
    carrier = carrier_for(Mail(server=f"file:{tmp_path}/mail"))
    assert carrier is not None

    await carrier.send(mail_to("../../pat@home.example"))

    (file,) = (tmp_path / "mail").iterdir()
    assert file.suffix == ".eml"
    assert "Gr=C3=BC=C3=9Fe" in file.read_text() or "Grüße" in file.read_text()
