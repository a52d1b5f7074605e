"""Questions about a synthetic world as a homeserver asks them: chats of 2 to 100 people, about half of them refused.

Whoever is named comes from one block, or from the staff of one network, so that the questions about a small world and
those about a large one are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from random import Random

from bridge.bench.world import BLOCK, BOOKS, CLIENTS, ORGANISATIONS, STAFF, World, client, organisation, staff
from policy.model import PersonId
from policy.question import Add, Chat, StartChat

Asked = StartChat | Add

SIZES = (2, 2, 3, 5, 8, 15, 30, 60, 100)
HALF = ORGANISATIONS // 2
"""Organisations of a network."""


def questions(world: World, count: int, seed: int = 1) -> list[Asked]:
    """So many questions, starting and adding in turn."""
    return list(islice(_Asking(world, Random(seed)).questions(), count))


class _Asking:
    """Draws people from a world, and puts questions about them."""

    def __init__(self, world: World, chance: Random) -> None:
        self._world = world
        self._chance = chance

    def questions(self) -> Iterator[Asked]:
        kinds: Sequence[Callable[[int], Asked]] = (
            self._family_writes, self._add_to_class, self._teacher_writes, self._add_colleague,
            self._trust_writes, self._add_from_trust, self._stranger_writes, self._add_stranger,
        )  # fmt: skip
        # A round of sizes with each kind before the next: the two lengths share no divisor.
        for kind, size in zip(cycle(kinds), cycle(SIZES), strict=False):
            yield kind(size)

    def _place(self) -> tuple[int, int]:
        return self._chance.randrange(ORGANISATIONS), self._chance.randrange(self._world.blocks)

    def _class(self, number: int, block: int, book: int) -> list[PersonId]:
        """The staff and then the clients of a book."""
        people = [staff(block, book, place) for place in range(STAFF)]
        people += [client(block, book, place) for place in range(STAFF, STAFF + CLIENTS)]
        return [PersonId(f"{organisation(number)}/{one}") for one in people]

    def _block(self, number: int, block: int) -> list[PersonId]:
        return [person for book in range(BOOKS) for person in self._class(number, block, book)]

    def _trust_staff(self, number: int, count: int) -> list[PersonId]:
        """Staff of the network, first one of that organisation."""
        first = number - number % HALF
        found = {PersonId(f"{organisation(number)}/{self._staff()}"): None}
        while len(found) < min(count, HALF * BLOCK // BOOKS):
            other = self._chance.randrange(first, first + HALF)
            found[PersonId(f"{organisation(other)}/{self._staff()}")] = None
        return list(found)

    def _staff(self) -> str:
        block, book = self._chance.randrange(self._world.blocks), self._chance.randrange(BOOKS)
        return staff(block, book, self._chance.randrange(STAFF))

    def _shuffled(self, people: Sequence[PersonId], count: int) -> tuple[PersonId, ...]:
        return tuple(self._chance.sample(people, min(count, len(people))))

    def _family_writes(self, size: int) -> StartChat:
        number, block = self._place()
        people = self._class(number, block, self._chance.randrange(BOOKS))
        who = self._chance.choice(people[STAFF:])
        return StartChat(who, self._shuffled([one for one in people if one != who], size - 1))

    def _teacher_writes(self, size: int) -> StartChat:
        number, block = self._place()
        people = self._block(number, block) if size > STAFF + CLIENTS else self._class(number, block, 0)
        who, *others = people
        return StartChat(who, self._shuffled(others, size - 1), staff_only=size == 8)

    def _trust_writes(self, size: int) -> StartChat:
        who, *others = self._trust_staff(self._place()[0], size)
        return StartChat(who, tuple(others) or (self._trust_staff(0, 1)[0],))

    def _stranger_writes(self, size: int) -> StartChat:
        """To people of whom the last belongs to another network, or to another class."""
        number, block = self._place()
        who, *others = self._shuffled(self._class(number, block, 1), size - 1 or 1)
        return StartChat(who, (*others, self._class((number + HALF) % ORGANISATIONS, block, 2)[-1]))

    def _add_to_class(self, size: int) -> Add:
        number, block = self._place()
        people = self._shuffled(self._block(number, block), size + 1)
        return self._add(number, people, self._chance.choice(self._class(number, block, 3)))

    def _add_colleague(self, size: int) -> Add:
        number, block = self._place()
        people = self._shuffled(self._block(number, block), size + 1)
        asker = PersonId(f"{organisation(number)}/{staff(block, 0, 0)}")
        colleague = PersonId(f"{organisation(number)}/{self._staff()}")
        return self._add(number, (asker, *(one for one in people[1:] if one != asker)), colleague)

    def _add_from_trust(self, size: int) -> Add:
        number = self._place()[0]
        *people, whom = self._trust_staff(number, size + 1)
        return self._add(number, tuple(people), whom)

    def _add_stranger(self, size: int) -> Add:
        """A client to a chat of the trust, by one of its staff."""
        number, block = self._place()
        people = self._trust_staff(number, size)
        return self._add(number, tuple(people), self._class(number, block, 4)[-1])

    def _add(self, number: int, people: tuple[PersonId, ...], whom: PersonId) -> Add:
        """By the first of these people; a third of the chats once had somebody more."""
        present = tuple(one for one in people if one != whom) or people
        former = present[-1:] if len(present) > 2 and self._chance.random() < 0.3 else ()
        chat = Chat(organisation(number), tuple(one for one in present if one not in former), former)
        return Add(present[0], whom, chat)
