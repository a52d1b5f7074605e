"""The policy server of our chats (Matrix 1.18, MSC4284): the other homeservers in a chat ask here before they send.

`m.room.policy` of each chat names this homeserver and the key made here. Our own Synapse does not ask itself, its
events pass the module; every other one posts its event to `/_matrix/policy/v1/sign` and gets a signature or a refusal
in our words. The judgement is the module's own, handed in; this file knows the protocol, the key and the verdicts kept.

Redaction, canonical JSON and signing are Synapse's and signedjson's, with whose copies the others check: a redaction
algorithm of ours would be one more to fall behind. There is no `/.well-known/matrix/policy_server`: it invites others
to name this server in rooms of their own making, which it does not judge.
"""

from __future__ import annotations

import io
import json
import logging
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from signedjson.key import generate_signing_key, get_verify_key, read_signing_keys, write_signing_keys
from signedjson.types import SigningKey
from synapse.api.errors import Codes, NotFoundError, SynapseError
from synapse.api.ratelimiting import Ratelimiter
from synapse.api.room_versions import RoomVersion
from synapse.config._base import read_config_files
from synapse.config.ratelimiting import RatelimitSettings
from synapse.crypto.event_signing import check_event_content_hash, compute_event_signature
from synapse.events import EventBase
from synapse.federation.federation_base import event_from_pdu_json
from synapse.federation.transport.server._base import Authenticator
from synapse.http.server import DirectServeJsonResource
from synapse.http.servlet import parse_json_object_from_request
from synapse.http.site import SynapseRequest
from synapse.module_api import ModuleApi
from synapse.module_api.errors import ConfigError
from synapse.types import JsonDict
from twisted.internet.defer import CancelledError
from unpaddedbase64 import encode_base64

from policy.judge import RULES, Passes, Refused
from policy.template import POLICY

logger = logging.getLogger(__name__)

Judge = Callable[[EventBase], Awaitable[Passes | Refused]]
Signatures = dict[str, dict[str, str]]

KEY_ID = "ed25519:policy_server"
"""The only key id there is; a new key keeps it (specification, "Policy Servers")."""

PATH = "/_matrix/policy/v1/sign"
UNSTABLE_PATH = "/_matrix/policy/unstable/org.matrix.msc4284/sign"

_POLICIES = (POLICY, "org.matrix.msc4284.policy")

_CREATE = ("m.room.create", "")
_MOST_BYTES = 256 * 1024
"""Of a request: events have 64 KiB at the most, but may be written with escapes and have unsigned parts."""

_PER_SECOND, _AT_ONCE = 200, 4000
"""How much one server may ask: who asks is about to send, and what is not answered is not sent."""

_MOST_VERDICTS = 250_000
_TRIM_EVERY_MS = 3_600_000

_FORGED = Refused("This event names an account of this server as its sender, which did not send it.")
_NOT_TAKEN_OVER = Refused("This event did not hold against the rules when it came here, and does not now.")
_NOT_IN_THE_ROOM = Refused("Only servers with somebody in the chat are told what may be sent in it.")
_NO_KEY = Refused("This server cannot sign events at the moment. Please tell an administrator.")
_FAULT = Refused("This could not be checked against the rules and was not signed. Please tell an administrator.")


