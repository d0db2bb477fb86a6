"""minikube_py/cni/sockdiag.py, against sockets of this test."""

import socket
import sys

import pytest

from minikube_py.cni import sockdiag

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has NETLINK_SOCK_DIAG")


def test_a_listener_is_seen_while_it_listens() -> None:
    """A bound socket is no listener; one that listens is; a closed one no longer."""
    with socket.socket() as sock:
        sock.bind(("127.33.33.3", 0))
        ip, port = sock.getsockname()
        assert sockdiag.listens(ip, port) is False
        sock.listen()
        assert sockdiag.listens(ip, port) is True
        assert sockdiag.listens("127.33.33.4", port) is False
        with socket.create_connection((ip, port)):
            assert sockdiag.Listening().ports(ip) == {port}
    assert sockdiag.listens(ip, port) is False


def test_a_snapshot_tells_tcp_from_udp_and_knows_moved_ports() -> None:
    """Ports below 1024 that are really 20000 higher are told as pods see them; other protocols are unknown."""
    with socket.create_server(("127.33.33.5", 20080)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.33.33.5", 5353))
        seen = sockdiag.Listening(20000)
        assert seen.ports("127.33.33.5") == {80}
        assert seen.ports("127.33.33.5", "UDP") == {5353}
        assert seen.ports("127.33.33.5", "SCTP") is None
        assert seen.ports("127.33.33.6") == frozenset()


@pytest.mark.parametrize(
    ("address", "v6_only", "seen_at"),
    [
        pytest.param("::ffff:127.33.33.7", False, "127.33.33.7", id="an IPv4 address as IPv6 writes it (gRPC)"),
        pytest.param("::", False, "0.0.0.0", id="both families"),
        pytest.param("::", True, None, id="no IPv4 callers"),
    ],
)
def test_ipv6_sockets_that_take_ipv4_callers_count(address: str, v6_only: bool, seen_at: str | None) -> None:
    """Whoever calls the IPv4 address is answered, so somebody listens there."""
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6_only)
        try:
            sock.bind((address, 0))
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")
        sock.listen()
        port = sock.getsockname()[1]
        found = sockdiag.Listening()
        assert {ip for ip in ("127.33.33.7", "0.0.0.0") if port in (found.ports(ip) or ())} == ({seen_at} - {None})
        assert sockdiag.listens("127.33.33.7", port) is (seen_at is not None)
