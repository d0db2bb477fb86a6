"""Batches of datagrams through the kernel."""

import socket
from collections.abc import Iterator

import pytest

from minikube_py.cni.mmsg import Batch


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        for sock in (one, two):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        yield one, two


@pytest.mark.parametrize("plain", [False, True], ids=["mmsg", "one at a time"])
def test_round_trip(pair: tuple[socket.socket, socket.socket], plain: bool) -> None:
    """What is sent arrives whole, in order, with its sender, more than one batch of it, empty datagrams too."""
    one, two = pair
    batch = Batch()
    if plain:
        batch._calls = None
    sent = [bytes([i % 256]) * ((i * 37) % 900) for i in range(100)] + [b"x" * 20_000]
    batch.send(one, [(data, two.getsockname()) for data in sent])
    got = []
    while found := batch.receive(two):
        assert len(found) <= 64
        got += found
    assert got == [(data, one.getsockname()) for data in sent]
    assert batch.receive(two) == []


def test_refused_datagram_is_lost_alone(pair: tuple[socket.socket, socket.socket]) -> None:
    """One datagram that can't be sent doesn't keep the others back."""
    one, two = pair
    batch = Batch()
    to = two.getsockname()
    batch.send(one, [(b"a", to), (b"b", ("255.255.255.255", 9)), (b"c", to)])
    assert [data for data, _ in batch.receive(two)] == [b"a", b"c"]


def test_icmp_error(pair: tuple[socket.socket, socket.socket]) -> None:
    """An answer of ICMP is an OSError once, and then the socket goes on."""
    one, _ = pair
    batch = Batch()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        nowhere = gone.getsockname()
    one.connect(nowhere)
    one.send(b"x")
    with pytest.raises(ConnectionRefusedError):
        batch.receive(one)
    assert batch.receive(one) == []
