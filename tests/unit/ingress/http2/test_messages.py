"""What a request may say in HTTP/2, how it reads in HTTP/1.1, and what is too much. No sockets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.ingress.http2.messages import (
    MAX_FRAME,
    Budget,
    Frames,
    FrameTooLong,
    Outgoing,
    answer_headers,
    head_of,
    read_request,
    request_headers,
    trailer_fields,
)

HEAD = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.test"), (b":path", b"/")]


def test_a_request_is_read() -> None:
    """`:authority` becomes Host, the rest stays in order."""
    head = read_request([*HEAD, (b"a", b"1"), (b"b", b""), (b"te", b"trailers")], ended=True)
    assert (head.method, head.target, head.problem, head.length) == ("GET", "/", "", None)
    assert head.fields == ((b"host", b"a.test"), (b"a", b"1"), (b"b", b""), (b"te", b"trailers"))


@pytest.mark.parametrize(
    ("more", "ended", "length"),
    [
        pytest.param([(b"content-length", b"0")], True, 0, id="an empty body"),
        pytest.param([(b"content-length", b"7")], False, 7, id="announced"),
        pytest.param([], False, None, id="not announced"),
        pytest.param([(b"host", b"A.test")], True, None, id="Host as the authority"),
    ],
)
def test_lengths(more: list[tuple[bytes, bytes]], ended: bool, length: int | None) -> None:
    """What is announced counts."""
    head = read_request([*HEAD, *more], ended=ended)
    assert (head.problem, head.length) == ("", length)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"content-length", b"+1"),
        (b"content-length", b"1, 1"),
        (b"content-length", b"0x1"),
        (b"content-length", b"9" * 19),
        (b"content-length", b""),
        (b"proxy-connection", b"x"),
        (b"keep-alive", b"x"),
        (b"upgrade", b"websocket"),
        (b"a", b" b"),
        (b"a", b"b\t"),
        (b"a", b"\x7f"),
        (b":unknown", b"x"),
        (b"a b", b"c"),
    ],
)
def test_what_may_not_be_said(name: bytes, value: bytes) -> None:
    """RFC 9113 §8.2."""
    assert read_request([*HEAD, (name, value)], ended=False).problem


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=6), st.booleans())
def test_nothing_gets_out_of_its_place(more: list[tuple[bytes, bytes]], ended: bool) -> None:
    """Whatever headers come: what is taken holds nothing that HTTP/1.1 takes for structure."""
    head = read_request([*HEAD, *more], ended=ended)
    if head.problem:
        return
    for name, value in head.fields:
        assert not set(name) & set(b"\r\n\0: ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        assert not set(value) & set(b"\r\n\0")
        assert name not in (b"transfer-encoding", b"connection", b"upgrade")
    assert [name for name, _ in head.fields].count(b"host") == 1


@given(st.binary(max_size=30))
def test_paths_hold_no_structure(path: bytes) -> None:
    """Neither blanks nor line ends: one request stays one request."""
    head = read_request([*HEAD[:3], (b":path", path)], ended=True)
    if not head.problem:
        assert path.startswith(b"/")
        assert not set(path) & set(b" \r\n\t\0")


def test_an_answer_loses_connection_headers() -> None:
    """RFC 9113 §8.2.2."""
    fields = [(b"connection", b"Connection", b"close"), (b"x-a", b"X-A", b"1")]
    assert answer_headers(200, fields) == [(b":status", b"200"), (b"x-a", b"1")]


def test_an_http11_head_as_headers() -> None:
    """What `forwarding` makes for HTTP/1.1 backends goes to gRPC's."""
    block = b"POST /a?b HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nX-A: b: c\r\n\r\n"
    assert request_headers(block, scheme=b"http") == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/a?b"),
        (b":authority", b"a.test"),
        (b"te", b"trailers"),
        (b"x-a", b"b: c"),
    ]


def test_a_pods_answer() -> None:
    """Status and fields; nonsense is refused."""
    assert head_of([(b":status", b"200"), (b"a", b"1")]) == (200, [(b"a", b"a", b"1")])
    for headers in ([], [(b":status", b"20")], [(b":status", b"200"), (b"a", b"1\r\nb")], [(b":status", b"099")]):
        with pytest.raises(ValueError, match=r"\w"):
            head_of(headers)


def test_trailers() -> None:
    """What speaks of framing or routing may not come late."""
    found = trailer_fields([(b"grpc-status", b"0"), (b"content-length", b"1"), (b"host", b"x"), (b"a", b"b\r\nc")])
    assert found == [(b"grpc-status", b"grpc-status", b"0")]


@given(st.lists(st.tuples(st.integers(0, MAX_FRAME), st.booleans()), max_size=8), st.lists(st.integers(1, 40_000)))
def test_frames_are_watched_however_they_come(frames: list[tuple[int, bool]], cuts: list[int]) -> None:
    """In pieces of any size: all passes, cut after each GOAWAY; a frame that is too long is told by its length."""
    data = b"x" * 24
    ends = []
    for size, goaway in frames:
        data += size.to_bytes(3, "big") + (b"\7" if goaway else b"\0") + b"\0" * (5 + size)
        if goaway:
            ends.append(len(data))
    watch = Frames(preface=24)
    pieces: list[bytes] = []
    rest = data
    for cut in (*cuts, len(data)):
        pieces += watch.feed(rest[:cut])
        rest = rest[cut:]
    assert b"".join(pieces) == data
    assert set(ends) <= {sum(map(len, pieces[: count + 1])) for count in range(len(pieces))}
    for piece in (b"\0", b"\x40"):
        watch.feed(piece)
    with pytest.raises(FrameTooLong):
        watch.feed(b"\x01\0")


@given(st.lists(st.binary(max_size=9)), st.lists(st.integers(1, 5), min_size=99, max_size=99))
def test_what_waits_comes_out_in_order(added: list[bytes], sizes: list[int]) -> None:
    """In pieces of at most what is asked for."""
    waiting = Outgoing()
    for each in added:
        waiting.add(each)
    whole = b"".join(added)
    taken = b""
    for size in sizes:
        assert waiting.size == len(whole) - len(taken)
        if not waiting.size:
            break
        piece = waiting.take(size)
        assert 1 <= len(piece) <= size
        taken += piece
    assert whole.startswith(taken)


def test_a_budget_fills_up_again() -> None:
    """So many at once, so many per second."""
    budget = Budget(2, 1)
    assert [budget.spend(100.0) for _ in range(3)] == [True, True, False]
    assert [budget.spend(102.0) for _ in range(2)] == [True, False]
