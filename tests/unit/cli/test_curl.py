"""Finding the URLs among curl's arguments."""

import pytest

from minikube_py.cli.curl import _targets


@pytest.mark.parametrize(
    ("arguments", "targets"),
    [
        pytest.param(["http://api/menu"], [("api", 80)], id="a URL"),
        pytest.param(["-s", "https://api"], [("api", 443)], id="https means 443"),
        pytest.param(["-H", "Host: x", "api:8080/x"], [("api", 8080)], id="a header's value is no URL"),
        pytest.param(["-o", "file", "http://a", "http://b:81"], [("a", 80), ("b", 81)], id="several URLs"),
        pytest.param(["--url", "http://a"], [("a", 80)], id="--url"),
        pytest.param(["-X", "POST", "-d", "a=b", "http://a"], [("a", 80)], id="method and body"),
    ],
)
def test_urls_are_told_from_flags(arguments: list[str], targets: list[tuple[str, int]]) -> None:
    """Only what curl would fetch is resolved as the pod."""
    assert list(_targets(tuple(arguments))) == targets
