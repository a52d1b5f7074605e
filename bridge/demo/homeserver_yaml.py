"""What stands in the `homeserver.yaml` of a homeserver on this machine: a noun, nothing here starts anything.

The settings are those the operator's guide asks of a homeserver under a policy, with two differences that only suit a
machine of one's own: limits on rates are lifted, and passwords are hashed cheaply.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML

from bridge.demo.secrets import Secrets

POLICY_MODULE = "policy.synapse_module.PolicyModule"

_UNLIMITED = {"per_second": 100_000, "burst_count": 100_000}

_LIMITS: Mapping[str, object] = {
    "rc_message": _UNLIMITED,
    "rc_registration": _UNLIMITED,
    "rc_login": {"address": _UNLIMITED, "account": _UNLIMITED, "failed_attempts": _UNLIMITED},
    "rc_joins": {"local": _UNLIMITED, "remote": _UNLIMITED},
    "rc_joins_per_room": _UNLIMITED,
    "rc_invites": {"per_room": _UNLIMITED, "per_user": _UNLIMITED, "per_issuer": _UNLIMITED},
    "rc_third_party_invite": _UNLIMITED,
    "rc_3pid_validation": _UNLIMITED,
    "rc_room_creation": _UNLIMITED,
    "rc_admin_redaction": _UNLIMITED,
    "rc_key_requests": _UNLIMITED,
    "rc_media_create": _UNLIMITED,
    "rc_presence": {"per_user": _UNLIMITED},
    "rc_profile": _UNLIMITED,
    "rc_reports": _UNLIMITED,
    "rc_user_directory": _UNLIMITED,
    "rc_delayed_event_mgmt": _UNLIMITED,
}

_GOVERNED: Mapping[str, object] = {
    "enable_registration": False,
    "allow_guest_access": False,
    # Names and pictures come from the policy, so nobody sets their own.
    "enable_set_displayname": False,
    "enable_set_avatar_url": False,
    "require_auth_for_profile_requests": True,
    "limit_profile_requests_to_users_who_share_rooms": True,
    "allow_public_rooms_without_auth": False,
    "allow_public_rooms_over_federation": False,
    "user_directory": {"enabled": True, "search_all_users": True, "prefer_local_users": True},
    # What is deleted from a chat stays for the record as long as the record asks for it.
    "redaction_retention_period": None,
    "encryption_enabled_by_default_for_room_type": "off",
}

_ALONE: Mapping[str, object] = {
    "report_stats": False,
    "trusted_key_servers": [],
    "federation_domain_whitelist": [],
    "url_preview_enabled": False,
    "bcrypt_rounds": 4,
}

# Element would otherwise wait for encryption before the first message, and a record cannot be kept of what it encrypts.
_WELL_KNOWN = {"io.element.e2ee": {"default": False, "force_disable": True}}


@dataclass(frozen=True, kw_only=True)
class HomeserverYaml:
    """One homeserver's settings; `text()` is the file.

    `postgres` is a connection string for libpq, None means SQLite in the folder. `module` is what Synapse hands to the
    policy module, None leaves the module out. `settings` go over everything else, key by key.
    """

    folder: Path
    server_name: str
    port: int
    secrets: Secrets
    postgres: str | None = None
    module: Mapping[str, object] | None = None
    app_services: Sequence[Path] = ()
    settings: Mapping[str, object] = field(default_factory=dict)

    def text(self) -> str:
        yaml = YAML(typ="safe", pure=True)
        # Synapse reads YAML 1.1, where a bare `off` is a truth value: quote as that version demands.
        yaml.version = "1.1"
        yaml.default_flow_style = False
        yaml.representer.ignore_aliases = lambda _: True
        out = io.StringIO()
        yaml.dump(self._settings(), out)
        return out.getvalue()

    def _settings(self) -> dict[str, object]:
        return {**_GOVERNED, **_ALONE, **_LIMITS, **self._address(), **self._files(), **self._parts(), **self.settings}

    def _address(self) -> dict[str, object]:
        resources = [{"names": ["client", "federation"], "compress": False}]
        listener = {"port": self.port, "type": "http", "tls": False, "bind_addresses": ["127.0.0.1"]}
        return {
            "server_name": self.server_name,
            "public_baseurl": f"http://127.0.0.1:{self.port}/",
            "listeners": [{**listener, "resources": resources}],
            "serve_server_wellknown": True,
            "extra_well_known_client_content": _WELL_KNOWN,
        }

    def _files(self) -> dict[str, object]:
        return {
            "pid_file": str(self.folder / "homeserver.pid"),
            "log_config": str(self.folder / "log.yaml"),
            "media_store_path": str(self.folder / "media"),
            "signing_key_path": str(self.folder / "signing.key"),
            "registration_shared_secret": self.secrets.registration,
            "macaroon_secret_key": self.secrets.macaroon,
            "form_secret": self.secrets.form,
        }

    def _parts(self) -> dict[str, object]:
        module = [] if self.module is None else [{"module": POLICY_MODULE, "config": dict(self.module)}]
        return {
            "database": self._database(),
            "modules": module,
            "app_service_config_files": [str(path) for path in self.app_services],
        }

    def _database(self) -> dict[str, object]:
        if self.postgres is None:
            return {"name": "sqlite3", "args": {"database": str(self.folder / "homeserver.db")}}
        return {"name": "psycopg2", "args": {"dsn": self.postgres, "cp_min": 2, "cp_max": 5}}
