"""What the bot has said on which occasion, read from a direct chat.

A transaction alone says something once only for as long as the homeserver remembers it: half an hour, and until it is
started anew. What must not be said twice bears a mark, a field of its content, and is looked for where a bridge before
this one may have said it.
"""

from __future__ import annotations

import json

from mautrix.api import Method

from bridge.homeserver import Homeserver, room_path
from policy.observation import RoomName

LOOKED_BACK = 100
"""Messages of a direct chat that are searched for what may have been said before a kill."""


async def said(homeserver: Homeserver, room: RoomName, field: str) -> set[str]:
    """The marks in this field of what stands in a direct chat; raises `Refused`."""
    wanted = json.dumps({"types": ["m.room.message"]})
    query = {"dir": "b", "limit": str(LOOKED_BACK), "filter": wanted}
    answer = await homeserver.ask(Method.GET, room_path(room).messages, query=query)
    return {str(event.get("content", {}).get(field)) for event in answer["chunk"]}
