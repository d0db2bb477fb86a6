"""Request smuggling and its kin: what two HTTP parsers could read differently, refused on both ways."""

import asyncio
import json

import pytest
from aiohttp import web

from .support import World, echo, named

pytestmark = pytest.mark.usefixtures("both_ways")

ATTACKS = [
    pytest.param(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: -1\r\n\r\na", id="a negative length"),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1_0\r\n\r\na", id="a length with an underscore"
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: \xb9\r\n\r\na", id="a digit that is not ASCII"
    ),
    pytest.param(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length : 1\r\n\r\na", id="space after Content-Length"),
    pytest.param(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1\r\n\t0\r\n\r\na", id="a folded length"),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n", id="NUL after chunked"
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", id="folded TE"
    ),
    pytest.param(
        b'POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', id="quoted chunked"
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n2;a\nb\r\nab\r\n0\r\n\r\n",
        id="bare LF in a chunk extension",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n2 x\r\nab\r\n0\r\n\r\n",
        id="text after a chunk size",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        id="an empty chunk size",
    ),
    pytest.param(b"GET / HTTP/1.1\r\nHost : shop.test\r\n\r\n", id="space after Host"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: shop.test, other.test\r\n\r\n", id="a list of hosts"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: shop.test@other.test\r\n\r\n", id="a host with a user"),
    pytest.param(b"GET / HTTP/1.1 \r\nHost: shop.test\r\n\r\n", id="space after the version"),
    pytest.param(b"GET / HTTP/1.1\r\r\nHost: shop.test\r\n\r\n", id="two CRs"),
    pytest.param(b"G\0ET / HTTP/1.1\r\nHost: shop.test\r\n\r\n", id="NUL in the method"),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        id="CL.TE",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        id="TE.CL",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", id="two lengths"
    ),
    pytest.param(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1, 1\r\n\r\na", id="a list of lengths"),
    pytest.param(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: +1\r\n\r\na", id="a signed length"),
    pytest.param(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0x1\r\n\r\na", id="a hexadecimal length"),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", id="TE xchunked"
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        id="TE chunked, identity",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        id="TE identity, chunked",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        id="two TE",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        id="space before the colon",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", id="vertical tab"
    ),
    pytest.param(
        b"POST / HTTP/1.0\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="TE in HTTP/1.0"
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
        id="bad chunk size",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nab\r\n0\r\n\r\n",
        id="negative chunk size",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
        id="0x chunk size",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        id="chunk longer than its size",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\n0\n\n", id="bare LF in chunks"
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        id="chunk size overflow",
    ),
    pytest.param(b"GET / HTTP/1.1\nHost: shop.test\n\n", id="bare LF"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: shop.test\r\nA: b\n\r\n", id="bare LF after a header"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: shop.test\r\nA: b\rX: y\r\n\r\n", id="bare CR in a header"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: shop.test\r\nA: b\r\n c\r\n\r\n", id="obs-fold"),
    pytest.param(b"GET / HTTP/1.1\r\n Host: shop.test\r\n\r\n", id="space before the first header"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: shop.test\r\nA: b\0c\r\n\r\n", id="NUL in a header"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: shop.test\r\nA\r\n\r\n", id="header without colon"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: shop.test\r\n: b\r\n\r\n", id="header without name"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: shop.test\r\nHost: other.test\r\n\r\n", id="two hosts"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no host"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: shop.test/x\r\n\r\n", id="a host with a path"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: shop test\r\n\r\n", id="a host with a space"),
    pytest.param(b"GET /a b HTTP/1.1\r\nHost: shop.test\r\n\r\n", id="space in the target"),
    pytest.param(b"GET /\x01 HTTP/1.1\r\nHost: shop.test\r\n\r\n", id="control character in the target"),
    pytest.param(b"GET / HTTP/2.0\r\nHost: shop.test\r\n\r\n", id="HTTP/2.0 in text"),
    pytest.param(
        b"GET / HTTP/1.1\r\nHost: shop.test\r\nA: " + b"x" * 9000 + b"\r\n\r\n", id="a header over 8190 bytes"
    ),
    pytest.param(b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: shop.test\r\n\r\n", id="a target over 8190 bytes"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: shop.test\r\n" + b"A: b\r\n" * 200 + b"\r\n", id="more than 128 headers"),
    pytest.param(b"CONNECT shop.test:80 HTTP/1.1\r\nHost: shop.test\r\n\r\n", id="CONNECT"),
    pytest.param(b"TRACE / HTTP/1.1\r\nHost: shop.test\r\n\r\n", id="TRACE"),
    pytest.param(b"GET /../etc HTTP/1.1\r\nHost: shop.test\r\n\r\n", id="a path above the root"),
    pytest.param(b"GET /a/%2E%2e/.%2e/ HTTP/1.1\r\nHost: shop.test\r\n\r\n", id="a path above the root, encoded"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS on the HTTP port"),
]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_attacks_are_refused(running: World, attack: bytes) -> None:
    """What two HTTP parsers could read differently is answered 4xx, closes, and nothing after it reaches a pod."""
    seen: list[str] = []

    async def record(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.path)
        return web.Response(text="smuggled")

    running.serve("web", await running.pod(record))
    data = await running.raw(attack + b"GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    assert data.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), data[:200]
    assert b"smuggled" not in data
    assert "/smuggled" not in seen


@pytest.mark.parametrize("cut", [1, 7, 20, 40, 60])
async def test_what_stands_in_a_body_is_no_request(running: World, cut: int) -> None:
    """A whole request inside a body stays there, however the bytes are cut; the one behind it is answered."""
    seen: list[str] = []

    async def record(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.path)
        return web.Response(text=(await request.read()).decode())

    running.serve("web", await running.pod(record))
    inner = b"GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n"
    outer = b"POST /outer HTTP/1.1\r\nHost: shop.test\r\nContent-Length: %d\r\n\r\n%b" % (len(inner), inner)
    data = outer + b"GET /next HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
    reader, writer = await running.open()
    for at in range(0, len(data), cut):
        writer.write(data[at : at + cut])
        await asyncio.sleep(0)
    await asyncio.wait_for(reader.read(-1), 10)
    writer.close()
    assert seen == ["/outer", "/next"]


async def test_a_whole_url_says_which_host_is_meant(running: World) -> None:
    """Of a URL and a Host header that differ the URL counts (RFC 9112 §3.2.2), for the rule and for the pod."""
    running.serve("web", await running.pod(echo))
    running.serve("other", await running.pod(named("other")), host="other.test")
    data = await running.raw(b"GET http://shop.test/a HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n")
    seen = json.loads(data.partition(b"\r\n\r\n")[2])
    assert (seen["path"], seen["host"]) == ("/a", "shop.test")
