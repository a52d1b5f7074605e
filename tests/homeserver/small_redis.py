"""As much of Redis as Synapse's workers need to hear of each other: publish, subscribe, and a few keys."""

import asyncio
from types import TracebackType
from typing import Self


class SmallRedis:
    """Listens on the loopback address while it is used as `async with`; `port` says where."""

    port: int

    def __init__(self) -> None:
        self._subscribers: dict[bytes, set[asyncio.StreamWriter]] = {}
        self._values: dict[bytes, bytes] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self._answer(writer, *await _command(reader))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            for subscribers in self._subscribers.values():
                subscribers.discard(writer)
            writer.close()

    def _answer(self, writer: asyncio.StreamWriter, word: bytes, *rest: bytes) -> None:
        match word.upper(), rest:
            case b"SUBSCRIBE", channels:
                for number, channel in enumerate(channels, 1):
                    self._subscribers.setdefault(channel, set()).add(writer)
                    writer.write(_array(_text(b"subscribe"), _text(channel), b":%d\r\n" % number))
            case b"PUBLISH", (channel, message):
                subscribers = self._subscribers.get(channel, set())
                for subscriber in subscribers:
                    subscriber.write(_array(_text(b"message"), _text(channel), _text(message)))
                writer.write(b":%d\r\n" % len(subscribers))
            case b"SET", (key, value, *_):
                self._values[key] = value
                writer.write(b"+OK\r\n")
            case b"GET", (key,):
                writer.write(_text(self._values[key]) if key in self._values else b"$-1\r\n")
            case _:
                writer.write(b"+OK\r\n")


async def _command(reader: asyncio.StreamReader) -> list[bytes]:
    count = int((await reader.readuntil(b"\r\n"))[1:])
    return [await _word(reader) for _ in range(count)]


async def _word(reader: asyncio.StreamReader) -> bytes:
    length = int((await reader.readuntil(b"\r\n"))[1:])
    return (await reader.readexactly(length + 2))[:-2]


def _text(text: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text)


def _array(*items: bytes) -> bytes:
    return b"*%d\r\n%s" % (len(items), b"".join(items))
