"""service-upstream."""

import pytest

from minikube_py.ingress.router import Match
from minikube_py.ingress.rules.backends import compile_table
from minikube_py.ingress.rules.compile import compile_rules

from ..support import endpoints, ingress, path, service, sources


@pytest.mark.parametrize(("flag", "endpoint"), [("true", "10.96.0.9:80"), ("false", "10.0.0.1:8080")])
def test_where_requests_go(flag: str, endpoint: str) -> None:
    """To the ClusterIP, or to the pods."""
    given = sources(
        ingress("i", {"a.test": [path("web")]}, annotations={"service-upstream": flag}),
        service("web", clusterIP="10.96.0.9"),
        endpoints("web", ["10.0.0.1"]),
    )
    routed = compile_table(compile_rules(given), given).route("a.test", "/")
    assert isinstance(routed, Match)
    assert [str(each) for each in routed.upstream.endpoints] == [endpoint]
