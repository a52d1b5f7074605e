"""Is the homeserver set up as the bridge needs it? Asked once at the start; nothing of the homeserver's is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mautrix.api import Method, PathBuilder

from bridge.homeserver import Homeserver, Refused

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
    "`enforce: after_the_fact` in config.yaml: then only who may not be in a chat is removed from it afterwards."
)


async def module_status(homeserver: Homeserver) -> Mapping[str, Any] | None:
    """What the module says of itself; none where there is no module."""
    try:
        status: Mapping[str, Any] = await homeserver.ask(Method.GET, STATUS)
    except Refused as refusal:
        if refusal.status == 404:
            return None
        raise
    return status


def complaints(status: Mapping[str, Any], digest: str) -> Iterator[str]:
    """What is not as it should be, each in a sentence that says what to change."""
    if status.get("policy") != digest:
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
