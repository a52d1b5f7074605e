"""Messages to many: everybody once, also over a restart, and who was not reached is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from bridge.arrival.broadcast import EACH_TURN, Broadcasts, audience
from bridge.direct import Direct
from bridge.homeserver import Homeserver, Refused
from bridge.perform import Performer
from bridge.policy_file import PolicySource
from bridge.store import Store
from policy.model import PersonId, UserId

HEAD = UserId("@head:qwil.test")


class KilledError(BaseException):
    """The bridge ends here."""


class Server:
    """A homeserver that knows a line by its occasion, as transaction ids make it."""

    def __init__(self) -> None:
        self.said: dict[tuple[str, str], str] = {}
        self.shown: list[str] = []
        self.gone: set[UserId] = set()
        self.killed_after: int | None = None

    async def room(self, user: UserId) -> str:
        if user in self.gone:
            raise Refused(404, "M_NOT_FOUND", "There is no such account.")
        return f"!{user}"

    async def say_in(self, room: str, text: str, *, about: str) -> None:
        if self.killed_after is not None and len(self.said) >= self.killed_after:
            raise KilledError
        assert (room, about) not in self.said or self.said[room, about] == text
        self.said[room, about] = text

    async def ask(self, _method: object, _path: object, content: dict[str, Any]) -> dict[str, str]:
        self.shown.append(content.get("m.new_content", content)["body"])
        return {"event_id": "$first"}


@pytest.fixture
def source(tmp_path: Path) -> PolicySource:
    rows = "".join(
        f"      p{number}: {{name: Pat {number}, role: client, email: p{number}@home.example, "
        f'matrix: "@p{number}:qwil.test"}}\n'
        for number in range(25)
    )
    (tmp_path / "policy.yaml").write_text(
        "organisations:\n  hillside:\n    name: Hillside Primary\n    mobile: optional\n    people:\n"
        '      head: {name: Helen Head, role: staff, admin: system, email: h@h.example, matrix: "@head:qwil.test"}\n'
        f"{rows}    books:\n      all: {{name: All, members: [head, {', '.join(f'p{n}' for n in range(25))}]}}\n"
    )
    source = PolicySource(tmp_path / "policy.yaml")
    source.load()
    return source


def on(store: Store, source: PolicySource, server: Server) -> Broadcasts:
    """The broadcasts of a bridge that has just started."""
    return Broadcasts(
        source=source,
        store=store,
        direct=cast(Direct, server),
        performer=cast(Performer, server),
        homeserver=cast(Homeserver, server),
    )


async def begun(broadcasts: Broadcasts, source: PolicySource, word: str = "clients") -> list[PersonId]:
    people = audience(source.policy, "hillside", word, 0.0)
    assert people is not None
    assert await broadcasts.begin("$event", by=HEAD, organisation="hillside", people=people, text="Hi {first_name}")
    return people


async def finish(broadcasts: Broadcasts) -> None:
    while await broadcasts.work():
        pass


async def test_everybody_is_told_in_turns_and_the_message_that_says_how_far_it_is_changes(
    store: Store, source: PolicySource
) -> None:
    server = Server()
    broadcasts = on(store, source, server)
    await begun(broadcasts, source)

    await finish(broadcasts)

    assert len(server.said) == 25
    assert server.said["!@p3:qwil.test", "broadcast $event hillside/p3"] == "Hi Pat\n— Hillside Primary"
    assert server.shown == [f"Broadcast: {done} of 25 done, {done} reached." for done in (EACH_TURN, 20, 25)]


async def test_killed_in_the_middle_it_goes_on_and_nobody_is_told_twice(store: Store, source: PolicySource) -> None:
    server = Server()
    server.killed_after = 14
    first = on(store, source, server)
    await begun(first, source)
    with pytest.raises(KilledError):
        await finish(first)
    server.killed_after = None

    again = on(store, source, server)
    assert not await again.begin("$event", by=HEAD, organisation="hillside", people=[], text="")
    await finish(again)

    assert len(server.said) == 25
    assert server.shown[-1] == "Broadcast: 25 of 25 done, 25 reached."


async def test_who_was_not_reached_is_named_with_the_reason(store: Store, source: PolicySource) -> None:
    server = Server()
    server.gone = {UserId("@p7:qwil.test")}
    broadcasts = on(store, source, server)
    await begun(broadcasts, source)

    await finish(broadcasts)

    assert server.shown[-1].splitlines() == [
        "Broadcast: 25 of 25 done, 24 reached.",
        "- not reached: Pat 7: There is no such account.",
    ]
