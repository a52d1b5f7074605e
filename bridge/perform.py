"""Doing on the homeserver what was decided: the only file that changes anything there.

Each call may be repeated: doing it twice leaves what doing it once left. What was done is noted in the observation at
once, so that nobody does it again before the homeserver's own event comes back.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, assert_never

from mautrix.api import Method, Path, SynapseAdminPath

from bridge.badges import badge, initials_of, kind_badge
from bridge.homeserver import Homeserver, Refused, room_path
from bridge.observe import Observer
from bridge.takeover import take_over
from policy.action import (
    Accept,
    Action,
    EnterSpace,
    LeaveSpace,
    ListInSpace,
    MakeSpace,
    NameSpace,
    Release,
    Remove,
    Return,
    SetChat,
    SetLook,
    SetPower,
    SetProfile,
    ShowKind,
    StepDown,
    TakeOver,
    UnlistInSpace,
    Wait,
    Withdraw,
)
from policy.decision import Kind
from policy.model import UserId
from policy.observation import Look, RoomName
from policy.rooms import CHAT, DIRECT, SPACE, badge_file, kind_file, profile_name
from policy.template import BOT_POWER, FIXED_STATE, ROOM_VERSION

ARCHIVED = "m.lowpriority"
FLAGGED = "m.favourite"

PROFILES_AT_ONCE = 6

LONGEST_TEXT = 62_000
"""Bytes of what the bot says at once, as JSON; an event has at most 65,536 with all that belongs to it."""

OWN_TIME_ONLY = {"m.room.history_visibility": {"history_visibility": "joined"}}
"""Of a space: whoever comes into a book does not read who was in it before them."""

log = logging.getLogger("qwil.perform")


class Performer:
    """The hands of the bridge."""

    def __init__(self, homeserver: Homeserver, observer: Observer) -> None:
        self._homeserver = homeserver
        self._observer = observer
        self._bot = observer.bot
        self.complain: Callable[[Sequence[tuple[Action, Refused]]], Awaitable[None]] | None = None
        """Hears of what failed, where nobody waits for the answer."""

    async def all(self, actions: Iterable[Action], *, asked: bool = False) -> list[tuple[Action, Refused]]:
        """Do everything, one failed action never stopping the rest; those that failed with the reason.

        In the order given, but for profiles, which concern nobody else and are set several at a time. Somebody `asked`
        for it who is told what failed; else it is complained of.
        """
        todo = list(actions)
        profiles = [action for action in todo if isinstance(action, SetProfile)]
        failed = [await self._tried(action) for action in todo if not isinstance(action, SetProfile)]
        turns = asyncio.Semaphore(PROFILES_AT_ONCE)

        async def in_turn(action: Action) -> tuple[Action, Refused] | None:
            async with turns:
                return await self._tried(action)

        failed += await asyncio.gather(*map(in_turn, profiles))
        failures = [failure for failure in failed if failure is not None]
        if failures and self.complain is not None and not asked:
            await self.complain(failures)
        return failures

    async def _tried(self, action: Action) -> tuple[Action, Refused] | None:
        try:
            await self.do(action)
        except Refused as refusal:
            return action, refusal
        return None

    async def do(self, action: Action) -> None:  # noqa: C901 - one case an action, closed by assert_never
        """Do one action; raises `Refused`."""
        match action:
            case SetProfile(user, look):
                await self._set_profile(user, look)
            case SetLook():
                await self._set_look(action)
            case SetPower(room, levels):
                await self.set_state(room, "m.room.power_levels", levels)
            case StepDown(room, user, levels):
                await self.set_state(room, "m.room.power_levels", levels, user=user)
            case TakeOver():
                await take_over(self, self._homeserver, self._observer, action)
            case SetChat(room, content, notice):
                await self.set_state(room, CHAT, content)
                await self.say_in(room, notice, about=f"kind-{content.get('kind')}")
            case ShowKind(room, kind):
                await self.set_state(room, "m.room.avatar", {"url": await self._kind_avatar(kind)})
            case Accept(room, user):
                await self.join(room, user)
            case Remove(room, user, rule=rule, reason=reason):
                await self.kick(room, user, reason)
                if rule == "USR-2":
                    await self._close(room, user)
            case Withdraw(room, user):
                await self._withdraw(room, user)
            case Return(room, user):
                await self.bring_in(room, user, inviter=self._bot)
                await self._observer.release(room, user)
            case Release(room, user):
                await self._observer.release(room, user)
            case Wait():
                log.info("%s waits for a place in %s: %s", action.user, action.room, action.reason)
            case MakeSpace():
                await self._make_space(action)
            case NameSpace(room, name):
                await self.set_state(room, "m.room.name", {"name": name})
            case EnterSpace(room, user):
                await self.bring_in(room, user, inviter=self._bot)
            case LeaveSpace(room, user):
                await self.kick(room, user, "")
                await self._close(room, user)
            case ListInSpace(room, child):
                await self.set_state(room, "m.space.child", {"via": [self._observer.server]}, key=child)
            case UnlistInSpace(room, child):
                await self.set_state(room, "m.space.child", {}, key=child)
            case _:
                assert_never(action)

    async def set_state(
        self, room: RoomName, kind: str, content: Mapping[str, Any], *, key: str = "", user: UserId | None = None
    ) -> None:
        """Send a state event, by default as the bot."""
        path = room_path(room).state[kind][key] if key else room_path(room).state[kind]
        await self._homeserver.ask(Method.PUT, path, content, user=user)
        self._observer.note(room, kind, key, content, user or self._bot)

    async def say_in(
        self, room: RoomName, text: str, *, about: str, quiet: bool = False, marks: Mapping[str, str] | None = None
    ) -> None:
        """Post a line of the bot's; `about` names the occasion, for which it is posted once. No text, no line.

        `marks` are fields of its content by which it is found again once the homeserver has forgotten the occasion.
        """
        if not text:
            return
        transaction = hashlib.sha256(f"{room} {about}".encode()).hexdigest()[:40]
        text = shortened(text)
        content = {
            "msgtype": "m.notice" if quiet else "m.text",
            "body": text,
            "format": "org.matrix.custom.html",
            "formatted_body": _as_html(text),
            **(marks or {}),
        }
        await self._homeserver.ask(Method.PUT, room_path(room).send["m.room.message"][transaction], content)

    async def bring_in(self, room: RoomName, user: UserId, *, inviter: UserId) -> None:
        """Invite somebody, and join those whose account is on our server."""
        presence = self._presence(room, user)
        if presence not in ("invite", "join"):
            try:
                await self._homeserver.ask(Method.POST, room_path(room).invite, {"user_id": user}, user=inviter)
            except Refused:
                # A bridge that was stopped since may have done it, of which the record has yet to hear.
                if await self._membership(room, user) not in ("invite", "join"):
                    raise
            self._note_member(room, user, "invite")
        if presence != "join" and self._observer.local(user):
            await self.join(room, user)

    async def join(self, room: RoomName, user: UserId) -> None:
        """Join somebody who is invited, in their name."""
        await self._homeserver.ask(Method.POST, Path.v3.join[room], {}, user=user)
        self._note_member(room, user, "join")

    async def leave(self, room: RoomName, user: UserId, *, forget: bool = False, reason: str = "") -> None:
        """Leave in somebody's name; forgetting hides what was read before."""
        if self._observer.room(room) is None or self._presence(room, user) in ("invite", "join"):
            content = {"reason": reason} if reason else {}
            await self._homeserver.ask(Method.POST, room_path(room).leave, content, user=user)
            self._note_member(room, user, "leave")
        if forget:
            await self._homeserver.ask(Method.POST, room_path(room).forget, {}, user=user)

    async def decline(self, room: RoomName) -> None:
        """Turn down an invitation of the bot."""
        await self._homeserver.ask(Method.POST, room_path(room).leave, {})

    async def kick(self, room: RoomName, user: UserId, reason: str) -> None:
        """Remove somebody by the bot."""
        content = {"user_id": user, **({"reason": reason} if reason else {})}
        await self._homeserver.ask(Method.POST, room_path(room).kick, content)
        self._note_member(room, user, "leave")

    async def _close(self, room: RoomName, user: UserId) -> None:
        """Forget a room in the name of somebody who is out of it, so that nothing of it can be read any more."""
        if not self._observer.local(user):
            return
        try:
            await self._homeserver.ask(Method.POST, room_path(room).forget, {}, user=user)
        except Refused as refusal:
            # An account that is closed reads nothing either.
            log.info("%s was not forgotten for %s: %s", room, user, refusal)

    async def create_chat(self, user: UserId, title: str, people: Iterable[UserId]) -> RoomName:
        """Create a chat as that person would in a client: the module decides and shapes it."""
        content = {"name": title, "invite": list(people), "preset": "private_chat"}
        answer = await self._homeserver.ask(Method.POST, Path.v3.createRoom, content, user=user)
        return str(answer["room_id"])

    async def invite(self, room: RoomName, user: UserId, *, inviter: UserId) -> None:
        """Invite as that person would in a client."""
        await self._homeserver.ask(Method.POST, room_path(room).invite, {"user_id": user}, user=inviter)

    async def open_direct(self, user: UserId) -> RoomName:
        """Make the direct chat of the bot with one person, who is in it at once if their account is ours."""
        state = [_state(DIRECT, {"user": user}), *(_state(kind, content) for kind, content in FIXED_STATE.items())]
        content = {"is_direct": True, "invite": [user], "initial_state": state}
        room = await self._create(content, [user])
        self._note_member(room, user, "invite")
        if self._observer.local(user):
            await self.enter_direct(room, user)
        return room

    async def enter_direct(self, room: RoomName, user: UserId) -> None:
        """Bring somebody of our homeserver into the direct chat with the bot, and show it among their people."""
        await self.join(room, user)
        await self._mark_direct(user, room)

    async def tag(self, room: RoomName, user: UserId, tag: str, *, on: bool) -> None:
        """Set or clear a person's own mark on a chat."""
        path = Path.v3.user[user].rooms[room].tags[tag]
        await self._homeserver.ask(Method.PUT if on else Method.DELETE, path, {}, user=user)

    async def redact(self, room: RoomName, event: str) -> None:
        """Take the content out of an event of the bot's own making."""
        path = room_path(room).redact[event][hashlib.sha256(event.encode()).hexdigest()[:40]]
        await self._homeserver.ask(Method.PUT, path, {})

    async def _withdraw(self, room: RoomName, user: UserId) -> None:
        """The place is noted first: a kill in between must not lose it."""
        await self._observer.withhold(room, user)
        if self._observer.local(user):
            await self.leave(room, user, forget=True)
        else:
            await self.kick(room, user, "The membership is suspended.")

    async def _set_profile(self, user: UserId, look: Look) -> None:
        """By the admin API: names are locked for everybody else."""
        address = await self._picture(user, look._replace(available=True))
        content = {"displayname": profile_name(look), "avatar_url": address}
        await self._homeserver.ask(Method.PUT, SynapseAdminPath.v2.users[user], content)
        await self._observer.remember_profile(user, look)

    async def _set_look(self, action: SetLook) -> None:
        address = await self._picture(action.user, action.picture)
        content = {"membership": "join", "displayname": action.look.name, "avatar_url": address}
        await self.set_state(action.room, "m.room.member", content, key=action.user, user=action.user)

    async def _picture(self, user: UserId, look: Look) -> str:
        known = self._observer.avatar(user, look)
        if known is None:
            picture = badge(look.badge, initials_of(look.name))
            known = await self._homeserver.upload(picture, name=badge_file(look.badge, user), mimetype="image/png")
            await self._observer.remember_avatar(user, look, known)
        return known

    async def _kind_avatar(self, kind: Kind) -> str:
        known = self._observer.kind_avatar(kind)
        if known is None:
            picture = kind_badge(kind)
            known = await self._homeserver.upload(picture, name=kind_file(kind), mimetype="image/png")
            await self._observer.remember_kind_avatar(kind, known)
        return known

    async def _make_space(self, space: MakeSpace) -> None:
        state = [
            _state(SPACE, space.key),
            *(_state(kind, content) for kind, content in {**FIXED_STATE, **OWN_TIME_ONLY}.items()),
            *(_state("m.space.child", {"via": [self._observer.server]}, child) for child in space.children),
        ]
        content = {"name": space.name, "creation_content": {"type": "m.space"}, "initial_state": state}
        room = await self._create(content, space.members)
        for user in space.members:
            try:
                await self.bring_in(room, user, inviter=self._bot)
            except Refused as refusal:
                log.warning("%s could not enter the space %s: %s", user, space.name, refusal)

    async def _create(self, content: Mapping[str, Any], users: Iterable[UserId]) -> RoomName:
        """A room of the bot's own, in which nobody else has power."""
        whole = {
            "preset": "private_chat",
            "visibility": "private",
            "room_version": ROOM_VERSION,
            "power_level_content_override": {
                "users": {self._bot: BOT_POWER},
                "events": {},
                "invite": BOT_POWER,
                "kick": BOT_POWER,
                "ban": BOT_POWER,
                "redact": BOT_POWER,
                "state_default": BOT_POWER,
            },
            **content,
        }
        spans_servers = not all(self._observer.local(user) for user in users)
        whole["creation_content"] = {"m.federate": spans_servers, **whole.get("creation_content", {})}
        answer = await self._homeserver.ask(Method.POST, Path.v3.createRoom, whole)
        room = str(answer["room_id"])
        for event in whole["initial_state"]:
            self._observer.note(room, event["type"], event["state_key"], event["content"], self._bot)
        self._observer.note(room, "m.room.create", "", {}, self._bot)
        self._observer.note(room, "m.room.name", "", {"name": whole.get("name", "")}, self._bot)
        self._note_member(room, self._bot, "join")
        return room

    async def _mark_direct(self, user: UserId, room: RoomName) -> None:
        """Clients list as people those rooms that `m.direct` names; somebody else joined this one for them."""
        path = Path.v3.user[user].account_data["m.direct"]
        try:
            direct = dict(await self._homeserver.ask(Method.GET, path, user=user))
        except Refused as refusal:
            if refusal.status != 404:
                raise
            direct = {}
        # What clients have written there is theirs, and need not be a list.
        known = direct.get(self._bot)
        rooms = [*(known if isinstance(known, list) else ()), room]
        await self._homeserver.ask(Method.PUT, path, {**direct, self._bot: rooms}, user=user)

    async def _membership(self, room: RoomName, user: UserId) -> str:
        """What the homeserver says of somebody in a room that the bot is in."""
        path = room_path(room).state["m.room.member"][user]
        try:
            return str((await self._homeserver.ask(Method.GET, path)).get("membership"))
        except Refused:
            return "leave"

    def _presence(self, room: RoomName, user: UserId) -> str:
        known = self._observer.room(room)
        member = known.members.get(user) if known is not None else None
        return member.presence if member is not None else "leave"

    def _note_member(self, room: RoomName, user: UserId, presence: str) -> None:
        known = self._observer.room(room)
        member = known.members.get(user) if known is not None else None
        content = {"membership": presence}
        if member is not None:
            content |= {"displayname": member.name, "avatar_url": member.avatar}
        self._observer.note(room, "m.room.member", user, content, self._bot)


def shortened(text: str) -> str:
    """As much of a text as one message holds, as text and as HTML ("Size limits" of Matrix)."""
    kept = text
    while len(json.dumps([kept, _as_html(kept)], ensure_ascii=False).encode(errors="replace")) > LONGEST_TEXT:
        kept = kept[: len(kept) * 9 // 10]
    return text if kept == text else f"{kept}…\n(This was too long for one message.)"


def _as_html(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


def _state(kind: str, content: Mapping[str, Any], key: str = "") -> dict[str, Any]:
    return {"type": kind, "state_key": key, "content": dict(content)}
