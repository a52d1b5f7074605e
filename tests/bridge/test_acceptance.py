"""Accepting, step by step: two at one moment, a homeserver that fails, an administrator in between, kills."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest

from bridge.arrival import acceptance as module
from bridge.arrival.acceptance import Acceptance
from bridge.arrival.accounts import LONGEST_NAME, Accounts
from bridge.arrival.consent import Consent
from bridge.arrival.first_login import FirstLogins
from bridge.arrival.guest import Form, Problem
from bridge.arrival.invitation import Invitation, token_hash
from bridge.arrival.ledger import Ledger
from bridge.arrival.policy_rows import PolicyRows
from bridge.arrival.terms import TermsKept
from bridge.direct import Direct
from bridge.homeserver import Homeserver, Refused
from bridge.perform import Performer
from bridge.policy_file import PolicySource
from bridge.policy_writer import PolicyWriter
from bridge.store import Store
from policy.model import Membership, PersonId, UserId

NOW = 1_800_000_000.0
SECRET = "a long enough secret"
EARLY = PersonId("hillside/early")
POLICY = """\
organisations:
  hillside:
    name: Hillside Primary
    mobile: asked
    terms: {version: "1", link: "https://hillside.example/terms"}
    people:
      head: {name: Helen Head, role: staff, admin: system, email: head@hillside.example, matrix: "@head:qwil.test"}
      early: {name: Early, role: client, email: early@home.example, status: invited}
      tardy: {name: Tardy, role: client, email: tardy@home.example, status: invited}
      away: {name: Away, role: client, email: a@home.example, matrix: "@away:other.test", status: invited}
    books:
      year-1: {name: Year 1, members: [head, early, tardy, away]}
"""


class Killed(BaseException):
    """The process ends here."""


class SlowHomeserver:
    """Lets others go first whenever it is asked something."""

    def __init__(self) -> None:
        self.passwords: dict[str, list[str]] = {}
        self.logged_in: set[str] = set()
        self.making: Callable[[], Awaitable[None]] | None = None

    def named(self, username: str) -> UserId:
        return UserId(f"@{username}:qwil.test")

    def local(self, user: UserId) -> bool:
        return user.endswith(":qwil.test")

    async def is_free(self, username: str) -> bool:
        free = self.named(username) not in self.passwords
        await asyncio.sleep(0)
        return free

    async def is_unused(self, user: UserId) -> bool:
        return user not in self.logged_in

    async def exists(self, user: UserId) -> bool:
        return user in self.passwords

    async def make(self, user: UserId, *, name: str, password: str) -> None:
        assert name
        if self.making is not None:
            await self.making()
        self.passwords.setdefault(user, []).append(password)


class Prompt(Acceptance):
    """Reads the policy at once, where a running bridge watches the file."""

    async def _in_force(self, person: PersonId) -> None:
        self._source.load()
        assert self._source.policy.people[person].status != "invited"


class School:
    """A policy, a record and a homeserver; `started` is a bridge on them that has just started."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.file = folder / "policy.yaml"
        self.file.write_text(POLICY)
        self.store = store
        self.homeserver = SlowHomeserver()

    async def invite(self, *names: str) -> None:
        ledger = Ledger(self.store)
        for name in names:
            offer = Invitation(PersonId(f"hillside/{name}"), f"{name}@home.example", NOW)
            await ledger.put(offer.with_link(token_hash(name), NOW + 60))

    async def started(self) -> Prompt:
        source, self.ledger = PolicySource(self.file), Ledger(self.store)
        source.load()
        await self.ledger.load()
        self.rows = PolicyRows(PolicyWriter(self.file))

        async def settled() -> None:
            source.load()

        return Prompt(
            source=source,
            store=self.store,
            ledger=self.ledger,
            terms=TermsKept(source=source, store=self.store, direct=cast(Direct, None)),
            rows=self.rows,
            accounts=cast(Accounts, self.homeserver),
            direct=AsyncMock(spec=Direct),
            performer=cast(Performer, None),
            bot=UserId("@qwil:qwil.test"),
            settled=settled,
            clock=lambda: NOW,
        )

    def row(self, person: PersonId = EARLY) -> Membership:
        source = PolicySource(self.file)
        source.load()
        return source.policy.people[person]


def form(username: str, secret: str = SECRET) -> Form:
    return Form(username, secret, secret, Consent({"terms": "1"}, "+44 7700 900010"))


