"""What clients ask about people whom they share no chat with yet: the people search, and profiles (DIR-1, DIR-4).

Synapse has no callback that could answer these with results or sentences of ours.
"""

from __future__ import annotations

import time
from typing import Any

from synapse.module_api import ModuleApi
from synapse.types import JsonDict, UserID

from policy.client_error import client_error
from policy.decision import Objection
from policy.in_force import InForce
from policy.model import UserId
from policy.people_search import means_the_bot, people_found, reaches
from policy.rooms import BOT_NAME

_STRANGERS_PROFILE = Objection("DIR-4", "You can look up people you can reach or share a chat with, nobody else.")


class Directory:
    """Answers from the policy, for each viewer, in place of Synapse."""

    def __init__(self, api: ModuleApi, bot: UserId, in_force: InForce) -> None:
        # What the module interface has no calls for: Synapse's own parts, whose types change from release to release.
        self._hs: Any = api._hs
        self._store: Any = self._hs.get_datastores().main
        self._bot, self._in_force = bot, in_force

    def register(self) -> None:
        """Answer from now on, on this process."""
        directory, profiles = self._hs.get_user_directory_handler(), self._hs.get_profile_handler()
        self._search_without_us, directory.search_users = directory.search_users, self._search
        self._profiles_without_us = profiles.check_profile_query_allowed
        profiles.check_profile_query_allowed = self._check_profile_query

    async def know_each_other(self, viewer: UserId, whom: UserId) -> bool:
        """Whether somebody reaches the other, or shares a room with them."""
        if viewer == self._bot:
            return True
        policy = self._in_force.policy()
        among_themselves = self._in_force.ignores(policy, viewer) and self._in_force.ignores(policy, whom)
        return among_themselves or reaches(policy, viewer, whom, time.time()) or await self._share_a_room(viewer, whom)

    async def _share_a_room(self, one: UserId, other: UserId) -> bool:
        rooms = await self._store.get_rooms_for_user(one)
        return not rooms.isdisjoint(await self._store.get_rooms_for_user(other))

    async def _check_profile_query(self, target: UserID, requester: UserID | None = None) -> None:
        """A profile is for those who reach the person or share a room; others learn not even that it exists."""
        if requester is None or requester == target:
            return
        with self._in_force.closed(f"a profile look-up by {requester}"):
            viewer, whom = UserId(requester.to_string()), UserId(target.to_string())
            if whom == self._bot:
                return
            if self._in_force.leaves_free(viewer):
                await self._profiles_without_us(target, requester)
            elif not await self.know_each_other(viewer, whom):
                raise client_error(_STRANGERS_PROFILE)

    async def _search(self, viewer: str, words: str, limit: int) -> JsonDict:
        """The client's people search, answered from the policy: complete for each viewer, best first."""
        with self._in_force.closed(f"a people search by {viewer}"):
            if viewer == self._bot:
                return dict(await self._search_without_us(viewer, words, limit))
            policy = self._in_force.policy()
            found = people_found(policy, self._in_force.searchable(), UserId(viewer), words, limit + 1, time.time())
            if UserId(viewer) in policy.accounts and means_the_bot(words, self._bot):
                found = {self._bot: BOT_NAME} | found
            people = list(found.items())[:limit]
            pictures = await self._pictures([user for user, _ in people])
            results = [
                {"user_id": user, "display_name": name, "avatar_url": pictures.get(user)} for user, name in people
            ]
            return {"limited": len(found) > limit, "results": results}

    async def _pictures(self, users: list[UserId]) -> dict[str, str | None]:
        rows = await self._store.db_pool.simple_select_many_batch(
            table="profiles",
            column="full_user_id",
            iterable=users,
            retcols=("full_user_id", "avatar_url"),
            desc="qwil_pictures",
        )
        return dict(rows)
