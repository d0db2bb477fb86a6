"""What file descriptors are in the shell: sources to read from, sinks to write to, and the pipe that is both.

Stands for the kernel's pipes and files. All I/O is in bytes and on the event loop; no descriptor of this machine is
behind any of it.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import Protocol

__all__ = ["EMPTY", "NULL", "Bytes", "Called", "Collected", "Connection", "Feed", "Pipe", "Sink", "Source", "writable"]

_CAPACITY = 65536
"""Bytes in a pipe before its writer waits: Linux' default."""

_MOST = 256 << 20
"""Bytes that a tool may take in at once: `sort /dev/zero` fails instead of taking the machine's memory."""


class Source:
    """Something to read. Subclasses give `_more()`; this class adds lines."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._ended = False

    async def _more(self) -> bytes:
        """Return the next bytes; none at the end."""
        return b""

    async def read(self, limit: int = _CAPACITY) -> bytes:
        """Return what is there, at least one byte unless at the end, at most `limit` bytes."""
        if not self._buffer and not self._ended:
            self._take(await self._more())
        data = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        return data

    def _take(self, data: bytes) -> None:
        self._buffer += data
        self._ended = not data

    async def line(self) -> bytes:
        """Return the next line with its line end (the last one may lack it); none at the end."""
        start = 0
        while True:
            at = self._buffer.find(b"\n", start)
            if at >= 0 or self._ended:
                break
            start = len(self._buffer)
            if start > _MOST:
                raise OSError(errno.ENOMEM, "out of memory")
            self._take(await self._more())
        at = at + 1 if at >= 0 else len(self._buffer)
        data = bytes(self._buffer[:at])
        del self._buffer[:at]
        return data

    async def rest(self) -> bytes:
        """Return all until the end; OSError ENOMEM beyond what a container may hold."""
        chunks, size = [], 0
        while data := await self.read():
            chunks.append(data)
            size += len(data)
            if size > _MOST:
                raise OSError(errno.ENOMEM, "out of memory")
        return b"".join(chunks)

    def close(self) -> None:
        """Nobody reads any more."""


class Sink(Protocol):
    """Something to write to."""

    async def write(self, data: bytes) -> None:
        """Write; waits while the reader lags behind. BrokenPipeError when nobody reads any more."""
        ...

    def close(self) -> None: ...


class Bytes(Source):
    """Bytes that are known already: a file's content, a here-document."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__()
        self._buffer += data
        self._ended = True


class Feed(Source):
    """The stdin of an exec session or of a container."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__()
        self._reader = reader

    async def _more(self) -> bytes:
        return await self._reader.read(_CAPACITY)


class _Empty(Source):
    async def read(self, limit: int = _CAPACITY) -> bytes:
        return b""

    async def line(self) -> bytes:
        return b""


EMPTY: Source = _Empty()


class _Null:
    async def write(self, data: bytes) -> None:
        return None

    def close(self) -> None:
        return None


NULL: Sink = _Null()


class Called:
    """A sink that hands everything to a function: the client's stream, the container's log."""

    def __init__(self, write: Callable[[bytes], Awaitable[None] | None]) -> None:
        self._write = write

    async def write(self, data: bytes) -> None:
        result = self._write(data)
        if result is not None:
            await result

    def close(self) -> None:
        return None


class Collected:
    """A sink that keeps everything: `$(…)`; OSError ENOMEM beyond what a container may hold."""

    def __init__(self) -> None:
        self.data = bytearray()

    async def write(self, data: bytes) -> None:
        if len(self.data) > _MOST:
            raise OSError(errno.ENOMEM, "out of memory")
        self.data += data

    def close(self) -> None:
        return None


class Pipe(Source):
    """Both ends of a pipe; `Pipe` itself is the reading end, `sink` the writing one."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()
        self._incoming = bytearray()
        self._writer_gone = False
        self._reader_gone = False
        self.sink: Sink = _PipeSink(self)

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _more(self) -> bytes:
        while not self._incoming and not self._writer_gone:
            await self._wait()
        data = bytes(self._incoming)
        self._incoming.clear()
        self._changed.set()
        return data

    async def put(self, data: bytes) -> None:
        while len(self._incoming) >= _CAPACITY and not self._reader_gone:
            await self._wait()
        if self._reader_gone:
            raise BrokenPipeError
        self._incoming += data
        self._changed.set()
        await asyncio.sleep(0)  # a writer that never waits would keep its reader from running

    def end(self) -> None:
        self._writer_gone = True
        self._changed.set()

    def close(self) -> None:
        self._reader_gone = True
        self._changed.set()

    def hang_up(self) -> None:
        """Close both ends."""
        self.end()
        self.close()


class _PipeSink:
    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    async def write(self, data: bytes) -> None:
        await self._pipe.put(data)

    def close(self) -> None:
        self._pipe.end()


class Connection(Source):
    """A TCP connection as a descriptor: bash's `exec 3<>/dev/tcp/host/port`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__()
        self._reader = reader
        self._writer = writer

    async def _more(self) -> bytes:
        return await self._reader.read(_CAPACITY)

    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            raise BrokenPipeError from None

    def close(self) -> None:
        """A reader that ends leaves the connection to whoever opened it."""

    def hang_up(self) -> None:
        """Close the connection."""
        self._writer.close()


def writable(found: Source | Sink | None) -> Sink:
    """Return a descriptor as what is written to; what can only be read, or isn't there, swallows all."""
    if isinstance(found, Connection):
        return found
    return NULL if found is None or isinstance(found, Source) else found
