"""A message of the bot's in somebody's direct chat that says how far something is, changed in place as it goes on."""

from __future__ import annotations

import hashlib
from typing import Any

from mautrix.api import Method

from bridge.direct import Direct
from bridge.homeserver import Homeserver, room_path
from bridge.store import Store
from policy.model import UserId

BULLETIN = "bulletin:"
"""Under which names the first message of each is remembered."""


class Bulletins:
    """Posts and changes them; a kill in between posts nothing twice."""

    def __init__(self, store: Store, homeserver: Homeserver, direct: Direct) -> None:
        self._store = store
        self._homeserver = homeserver
        self._direct = direct

    async def say(self, user: UserId, about: str, text: str) -> None:
        """Let the message about this say so, to one person; raises `Refused`."""
        room = await self._direct.room(user)
        content: dict[str, Any] = {"msgtype": "m.notice", "body": text}
        first = await self._store.recall(f"{BULLETIN}{about}")
        if first is not None:
            # Client-Server API, event replacements
            replaces = {"rel_type": "m.replace", "event_id": first}
            content = {**content, "body": f"* {text}", "m.new_content": content, "m.relates_to": replaces}
        transaction = hashlib.sha256(f"{room} {about} {text}".encode()).hexdigest()[:40]
        sent = await self._homeserver.ask(Method.PUT, room_path(room).send["m.room.message"][transaction], content)
        if first is None:
            await self._store.remember(f"{BULLETIN}{about}", sent["event_id"])

    async def close(self, about: str) -> None:
        """It says its last word."""
        await self._store.forget(f"{BULLETIN}{about}")
