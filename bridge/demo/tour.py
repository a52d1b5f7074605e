"""The tour: people of two schools use their Matrix clients, and it is told in plain words what happens as it happens.

Every sentence is said after the thing it tells was seen: through matrix-nio, over the wire, as any client would see it.
A sentence that is not true ends its step, and the tour goes on with the next one and is failed as a whole.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from aiohttp import ClientError

from bridge.demo import policy_copy
from bridge.demo.player import Heard, Player, Refused, logged_in
from bridge.demo.stage import Demo, Say

PATIENCE = 60.0
"""Seconds in which what the bridge does by itself has to show."""


class Untrue(Exception):
    """Something did not go as it was to be told; the text says what was seen instead."""


@dataclass
class Tour:
    """What the steps share: the demo, the voice, and everybody's open client."""

    demo: Demo
    say: Say
    open: AsyncExitStack
    players: dict[str, Player] = field(default_factory=dict)

    async def people(self, *persons: str) -> tuple[Player, ...]:
        """These people with their clients, which stay open for later steps."""
        for person in persons:
            if person not in self.players:
                self.players[person] = await self.open.enter_async_context(logged_in(self.demo, person))
        return tuple(self.players[person] for person in persons)

    def tell(self, sentence: str) -> None:
        self.say(f"   {sentence}")

    async def refused(self, sentence: str, asked: Awaitable[object], *rules: str) -> None:
        """Tell of something that the homeserver must refuse for these rules, in the words that the client received."""
        try:
            await asked
        except Refused as refusal:
            if missing := set(rules) - set(refusal.rules):
                raise Untrue(
                    f"{sentence}: it was refused for {_list(refusal.rules)} instead of {_list(sorted(missing))}: "
                    f"{refusal.sentence}"
                ) from refusal
            self.tell(f"{sentence}: refused.")
            self.tell(f"  {refusal}")
        else:
            raise Untrue(f"{sentence}: it was allowed and should have been refused ({_list(rules)})")

    async def seen(self, sentence: str, by: Player, wanted: Callable[[], bool]) -> None:
        """Tell of something that must come to show in somebody's client."""
        if not await by.sees(wanted, patience=PATIENCE):
            raise Untrue(f"{sentence.rstrip('.')}: {by.name}'s client did not show it within {PATIENCE:g} seconds")
        self.tell(sentence)

    def true(self, sentence: str, fact: bool) -> None:
        """Tell of something that was just looked at."""
        if not fact:
            raise Untrue(f"{sentence.rstrip('.')}: this is not so")
        self.tell(sentence)

    async def answer_of_bot(self, player: Player, room: str, words: str) -> str:
        """What the bot says to these words in a direct chat."""
        before, bot = len(player.heard), self.demo.config.bot

        def answer() -> Heard | None:
            return next((heard for heard in player.heard[before:] if heard.sender == bot and heard.room == room), None)

        await player.write(room, words)
        await player.sees(lambda: answer() is not None, patience=PATIENCE)
        said = answer()
        if said is None:
            raise Untrue(f"The bot did not answer “{words}” within {PATIENCE:g} seconds")
        return said.text


async def tell(demo: Demo, say: Say) -> bool:
    """Tell the whole tour of the sample network; True when every step went as told."""
    # Every refusal is told here; the library would tell each a second time, as an answer it did not expect.
    logging.getLogger("nio").setLevel(logging.CRITICAL)
    began, failed = time.monotonic(), 0
    say("\nThe tour. Everything below happens now, on this machine, in Matrix clients (matrix-nio).")
    async with AsyncExitStack() as clients:
        tour = Tour(demo, say, clients)
        for number, (title, step) in enumerate(STEPS, 1):
            say(f"\n{number:2} {title}")
            failed += not await _went_as_told(tour, step)
    took = time.monotonic() - began
    if failed:
        say(f"\n{failed} of {len(STEPS)} steps did not go as told. The logs lie in {demo.folder}.")
    else:
        say(f"\nAll {len(STEPS)} steps went as told, in {took:.0f} seconds.")
    return not failed


async def _went_as_told(tour: Tour, step: "Step") -> bool:
    try:
        await step(tour)
    except Refused as refusal:
        tour.say(f"   FAILED: it was refused. {refusal}")
    except Untrue as untrue:
        tour.say(f"   FAILED: {untrue}.")
    except (ClientError, TimeoutError, OSError) as error:
        tour.say(f"   FAILED: {type(error).__name__}: {error}")
    else:
        return True
    return False


def _list(words: "tuple[str, ...] | list[str]") -> str:
    return ", ".join(words) or "no rule"


