"""Parsing backends' answers: framing by the law, chunks in any cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.ingress.http1.messages import BadResponse, Chunks, Framing, chunk, parse_head


@pytest.mark.parametrize(
    ("block", "method", "framing", "length", "keep"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3", "GET", Framing.LENGTH, 3, True, id="length"),
        pytest.param(b"HTTP/1.1 200", "GET", Framing.UNTIL_CLOSE, 0, False, id="no length, no reason"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", "GET", Framing.CHUNKED, 0, True, id="chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3", "HEAD", Framing.NONE, 0, True, id="HEAD"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3", "GET", Framing.NONE, 0, True, id="304"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0", "GET", Framing.LENGTH, 0, False, id="close"
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 0", "GET", Framing.LENGTH, 0, False, id="HTTP/1.0"),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0",
            "GET",
            Framing.LENGTH,
            0,
            True,
            id="1.0 kept",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3",
            "GET",
            Framing.LENGTH,
            3,
            True,
            id="same twice",
        ),
    ],
)
def test_framing(block: bytes, method: str, framing: Framing, length: int, keep: bool) -> None:
    """How an answer ends follows from its head (RFC 9112 §6.3)."""
    head = parse_head(block, method=method)
    assert (head.framing, head.length, head.keep_alive) == (framing, length, keep)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(0, 400), max_size=8), st.binary())
def test_chunks_in_any_cut(parts: list[bytes], cuts: list[int], rest: bytes) -> None:
    """However the bytes are cut, the body and what follows it come out the same."""
    wire = b"".join(map(chunk, parts)) + b"0\r\nA: b\r\n\r\n"
    edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    decoder = Chunks()
    out = b"".join(decoder.feed(wire[a:b]) for a, b in pairwise(edges))
    assert out == b"".join(parts)
    assert decoder.done
    whole = Chunks()
    whole.feed(wire + rest)
    assert whole.rest == rest


@given(st.binary(max_size=200))
def test_garbage_never_surprises(data: bytes) -> None:
    """Any bytes either parse or raise BadResponse."""
    for parse in (lambda: parse_head(data, method="GET"), lambda: Chunks().feed(data)):
        try:
            parse()
        except BadResponse:
            pass  # the only error there may be
