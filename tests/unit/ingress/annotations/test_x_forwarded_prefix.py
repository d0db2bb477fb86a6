"""x-forwarded-prefix."""

import json

import pytest

from ..support import World, echo


@pytest.mark.usefixtures("both_ways")
async def test_the_backend_is_told(running: World) -> None:
    """A caller's own header of that name doesn't get through."""
    running.serve("web", await running.pod(echo), x_forwarded_prefix="/shop")
    seen = json.loads((await running.get(X_Forwarded_Prefix="/forged"))[2])
    assert seen["headers"]["x-forwarded-prefix"] == "/shop"
