"""enable-cors and its family."""

import pytest

from minikube_py.ingress.options import Answer

from ..support import World, answered, asked, call, draft, echo


def allowed(origins: str, origin: str) -> str | None:
    made = draft(enable_cors="true", **({"cors_allow_origin": origins} if origins else {}))
    return dict(answered(made, call(headers={"Origin": origin}))).get("Access-Control-Allow-Origin")


@pytest.mark.parametrize(
    ("origins", "origin", "told"),
    [
        ("", "https://any.test", "*"),
        ("*", "https://any.test", "*"),
        ("https://shop.test", "https://shop.test", "https://shop.test"),
        ("https://shop.test", "http://shop.test", None),
        ("https://shop.test", "https://shop.test.evil.test", None),
        ("https://shop.test:8443, http://b.test", "https://shop.test:8443", "https://shop.test:8443"),
        ("https://shop.test:8443, http://b.test", "http://b.test", "http://b.test"),
        ("https://*.shop.test", "https://eu.shop.test", "https://eu.shop.test"),
        ("https://*.shop.test", "https://a.b.shop.test", None),
        ("https://*.shop.test", "https://shop.test", None),
    ],
)
def test_origins(origins: str, origin: str, told: str | None) -> None:
    """Any by default; a list; a wildcard for one label."""
    assert allowed(origins, origin) == told


def test_the_defaults() -> None:
    """As ingress-nginx documents them."""
    assert answered(draft(enable_cors="true"), call(headers={"Origin": "https://a.test"})) == [
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Allow-Methods", "GET, PUT, POST, DELETE, PATCH, OPTIONS"),
        (
            "Access-Control-Allow-Headers",
            "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization",
        ),
        ("Access-Control-Max-Age", "1728000"),
    ]


def test_every_part_can_be_set() -> None:
    """And replaces what the backend said of it."""
    made = draft(
        enable_cors="true",
        cors_allow_credentials="false",
        cors_allow_methods="GET",
        cors_allow_headers="X-A",
        cors_expose_headers="X-B",
        cors_max_age="0",
    )
    assert answered(made, call(), ("access-control-allow-methods", "PUT"), ("X-Else", "1")) == [
        ("X-Else", "1"),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", "GET"),
        ("Access-Control-Allow-Headers", "X-A"),
        ("Access-Control-Expose-Headers", "X-B"),
        ("Access-Control-Max-Age", "0"),
    ]


def test_another_origins_preflight_is_the_backends() -> None:
    """Only allowed origins are answered here, with 204."""
    made = draft(enable_cors="true", cors_allow_origin="https://shop.test")
    outcome = asked(made, call(method="OPTIONS", headers={"Origin": "https://shop.test"}))
    assert isinstance(outcome, Answer)
    assert outcome.status == 204
    assert asked(made, call(method="OPTIONS", headers={"Origin": "https://evil.test"})) is None


@pytest.mark.usefixtures("both_ways")
async def test_over_sockets(running: World) -> None:
    """The preflight never reaches the pod; the request that follows gets the headers once."""
    running.serve("web", await running.pod(echo), enable_cors="true", cors_allow_origin="https://*.good.test")
    status, headers, body = await running.request("OPTIONS", Origin="https://a.good.test")
    assert (status, body, headers["access-control-allow-origin"]) == (204, b"", "https://a.good.test")
    assert headers["access-control-max-age"] == "1728000"
    status, headers, _ = await running.get(Origin="https://a.good.test")
    assert (status, headers["access-control-allow-credentials"]) == (200, "true")
    assert "access-control-allow-origin" not in (await running.get(Origin="https://evil.test"))[1]


def test_what_is_no_origin_is_a_problem() -> None:
    """The others of the list hold."""
    made = draft(enable_cors="true", cors_allow_origin="shop.test, https://b.test")
    assert "shop.test is none" in made.problems[0]
    assert answered(made, call(headers={"Origin": "https://b.test"}))
