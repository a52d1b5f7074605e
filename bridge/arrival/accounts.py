"""Accounts on our homeserver, by its admin API: is a name free, is somebody there, make one."""

from __future__ import annotations

from typing import Any

from mautrix.api import Method, SynapseAdminPath

from bridge.homeserver import Homeserver, Refused
from policy.model import UserId

LONGEST_NAME = 256
"""Characters of a name that Synapse takes; ours may be longer."""


class Accounts:
    """What invitations need of the homeserver's accounts."""

    def __init__(self, homeserver: Homeserver, server: str) -> None:
        self._homeserver = homeserver
        self._server = server

    def named(self, username: str) -> UserId:
        """The Matrix ID of a username here."""
        return UserId(f"@{username}:{self._server}")

    def local(self, user: UserId) -> bool:
        """Is the account one of our homeserver?"""
        return user.endswith(f":{self._server}")

    async def is_free(self, username: str) -> bool:
        """Nobody has, or once had, this username."""
        try:
            await self._homeserver.ask(Method.GET, SynapseAdminPath.v1.username_available, query={"username": username})
        except Refused as refusal:
            if refusal.errcode in ("M_USER_IN_USE", "M_EXCLUSIVE", "M_INVALID_USERNAME"):
                return False
            raise
        return True

    async def exists(self, user: UserId) -> bool:
        """There is such an account on our homeserver and it may be logged in to."""
        try:
            account: Any = await self._homeserver.ask(Method.GET, SynapseAdminPath.v2.users[user])
        except Refused as refusal:
            if refusal.status == 404:
                return False
            raise
        return not account.get("deactivated")

    async def is_unused(self, user: UserId) -> bool:
        """Nobody has ever logged in to it, or there is no such account."""
        try:
            devices: Any = await self._homeserver.ask(Method.GET, SynapseAdminPath.v2.users[user].devices)
        except Refused as refusal:
            if refusal.status == 404:
                return True
            raise
        return bool(devices.get("total") == 0)

    async def make(self, user: UserId, *, name: str, password: str) -> None:
        """Make an account, or set the password of one that is there; raises `Refused`."""
        content = {"password": password, "displayname": name[:LONGEST_NAME], "admin": False, "logout_devices": False}
        await self._homeserver.ask(Method.PUT, SynapseAdminPath.v2.users[user], content, secret=True)
