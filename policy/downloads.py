"""Pictures and files are for those whose memberships stand: who is suspended or has left downloads none (USR-1, USR-2).

Synapse gives an upload to every account that knows its address. Addresses are no secret to those who were in a chat
once. So whoever has a membership that is suspended or over gets what stands in a message of a room they are in now,
and of the bot's files those for an organisation in which they are active.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from synapse.module_api import ModuleApi
from synapse.module_api.errors import ConfigError
from synapse.storage.database import LoggingTransaction, make_in_list_sql_clause

from policy.client_error import client_error
from policy.decision import Objection
from policy.model import Moment, Policy, UserId
from policy.reach import status
from policy.rooms import GIVEN_FOR, is_picture_of_ours

if TYPE_CHECKING:
    from synapse.http.site import SynapseRequest
    from synapse.synapse_rust.types import Requester

# Matrix specification, Client-Server API, "Content repository".
_PATH = re.compile(r"/_matrix/client/v1/media/(?:download|thumbnail)/([^/]+)/([^/]+)")

_CLOSED = Objection("USR-1", "This file is from a chat that you are not in. Please ask your organisation's office.")


class Downloads:
    """Stands between the media repository and those whom the policy is for."""

    def __init__(
        self,
        api: ModuleApi,
        bot: UserId,
        governs: Callable[[UserId], bool],
        policy: Callable[[], Policy | None],
    ) -> None:
        self._server = api.server_name
        self._bot, self._governs, self._policy = bot, governs, policy
        # What the module interface has no calls for: Synapse's own parts, whose types change from release to release.
        self._hs: Any = api._hs
        self._store: Any = self._hs.get_datastores().main

    def register(self) -> None:
        """Stand there, on this process."""
        if not self._hs.config.media.enable_authenticated_media:
            raise ConfigError(
                "qwil policy module: whoever knows the address of a file would be given it, without an account; "
                "set enable_authenticated_media to true"
            )
        auth = self._hs.get_auth()
        self._who_asks_without_us, auth.get_user_by_req = auth.get_user_by_req, self._who_asks

    async def _who_asks(self, request: SynapseRequest, *more: Any, **named: Any) -> Requester:
        requester: Requester = await self._who_asks_without_us(request, *more, **named)
        asked = _PATH.match(request.path.decode(errors="replace"))
        # The bridge looks for whom it does what it does.
        if asked and requester.app_service_id is None:
            server, media = map(unquote, asked.groups())
            await self._judge(UserId(requester.user.to_string()), server, media)
        return requester

    async def _judge(self, user: UserId, server: str, media: str) -> None:
        if not self._governs(user):
            return
        active = restricted_to(self._policy(), user, time.time())
        if active is not None and not await self._may_have(user, active, server, media):
            raise client_error(_CLOSED)

    async def _may_have(self, user: UserId, active: Collection[str], server: str, media: str) -> bool:
        row: Any = await self._store.get_local_media(media) if server == self._server else None
        by_bot = row is not None and row.user_id == self._bot
        if by_bot and is_picture_of_ours(row.upload_name):
            return True
        contents = await self._named_in(await self._store.get_rooms_for_user(user), f"mxc://{server}/{media}")
        return any(not by_bot or content.get(GIVEN_FOR) in active for content in contents)

    async def _named_in(self, rooms: Collection[str], address: str) -> list[dict[str, Any]]:
        """What stands in messages with that address in these rooms."""

        def find(transaction: LoggingTransaction) -> list[tuple[str]]:
            clause, values = make_in_list_sql_clause(transaction.database_engine, "events.room_id", rooms)
            # These conditions are those of an index that Synapse keeps.
            transaction.execute(
                "SELECT event_json.json FROM events JOIN event_json ON event_json.event_id = events.event_id"  # noqa: S608 - Synapse's own clause
                f" WHERE {clause} AND events.contains_url = true AND events.outlier = false"
                " AND event_json.json LIKE ? LIMIT 100",
                (*values, f'%"{address}"%'),
            )
            return list(transaction.fetchall())

        found = await self._store.db_pool.runInteraction("qwil_media_named", find) if rooms else []
        contents = [json.loads(text).get("content") for (text,) in found]
        return [content for content in contents if isinstance(content, dict) and address in _texts(content)]


def restricted_to(policy: Policy | None, user: UserId, now: Moment) -> frozenset[str] | None:
    """The organisations whose files somebody may still have; None where no membership is suspended or over."""
    standing = [(one.organisation, status(one, now)) for one in (policy.accounts.get(user, ()) if policy else ())]
    active = frozenset(organisation for organisation, status_ in standing if status_ == "active")
    closed = {organisation for organisation, status_ in standing if status_ in ("suspended", "left")} - active
    return None if active and not closed else active


def _texts(value: Any) -> set[str]:
    """Every text in a message, at any depth."""
    if isinstance(value, str):
        return {value}
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*map(_texts, parts))
