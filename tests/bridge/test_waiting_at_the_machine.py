"""Whoever waits at the machine for a homeserver that is away hears for what."""

import asyncio
import io
import sys

import pytest

from bridge import operator_commands


async def test_a_long_wait_is_told_once_and_then_gives_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    was_told = asyncio.Event()

    class Told(io.StringIO):
        def write(self, text: str) -> int:
            was_told.set()
            return super().write(text)

    told = Told()
    monkeypatch.setattr(sys, "stderr", told)
    monkeypatch.setattr(operator_commands, "SILENCE", 0.0)

    async def until_told() -> str:
        await was_told.wait()
        return "done"

    async with asyncio.timeout(60):
        assert await operator_commands._told_to_wait(until_told()) == "done"
    assert told.getvalue().count("Waiting: ") == 1
    assert "homeserver" in told.getvalue()


async def test_what_answers_soon_says_nothing_besides(capsys: pytest.CaptureFixture[str]) -> None:
    async def at_once() -> str:
        return "done"

    assert await operator_commands._told_to_wait(at_once()) == "done"
    assert capsys.readouterr().err == ""


async def test_what_goes_wrong_meanwhile_is_told_as_ever() -> None:
    async def refused() -> str:
        raise operator_commands.Failure("nothing was done")

    with pytest.raises(operator_commands.Failure, match="nothing was done"):
        await operator_commands._told_to_wait(refused())
