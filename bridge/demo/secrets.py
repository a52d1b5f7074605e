"""What a homeserver on this machine keeps to itself: made once for a folder, the same after every restart."""

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from signedjson.key import generate_signing_key, write_signing_keys


def _token() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """The secrets of one homeserver, and the password of its administrator."""

    registration: str = field(default_factory=_token, repr=False)
    macaroon: str = field(default_factory=_token, repr=False)
    form: str = field(default_factory=_token, repr=False)
    admin_password: str = field(default_factory=_token, repr=False)


def secrets_in(folder: Path) -> Secrets:
    """The secrets of the homeserver in `folder`, made where there are none, for this user alone to read."""
    file = folder / "secrets.json"
    if not file.exists():
        _write_signing_key(folder / "signing.key")
        _write_for_us_alone(file, json.dumps(asdict(Secrets())))
    return Secrets(**json.loads(file.read_text()))


def _write_signing_key(file: Path) -> None:
    _write_for_us_alone(file, "")
    with file.open("w") as out:
        write_signing_keys(out, (generate_signing_key(f"a_{secrets.token_hex(3)}"),))


def _write_for_us_alone(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
