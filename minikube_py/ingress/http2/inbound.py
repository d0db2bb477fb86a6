"""A request that came by HTTP/2: one stream of a `caller.Connection2`, with flow control both ways."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDict

from minikube_py.ingress.http2.messages import Outgoing, RequestHead, answer_headers
from minikube_py.ingress.proxy.inbound import Attempt, Fields

if TYPE_CHECKING:
    from minikube_py.ingress.http2.caller import Connection2

__all__ = ["Inbound2"]

_HIGH = 128 * 1024
"""Bytes of an answer that wait for the caller's window before the pod is read slower."""


class Inbound2:
    """See `inbound.Inbound`. What the caller sends waits here, unacknowledged: at most one window of it."""

    __slots__ = (
        "_arrived",
        "_connection",
        "_drained",
        "_pending",
        "_waiter",
        "before",
        "begun",
        "broken",
        "drawn",
        "finished",
        "has_body",
        "headers",
        "id",
        "keep_alive",
        "length",
        "method",
        "out",
        "problem",
        "raw_headers",
        "received_all",
        "remote",
        "stalled_since",
        "target",
        "task",
        "trailers",
        "trailers_out",
        "version",
    )

    def __init__(self, connection: "Connection2", stream_id: int, head: RequestHead, *, ended: bool) -> None:
        self._connection = connection
        self.id = stream_id
        self.method = head.method
        self.target = head.target
        self.version = "HTTP/2.0"  # as nginx logs it
        self.headers: CIMultiDict[str] = CIMultiDict(
            (name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in head.fields
        )
        self.raw_headers = head.fields
        self.remote = connection.remote
        self.length = head.length
        self.has_body = not ended
        self.problem = (head.status, head.problem) if head.problem else None
        self.keep_alive = True
        self.before: Sequence[Attempt] = ()
        self.drawn: float | None = None
        self.trailers: Fields = ()
        self.task: asyncio.Task[None] | None = None
        self.received_all = ended
        self.begun = False
        """The answer's head has been sent."""
        self.finished = False
        """Nothing will be added to the answer."""
        self.broken = False
        self.stalled_since: float | None = None
        """Since when the caller takes nothing of what waits."""
        self.trailers_out: Fields = ()
        self.out = Outgoing()
        self._pending: list[tuple[bytes, bytes]] | None = None
        self._arrived: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None

    # The request

    @property
    def body_read(self) -> bool:
        return self.received_all and not self._arrived

    def feed(self, data: bytes) -> None:
        self._arrived.append(data)
        self.wake()

    def end(self) -> None:
        self.received_all = True
        self.wake()

    def wake(self) -> None:
        for each in (self._waiter, self._drained):
            if each is not None and not each.done():
                each.set_result(None)

    async def read(self) -> bytes:
        while not self._arrived:
            if self.received_all:
                return b""
            if self.broken:
                raise ValueError("the caller has given the request up")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.take()

    def take(self) -> bytes:
        """Return what has arrived and let the caller send as much again."""
        data = b"".join(self._arrived)
        self._arrived.clear()
        if data:
            self._connection.acknowledge(self, len(data))
        return data

    # The answer

    def interim(self, status: int, reason: bytes = b"", fields: Fields = ()) -> None:
        if not self.broken:
            self._connection.send_headers(self, answer_headers(status, fields))

    def begin(self, status: int, reason: bytes, fields: Fields, *, sized: bool) -> None:
        self._pending = answer_headers(status, fields)

    def write(self, data: bytes) -> None:
        if self.broken:
            return
        self._flush_head()
        if data:
            self.out.add(data)
            self._connection.pump(self)

    def finish(self, data: bytes = b"", trailers: Fields = ()) -> None:
        if self.broken:
            return
        if not data and not trailers and self._pending is not None:
            self.finished = True
            self._flush_head(end=True)
            self._connection.ended(self)
            return
        self._flush_head()
        self.out.add(data)
        self.trailers_out = trailers
        self.finished = True
        self._connection.pump(self)

    def _flush_head(self, *, end: bool = False) -> None:
        if self._pending is not None:
            self.begun = True
            self._connection.send_headers(self, self._pending, end=end)
            self._pending = None

    def next_piece(self, most: int) -> bytes:
        """Take up to `most` bytes of what waits to be sent."""
        piece = self.out.take(most)
        if self.out.size <= _HIGH and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        return piece

    @property
    def gone(self) -> bool:
        return self.broken

    @property
    def paused(self) -> bool:
        return self.out.size > _HIGH and not self.broken

    async def drain(self) -> None:
        while self.paused:
            self._drained = asyncio.get_running_loop().create_future()
            try:
                await self._drained
            finally:
                self._drained = None

    def abort(self) -> None:
        if not self.broken:
            self._connection.reset(self)

    # HTTP/2 has no upgrades

    def switch(self, fields: Fields, upgrade: str, tunnel: Any) -> None:
        raise NotImplementedError("HTTP/2 has no Upgrade (RFC 9113 §8.6)")

    def pause(self) -> None:
        return None

    def resume(self) -> None:
        return None
