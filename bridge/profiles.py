"""Names and pictures of accounts, compared with those the bridge gave: what somebody else has changed is given anew.

An account's profile is no event. Where the module is, what would follow from it in rooms is made right before anybody
sees it, so that nothing tells the bridge; the homeserver's list of accounts does, of a thousand people in one answer.
Where there is no module, the member event in the person's direct chat is a sign, and that one person is looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, NoReturn

from mautrix.api import Method, SynapseAdminPath

from bridge.homeserver import Homeserver, Refused
from bridge.observe import Observer
from bridge.retry import until_available
from bridge.store import StoredEvent
from policy.model import UserId
from policy.rooms import profile_name

EVERY = 300.0
"""Seconds between two looks at everybody."""

BREATH = 2.0
"""Seconds before a look that an event asked for: several are done together."""

PAGE = 1000
"""Accounts asked for at once."""

FEW = 10
"""As many are looked at one by one."""

USERS = SynapseAdminPath.v2.users

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
        self._wanted = asyncio.Event()

    def note(self, event: StoredEvent) -> None:
        """A member event of somebody in their direct chat that shows what the bridge has not given is a sign."""
        room = self._observer.room(event.room_id)
        if event.type != "m.room.member" or room is None or room.direct is None or room.direct != event.state_key:
            return
        look, content = self._observer.profiles.get(room.direct), event.content
        if look is not None and content.get("membership") == "join" and self._differs(room.direct, content):
            self._doubtful.add(room.direct)
            self._wanted.set()

    async def run(self) -> NoReturn:
        """Look again and again until cancelled: at everybody now and then, at those in doubt soon."""
        while True:
            await until_available(self.look)
            with suppress(TimeoutError):
                while True:
                    await asyncio.wait_for(self._wanted.wait(), EVERY)
                    await asyncio.sleep(BREATH)
                    await until_available(self.look_at_doubtful)

    async def look_at_doubtful(self) -> None:
        """Look at those of whom something was noted; at everybody where they are many."""
        self._wanted.clear()
        doubtful = sorted(self._doubtful)
        if not doubtful:
            return
        await self.look(doubtful if len(doubtful) <= FEW else None)
        self._doubtful.difference_update(doubtful)

    async def look(self, users: Collection[UserId] | None = None) -> None:
        """Compare these accounts, or all, with what was given, and have put right what differs."""
        if not self._admin:
            return
        given = dict(self._observer.profiles)
        try:
            accounts = [account async for account in self._accounts(users)]
        except Refused as refusal:
            # Only administrators of the homeserver are shown its accounts.
            log.warning("Names and pictures of accounts cannot be looked at: %s", refusal)
            return
        for account in accounts:
            user = UserId(str(account.get("name")))
            # What the bridge itself has given meanwhile is newer than the answer.
            if user in given and self._observer.profiles.get(user) is given[user] and self._differs(user, account):
                log.warning("Somebody else has changed the name or picture of %s: it is given anew.", user)
                await self._observer.forget_profile(user)
        if given.keys() - self._observer.profiles.keys():
            await self._put_right()

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
