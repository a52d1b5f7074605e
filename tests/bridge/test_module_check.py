"""What the bridge says at its start about the homeserver's settings."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest

from bridge.config import load
from bridge.homeserver import Homeserver, Refused
from bridge.module_check import WANTED, complaints, in_step, objection_to_entry, unreached

GOOD = {"policy": "d1", "people": 3, "settings": {name: wanted for name, (wanted, _) in WANTED.items()}}


def test_a_homeserver_set_up_as_needed_is_not_complained_about() -> None:
    assert list(complaints(GOOD, "d1")) == []


def test_another_policy_in_the_module_is_said() -> None:
    (said,) = complaints(GOOD, "d2")

    assert said.startswith("The homeserver's module enforces another policy than the bridge reads")


async def test_the_bridge_acts_when_the_module_decides_by_the_same_policy() -> None:
    homeserver = Mock(spec=Homeserver, ask=AsyncMock(side_effect=[{"policy": "before"}, {"policy": ""}, GOOD]))

    await in_step(homeserver, lambda: "d1")

    assert homeserver.ask.await_count == 3


async def test_a_module_that_reads_another_file_is_not_waited_for_without_end() -> None:
    homeserver = Mock(spec=Homeserver, ask=AsyncMock(return_value=GOOD))

    await in_step(homeserver, lambda: "d2", patience=0.05)

    assert homeserver.ask.await_count >= 1


@pytest.mark.parametrize("status", [403, 500])
async def test_a_module_that_does_not_answer_the_bridge_any_more_does_not_end_it(status: int) -> None:
    homeserver = Mock(spec=Homeserver, ask=AsyncMock(side_effect=Refused(status, "M_UNKNOWN", "No.")))

    await in_step(homeserver, lambda: "d2")

    assert homeserver.ask.await_count == 1


def test_a_module_without_a_policy_is_told_apart_from_one_with_another() -> None:
    (said,) = complaints({**GOOD, "policy": ""}, "d1")

    assert said.startswith("The homeserver's module has no policy and refuses everybody")


def test_every_setting_that_differs_is_said_with_what_to_write() -> None:
    settings = {**GOOD["settings"], "enable_set_displayname": True, "redaction_retention_period": 604_800_000}

    assert list(complaints({**GOOD, "settings": settings}, "d1")) == [
        "In homeserver.yaml write `enable_set_displayname: false`; otherwise people could change their names, "
        "which the policy gives.",
        "In homeserver.yaml write `redaction_retention_period: null`; otherwise what was deleted while the bridge was "
        "away could not be put on record.",
    ]


@pytest.mark.parametrize(
    ("errcode", "said"),
    [
        ("M_UNKNOWN_TOKEN", "The homeserver does not know this bridge: name its registration.yaml under"),
        ("M_FORBIDDEN", "The homeserver's registration of this bridge is not for @qwil:school.example (No)"),
    ],
)
def test_a_bot_that_is_not_let_in_says_what_to_change(errcode: str, said: str) -> None:
    config = load(Path(__file__).parents[2] / "config.example.yaml")

    assert objection_to_entry(config, Refused(403, errcode, "No.")).startswith(said)


@pytest.mark.parametrize(
    ("errcode", "said"),
    [("M_BAD_STATUS", "or the tokens differ"), ("M_CONNECTION_FAILED", "Correct appservice.address")],
)
async def test_a_homeserver_that_cannot_call_the_bridge_is_complained_about(errcode: str, said: str) -> None:
    config = load(Path(__file__).parents[2] / "config.example.yaml")
    homeserver = Mock(spec=Homeserver)
    homeserver.call_back.side_effect = Refused(502, errcode, "No.")

    told = await unreached(homeserver, config)

    assert told is not None
    assert "cannot hand its events to the bridge at http://127.0.0.1:29333" in told
    assert said in told


async def test_a_homeserver_that_reaches_the_bridge_is_not_complained_about() -> None:
    config = load(Path(__file__).parents[2] / "config.example.yaml")

    assert await unreached(Mock(spec=Homeserver), config) is None
