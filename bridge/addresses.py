"""Which texts are addresses: of web pages, of mail servers, of mailboxes, of databases."""

from __future__ import annotations

import re

from yarl import URL

MAIL_SCHEMES = ("smtp", "smtp+starttls", "smtps")
MAILBOX_SCHEMES = ("imap", "imap+starttls", "imaps")


def is_web_address(text: str) -> bool:
    try:
        address = URL(text)
    except ValueError:
        return False
    plain = not (address.query_string or address.fragment or address.user or address.password)
    return address.scheme in ("http", "https") and bool(address.host) and plain


def is_mail_server(text: str) -> bool:
    try:
        address = URL(text)
    except ValueError:
        return False
    alone = not (address.query_string or address.fragment or address.user or address.password)
    return address.scheme in MAIL_SCHEMES and bool(address.host) and address.path in ("", "/") and alone


def is_mailbox(text: str) -> bool:
    try:
        address = URL(text)
    except ValueError:
        return False
    alone = not (address.query_string or address.fragment or address.user or address.password)
    # The name goes into a command of IMAP as it stands.
    plain = re.fullmatch(r"(/[A-Za-z0-9 &._,/-]*)?", address.path)
    return address.scheme in MAILBOX_SCHEMES and bool(address.host) and plain is not None and alone


def has_host(text: str) -> bool:
    try:
        address = URL(text)
    except ValueError:
        return False
    return bool(address.host or address.query.get("host")) and address.path not in ("", "/")
