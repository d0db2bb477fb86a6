"""rewrite-target."""

import json

import pytest

from ..support import World, echo, endpoints, ingress, path, service


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(
    ("target", "rule", "sent", "seen"),
    [
        pytest.param("/$2", "/shop(/|$)(.*)", "/shop/new?a=1", "/new?a=1", id="a group"),
        pytest.param("/$2", "/shop(/|$)(.*)", "/shop", "/", id="an empty group"),
        pytest.param("/$2", "/shop(/|$)(.*)", "/SHOP/x", "/x", id="case doesn't matter"),
        pytest.param("/", "/app", "/app/x", "/", id="no group: all becomes the target"),
        pytest.param("/v?p=$1", "/r/(.*)", "/r/x?q=1", "/v?p=x&q=1", id="arguments are added"),
        pytest.param("/v?", "/r/(.*)", "/r/x?q=1", "/v", id="a final ? drops the caller's"),
        pytest.param("/$1", "/f/(.*)", "/f/a%20b", "/a%20b", id="what was escaped is again"),
    ],
)
async def test_what_the_backend_gets(running: World, target: str, rule: str, sent: str, seen: str) -> None:
    """The target, with the groups of the path."""
    running.create(
        service("web"),
        endpoints("web", [await running.pod(echo)]),
        ingress(
            "i", {"shop.test": [path("web", rule, "ImplementationSpecific")]}, annotations={"rewrite-target": target}
        ),
    )
    assert json.loads((await running.get(sent))[2])["path"] == seen


async def test_a_target_with_a_scheme_is_a_redirect(running: World) -> None:
    """302, as nginx's rewrite does."""
    running.serve("web", await running.pod(echo), rewrite_target="https://x.test/new")
    status, headers, _ = await running.get("/?a=b")
    assert (status, headers["location"]) == (302, "https://x.test/new?a=b")


async def test_it_makes_every_path_of_the_host_an_expression(running: World) -> None:
    """Another Ingress's path of the same host ignores case, too; another host's doesn't."""
    running.serve("web", await running.pod(echo), rewrite_target="/")
    running.create(ingress("other", {"shop.test": [path("web", "/Menu")], "b.test": [path("web", "/Menu")]}))
    assert json.loads((await running.get("/menu/x"))[2])["path"] == "/menu/x"
    assert (await running.get("/menu/x", host="b.test"))[0] == 404
