"""HTTP/2 sessions spoilt and cut anywhere: nothing is smuggled, nothing surprises, nothing is left."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from h2.config import H2Configuration
from h2.connection import H2Connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikube_py.ingress.front import Front
from minikube_py.ingress.http2.caller import Connection2
from minikube_py.ingress.proxy.proxy import Proxy

from ..support import World, world
from ..test_fuzz import Wire
from .client import POST, get

TURNS = 20


@dataclass
class Scene:
    """A controller, and a pod that notes what it gets."""

    runner: asyncio.Runner
    running: World
    front: Front
    seen: list[tuple[str, str, bytes]]

    async def say(self, pieces: list[bytes]) -> None:
        connection = Connection2(self.front)
        wire = Wire(connection)
        for piece in pieces:
            if wire.is_closing():
                break
            connection.data_received(piece)
            for _ in range(TURNS):
                await asyncio.sleep(0)
        wire.close()
        await wire.ended
        for _ in range(TURNS):
            await asyncio.sleep(0)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    @contextlib.asynccontextmanager
    async def made() -> AsyncIterator[Scene]:
        async with world() as running:
            await running.start()
            seen: list[tuple[str, str, bytes]] = []

            async def note(request: web.BaseRequest) -> web.StreamResponse:
                seen.append((request.method, request.raw_path, await request.read()))
                return web.Response(text="ok")

            running.serve("web", await running.pod(note))
            proxy: Proxy = running.container.extra["proxy"]
            front = Front(proxy, secure=True, keepalive_timeout=75.0, clock=running.clock)
            yield Scene(runner, running, front, seen)
            await front.shutdown(0)

    with asyncio.Runner() as runner:
        context: Any = made()
        yield runner.run(context.__aenter__())
        runner.run(context.__aexit__(None, None, None))


def session() -> bytes:
    """What a well-behaved caller sends: requests with and without bodies, trailers, a reset, PING, its windows."""
    h2 = H2Connection(H2Configuration(header_encoding=None))
    h2.initiate_connection()
    h2.send_headers(1, get("/a?b"), end_stream=True)
    h2.send_headers(3, [*POST, ("content-length", "3"), ("x-a", "b")])
    h2.send_data(3, b"abc", end_stream=True)
    h2.send_headers(5, POST)
    h2.send_data(5, b"x" * 300, pad_length=9)
    h2.send_headers(5, [("x-sum", "1")], end_stream=True)
    h2.send_headers(7, POST)
    h2.reset_stream(7)
    h2.ping(b"12345678")
    h2.increment_flow_control_window(1000)
    h2.close_connection()
    return h2.data_to_send()


SESSION = session()
_CUTS = st.lists(st.integers(1, len(SESSION)), max_size=6)
_SPOILT = st.lists(st.tuples(st.integers(0, len(SESSION) - 1), st.integers(0, 255)), max_size=6)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({*cuts, len(data)})
    return [piece for begin, end in zip([0, *ends], ends, strict=False) if (piece := data[begin:end])]


@given(_SPOILT, _CUTS)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_spoilt_sessions(
    scene: Scene, caplog: pytest.LogCaptureFixture, spoilt: list[tuple[int, int]], cuts: list[int]
) -> None:
    """Bytes changed anywhere: no request within another, no error is logged, no stream or task stays."""
    data = bytearray(SESSION)
    for place, value in spoilt:
        data[place] = value
    scene.seen.clear()
    with caplog.at_level(logging.ERROR):
        scene.runner.run(scene.say(pieces(bytes(data), cuts)))
    assert not [each for each in caplog.records if each.name.startswith("minikube_py")]
    assert not scene.front.multiplexed
    left = {each.get_name() for each in asyncio.all_tasks(scene.runner.get_loop())}
    assert not {each for each in left if each.startswith("ingress")}
    assert len(scene.seen) <= 3  # one for each stream at most: none within another
    assert all(path.startswith("/") and " " not in path for _, path, _ in scene.seen)


@given(_CUTS)
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sessions_in_pieces(scene: Scene, cuts: list[int]) -> None:
    """Cut anywhere, the pod gets the same requests."""
    scene.seen.clear()
    scene.runner.run(scene.say(pieces(SESSION, cuts)))
    assert sorted(scene.seen) == [("GET", "/a?b", b""), ("POST", "/", b"abc"), ("POST", "/", b"x" * 300)]
