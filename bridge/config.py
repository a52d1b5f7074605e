"""`config.yaml` as a frozen `Config`: where the homeserver, the database and the policy are, and how the bridge acts.

All mistakes are told at once, each with its place; the reading of YAML is the policy's. What the file may hold stands
in the functions named `_..._of` below and, for people, in `config.example.yaml`; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parseaddr
from pathlib import Path
from string import Formatter
from typing import Literal
from urllib.parse import quote

from bridge.addresses import has_host, is_mail_server, is_mailbox, is_web_address
from bridge.networks import LOOPBACK, Network, networks_by_name, networks_of
from policy.mistake import Mistakes, Notebook, Place, quoted
from policy.yaml_nodes import Node, Reading, Scalar, compose

Enforce = Literal["module", "after_the_fact"]
Login = Literal["password", "single_sign_on"]

KEYS = ("homeserver", "appservice", "database", "policy", "enforce", "admin", "auto_join", "spaces", "message_link",
        "removals_wait_above", "mail", "bounces", "web", "terms", "exports")  # fmt: skip
HOMESERVER_KEYS = ("address", "server_name")
APPSERVICE_KEYS = ("id", "address", "hostname", "port", "as_token", "hs_token", "bot")
SPACES_KEYS = ("books_with_at_least",)
MAIL_KEYS = ("server", "username", "password", "sender", "per_minute")
BOUNCES_KEYS = ("address", "mailbox", "username", "password")
EXPORTS_KEYS = ("folder", "key", "fonts", "handling")
WEB_KEYS = ("address", "hostname", "port", "homeserver", "login", "trusted_proxies", "staff_networks")
TERMS_KEYS = ("name", "version", "link", "file")
ENFORCE: Mapping[str, Enforce] = {"module": "module", "after_the_fact": "after_the_fact"}
LOGIN: Mapping[str, Login] = {"password": "password", "single_sign_on": "single_sign_on"}
SENDER = "qwil <noreply@localhost>"
MESSAGE_LINK = "https://matrix.to/#/{room}/{event}?via={server}"
LINK_FIELDS = ("room", "event", "server")
LINK_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^0-9]")
"""What clients take for a link: https://, matrix: or an app's own scheme, which a host with a port is not."""
LONGEST_LOCAL_PART = 64
"""Octets before the @ of an address (RFC 5321, 4.5.3.1.1)."""
MARK_LENGTH = 32
"""Characters that stand for `{id}` in the address of bounces."""

