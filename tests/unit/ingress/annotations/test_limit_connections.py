"""limit-connections."""

import asyncio

import pytest
from aiohttp import web

from ..support import World, call, draft, status


def test_each_address_has_its_own_count() -> None:
    """What has ended counts no more."""
    made, state = draft(limit_connections="2"), dict[object, object]()
    first = call(state=state)
    assert [status(made, each) for each in (first, call(state=state), call(state=state))] == [200, 200, 503]
    assert status(made, call(state=state, remote="10.0.0.2")) == 200
    for ended in first.closing:
        ended()
    assert status(made, call(state=state)) == 200


@pytest.mark.usefixtures("both_ways")
async def test_over_sockets(running: World) -> None:
    """A request too many is refused with 503, and the count goes down again."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        asked.set()
        await go.wait()
        return web.Response()

    running.serve("web", await running.pod(slow), limit_connections="1")
    first = asyncio.ensure_future(running.get())
    await asyncio.wait_for(asked.wait(), 5)
    assert (await running.get())[0] == 503
    go.set()
    assert (await first)[0] == 200
    assert (await running.get())[0] == 200
