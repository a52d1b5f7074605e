"""Is the homeserver set up as the bridge needs it, and does it decide by the same policy? Nothing of it is changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mautrix.api import Method, PathBuilder

from bridge.config import Config
from bridge.homeserver import Homeserver, HomeserverUnavailable, Refused

log = logging.getLogger("qwil.module_check")

LOOK_AGAIN = 0.1
STEP_PATIENCE = 10.0
"""Seconds between two looks whether the module has a saved policy too, and for how long at most."""

STATUS = PathBuilder("/_synapse/client/qwil/status")

WANTED: Mapping[str, tuple[object, str]] = {
    "enable_set_displayname": (False, "people could change their names, which the policy gives"),
    "enable_set_avatar_url": (False, "people could change their badges"),
    "enable_registration": (False, "strangers could make accounts (INV-1)"),
    "require_auth_for_profile_requests": (True, "anybody could look up names without an account"),
    "limit_profile_requests_to_users_who_share_rooms": (True, "people could look up the names of strangers"),
    "redaction_retention_period": (None, "what was deleted while the bridge was away could not be put on record"),
}
"""What `homeserver.yaml` should say, and what happens otherwise."""

NO_MODULE = (
    "The homeserver does not have the policy module, so that nothing would be refused before it happens. Add it to "
    "`modules` in homeserver.yaml (README.md shows how) and restart the homeserver, or write "
    "`enforce: after_the_fact` in config.yaml: then what should not have happened is undone when it has."
)

AFTERWARDS = (
    "The homeserver does not have the policy module: nothing is refused before it happens, and what should not have "
    "happened is undone when it has (enforce: after_the_fact). docs/operating.md says what that leaves open."
)

OTHER_BOT = (
    "The homeserver's policy module serves another bot than {bot} ({refusal}): `bot` in homeserver.yaml has to be "
    "{bot}, and the homeserver restarted, or appservice.bot in config.yaml and registration.yaml the other."
)

NO_POLICY = (
    "The homeserver's module has no policy and refuses everybody: `policy` in homeserver.yaml has to name a file that "
    "the homeserver may read and in which `qwil check` finds no mistake; the homeserver's log says what it met."
)

UNKNOWN = (
    "The homeserver does not know this bridge: name its registration.yaml under `app_service_config_files` in "
    "homeserver.yaml and restart the homeserver, which is needed again whenever `qwil registration` made fresh tokens."
)

NOT_OURS = (
    "The homeserver's registration of this bridge is not for {bot} ({refusal}): correct homeserver.server_name and "
    "appservice.bot in config.yaml, or run `qwil registration` again and restart the homeserver."
)

_ANOTHER_ANSWERS = (
    "Another program answers there, or the tokens differ: registration.yaml and config.yaml have to hold the same "
    "tokens, as `qwil registration` writes them, and the homeserver has to be restarted after it."
)
_NO_CONNECTION = (
    "Correct appservice.address in config.yaml, run `qwil registration` again and restart the homeserver; a firewall "
    "may stand between them as well."
)
UNREACHED: Mapping[str, str] = {
    "M_BAD_STATUS": _ANOTHER_ANSWERS,
    "M_CONNECTION_FAILED": _NO_CONNECTION,
    "M_CONNECTION_TIMEOUT": _NO_CONNECTION,
    "M_URL_NOT_SET": "registration.yaml has no `url`: run `qwil registration` again and restart the homeserver.",
    "M_FORBIDDEN": "registration.yaml has another `id` than appservice.id in config.yaml.",
}
"""What to do where the homeserver cannot hand its events over, by the errcode of the ping."""


def objection_to_entry(config: Config, refusal: Refused) -> str:
    """Why the homeserver does not let the bot in, as a sentence for the operator."""
    if refusal.errcode in ("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"):
        return UNKNOWN
    return NOT_OURS.format(bot=config.bot, refusal=str(refusal).rstrip("."))


async def unreached(homeserver: Homeserver, config: Config) -> str | None:
    """Why nothing that happens on the homeserver would arrive at the bridge; none where it does."""
    try:
        await homeserver.call_back()
    except Refused as refusal:
        what = UNREACHED.get(refusal.errcode)
        return what and f"The homeserver cannot hand its events to the bridge at {config.appservice.address}. {what}"
    except HomeserverUnavailable:
        pass
    return None


async def module_status(homeserver: Homeserver) -> Mapping[str, Any] | None:
    """What the module says of itself; none where there is no module."""
    try:
        status: Mapping[str, Any] = await homeserver.ask(Method.GET, STATUS)
    except Refused as refusal:
        if refusal.status == 404:
            return None
        raise
    return status


async def in_step(homeserver: Homeserver, digest: Callable[[], str], patience: float = STEP_PATIENCE) -> None:
    """Wait, a while at most, until the module decides by the policy that the bridge acts by.

    Both read the file by themselves. What the module refuses because it is a moment behind would stay undone until
    something changes again: somebody who is active once more would stay out of their chats. A module that does not say
    what it decides by is not waited for.
    """
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            status = await module_status(homeserver)
        except Refused as refusal:
            log.warning("The homeserver's module does not say by which policy it decides: %s", refusal)
            return
        if status is None or status.get("policy") == digest():
            return
        await asyncio.sleep(LOOK_AGAIN)


def complaints(status: Mapping[str, Any], digest: str) -> Iterator[str]:
    """What is not as it should be, each in a sentence that says what to change."""
    if not status.get("policy"):
        yield NO_POLICY
    elif status.get("policy") != digest:
        yield (
            "The homeserver's module enforces another policy than the bridge reads: `policy` in homeserver.yaml and "
            "in config.yaml have to name the same file, or copies that are the same."
        )
    settings = status.get("settings", {})
    for name, (wanted, otherwise) in WANTED.items():
        if settings.get(name) != wanted:
            yield f"In homeserver.yaml write `{name}: {_as_yaml(wanted)}`; otherwise {otherwise}."


def _as_yaml(value: object) -> str:
    return "null" if value is None else str(value).lower()