SERVER_NAME = re.compile(r"([A-Za-z0-9.-]{1,230}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
LOCALPART = re.compile(r"[a-z0-9._=/+-]{1,200}")
APPSERVICE_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
TOKEN = re.compile(r"[A-Za-z0-9._~=+/-]+")
HOSTNAME = re.compile(r"[A-Za-z0-9.:_-]{1,253}")


@dataclass(frozen=True, slots=True)
class Homeserver:
    """Where the homeserver is."""

    address: str
    """`http://127.0.0.1:8008`: as the bridge reaches it, without a slash at the end."""
    server_name: str
    """What stands after the colon in the Matrix IDs of its accounts."""


@dataclass(frozen=True, slots=True)
class Appservice:
    """The bridge as the homeserver sees it."""

    id: str = "qwil"
    address: str = "http://127.0.0.1:29333"
    """As the homeserver reaches the bridge, without a slash at the end."""
    hostname: str = "127.0.0.1"
    port: int = 29333
    as_token: str = field(default="", repr=False)
    hs_token: str = field(default="", repr=False)
    bot: str = "qwil"
    """Localpart of the bot's Matrix ID."""


@dataclass(frozen=True, slots=True)
class Spaces:
    """Which contact books show as spaces in people's clients."""

    books_with_at_least: int = 5


@dataclass(frozen=True, slots=True)
class Mail:
    """How invitations are mailed."""

    server: str = ""
    """`smtp://mail.school.example:25`, `smtp+starttls:`, `smtps:` or `file:/a/folder`; empty: no mail is sent."""
    username: str = ""
    password: str = field(default="", repr=False)
    sender: str = SENDER
    """Name and address that mails come from."""
    per_minute: int = 60
    """So many mails are sent in a minute at the most."""

    @property
    def folder(self) -> Path | None:
        """Where mails are written instead of sent."""
        return Path(self.server.removeprefix("file:")) if self.server.startswith("file:") else None


@dataclass(frozen=True, slots=True)
class Bounces:
    """Where mails come back that could not be delivered."""

    address: str = ""
    """With `{id}`, which stands for the invitation; empty: they go to the sender, and the bridge learns of none."""
    mailbox: str = ""
    """`imaps://imap.school.example/INBOX`, `imap+starttls:` or `imap:`, in which the mails to `address` arrive."""
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Web:
    """The page on which invitations are accepted."""

    address: str = ""
    """As people reach it, without a slash at the end; empty: there is none, and nobody is invited."""
    hostname: str = "127.0.0.1"
    port: int = 29334
    homeserver: str = ""
    """The homeserver as people type it into their client; empty: `https://` and the server's name."""
    login: Login = "password"
    trusted_proxies: tuple[Network, ...] = LOOPBACK
    """Whose `X-Forwarded-For` is believed."""
    staff_networks: Mapping[str, tuple[Network, ...]] = field(default_factory=dict)
    """Where staff of an organisation have to be to accept (INV-13); who is not named may be anywhere."""


@dataclass(frozen=True, slots=True)
class PlatformTerms:
    """The terms of whoever runs the platform, which everybody accepts besides those of their organisation (TRM-1)."""

    name: str = ""
    """Whose they are; empty: the homeserver's name."""
    version: str = ""
    """Empty: there are none."""
    link: str = ""
    """Where they can be read."""
    file: Path | None = None
    """A text that the page shows, where there is no link."""


@dataclass(frozen=True, slots=True)
class Exports:
    """How exports of chats are made; every path is absolute."""

    folder: Path = Path("exports")
    """Where unfinished exports lie; nothing stays there once it was handed out."""
    key: Path = Path("export.key")
    """The key that signs exports; made when it is first needed."""
    fonts: Path | None = None
    """A folder with fonts that go before all others."""
    handling: str = ""
    """A mark on the cover of every export."""


@dataclass(frozen=True, slots=True)
class Config:
    """How this bridge is set up; every path in it is absolute."""

    file: Path
    homeserver: Homeserver
    appservice: Appservice
    database: str = field(repr=False)
    """`sqlite:/path/to/qwil.db` or `postgres://...`, as `Store.open` takes it; may hold a password."""
    policy: Path
    enforce: Enforce = "module"
    admin: bool = True
    """The bot is an administrator of the homeserver."""
    auto_join: bool = True
    spaces: Spaces = Spaces()
    message_link: str = MESSAGE_LINK
    removals_wait_above: int = 10
    mail: Mail = Mail()
    bounces: Bounces = Bounces()
    web: Web = Web()
    terms: PlatformTerms = PlatformTerms()
    exports: Exports = Exports()

    @property
    def bot(self) -> str:
        """The bot's Matrix ID."""
        return f"@{self.appservice.bot}:{self.homeserver.server_name}"


class ConfigError(Exception):
    """The file cannot be read or holds mistakes; the text has each on a line of its own, with its place."""

    def __init__(self, mistakes: Mistakes) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


def load(file: Path) -> Config:
    """The configuration in the file; raises `ConfigError` with everything that is wrong in it."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _unreadable(file, f"this file cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _unreadable(file, "this file is not UTF-8: save it as UTF-8 in the editor") from error
    return parse(text, file)


def parse(text: str, file: Path) -> Config:
    """The configuration in the text, paths in it being relative to the folder of `file`; raises `ConfigError`."""
    notes = Notebook(file.name)
    root = _root_of(text, file.name, notes)
    config = _ConfigReading(file.absolute(), notes).config(root) if root is not None else None
    if config is None or len(notes):
        raise ConfigError(notes.sorted())
    return config


def _root_of(text: str, name: str, notes: Notebook) -> Node | None:
    if not text.strip():
        notes.add(Place(name, 1, 1), "the file is empty: it needs at least homeserver, see config.example.yaml")
        return None
    steps = compose(text, name, notes)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            root: Node | None = done.value
            return root


class _ConfigReading(Reading):
    """Reads each key of the file; where one is wrong the mistake is noted and any value stands for it."""

    def __init__(self, file: Path, notes: Notebook) -> None:
        super().__init__(file.name, notes)
        self._file = file

    def config(self, root: Node) -> Config:
        keys = self.fields(root, "the configuration", KEYS)
        web = self._web(keys.get("web"))
        return Config(
            file=self._file,
            homeserver=self._homeserver(root, keys.get("homeserver")),
            appservice=self._appservice(keys.get("appservice")),
            database=self._database(keys.get("database")),
            policy=self._file.parent / (self.text(keys.get("policy"), "policy", 4000) or "policy.yaml"),
            enforce=self.word(keys.get("enforce"), "enforce", ENFORCE, "module"),
            admin=self.truth(keys.get("admin"), "admin", True),
            auto_join=self.truth(keys.get("auto_join"), "auto_join", True),
            spaces=self._spaces(keys.get("spaces")),
            message_link=self._message_link(keys.get("message_link")),
            removals_wait_above=self.whole(keys.get("removals_wait_above"), "removals_wait_above", 0, 1_000_000, 10),
            mail=self._mail(keys.get("mail")),
            bounces=self._bounces(keys.get("bounces")),
            web=web,
            terms=self._terms(keys.get("terms"), web),
            exports=self._exports(keys.get("exports")),
        )

    def _homeserver(self, root: Node, node: Node | None) -> Homeserver:
        keys = self.fields(node, "homeserver", HOMESERVER_KEYS)
        for key, example in (("address", "http://127.0.0.1:8008"), ("server_name", "school.example")):
            if key not in keys:
                self.note(node or root, f"homeserver.{key} is missing: write {key}: {example} under homeserver")
        return Homeserver(
            self._address(keys.get("address"), "homeserver.address", ""),
            self._fitting(keys.get("server_name"), "homeserver.server_name", SERVER_NAME, "school.example", ""),
        )

    def _appservice(self, node: Node | None) -> Appservice:
        keys, default = self.fields(node, "appservice", APPSERVICE_KEYS), Appservice()
        return Appservice(
            id=self._fitting(keys.get("id"), "appservice.id", APPSERVICE_ID, "qwil", default.id),
            address=self._address(keys.get("address"), "appservice.address", default.address),
            hostname=self._fitting(
                keys.get("hostname"), "appservice.hostname", HOSTNAME, "127.0.0.1", default.hostname
            ),
            port=self.whole(keys.get("port"), "appservice.port", 1, 65535, default.port),
            as_token=self._token(keys.get("as_token"), "appservice.as_token"),
            hs_token=self._token(keys.get("hs_token"), "appservice.hs_token"),
            bot=self._fitting(keys.get("bot"), "appservice.bot", LOCALPART, "qwil", default.bot),
        )

    def _spaces(self, node: Node | None) -> Spaces:
        keys = self.fields(node, "spaces", SPACES_KEYS)
        return Spaces(self.whole(keys.get("books_with_at_least"), "spaces.books_with_at_least", 1, 1_000_000, 5))

    def _mail(self, node: Node | None) -> Mail:
        keys = self.fields(node, "mail", MAIL_KEYS)
        return Mail(
            server=self._mail_server(keys.get("server")),
            username=self.text(keys.get("username"), "mail.username", 1000),
            password=self.text(keys.get("password"), "mail.password", 1000),
            sender=self._sender(keys.get("sender")),
            per_minute=self.whole(keys.get("per_minute"), "mail.per_minute", 1, 100_000, 60),
        )

    def _mail_server(self, node: Node | None) -> str:
        written = self.text(node, "mail.server", 2000)
        if written.startswith("file:") and written != "file:":
            return f"file:{self._file.parent / written.removeprefix('file:')}"
        # What is wrong is told without showing it: somebody may have put a password into it.
        if node is not None and written and not is_mail_server(written):
            self.note(node, "mail.server is like smtp://mail.school.example:25, smtps://... or file:mail, no password")
        return written

    def _sender(self, node: Node | None) -> str:
        written = self.text(node, "mail.sender", 500)
        if node is None or not isinstance(node, Scalar):
            return SENDER
        name, address = parseaddr(written)
        if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", address) or not name.isprintable():
            self.note(node, f"mail.sender is like Hillside <office@hillside.example>, not {quoted(written)}")
        return written

    def _bounces(self, node: Node | None) -> Bounces:
        keys = self.fields(node, "bounces", BOUNCES_KEYS)
        return Bounces(
            address=self._return_address(keys.get("address")),
            mailbox=self._mailbox(keys.get("mailbox")),
            username=self.text(keys.get("username"), "bounces.username", 1000),
            password=self.text(keys.get("password"), "bounces.password", 1000),
        )

    def _return_address(self, node: Node | None) -> str:
        written = self.text(node, "bounces.address", 320)
        if node is None or not written:
            return ""
        address = written.replace("{id}", "x" * MARK_LENGTH, 1)
        plain = re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`|~-]+@[A-Za-z0-9.-]+", address)
        if "{id}" not in written.partition("@")[0] or not plain:
            self.note(node, f"bounces.address is like bounces+{{id}}@school.example, not {quoted(written)}")
        elif len(address.partition("@")[0]) > LONGEST_LOCAL_PART:
            most = LONGEST_LOCAL_PART - MARK_LENGTH
            self.note(node, f"bounces.address has at most {most} characters beside {{id}} before the @")
        return written

    def _mailbox(self, node: Node | None) -> str:
        written = self.text(node, "bounces.mailbox", 2000)
        # As with mail.server, somebody may have put a password into it.
        if node is not None and written and not is_mailbox(written):
            self.note(node, "bounces.mailbox is like imaps://imap.school.example/INBOX, no password")
        return written

    def _web(self, node: Node | None) -> Web:
        keys, default = self.fields(node, "web", WEB_KEYS), Web()
        return Web(
            address=self._address_or_none(keys.get("address"), "web.address", "https://chat.school.example"),
            hostname=self._fitting(keys.get("hostname"), "web.hostname", HOSTNAME, "127.0.0.1", default.hostname),
            port=self.whole(keys.get("port"), "web.port", 1, 65535, default.port),
            homeserver=self._address_or_none(keys.get("homeserver"), "web.homeserver", "https://matrix.school.example"),
            login=self.word(keys.get("login"), "web.login", LOGIN, default.login),
            trusted_proxies=networks_of(self, keys["trusted_proxies"], "web.trusted_proxies")
            if "trusted_proxies" in keys
            else default.trusted_proxies,
            staff_networks=networks_by_name(self, keys.get("staff_networks"), "web.staff_networks"),
        )

    def _terms(self, node: Node | None, web: Web) -> PlatformTerms:
        keys = self.fields(node, "terms", TERMS_KEYS)
        file, link = self.text(keys.get("file"), "terms.file", 4000), keys.get("link")
        terms = PlatformTerms(
            name=self.text(keys.get("name"), "terms.name"),
            version=self.text(keys.get("version"), "terms.version"),
            link=self._address_or_none(link, "terms.link", "https://school.example/terms"),
            file=self._file.parent / file if file else None,
        )
        if node is not None and bool(terms.version) != bool(terms.link or terms.file):
            self.note(
                node, "terms has a version and either a link or a file, so that everybody can read what they accept"
            )
        if terms.file is not None and not terms.file.is_file():
            self.note(keys["file"], f"terms.file: there is no file {quoted(str(terms.file))}")
        if terms.file is not None and not terms.link and not web.address:
            self.note(keys["file"], "terms.file is shown on the page of invitations: write its address, web.address")
        return terms

    def _exports(self, node: Node | None) -> Exports:
        keys = self.fields(node, "exports", EXPORTS_KEYS)
        folder = self._file.parent
        fonts = self.text(keys.get("fonts"), "exports.fonts", 4000)
        return Exports(
            folder=folder / (self.text(keys.get("folder"), "exports.folder", 4000) or "exports"),
            key=folder / (self.text(keys.get("key"), "exports.key", 4000) or "export.key"),
            fonts=folder / fonts if fonts else None,
            handling=self.text(keys.get("handling"), "exports.handling", 200),
        )

    def _address_or_none(self, node: Node | None, what: str, example: str) -> str:
        return self._address(node, what, "", example) if self.text(node, what, 2000) else ""

    def _address(self, node: Node | None, what: str, default: str, example: str = "http://127.0.0.1:8008") -> str:
        written = self.text(node, what, 2000)
        if node is None or not isinstance(node, Scalar):
            return default
        if not is_web_address(written):
            self.note(node, f"{what} is an address like {example}, not {quoted(written)}")
        return written.rstrip("/")

    def _fitting(self, node: Node | None, what: str, form: re.Pattern[str], example: str, default: str) -> str:
        written = self.text(node, what)
        if node is None or not isinstance(node, Scalar):
            return default
        if not form.fullmatch(written):
            self.note(node, f"{what} is something like {example}, not {quoted(written)}")
        return written

    def _token(self, node: Node | None, what: str) -> str:
        written = self.text(node, what, 1000)
        # What is wrong with a secret is told without showing it: mistakes end up in logs.
        if isinstance(node, Scalar) and not TOKEN.fullmatch(written):
            self.note(node, f"{what} holds letters, digits and . _ ~ = + / - alone: see `qwil registration`")
        return written

    def _database(self, node: Node | None) -> str:
        written = self.text(node, "database", 4000) or "sqlite:qwil.db"
        kind, _, rest = written.partition(":")
        if kind == "sqlite" and rest and not re.match("//[^/]", rest):
            return f"sqlite:{quote(str(self._file.parent / rest))}"
        if kind in ("postgres", "postgresql") and has_host(written):
            return written
        if node is not None:
            self.note(node, "database is sqlite:qwil.db or postgres://USER:PASSWORD@HOST/DATABASE, nothing else")
        return ""

    def _message_link(self, node: Node | None) -> str:
        written = self.text(node, "message_link", 2000)
        if node is None or not isinstance(node, Scalar):
            return MESSAGE_LINK
        named = _fields_of(written)
        if named is None or not {"room", "event"} <= set(named):
            self.note(node, "message_link holds {room} and {event}, as in https://chat.example/#/room/{room}/{event}")
        elif not LINK_SCHEME.match(written):
            self.note(node, "message_link begins with https://, as in https://chat.example/#/room/{room}/{event}")
        for name in named or ():
            if name not in LINK_FIELDS:
                self.notes.unknown(self.place(node), "field of message_link", name, LINK_FIELDS)
        return written


def _fields_of(template: str) -> list[str] | None:
    """The names in braces, or None where the braces make no sense."""
    try:
        return [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError:
        return None


def _unreadable(file: Path, text: str) -> ConfigError:
    notes = Notebook(file.name)
    notes.add(Place(file.name, 1, 1), text)
    return ConfigError(notes.sorted())