class PolicyServer:
    """What other homeservers ask; `judge` says whether an event of theirs may stand.

    `key_file` is where the signing key is or is to be made; None is beside the homeserver's own signing key. Raises
    ConfigError where a named file cannot be made or any holds something else.
    """

    def __init__(self, api: ModuleApi, key_file: str | None, judge: Judge) -> None:
        logger.disabled = False
        self._api = api
        self._server = api.server_name
        # What the module interface has no calls for, as in `policy.synapse_module`.
        self._hs: Any = api._hs
        self._store: Any = self._hs.get_datastores().main
        self._judge = judge
        self._limits = Ratelimiter(
            store=self._store,
            clock=self._hs.get_clock(),
            cfg=RatelimitSettings("qwil_policy_server", per_second=_PER_SECOND, burst_count=_AT_ONCE),
        )
        self._table_is_there = False
        self._required = key_file is not None
        self._key_file = Path(key_file) if key_file else _beside_the_signing_key(self._hs.config)
        self._key = self._loaded_key(make=self._hs.config.worker.worker_app is None)

    def register(self) -> None:
        """Serve other homeservers from now on."""
        self._api.register_web_resource(PATH, SignResource(self))
        self._api.register_web_resource(UNSTABLE_PATH, UnstableSignResource(self))
        self._api.looping_background_call(self._trim, _TRIM_EVERY_MS)

    # What our own rooms say about it

    @property
    def key(self) -> SigningKey | None:
        """The signing key; none before the main process has made it, and where it cannot."""
        if self._key is None:
            self._key = self._loaded_key(make=False)
        return self._key

    @property
    def state(self) -> JsonDict | None:
        """The content of `m.room.policy` in a chat of ours; none without a key."""
        return policy_content(self._server, self.key) if self.key else None

    def leaves_as_is(self, event: EventBase) -> bool:
        """Whether `m.room.policy` is after this event what it is to be; what is about something else leaves it so."""
        ours = event.type == POLICY and event.get_state_key() == "" and self.state is not None
        return event.type not in _POLICIES or (ours and event.content == self.state)

    # What others ask

    async def answer(self, request: SynapseRequest) -> Signatures:
        """Our signature on the event in the request; SynapseError with what the specification has for the rest."""
        body: Any = request.content
        size = body.seek(0, os.SEEK_END)
        body.seek(0)
        if size > _MOST_BYTES:
            raise SynapseError(413, f"An event has no more than {_MOST_BYTES} bytes; this has {size}.", Codes.TOO_LARGE)
        pdu = parse_json_object_from_request(request)
        # Made here: the parts it is built from are not all there while modules load.
        origin = await Authenticator(self._hs).authenticate_request(request, pdu)
        await self._limits.ratelimit(None, key=origin)
        return await self.sign(origin, pdu)

    async def sign(self, origin: str, pdu: JsonDict) -> Signatures:
        """Our signature on this event, asked for by that server."""
        version = await self._room_version(pdu)
        event = event_of(pdu, version)
        # Not 404, which some servers take for a permission.
        if (key := self.key) is None:
            raise refusal_error(_NO_KEY)
        if not await self._has_somebody_in(origin, event.room_id):
            raise refusal_error(_NOT_IN_THE_ROOM)
        verdict = await self._verdict(event)
        if isinstance(verdict, Refused):
            raise refusal_error(verdict)
        return signature(event, version, self._server, key)

    async def _room_version(self, pdu: JsonDict) -> RoomVersion:
        """The version of a room we protect: made here, and naming this server in `m.room.policy`."""
        room_id = pdu.get("room_id")
        if not isinstance(room_id, str):
            raise SynapseError(400, "room_id has to be the id of the event's room.", Codes.BAD_JSON)
        state = await self._api.get_room_state(room_id, [_CREATE, (POLICY, "")])
        create, policy = state.get(_CREATE), state.get((POLICY, ""))
        if create is None or not self._api.is_mine(create.sender):
            raise NotFoundError(f"{room_id} is no room of this server.")
        if policy is None or policy.content.get("via") != self._server:
            raise NotFoundError(f"{room_id} does not name this server as its policy server.")
        version: RoomVersion = await self._store.get_room_version(room_id)
        return version

    async def _has_somebody_in(self, server: str, room_id: str) -> bool:
        return bool(
            await self._store.is_host_joined(room_id, server) or await self._store.is_host_invited(room_id, server)
        )

    async def _verdict(self, event: EventBase) -> Passes | Refused:
        """Whatever goes wrong refuses; only what was judged by a policy is kept."""
        try:
            return await self.kept(event.event_id) or await self._of_what_is_here(event) or await self._judged(event)
        except SynapseError as error:
            return Refused(error.msg)
        except CancelledError:
            raise
        except Exception:  # a fault of ours refuses, and the asking server is answered in time
            logger.exception("Could not decide on %s by %s, which is therefore refused", event.type, event.sender)
            return _FAULT

    async def _of_what_is_here(self, event: EventBase) -> Passes | Refused | None:
        """What was taken over into the room was judged then, and the rules of today do not undo it."""
        known = await self._store.get_event(event.event_id, allow_none=True)
        if known is not None and not known.internal_metadata.is_outlier():
            return _NOT_TAKEN_OVER if known.internal_metadata.is_soft_failed() else Passes()
        return _FORGED if self._api.is_mine(event.sender) else None

    async def _judged(self, event: EventBase) -> Passes | Refused:
        verdict = await self._judge(event)
        await self._ensure_table()
        return await self._store.db_pool.runInteraction(  # type: ignore[no-any-return]
            "qwil_keep_verdict", keep_in, event.event_id, verdict, int(time.time() * 1000)
        )

    # Verdicts

    async def kept(self, event_id: str) -> Passes | Refused | None:
        """What was said about this event before: nothing can be taken back (MSC4284), so it is said again."""
        await self._ensure_table()
        return await self._store.db_pool.runInteraction("qwil_verdict", verdict_in, event_id)  # type: ignore[no-any-return]

    async def _ensure_table(self) -> None:
        if self._table_is_there:
            return
        try:
            await self._store.db_pool.runInteraction("qwil_verdicts", make_table)
            self._table_is_there = True
        except self._store.db_pool.engine.module.Error as error:
            # PostgreSQL lets one of two that make it at the same moment fail; then it is there.
            logger.info("The table of verdicts was not made here: %s", error)

    async def _trim(self) -> None:
        await self._ensure_table()
        await self._store.db_pool.runInteraction("qwil_trim_verdicts", trim, _MOST_VERDICTS)

    # The key

    def _loaded_key(self, *, make: bool) -> SigningKey | None:
        try:
            key = load_key(self._key_file, make=make)
        except OSError as error:
            if self._required and make:
                raise ConfigError(f"qwil policy module: policy_key cannot be read or made: {error}") from None
            logger.warning(
                "Other servers are not asked to follow the policy, as there is no key to sign with: %s", error
            )
            return None
        if key is not None and any(one.encode() == key.encode() for one in self._hs.config.key.signing_key):
            raise ConfigError(
                f"qwil policy module: {self._key_file} holds the homeserver's own signing key; it has to be another"
            )
        return key


