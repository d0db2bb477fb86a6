"""proxy-redirect-from and -to."""

import pytest
from aiohttp import web

from ..support import World, answered, call, draft


@pytest.mark.parametrize(
    ("wanted", "target", "name", "sent", "seen"),
    [
        pytest.param("http://inner/", "/shop/", "Location", "http://inner/x", "/shop/x", id="a beginning"),
        pytest.param("http://inner/", "/shop/", "Location", "http://other/x", "http://other/x", id="another one"),
        pytest.param(
            "http://inner", "https://$host", "Location", "http://inner/x", "https://shop.test/x", id="variable"
        ),
        pytest.param("~^http://[^/]+/(.*)$", "/s/$1", "Location", "http://any:8080/x", "/s/x", id="expression"),
        pytest.param("~*^HTTP://INNER", "", "Location", "http://inner/x", "http://inner/x", id="no target"),
        pytest.param("http://inner/", "/shop/", "Refresh", "5; url=http://inner/x", "5; url=/shop/x", id="Refresh"),
        pytest.param("off", "/shop/", "Location", "http://inner/x", "http://inner/x", id="off"),
        pytest.param("default", "/shop/", "Location", "http://inner/x", "http://inner/x", id="default"),
        pytest.param("http://inner/", "/shop/", "X-Location", "http://inner/x", "http://inner/x", id="no other header"),
    ],
)
def test_rewriting(wanted: str, target: str, name: str, sent: str, seen: str) -> None:
    """Location and Refresh only."""
    made = draft(proxy_redirect_from=wanted, proxy_redirect_to=target)
    assert answered(made, call(), (name, sent)) == [(name, seen)]


@pytest.mark.parametrize(("wanted", "target"), [("http://inner/", ""), ("~(", "/x"), ("a b", "c")])
def test_problems(wanted: str, target: str) -> None:
    """Both are needed, without spaces, and an expression must be one."""
    assert draft(proxy_redirect_from=wanted, proxy_redirect_to=target).problems


@pytest.mark.usefixtures("both_ways")
async def test_over_sockets(running: World) -> None:
    """A backend that redirects to itself sends callers to the public name."""

    async def pod(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "http://inner:8080/login"})

    running.serve("web", await running.pod(pod), proxy_redirect_from="http://inner:8080/", proxy_redirect_to="/")
    assert (await running.get())[1]["location"] == "/login"
