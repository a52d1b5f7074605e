"""config.yaml: what it holds, what stands for what is left out, and what is said about mistakes."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from bridge import config
from bridge.config import Appservice, Config, ConfigError, Spaces

EXAMPLE = Path("config.example.yaml")
FILE = Path("/etc/qwil/config.yaml")
LEAST = "homeserver: {address: 'http://127.0.0.1:8008', server_name: school.example}\n"
DATABASE_MISTAKE = "1:11: database is sqlite:qwil.db or postgres://USER:PASSWORD@HOST/DATABASE, nothing else"
SECTIONS = {
    "": config.KEYS,
    "homeserver": config.HOMESERVER_KEYS,
    "appservice": config.APPSERVICE_KEYS,
    "spaces": config.SPACES_KEYS,
    "mail": config.MAIL_KEYS,
    "bounces": config.BOUNCES_KEYS,
    "web": config.WEB_KEYS,
    "terms": config.TERMS_KEYS,
    "exports": config.EXPORTS_KEYS,
}
TERMS = {"version": "1", "link": "https://school.example/terms"}
"""Neither makes sense without the other."""

NAMES = [f"{section}.{key}".lstrip(".") for section, keys in SECTIONS.items() for key in keys]
KEYS = [name for name in NAMES if name not in SECTIONS]
OF_TERMS = [name for name in KEYS if name.startswith("terms.")]


def read(text: str) -> Config:
    return config.parse(text, FILE)


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(text)
    return str(raised.value).splitlines()


def value_of(settings: Config, key: str) -> Any:
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def written(key: str, value: str) -> str:
    """A configuration with the least it needs and this one key besides."""
    section, _, name = key.rpartition(".")
    if section == "homeserver":
        other = {"address": "http://127.0.0.1:8008", "server_name": "school.example"} | {name: value}
        return "homeserver:\n" + "".join(f"  {each}: {text}\n" for each, text in other.items())
    if section == "terms":
        return f"{LEAST}terms:\n" + "".join(f"  {each}: {text}\n" for each, text in (TERMS | {name: value}).items())
    return LEAST + (f"{section}:\n  {name}: {value}\n" if section else f"{name}: {value}\n")


def named_by(noun: type, prefix: str = "") -> Iterator[str]:
    for each in fields(noun):
        nouns = {"homeserver": config.Homeserver, "appservice": Appservice, "spaces": Spaces}
        inner = (
            {
                **nouns,
                "mail": config.Mail,
                "bounces": config.Bounces,
                "web": config.Web,
                "terms": config.PlatformTerms,
                "exports": config.Exports,
            }.get(each.name)
            if not prefix
            else None
        )
        if inner is not None and is_dataclass(inner):
            yield from named_by(inner, f"{each.name}.")
        elif prefix or each.name != "file":
            yield prefix + each.name


def test_the_least_configuration_names_the_homeserver_alone_and_the_example_shows_every_other_default() -> None:
    least, example = read(LEAST), config.load(EXAMPLE)

    paths = {"database", "policy", "exports.folder", "exports.key"}
    for key in set(KEYS) - paths - {"appservice.as_token", "appservice.hs_token"}:
        assert value_of(least, key) == value_of(example, key), key
    assert (least.database, least.policy) == ("sqlite:/etc/qwil/qwil.db", Path("/etc/qwil/policy.yaml"))
    assert example.database == f"sqlite:{EXAMPLE.absolute().parent}/qwil.db"
    assert example.policy == EXAMPLE.absolute().parent / "policy.yaml"
    assert (least.exports.folder, least.exports.key) == (Path("/etc/qwil/exports"), Path("/etc/qwil/export.key"))
    assert example.exports.folder == EXAMPLE.absolute().parent / "exports"
    assert example.exports.key == EXAMPLE.absolute().parent / "export.key"
    assert (least.appservice.as_token, least.appservice.hs_token) == ("", "")


def test_the_known_keys_are_what_the_configuration_holds() -> None:
    assert sorted(KEYS) == sorted(named_by(Config))


@pytest.mark.parametrize("key", KEYS)
def test_every_key_stands_in_the_example_below_a_comment(key: str) -> None:
    section, _, name = key.rpartition(".")
    text = EXAMPLE.read_text()
    part = text if not section else re.split(r"^(?=\S)", text.partition(f"\n{section}:\n")[2], flags=re.MULTILINE)[0]
    indent = "  " if section else ""

    above = re.search(rf"(?:^{indent}#.*\n)+(?:^{indent}\w+:.*\n)*?^{indent}{name}: \S", part, re.MULTILINE)

    assert above, f"{key} is not in {EXAMPLE}, or without a comment above it"


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("homeserver.address", "https://matrix.school.example/", "https://matrix.school.example"),
        ("homeserver.server_name", "localhost:8448", "localhost:8448"),
        ("appservice.id", "bridge-2", "bridge-2"),
        ("appservice.address", "http://qwil:9000", "http://qwil:9000"),
        ("appservice.hostname", "'::'", "::"),
        ("appservice.port", "9000", 9000),
        ("appservice.as_token", "abc-_1", "abc-_1"),
        ("appservice.hs_token", "'0x10'", "0x10"),
        ("appservice.bot", "butler", "butler"),
        ("database", "postgres://q:pw@db/record", "postgres://q:pw@db/record"),
        ("policy", "/srv/policy.yaml", Path("/srv/policy.yaml")),
        ("enforce", "after_the_fact", "after_the_fact"),
        ("admin", "false", False),
        ("auto_join", "false", False),
        ("spaces.books_with_at_least", "12", 12),
        ("message_link", "'https://chat.example/{room}/{event}'", "https://chat.example/{room}/{event}"),
        ("removals_wait_above", "0", 0),
        ("mail.server", "smtps://mail.school.example", "smtps://mail.school.example"),
        ("mail.username", "office", "office"),
        ("mail.password", "s3cret", "s3cret"),
        ("mail.sender", "Hillside <office@hillside.example>", "Hillside <office@hillside.example>"),
        ("mail.per_minute", "500", 500),
        ("bounces.address", "'bounces+{id}@school.example'", "bounces+{id}@school.example"),
        ("bounces.mailbox", "imaps://imap.school.example/INBOX", "imaps://imap.school.example/INBOX"),
        ("bounces.username", "bounces", "bounces"),
        ("bounces.password", "s6cret", "s6cret"),
        ("web.address", "https://chat.school.example/", "https://chat.school.example"),
        ("web.hostname", "0.0.0.0", "0.0.0.0"),
        ("web.port", "8080", 8080),
        ("exports.folder", "/var/lib/qwil", Path("/var/lib/qwil")),
        ("exports.key", "secrets/export.key", Path("/etc/qwil/secrets/export.key")),
        ("exports.fonts", "fonts", Path("/etc/qwil/fonts")),
        ("exports.handling", "Confidential", "Confidential"),
        ("web.homeserver", "https://matrix.school.example", "https://matrix.school.example"),
        ("web.login", "single_sign_on", "single_sign_on"),
        ("web.trusted_proxies", "[10.0.0.7, '2001:db8::/32']", (ip_network("10.0.0.7"), ip_network("2001:db8::/32"))),
        ("web.staff_networks", "{hillside: [192.0.2.0/24]}", {"hillside": (ip_network("192.0.2.0/24"),)}),
        ("terms.name", "Oakfield Chat", "Oakfield Chat"),
        ("terms.version", "2026-09", "2026-09"),
        ("terms.link", "https://oakfield.example/terms", "https://oakfield.example/terms"),
        ("terms.file", str(EXAMPLE.absolute()), EXAMPLE.absolute()),
    ],
)
def test_each_key_changes_what_it_names_and_nothing_else(key: str, text: str, value: Any) -> None:
    settings, usual = read(written(key, text)), read(written("terms.name", "") if key in OF_TERMS else LEAST)

    assert value_of(settings, key) == value
    for other in set(KEYS) - {key}:
        assert value_of(settings, other) == value_of(usual, other), other


def test_the_table_above_leaves_no_key_out() -> None:
    table = test_each_key_changes_what_it_names_and_nothing_else.pytestmark[0].args[1]  # type: ignore[attr-defined]

    assert sorted(KEYS) == sorted(key for key, _, _ in table)


def test_the_bot_is_named_with_its_server() -> None:
    assert read(LEAST).bot == "@qwil:school.example"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("sqlite:record.db", "sqlite:/etc/qwil/record.db"),
        ("sqlite:/var/lib/qwil.db", "sqlite:/var/lib/qwil.db"),
        ("sqlite:///var/lib/qwil.db", "sqlite:/var/lib/qwil.db"),
        ("'sqlite:50%?#.db'", "sqlite:/etc/qwil/50%25%3F%23.db"),
        ("postgresql:///record?host=/run/postgresql", "postgresql:///record?host=/run/postgresql"),
    ],
)
def test_a_database_file_is_beside_the_configuration_whatever_its_name(written: str, address: str) -> None:
    assert read(f"{LEAST}database: {written}\n").database == address


def test_secrets_do_not_show_when_a_configuration_is_printed() -> None:
    shown = repr(
        read(
            LEAST + "appservice: {as_token: s3cret, hs_token: s4cret}\ndatabase: postgres://q:pw@db/x\n"
            "mail: {password: s5cret}\nbounces: {password: s6cret}\n"
        )
    )

    assert not re.search("s3cret|s4cret|s5cret|s6cret|pw", shown)


def test_all_mistakes_are_told_at_once_each_with_its_place() -> None:
    text = """\
