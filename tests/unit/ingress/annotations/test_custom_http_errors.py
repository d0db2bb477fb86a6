"""custom-http-errors."""

import json

import pytest
from aiohttp import web

from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.router import BackendKey
from minikube_py.ingress.rules.compile import compile_rules

from ..support import World, draft, echo, endpoints, ingress, path, service, sources


async def broken(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=int(request.raw_path.lstrip("/")), text="the app's own words")


@pytest.mark.usefixtures("both_ways")
async def test_listed_statuses_are_answered_by_the_default_backend(running: World) -> None:
    """It learns what happened from headers; other statuses come through."""
    running.create(service("pages"), endpoints("pages", [await running.pod(echo)]))
    running.serve("web", await running.pod(broken), custom_http_errors="404,503", default_backend="pages")
    _, _, body = await running.get("/503", Accept="application/json")
    seen = json.loads(body)["headers"]
    assert (seen["x-code"], seen["x-format"], seen["x-original-uri"]) == ("503", "application/json", "/503")
    assert (seen["x-namespace"], seen["x-ingress-name"]) == ("default", "web")
    assert (seen["x-service-name"], seen["x-service-port"]) == ("web", "80")
    assert (await running.get("/500"))[2] == b"the app's own words"


def test_the_controllers_default_backend_answers_where_the_ingress_has_none() -> None:
    """And without either there is nobody to ask: a warning."""
    made = sources(ingress("i", {"a.test": [path("web")]}, annotations={"custom-http-errors": "404"}))
    alone = compile_rules(made)
    assert ["custom-http-errors has no effect" in each.message for each in alone.problems[Key("default", "i")]] == [
        True
    ]
    own = BackendKey("kube-system", "default-http-backend", "")
    rules = compile_rules(made, default_backend=own)
    assert not rules.problems
    (location,) = rules.table.hosts["a.test"].locations
    assert location.options.error_backend == own


@pytest.mark.parametrize("written", ["abc", "200", "404;500", "700"])
def test_statuses_are_from_300_to_599(written: str) -> None:
    """Separated by commas."""
    assert draft(custom_http_errors=written, default_backend="pages").problems
