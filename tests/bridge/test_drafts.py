"""What begins a chat: its creator's first message, or whatever is said where somebody else is inside already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bridge.chats import Chats
from bridge.observe import Observer
from bridge.planning import Planner
from bridge.store import Arrival, Store
from policy.model import UserId
from policy.observation import Settings
from tests.bridge.test_export_jobs import ANN, BEN, BOT, PAT, ROOM, joined, new, raw, school_policy


class Performer:
    """Writes down what it is asked to do."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.done: list[tuple[str, Any]] = []

    async def set_state(self, room: str, kind: str, content: Mapping[str, Any]) -> None:
        self.done.append((kind, content))
        self._observer.note(room, kind, "", content, BOT)

    async def redact(self, _room: str, event: str) -> None:
        self.done.append(("redact", event))

    async def bring_in(self, _room: str, user: UserId, *, inviter: UserId) -> None:
        self.done.append(("bring in", (user, inviter)))

    async def say_in(self, _room: str, text: str, *, about: str) -> None:
        assert about
        self.done.append(("say", text))

    async def all(self, _actions: Any) -> None:
        """What else follows is the plan's."""


class Draft:
    """A draft of Ann's in which Pat is named, and the bridge that looks after it."""

    policy = school_policy()

    def __init__(self, store: Store) -> None:
        self.store = store
        self.told: list[str] = []
        self.observer = Observer(store, bot=BOT, server="school.example")
        self.performer = Performer(self.observer)
        this: Any = self
        doing: Any = self.performer
        settings = Settings(True, 2)
        planner = Planner(
            source=this, store=store, observer=self.observer, settings=settings, removals_wait_above=10, look_again=this
        )
        self._chats = Chats(
            source=this, store=store, observer=self.observer, performer=doing, direct=this, settings=settings,
            planner=planner, clock=lambda: 1_770_000_100.0,
        )  # fmt: skip

    async def tell(self, user: UserId, text: str, *, about: str) -> None:
        assert user == ANN
        assert about
        self.told.append(text)

    async def begin(self, *inside: UserId) -> None:
        chat = {"organisation": "hillside", "kind": "staff", "draft": True, "staff_only": False}
        events = [
            raw(1, "m.room.create", {}, key=""),
            raw(2, "org.qwil.chat", chat, key=""),
            raw(3, "org.qwil.draft", {"with": [PAT]}, key=""),
            *(joined(4 + place, user) for place, user in enumerate((BOT, ANN, *inside))),
        ]
        await self.store.receive("t", [new(event) for event in events], received=1.0)
        await self.observer.load()

    async def begin_behind_the_first_message(self) -> None:
        """The homeserver forgot to send the new room, sent what was said in it, and then the bot looked at the room."""
        said = raw(30, *MESSAGE, sender=ANN)
        await self.store.receive("said", [new(said)], received=1.0)
        await self.handle("$30")
        await self.store.receive("in", [new(joined(4, BOT))], received=2.0)
        chat = {"organisation": "hillside", "kind": "staff", "draft": True, "staff_only": False}
        lost = [
            new(raw(1, "m.room.create", {}, key="")),
            new(raw(2, "org.qwil.chat", chat, key="")),
            new(raw(3, "org.qwil.draft", {"with": [PAT]}, key="")),
            new(joined(5, ANN)),
        ]
        await self.store.fill(ROOM, lost, [*lost, new(joined(4, BOT))], asked=Arrival(2), received=3.0)
        for event in lost:
            await self.handle(event.event_id)

    async def handle(self, event_id: str) -> None:
        """As the bridge does: what the record says first."""
        event = await self.store.event(event_id)
        assert event is not None
        if event.state_key is not None:
            await self.observer.refresh(event.room_id, event.type, event.state_key)
        await self._chats.handle(event)

    async def hears(self, kind: str, content: dict[str, Any], sender: UserId) -> bool:
        """Whether that began the chat."""
        await self.store.receive("said", [new(raw(30, kind, content, sender=sender))], received=2.0)
        event = await self.store.event("$30")
        assert event is not None
        await self._chats.handle(event)
        return not self.observer.rooms[ROOM].draft


@pytest.fixture
async def draft(store: Store) -> Draft:
    return Draft(store)


def text(body: str) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": body}


MESSAGE, NO_WORDS = ("m.room.message", text("Dear all")), ("m.reaction", {"m.relates_to": {"key": "x"}})
WORD_TO_THE_BOT = ("m.room.message", text("!rename Trip"))
DELETION = ("m.room.redaction", {"redacts": "$3"})
POLL = ("m.poll.start", {"m.text": [{"body": "When?"}]})


async def test_the_creators_first_message_brings_in_who_was_named(draft: Draft) -> None:
    await draft.begin()

    assert await draft.hears(*MESSAGE, ANN)

    assert draft.performer.done == [
        ("redact", "$3"),
        ("org.qwil.chat", {"organisation": "hillside", "kind": "staff", "draft": False, "staff_only": False}),
        ("bring in", (PAT, ANN)),
        ("say", "“” has begun."),
        ("org.qwil.draft", {}),
    ]


async def test_a_first_message_that_came_before_its_room_was_known_begins_the_chat_too(draft: Draft) -> None:
    await draft.begin_behind_the_first_message()

    assert not draft.observer.rooms[ROOM].draft
    assert draft.performer.done == [
        ("redact", "$3"),
        ("org.qwil.chat", {"organisation": "hillside", "kind": "staff", "draft": False, "staff_only": False}),
        ("bring in", (PAT, ANN)),
        ("say", "“” has begun."),
        ("org.qwil.draft", {}),
    ]


async def test_a_draft_in_which_nothing_was_said_stays_one_when_its_room_becomes_known(draft: Draft) -> None:
    await draft.begin()

    await draft.handle("$2")

    assert draft.observer.rooms[ROOM].draft


@pytest.mark.parametrize(
    ("event", "sender"),
    [(WORD_TO_THE_BOT, ANN), (NO_WORDS, ANN), (DELETION, ANN), (MESSAGE, BOT), (MESSAGE, BEN)],
    ids=["a word to the bot", "a reaction", "a deletion", "the bot", "somebody who is not inside"],
)
async def test_nothing_else_begins_a_draft(draft: Draft, event: tuple[str, dict[str, Any]], sender: UserId) -> None:
    await draft.begin()

    assert not await draft.hears(*event, sender)
    assert draft.performer.done == []


@pytest.mark.parametrize(
    ("event", "sender"),
    [(MESSAGE, BEN), (MESSAGE, ANN), (WORD_TO_THE_BOT, ANN), (WORD_TO_THE_BOT, BEN), (POLL, BEN)],
)
async def test_where_somebody_else_is_inside_whatever_is_said_begins_it(
    draft: Draft, event: tuple[str, dict[str, Any]], sender: UserId
) -> None:
    """Two who talk in what is called a draft would be hidden from every reviewer."""
    await draft.begin(BEN)

    assert await draft.hears(*event, sender)

    assert [text.partition(". ")[0] for text in draft.told] == [f"{PAT} did not join “”"], "Ben is external (EXT-3)"


@pytest.mark.parametrize(("event", "sender"), [(NO_WORDS, BEN), (DELETION, BEN), (MESSAGE, BOT)])
async def test_what_says_nothing_begins_it_not_even_then(
    draft: Draft, event: tuple[str, dict[str, Any]], sender: UserId
) -> None:
    await draft.begin(BEN)

    assert not await draft.hears(*event, sender)
