"""upstream-vhost."""

import json

import pytest

from ..support import World, echo


@pytest.mark.usefixtures("both_ways")
async def test_the_backend_sees_another_host(running: World) -> None:
    """Host is the annotation's, X-Forwarded-Host the caller's."""
    running.serve("web", await running.pod(echo), upstream_vhost="inner.test")
    seen = json.loads((await running.get())[2])
    assert (seen["host"], seen["headers"]["x-forwarded-host"]) == ("inner.test", "shop.test")
