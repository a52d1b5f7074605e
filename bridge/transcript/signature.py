"""Ed25519 signatures (RFC 8032) over a manifest, and keys as people write them: `ed25519:` and base64."""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

PREFIX = "ed25519:"


class WrongKey(Exception):
    """What should be a key is none; the text says what one looks like."""


class WrongSignature(Exception):
    """The signature is not of this content; the text says so."""


def signing_key(path: Path) -> SigningKey:
    """The key in the file; a new one is made there, for its owner only, where there is no file."""
    if not path.exists():
        _make(path)
    try:
        return SigningKey(base64.b64decode(path.read_text().strip().removeprefix(PREFIX), validate=True))
    except (ValueError, binascii.Error) as wrong:
        right = f"one line, {PREFIX} and 44 letters of base64"
        raise WrongKey(f"{path} holds no signing key: it should be {right}") from wrong


def _make(path: Path) -> None:
    """Write a fresh key so that two who make one at the same time end with the same."""
    seed = base64.b64encode(bytes(SigningKey.generate())).decode()
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.touch(mode=0o600)
    unfinished.write_text(f"{PREFIX}{seed}\n")
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return
    finally:
        unfinished.unlink()


def public_text(key: VerifyKey) -> str:
    """The public key as it is published."""
    return PREFIX + base64.b64encode(bytes(key)).decode()


def public_key(text: str) -> VerifyKey:
    """The key that somebody wrote down; raises `WrongKey`."""
    try:
        return VerifyKey(base64.b64decode(text.strip().removeprefix(PREFIX), validate=True))
    except (ValueError, TypeError, binascii.Error) as wrong:
        raise WrongKey(f"“{text}” is no public key: it should be {PREFIX} and 44 letters of base64") from wrong


def sign(content: bytes, key: SigningKey) -> bytes:
    """The signature with the public key of its signer, as JSON; the same content and key make the same bytes."""
    signature = base64.b64encode(key.sign(content).signature).decode()
    signed = {"algorithm": "ed25519", "key": public_text(key.verify_key), "signature": signature}
    return json.dumps(signed, indent=1).encode() + b"\n"


def signer(content: bytes, signature: bytes) -> VerifyKey:
    """Whose signature of the content this is; raises `WrongSignature`."""
    try:
        signed = json.loads(signature)
        key = public_key(str(signed["key"]))
        key.verify(content, base64.b64decode(signed["signature"], validate=True))
    except BadSignatureError as wrong:
        raise WrongSignature("the signature is not of this manifest: one of the two was changed") from wrong
    except (ValueError, KeyError, TypeError, RecursionError, WrongKey) as wrong:
        raise WrongSignature(f"it is no signature ({wrong})") from wrong
    return key
