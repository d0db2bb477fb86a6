"""proxy-body-size."""

import pytest
from aiohttp import web

from ..support import World


async def count(request: web.BaseRequest) -> web.StreamResponse:
    """Read a body of any size."""
    return web.Response(text=str(sum([len(part) async for part in request.content.iter_any()])))


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(
    ("limit", "size", "status"), [("1k", 1024, 200), ("1k", 1025, 413), ("0", 2 << 20, 200), ("", (1 << 20) + 1, 413)]
)
async def test_larger_bodies_are_refused(running: World, limit: str, size: int, status: int) -> None:
    """413; one megabyte by default, no limit with 0."""
    running.serve("web", await running.pod(count), **({"proxy_body_size": limit} if limit else {}))
    got, _, body = await running.request("POST", body=b"x" * size)
    assert got == status
    assert status == 413 or body == str(size).encode()
