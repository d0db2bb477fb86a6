"""ssl-redirect."""

import pytest

from ..support import World, echo, endpoints, ingress, path, service


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(
    ("annotations", "hosts", "status"),
    [
        pytest.param({}, ["shop.test"], 308, id="TLS for the host"),
        pytest.param({}, ["*.test"], 308, id="a wildcard that covers it"),
        pytest.param({}, ["other.test"], 200, id="TLS for another host"),
        pytest.param({"ssl-redirect": "false"}, ["shop.test"], 200, id="not wanted"),
        pytest.param({"ssl-redirect": "false", "force-ssl-redirect": "true"}, ["shop.test"], 308, id="forced"),
    ],
)
async def test_http_leads_to_https(running: World, annotations: dict[str, str], hosts: list[str], status: int) -> None:
    """308 where the host has TLS, on its default backend's requests, too."""
    running.create(service("web"), endpoints("web", [await running.pod(echo)]))
    running.create(
        ingress("i", {"shop.test": [path("web", "/x")]}, default="web", annotations=annotations, tls=[{"hosts": hosts}])
    )
    for target in ("/x/y", "/other"):
        got, headers, _ = await running.get(target)
        assert got == status
        assert headers.get("location") == (f"https://shop.test{target}" if status == 308 else None)


async def test_a_certificate_can_be_asked_for_before_there_is_one(running: World) -> None:
    """ACME's challenges are answered over HTTP."""
    running.create(service("web"), endpoints("web", [await running.pod(echo)]))
    paths = [path("web"), path("web", "/.well-known/acme-challenge/token", "Exact")]
    running.create(ingress("i", {"shop.test": paths}, tls=[{"hosts": ["shop.test"]}]))
    assert (await running.get("/.well-known/acme-challenge/token"))[0] == 200
    assert (await running.get("/.well-known/other"))[0] == 308
