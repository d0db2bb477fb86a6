"""default-backend."""

import pytest

from ..support import World, endpoints, named, service


@pytest.mark.usefixtures("both_ways")
async def test_it_answers_while_the_backend_has_no_endpoint(running: World) -> None:
    """And no longer."""
    running.create(service("spare"), endpoints("spare", [await running.pod(named("spare"))]))
    pod = await running.pod(named("web"))
    running.serve("web", pod, default_backend="spare")
    assert (await running.get())[2] == b"web"
    running.api.update(endpoints("web", [pod], ready=False))
    assert (await running.get())[2] == b"spare"
    running.api.update(endpoints("web", [pod]))
    assert (await running.get())[2] == b"web"