homeserver:
  adress: http://127.0.0.1:8008
  server_name: school example
appservice:
  port: 70000
  as_token: a b
auto_join: yes
enforce: modul
databse: sqlite:x.db
"""
    assert mistakes(text) == [
        "config.yaml:2:3: homeserver.address is missing: write address: http://127.0.0.1:8008 under homeserver",
        'config.yaml:2:3: unknown key of homeserver "adress" — did you mean "address"?',
        'config.yaml:3:16: homeserver.server_name is something like school.example, not "school example"',
        'config.yaml:5:9: appservice.port is a whole number from 1 to 65535, not "70000"',
        "config.yaml:6:13: appservice.as_token holds letters, digits and . _ ~ = + / - alone: see `qwil registration`",
        'config.yaml:7:12: auto_join is true or false, not "yes"',
        'config.yaml:8:10: unknown enforce "modul" — did you mean "module"?',
        'config.yaml:9:1: unknown key of the configuration "databse" — did you mean "database"?',
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "1:1: the file is empty: it needs at least homeserver, see config.example.yaml"),
        ("database: mysql:x", DATABASE_MISTAKE),
        ("database: sqlite://x.db", DATABASE_MISTAKE),
        ("database: postgres://q@host", DATABASE_MISTAKE),
        (
            "web: {staff_networks: {hillside: [10.0.0.0/8, 10.0.0.1/8]}}",
            "1:47: web.staff_networks.hillside holds addresses and ranges like 192.0.2.7 and 10.0.0.0/8, not "
            '"10.0.0.1/8"',
        ),
        (
            "web: {staff_networks: {hillside: []}}",
            "1:24: web.staff_networks.hillside is empty: name a range like 192.0.2.0/24, or take the line out",
        ),
        ("web: {trusted_proxies: proxy}", '1:24: web.trusted_proxies has to be a list [a, b], not "proxy"'),
        (
            "terms: {version: '1'}",
            "1:8: terms has a version and either a link or a file, so that everybody can read what they accept",
        ),
        (
            "web: {address: 'https://chat.example'}\nterms: {version: '1', file: t.txt}",
            '2:29: terms.file: there is no file "/etc/qwil/t.txt"',
        ),
        (
            f"terms: {{version: '1', file: '{EXAMPLE.absolute()}'}}",
            "1:29: terms.file is shown on the page of invitations: write its address, web.address",
        ),
        (
            "message_link: https://x/{room}",
            "1:15: message_link holds {room} and {event}, as in https://chat.example/#/room/{room}/{event}",
        ),
        (
            "message_link: 'chat.example:8443/{room}/{event}'",
            "1:15: message_link begins with https://, as in https://chat.example/#/room/{room}/{event}",
        ),
        (
            "web: {address: chat.example}",
            '1:16: web.address is an address like https://chat.school.example, not "chat.example"',
        ),
        (
            "message_link: 'https://x/{room}/{event}/{evnt}'",
            '1:15: unknown field of message_link "evnt" — did you mean "event"?',
        ),
        (
            "appservice: {address: 'qwil:9000'}",
            '1:23: appservice.address is an address like http://127.0.0.1:8008, not "qwil:9000"',
        ),
        ("removals_wait_above: many", '1:22: removals_wait_above is a whole number from 0 to 1000000, not "many"'),
        (
            "mail: {server: 'smtp://office:s3cret@mail.school.example'}",
            "1:16: mail.server is like smtp://mail.school.example:25, smtps://... or file:mail, no password",
        ),
        (
            "mail: {sender: the office}",
            '1:16: mail.sender is like Hillside <office@hillside.example>, not "the office"',
        ),
        (
            "mail: {sender: Büro <buero@straße.example>}",
            '1:16: mail.sender is like Hillside <office@hillside.example>, not "Büro <buero@straße.example>"',
        ),
        (
            "bounces: {address: bounces@school.example}",
            '1:20: bounces.address is like bounces+{id}@school.example, not "bounces@school.example"',
        ),
        (
            f"bounces: {{address: '{'b' * 33}{{id}}@school.example'}}",
            "1:20: bounces.address has at most 32 characters beside {id} before the @",
        ),
        (
            "bounces: {address: '{id}@school.example', mailbox: 'imaps://b:s3cret@imap.school.example'}",
            "1:52: bounces.mailbox is like imaps://imap.school.example/INBOX, no password",
        ),
        ("spaces: 5", '1:9: spaces has to be a mapping (key: value), not "5"'),
    ],
)
def test_a_mistake_is_told_with_what_would_have_been_right(text: str, mistake: str) -> None:
    assert mistakes(f"{text}\n{LEAST}" if text else "") == [f"config.yaml:{mistake}"]


def test_a_configuration_without_a_homeserver_is_told_what_to_write() -> None:
    assert mistakes("policy: p.yaml\n") == [
        "config.yaml:1:1: homeserver.address is missing: write address: http://127.0.0.1:8008 under homeserver",
        "config.yaml:1:1: homeserver.server_name is missing: write server_name: school.example under homeserver",
    ]


def test_a_token_that_is_wrong_is_not_shown_in_the_mistake() -> None:
    assert "hush hush" not in "".join(mistakes(LEAST + "appservice: {hs_token: hush hush}\n"))


def test_a_file_that_is_not_there_and_one_that_is_no_text_are_told_by_name(tmp_path: Path) -> None:
    binary = tmp_path / "config.yaml"
    binary.write_bytes(b"homeserver: \xff\xfe")

    with pytest.raises(ConfigError, match=r"^gone.yaml:1:1: this file cannot be read: No such file or directory$"):
        config.load(tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match=r"^config.yaml:1:1: this file is not UTF-8"):
        config.load(binary)
