"""mirror-target."""

import asyncio

import pytest
from aiohttp import web

from ..support import World, draft, echo


@pytest.mark.usefixtures("both_ways")
async def test_a_copy_goes_to_the_mirror(running: World) -> None:
    """Its answer does not matter."""
    seen: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def copy(request: web.BaseRequest) -> web.StreamResponse:
        seen.put_nowait((request.raw_path, request.headers["Host"]))
        return web.Response(status=500)

    at = await running.pod(copy)
    running.serve(
        "web", await running.pod(echo), mirror_target=f"http://{at}:8080$request_uri", mirror_host="copy.test"
    )
    assert (await running.get("/a?b"))[0] == 200
    assert await asyncio.wait_for(seen.get(), 5) == ("/a?b", "copy.test")


def test_only_http() -> None:
    """Anything else is a problem."""
    assert draft(mirror_target="https://copy.test").problems
