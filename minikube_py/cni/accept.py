"""The accept loop and the sockets that it makes.

asyncio's own `create_server` accepts well, but hands each connection to one protocol factory for good; here a
connection is first looked at (who calls, which endpoint, may it?) and then given to the pod that is to have it.
Under many callers this loop also costs a third less per connection than uvloop's.
"""

import asyncio
import contextvars
import errno
import logging
import socket
import struct
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["AcceptLoop", "Address", "TrackedSocket", "listening_socket", "reset"]

logger = logging.getLogger(__name__)

Address: TypeAlias = tuple[str, int]

_BATCH = 64
"""Connections accepted per wake-up, so that a flood on one listener leaves the loop to others."""
_BACKLOG = 4096
"""SYNs that may wait; the kernel caps it at net.core.somaxconn, whose default this is."""
_OUT_OF_FDS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_ABORT = struct.pack("ii", 1, 0)


class TrackedSocket(socket.socket):
    """An accepted socket that says when it is closed, whoever closes it.

    A transport's protocol can be replaced at any time (WebSocket upgrades, STARTTLS), so `connection_lost` may never
    reach who counts connections; the socket itself always ends. uvloop detaches it instead of closing it.
    """

    __slots__ = ("on_closed",)

    on_closed: Callable[[], None] | None

    def close(self) -> None:
        self._ended()
        super().close()

    def detach(self) -> int:
        self._ended()
        return super().detach()

    def _ended(self) -> None:
        callback = getattr(self, "on_closed", None)
        if callback is not None:
            self.on_closed = None
            callback()


def reset(sock: socket.socket) -> None:
    """Close `sock` with an RST: the caller sees its connection refused or reset, not an empty answer."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    except OSError:
        pass  # it is gone already
    sock.close()


def listening_socket(ip: str, port: int) -> socket.socket:
    """Return a bound TCP socket; `listen` is the accept loop's. Raises OSError as bind does."""
    # The protocol number is given because asyncio switches Nagle off only for sockets that carry it.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ip, port))
    except OSError:
        sock.close()
        raise
    return sock


class AcceptLoop:
    """Accepts from a bound socket and calls `accepted(socket, source)` for each connection.

    Resource handling: owns the listening socket; `close()` closes it and leaves accepted ones alone.
    Error handling: out of file descriptors, it pauses for a tenth of a second and says so.
    """

    def __init__(
        self,
        sock: socket.socket,
        accepted: Callable[[TrackedSocket, Address], None],
        context: contextvars.Context,
    ) -> None:
        self.sock = sock
        self._accepted = accepted
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self.serving = False

    def start(self) -> None:
        if not self.serving:
            self.serving = True
            self.sock.listen(_BACKLOG)
            self._resume()

    def close(self) -> None:
        if self._pause:
            self._pause.cancel()
        if self.sock.fileno() >= 0:
            if self.serving:
                self._loop.remove_reader(self.sock.fileno())
            self.sock.close()
        self.serving = False

    def take(self, fd: int, source: Address) -> None:
        """Accept a connection that came by another way (`drop.Hole`); call it from the loop."""
        self._loop.call_soon(self._taken, fd, source, context=self._context.copy())

    def _taken(self, fd: int, source: Address) -> None:
        connection = TrackedSocket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=fd)
        if not self.serving:
            reset(connection)
            return
        connection.setblocking(False)
        self._accepted(connection, source)

    def _resume(self) -> None:
        self._pause = None
        # A copy, because a context can't be entered twice and we may be called from within it.
        self._context.copy().run(self._loop.add_reader, self.sock.fileno(), self._readable)

    def _readable(self) -> None:
        sock = self.sock
        for _ in range(_BATCH):
            try:
                fd, source = sock._accept()  # type: ignore[attr-defined]
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _OUT_OF_FDS:
                    raise
                logger.error(
                    "accept paused address=%s:%d reason=%s (raise the limit of open files: ulimit -n)",
                    *sock.getsockname(),
                    error.strerror,
                )
                self._loop.remove_reader(sock.fileno())
                self._pause = self._loop.call_later(0.1, self._resume)
                return
            connection = TrackedSocket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=fd)
            connection.setblocking(False)
            self._accepted(connection, source)
            if not self.serving:  # what was accepted made somebody close this listener
                return
