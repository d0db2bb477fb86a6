"""relative-redirects."""

import pytest

from minikube_py.ingress.options import Answer

from ..support import asked, call, draft


@pytest.mark.parametrize("name", ["permanent_redirect", "temporal_redirect"])
@pytest.mark.parametrize(("flag", "location"), [("true", "/new"), ("false", "http://shop.test:81/new")])
def test_a_redirect_to_a_path(name: str, flag: str, location: str) -> None:
    """Stays a path, or becomes a URL of the host that was asked."""
    outcome = asked(draft(**{name: "/new", "relative_redirects": flag}), call(host="shop.test:81"))
    assert isinstance(outcome, Answer)
    assert dict(outcome.headers)["Location"] == location
