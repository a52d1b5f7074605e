"""A bridge that cannot have its port says which, and what to change."""

from __future__ import annotations

import socket

import pytest
from aiohttp import web

from bridge.listen import CannotListenError, listen


async def test_a_port_that_is_taken_is_named_with_what_to_change() -> None:
    runner = web.AppRunner(web.Application())
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        try:
            with pytest.raises(CannotListenError) as said:
                await listen(runner, "127.0.0.1", port, section="web")
        finally:
            await runner.cleanup()

    assert str(said.value) == (
        f"The bridge cannot listen on 127.0.0.1:{port}: another program listens there, perhaps another bridge that "
        "should be ended. Or change web.hostname and web.port in config.yaml."
    )
