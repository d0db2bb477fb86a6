"""Requests of any shape, cut anywhere: both ways to the pod read them the same."""

import asyncio
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikube_py.ingress.front import Front
from minikube_py.ingress.proxy.proxy import Proxy

from .support import World, world

LAST = b"GET /last HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
PADDING = b"x" * 9000
"""More than a head may be: it ends what still waits for one."""

_TURNS = 30
"""Of the loop: more than a request takes through the ingress to the pod, which is in the same loop, and back."""


class Wire(asyncio.Transport):
    """A caller's connection in memory: what it sends comes in exactly the pieces of the test."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ("127.0.0.1", 40000)})
        self._protocol = protocol
        self._closing = False
        self.written = b""
        self.ended = asyncio.get_running_loop().create_future()
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        if not self._closing:
            self.written += data

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._lost)

    abort = close

    def _lost(self) -> None:
        self._protocol.connection_lost(None)
        self.ended.set_result(None)
        self._protocol = asyncio.Protocol()

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    async def feed(self, pieces: Sequence[bytes]) -> bytes:
        """Send these pieces, then what ends every conversation; return all that was answered."""
        for piece in (*pieces, LAST, PADDING):
            if self._closing:
                break
            self._protocol.data_received(piece)
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        self.close()  # who still waits for bytes gets none
        await self.ended
        return self.written


@dataclass
class Ways:
    """The fast path and aiohttp's, before the same pod."""

    runner: asyncio.Runner
    fronts: list[Front]
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)

    def say(self, pieces: Sequence[bytes]) -> list[tuple[list[bytes], list[tuple[str, str, bytes]]]]:
        """Return the status lines and what the pod saw, way by way."""

        async def conversation(front: Front) -> bytes:
            return await Wire(front()).feed(pieces)

        outcome = []
        for front in self.fronts:
            self.seen.clear()
            data = self.runner.run(conversation(front))
            outcome.append((re.findall(rb"HTTP/1\.1 [0-9]{3} [A-Za-z -]+(?=\r\n)", data), [*self.seen]))
        return outcome


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with asyncio.Runner() as runner:

        async def start(made: World) -> Ways:
            await made.start()

            async def note(request: web.BaseRequest) -> web.StreamResponse:
                found.seen.append((request.method, request.raw_path, await request.read()))
                return web.Response(text="ok")

            made.serve("web", await made.pod(note))
            proxy: Proxy = made.container.extra["proxy"]
            fronts = [
                Front(proxy, secure=False, keepalive_timeout=75.0, clock=made.clock, relay=relay)
                for relay in (True, False)
            ]
            return (found := Ways(runner, fronts))

        async def stop() -> None:
            for front in found.fronts:
                await front.shutdown(0)
            await context.__aexit__(None, None, None)

        context = world()
        found = runner.run(start(runner.run(context.__aenter__())))
        yield found
        runner.run(stop())


def chunked(parts: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"


_TOKENS = st.sampled_from([b"Accept", b"X-A", b"cookie", b"X_B", b"User-Agent"])
_VALUES = st.sampled_from([b"", b"a", b"a, b", b"  spaced  ", b"\xe9", b"GET /smuggled HTTP/1.1"])
_HEADERS = st.lists(st.tuples(_TOKENS, _VALUES), max_size=3, unique_by=lambda pair: pair[0])
_PARTS = st.lists(
    st.binary(max_size=30) | st.just(b"\r\nGET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n"), max_size=3
)


@dataclass(frozen=True)
class Message:
    """A request as it should be, and what the pod is to see of it."""

    data: bytes
    seen: tuple[str, str, bytes]


@st.composite
def messages(draw: st.DrawFn) -> Message:
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]))
    path = draw(st.sampled_from(["/", "/a/b?c=d", "/%20", "/a//b", "/y/%2e%2e/x"]))
    parts = draw(_PARTS) if method in ("POST", "PUT") else []
    body = b"".join(parts)
    lines = [b"Host: shop.test", *(b"%b: %b" % pair for pair in draw(_HEADERS))]
    if method in ("POST", "PUT"):
        sized = draw(st.booleans())
        lines.append(b"Content-Length: %d" % len(body) if sized else b"Transfer-Encoding: chunked")
        body_on_wire = body if sized else chunked(parts)
    else:
        body_on_wire = b""
    head = b"%b %b HTTP/1.1\r\n" % (method.encode(), path.encode())
    return Message(head + b"\r\n".join(draw(st.permutations(lines))) + b"\r\n\r\n" + body_on_wire, (method, path, body))


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


_PLACES = st.lists(st.integers(0, 2000), max_size=6)
_SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_SETTINGS
@given(message=messages(), places=_PLACES)
def test_good_requests_arrive_however_they_are_cut(ways: Ways, message: Message, places: list[int]) -> None:
    """Once, whole, and followed by the next one; what stands in a body is never a request."""
    for lines, seen in ways.say(cut(message.data, places)):
        assert seen == [message.seen, ("GET", "/last", b"")]
        assert lines == [b"HTTP/1.1 200 OK"] * 2


_NOISE = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\x00", b"\x0b", b"0", b";", b"\xff", b"GET / HTTP/1.1\r\n"]
)


@_SETTINGS
@given(
    message=messages(),
    place=st.integers(0, 2000),
    dropped=st.integers(0, 2),
    noise=_NOISE | st.binary(max_size=3),
    places=_PLACES,
)
def test_spoilt_requests_are_read_the_same_on_both_ways(
    ways: Ways,
    message: Message,
    place: int,
    dropped: int,
    noise: bytes,
    places: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Bytes put in or left out anywhere: the pod sees the same, the caller is told the same."""
    at = place % len(message.data)
    data = message.data[:at] + noise + message.data[at + dropped :]
    caplog.clear()
    fast, slow = ways.say(cut(data, places))
    # a page sent before the body was read ends the connection: the other way may have gone on to the next request
    for ours, theirs in zip(fast, slow, strict=True):
        both = min(len(ours), len(theirs))
        assert ours[:both] == theirs[:both]
    assert fast[0][:1] == slow[0][:1]
    assert all(line[9:10] in (b"2", b"4", b"5") for line in fast[0])
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR and "minikube" in each.name]


@_SETTINGS
@given(pieces=st.lists(st.binary(max_size=60), max_size=4))
def test_noise_is_refused_or_ignored(ways: Ways, pieces: list[bytes], caplog: pytest.LogCaptureFixture) -> None:
    """Arbitrary bytes never reach a pod as anything but the request that may follow them, and never raise."""
    caplog.clear()
    fast, slow = ways.say(pieces)
    assert fast == slow
    assert {path for _, path, _ in fast[1]} <= {"/last"}
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR and "minikube" in each.name]
