"""proxy-cookie-domain and proxy-cookie-path."""

import pytest
from aiohttp import web

from ..support import World, answered, call, draft


@pytest.mark.parametrize(
    ("annotations", "sent", "seen"),
    [
        pytest.param(
            {"proxy_cookie_domain": "inner shop.test"}, "a=b; Domain=inner", "a=b; Domain=shop.test", id="domain"
        ),
        pytest.param(
            {"proxy_cookie_domain": "inner shop.test"}, "a=b; domain=.INNER", "a=b; domain=shop.test", id="dot and case"
        ),
        pytest.param(
            {"proxy_cookie_domain": "inner shop.test"}, "a=b; Domain=outer", "a=b; Domain=outer", id="another domain"
        ),
        pytest.param(
            {"proxy_cookie_domain": r"~\.(\w+)\.inner$ .$1.shop.test"},
            "a=b; Domain=.eu.inner",
            "a=b; Domain=.eu.shop.test",
            id="expression",
        ),
        pytest.param({"proxy_cookie_domain": "off"}, "a=b; Domain=inner", "a=b; Domain=inner", id="off"),
        pytest.param({"proxy_cookie_path": "/app/ /"}, "a=/app/; Path=/app/x", "a=/app/; Path=/x", id="path"),
        pytest.param(
            {"proxy_cookie_path": "/app/ /"},
            "a=b; Path=/other; HttpOnly",
            "a=b; Path=/other; HttpOnly",
            id="another path",
        ),
    ],
)
def test_attributes(annotations: dict[str, str], sent: str, seen: str) -> None:
    """The attribute is rewritten, the value and the rest are not."""
    made = draft(**annotations)
    assert not made.problems
    assert answered(made, call(), ("Set-Cookie", sent)) == [("Set-Cookie", seen)]


@pytest.mark.parametrize("written", ["one", "a b c", "~( x"])
def test_what_is_no_pair_is_a_problem(written: str) -> None:
    """What to replace and by what."""
    assert draft(proxy_cookie_path=written).problems


@pytest.mark.usefixtures("both_ways")
async def test_over_sockets(running: World) -> None:
    """A backend's cookie fits the path under which it is published."""

    async def pod(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(headers={"Set-Cookie": "a=b; Path=/"})

    running.serve("web", await running.pod(pod), proxy_cookie_path="/ /shop/")
    assert (await running.get())[1]["set-cookie"] == "a=b; Path=/shop/"
