"""What somebody sees of a chat they are no longer in: what was there while they were, and nothing since (PART-8).

Newcomers read the whole history (PART-5), so that rooms have history visibility `shared`, and Synapse takes that for
former members too: it hands them what was written after they left, read forwards, as the latest edit of an older
message or as the latest answer in a thread. An invitation that came to nothing would open a chat as well. So what
Synapse lets a client see is cut off where the membership ended, whichever way it is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import attr
from synapse import visibility
from synapse.api.errors import AuthError
from synapse.module_api import ModuleApi
from synapse.types import UserID

from policy.client_error import client_error
from policy.judge import FORMER

if TYPE_CHECKING:
    from synapse.synapse_rust.types import Requester

_FILTER = "filter_and_transform_events_for_client"
_NOTHING = -sys.maxsize
_EVERYTHING = sys.maxsize
_OVER = ("leave", "ban")


class Departed:
    """Cuts off what a user is shown of rooms they have left."""

    def __init__(self, api: ModuleApi) -> None:
        self._api = api
        # What the module interface has no calls for: Synapse's own parts, whose types change from release to release.
        self._hs: Any = api._hs
        self._store: Any = self._hs.get_datastores().main

    def register(self) -> None:
        """Stand in the way of everything that is shown to clients, on this process."""
        self._filter_without_us = getattr(visibility, _FILTER)
        # Synapse's parts have each imported the function by its name.
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("synapse.") and (
                vars(module).get(_FILTER) is self._filter_without_us
            ):
                setattr(module, _FILTER, self._filter)
        relations, auth = self._hs.get_relations_handler(), self._hs.get_auth()
        self._bundles_without_us = relations.get_bundled_aggregations
        relations.get_bundled_aggregations = self._bundles
        sync, receipts = self._hs.get_sync_handler(), self._hs.get_receipts_handler()
        self._room_entry_without_us, sync._generate_room_entry = sync._generate_room_entry, self._room_entry
        self._receipt_without_us = receipts.received_client_receipt
        receipts.received_client_receipt = self._receipt
        self._notified_without_us = self._store.get_push_actions_for_user
        self._store.get_push_actions_for_user = self._notified
        self._check_without_us = auth.check_user_in_room_or_world_readable
        auth.check_user_in_room_or_world_readable = self._check_user_in_room

    async def _filter(self, storage: Any, user: str, events: Any, *more: Any, **named: Any) -> list[Any]:
        shown: list[Any] = await self._filter_without_us(storage, user, events, *more, **named)
        ends = await self._ends(user, {one.event.room_id for one in shown})
        if not ends:
            return shown
        return [one for one in shown if _is_own(one.event, user) or _within(one.event, ends.get(one.event.room_id))]

    async def _bundles(self, filtered_events: Iterable[Any], user_id: str) -> dict[str, Any]:
        """Without the edits, answers and references that came later."""
        events = list(filtered_events)
        bundles: dict[str, Any] = await self._bundles_without_us(events, user_id)
        ends = await self._ends(user_id, {one.event.room_id for one in events})
        if not ends:
            return bundles
        room_of = {one.event.event_id: one.event.room_id for one in events}
        # What is not among the events asked for is the latest answer in a thread of one of them.
        first = min(ends.values())
        limits = {event: ends.get(room_of[event]) if event in room_of else first for event in bundles}
        return {event: _cut_off(bundle, limits[event]) for event, bundle in bundles.items()}

    async def _check_user_in_room(self, room_id: str, requester: Requester, *more: Any, **named: Any) -> Any:
        """Who was invited and never came in was not in the room."""
        found = await self._check_without_us(room_id, requester, *more, **named)
        if found[0] in _OVER and await self._end(requester.user.to_string(), room_id) == _NOTHING:
            raise AuthError(403, f"User {requester.user} not in room {room_id}")
        return found

    async def _notified(self, user: str, *more: Any, **named: Any) -> list[Any]:
        """What somebody was notified of, without what they would not be shown in the room."""
        actions: list[Any] = await self._notified_without_us(user, *more, **named)
        ends = await self._ends(user, {one.room_id for one in actions})
        return [one for one in actions if one.stream_ordering <= ends.get(one.room_id, _EVERYTHING)]

    async def _room_entry(self, result: Any, room: Any, *more: Any, **named: Any) -> None:
        """Of a room that was left and forgotten a client is told that it was left, and nothing else (USR-1)."""
        known = len(result.archived)
        await self._room_entry_without_us(result, room, *more, **named)
        user = result.sync_config.user.to_string()
        for place, entry in enumerate(result.archived[known:], known):
            if await self._end(user, entry.room_id) == _NOTHING:
                events = [one for one in entry.timeline.events if _is_own(one.event, user)]
                timeline = attr.evolve(entry.timeline, events=events)
                state = {key: event for key, event in entry.state.items() if _is_own(event, user)}
                result.archived[place] = attr.evolve(entry, timeline=timeline, state=state)

    async def _receipt(self, room_id: str, receipt_type: str, user_id: UserID, *more: Any, **named: Any) -> None:
        """How far somebody has read is told to those in the room, by those in it."""
        if self._api.is_mine(user_id) and not await self._store.check_local_user_in_room(user_id.to_string(), room_id):
            raise client_error(FORMER)
        await self._receipt_without_us(room_id, receipt_type, user_id, *more, **named)

    async def _ends(self, user: str, rooms: Collection[str]) -> dict[str, int]:
        """Up to where in the homeserver's order of events the user sees those of the rooms they are not in."""
        if not rooms or not self._api.is_mine(user):
            return {}
        joined = await self._store.get_rooms_for_user(user)
        return {room: await self._end(user, room) for room in rooms if room not in joined}

    async def _end(self, user: str, room: str) -> int:
        membership, event_id = await self._store.get_local_current_membership_for_user_in_room(user, room)
        if membership not in _OVER or event_id is None:
            return _EVERYTHING
        if await self._store.did_forget(user, room):
            return _NOTHING
        left = await self._store.get_event(event_id, allow_none=True)
        if left is None or not await self._was_inside(left):
            return _NOTHING
        end: int = left.internal_metadata.stream_ordering or _NOTHING
        return end

    async def _was_inside(self, left: Any) -> bool:
        if "replaces_state" not in left.unsigned:
            return False
        before = await self._store.get_event(left.unsigned["replaces_state"], allow_none=True)
        return before is not None and before.membership == "join"


def _is_own(event: Any, user: str) -> bool:
    """Their own coming and going: how a client learns that they are out."""
    return bool(event.type == "m.room.member" and event.state_key == user)


def _within(event: Any, end: int | None) -> bool:
    return end is None or (event.internal_metadata.stream_ordering or 0) <= end


def _cut_off(bundle: Any, end: int | None) -> Any:
    if end is None or end == _EVERYTHING:
        return bundle
    edit, thread = bundle.replace, bundle.thread
    return type(bundle)(
        references=None,
        replace=edit if edit is not None and _within(edit, end) else None,
        thread=thread if thread is not None and _within(thread.latest_event, end) else None,
    )
