"""A real drop, by an ordinary user: a denied caller's SYN is never answered (Linux).

    SYN ─► SO_REUSEPORT group on podIP:port ── program: source address in the denied ranges?
                 ├─ 0  the real listener
                 └─ 1  the hole: a listener whose accept queue is full, so the kernel drops the SYN

The hole's queue has room for one connection, which we make ourselves and never accept. Only SYNs are looked at:
established connections keep flowing when a policy comes, as under conntrack. A caller that is let in later gets its
connection at the next retransmission of its SYN (after 1, 3, 7 … seconds).

The program may lag behind the policies by a turn of the loop, and it may know too few of the denied: whoever gets
through is judged again when accepted, and held (`held.py`). It must never deny anybody who is allowed.

Stands for the DROP of a CNI's iptables or eBPF programs. Left out: rejecting (`deny: reset` does so after the accept).
"""

import ctypes
import errno
import logging
import socket
import struct
import sys
from collections.abc import Callable

from minikube_py.cni.cbpf import Ranges, compile_ranges, fitting, merge, number

__all__ = ["DatagramFilter", "Dropped", "Hole", "drops_work", "overflows", "syn_sent"]

logger = logging.getLogger(__name__)

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_SO_ATTACH_REUSEPORT_CBPF = 51
_SO_MEMINFO = 55
_SK_MEMINFO_DROPS = 8
_FILLER = "127.255.255.254"
"""Where the connection that fills a hole comes from: an address that no cluster gives to anybody."""
_FILLER_NUMBER = 0x7FFFFFFE
_ABORT = struct.pack("ii", 1, 0)
_MOST_SENDERS = 256
"""Denied senders in one socket's filter."""


def _attach(sock: socket.socket, option: int, program: bytes) -> None:
    """Attach a program. Raises OSError: ENOMEM if it is too long for net.core.optmem_max."""
    buffer = ctypes.create_string_buffer(program, len(program))
    sock.setsockopt(
        socket.SOL_SOCKET, option, struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    )  # struct sock_fprog; the kernel copies the program


class Hole:
    """The black hole beside one listening socket.

    Resource handling: owns one socket; `close()` frees it. The listener stays a member of its group.
    Error handling: OSError where the kernel refuses; the listener then works as before.
    """

    __slots__ = ("_hole", "_listener", "ranges")

    def __init__(self, listener: socket.socket, stray: Callable[[int, tuple[str, int]], None]) -> None:
        """Dig a hole beside `listener`, which listens already; nobody falls in yet.

        `stray(fd, source)` takes a connection that came in the microseconds between joining and aiming.
        """
        self._listener = listener
        self.ranges: Ranges = ()
        """Sources that are dropped."""
        address = listener.getsockname()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._hole = hole = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            hole.setblocking(False)
            hole.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            hole.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            hole.bind(address)
            hole.listen(0)
            _attach(listener, _SO_ATTACH_REUSEPORT_CBPF, compile_ranges(_ONLY_FILLER, hit=1, miss=0))
            while True:
                try:
                    fd, source = hole._accept()  # type: ignore[attr-defined]
                except BlockingIOError:
                    break
                stray(fd, source)
            self._fill(address)
            self.aim(())
        except BaseException:
            hole.close()
            raise

    def _fill(self, address: tuple[str, int]) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as filler:
            filler.bind((_FILLER, 0))
            filler.settimeout(0.2)  # over loopback it takes 50 µs
            filler.connect(address)
            filler.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)

    def aim(self, ranges: Ranges) -> None:
        """Drop these sources from now on, and no others; atomic. Raises OSError if the kernel refuses."""
        if ranges == self.ranges and ranges:
            return
        known = ranges
        while True:
            known = fitting(known)
            try:
                _attach(self._listener, _SO_ATTACH_REUSEPORT_CBPF, compile_ranges(known, hit=1, miss=0))
            except OSError as error:
                if error.errno != errno.ENOMEM or len(known) < 2:
                    raise
                known = fitting(known, len(known))  # a machine with a small net.core.optmem_max: a fifth of them
            else:
                break
        self.ranges = ranges

    @property
    def dropped(self) -> int:
        """How many SYNs have fallen in."""
        try:
            info = self._hole.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
        except OSError:
            return 0
        return int(struct.unpack_from("=I", info, 4 * _SK_MEMINFO_DROPS)[0]) if len(info) >= 36 else 0

    def close(self) -> None:
        self._hole.close()


