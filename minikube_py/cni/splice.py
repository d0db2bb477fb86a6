"""Carrying bytes between an accepted connection and a backend outside the process.

Two protocols that write into each other's transport and pause each other: as fast in bulk as haproxy with its
default buffers. The upstream socket is bound to the caller's address, so the backend sees who calls.
"""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from minikube_py.cni.accept import Address, TrackedSocket, reset

__all__ = ["IP_BIND_ADDRESS_NO_PORT", "Half", "relay"]

IP_BIND_ADDRESS_NO_PORT = 24
"""linux/in.h: choose the port at connect, when the destination is known, so that far more connections fit."""

_HIGH = 1 << 20
"""Bytes buffered per direction before the sender is paused (measured: 1 MB keeps up with haproxy)."""


class Half(asyncio.Protocol):
    """One side; what it receives, its peer writes."""

    def __init__(self) -> None:
        self.peer: Half | None = None
        self.transport: asyncio.Transport | None = None
        self.lost = asyncio.get_running_loop().create_future()
        self.received = 0
        self._early: list[bytes] = []
        self._eof = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_HIGH)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.peer is None or self.peer.transport is None:
            self._early.append(data)  # the backend spoke before the caller's side was up
        else:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        self._eof = True
        self._pass_eof()
        return True  # half-closed: the other direction goes on

    def _pass_eof(self) -> None:
        if self.peer and self.peer.transport:
            if not self.peer.transport.is_closing() and self.peer.transport.can_write_eof():
                self.peer.transport.write_eof()
            if self.peer._eof and self.transport:
                self.transport.close()
                self.peer.transport.close()

    def join(self, peer: Half) -> None:
        """Both transports exist: pass on what came early, then everything."""
        self.peer = peer
        assert peer.transport
        for data in self._early:
            peer.transport.write(data)
        self._early.clear()
        if self._eof:
            self._pass_eof()

    def pause_writing(self) -> None:
        if self.peer and self.peer.transport:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer and self.peer.transport and not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        if self.peer and self.peer.transport:
            if exc:
                self.peer.transport.abort()
            else:
                self.peer.transport.close()


async def relay(sock: TrackedSocket, caller: str, target: Address) -> tuple[int, int]:
    """Connect to `target` as `caller` and carry bytes both ways until both sides have ended.

    Returns the bytes received from and sent to the caller. A target that refuses is a reset for the caller.
    Resource handling: takes over `sock`; cancelling aborts both sides.
    """
    loop = asyncio.get_running_loop()
    upstream = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    back, front = Half(), Half()
    try:
        upstream.setblocking(False)
        if target[0].startswith("127."):  # beyond loopback the machine's own address is the only one that works
            try:
                upstream.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            except OSError:
                pass  # not Linux: a port is chosen now
            upstream.bind((caller, 0))
        await loop.sock_connect(upstream, target)
        await loop.create_connection(lambda: back, sock=upstream)
        await loop.connect_accepted_socket(lambda: front, sock)
        front.join(back)
        back.join(front)
        await front.lost
        await back.lost
    except OSError:
        reset(sock)
    finally:
        for half in (front, back):
            if half.transport:
                half.transport.abort()
        if back.transport is None:
            upstream.close()
        if front.transport is None:
            reset(sock)
    return front.received, back.received
