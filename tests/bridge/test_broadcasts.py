"""Messages to many: everybody once, also over a restart, and who was not reached is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import pytest
from mautrix.api import Method

from bridge.arrival.broadcast import AGAIN, EACH_TURN, LONGEST_LIST, Broadcasts
from bridge.arrival.recipients import named
from bridge.direct import Direct
from bridge.homeserver import Homeserver, Refused
from bridge.policy_file import PolicySource
from bridge.store import Store
from policy.model import PersonId, UserId

HEAD = UserId("@head:qwil.test")
NOW = 1_788_764_400.0
CLIENTS = 25
FILE = {"msgtype": "m.file", "body": "trip.pdf", "url": "mxc://qwil.test/trip", "info": {"size": 7}}


class KilledError(BaseException):
    """The bridge ends here."""


class Server:
    """A homeserver that knows a line by its transaction, for as long as it remembers those."""

    def __init__(self) -> None:
        self.rooms: dict[str, list[dict[str, Any]]] = {}
        self.transactions: dict[str, str] = {}
        self.gone: set[UserId] = set()
        self.killed_after: int | None = None
        self.broken: Exception | None = None

    @property
    def shown(self) -> list[str]:
        """What whoever had it sent was shown, in the order of time."""
        return [content.get("m.new_content", content)["body"] for content in self.rooms.get(f"!{HEAD}", [])]

    def said_to(self, identifier: str) -> list[dict[str, Any]]:
        return self.rooms.get(f"!@{identifier}:qwil.test", [])

    async def room(self, user: UserId) -> str:
        if user in self.gone:
            raise Refused(404, "M_NOT_FOUND", "There is no such account.")
        return f"!{user}"

    async def ask(
        self, method: Method, path: Any, content: Any = None, *, query: dict[str, str] | None = None
    ) -> dict[str, Any]:
        if self.broken is not None:
            raise self.broken
        parts = unquote(str(path)).split("/")
        room = next(part for part in parts if part.startswith("!"))
        if method == Method.GET:
            assert query is not None
            assert query["dir"] == "b"
            latest = self.rooms.get(room, [])[::-1][: int(query["limit"])]
            return {"chunk": [{"content": content} for content in latest]}
        sent = sum(len(each) for room, each in self.rooms.items() if room != f"!{HEAD}")
        if self.killed_after is not None and sent >= self.killed_after:
            raise KilledError
        if parts[-1] not in self.transactions:
            self.rooms.setdefault(room, []).append(content)
            self.transactions[parts[-1]] = f"${len(self.transactions)}"
        return {"event_id": self.transactions[parts[-1]]}


@pytest.fixture
def source(tmp_path: Path) -> PolicySource:
    rows = "".join(
        f"      p{number}: {{name: Pat {number}, role: client, email: p{number}@home.example, "
        f'matrix: "@p{number}:qwil.test"}}\n'
        for number in range(CLIENTS)
    )
    (tmp_path / "policy.yaml").write_text(
        "organisations:\n  hillside:\n    name: Hillside Primary\n    mobile: optional\n    people:\n"
        '      head: {name: Helen Head, role: staff, admin: system, email: h@h.example, matrix: "@head:qwil.test"}\n'
        f"{rows}    books:\n      all: {{name: All, members: [head, {', '.join(f'p{n}' for n in range(CLIENTS))}]}}\n"
    )
    source = PolicySource(tmp_path / "policy.yaml")
    source.load()
    return source


def on(store: Store, source: PolicySource, server: Server, *, later: float = 0.0) -> Broadcasts:
    """The broadcasts of a bridge that has just started."""
    return Broadcasts(
        source=source,
        store=store,
        direct=cast(Direct, server),
        homeserver=cast(Homeserver, server),
        clock=lambda: NOW + later,
    )


async def begun(broadcasts: Broadcasts, source: PolicySource, file: dict[str, Any] | None = None) -> list[PersonId]:
    people = named(source.policy, "hillside", ["clients"], 0.0).people
    assert await broadcasts.begin(
        "$event", by=HEAD, organisation="hillside", people=people, text="Hi {first_name}", file=file
    )
    return people


async def finish(broadcasts: Broadcasts) -> None:
    while await broadcasts.work():
        pass


def told(server: Server) -> dict[str, int]:
    """How many messages each client got."""
    return {f"p{number}": len(server.said_to(f"p{number}")) for number in range(CLIENTS)}


async def test_everybody_is_told_in_turns_and_the_message_that_says_how_far_it_is_changes(
    store: Store, source: PolicySource
) -> None:
    server = Server()
    broadcasts = on(store, source, server)
    await begun(broadcasts, source)

    await finish(broadcasts)

    assert set(told(server).values()) == {1}
    assert server.said_to("p3")[0]["body"] == "Hi Pat\n— Hillside Primary"
    assert server.shown == [f"Broadcast: {done} of 25 done, {done} reached." for done in (EACH_TURN, 20, 25)]
    # The first message about it came behind ten others.
    assert {content["m.relates_to"]["event_id"] for content in server.rooms[f"!{HEAD}"][1:]} == {"$10"}


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize("killed_after", [1, 13, 14, 27, 40, 49])
async def test_killed_anywhere_it_goes_on_nobody_is_told_twice_and_nobody_is_forgotten(
    store: Store, source: PolicySource, killed_after: int, forgotten: bool
) -> None:
    server = Server()
    server.killed_after = killed_after
    first = on(store, source, server)
    await begun(first, source, FILE)
    with pytest.raises(KilledError):
        await finish(first)
    server.killed_after = None
    if forgotten:
        # As Synapse does after half an hour, and when it is started anew.
        server.transactions.clear()

    again = on(store, source, server)
    assert not await again.begin("$event", by=HEAD, organisation="hillside", people=[], text="")
    await finish(again)

    assert set(told(server).values()) == {2}
    assert server.shown[-1] == "Broadcast: 25 of 25 done, 25 reached."


async def test_a_file_goes_along_behind_the_text(store: Store, source: PolicySource) -> None:
    server = Server()
    broadcasts = on(store, source, server)
    await begun(broadcasts, source, FILE)

    await finish(broadcasts)

    text, file = server.said_to("p3")
    assert text["body"].startswith("Hi Pat")
    assert {name: file[name] for name in FILE} == FILE


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


async def test_a_long_list_of_who_was_not_reached_is_whole(
    store: Store, source: PolicySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.arrival.broadcast.LONGEST_LIST", 10)
    assert LONGEST_LIST > 10
    server = Server()
    server.gone = {UserId(f"@p{number}:qwil.test") for number in range(CLIENTS)}
    broadcasts = on(store, source, server)
    await begun(broadcasts, source)

    await finish(broadcasts)

    lines = "\n".join(server.shown[2:]).splitlines()
    assert [len(text.splitlines()) for text in server.shown[2:]] == [11, 10, 5]
    assert len({line for line in lines if "not reached: " in line}) == 25


async def test_without_a_policy_in_force_nobody_counts_as_gone(
    store: Store, source: PolicySource, tmp_path: Path
) -> None:
    server = Server()
    await begun(on(store, source, server), source)
    (tmp_path / "broken.yaml").write_text("organisatoins: {}\n")
    broken = PolicySource(tmp_path / "broken.yaml")
    broken.load()

    assert not await on(store, broken, server).work()

    await finish(on(store, source, server))
    assert server.shown[-1] == "Broadcast: 25 of 25 done, 25 reached."


async def test_one_that_cannot_go_on_waits_and_keeps_back_nothing_else(store: Store, source: PolicySource) -> None:
    server = Server()
    server.broken = ValueError("out of the blue")
    broadcasts = on(store, source, server)
    await begun(broadcasts, source)

    assert await broadcasts.work()

    server.broken = None
    assert not await broadcasts.work()
    later = on(store, source, server, later=AGAIN + 1)
    await finish(later)
    assert set(told(server).values()) == {1}
