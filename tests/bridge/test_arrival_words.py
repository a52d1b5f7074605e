"""`resend` and `invite letter`: for one or for a book, and nothing is spoilt where something fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pypdfium2
import pytest

from bridge import config
from bridge.arrival.arrival_words import ArrivalWords
from bridge.arrival.arrivals import Arrivals
from bridge.arrival.bounce_watch import BounceWatch
from bridge.arrival.invitation import Invitation, token_hash
from bridge.arrival.ledger import Ledger
from bridge.arrival.letter import CannotDraw
from bridge.config import Bounces
from bridge.office import Office as Desks
from bridge.policy_file import PolicySource
from bridge.store import Store
from policy.model import PersonId
from tests.bridge.test_administration import HEAD, NOW, OFFICE, Office
from tests.bridge.test_arrivals import Idle, Postbag
from tests.homeserver.mailbox import LINK

CONFIG = """\
homeserver: {address: "http://127.0.0.1:1", server_name: x.example}
web: {address: "http://127.0.0.1:9"}
"""


class School(Office):
    """A bot's ear that knows the words about people who arrive; `p.ray` and two more are invited."""

    def __init__(self, store: Store, folder: Path) -> None:
        super().__init__(store, folder)
        more = "".join(
            f"      p.{name}: {{name: {name.title()} Ray, role: client, email: {name}@x.example, status: invited}}\n"
            for name in ("amy", "bob")
        )
        text = self.path.read_text().replace("    books:\n      year-1", f"{more}    books:\n      year-1", 1)
        self.path.write_text(text.replace("[t.ok, p.chan, p.ray]", "[t.ok, p.chan, p.ray, p.amy, p.bob]"))
        self.source = PolicySource(self.path)
        self.source.load()
        self.ledger = Ledger(store)
        self.now = NOW
        settings = config.parse(CONFIG, folder / "config.yaml")
        self.bag = Postbag()
        idle = cast(Any, Idle())
        self.arrivals = Arrivals(
            source=self.source, ledger=self.ledger, carrier=self.bag, welcomes=idle, broadcasts=idle, terms=idle,
            config=settings, clock=lambda: self.now,
        )  # fmt: skip
        self.words = ArrivalWords(
            source=self.source,
            store=store,
            office=Desks(store=store, writer=self.writer, clock=lambda: NOW),
            carrier=self.carrier,
            arrivals=self.arrivals,
            ledger=self.ledger,
            terms=idle,
            bounces=BounceWatch(bounces=Bounces(), store=store, ledger=self.ledger),
        ).words({})

    async def mail_all(self) -> None:
        """Every mail that is due."""
        self.source.load()
        for _ in range(5):
            await self.arrivals.work()
            self.now += 1

    def one(self, identifier: str) -> Invitation:
        found = self.ledger.get(PersonId(f"hill/{identifier}"))
        assert found is not None
        return found

    def standing(self, link: str, identifier: str) -> str:
        return self.one(identifier).standing(token_hash(link.rpartition("/")[2]), self.now)


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path}/qwil.db"


@pytest.fixture
async def school(store: Store, tmp_path: Path) -> School:
    school = School(store, tmp_path)
    await school.ledger.load()
    await school.mail_all()
    assert len(school.bag.mails) == 3
    return school


def letters_in(school: School) -> list[str]:
    """The text of each page of the PDF that was sent."""
    ((_, name, data),) = school.carrier.sent
    assert name == "invitations-hill.pdf"
    return [page.get_textpage().get_text_bounded().replace("\r\n", "") for page in pypdfium2.PdfDocument(data)]


async def test_a_whole_book_is_sent_a_fresh_invitation(school: School) -> None:
    said = await school.say(OFFICE, "resend year-1")

    assert said.startswith("A fresh invitation goes out to ")
    assert "Amy Ray (amy@x.example)" in said
    assert "Mei Chan (p@x.example)" not in said
    await school.mail_all()
    assert len(school.bag.mails) == 6
    assert len([what for _, what, _ in await school.record() if what.startswith("resend ")]) == 3


async def test_a_note_is_what_stands_behind_the_word_but_not_in_a_job_title(school: School) -> None:
    said = await school.say(
        HEAD,
        'invite Zoe Ray zoe@x.example in year-1 title "Mia, note taker" note Hello "Zoe",\nplease note: bring shoes',
    )

    assert said.startswith("Zoe Ray (hill/z.ray) is ")
    assert school.person("z.ray").job_title == "Mia, note taker"
    assert await school.ledger.note(PersonId("hill/z.ray")) == 'Hello "Zoe",\nplease note: bring shoes'


async def test_a_corrected_address_is_for_one_person(school: School) -> None:
    assert "One address is for one person" in await school.say(OFFICE, "resend year-1 new@x.example")
    assert "Write whom it is about: “resend PERSON…" in await school.say(OFFICE, "resend")


async def test_letters_of_a_book_hold_the_only_links_that_work(school: School) -> None:
    said = await school.say(HEAD, "invite letter year-1")

    assert said.startswith("Here are 3 letters to print.")
    pages = letters_in(school)
    for identifier, mailed, page in zip(("p.amy", "p.bob", "p.ray"), school.bag.links(), pages, strict=True):
        printed = LINK.search(page)
        assert printed
        assert school.standing(printed[0][: len(mailed)], identifier) == "open"
    assert "replaced" in {school.standing(link, "p.amy") for link in school.bag.links()}


@pytest.mark.parametrize("right", ["review: all", "admin: user", "admin: system"])
async def test_a_letter_for_somebody_with_rights_is_not_handed_to_a_user_administrator(
    school: School, right: str
) -> None:
    invited = f"      r.new: {{name: Rae New, role: staff, email: rae@x.example, status: invited, {right}}}\n"
    school.path.write_text(school.path.read_text().replace("    books:\n", f"{invited}    books:\n", 1))
    await school.mail_all()

    refused = await school.say(OFFICE, "invite letter r.new")
    assert "only a system administrator can say" in refused or "only another one can change" in refused
    assert school.carrier.sent == []
    assert (await school.say(HEAD, "invite letter r.new")).startswith("Here is one letter to print.")


async def test_links_sent_before_go_on_working_where_the_letters_could_not_be_drawn(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> bytes:
        raise CannotDraw("There are no fonts.")

    monkeypatch.setattr("bridge.arrival.arrival_words.letters_pdf", fails)
    before = [school.one(identifier) for identifier in ("p.amy", "p.bob", "p.ray")]

    assert await school.say(HEAD, "invite letter year-1") == "There are no fonts."

    assert [school.one(identifier) for identifier in ("p.amy", "p.bob", "p.ray")] == before


async def test_nobody_who_declined_gets_a_letter_whose_link_is_dead(school: School) -> None:
    await school.ledger.put(school.one("p.amy").closed("declined"))

    assert "no letter to print. Without Amy Ray, who declined" in await school.say(HEAD, "invite letter p.amy")
    said = await school.say(HEAD, "invite letter year-1")

    assert said.startswith("Here are 2 letters to print.")
    assert said.endswith("Without Amy Ray, who declined: “resend” offers it again.")
    assert len(letters_in(school)) == 2


async def test_whoever_has_left_is_invited_anew_and_not_again(school: School) -> None:
    assert "revoked" in await school.say(HEAD, "revoke p.amy")

    assert await school.say(HEAD, "resend p.amy") == (
        "Amy Ray has left for good: invite the person anew under another identifier."
    )
