"""What the kernel counts for a TCP connection (`struct tcp_info` of linux/tcp.h): no bookkeeping per byte of our own.

Elsewhere than on Linux the counters are unknown and read as zero.
"""

import socket
import struct
import sys

from msgspec import Struct

__all__ = ["GONE", "TcpInfo", "read"]

_TCP_INFO = 11
_SIZE = 216
_HEAD = struct.Struct("=B")
_AGES = struct.Struct("=IIII")  # last_data_sent, last_ack_sent, last_data_recv, last_ack_recv: milliseconds ago
_RECEIVED = struct.Struct("=Q")
_NOT_SENT = struct.Struct("=I")
_SEGMENTS = struct.Struct("=II")  # data_segs_in, data_segs_out
_SENT = struct.Struct("=QQ")  # bytes_sent, bytes_retrans

_CLOSED_BY_PEER = frozenset({7, 8})
"""TCP_CLOSE (reset) and TCP_CLOSE_WAIT (the peer said FIN): net/tcp_states.h."""
_FIN_COUNTED = frozenset({8, 9, 11})
"""TCP_CLOSE_WAIT, TCP_LAST_ACK, TCP_CLOSING: the peer's FIN is counted as a byte received."""


class TcpInfo(Struct, frozen=True):
    """One look at a connection."""

    received: int = 0
    """Bytes that came in."""
    sent: int = 0
    """Bytes written by us, those still in the kernel's queue included."""
    closed_by_peer: bool = False
    quiet_for: float = 0.0
    """Seconds since data went either way."""
    answered: bool = False
    """The last data went out: whatever was asked has (begun to be) answered."""
    exchanges: int = 0
    """Requests, as far as the kernel can tell: segments with data that came in or went out, whichever are fewer. On
    loopback (MTU 64 KiB) a usual request or answer is one segment; what is pipelined counts once."""


GONE = TcpInfo(closed_by_peer=True)


def read(sock: socket.socket) -> TcpInfo:
    """Look at `sock`; GONE when it is closed on our side."""
    if sys.platform != "linux":
        return GONE if sock.fileno() < 0 else TcpInfo()
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _SIZE)
    except OSError:
        return GONE
    if len(raw) < _SIZE:  # a kernel before 4.19 knows less
        return TcpInfo(closed_by_peer=raw[0] in _CLOSED_BY_PEER)
    (state,) = _HEAD.unpack_from(raw, 0)
    last_sent, _, last_received, _ = _AGES.unpack_from(raw, 44)
    (received,) = _RECEIVED.unpack_from(raw, 128)
    (not_sent,) = _NOT_SENT.unpack_from(raw, 144)
    segments = min(_SEGMENTS.unpack_from(raw, 152))
    sent, again = _SENT.unpack_from(raw, 200)
    # The ages come in steps of a jiffy (4 ms): equal ones can't say what came last, so they don't count as answered.
    return TcpInfo(
        received=received - (state in _FIN_COUNTED),
        sent=sent - again + not_sent,
        closed_by_peer=state in _CLOSED_BY_PEER,
        quiet_for=min(last_sent, last_received) / 1000,
        answered=sent > 0 and last_sent < last_received,
        exchanges=segments,
    )
