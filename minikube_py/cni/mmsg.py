"""Many datagrams with one system call: recvmmsg(2) and sendmmsg(2), which Python's socket module doesn't have.

Two calls per 64 datagrams instead of 128 raise a busy UDP Service above what one call each allows. Where libc lacks
them (macOS), or for a lone datagram, `socket` does it.

Resource handling: a `Batch` is buffers only (8 MB of address space, of which a page is touched for each datagram of
the largest batch so far); one per fabric serves all its sockets, as a batch is received, worked off and sent in one go.
"""

import ctypes
import errno
import mmap
import os
import socket
import struct
import sys
from functools import cached_property
from typing import Any

__all__ = ["Batch", "Datagram"]

Datagram = tuple[bytes, tuple[str, int]]

_MOST = 64
_SLOT = 65536
_STRIDE = _SLOT + 192
"""From slot to slot: a power of two would put every datagram into the same few lines of the processor's cache."""
_HEADER = 64
"""sizeof(struct mmsghdr) on 64-bit Linux: msghdr (56), msg_len (4), padding (4)."""
_MOST_NAMES = 65536


def _calls() -> tuple[Any, Any] | None:
    if not sys.platform.startswith("linux") or struct.calcsize("P") != 8:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        return libc.recvmmsg, libc.sendmmsg
    except AttributeError:
        return None


class _Vector:
    """`_MOST` message headers with a buffer and an IPv4 address each."""

    def __init__(self) -> None:
        self.data = mmap.mmap(-1, _MOST * _STRIDE)  # anonymous: costs nothing until touched; slices are bytes
        self.names = mmap.mmap(-1, _MOST * 16)
        self._iov = ctypes.create_string_buffer(_MOST * 16)
        self.headers = ctypes.create_string_buffer(_MOST * _HEADER)
        data, names = (ctypes.addressof(ctypes.c_char.from_buffer(pages)) for pages in (self.data, self.names))
        for i in range(_MOST):
            struct.pack_into("PN", self._iov, i * 16, data + i * _STRIDE, _SLOT)
            struct.pack_into(
                "PIxxxxPNPNi",
                self.headers,
                i * _HEADER,
                names + i * 16,
                16,
                ctypes.addressof(self._iov) + i * 16,
                1,
                0,
                0,
                0,
            )
        self.first = [ctypes.byref(self.headers, i * _HEADER) for i in range(_MOST)]
        self.sizes = memoryview(self._iov).cast("B").cast("Q")
        """Every second is an iov_len."""
        self.received = memoryview(self.headers).cast("B").cast("I")
        """Every 16th from 14 is a msg_len."""


class Batch:
    """Receives and sends up to 64 datagrams of an IPv4 socket at a time."""

    def __init__(self) -> None:
        self._calls = _calls()
        self._addresses: dict[bytes, tuple[str, int]] = {}
        self._names: dict[tuple[str, int], bytes] = {}

    @cached_property
    def _in(self) -> _Vector:
        return _Vector()

    @cached_property
    def _out(self) -> _Vector:
        return _Vector()

    def receive(self, sock: socket.socket) -> list[Datagram]:
        """Return the datagrams that wait, at most 64; none is an empty list.

        Error handling: OSError for an ICMP answer to something that was sent (reading it clears it).
        """
        if not self._calls:
            return self._receive_singly(sock)
        count = self._calls[0](sock.fileno(), self._in.headers, _MOST, socket.MSG_DONTWAIT, None)
        if count < 0:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EINTR):
                return []
            raise OSError(code, os.strerror(code))
        pages, known = self._in.data, self._addresses
        names = self._in.names[: count * 16]
        found = []
        at = start = 0
        for size in self._in.received[14 : count * 16 : 16].tolist():
            name = names[at : at + 8]
            found.append((pages[start : start + size], known.get(name) or self._address(name)))
            at += 16
            start += _STRIDE
        return found

    def send(self, sock: socket.socket, datagrams: list[Datagram]) -> None:
        """Send what can be sent now; what the socket doesn't take is lost, as datagrams may be."""
        if not self._calls or len(datagrams) == 1:
            for data, address in datagrams:
                try:
                    sock.sendto(data, address)
                except OSError:
                    continue
            return
        for first in range(0, len(datagrams), _MOST):
            self._send(sock, datagrams[first : first + _MOST])

    def _send(self, sock: socket.socket, datagrams: list[Datagram]) -> None:
        assert self._calls
        pages, sizes, known = self._out.data, self._out.sizes, self._names
        names = []
        start, at = 0, 1
        for data, address in datagrams:
            size = len(data)
            pages[start : start + size] = data
            sizes[at] = size
            names.append(known.get(address) or self._name(address))
            start += _STRIDE
            at += 2
        self._out.names[: len(names) * 16] = b"".join(names)
        at, count = 0, len(datagrams)
        while at < count:
            sent = self._calls[1](sock.fileno(), self._out.first[at], count - at, socket.MSG_DONTWAIT)
            at += sent if sent > 0 else 1  # the one that was refused is lost

    def _receive_singly(self, sock: socket.socket) -> list[Datagram]:
        found: list[Datagram] = []
        while len(found) < _MOST:
            try:
                found.append(sock.recvfrom(_SLOT))
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                if not found:
                    raise
                break
        return found

    def _address(self, name: bytes) -> tuple[str, int]:
        if len(self._addresses) >= _MOST_NAMES:
            self._addresses.clear()
        address = self._addresses[name] = (socket.inet_ntoa(name[4:8]), int.from_bytes(name[2:4], "big"))
        return address

    def _name(self, address: tuple[str, int]) -> bytes:
        if len(self._names) >= _MOST_NAMES:
            self._names.clear()
        name = (
            struct.pack("=H", socket.AF_INET) + address[1].to_bytes(2, "big") + socket.inet_aton(address[0]) + bytes(8)
        )
        self._names[address] = name
        return name
