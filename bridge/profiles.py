"""Names and pictures of accounts, compared with those the bridge gave: what somebody else has changed is given anew.

An account's profile is no event, and where the module is, what would follow from it in rooms is made right before
anybody sees it. So the module is asked every few seconds whose profile was changed; where there is none, the member
event in the person's direct chat is the sign. Those of whom there was a sign are looked at, and now and then everybody:
of a thousand people the homeserver tells in one answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, NoReturn

from mautrix.api import Method, PathBuilder, SynapseAdminPath

from bridge.homeserver import Homeserver, Refused
from bridge.observe import Observer
from bridge.retry import Unavailable, until_available
from bridge.store import StoredEvent
from policy.model import UserId
from policy.rooms import profile_name

EVERY = 300.0
"""Seconds between two looks at everybody."""

BREATH = 1.0
"""Seconds before a look that a sign asked for: several are done together."""

LISTEN_AGAIN = 3.0
"""Seconds between two questions to the module."""

WITHOUT_SIGNS = 600.0
"""Seconds until the next one where the module gives no answer to it."""

PAGE = 1000
"""Accounts asked for at once."""

FEW = 10
"""As many are looked at one by one."""

PROCESSES = 20
"""As many of the homeserver's are remembered; a restart makes a new one."""

USERS = SynapseAdminPath.v2.users
CHANGED = PathBuilder("/_synapse/client/qwil/profiles")

log = logging.getLogger("qwil.profiles")


class Profiles:
    """Finds profiles that are not as the bridge made them, and has them put right."""

    def __init__(
        self, *, observer: Observer, homeserver: Homeserver, admin: bool, put_right: Callable[[], Awaitable[None]]
    ) -> None:
        self._observer = observer
        self._homeserver = homeserver
        self._admin = admin
        self._put_right = put_right
        self._doubtful: set[UserId] = set()
        self._given_anew: set[UserId] = set()
        """Who was found with somebody else's name or picture."""
        self._wanted = asyncio.Event()
        self._heard: dict[str, int] = {}
        """The last sign of each of the homeserver's processes."""

    def note(self, event: StoredEvent) -> None:
        """A member event of somebody in their direct chat that shows what the bridge has not given is a sign."""
        room = self._observer.room(event.room_id)
        if event.type != "m.room.member" or room is None or room.direct is None or room.direct != event.state_key:
            return
        if event.content.get("membership") == "join":
            self._doubt(room.direct, event.content)

    def _doubt(self, user: UserId, shown: Mapping[str, Any]) -> None:
        """Somebody is shown like this: if not by us, they are looked at soon."""
        # Until theirs is given again there is nothing to compare with.
        unsure = user in self._given_anew and user not in self._observer.profiles
        if unsure or self._differs(user, shown):
            self._doubtful.add(user)
            self._wanted.set()

    async def listen(self) -> NoReturn:
        """Ask the module for signs until cancelled."""
        while True:
            pause = await until_available(self._listened)
            await asyncio.sleep(pause)

    async def _listened(self) -> float:
        query = {"seen": ",".join(f"{process}:{number}" for process, number in self._heard.items())}
        try:
            answer = await self._homeserver.ask(Method.GET, CHANGED, query=query)
        except Refused as refusal:
            log.warning("The homeserver does not say whose name or picture was changed: %s", refusal)
            return WITHOUT_SIGNS
        before = [(process, number) for process, number in self._heard.items() if process != answer["process"]]
        self._heard = dict([*before[1 - PROCESSES :], (answer["process"], answer["number"])])
        for user, shown in answer["profiles"].items():
            self._doubt(UserId(user), shown)
        return LISTEN_AGAIN

    async def run(self) -> NoReturn:
        """Look again and again until cancelled: at everybody now and then, at those in doubt soon."""
        while True:
            await until_available(self.look)
            with suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(EVERY):
                        await self._wanted.wait()
                    await asyncio.sleep(BREATH)
                    await until_available(self.look_at_doubtful)

    async def look_at_doubtful(self) -> None:
        """Look at those of whom something was noted; at everybody where they are many."""
        self._wanted.clear()
        # Of whom there is a sign while they are looked at, they are looked at again.
        doubtful, self._doubtful = self._doubtful, set()
        if not doubtful:
            return
        try:
            await self.look(sorted(doubtful) if len(doubtful) <= FEW else None)
        except Unavailable:
            self._doubtful |= doubtful
            raise

    async def look(self, users: Collection[UserId] | None = None) -> None:
        """Compare these accounts, or all, with what was given, and have put right what differs."""
        if await self.forget_changed(users):
            await self._put_right()

    async def forget_changed(self, users: Collection[UserId] | None = None) -> bool:
        """Let what differs be due again; whether anything does."""
        if not self._admin:
            return False
        try:
            differing = await self.differing(users)
        except Refused as refusal:
            # Only administrators of the homeserver are shown its accounts.
            log.warning("Names and pictures of accounts cannot be looked at: %s", refusal)
            return False
        for user in differing:
            log.warning("Somebody else has changed the name or picture of %s: it is given anew.", user)
            self._given_anew.add(user)
            await self._observer.forget_profile(user)
        return bool(differing)

    async def differing(self, users: Collection[UserId] | None = None) -> list[UserId]:
        """Those of these accounts, or of all, that are not as they were given; raises `Refused`."""
        given = dict(self._observer.profiles)
        accounts = {UserId(str(account.get("name"))): account async for account in self._accounts(users)}
        # What the bridge itself has given meanwhile is newer than the answer.
        same = (user for user in accounts if user in given and self._observer.profiles.get(user) is given[user])
        return [user for user in same if self._differs(user, accounts[user])]

    async def _accounts(self, users: Collection[UserId] | None) -> AsyncIterator[Mapping[str, Any]]:
        """What the homeserver says of these accounts, or of all."""
        for user in users or ():
            yield await self._homeserver.ask(Method.GET, USERS[user])
        start: object = "0" if users is None else None
        while isinstance(start, str):
            query = {"from": start, "limit": str(PAGE), "guests": "false", "order_by": "name"}
            answer = await self._homeserver.page(USERS, query)
            for account in answer.get("users", ()):
                yield account
            start = answer.get("next_token")

    def _differs(self, user: UserId, account: Mapping[str, Any]) -> bool:
        """Is the account called otherwise, or does it show another picture than the one that was made for it?"""
        look = self._observer.profiles.get(user)
        if look is None or account.get("deactivated"):
            return False
        picture = self._observer.avatar(user, look._replace(available=True))
        return account.get("displayname") != profile_name(look) or (account.get("avatar_url") or None) != picture
