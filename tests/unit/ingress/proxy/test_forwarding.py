"""Which requests are simple, and what their heads become."""

import pytest
from aiohttp.http_parser import HttpRequestParserPy
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.ingress.http1.messages import parse_head
from minikube_py.ingress.proxy.forwarding import answer_head, returned, simple_fields, simple_line

OK = b"Host: shop.test\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(b"", id="no headers"),
        pytest.param(b"A: b\r\n", id="no host"),
        pytest.param(OK + OK, id="two hosts"),
        pytest.param(b"Host: a b\r\n", id="a host that is none"),
        pytest.param(OK + b"Content-Length: +1\r\n", id="a signed length"),
        pytest.param(OK + b"Content-Length: 0x1\r\n", id="a hexadecimal length"),
        pytest.param(OK + b"Content-Length: 1, 1\r\n", id="a list of lengths"),
        pytest.param(OK + b"Content-Length: \r\n", id="an empty length"),
        pytest.param(OK + b"Content-Length: 1\r\n" * 2, id="the same length twice"),
        pytest.param(OK + b"Content-Length: 1000000000000000\r\n", id="an enormous length"),
        pytest.param(OK + b"transfer-encoding: chunked\r\n", id="transfer-encoding"),
        pytest.param(OK + b"Transfer_Encoding : chunked\r\n", id="space before colon"),
        pytest.param(OK + b"A: b\r\n c\r\n", id="obs-fold"),
        pytest.param(OK + b"A: b\nC: d\r\n", id="bare line feed"),
        pytest.param(OK + b"A: b\rC: d\r\n", id="bare carriage return"),
        pytest.param(OK + b"A: \x00\r\n", id="control character"),
        pytest.param(OK + b"Expect: 100-continue\r\n", id="expect"),
        pytest.param(OK + b"Upgrade: websocket\r\nConnection: upgrade\r\n", id="upgrade"),
        pytest.param(OK + b"Connection: keep-alive, X-Secret\r\n", id="connection names a header"),
        pytest.param(OK + b": v\r\n", id="no name"),
    ],
)
def test_whatever_is_unusual_is_not_simple(lines: bytes) -> None:
    """None: aiohttp's parser decides."""
    assert simple_fields(lines + b"\r\n") is None


@pytest.mark.parametrize(
    "line",
    [
        b"CONNECT / HTTP/1.1\r\n",
        b"TRACE / HTTP/1.1\r\n",
        b"post / HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"GET / HTTP/1.0\r\n",
        b"GET http://a/ HTTP/1.1\r\n",
        b"GET /a b HTTP/1.1\r\n",
        b"GET /#f HTTP/1.1\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET /\xff HTTP/1.1\r\n",
        b" GET / HTTP/1.1\r\n",
    ],
)
def test_other_request_lines_are_not_simple(line: bytes) -> None:
    """Only the usual methods, of a plain path, over HTTP/1.1 are."""
    assert simple_line(line) is None


def test_headers_are_forwarded_as_they_came() -> None:
    """Hop-by-hop headers, those with underscores and believed addresses are not."""
    found = simple_fields(
        OK + b"Accept: */*\r\nKeep-Alive: 3\r\nX_Real_IP: 1\r\nX-Real-IP: 1\r\nX-Forwarded-For: 9.9.9.9\r\n"
        b"Connection: close\r\nUser-Agent: t/1\r\n\r\n"
    )
    assert found is not None
    assert found.forwarded == b"Accept: */*\r\nUser-Agent: t/1\r\n\r\n"
    assert (found.host, found.close, found.agent, found.received) == ("shop.test", True, "t/1", "9.9.9.9")
    assert (found.headers["ACCEPT"], found.headers["x-real-ip"]) == ("*/*", "1")


@pytest.mark.parametrize(
    ("line", "length", "sent"), [(b"", 0, b""), (b"content-length: 007\r\n", 7, b"Content-Length: 7\r\n")]
)
def test_the_length_of_a_body(line: bytes, length: int, sent: bytes) -> None:
    """It goes on to the pod in its plainest form."""
    found = simple_fields(OK + line + b"\r\n")
    assert found is not None
    assert (found.length, found.forwarded) == (length, sent + b"\r\n")


_LINES = st.binary(max_size=12).map(lambda text: b"X" + text.replace(b"\r\n\r\n", b""))
_LENGTHS = st.tuples(
    st.sampled_from([b"Content-Length", b"content-length", b"Content-Length "]),
    st.sampled_from([b"1", b"01", b" 2 ", b"+1", b"-1", b"1,1", b"1 1", b"0x1", b"\xb2", b"1\x00", b""]),
).map(lambda pair: pair[0] + b":" + pair[1])


@given(st.lists(_LINES | _LENGTHS, max_size=4))
def test_simple_is_what_a_slow_parser_reads_the_same(parts: list[bytes]) -> None:
    """Where the fast path takes a head, aiohttp's Python parser reads the same Host and the same body."""
    block = OK + b"".join(part + b"\r\n" for part in parts) + b"\r\n"
    found = simple_fields(block)
    if found is None:
        return
    import asyncio
    from unittest import mock  # aiohttp's parser wants a protocol that it never calls here

    parser = HttpRequestParserPy(mock.Mock(), mock.Mock(spec=asyncio.AbstractEventLoop), 2**16)
    ((message, _),), _, tail = parser.feed_data(b"GET / HTTP/1.1\r\n" + block)
    assert not tail
    assert message.headers["Host"] == found.host
    assert not message.chunked
    assert int(message.headers.get("Content-Length", 0)) == found.length


def test_answers_lose_hop_by_hop_headers() -> None:
    """What is between proxy and pod stays there; a missing Server is the controller's."""
    head = parse_head(b"HTTP/1.1 200 OK\r\nA: 1\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked", method="GET")
    assert answer_head(head, True, "nginx") == (
        b"HTTP/1.1 200 OK\r\nA: 1\r\nServer: nginx\r\nTransfer-Encoding: chunked\r\n",
        False,
    )
    assert answer_head(head, False, "") == (b"HTTP/1.1 200 OK\r\nA: 1\r\n", False)


@pytest.mark.parametrize(
    ("server", "fields"),
    [
        pytest.param("", [b"X-Open", b"Server", b"Content-Length"], id="the pod's Server is shown"),
        pytest.param(None, [b"X-Open", b"Content-Length"], id="ingress-nginx hides it"),
    ],
)
def test_headers_that_an_answers_connection_names_stay_here(server: str | None, fields: list[bytes]) -> None:
    """RFC 9110 §7.6.1: what Connection names is for the proxy alone; a length is never lost so."""
    lines = b"HTTP/1.1 200 OK\r\nConnection: close, X-Secret, Content-Length\r\nX-Secret: 1\r\nX-Open: 1\r\nServer: app"
    head = parse_head(lines + b"\r\nContent-Length: 2", method="GET")
    assert [name for _, name, _ in returned(head, server)] == fields
