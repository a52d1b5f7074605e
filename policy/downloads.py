"""Pictures and files are for those whose memberships stand: who is suspended or has left downloads none (USR-1, USR-2).

Synapse gives an upload to every account that knows its address, and to every server that asks. Addresses are no secret
to those who were in a chat once. So whoever has a membership that is suspended or over gets what others show them in a
room they are in now: in a chat for which they are active, or from the bot for an organisation in which they are. Nor do
they pass on other files, which the bot or others would then open for them. A server gets what one of its people may
have, and who does not say who they are gets nothing.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import attr
from synapse.api.errors import NotFoundError
from synapse.events import EventBase
from synapse.module_api import ModuleApi
from synapse.module_api.errors import ConfigError
from synapse.storage.database import LoggingTransaction, make_in_list_sql_clause

from policy.client_error import client_error
from policy.decision import Objection
from policy.in_force import InForce
from policy.judge import Refused, refused
from policy.model import Moment, Policy, UserId
from policy.reach import is_active, status
from policy.rooms import CHAT, GIVEN_FOR, is_picture_of_ours, stands_for

if TYPE_CHECKING:
    from synapse.http.site import SynapseRequest
    from synapse.synapse_rust.types import Requester

# Matrix specification, Client-Server API, "Content repository".
_PATH = re.compile(r"/_matrix/client/v1/media/(?:download|thumbnail)/([^/]*)/([^/]*)")
_SCHEME = "mxc://"
_SAID = re.compile(r"mxc:/[^\s\"'<>]*", re.IGNORECASE)
"""What looks like an address in a text, also in its HTML."""

_LONGEST = 255
"""Characters of an address that are put on record; what is asked for may be anything."""

_CLOSED = Objection("USR-1", "This file is from a chat that you are not in. Please ask your organisation's office.")
_PASSED_ON = Objection("USR-1", "You can pass on a file only from a chat that you are in.")
_NO_POLICY = Refused("The rules of this server cannot be read at the moment, so no file is given. Please try later.")


class _Shown(NamedTuple):
    """An event in which an address stands."""

    room: str
    sender: str
    content: dict[str, Any]


class Downloads:
    """Stands between the media repository and those whom the policy is for."""

    def __init__(self, api: ModuleApi, bot: UserId, in_force: InForce) -> None:
        self._api, self._server = api, api.server_name
        self._bot, self._in_force = bot, in_force
        # What the module interface has no calls for: Synapse's own parts, whose types change from release to release.
        self._hs: Any = api._hs
        self._store: Any = self._hs.get_datastores().main

    def register(self) -> None:
        """Stand there, on this process, which may be one that keeps no files."""
        keeps_files = self._hs.config.media.can_load_media_repo
        if keeps_files and not self._hs.config.media.enable_authenticated_media:
            raise ConfigError(
                "qwil policy module: whoever knows the address of a file would be given it, without an account; "
                "set enable_authenticated_media to true"
            )
        auth, rules = self._hs.get_auth(), self._hs.get_module_api_callbacks().third_party_event_rules
        self._who_asks_without_us, auth.get_user_by_req = auth.get_user_by_req, self._who_asks
        self._allowed_without_us, rules.check_event_allowed = rules.check_event_allowed, self._allowed
        for name in ("get_local_media", "get_cached_remote_media"):
            setattr(self._store, name, _as_uploaded_now(getattr(self._store, name)))
        if keeps_files:
            repository = self._hs.get_media_repository()
            self._info_without_us, repository.get_local_media_info = repository.get_local_media_info, self._info

    # Those who have an account

    async def _who_asks(self, request: SynapseRequest, *more: Any, **named: Any) -> Requester:
        requester: Requester = await self._who_asks_without_us(request, *more, **named)
        asked = _PATH.match(request.path.decode(errors="replace"))
        # The bridge looks for whom it does what it does.
        if asked and requester.app_service_id is None:
            user, address = UserId(requester.user.to_string()), _SCHEME + "/".join(map(unquote, asked.groups()))
            with self._in_force.closed(f"downloading {address[:_LONGEST]} by {user}"):
                await self._judge(user, address)
        return requester

    async def _judge(self, user: UserId, address: str) -> None:
        if user == self._bot or not (self._in_force.governs(user) or await self._is_judged(address)):
            return
        if (policy := self._in_force.latest) is None:
            raise client_error(_NO_POLICY)
        if restricted(policy, user, time.time()) and not await self._may_have(policy, user, address):
            raise client_error(_CLOSED)

    async def _may_have(self, policy: Policy, user: UserId, address: str) -> bool:
        upload = await self._upload(address)
        if upload is not None and self._is_everybodys(upload):
            return True
        own = await self._uploaded(user, address)
        shown = await self._shown(await self._store.get_rooms_for_user(user), address)
        # Who knows an address could show the file to themselves.
        by_others = [one for one in shown if own or one.sender != user]
        return await self._is_among(by_others, policy, [user])

    # What is passed on

    async def _allowed(self, event: EventBase, context: Any) -> Any:
        """What the rules say of an event of ours; and nobody passes on a file that is not for them."""
        with self._in_force.closed(f"{event.type} by {event.sender} in {event.room_id}"):
            if refusal := await self.refusal_to_pass_on(event):
                raise client_error(refusal)
        return await self._allowed_without_us(event, context)

    async def refusal_to_pass_on(self, event: EventBase) -> Refused | None:
        """Why its sender may not send this event because of a file in it; None where that is no reason."""
        return refused(_PASSED_ON) if await self._passes_on(event) else None

    async def _passes_on(self, event: EventBase) -> bool:
        policy, user = self._in_force.latest, UserId(event.sender)
        # Without a policy nothing is sent; and the picture of a member is theirs by other rules.
        if policy is None or event.type == "m.room.member" or not self._in_force.governs(user):
            return False
        for address in addresses(event.content) if restricted(policy, user, time.time()) else ():
            if not await self._uploaded(user, address) and not await self._may_have(policy, user, address):
                return True
        return False

    async def _uploaded(self, user: UserId, address: str) -> bool:
        """Whether somebody uploaded that file; of another server's people we take it for whatever lies there."""
        if not self._api.is_mine(user):
            return address.startswith(f"{_SCHEME}{server_of(user)}/")
        upload = await self._upload(address)
        return upload is not None and upload.user_id == user

    # Other servers

    async def _info(self, request: SynapseRequest, media: str, *more: Any, **named: Any) -> Any:
        """What is known of an upload, before it is given; of other servers Synapse notes the name as who asks."""
        server = request.requester
        if isinstance(server, str) and not await self._may_fetch(server, media):
            raise NotFoundError
        return await self._info_without_us(request, media, *more, **named)

    async def _may_fetch(self, server: str, media: str) -> bool:
        address = f"{_SCHEME}{self._server}/{media}"
        upload = await self._upload(address)
        if upload is None or self._is_everybodys(upload) or not await self._is_judged(address):
            return True
        policy = self._in_force.latest
        people = people_of(policy, server, time.time()) if policy is not None else []
        were_in = await self._rooms_ever_of(people)
        for one in await self._shown(were_in, address):
            # What somebody was in they may look at again (PART-8).
            if server_of(one.sender) != server and await self._is_among([one], policy, were_in[one.room]):
                return True
        return False

    # What is where

    async def _upload(self, address: str) -> Any:
        """What is known of an upload to this server; none where there is none."""
        server, _, media = address.removeprefix(_SCHEME).partition("/")
        return await self._store.get_local_media(media) if server == self._server else None

    def _is_everybodys(self, upload: Any) -> bool:
        """Badges, and the pictures of web pages, which Synapse fetched for whoever asks."""
        return bool(upload.url_cache) or (upload.user_id == self._bot and is_picture_of_ours(upload.upload_name))

    async def _is_judged(self, address: str) -> bool:
        """Whether an upload is by somebody in an organisation; others are left alone among themselves."""
        upload = await self._upload(address)
        return upload is not None and (
            upload.user_id == self._bot or self._in_force.governs(UserId(str(upload.user_id)))
        )

    async def _is_among(self, shown: Iterable[_Shown], policy: Policy | None, people: Collection[UserId]) -> bool:
        """Whether any of these events is for one of those people, by the memberships they have now."""
        for room, sender, content in shown:
            chat = await self._hs.get_storage_controllers().state.get_current_state_event(room, CHAT, "")
            if chat is None and sender != self._bot:
                return True
            home = content.get(GIVEN_FOR) if chat is None else chat.content.get("organisation")
            taking_part = active_in if chat is None else active_for
            if policy is not None and any(taking_part(policy, user, home, time.time()) for user in people):
                return True
        return False

    async def _shown(self, rooms: Collection[str], address: str) -> list[_Shown]:
        """The events with that address in these rooms."""

        def find(transaction: LoggingTransaction) -> list[tuple[str, str, str]]:
            clause, values = make_in_list_sql_clause(transaction.database_engine, "events.room_id", rooms)
            # These conditions are those of an index that Synapse keeps.
            transaction.execute(
                "SELECT events.room_id, events.sender, event_json.json FROM events"  # noqa: S608 - Synapse's own clause
                " JOIN event_json ON event_json.event_id = events.event_id"
                f" WHERE {clause} AND events.contains_url = true AND events.outlier = false"
                " AND event_json.json LIKE ? LIMIT 100",
                (*values, f'%"{address}"%'),
            )
            return list(transaction.fetchall())

        found = await self._store.db_pool.runInteraction("qwil_media_shown", find) if rooms else []
        shown = [_Shown(room, sender, json.loads(text).get("content")) for room, sender, text in found]
        return [one for one in shown if address in texts(one.content)]

    async def _rooms_ever_of(self, people: Collection[UserId]) -> dict[str, list[UserId]]:
        """Who of them was in which room at any time."""
        rows = await self._store.db_pool.simple_select_many_batch(
            table="room_memberships",
            column="user_id",
            iterable=people,
            keyvalues={"membership": "join"},
            retcols=("room_id", "user_id"),
            desc="qwil_rooms_ever_of",
        )
        rooms: dict[str, list[UserId]] = defaultdict(list)
        for room, user in set(rows):
            rooms[room].append(UserId(user))
        return rooms


