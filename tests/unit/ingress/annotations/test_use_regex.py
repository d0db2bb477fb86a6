"""use-regex."""

import pytest

from minikube_py.ingress.router import Match
from minikube_py.ingress.rules.compile import compile_rules

from ..support import ingress, path, sources

RULES = compile_rules(
    sources(
        ingress(
            "one",
            {"shop.test": [path("short", "/menu/[a-z]+", "ImplementationSpecific"), path("all", "/")]},
            annotations={"use-regex": "true"},
        ),
        ingress("two", {"shop.test": [path("long", "/menu/[a-z]+/today", "ImplementationSpecific")]}, age=5),
    )
)


@pytest.mark.parametrize(
    ("asked", "service"),
    [
        pytest.param("/menu/tea", "short", id="an expression"),
        pytest.param("/MENU/Tea", "short", id="case doesn't matter"),
        pytest.param("/menu/tea/today", "long", id="the longer expression, though another Ingress's"),
        pytest.param("/menu/tea-and-more", "short", id="open at its end"),
        pytest.param("/our/menu/tea", "all", id="anchored at its start"),
    ],
)
def test_paths_are_expressions(asked: str, service: str) -> None:
    """For the whole host, longest first."""
    routed = RULES.table.route("shop.test", asked)
    assert isinstance(routed, Match)
    assert routed.upstream.key.service == service