_ONLY_FILLER: Ranges = ((_FILLER_NUMBER, _FILLER_NUMBER),)


class DatagramFilter:
    """Keeps datagrams of denied senders from waking the loop: whom policy has denied once is dropped by the kernel.

    The first datagram is judged and noted like any other; the filter only spares the rest. It must be cleared when
    verdicts may have changed, and forget a sender to whom the socket's owner talks: replies always pass.

    Error handling: where the kernel refuses, nothing is filtered; every datagram is judged anyway.
    """

    __slots__ = ("_senders", "_socket")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._senders: set[int] = set()

    def __contains__(self, ip: str) -> bool:
        return number(ip) in self._senders

    def add(self, ip: str) -> None:
        if len(self._senders) < _MOST_SENDERS:
            self._senders.add(number(ip))
            self._apply()

    def remove(self, ip: str) -> None:
        self._senders.discard(number(ip))
        self._apply()

    def clear(self) -> None:
        if self._senders:
            self._senders.clear()
            self._apply()

    def _apply(self) -> None:
        try:
            if self._senders:
                ranges = merge((sender, sender) for sender in self._senders)
                _attach(self._socket, _SO_ATTACH_FILTER, compile_ranges(ranges, hit=0, miss=0xFFFFFFFF))
            else:
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        except OSError:
            pass  # not Linux, no room, closed, or nothing was attached


# Who is knocking


def overflows() -> int:
    """Return how many SYNs this network namespace's full listeners have dropped so far, holes among them; -1 where
    that can't be read.
    """
    try:
        with open("/proc/net/netstat", "rb") as file:
            names, values = (file.readline().split() for _ in range(2))
        return int(values[names.index(b"ListenOverflows")])
    except (OSError, ValueError, IndexError):
        return -1


Dropped = tuple[str, int, str, int]
"""Source address and port, destination address and port of a connect that is not answered."""

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY, _NLMSG_ERROR, _NLMSG_DONE = 20, 2, 3
_REQUEST_DUMP = 0x301
_SYN_SENT = 2


def syn_sent() -> set[Dropped]:
    """Return the connects of this machine that wait for an answer (sock_diag(7)); empty where it can't be asked."""
    return _sockets(_SYN_SENT) or set()


def _sockets(state: int) -> set[Dropped] | None:
    found: set[Dropped] = set()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as netlink:
            netlink.settimeout(0.2)
            request = struct.pack("=BBBBI48x", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 1 << state)
            header = struct.pack("=IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0)
            netlink.send(header + request)
            while True:
                data = netlink.recv(1 << 16)
                at = 0
                while at + 16 <= len(data):
                    length, kind = struct.unpack_from("=IH", data, at)
                    if kind in (_NLMSG_DONE, _NLMSG_ERROR) or length < 16:
                        return found
                    sport, dport = struct.unpack_from("!HH", data, at + 20)
                    source = socket.inet_ntoa(data[at + 24 : at + 28])
                    destination = socket.inet_ntoa(data[at + 40 : at + 44])
                    found.add((source, sport, destination, dport))
                    at += (length + 3) & ~3
    except (OSError, AttributeError):
        return None


_known: bool | None = None


def drops_work() -> bool:
    """Tell whether this kernel lets us drop: tried once per process, with a pair of sockets of our own (1 ms)."""
    global _known
    if _known is None:
        _known = _try()
    return _known


def _try() -> bool:
    if sys.platform != "linux":
        return False
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(8)
            listener.setblocking(False)
            hole = Hole(listener, lambda fd, source: socket.close(fd))
            try:
                hole.aim(_ONLY_FILLER)
                return not _connects(_FILLER, listener) and _connects("127.0.0.1", listener)
            finally:
                hole.close()
    except OSError as error:
        logger.info("drops don't work here, denied callers are held reason=%s", error)
        return False


def _connects(source: str, listener: socket.socket) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.bind((source, 0))
        caller.settimeout(0.005)
        try:
            caller.connect(listener.getsockname())
        except TimeoutError:
            return False
        return True
