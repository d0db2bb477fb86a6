"""preserve-trailing-slash."""

import pytest

from minikube_py.ingress.options import Answer
from minikube_py.ingress.rules.compile import compile_rules

from ..support import call, ingress, path, sources


@pytest.mark.parametrize(
    ("preserve", "target", "location"),
    [
        ("false", "/menu/", "https://shop.test/menu"),
        ("true", "/menu/", "https://shop.test/menu/"),
        ("false", "/menu", "https://shop.test/menu"),
        ("false", "/", "https://shop.test/"),
        ("false", "/menu/?a=b", "https://shop.test/menu/?a=b"),
    ],
)
def test_the_slash_at_the_end(preserve: str, target: str, location: str) -> None:
    """The redirect to HTTPS drops it from a path of more than itself, unless told otherwise."""
    made = ingress(
        "i",
        {"shop.test": [path("web")]},
        annotations={"preserve-trailing-slash": preserve},
        tls=[{"hosts": ["shop.test"]}],
    )
    (rule,) = compile_rules(sources(made)).table.hosts["shop.test"].locations
    (redirect,) = rule.options.filters
    outcome = redirect.request(call(target))
    assert isinstance(outcome, Answer)
    assert dict(outcome.headers)["Location"] == location
