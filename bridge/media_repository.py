"""The files of chats, as the bot is given them by the homeserver; for a thread of its own, so that nothing waits."""

from __future__ import annotations

import http.client
import re
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import IO

from bridge.homeserver import AWAY
from bridge.retry import growing_pauses
from bridge.transcript.media import MediaMissing

PIECE = 1 << 20
TIME_LIMIT = 60.0
"""Seconds without a byte."""

PATIENCE = 600.0
"""Seconds in which a homeserver that is away may come back, for all files together."""

_ADDRESS = re.compile(r"mxc://([A-Za-z0-9.:\[\]-]+)/([A-Za-z0-9_-]+)")
_BROKEN = (OSError, http.client.HTTPException)


class MediaRepository:
    """Fetches files by the authenticated media API."""

    def __init__(
        self,
        address: str,
        token: str,
        *,
        patience: float = PATIENCE,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._address = address
        self._token = token
        self._patience = patience
        self._waited = 0.0
        self._pause = pause
        # Straight to the homeserver: a proxy of the environment is for the world outside.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def fetch(self, mxc: str) -> Iterator[bytes]:
        """The bytes of an upload in pieces, all of them or none; raises `MediaMissing`."""
        found = _ADDRESS.fullmatch(mxc)
        if found is None:
            raise MediaMissing("The message names no upload on a homeserver.")
        with tempfile.TemporaryFile() as file:
            self._download(f"{self._address}/_matrix/client/v1/media/download/{found[1]}/{found[2]}", file)
            file.seek(0)
            while piece := file.read(PIECE):
                yield piece

    def _download(self, url: str, file: IO[bytes]) -> None:
        """Try again while the homeserver is away, for as long as there is patience."""
        for seconds in growing_pauses():
            try:
                self._attempt(url, file)
                self._waited = 0.0
                return
            except urllib.error.HTTPError as refused:
                refused.close()
                if refused.code not in AWAY:
                    raise MediaMissing(f"The homeserver does not have it any more (HTTP {refused.code}).") from None
                trouble = f"HTTP {refused.code}"
            except _BROKEN as broken:
                trouble = str(getattr(broken, "reason", broken)) or type(broken).__name__
            # Whoever was waited for in vain is not waited for again for each further file, until one comes.
            if self._waited + seconds > self._patience:
                raise MediaMissing(f"The homeserver could not be reached ({trouble}).")
            self._pause(seconds)
            self._waited += seconds

    def _attempt(self, url: str, file: IO[bytes]) -> None:
        file.seek(0)
        file.truncate()
        request = urllib.request.Request(url)  # noqa: S310 - http or https, see bridge.config
        # Not to wherever the homeserver redirects to, which may be a store of somebody else's.
        request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        with self._opener.open(request, timeout=TIME_LIMIT) as answer:
            shutil.copyfileobj(answer, file, PIECE)
            promised = answer.headers.get("Content-Length")
        if promised is not None and file.tell() != int(promised):
            raise http.client.IncompleteRead(b"", int(promised) - file.tell())
