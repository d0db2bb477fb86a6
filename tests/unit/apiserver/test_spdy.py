"""SPDY/3.1 framing."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.apiserver.spdy import DICTIONARY, Broken, Data, Opened, Reset, Session


def control(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">HHI", 0x8003, kind, flags << 24 | len(payload)) + payload


class Peer:
    """A client's side, as simple as can be."""

    def __init__(self) -> None:
        self.deflate = zlib.compressobj(zdict=DICTIONARY)

    def open(self, stream: int, headers: dict[str, str], *, fin: bool = False) -> bytes:
        block = struct.pack(">I", len(headers))
        for name, value in headers.items():
            block += struct.pack(">I", len(name)) + name.encode() + struct.pack(">I", len(value)) + value.encode()
        packed = self.deflate.compress(block) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        return control(1, int(fin), struct.pack(">IIH", stream, 0, 0) + packed)


def data(stream: int, payload: bytes, *, fin: bool = False) -> bytes:
    return struct.pack(">II", stream, (1 << 24 if fin else 0) | len(payload)) + payload


def test_dictionary_is_the_one_on_the_wire() -> None:
    """Length and checksum as Go's implementation sends them."""
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


@given(st.lists(st.integers(1, 40), max_size=60))
def test_frames_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    """Bytes may come in any pieces."""
    peer = Peer()
    wire = (
        peer.open(1, {"streamtype": "error", "port": "80"}, fin=True)
        + peer.open(3, {"streamtype": "data", "port": "80"})
        + data(3, b"hello " * 9)
        + control(4, 0, b"\x00\x00\x00\x00")
        + control(9, 0, struct.pack(">II", 3, 1))
        + data(3, b"", fin=True)
        + control(3, 0, struct.pack(">II", 3, 5))
        + control(7, 0, struct.pack(">II", 3, 0))
    )
    session, events, start = Session(), [], 0
    for cut in (*cuts, len(wire)):
        events += session.receive(wire[start : start + cut])
        start += cut
    assert events == [
        Opened(1, {"streamtype": "error", "port": "80"}, True),
        Opened(3, {"streamtype": "data", "port": "80"}, False),
        Data(3, b"hello " * 9, False),
        Data(3, b"", True),
        Reset(3),
        Reset(0),
    ]


def test_what_is_sent_reads_back() -> None:
    """Large data is cut into frames; only the last ends the stream; pings are echoed."""
    sender, reader = Session(), Session()
    sender.send(1, b"x" * 100_000, fin=True)
    events = reader.receive(sender.to_send())
    assert b"".join(e.data for e in events if isinstance(e, Data)) == b"x" * 100_000
    assert [e.fin for e in events if isinstance(e, Data)] == [False, False, False, True]
    assert sender.to_send() == b""
    sender.receive(control(6, 0, b"\x00\x00\x00\x07"))
    assert sender.to_send() == control(6, 0, b"\x00\x00\x00\x07")


def test_replies_are_compressed_in_one_stream() -> None:
    """Both SYN_REPLYs inflate to an empty header block."""
    session, inflate = Session(), zlib.decompressobj(zdict=DICTIONARY)
    for stream in (1, 3):
        session.reply(stream)
        frame = session.to_send()
        assert struct.unpack_from(">HH", frame) == (0x8003, 2)
        assert inflate.decompress(frame[12:]) == b"\x00\x00\x00\x00"


@given(st.binary(min_size=1, max_size=100))
def test_nonsense_is_broken_or_ignored(noise: bytes) -> None:
    """Any bytes give events or Broken, nothing else."""
    try:
        Session().receive(control(1, 0, noise) + noise)
    except Broken:
        return


def test_other_versions_are_refused() -> None:
    """SPDY/2 is not spoken."""
    with pytest.raises(Broken, match="version 2"):
        Session().receive(struct.pack(">HHI", 0x8002, 1, 0))
