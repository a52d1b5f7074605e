"""Whether an empty database may be begun with, or the record of the chats there are has to be in another one."""

from __future__ import annotations

from mautrix.api import Method, Path

from bridge.config import Config
from bridge.homeserver import Homeserver, Refused, room_path
from bridge.store import Store
from policy.rooms import CHAT

NO_RECORD = (
    "The database is empty, though there are chats on the homeserver: the record of them has to be in another one. "
    "Correct `database` in {file}, or restore your backup. Only if the record is lost for good, begin a new one with "
    "qwil run -c {file} --new-record: what Synapse still has of the chats is fetched into it."
)

NOT_TOLD = (
    "The database is empty, and the homeserver does not say whether there are chats whose record is in another one "
    "({refusal}). Look into its log, and whether homeserver.address in {file} is its address; then start again."
)


class RecordMissing(Exception):
    """The record is empty and should not be; the text says what to change."""


async def refuse_to_forget(config: Config, store: Store, homeserver: Homeserver) -> None:
    """Raise `RecordMissing` where the record is empty though there are chats: it must lie in another database."""
    if await store.last_arrival():
        return
    try:
        rooms = (await homeserver.ask(Method.GET, Path.v3.joined_rooms))["joined_rooms"]
        for room in rooms:
            if await _is_chat(homeserver, room):
                raise RecordMissing(NO_RECORD.format(file=config.file.name))
    except Refused as refusal:
        # Before its first start the bot has no account; that its token is wrong is told when it is entered.
        if refusal.status not in (401, 403):
            said = str(refusal).rstrip(".")
            raise RecordMissing(NOT_TOLD.format(refusal=said, file=config.file.name)) from refusal


async def _is_chat(homeserver: Homeserver, room: str) -> bool:
    try:
        await homeserver.ask(Method.GET, room_path(room).state[CHAT][""])
    except Refused as refusal:
        # Of no other kind, or the bot has been removed since.
        if refusal.status not in (403, 404):
            raise
        return False
    return True
