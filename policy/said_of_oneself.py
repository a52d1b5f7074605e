"""What people could say of themselves beside every chat: fields of a profile, a line of presence, being forgotten.

Names and pictures are the organisation's (USR-5), what is told to others is on record (REV-1), and who leaves takes
nothing out of the chats that others read (PART-5). Administrators, and the bridge, set names by the admin interface.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from synapse.module_api import ModuleApi
from synapse.types import UserID

from policy.client_error import client_error
from policy.decision import Objection
from policy.model import UserId

if TYPE_CHECKING:
    from synapse.synapse_rust.types import Requester

_PROFILE = Objection("USR-5", "Your profile is kept by your organisation; ask its office to change your name or title.")
_SETTERS = ("set_displayname", "set_avatar_url", "set_profile_field", "delete_profile_field")
_OWN_LINE = "status_msg"


class SaidOfOneself:
    """Keeps profiles and presence to what the policy says; `governs` says whom it is for."""

    def __init__(self, api: ModuleApi, governs: Callable[[UserId], bool]) -> None:
        # What the module interface has no calls for: Synapse's own parts, whose types change from release to release.
        self._hs: Any = api._hs
        self._governs = governs

    def register(self) -> None:
        """Stand in the way, on this process."""
        profiles, presence = self._hs.get_profile_handler(), self._hs.get_presence_handler()
        for name in _SETTERS:
            setattr(profiles, name, self._asking_first(getattr(profiles, name)))
        self._present_without_us, presence.set_state = presence.set_state, self._present
        accounts = self._hs.get_deactivate_account_handler()
        self._close_without_us, accounts.deactivate_account = accounts.deactivate_account, self._close

    def _asking_first(self, setter: Callable[..., Any]) -> Callable[..., Any]:
        async def ask(target_user: UserID, requester: Requester, *more: Any, **named: Any) -> Any:
            if not named.get("by_admin") and self._governs(UserId(requester.user.to_string())):
                raise client_error(_PROFILE)
            return await setter(*more, target_user=target_user, requester=requester, **named)

        return ask

    async def _present(
        self, target_user: UserID, device_id: str | None, state: dict[str, Any], *more: Any, **named: Any
    ) -> None:
        if self._governs(UserId(target_user.to_string())):
            state = {key: value for key, value in state.items() if key != _OWN_LINE}
        await self._present_without_us(target_user, device_id, state, *more, **named)

    async def _close(self, user_id: str, erase_data: bool, *more: Any, **named: Any) -> bool:
        erase = erase_data and not self._governs(UserId(user_id))
        closed: bool = await self._close_without_us(user_id, erase, *more, **named)
        return closed