class SignResource(DirectServeJsonResource):
    """`POST /_matrix/policy/v1/sign`."""

    def __init__(self, policy_server: PolicyServer) -> None:
        super().__init__(clock=policy_server._api._clock)
        self._policy_server = policy_server

    async def _async_render_POST(self, request: SynapseRequest) -> tuple[int, JsonDict]:  # noqa: N802 - Synapse calls it so
        return 200, dict(await self._policy_server.answer(request))


class UnstableSignResource(SignResource):
    """The same before it was in the specification: a refusal is an answer without signatures."""

    async def _async_render_POST(self, request: SynapseRequest) -> tuple[int, JsonDict]:  # noqa: N802 - Synapse calls it so
        try:
            return await super()._async_render_POST(request)
        except SynapseError as error:
            if error.code == 400 and error.errcode == Codes.FORBIDDEN:
                return 200, {}
            raise


# Events and signatures


def policy_content(server: str, key: SigningKey) -> JsonDict:
    """The content of `m.room.policy` that names this server and this key."""
    return {"via": server, "public_keys": {"ed25519": encode_base64(get_verify_key(key).encode())}}


def event_of(pdu: JsonDict, version: RoomVersion) -> EventBase:
    """The event of that JSON; SynapseError 400 M_BAD_JSON where it is none, or its hash is another content's.

    The signature covers the hash alone, so it would hold for the content that was not shown.
    """
    try:
        event = event_from_pdu_json(pdu, version)
        genuine = check_event_content_hash(event)
    except Exception as error:  # Synapse's reader raises whatever a foreign event leads it into
        said = error.msg if isinstance(error, SynapseError) else "a field has the wrong type"
        raise SynapseError(
            400, f"This is no event of room version {version.identifier}: {said}.", Codes.BAD_JSON
        ) from None
    if not genuine:
        raise SynapseError(400, "The event's hash is not that of its content.", Codes.BAD_JSON)
    return event


