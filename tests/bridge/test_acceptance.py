"""Two people at the page at one moment, with a homeserver that answers slowly."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from bridge.arrival.acceptance import Acceptance, Form, Problem
from bridge.arrival.accounts import Accounts
from bridge.arrival.consent import Consent
from bridge.arrival.invitation import Invitation, token_hash
from bridge.arrival.ledger import Ledger
from bridge.arrival.policy_rows import PolicyRows
from bridge.arrival.terms import TermsKept
from bridge.direct import Direct
from bridge.perform import Performer
from bridge.policy_file import PolicySource
from bridge.policy_writer import PolicyWriter
from bridge.store import Store
from policy.model import PersonId, UserId

NOW = 1_800_000_000.0
POLICY = """\
organisations:
  hillside:
    name: Hillside Primary
    mobile: optional
    people:
      head: {name: Helen Head, role: staff, admin: system, email: head@hillside.example, matrix: "@head:qwil.test"}
      early: {name: Early, role: client, email: early@home.example, status: invited}
      tardy: {name: Tardy, role: client, email: tardy@home.example, status: invited}
    books:
      year-1: {name: Year 1, members: [head, early, tardy]}
"""


class SlowHomeserver:
    """Lets others go first whenever it is asked something."""

    def __init__(self) -> None:
        self.passwords: dict[str, list[str]] = {}

    def named(self, username: str) -> UserId:
        return UserId(f"@{username}:qwil.test")

    def local(self, user: UserId) -> bool:
        return user.endswith(":qwil.test")

    async def is_free(self, username: str) -> bool:
        free = self.named(username) not in self.passwords
        await asyncio.sleep(0)
        return free

    async def make(self, user: UserId, *, name: str, password: str) -> None:
        assert name
        self.passwords.setdefault(user, []).append(password)


class Prompt(Acceptance):
    """Reads the policy at once, where a running bridge watches the file."""

    async def _in_force(self, person: PersonId) -> None:
        self._source.load()
        assert self._source.policy.people[person].status == "active"


async def test_the_password_of_an_account_is_that_of_whoever_chose_its_name_first(tmp_path: Path, store: Store) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    source, ledger, homeserver = PolicySource(file), Ledger(store), SlowHomeserver()
    source.load()
    for name in ("early", "tardy"):
        person = PersonId(f"hillside/{name}")
        await ledger.put(Invitation(person, f"{name}@home.example", NOW).with_link(token_hash(name), NOW + 60))

    async def settled() -> None:
        source.load()

    acceptance = Prompt(
        source=source,
        store=store,
        ledger=ledger,
        terms=TermsKept(source=source, store=store, direct=cast(Direct, None)),
        rows=PolicyRows(PolicyWriter(file)),
        accounts=cast(Accounts, homeserver),
        direct=cast(Direct, None),
        performer=cast(Performer, None),
        bot=UserId("@qwil:qwil.test"),
        settled=settled,
        clock=lambda: NOW,
    )
    outcomes = await asyncio.gather(
        *(
            acceptance.accept(name, Form("coveted", f"{name} secret 1", f"{name} secret 1", Consent({})))
            for name in ("early", "tardy")
        ),
        return_exceptions=True,
    )

    assert outcomes[0] == "@coveted:qwil.test"
    assert isinstance(outcomes[1], Problem)
    assert outcomes[1].args == ("username_taken",)
    assert homeserver.passwords == {"@coveted:qwil.test": ["early secret 1"]}
    with pytest.raises(Problem, match="username_taken"):
        await acceptance.accept("tardy", Form("coveted", "tardy secret 1", "tardy secret 1", Consent({})))
