"""affinity: cookie, and the attributes of that cookie."""

import pytest

from minikube_py.ingress.proxy.balancer import cookie_value
from minikube_py.ingress.router import Endpoint

from ..support import World, answered, call, draft, endpoints, ingress, named, path

POD = Endpoint("10.0.0.7", 80)
SAFARI = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_6) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1 Safari/605"
)
CHROME = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_6) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/90.0 Safari/537.36"
)
OLD_CHROME = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/60.0 Safari/537.36"


@pytest.mark.parametrize(
    ("annotations", "request_", "attributes"),
    [
        pytest.param({}, {}, "Path=/app; HttpOnly", id="the rule's path"),
        pytest.param({}, {"scheme": "https"}, "Path=/app; Secure; HttpOnly", id="Secure over HTTPS"),
        pytest.param({"session_cookie_secure": "true"}, {}, "Path=/app; Secure; HttpOnly", id="Secure anyway"),
        pytest.param({"session_cookie_secure": "false"}, {"scheme": "https"}, "Path=/app; HttpOnly", id="never Secure"),
        pytest.param({"session_cookie_path": "/"}, {}, "Path=/; HttpOnly", id="path"),
        pytest.param({"session_cookie_domain": "shop.test"}, {}, "Domain=shop.test; Path=/app; HttpOnly", id="domain"),
        pytest.param(
            {"session_cookie_expires": "60", "session_cookie_max_age": "30"},
            {},
            "Expires=Thu, 01 Jan 1970 00:01:00 GMT; Max-Age=30; Path=/app; HttpOnly",
            id="expires and max-age",
        ),
        pytest.param({"session_cookie_samesite": "Strict"}, {}, "Path=/app; HttpOnly; SameSite=Strict", id="samesite"),
        pytest.param(
            {"session_cookie_samesite": "None"},
            {"headers": {"User-Agent": SAFARI}},
            "Path=/app; HttpOnly; SameSite=None",
            id="unconditionally",
        ),
        *(
            pytest.param(
                {"session_cookie_samesite": "None", "session_cookie_conditional_samesite_none": "true"},
                {"headers": {"User-Agent": agent}},
                "Path=/app; HttpOnly" + end,
                id=f"conditionally: {name}",
            )
            for name, agent, end in (
                ("a browser that misreads it", SAFARI, ""),
                ("one that drops the cookie", OLD_CHROME, ""),
                ("one that knows it", CHROME, "; SameSite=None"),
            )
        ),
        pytest.param({"session_cookie_partitioned": "true"}, {}, "Path=/app; HttpOnly; Partitioned", id="partitioned"),
    ],
)
def test_the_cookie(annotations: dict[str, str], request_: dict[str, object], attributes: str) -> None:
    """Its value names the pod, its attributes are the annotations'."""
    request = call("/app", rule_path="/app", **request_)
    request.tell(POD, 0.0, 0.0)
    ((name, value),) = answered(draft(affinity="cookie", **annotations), request)
    assert (name, value) == ("Set-Cookie", f"INGRESSCOOKIE={cookie_value(POD)}; {attributes}")


def test_who_has_the_right_cookie_gets_no_other() -> None:
    """Only a missing or old cookie is answered with one; an answer of the controller's own has none."""
    made = draft(affinity="cookie", session_cookie_name="pod")
    assert made.options().affinity_cookie == "pod"
    request = call(headers={"Cookie": f"pod={cookie_value(POD)}"})
    assert not answered(made, request)
    request.tell(POD, 0.0, 0.0)
    assert not answered(made, request)
    request.tell(Endpoint("10.0.0.8", 80), 0.0, 0.0)
    assert answered(made, request)


@pytest.mark.usefixtures("both_ways")
async def test_a_caller_stays_on_its_pod(running: World) -> None:
    """The first answer sets the cookie; a cookie of a pod that is gone is replaced; other Ingresses have none."""
    pods = [await running.pod(named(name)) for name in "abc"]
    running.serve("web", *pods, affinity="cookie")
    running.create(ingress("free", {"shop.test": [path("web", "/free")]}))
    _, headers, first = await running.get()
    cookie, _, attributes = headers["set-cookie"].partition("; ")
    assert attributes == "Path=/; HttpOnly"
    for _ in range(5):
        _, headers, body = await running.get(Cookie=cookie)
        assert body == first
        assert "set-cookie" not in headers
    assert "set-cookie" not in (await running.get("/free"))[1]
    rest = [pod for pod, name in zip(pods, (b"a", b"b", b"c"), strict=True) if name != first]
    running.api.update(endpoints("web", rest))
    _, headers, body = await running.get(Cookie=cookie)
    assert body != first
    assert headers["set-cookie"].startswith("INGRESSCOOKIE=")


def test_cookies_know_no_regular_expressions() -> None:
    """With use-regex the path must be said."""
    assert "session-cookie-path: must be set" in draft(affinity="cookie", use_regex="true").problems[0]
    assert not draft(affinity="cookie", use_regex="true", session_cookie_path="/").problems
