"""What homeserver.yaml says to the policy module, checked before Synapse starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synapse.module_api.errors import ConfigError
from synapse.types import UserID

from policy.judge import UnlistedAccounts
from policy.model import UserId
from policy.template import ROOM_VERSION

_VERSIONS = ("11", "10")
"""Room versions in which power is what the power levels say; a creator's power in version 12 is without limit."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The module's configuration in homeserver.yaml."""

    policy: Path
    bot: UserId
    unlisted_accounts: UnlistedAccounts = "refuse"
    room_version: str = ROOM_VERSION
    auto_join: bool = True
    policy_key: str | None = None
    """Where the key of the policy server is or is made; beside the homeserver's signing key unless given."""


_TYPES: dict[str, type] = {
    "policy": str,
    "bot": str,
    "unlisted_accounts": str,
    "room_version": str,
    "auto_join": bool,
    "policy_key": str,
}


def settings_from(config: Mapping[str, Any]) -> Settings:
    """The module's configuration; ConfigError with a sentence for every mistake."""
    if mistakes := list(_mistakes(config)):
        raise ConfigError("qwil policy module: " + "; ".join(mistakes))
    return Settings(**{**config, "policy": Path(config["policy"]), "bot": UserId(config["bot"])})


def _mistakes(config: Mapping[str, Any]) -> Iterator[str]:
    for key, value in config.items():
        if key not in _TYPES:
            yield f"unknown setting {key!r}, expected one of {', '.join(_TYPES)}"
        elif not isinstance(value, _TYPES[key]):
            yield f"{key} has to be a {'truth value' if _TYPES[key] is bool else 'text'}, not {value!r}"
    yield from (f"{key} is missing" for key in ("policy", "bot") if key not in config)
    if config.get("unlisted_accounts", "refuse") not in ("refuse", "ignore"):
        yield f"unlisted_accounts is refuse or ignore, not {config['unlisted_accounts']!r}"
    if isinstance(bot := config.get("bot"), str) and not UserID.is_valid(bot):
        yield f"bot has to be a Matrix ID like @qwil:example.org, not {bot!r}"
    version = config.get("room_version", ROOM_VERSION)
    if isinstance(version, str) and version not in _VERSIONS:
        yield f"room_version {version!r} is not one this module knows; expected one of {', '.join(_VERSIONS)}"