@pytest.fixture
async def school(tmp_path: Path, store: Store) -> School:
    school = School(tmp_path, store)
    await school.invite("early", "tardy", "away")
    return school


async def test_the_password_of_an_account_is_that_of_whoever_chose_its_name_first(school: School) -> None:
    acceptance = await school.started()
    outcomes = await asyncio.gather(
        *(acceptance.accept(name, form("coveted", f"{name} secret 1")) for name in ("early", "tardy")),
        return_exceptions=True,
    )

    assert outcomes[0] == "@coveted:qwil.test"
    assert isinstance(outcomes[1], Problem)
    assert outcomes[1].args == ("username_taken",)
    assert school.homeserver.passwords == {"@coveted:qwil.test": ["early secret 1"]}
    with pytest.raises(Problem, match="username_taken"):
        await acceptance.accept("tardy", form("coveted", "tardy secret 1"))


async def test_an_invitation_that_is_revoked_while_it_is_accepted_stays_revoked(school: School) -> None:
    acceptance = await school.started()

    async def revoked() -> None:
        school.file.write_text(POLICY.replace("early@home.example, status: invited", '"", status: left'))

    school.homeserver.making = revoked
    with pytest.raises(Problem, match="closed"):
        await acceptance.accept("early", form("ear.ly"))

    assert (school.row().status, school.row().matrix) == ("left", None)
    guest = acceptance.guest("early")
    assert guest is not None
    assert guest.standing == "revoked"


async def test_what_somebody_else_saves_meanwhile_is_kept(school: School) -> None:
    acceptance = await school.started()

    async def saved() -> None:
        school.file.write_text(POLICY.replace("name: Helen Head", "name: Helen Hill"))

    school.homeserver.making = saved
    await acceptance.accept("early", form("ear.ly"))

    assert school.row().status == "active"
    assert school.row(PersonId("hillside/head")).name == "Helen Hill"


async def test_an_invitation_for_an_account_elsewhere_is_not_accepted_with_another_one_here(school: School) -> None:
    acceptance = await school.started()

    with pytest.raises(Problem, match="matrix_other"):
        await acceptance.accept("away", form("away.here"))

    assert school.homeserver.passwords == {}
    assert school.row(PersonId("hillside/away")).matrix == "@away:other.test"


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        (Refused(500, "M_UNKNOWN", "Internal server error"), "later"),
        (Refused(400, "M_USER_IN_USE", "User ID already taken."), "username_taken"),
        (Refused(400, "M_PASSWORD_TOO_SHORT", "Too short"), "password_refused"),
        (TimeoutError(), "later"),
    ],
)
async def test_after_a_failure_of_the_homeserver_nobody_is_a_member_and_the_same_link_does_it_later(
    school: School, trouble: Exception, sentence: str
) -> None:
    acceptance = await school.started()

    async def fails() -> None:
        raise trouble

    school.homeserver.making = fails
    with pytest.raises(Problem, match=sentence):
        await acceptance.accept("early", form("ear.ly"))
    assert school.row().status == "invited"

    school.homeserver.making = None
    assert await acceptance.accept("early", form("ear.ly")) == "@ear.ly:qwil.test"
    assert school.row().matrix == "@ear.ly:qwil.test"


