"""Which upgrades are offered to pods, and a pod that changes the protocol of its own accord."""

import pytest

from minikube_py.ingress.proxy.tunnel import wanted_upgrade

from ..http2.client import GET, connected
from ..support import World
from .test_proxy import answers


@pytest.mark.parametrize(
    ("upgrade", "connection", "offered"),
    [
        pytest.param("websocket", "Upgrade", "websocket", id="WebSocket"),
        pytest.param("shouting/2, websocket", "keep-alive, upgrade", "shouting/2, websocket", id="a list"),
        pytest.param("websocket", "keep-alive", "", id="not a connection's option"),
        pytest.param("websocket", "", "", id="no Connection"),
        pytest.param("", "upgrade", "", id="nothing offered"),
        pytest.param("h2c", "Upgrade, HTTP2-Settings", "", id="h2c"),
        pytest.param("websocket, H2C", "Upgrade", "", id="h2c in a list"),
        pytest.param("TLS/1.2, HTTP/1.1", "Upgrade", "", id="RFC 2817"),
        pytest.param("a b", "Upgrade", "", id="no token"),
        pytest.param("websocket,", "Upgrade", "", id="half a list"),
    ],
)
def test_what_is_offered(upgrade: str, connection: str, offered: str) -> None:
    """As the caller has it; never what would pass by the rules."""
    assert wanted_upgrade({"Upgrade": upgrade, "Connection": connection}) == offered


@pytest.mark.usefixtures("both_ways")
async def test_a_change_that_nobody_asked_for_is_a_bad_answer(running: World) -> None:
    """What follows such a 101 is no answer to anyone (RFC 9110 §15.2.2)."""
    running.serve(
        "web", await running.raw_pod(answers(b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"))
    )
    status, headers, _ = await running.get()
    assert status == 502
    assert "without being asked" in headers["x-ingress-reason"]
    async with connected(running) as client:
        assert (await client.fetch(GET))[0] == 502
