"""The application service's registration: what the homeserver has to know of the bridge, and the tokens both share."""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple

from bridge.config import Config, ConfigError, parse

PLACEHOLDER = "REPLACE-ME"
"""What the tokens of the example files begin with."""

TOKEN_BYTES = 32

TEMPLATE = """\
# The homeserver's copy of who the bridge is: name this file in homeserver.yaml under app_service_config_files and
# restart the homeserver. The two tokens are secrets, and the same as in config.yaml.
id: {id}
url: {url}
as_token: {as_token}
hs_token: {hs_token}
# Not the bot: the account named here cannot follow rooms (/sync), and the bot has to see what it missed.
sender_localpart: {sender}
# The bridge acts as its bot and, where a person asked it to, as that person: no name is reserved for it.
namespaces:
  users:
    - exclusive: false
      regex: {everybody}
  rooms: []
  aliases: []
rate_limited: false
receive_ephemeral: true
"""


class Tokens(NamedTuple):
    """The two secrets between bridge and homeserver."""

    as_token: str
    """The bridge shows it to the homeserver."""
    hs_token: str
    """The homeserver shows it to the bridge."""


def fresh_tokens() -> Tokens:
    """Two new tokens that nobody can guess."""
    return Tokens(secrets.token_urlsafe(TOKEN_BYTES), secrets.token_urlsafe(TOKEN_BYTES))


def registration_text(config: Config, tokens: Tokens) -> str:
    """The registration as YAML, for the homeserver's `app_service_config_files`."""
    return TEMPLATE.format(
        id=_quoted(config.appservice.id),
        url=_quoted(config.appservice.address),
        as_token=_quoted(tokens.as_token),
        hs_token=_quoted(tokens.hs_token),
        sender=_quoted(f"{config.appservice.bot}-appservice"),
        everybody=_quoted(f"@.*:{re.escape(config.homeserver.server_name)}"),
    )


def with_tokens(text: str, config: Config, tokens: Tokens) -> str | None:
    """The text of `config.yaml` with these tokens and nothing else changed, or None where it is written too oddly."""
    for name, token in tokens._asdict().items():
        written = re.compile(rf"^([ \t]+{name}[ \t]*:)(?:[ \t]+(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s#'\"]+))?", re.MULTILINE)
        if written.search(text) is None:
            text = re.sub(r"^appservice[ \t]*:[^\n]*$", rf"\g<0>\n  {name}:", text, count=1, flags=re.MULTILINE)
        if written.search(text) is None:
            text = f"{text.rstrip()}\n\nappservice:\n  {name}:\n"
        text = written.sub(rf"\g<1> {_quoted(token)}", text, count=1)
    return text if _tokens_in(text, config) == tokens else None


def _tokens_in(text: str, config: Config) -> Tokens | None:
    try:
        appservice = parse(text, config.file).appservice
    except ConfigError:
        return None
    return Tokens(appservice.as_token, appservice.hs_token)


def token_objection(config: Config) -> str | None:
    """Why the bridge must not start with these tokens, in a sentence, or None."""
    tokens = {"as_token": config.appservice.as_token, "hs_token": config.appservice.hs_token}
    examples = [name for name, token in tokens.items() if not token or token.startswith(PLACEHOLDER)]
    if examples:
        return (
            f"{' and '.join(f'appservice.{name}' for name in examples)} in {config.file} still hold the example's"
            f" placeholders, which everybody knows: run `qwil registration -c {config.file}`, which makes fresh tokens"
            " and the registration for the homeserver."
        )
    if tokens["as_token"] == tokens["hs_token"]:
        return f"appservice.as_token and appservice.hs_token in {config.file} are the same: they have to differ."
    return None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
