"""Where others reach the bridge: it begins to listen, or says which port it cannot have."""

from __future__ import annotations

import errno

from aiohttp import web

ENDING = 5.0
"""Seconds in which what is being answered may come to its end when the bridge does; aiohttp would wait a minute."""

WHY = {
    errno.EADDRINUSE: "another program listens there, perhaps another bridge that should be ended",
    errno.EACCES: "ports below 1024 are for root alone",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}


class CannotListenError(Exception):
    """The address or the port cannot be had; the text says which, and what to change."""


async def listen(runner: web.AppRunner, hostname: str, port: int, *, section: str) -> None:
    """Begin to listen; `section` of config.yaml is where hostname and port come from. Raises CannotListenError."""
    try:
        await web.TCPSite(runner, hostname, port).start()
    except OSError as error:
        why = WHY.get(error.errno or 0, str(error))
        raise CannotListenError(
            f"The bridge cannot listen on {hostname}:{port}: {why}. Or change {section}.hostname and {section}.port "
            "in config.yaml."
        ) from error
