"""What the bridge says at its start about the homeserver's settings."""

from __future__ import annotations

from bridge.module_check import WANTED, complaints

GOOD = {"policy": "d1", "people": 3, "settings": {name: wanted for name, (wanted, _) in WANTED.items()}}


def test_a_homeserver_set_up_as_needed_is_not_complained_about() -> None:
    assert list(complaints(GOOD, "d1")) == []


def test_another_policy_in_the_module_is_said() -> None:
    (said,) = complaints(GOOD, "d2")

    assert said.startswith("The homeserver's module enforces another policy than the bridge reads")


def test_every_setting_that_differs_is_said_with_what_to_write() -> None:
    settings = {**GOOD["settings"], "enable_set_displayname": True, "redaction_retention_period": 604_800_000}

    assert list(complaints({**GOOD, "settings": settings}, "d1")) == [
        "In homeserver.yaml write `enable_set_displayname: false`; otherwise people could change their names, "
        "which the policy gives.",
        "In homeserver.yaml write `redaction_retention_period: null`; otherwise what was deleted while the bridge was "
        "away could not be put on record.",
    ]
