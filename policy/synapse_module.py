"""The policy inside Synapse: its callbacks become questions, the answers its verdicts.

`check_event_allowed` and `on_create_room` are the choke point that nobody bypasses, neither server administrators nor
an application service that acts as a user. What passes them is judged by pure functions (`policy.judge`,
`policy.creation`); this file turns Synapse's events into their nouns and carries their verdicts out. Whatever goes
wrong on the way refuses.

Configuration: `policy` (path of the policy file), `bot` (Matrix ID), `unlisted_accounts` (`refuse` or `ignore`),
`room_version`, `auto_join`, `policy_key` (path of the key that other servers' events are signed with). Runs alike in
the main process and in every worker: each watches the file by itself.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from canonicaljson import encode_canonical_json
from synapse.api.constants import MAX_PDU_SIZE
from synapse.api.errors import Codes, SynapseError
from synapse.events import EventBase
from synapse.module_api import NOT_SPAM, ModuleApi
from synapse.module_api.errors import ConfigError
from synapse.types import JsonDict, StateMap, UserID

from policy.archive import ARCHIVED, EVERY, Archive
from policy.client_error import client_error
from policy.creation import Making, room_asked_for
from policy.decision import Badge, Decision, Objection
from policy.departed import Departed
from policy.devices import Devices
from policy.directory import Directory
from policy.downloads import Downloads
from policy.in_force import FAULT, InForce
from policy.judge import (
    REDACTION,
    UNLISTED,
    Held,
    Opens,
    Passes,
    Redacts,
    Refused,
    Verdict,
    judge,
    may_redact,
    own_entry,
    refused,
    with_profile,
)
from policy.let_in import LetIn
from policy.model import Moment, Policy, UserId
from policy.module_profiles import ProfilesResource
from policy.module_refusals import PATH as REFUSALS
from policy.module_refusals import RefusalsResource
from policy.module_settings import Settings, settings_from
from policy.module_status import PATH, StatusResource
from policy.own_pace import OwnPace
from policy.own_words import OwnWords
from policy.people_search import reaches
from policy.policy_server import PolicyServer
from policy.profiles import badge_named, media_id
from policy.refusals import Refusals, doing
from policy.room import Attempt, Room, room_of, user_ids
from policy.room_events import ENTRY, MAILED, POLICY_STAYS, PUBLISHED
from policy.rooms import DRAFT
from policy.said_of_oneself import SaidOfOneself
from policy.settled import StateNumber, has_passed, settle, settles
from policy.terms import owed_objection
from policy.terms_file import OwedFile
from policy.words import is_command

if TYPE_CHECKING:
    from synapse.synapse_rust.types import Requester

logger = logging.getLogger(__name__)

Answer = tuple[bool, dict[str, Any] | None]

_AT_ONCE = 5
"""So many are brought in before a draft's first message, so that it notifies them; the bridge brings the rest."""

_CREATE = ("m.room.create", "")
_MEMBER = "m.room.member"

_LARGEST_OPENING = MAX_PDU_SIZE - 1024
"""Bytes; the event is made anew and may grow a little by what comes before it."""

_MAKING_SECONDS = 60
_MOST_BADGES = 100_000

_OTHER_SERVERS = Objection("DIR-4", "Members of this server are invited only by people of their own network.")
_NOT_MADE = Objection("REV-1", "Rooms are made by starting a chat, and are not upgraded or copied.")


