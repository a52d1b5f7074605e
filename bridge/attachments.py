"""Files that people send to the bot, and files that it sends them, in its direct chat alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import aiohttp
from mautrix.api import Method

from bridge.config import Config
from bridge.direct import Direct
from bridge.homeserver import AWAY, LONGEST_ANSWER, Homeserver, HomeserverUnavailable, Refused, room_path
from bridge.retry import until_available
from policy.model import UserId
from policy.rooms import GIVEN_FOR

_ADDRESS = re.compile(r"mxc://([A-Za-z0-9.:\[\]-]+)/([A-Za-z0-9_-]+)")


class NoFile(Exception):
    """There is no file that could be read; the text says what to do."""


class Attachments:
    """The files of the bot's direct chats."""

    def __init__(self, config: Config, homeserver: Homeserver, direct: Direct) -> None:
        self._config = config
        self._homeserver = homeserver
        self._direct = direct

    async def fetch(self, content: Mapping[str, Any], most: int) -> bytes:
        """The bytes of the file that a message holds, of at most so many; raises `NoFile` and `Refused`."""
        address = content.get("url")
        found = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
        if content.get("msgtype") != "m.file" or found is None:
            raise NoFile("That message holds no file: send the spreadsheet to me and answer that message.")
        # Matrix specification, Client-Server API, "GET /_matrix/client/v1/media/download/{serverName}/{mediaId}"
        path = f"/_matrix/client/v1/media/download/{found[1]}/{found[2]}"
        return await until_available(lambda: self._download(path, most))

    async def send(self, user: UserId, data: bytes, *, name: str, mimetype: str, about: str, organisation: str) -> None:
        """Send a file to somebody; `about` names the occasion, for which it is sent once.

        Whoever is not active in `organisation` any more downloads it no more (`policy.downloads`).
        """
        address = await self._homeserver.upload(data, name=name, mimetype=mimetype)
        room = await self._direct.room(user)
        content = {
            "msgtype": "m.file",
            "body": name,
            "filename": name,
            "url": address,
            "info": {"mimetype": mimetype, "size": len(data)},
            GIVEN_FOR: organisation,
        }
        transaction = hashlib.sha256(f"{room} file {about}".encode()).hexdigest()[:40]
        await self._homeserver.ask(Method.PUT, room_path(room).send["m.room.message"][transaction], content)

    async def _download(self, path: str, most: int) -> bytes:
        headers = {"Authorization": f"Bearer {self._config.appservice.as_token}"}
        timeout = aiohttp.ClientTimeout(total=LONGEST_ANSWER)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.get(self._config.homeserver.address + path) as answer,
            ):
                if answer.status in AWAY:
                    raise HomeserverUnavailable(f"The homeserver is busy: HTTP {answer.status}.")
                if answer.status != 200:
                    raise Refused(answer.status, "", "The homeserver does not have that file any more.")
                data = await answer.content.read(most + 1)
                while len(data) <= most and (more := await answer.content.read(most + 1 - len(data))):
                    data += more
        except (aiohttp.ClientError, TimeoutError) as error:
            raise HomeserverUnavailable(f"The homeserver does not answer: {error}.") from error
        if len(data) > most:
            raise NoFile(f"The file is larger than {most // 2**20} MB: split it.")
        return data