def signature(event: EventBase, version: RoomVersion, server: str, key: SigningKey) -> Signatures:
    """Our signature alone on the event as redacted in that room version."""
    unsigned = {**event.get_pdu_json(), "signatures": {}}
    return {server: {KEY_ID: compute_event_signature(version, unsigned, server, key)[server][KEY_ID]}}


def refusal_error(refusal: Refused) -> SynapseError:
    """What homeservers hand on to the client that wanted to send: exactly 400 M_FORBIDDEN, and our sentence."""
    return SynapseError(400, refusal.text, Codes.FORBIDDEN, {RULES: list(refusal.rules)})


# The key on disk


def load_key(file: Path, *, make: bool) -> SigningKey | None:
    """The key in that file, made there first if asked to; none where there is no file.

    Raises OSError where it cannot be read or made, ConfigError where it holds something else.
    """
    if not file.exists():
        if not make:
            return None
        _make_key(file)
    try:
        (key,) = read_signing_keys(file.read_text().splitlines())
    except ValueError:
        key = None
    if key is None or key.version != KEY_ID.partition(":")[2]:
        raise ConfigError(
            f"qwil policy module: {file} has to hold one line `ed25519 policy_server SEED`; "
            "move it away and a key is made in its place"
        )
    return key


def _make_key(file: Path) -> None:
    """Whole or not at all, and readable for us alone, which is how `mkstemp` makes files."""
    text = io.StringIO()
    write_signing_keys(text, [generate_signing_key(KEY_ID.partition(":")[2])])
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with os.fdopen(descriptor, "w") as out:
        out.write(text.getvalue())
        out.flush()
        os.fsync(descriptor)
    Path(name).replace(file)


def _beside_the_signing_key(config: Any) -> Path:
    """Synapse forgets where it read its key, so the place is read from its files once more."""
    files = config.config_files
    named = read_config_files(files).get("signing_key_path") if files else None
    folder = Path(named).parent if isinstance(named, str) else Path(files[-1]).parent if files else Path()
    return folder / f"{config.server.server_name}.policy.key"


# The table of verdicts, in Synapse's own database: all its processes give the same answers, and a restored backup has
# the rooms and what was said about them together. The newest are kept; what became of older ones is in the rooms.


def make_table(transaction: Any) -> None:
    """Make the table where there is none."""
    transaction.execute(
        "CREATE TABLE IF NOT EXISTS qwil_policy_verdicts"
        " (event_id TEXT NOT NULL PRIMARY KEY, decided_ts BIGINT NOT NULL, refusal TEXT)"
    )
    transaction.execute("CREATE INDEX IF NOT EXISTS qwil_policy_verdicts_decided ON qwil_policy_verdicts (decided_ts)")


def verdict_in(transaction: Any, event_id: str) -> Passes | Refused | None:
    """What was said about that event."""
    transaction.execute("SELECT refusal FROM qwil_policy_verdicts WHERE event_id = ?", (event_id,))
    row = transaction.fetchone()
    return None if row is None else _read(row[0])


def keep_in(transaction: Any, event_id: str, verdict: Passes | Refused, now: int) -> Passes | Refused:
    """Keep a verdict, and say the one that is kept: another process may have been first."""
    transaction.execute(
        "INSERT INTO qwil_policy_verdicts (event_id, decided_ts, refusal) VALUES (?, ?, ?)"
        " ON CONFLICT (event_id) DO NOTHING",
        (event_id, now, _written(verdict)),
    )
    return verdict_in(transaction, event_id) or verdict


def trim(transaction: Any, most: int) -> None:
    """Drop the oldest verdicts beyond so many."""
    transaction.execute(
        "DELETE FROM qwil_policy_verdicts WHERE decided_ts <="
        " (SELECT decided_ts FROM qwil_policy_verdicts ORDER BY decided_ts DESC LIMIT 1 OFFSET ?)",
        (most,),
    )


def _written(verdict: Passes | Refused) -> str | None:
    return None if isinstance(verdict, Passes) else json.dumps({"text": verdict.text, "rules": verdict.rules})


def _read(refusal: str | None) -> Passes | Refused:
    if refusal is None:
        return Passes()
    told: Mapping[str, Any] = json.loads(refusal)
    return Refused(told["text"], tuple(told["rules"]))