async def finding_people(tour: Tour) -> None:
    begum, head, chan = await tour.people("hillside/s.begum", "hillside/head", "hillside/p.chan")
    found = await begum.find("díaz")
    tour.true(
        "Shirin Begum, teacher of Year 1, searches for “díaz” and finds Rosa Díaz, mother of Leo.",
        found == ["Rosa Díaz"],
    )
    tour.true(
        "She searches for “north”, a mother of Year 5, and finds nobody: they share no contact book.",
        not await begum.find("north"),
    )
    found = await head.find("riverside")
    tour.true(
        f"Grace Adeyemi, head of Hillside, searches for “riverside” and finds {len(found)} of its staff, "
        f"each with the school's name: {found[0]}.",
        len(found) > 3 and all("Riverside Academy" in name for name in found),
    )
    tour.true(
        "Åsa Lindström is not among them: Riverside keeps her unlisted.", not any("Åsa" in name for name in found)
    )
    tour.true(
        "陈美玲, a mother, searches for “riverside” too and finds nobody: families have no directory.",
        not await chan.find("riverside"),
    )


async def parent_and_teacher(tour: Tour) -> None:
    begum, chan = await tour.people("hillside/s.begum", "hillside/p.chan")
    room = await begum.create("Reading at home", chan)
    tour.tell("Shirin Begum creates a room “Reading at home” in her client and invites 陈美玲.")
    await chan.look()
    tour.true(
        "陈美玲 sees nothing of it yet: a chat without a message is its creator's draft.", room not in chan.chats()
    )
    await begum.write(room, "Mia read a whole page today!")
    tour.tell("Shirin Begum writes the first message.")
    await tour.seen(
        "Now the chat is in 陈美玲's list, unread, and she is in it without a click.",
        chan,
        lambda: chan.is_in(room) and chan.unread(room) > 0,
    )
    await chan.write(room, "She read it to me twice. Thank you!")
    texts = "She read it to me twice. Thank you!"
    await tour.seen(
        "She answers, and Shirin Begum reads it.", begum, lambda: any(heard.text == texts for heard in begum.heard)
    )


async def parents_of_one_class(tour: Tour) -> None:
    chan, diaz, north = await tour.people("hillside/p.chan", "hillside/p.diaz", "hillside/p.north")
    room = await chan.create("Birthday on Saturday", diaz)
    await chan.write(room, "Shall we walk there together?")
    await tour.seen(
        "陈美玲 writes to Rosa Díaz, whose son is in the same class: they share the book Year 1.",
        diaz,
        lambda: diaz.is_in(room),
    )
    await tour.refused(
        "She tries the same with Alice North, whose son is in Year 5", chan.create("Hello", north), "BOOK-8"
    )
    await tour.refused("She tries to bring her into the chat instead", chan.invite(room, north), "PART-1")


async def between_schools(tour: Tour) -> None:
    begum, ode, haddad = await tour.people("hillside/s.begum", "riverside/b.ode", "riverside/n.haddad")
    room = await begum.create("Joint sports day", ode)
    await begum.write(room, "Which Friday suits Riverside?")
    await tour.seen(
        "Shirin Begum of Hillside starts a chat with Ben Ode, head of Riverside: the two schools share a trust.",
        ode,
        lambda: ode.is_in(room),
    )
    await tour.seen(
        "Her client shows him by name and school: Ben Ode (Riverside Academy).",
        begum,
        lambda: begum.name_of(room, ode) == "Ben Ode (Riverside Academy)",
    )
    await tour.seen(
        "Both find it in a space of their own, “External chats”.", ode, lambda: "External chats" in ode.chats().values()
    )
    (chan,) = await tour.people("hillside/p.chan")
    await tour.refused("Shirin Begum invites 陈美玲 to it", begum.invite(room, chan), "EXT-3")
    await tour.refused(
        "Ben Ode invites Noor Haddad, who teaches at Riverside and is a mother at Hillside",
        ode.invite(room, haddad),
        "EXT-3",
    )


async def outside_the_network(tour: Tour) -> None:
    head, compass = await tour.people("hillside/head", "compass/head")
    tour.true(
        "Grace Adeyemi searches for “compass”, a school outside the trust, and finds nobody.",
        not await head.find("compass"),
    )
    tour.true(
        "Ida Compton of Compass searches for “hillside” and finds nobody either.", not await compass.find("hillside")
    )
    await tour.refused(
        "Grace Adeyemi knows Ida Compton's Matrix ID and starts a chat with it", head.create("Hello", compass), "DIR-4"
    )


async def stand_in(tour: Tour) -> None:
    lowe, north, begum = await tour.people("hillside/m.lowe", "hillside/p.north", "hillside/s.begum")
    await tour.refused(
        "Shirin Begum, of Year 1, writes to Alice North, whose son is in Year 5", begum.create("Tom", north), "BOOK-6"
    )
    room = await lowe.create("Homework this week", north)
    await lowe.write(room, "I stand in for Tunde Okafor until next week.")
    await tour.seen(
        "Marta Lowe may: the policy says that she stands in for the teacher of Year 5 these days.",
        north,
        lambda: north.is_in(room),
    )