def restricted(policy: Policy, user: UserId, now: Moment) -> bool:
    """Has somebody a membership that is suspended or over, or no active one?

    Who was invited anew where they had left has no access to the old chats either (ROLE-6).
    """
    standing = {status(one, now) for one in policy.accounts.get(user, ())}
    return "active" not in standing or not standing.isdisjoint(("suspended", "left"))


def active_in(policy: Policy, user: UserId, organisation: object, now: Moment) -> bool:
    """Is somebody active in that organisation itself?"""
    memberships = policy.accounts.get(user, ())
    return any(one.organisation == organisation and status(one, now) == "active" for one in memberships)


def active_for(policy: Policy, user: UserId, home: object, now: Moment) -> bool:
    """Is the membership active that somebody takes part with in chats of that organisation?"""
    member = stands_for(policy, home, user, now) if isinstance(home, str) else None
    return member is not None and status(member, now) == "active"


def people_of(policy: Policy, server: str, now: Moment) -> list[UserId]:
    """Whoever has an account on that server and is active in an organisation."""
    return [user for user in policy.accounts if server_of(user) == server and is_active(policy, user, now)]


def server_of(user: str) -> str:
    """The homeserver in a Matrix ID."""
    return user.partition(":")[2]


def addresses(content: object) -> set[str]:
    """Every address of a file that is said anywhere in a message, and whatever looks like one."""
    return {found for text in texts(content) for found in _SAID.findall(text)}


def texts(value: object) -> set[str]:
    """Every text in a message, at any depth."""
    return set(_texts(value))


def _texts(value: object) -> Iterator[str]:
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            left.extend(one.values())
        elif isinstance(one, list | tuple):
            left.extend(one)


def _as_uploaded_now(look: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """What was uploaded before Synapse asked for accounts is not given without one either."""

    async def looked(*asked: Any, **named: Any) -> Any:
        found = await look(*asked, **named)
        return found and attr.evolve(found, authenticated=True)

    return looked