async def test_an_account_that_was_perhaps_made_is_not_taken_from_somebody_who_has_logged_in(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    acceptance = await school.started()

    async def never() -> None:
        await asyncio.Event().wait()

    school.homeserver.making = never
    with monkeypatch.context() as impatient:
        impatient.setattr(module, "ANSWER_WITHIN", 0.01)
        with pytest.raises(Problem, match="later"):
            await acceptance.accept("early", form("ear.ly"))
    # Meanwhile an administrator gives that name to somebody else.
    school.homeserver.passwords["@ear.ly:qwil.test"] = ["theirs"]
    school.homeserver.logged_in.add("@ear.ly:qwil.test")
    school.homeserver.making = None

    with pytest.raises(Problem, match="username_exists"):
        await acceptance.accept("early", form("ear.ly"))

    assert school.homeserver.passwords["@ear.ly:qwil.test"] == ["theirs"]


class Fuse:
    """Ends the process at one of the steps, before it or after it."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._seen = 0

    def around(self, owner: Any, name: str) -> None:
        step = getattr(owner, name)

        async def fused(*given: Any, **named: Any) -> Any:
            self._tick()
            done = await step(*given, **named)
            self._tick()
            return done

        setattr(owner, name, fused)

    def _tick(self) -> None:
        self._seen += 1
        if self._seen == self._at:
            raise Killed


async def test_whenever_the_bridge_is_killed_somebody_who_tries_again_is_in_once_with_all_on_record(
    tmp_path: Path, store: Store
) -> None:
    kills, at = 0, 0
    while kills == at:
        at += 1
        folder = tmp_path / str(at)
        folder.mkdir()
        for key in await store.recall_all(""):
            await store.forget(key)
        before, _ = await store.audit_head()
        school = School(folder, store)
        await school.invite("early")
        acceptance, fuse = await school.started(), Fuse(at)
        steps = [(store, "remember"), (store, "audit"), (school.rows, "accept"), (school.homeserver, "make")]
        for owner, name in steps:
            fuse.around(owner, name)
        try:
            await acceptance.accept("early", form("ear.ly"))
        except Killed:
            kills += 1
        for name in ("remember", "audit"):
            vars(store).pop(name)
        vars(school.homeserver).pop("make")

        again = await school.started()
        guest = again.guest("early")
        assert guest is not None
        if guest.standing == "open":
            await again.accept("early", form("ear.ly", "another long secret"))

        assert (school.row().status, school.row().matrix) == ("active", "@ear.ly:qwil.test"), at
        assert len(school.homeserver.passwords) == 1
        assert await store.recall(f"terms:{EARLY}") == "1"
        assert "terms accepted" in [entry.what for entry in await store.audit_entries(after=before)]
        invitation = school.ledger.get(EARLY)
        assert invitation is not None
        assert (invitation.account, invitation.mobile) == ("@ear.ly:qwil.test", "+447700900010")
    assert at > 12


async def test_a_name_that_is_longer_than_the_homeserver_takes_is_cut() -> None:
    class Asked:
        async def ask(self, *given: Any, **_named: Any) -> None:
            self.content = given[2]

    homeserver = Asked()
    accounts = Accounts(cast(Homeserver, homeserver), "qwil.test")
    await accounts.make(UserId("@long:qwil.test"), name="x" * 1001, password="secret")

    assert homeserver.content["displayname"] == "x" * LONGEST_NAME
    assert homeserver.content["admin"] is False


NAMED = POLICY.replace("early@home.example,", 'early@home.example, matrix: "@ear.ly:qwil.test",')


async def test_whoever_waits_for_a_first_login_is_in_with_it_and_what_they_agreed_to_is_kept(school: School) -> None:
    school.file.write_text(NAMED)
    acceptance = await school.started()
    await acceptance.accept_for_login("early", form("").consent)
    logins = FirstLogins(school.ledger, acceptance)

    await logins.work()
    assert school.row().status == "invited"
    school.homeserver.passwords["@ear.ly:qwil.test"] = []
    await logins.work()

    assert school.row().status == "active"
    invitation = school.ledger.get(EARLY)
    assert invitation is not None
    assert (invitation.state, invitation.mobile) == ("accepted", "+447700900010")
    assert await school.store.recall(f"terms:{EARLY}") == "1"


@pytest.mark.parametrize("meanwhile", ["declined", "another account", "no account", "revoked", "ended"])
async def test_whoever_waits_for_a_first_login_is_not_let_in_after_a_change_of_mind(
    school: School, meanwhile: str
) -> None:
    school.file.write_text(NAMED)
    acceptance = await school.started()
    await acceptance.accept_for_login("early", form("").consent)
    if meanwhile == "declined":
        await acceptance.decline("early")
    files = {
        "another account": NAMED.replace("@ear.ly:", "@other:"),
        "no account": POLICY,
        "revoked": NAMED.replace('test", status: invited', 'test", status: left', 1),
        "ended": NAMED.replace('test", status: invited', 'test", status: invited, until: 2020-01-31', 1),
    }
    school.file.write_text(files.get(meanwhile, NAMED))
    before = school.row()
    acceptance._source.load()
    for account in ("@ear.ly:qwil.test", "@other:qwil.test"):
        school.homeserver.passwords[account] = []

    for _ in range(2):
        await FirstLogins(school.ledger, acceptance).work()

    assert school.row() == before
    assert school.row().status != "active"
