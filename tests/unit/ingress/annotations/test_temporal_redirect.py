"""temporal-redirect and its code."""

import pytest

from minikube_py.ingress.options import Answer

from ..support import asked, call, draft


@pytest.mark.parametrize(
    ("annotations", "status"),
    [
        pytest.param({}, 302, id="by default"),
        pytest.param({"temporal_redirect_code": "307"}, 307, id="another code"),
        pytest.param({"temporal_redirect_code": "500"}, 302, id="no redirect's code"),
        pytest.param({"permanent_redirect": "https://y.test"}, 302, id="before permanent-redirect"),
    ],
)
def test_every_request_goes_elsewhere(annotations: dict[str, str], status: int) -> None:
    """For now."""
    outcome = asked(draft(temporal_redirect="https://x.test$uri", **annotations), call("/a?b"))
    assert isinstance(outcome, Answer)
    assert (outcome.status, dict(outcome.headers)["Location"]) == (status, "https://x.test/a")