class PolicyModule:
    """What Synapse loads: `modules: [{module: policy.synapse_module.PolicyModule, config: {...}}]`."""

    @staticmethod
    def parse_config(config: JsonDict) -> Settings:
        """Read the configuration; ConfigError with a sentence for every mistake."""
        return settings_from(config)

    def __init__(self, config: Settings, api: ModuleApi) -> None:
        # Synapse imports modules before it sets up logging, which by default silences all there were before.
        logger.disabled = False
        self._settings = config
        self._api = api
        self._server = api.server_name
        # What the module interface has no calls for: Synapse's own parts, whose types change from release to release.
        self._hs: Any = api._hs
        self._store: Any = self._hs.get_datastores().main
        self._makings: dict[UserId, list[tuple[float, Making]]] = {}
        self._let_in = LetIn()
        self._settling: dict[int, tuple[Policy, Moment]] = {}
        """What was just judged so that it stands for more than one event, by the event's identity."""
        self._badges: dict[tuple[UserId, str], Badge] = {}
        self._archive = Archive(self._store.get_max_account_data_stream_id, self._archived, self._take_out_of_archive)
        self._refuse_forced_encryption()
        self._process = uuid.uuid4().hex[:12]
        self._refusals = Refusals(self._process)
        self._in_force = InForce(config, api.server_name, self._refusals)
        self._policy_server = PolicyServer(api, config.policy_key, self._judged_from_elsewhere)
        self._downloads = Downloads(api, config.bot, self._in_force)
        self._directory = Directory(api, config.bot, self._in_force)
        self._in_force.follow()
        self._owed = OwedFile(config.policy)
        self._owed.load()
        self._owed.watch()
        self._register()

    def _register(self) -> None:
        self._api.register_third_party_rules_callbacks(
            check_event_allowed=self.check_event_allowed, on_create_room=self.on_create_room
        )
        self._api.register_spam_checker_callbacks(
            user_may_create_room=self.user_may_create_room,
            user_may_create_room_alias=self.user_may_create_room_alias,
            user_may_publish_room=self.user_may_publish_room,
            federated_user_may_invite=self.federated_user_may_invite,
            user_may_join_room=self.user_may_join_room,
        )
        self._api.looping_background_call(self._archive.take_out, EVERY * 1000, run_on_all_instances=True)
        status = StatusResource(self._api, self._settings.bot, self._in_force.file)
        self._api.register_web_resource(PATH, status)
        self._api.register_web_resource(REFUSALS, RefusalsResource(self._api, self._settings.bot, self._refusals))
        ProfilesResource(self._api, self._settings.bot, self._process).register()
        self._policy_server.register()
        members, spam = self._hs.get_room_member_handler(), self._hs.get_module_api_callbacks().spam_checker
        self._mail_without_us, members.do_3pid_invite = members.do_3pid_invite, self.do_3pid_invite
        # A callback there costs every message of our own people 50 µs, though what they write is judged already.
        self._spam_without_us, spam.check_event_for_spam = spam.check_event_for_spam, self.check_event_for_spam
        self._rules = self._hs.get_module_api_callbacks().third_party_event_rules
        self._ask_without_us, self._rules.check_event_allowed = self._rules.check_event_allowed, self._ask_modules
        self._directory.register()
        Departed(self._api).register()
        Devices(self._api, self._directory.know_each_other, self._in_force.governs).register()
        SaidOfOneself(self._api, self._in_force.governs).register()
        OwnWords(self._api, self._in_force.governs).register()
        OwnPace(self._api, self._let_in).register()
        self._downloads.register()

    def _refuse_forced_encryption(self) -> None:
        """Synapse would put m.room.encryption into every new room, we refuse it, and no room could be made."""
        forced = self._hs.config.room.encryption_enabled_by_default_for_room_presets
        if "private_chat" in forced:
            raise ConfigError(
                "qwil policy module: chats are on record and cannot be encrypted; "
                "set encryption_enabled_by_default_for_room_type to off"
            )

    # Rooms

    async def on_create_room(self, requester: Requester, request: JsonDict, _is_admin: bool) -> None:
        """Decide on a new room before anything of it exists, and make the request one for a room of ours."""
        user = UserId(requester.user.to_string())
        with self._in_force.closed(f"createRoom by {user}"):
            if user == self._settings.bot:
                request.setdefault("room_version", self._settings.room_version)
            else:
                self._make(user, request)

    def _make(self, user: UserId, request: JsonDict) -> None:
        policy = self._in_force.policy()
        if user not in policy.accounts and self._settings.unlisted_accounts == "ignore":
            if any(invitee in policy.accounts for invitee in user_ids(request.get("invite"))):
                raise client_error(UNLISTED)
            return
        now = time.time()
        made = room_asked_for(
            policy,
            request,
            user,
            self._settings.bot,
            now=now,
            room_version=self._settings.room_version,
            policy_server=self._policy_server.state,
        )
        if isinstance(made, Decision):
            raise client_error(Refused(made.text, made.rules))
        request.clear()
        # Synapse writes the room version into the mapping it is given.
        request.update(made.request | {"creation_content": dict(made.request["creation_content"])})
        waiting = [(until, making) for until, making in self._makings.get(user, ()) if until > now]
        self._makings[user] = [*waiting, (now + _MAKING_SECONDS, made)]

    def _making(self, attempt: Attempt, fits: Callable[[Making], bool]) -> Making | None:
        """A room that the sender is having made and that fits."""
        makings = (making for until, making in self._makings.get(attempt.sender, ()) if until > time.time())
        return next((making for making in makings if fits(making)), None)

    def _made(self, room: Room, attempt: Attempt) -> None:
        """With the invitation of the bot a new room is complete."""
        makings = self._makings.get(attempt.sender)
        if not makings or attempt.type != _MEMBER or attempt.state_key != self._settings.bot:
            return
        done = next((entry for entry in makings if entry[1].organisation == room.home), makings[0])
        makings.remove(done)
        if not makings:
            del self._makings[attempt.sender]

    # Events

    async def check_event_allowed(self, event: EventBase, state: StateMap[EventBase]) -> Answer:
        """Every event of every local user comes by here, and the first entry of everybody from another server."""
        with self._in_force.closed(_what(event)):
            return await self._check(event, state)

    async def _check(self, event: EventBase, state: StateMap[EventBase]) -> Answer:
        if event.sender == self._settings.bot and not self._policy_server.leaves_as_is(event):
            raise client_error(POLICY_STAYS)
        if self._in_force.latest is None and event.sender == self._settings.bot:
            return True, None
        policy, now = self._in_force.policy(), time.time()
        room = room_of(state, self._settings.bot) if _CREATE in state else None
        attempt = await self._attempt(event, room)
        if beginning := self._beginning(policy, room, attempt, now):
            return _passed(event, beginning)
        if room is None:
            raise client_error(_NOT_MADE)
        if self._let_in.covers(event.room_id, attempt):
            return _passed(event, with_profile(policy, room, attempt, now) if event.type == _MEMBER else Passes())
        if objection := self._terms_owed(policy, room, attempt, now):
            raise client_error(objection)
        verdict = judge(policy, self._settings.unlisted_accounts, room, attempt, now)
        if settles(room, attempt, verdict):
            self._settling[id(event)] = policy, now
        return await self._carry_out(event, room, attempt, verdict)

    async def _ask_modules(self, event: EventBase, context: Any) -> Answer:
        """What Synapse asks of all modules; for one more message like the last one it loads no state of the room."""
        state: StateNumber | None = getattr(context, "state_group_before_event", None)
        if state is None or len(self._rules._check_event_allowed_callbacks) != 1:
            return await self._asked(event, context)
        if self._passed_before(event, state):
            self._noticed(event)
            return True, None
        try:
            answer = await self._asked(event, context)
            if judged := self._settling.get(id(event)):
                policy, now = judged
                settle(policy, event.room_id, state, UserId(event.sender), event.type, now)
            return answer
        finally:
            self._settling.pop(id(event), None)

    async def _asked(self, event: EventBase, context: Any) -> Answer:
        answer: Answer = await self._ask_without_us(event, context)
        return answer

    def _passed_before(self, event: EventBase, state: StateNumber) -> bool:
        """Whether this is one more message of somebody whose last one passed, and nothing has changed since."""
        policy, sender = self._in_force.latest, UserId(event.sender)
        if policy is None or event.is_state():
            return False
        if any(member.id in self._owed.people for member in policy.accounts.get(sender, ())):
            return False
        return has_passed(policy, event.room_id, state, sender, event.type, time.time())

    def _terms_owed(self, policy: Policy, room: Room, attempt: Attempt, now: Moment) -> Objection | None:
        """TRM-1: whoever owes an answer to new terms writes nothing but in the direct chat with the bot."""
        owing = self._owed.people
        if not owing or attempt.state_key is not None or room.direct is not None or attempt.type == REDACTION:
            return None
        return owed_objection(policy, owing, room.home, attempt.sender, now)

    def _beginning(self, policy: Policy, room: Room | None, attempt: Attempt, now: Moment) -> Passes | None:
        """What Synapse puts into a new room by itself: exactly what `on_create_room` made of the request, or none."""
        if room is None and (attempt.sender == self._settings.bot or self._in_force.ignores(policy, attempt.sender)):
            return Passes()
        if room is not None and (room.made or attempt.sender != room.creator):
            return None
        if room is not None and not room.members:
            making = self._making(attempt, lambda _: True)
            return own_entry(policy, making.organisation, attempt, now) if making else None
        return Passes() if self._making(attempt, lambda making: making.makes(attempt.type, attempt.content)) else None

    async def _attempt(self, event: EventBase, room: Room | None) -> Attempt:
        sender = UserId(event.sender)
        attempt = Attempt(event.type, sender, event.content, event.get_state_key())
        if event.type != "m.room.member" or room is None:
            return attempt
        if event.membership == "leave":
            leaves = room.direct == sender == event.state_key
            return attempt._replace(closing=leaves and await self._store.get_user_deactivated_status(sender))
        badge = await self._badge(UserId(event.state_key), event.content.get("avatar_url"))
        if room.membership(sender) != "join" or sender != event.state_key:
            return attempt._replace(badge=badge)
        profile = await self._store.get_profileinfo(UserID.from_string(sender))
        shown = {"displayname": profile.display_name, "avatar_url": profile.avatar_url}
        return attempt._replace(badge=badge, profile=shown)

    async def _badge(self, user: UserId, url: object) -> Badge | None:
        """The letter of a picture that is one of the bot's for this person; once found it is not looked up again."""
        media = media_id(url, self._server)
        if media is None:
            return None
        if found := self._badges.get((user, media)):
            return found
        row = await self._store.get_local_media(media)
        if row is None or row.user_id != self._settings.bot or not (badge := badge_named(row.upload_name, user)):
            return None
        if len(self._badges) >= _MOST_BADGES:
            self._badges.clear()
        self._badges[user, media] = badge
        return badge

    async def _carry_out(self, event: EventBase, room: Room, attempt: Attempt, verdict: Verdict) -> Answer:
        match verdict:
            case Passes():
                self._made(room, attempt)
                self._noticed(event)
                # What another server sends is signed by it: taken as it is or not at all.
                return _passed(event, verdict if self._api.is_mine(event.sender) else Passes())
            case Refused():
                raise client_error(verdict)
            case Held():
                await self._hold(event.room_id, room, verdict.whom)
                raise client_error(Refused(verdict.text, verdict.rules))
            case Opens():
                # Whoever comes in before a message that is then not taken would be in a chat that has not begun.
                if len(encode_canonical_json(event.get_pdu_json())) > _LARGEST_OPENING:
                    raise SynapseError(413, "This message is too long to begin a chat with.", Codes.TOO_LARGE)
                await self._bring_in(event.room_id, attempt.sender, verdict.people)
                # Made anew, so that it comes after those entries and is theirs to read and to be notified of.
                return _passed(event, Passes(event.content))
            case Redacts():
                return _passed(event, _or_raise(may_redact(room, attempt, await self._redacted(event))))

    def _noticed(self, event: EventBase) -> None:
        """A new message takes its chat out of the archive (CL-2)."""
        words = event.type == "m.room.message" and event.sender != self._settings.bot
        if words and not is_command(event.content):
            self._archive.written_in(event.room_id)

    async def _archived(self, rooms: Collection[str]) -> list[tuple[UserId, str]]:
        found = await self._store.db_pool.simple_select_many_batch(
            table="room_tags",
            column="room_id",
            iterable=rooms,
            keyvalues={"tag": ARCHIVED},
            retcols=("user_id", "room_id"),
            desc="qwil_archived",
        )
        return [(UserId(user), room) for user, room in found]

    async def _take_out_of_archive(self, user: UserId, room: str) -> None:
        await self._hs.get_account_data_handler().remove_tag_from_room(user, room, ARCHIVED)

    async def _redacted(self, event: EventBase) -> Attempt | None:
        target = event.redacts
        found = await self._store.get_event(target, allow_none=True) if isinstance(target, str) else None
        if found is None or found.room_id != event.room_id:
            return None
        return Attempt(found.type, UserId(found.sender), found.content, found.get_state_key())

    # Events of other servers

    async def check_event_for_spam(self, event: EventBase) -> Any:
        """What other servers send once they are in a room does not come by `check_event_allowed`."""
        if not self._api.is_mine(event.sender) and not await self._passes_from_elsewhere(event):
            return Codes.FORBIDDEN, {}
        return await self._spam_without_us(event)

    async def _passes_from_elsewhere(self, event: EventBase) -> bool:
        try:
            # What was signed or refused when its server asked is so when it arrives.
            verdict = await self._policy_server.kept(event.event_id) or await self._judged_from_elsewhere(event)
            return isinstance(verdict, Passes)
        except Exception:  # a fault of ours refuses
            logger.exception("Could not decide on %s by %s, which is therefore refused", event.type, event.sender)
            return False

    async def _judged_from_elsewhere(self, event: EventBase) -> Passes | Refused:
        verdict = await self._verdict_from_elsewhere(event)
        if isinstance(verdict, Refused):
            what = _what(event)
            self._refusals.note(what, verdict.rules, verdict.text, time.time())
        return verdict

    async def _verdict_from_elsewhere(self, event: EventBase) -> Passes | Refused:
        if refusal := await self._downloads.refusal_to_pass_on(event):
            return refusal
        state = await self._api.get_room_state(event.room_id)
        if _CREATE not in state:
            # A room of another server: whether our people may be invited there is asked below.
            return Passes()
        room = room_of(state, self._settings.bot)
        if not self._api.is_mine(room.creator):
            return Passes()
        policy, now = self._in_force.policy(), time.time()
        attempt = Attempt(event.type, UserId(event.sender), event.content, event.get_state_key())
        if objection := self._terms_owed(policy, room, attempt, now):
            return refused(objection)
        verdict = judge(policy, self._settings.unlisted_accounts, room, attempt, now)
        if isinstance(verdict, Redacts):
            return may_redact(room, attempt, await self._redacted(event))
        return verdict if isinstance(verdict, Passes) else _refusal_in(verdict)

    async def federated_user_may_invite(self, event: EventBase) -> Any:
        """An invitation into a room of another server is for those whom its sender reaches."""
        with self._in_force.closed(f"an invitation by {event.sender}"):
            policy, target = self._in_force.policy(), UserId(event.state_key)
            if not self._in_force.ignores(policy, target) and not reaches(
                policy, UserId(event.sender), target, time.time()
            ):
                raise client_error(_OTHER_SERVERS)
            return NOT_SPAM

    async def user_may_join_room(self, user: str, room_id: str, is_invited: bool) -> Any:
        """A room that is on other servers alone is entered by invitation; all others are judged by their events."""
        with self._in_force.closed(f"an entry of {user} into {room_id}"):
            here = (
                is_invited
                or self._in_force.leaves_free(UserId(user))
                or await self._store.is_host_joined(room_id, self._server)
            )
            if not here:
                raise client_error(ENTRY)
            return NOT_SPAM

    # Drafts

    async def _hold(self, room_id: str, room: Room, whom: UserId) -> None:
        """Note somebody for the draft's first message."""
        joined = room.membership(self._settings.bot) == "join"
        sender = self._settings.bot if joined else room.creator
        content = {"with": [*room.held, whom]}
        with self._let_in.meanwhile(room_id, Attempt(DRAFT, sender, content, "")):
            await self._api.create_and_send_event_into_room(
                {"type": DRAFT, "room_id": room_id, "sender": sender, "state_key": "", "content": content}
            )

    async def _bring_in(self, room_id: str, creator: UserId, people: tuple[UserId, ...]) -> None:
        """Let those held in, as many as a sender can wait for; one who fails does not keep out the others."""
        here = [user for user in people if self._api.is_mine(user)]
        for user in here[:_AT_ONCE]:
            try:
                if await self._api.check_user_exists(user):
                    await self._enter(room_id, creator, user)
            except Exception:  # whatever keeps one out, the others come in, and the bridge tries this one again
                logger.exception("%s could not be brought into %s", user, room_id)

    async def _enter(self, room_id: str, creator: UserId, user: UserId) -> None:
        steps = [(creator, "invite"), (user, "join")] if self._settings.auto_join else [(creator, "invite")]
        for sender, membership in steps:
            with self._let_in.meanwhile(room_id, Attempt(_MEMBER, sender, {"membership": membership}, user)):
                await self._api.update_room_membership(sender, user, room_id, membership)

    # What Synapse asks beside events

    async def user_may_create_room(self, user: str, _request: JsonDict) -> Any:
        """A room that did not come by `on_create_room`: an upgrade."""
        with self._in_force.closed(f"a new room by {user}"):
            if not self._in_force.leaves_free(UserId(user)) and not self._makings.get(UserId(user)):
                raise client_error(_NOT_MADE)
            return NOT_SPAM

    async def user_may_create_room_alias(self, user: str, _alias: object) -> Any:
        """Chats have no public addresses."""
        with self._in_force.closed(f"an alias by {user}"):
            return self._only_the_free(UserId(user), PUBLISHED)

    async def user_may_publish_room(self, user: str, _room_id: str) -> Any:
        """Chats are in no public directory."""
        with self._in_force.closed(f"publishing by {user}"):
            return self._only_the_free(UserId(user), PUBLISHED)

    async def do_3pid_invite(self, room_id: str, inviter: UserID, *args: Any, **more: Any) -> Any:
        """Invitations by e-mail are the organisation's; no identity server is asked."""
        with self._in_force.closed(f"an invitation by e-mail by {inviter}"):
            self._only_the_free(UserId(inviter.to_string()), MAILED)
        return await self._mail_without_us(room_id, inviter, *args, **more)

    def _only_the_free(self, user: UserId, objection: Objection) -> Any:
        if not self._in_force.leaves_free(user):
            raise client_error(objection)
        return NOT_SPAM


def _what(event: EventBase) -> str:
    """As the audit has it where it is refused."""
    does = doing(event.type, event.sender, event.get_state_key(), event.content.get("membership"))
    return f"{does} by {event.sender} in {event.room_id}"


def _passed(event: EventBase, passes: Passes) -> Answer:
    if passes.content is None:
        return True, None
    return True, {**event.get_dict(), "content": dict(passes.content)}


def _or_raise(verdict: Passes | Refused) -> Passes:
    if isinstance(verdict, Refused):
        raise client_error(verdict)
    return verdict


def _refusal_in(verdict: Refused | Held | Opens) -> Refused:
    """What is left to be done here is not done for other servers: their people are in no drafts."""
    return FAULT if isinstance(verdict, Opens) else Refused(verdict.text, verdict.rules)
