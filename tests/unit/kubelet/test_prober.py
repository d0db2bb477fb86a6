"""Probes in Go's words, against servers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from minikube_py.kubelet.prober import ProbeErrored, ProbeFailed, grpc, http_get, port_number, tcp_socket

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HOST = "127.0.0.1"


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """Serve each connection with `handler` on a port of its own."""
    writers = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await handler(reader, writer)

    server = await asyncio.start_server(connected, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


def answering(*answers: bytes, hang: bool = False) -> tuple[Handler, list[bytes]]:
    """Return a handler that gives one answer a connection, and the requests that it saw."""
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
        except asyncio.IncompleteReadError:
            return
        writer.write(answers[min(len(seen), len(answers)) - 1])
        if not hang:
            writer.close()

    return handler, seen


async def get(handler: Handler, timeout: float = 5.0, **action: Any) -> str:
    """Probe `handler`'s server; its address is written as PORT in messages."""
    hook = bool(action.pop("hook", False))
    async with serving(handler) as port:
        try:
            return await http_get(action, HOST, port, timeout, hook=hook)
        except (ProbeFailed, ProbeErrored) as error:
            raise type(error)(str(error).replace(str(port), "PORT")) from None


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def moved(location: str, status: str = "302 Found") -> bytes:
    return f"HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\ngone".encode()


async def test_the_request_is_the_kubelets() -> None:
    """Its own headers, replaced or added to by httpHeaders; the path with its query, a missing slash added."""
    handler, seen = answering(OK)
    headers = [
        {"name": "Host", "value": "shop.example"},
        {"name": "accept", "value": "a/b"},
        {"name": "X", "value": "1"},
    ]
    assert await get(handler, path="healthz?full=1", httpHeaders=headers) == ""
    lines = seen[0].decode().split("\r\n")
    assert lines == [
        "GET /healthz?full=1 HTTP/1.1",
        "Host: shop.example",
        "User-Agent: kube-probe/1.32",
        "accept: a/b",
        "X: 1",
        "Connection: close",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(b"HTTP/1.1 503 Busy\r\n\r\n", "HTTP probe failed with statuscode: 503", id="503"),
        pytest.param(b"HTTP/1.1 199 Odd\r\n\r\n", 'Get "http://127.0.0.1:PORT/": EOF', id="no final status"),
        pytest.param(b"", 'Get "http://127.0.0.1:PORT/": EOF', id="nothing"),
        pytest.param(
            b"SSH-2.0-OpenSSH\r\n",
            'Get "http://127.0.0.1:PORT/": net/http: HTTP/1.x transport connection broken: '
            'malformed HTTP response "SSH-2.0-OpenSSH"',
            id="no HTTP",
        ),
    ],
)
async def test_http_failures(answer: bytes, message: str) -> None:
    """What isn't 200 to 399 fails, in the words of Kubernetes' events."""
    with pytest.raises(ProbeFailed) as failed:
        await get(answering(answer)[0])
    assert str(failed.value) == message


async def test_early_hints_are_not_the_answer() -> None:
    """A 1xx answer announces the one that counts."""
    assert await get(answering(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)[0]) == ""


async def test_a_server_that_is_silent_times_out() -> None:
    """Without a header the probe fails; without the end of the body it has no answer."""
    with pytest.raises(ProbeFailed) as failed:
        await get(answering(b"", hang=True)[0], 0.05)
    assert str(failed.value) == (
        'Get "http://127.0.0.1:PORT/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    )
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal"
    with pytest.raises(ProbeErrored, match="while reading body"):
        await get(answering(half, hang=True)[0], 0.05)


async def test_nobody_reads_more_than_ten_kilobytes() -> None:
    """A body without end is a success."""
    assert await get(answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 20_000, hang=True)[0]) == ""


async def test_redirects_on_the_same_host_are_followed() -> None:
    """Up to ten times; the status at the end counts."""
    handler, seen = answering(moved("/a"), moved("b?c", "307 Temporary Redirect"), OK)
    assert await get(handler, path="/x/y") == ""
    assert [line.split()[1] for line in seen] == [b"/x/y", b"/a", b"/b?c"]
    with pytest.raises(ProbeFailed, match="statuscode: 404"):
        await get(answering(moved("/a"), b"HTTP/1.1 404 No\r\n\r\n")[0])
    with pytest.raises(ProbeFailed, match="stopped after 10 redirects"):
        await get(answering(moved("/round"))[0])


async def test_a_redirect_elsewhere_is_a_success_with_a_warning() -> None:
    """The kubelet doesn't go to another host, nor does it know where a 304 leads."""
    assert await get(answering(moved("http://other.example/"))[0]) == "Probe terminated redirects, Response body: gone"
    assert await get(answering(b"HTTP/1.1 304 Not Modified\r\n\r\n")[0]) == (
        "Probe terminated redirects, Response body: "
    )


async def test_a_hook_is_content_with_any_answer() -> None:
    """httpGet hooks fail only without an answer."""
    assert await get(answering(b"HTTP/1.1 500 Oops\r\n\r\n")[0], hook=True) == ""
    with pytest.raises(ProbeFailed, match="EOF"):
        await get(answering(b"")[0], hook=True)


async def test_https_against_plain_http() -> None:
    """The scheme is the user's business; Go says what is wrong with it."""

    async def bad_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with pytest.raises(ProbeFailed) as failed:
        await get(bad_request, scheme="HTTPS")
    assert str(failed.value) == 'Get "https://127.0.0.1:PORT/": http: server gave HTTP response to HTTPS client'


async def test_refused_connections(unused_tcp_port: int) -> None:
    """Nobody listens: httpGet and tcpSocket say so at once, grpc when its time is over."""
    port = unused_tcp_port
    refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    with pytest.raises(ProbeFailed) as failed:
        await tcp_socket(HOST, port, 5)
    assert str(failed.value) == refused
    with pytest.raises(ProbeFailed) as failed:
        await http_get({}, HOST, port, 5)
    assert str(failed.value) == f'Get "http://127.0.0.1:{port}/": {refused}'
    with pytest.raises(ProbeFailed) as failed:
        await grpc(HOST, port, "", 0.05)
    assert str(failed.value) == (
        f'timeout: failed to connect service "127.0.0.1:{port}" within 0.05s: context deadline exceeded'
    )


async def test_grpc_without_an_answer() -> None:
    """A server that accepts and is silent lets the call time out."""
    async with serving(lambda reader, writer: reader.read()) as port:  # type: ignore[arg-type, return-value]
        with pytest.raises(ProbeFailed, match=r"^timeout: health rpc did not complete within 0.05s$"):
            await grpc(HOST, port, "", 0.05)


def test_ports_have_names() -> None:
    """A name is one of the container's own; another one is an error of the probe, not of the container."""
    container = {"ports": [{"name": "web", "containerPort": 8080}]}
    assert (port_number(81, container), port_number("82", container), port_number("web", container)) == (81, 82, 8080)
    with pytest.raises(ProbeErrored, match=r'^strconv\.Atoi: parsing "nope": invalid syntax$'):
        port_number("nope", container)
