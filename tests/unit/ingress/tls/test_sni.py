"""Server names of real ClientHellos, whole, in pieces, and broken."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.ingress.tls.sni import NotTLS, by_host, server_name


def hello(name: str | None, *, alpn: tuple[str, ...] = ()) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(alpn)
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        pytest.param("shop.test", "shop.test", id="a name"),
        pytest.param("SHOP.test", "shop.test", id="in lower case"),
        pytest.param(None, "", id="none"),
    ],
)
def test_the_name_is_read(name: str | None, found: str) -> None:
    """From OpenSSL's own hello."""
    assert server_name(hello(name, alpn=("h2", "http/1.1"))) == found


def test_a_hello_in_pieces_is_waited_for() -> None:
    """Each beginning of a hello says that more is needed; what follows doesn't matter."""
    whole = hello("shop.test")
    assert {server_name(whole[:size]) for size in range(len(whole))} == {None}
    assert server_name(whole + b"\x14\x03\x03") == "shop.test"


def test_a_hello_may_span_records() -> None:
    """RFC 8446 §5.1: a handshake message may be cut into records."""
    whole = hello("shop.test")
    body = whole[5:]
    pieces = (body[at : at + 50] for at in range(0, len(body), 50))
    cut = b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    assert server_name(cut) == "shop.test"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\n", id="HTTP"),
        pytest.param(b"\x80\x2e\x01\x03\x01", id="SSL 2"),
        pytest.param(b"\x16\x03\x01\x00\x00", id="an empty record"),
        pytest.param(b"\x16\x03\x01\xff\xff", id="a record that is too large"),
        pytest.param(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", id="another handshake message"),
        pytest.param(b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x03", id="an endless hello"),
        pytest.param(b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03", id="a hello cut short"),
    ],
)
def test_what_is_no_hello_is_refused(data: bytes) -> None:
    """With NotTLS, nothing else."""
    with pytest.raises(NotTLS):
        server_name(data)


@given(st.data())
def test_broken_hellos_never_surprise(data: st.DataObject) -> None:
    """Whatever is changed in a hello: a name, "", more is needed, or NotTLS."""
    broken = bytearray(_HELLO)
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = server_name(bytes(broken[: data.draw(st.integers(0, len(broken)))]))
    except NotTLS:
        return
    assert found is None or found.isascii()


_HELLO = hello("shop.test")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        pytest.param("a.test", "exact", id="exact"),
        pytest.param("b.test", "wild", id="wildcard"),
        pytest.param("c.b.test", "wild", id="several labels"),
        pytest.param("c.deep.test", "deeper", id="the longest suffix"),
        pytest.param("test", None, id="not the suffix itself"),
        pytest.param("", None, id="no name"),
    ],
)
def test_names_are_looked_up(name: str, found: str | None) -> None:
    """Exact before wildcards, the longest first."""
    assert by_host({"a.test": "exact", "*.test": "wild", "*.deep.test": "deeper"}, name) == found
    assert by_host({"": "any"}, name) == "any"
