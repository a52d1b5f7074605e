"""The registration: what the homeserver reads in it, and tokens that must be real."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from synapse.config.appservice import load_appservices

from bridge import config
from bridge.config import Config
from bridge.registration import Tokens, fresh_tokens, registration_text, token_objection, with_tokens

EXAMPLE = Path("config.example.yaml")


@pytest.fixture
def settings() -> Config:
    return config.load(EXAMPLE)


def with_these(settings: Config, as_token: str, hs_token: str) -> Config:
    return replace(settings, appservice=replace(settings.appservice, as_token=as_token, hs_token=hs_token))


def test_synapse_reads_the_registration_as_it_was_meant(settings: Config, tmp_path: Path) -> None:
    file, tokens = tmp_path / "registration.yaml", fresh_tokens()
    file.write_text(registration_text(settings, tokens))

    (service,) = load_appservices("school.example", [str(file)])

    assert (service.id, service.url, service.sender.to_string()) == (
        "qwil",
        "http://127.0.0.1:29333",
        "@qwil-appservice:school.example",
    )
    assert (service.token, service.hs_token) == tokens
    assert service.supports_ephemeral
    assert not service.is_rate_limited()
    assert service.is_interested_in_user("@p.chan:school.example")
    assert not service.is_exclusive_user("@p.chan:school.example")
    assert not service.is_interested_in_user("@p.chan:schoolxexample")


def test_a_server_name_with_an_apostrophe_or_a_port_stays_one_yaml_value(settings: Config) -> None:
    odd = replace(settings, homeserver=replace(settings.homeserver, server_name="localhost:8448"))

    read = YAML(typ="safe").load(registration_text(odd, Tokens("it's", "#x: y")))

    assert (read["as_token"], read["hs_token"]) == ("it's", "#x: y")
    assert re.fullmatch(read["namespaces"]["users"][0]["regex"], "@a:localhost:8448")


def test_fresh_tokens_are_fresh_and_differ() -> None:
    tokens = {token for _ in range(100) for token in fresh_tokens()}

    assert len(tokens) == 200
    assert all(len(token) >= 43 for token in tokens)


def test_the_example_registration_is_what_the_example_configuration_gives(settings: Config) -> None:
    tokens = Tokens(settings.appservice.as_token, settings.appservice.hs_token)

    assert Path("registration.yaml").read_text() == registration_text(settings, tokens)


def test_the_bridge_does_not_start_with_the_tokens_of_the_examples(settings: Config) -> None:
    example = YAML(typ="safe").load(Path("registration.yaml").read_text())
    copied = with_these(settings, example["as_token"], example["hs_token"])

    for each in (settings, copied, with_these(settings, "", "")):
        assert token_objection(each) == (
            f"appservice.as_token and appservice.hs_token in {settings.file} still hold the example's placeholders,"
            f" which everybody knows: run `qwil registration -c {settings.file}`, which makes fresh tokens and the"
            " registration for the homeserver."
        )


def test_the_bridge_does_not_start_with_one_token_for_both(settings: Config) -> None:
    assert token_objection(with_these(settings, "same", "same")) == (
        f"appservice.as_token and appservice.hs_token in {settings.file} are the same: they have to differ."
    )


def test_the_bridge_starts_with_fresh_tokens(settings: Config) -> None:
    assert token_objection(with_these(settings, *fresh_tokens())) is None


def test_fresh_tokens_are_put_into_the_configuration_and_nothing_else_changes(settings: Config) -> None:
    text, tokens = EXAMPLE.read_text(), Tokens("one", "two")

    filled = with_tokens(text, settings, tokens)

    assert filled == text.replace("REPLACE-ME-as-token", "'one'").replace("REPLACE-ME-hs-token", "'two'")


@pytest.mark.parametrize(
    "appservice",
    [
        "",
        "appservice:\n  port: 9000\n",
        "appservice:\n  as_token:\n  hs_token: 'x'   # kept\n",
        'appservice: # ours\n  hs_token: "x"\n',
    ],
)
def test_a_configuration_without_tokens_gets_them(settings: Config, appservice: str) -> None:
    text = f"{appservice}homeserver: {{address: 'http://a', server_name: b}}\n"

    filled = with_tokens(text, settings, Tokens("one", "two"))

    assert filled is not None
    read = config.parse(filled, settings.file).appservice
    assert (read.as_token, read.hs_token) == ("one", "two")
    assert ("# kept" in text, "# ours" in text) == ("# kept" in filled, "# ours" in filled)


def test_a_configuration_written_too_oddly_is_left_to_its_author(settings: Config) -> None:
    text = "homeserver: {address: 'http://a', server_name: b}\nappservice: {as_token: x, hs_token: y}\n"

    assert with_tokens(text, settings, Tokens("one", "two")) is None