async def group_life(tour: Tour) -> None:
    reyes, begum, obi = await tour.people("hillside/d.reyes", "hillside/s.begum", "hillside/p.obi")
    room = await begum.create("", obi)
    await begum.write(room, "Let us talk about Ada's reading.")
    await tour.seen(
        "Shirin Begum starts a chat with Ngozi Obi without a title; it is called “New chat”.",
        obi,
        lambda: obi.chats().get(room) == "New chat",
    )
    await obi.rename(room, "Ada's reading")
    await tour.seen(
        "Ngozi Obi renames it “Ada's reading”; anybody in a chat can.",
        begum,
        lambda: begum.chats().get(room) == "Ada's reading",
    )
    await begum.invite(room, reyes)
    await tour.seen("Shirin Begum brings in Dolores Reyes of learning support.", reyes, lambda: reyes.is_in(room))
    earlier = await reyes.read(room)
    tour.true("Dolores Reyes reads what was written before she came.", "Let us talk about Ada's reading." in earlier)
    await tour.refused("Ngozi Obi tries to remove her", obi.remove(room, reyes))
    await tour.refused(
        "Dolores Reyes tries to call herself “Headteacher” there", reyes.call_oneself(room, "Headteacher")
    )
    await tour.refused("She switches on encryption, which would keep the chat off the record", reyes.encrypt(room))
    await reyes.leave(room)
    tour.tell("Dolores Reyes leaves: everybody can.")
    await begum.remove(room, obi)
    await tour.refused("Shirin Begum removes Ngozi Obi, who then writes once more", obi.write(room, "One more thing"))
    tour.true("What was said stays with her.", "Let us talk about Ada's reading." in await obi.read(room))


async def limits(tour: Tour) -> None:
    (ode,) = await tour.people("riverside/b.ode")
    policy = tour.demo.loaded.policy
    colleagues = [
        member.matrix
        for member in policy.people.values()
        if member.role == "staff" and member.status == "active" and member.organisation == "hillside" and member.matrix
    ]
    local = [
        member.matrix
        for member in policy.people.values()
        if member.role == "staff" and member.status == "active" and member.organisation == "riverside" and member.matrix
    ]
    crowd = [user for user in (*colleagues, *local) if user not in (ode.user_id, "@noor.haddad:qwil.test")]
    most = policy.organisations["riverside"].max_participants
    await tour.refused(
        f"Ben Ode starts a chat with {len(crowd)} colleagues; Riverside allows {most} in a chat",
        ode.create("All hands", *crowd),
        "CHAT-3",
    )


async def words_to_the_bot(tour: Tour) -> None:
    (diaz,) = await tour.people("hillside/p.diaz")
    room = await diaz.direct_chat(tour.demo.config.bot)
    said = await tour.answer_of_bot(diaz, room, "contacts")
    tour.true(
        "Rosa Díaz writes “contacts” to the bot, which lists hers: Shirin Begum is there.", "Shirin Begum" in said
    )
    tour.true("Alice North, of Year 5, is not.", "Alice North" not in said)


async def hot_policy(tour: Tour) -> None:
    chan, north = await tour.people("hillside/p.chan", "hillside/p.north")
    await tour.refused("陈美玲 still cannot write to Alice North", chan.create("Violin", north), "BOOK-8")
    file = tour.demo.policy_file
    before = file.read_bytes()
    after = before.replace(b"members: [m.lowe, p.chan]", b"members: [m.lowe, p.chan, p.north]")
    if after == before:
        raise Untrue(f"{file} has no line “members: [m.lowe, p.chan]” any more, so nobody can be added to it")
    try:
        policy_copy.replace(file, after)
        room, took = await _once_allowed(chan, north)
        tour.tell(f"An administrator adds p.north to the book violin in {file.name} and saves.")
        await chan.write(room, "Shall our two play together?")
        await tour.seen(
            f"{took:.1f} seconds later 陈美玲 starts the chat, and Alice North has it.",
            north,
            lambda: north.is_in(room),
        )
    finally:
        policy_copy.replace(file, before)
    tour.tell("The file is put back as it was. The chat stays: books govern starting and adding, not staying.")


async def _once_allowed(who: Player, whom: Player) -> tuple[str, float]:
    """The room, and how many seconds it took until it was allowed."""
    began = time.monotonic()
    while True:
        try:
            return await who.create("Violin", whom), time.monotonic() - began
        except Refused:
            if time.monotonic() - began > PATIENCE:
                raise
            await asyncio.sleep(0.1)


Step = Callable[[Tour], Awaitable[None]]

STEPS: tuple[tuple[str, Step], ...] = (
    ("People find those they may reach, and nobody else", finding_people),
    ("A teacher and a parent talk; a chat begins with its first message", parent_and_teacher),
    ("Parents of one class meet, parents of different years do not", parents_of_one_class),
    ("Schools of one trust talk, without their families", between_schools),
    ("A school outside the trust does not exist for the others", outside_the_network),
    ("A stand-in reaches the class during the cover", stand_in),
    ("A chat is named, grows, and people go", group_life),
    ("A chat has a limit", limits),
    ("The bot answers", words_to_the_bot),
    ("The policy changes while everything runs", hot_policy),
)
