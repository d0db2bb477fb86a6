"""auth-url and its family: another server decides."""

import json

import pytest
from aiohttp import web

from minikube_py.ingress.options import Answer, Subrequest

from ..support import World, asked, call, config_map, draft, echo


def sub(target: str = "/x?y", **annotations: str) -> Subrequest:
    made = draft(auth_url="http://judge.test/auth", extra=[config_map("sent", X_Mine="$host")], **annotations)
    outcome = asked(made, call(target, headers={"Cookie": "a=b", "Content-Length": "3", "X-Mine": "theirs"}))
    assert isinstance(outcome, Subrequest)
    return outcome


def test_what_the_judge_is_told() -> None:
    """The caller's headers without its body's, and what the request was."""
    headers = dict(sub().headers)
    assert headers["X-Original-URL"] == "http://shop.test/x?y"
    assert (headers["X-Original-Method"], headers["Cookie"]) == ("GET", "a=b")
    assert headers["X-Auth-Request-Redirect"] == "/x?y"
    assert "Content-Length" not in headers


@pytest.mark.parametrize(
    ("annotations", "name", "value"),
    [
        pytest.param({"auth_proxy_set_headers": "sent"}, "X-Mine", "shop.test", id="from a ConfigMap"),
        pytest.param(
            {"auth_request_redirect": "https://x.test$uri"},
            "X-Auth-Request-Redirect",
            "https://x.test/x",
            id="redirect",
        ),
    ],
)
def test_more_headers_for_the_judge(annotations: dict[str, str], name: str, value: str) -> None:
    """Each once, with nginx variables replaced; the caller's own of that name doesn't get through."""
    assert [found for key, found in sub(**annotations).headers if key == name] == [value]


def test_method() -> None:
    """auth-method is the subrequest's."""
    assert (sub().method, sub(auth_method="HEAD").method) == ("GET", "HEAD")


@pytest.mark.parametrize(
    ("annotations", "location"),
    [
        pytest.param({}, "https://login.test/start?rd=http://shop.test%2Fx%3Fy", id="rd is added"),
        pytest.param(
            {"auth_signin_redirect_param": "to"}, "https://login.test/start?to=http://shop.test%2Fx%3Fy", id="its name"
        ),
    ],
)
def test_signing_in(annotations: dict[str, str], location: str) -> None:
    """401 leads to auth-signin, which is told where to come back to, escaped as ingress-nginx does it."""
    answer = sub(auth_signin="https://login.test/start", **annotations).failed(401, {})
    assert (answer.status, dict(answer.headers)["Location"]) == (302, location)


def test_a_signin_url_with_its_own_way_back_stays() -> None:
    """rd is not added twice."""
    answer = sub(auth_signin="https://login.test/?rd=$escaped_request_uri").failed(401, {})
    assert dict(answer.headers)["Location"] == "https://login.test/?rd=%2Fx%3Fy"


@pytest.mark.parametrize(("judged", "told"), [(401, 401), (403, 403), (500, 500), (302, 500), (0, 500)])
def test_refusals(judged: int, told: int) -> None:
    """401 and 403 are passed on, anything else is the judge's failure."""
    answer = sub().failed(judged, {"WWW-Authenticate": "Basic"})
    assert isinstance(answer, Answer)
    assert answer.status == told
    assert (("WWW-Authenticate", "Basic") in answer.headers) is (judged in (401, 403))


@pytest.mark.usefixtures("both_ways")
async def test_over_sockets(running: World) -> None:
    """200 passes with its headers, 403 is refused, a judge that isn't there is a 500."""

    async def judge(request: web.BaseRequest) -> web.StreamResponse:
        status = int(request.headers.get("X-Want", "200"))
        return web.Response(status=status, headers={"X-User": request.headers["X-Original-URL"]})

    at = await running.pod(judge)
    running.serve("web", await running.pod(echo), auth_url=f"http://{at}:8080/auth", auth_response_headers="X-User")
    running.serve("lost", await running.pod(echo), host="lost.test", auth_url=f"http://{at}:1/auth")
    status, _, body = await running.get("/x?y", X_User="forged")
    assert (status, json.loads(body)["headers"]["x-user"]) == (200, "http://shop.test/x?y")
    assert (await running.get(X_Want="403"))[0] == 403
    assert (await running.get(host="lost.test"))[0] == 500


def test_only_urls() -> None:
    """Anything else is a problem."""
    assert draft(auth_url="ftp://x").problems
