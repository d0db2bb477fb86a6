"""Datagrams by the batch, for a pod's protocol that wants them so: one Python call for up to 64 of them.

    socket ──recvmmsg──► BatchTransport ──► Endpoint.datagrams ──► protocol.datagrams_received ──► answers ──sendmmsg──►

It is asyncio's own transport for all other protocols. On macOS the same runs with one system call per datagram.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from minikube_py.cni.mmsg import Batch, Datagram

__all__ = ["BatchProtocol", "BatchTransport"]


@runtime_checkable
class BatchProtocol(Protocol):
    """What an `asyncio.DatagramProtocol` may have beside `datagram_received`: it is called instead."""

    def datagrams_received(self, received: list[Datagram]) -> list[Datagram]:
        """Take datagrams; return answers, which leave together. Later ones go through the transport, as ever."""


class BatchTransport(asyncio.DatagramTransport):
    """A bound socket, read and answered with few system calls. What the kernel doesn't take is lost, as UDP may be.

    Resource handling: owns the socket; `close()` ends it and tells the protocol.
    """

    def __init__(
        self,
        sock: socket.socket,
        batch: Batch,
        protocol: asyncio.DatagramProtocol,
        receive: Callable[[list[Datagram]], list[Datagram]],
        context: contextvars.Context,
    ) -> None:
        super().__init__({"socket": sock, "sockname": sock.getsockname(), "peername": None})
        self._socket = sock
        self._batch = batch
        self._protocol = protocol
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        context.run(self._loop.add_reader, sock.fileno(), self._readable)

    def sendto(self, data: Any, addr: Any = None) -> None:
        try:
            self._socket.sendto(data, addr)
        except OSError:
            pass  # the queue is full, the client is gone, or we are closed

    def is_closing(self) -> bool:
        return self._socket.fileno() < 0

    def close(self) -> None:
        if not self.is_closing():
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 0, 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def _readable(self) -> None:
        try:
            received = self._batch.receive(self._socket)
        except OSError as error:  # an ICMP answer to something that we sent; what waits behind it wakes us again
            self._protocol.error_received(error)
            return
        if received and (answers := self._receive(received)) and not self.is_closing():
            self._batch.send(self._socket, answers)
