"""from-to-www-redirect."""

import pytest

from ..support import World, echo, ingress, path


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(("has", "asked"), [("shop.test", "www.shop.test"), ("www.shop.test", "shop.test")])
async def test_the_other_name_leads_to_the_one_with_rules(running: World, has: str, asked: str) -> None:
    """In both directions, with the URI."""
    running.serve("web", await running.pod(echo), host=has, from_to_www_redirect="true")
    status, headers, _ = await running.get("/a?b", host=asked)
    assert (status, headers["location"]) == (308, f"http://{has}/a?b")


async def test_a_host_with_rules_of_its_own_is_not_redirected(running: World) -> None:
    """As soon as it has them."""
    running.serve("web", await running.pod(echo), from_to_www_redirect="true")
    running.create(ingress("own", {"www.shop.test": [path("web")]}))
    assert (await running.get(host="www.shop.test"))[0] == 200
