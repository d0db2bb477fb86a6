"""force-ssl-redirect."""

import pytest

from ..support import World, echo


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(
    ("host", "location"),
    [
        pytest.param("shop.test", "https://shop.test/x?a=b", id="no port"),
        pytest.param("shop.test:8080", "https://shop.test/x?a=b", id="by the machine's door: its HTTPS door"),
    ],
)
async def test_a_host_without_tls_is_redirected(running: World, host: str, location: str) -> None:
    """308, though the Ingress has no TLS section."""
    running.serve("web", await running.pod(echo), force_ssl_redirect="true")
    status, headers, _ = await running.get("/x?a=b", host=host)
    assert (status, headers["location"]) == (308, location)
