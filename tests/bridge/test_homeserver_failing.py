"""What the bridge makes of a homeserver that fails, forgets it, or cannot take what it says."""

from __future__ import annotations

import html
import itertools
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from mautrix.api import Method
from mautrix.api import Path as MatrixPath

from bridge import config as configuration
from bridge import retry
from bridge.homeserver import PATIENCE_WITH_FAILURES, Homeserver, Refused
from bridge.perform import shortened
from bridge.registration import fresh_tokens

Answers = list[tuple[int, dict[str, Any]]]
UNKNOWN_TOKEN = (401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Unrecognised access token"})
FAILURE = (500, {"errcode": "M_UNKNOWN", "error": "Internal server error"})
FINE = (200, {"user_id": "@qwil:school.test"})


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(retry.until_available, "__kwdefaults__", {"pauses": lambda: itertools.repeat(0.0)})


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Ask a homeserver that gives these answers, one after the other and then the last one for ever."""
    answers: Answers = []

    async def answer(_request: web.Request) -> web.Response:
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        return web.json_response(body, status=status)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(application, host="127.0.0.1") as server:
        tokens = fresh_tokens()
        text = (
            f'homeserver: {{address: "http://127.0.0.1:{server.port}", server_name: school.test}}\n'
            f'appservice: {{as_token: "{tokens.as_token}", hs_token: "{tokens.hs_token}"}}\n'
        )
        seconds = itertools.count(0.0, 1.0)
        async with Homeserver(configuration.parse(text, tmp_path / "config.yaml"), seconds.__next__) as homeserver:

            async def ask(*given: tuple[int, dict[str, Any]]) -> Any:
                answers[:] = given
                return await homeserver.ask(Method.GET, MatrixPath.v3.account.whoami)

            yield ask


async def test_a_homeserver_that_fails_for_a_while_is_waited_for(asking: Callable[..., Any]) -> None:
    assert await asking(*[FAILURE] * 20, FINE) == FINE[1]


async def test_a_request_that_always_fails_is_given_up(asking: Callable[..., Any]) -> None:
    with pytest.raises(Refused, match="Internal server error"):
        await asking(FAILURE)

    assert PATIENCE_WITH_FAILURES < 300


async def test_an_account_that_nobody_has_made_is_said_to_be_none_and_what_to_do(asking: Callable[..., Any]) -> None:
    said = "Application service has not registered this user (@p.chan:school.test)"

    with pytest.raises(Refused) as refused:
        await asking((403, {"errcode": "M_FORBIDDEN", "error": said}))

    assert refused.value.status == 403
    assert str(refused.value) == (
        "There is no account @p.chan:school.test on the homeserver: make it there, or correct “matrix” of this person "
        "in the policy."
    )


async def test_a_token_that_is_forgotten_later_is_waited_for_and_one_that_never_fitted_is_not(
    asking: Callable[..., Any],
) -> None:
    with pytest.raises(Refused, match="Unrecognised access token"):
        await asking(UNKNOWN_TOKEN)
    await asking(FINE)

    assert await asking(*[UNKNOWN_TOKEN] * 20, FINE) == FINE[1]


@pytest.mark.parametrize("letter", ["x", "&", '"', "\N{PILE OF POO}", "\n", "\\", "\x01"])
def test_an_answer_of_any_length_fits_into_one_message(letter: str) -> None:
    text = shortened(letter * 70_000)
    shown = html.escape(text).replace("\n", "<br>")

    assert len(json.dumps({"body": text, "formatted_body": shown}, ensure_ascii=False).encode()) < 64_000
    assert text.endswith("(This was too long for one message.)")
    assert len(text) > 4_000
    assert shortened("Pat Chan\n" * 2_000) == "Pat Chan\n" * 2_000
