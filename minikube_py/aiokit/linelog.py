"""A bounded, followable log of lines: what a container or component wrote, with the time of each line."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from msgspec import Struct

__all__ = ["Line", "LineLog"]


class Line(Struct, frozen=True):
    time: float
    """Seconds since the epoch."""
    text: str
    """Without the line end."""
    stream: str = "stdout"


class LineLog:
    """The last `limit` lines; readers may follow.

    Error handling: a follower that falls more than `limit` lines behind goes on with the oldest line still there.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._lines: deque[Line] = deque(maxlen=limit)
        self._total = 0
        self._partial: dict[str, str] = {}
        self._closed = False
        self._changed: asyncio.Event | None = None
        self._listeners: set[asyncio.Queue[str | None]] = set()

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def closed(self) -> bool:
        return self._closed

    def lines(self) -> list[Line]:
        return list(self._lines)

    def write(self, text: str, now: float, stream: str = "stdout") -> None:
        """Append text; an unfinished last line waits for its rest."""
        for listener in self._listeners:
            listener.put_nowait(text)
        *complete, rest = (self._partial.pop(stream, "") + text).split("\n")
        for line in complete:
            self._lines.append(Line(now, line.rstrip("\r"), stream))
        self._total += len(complete)
        if rest:
            self._partial[stream] = rest
        if complete:
            self._notify()

    def close(self, now: float) -> None:
        """End the log: unfinished lines are kept, followers end."""
        for stream, rest in self._partial.items():
            self._lines.append(Line(now, rest, stream))
            self._total += 1
        self._partial.clear()
        self._closed = True
        for listener in self._listeners:
            listener.put_nowait(None)
        self._notify()

    def _notify(self) -> None:
        if self._changed:
            self._changed.set()
            self._changed = None

    async def follow(self, *, after: int = 0) -> AsyncIterator[Line]:
        """Yield the kept lines but the first `after`, then each new one until the log is closed."""
        position = self._total - len(self._lines) + after
        while True:
            start = position - (self._total - len(self._lines))
            batch = list(self._lines)[max(start, 0) :] if position < self._total else []
            position = self._total
            for line in batch:
                yield line
            if position < self._total:
                continue
            if self._closed:
                return
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()

    async def listen(self, *, unfinished: bool = False, past: bool = False) -> AsyncIterator[str]:
        """Yield text as it is written from now on, in the writer's portions, until the log is closed.

        With `unfinished`, the last line comes first if it has no end yet: a prompt, for one. With `past`, all that is
        kept comes first.
        """
        texts: asyncio.Queue[str | None] = asyncio.Queue()
        for line in self._lines if past else ():
            texts.put_nowait(f"{line.text}\n")
        if unfinished or past:
            for rest in self._partial.values():
                texts.put_nowait(rest)
        if self._closed:
            texts.put_nowait(None)
        self._listeners.add(texts)
        try:
            while (text := await texts.get()) is not None:
                yield text
        finally:
            self._listeners.discard(texts)
