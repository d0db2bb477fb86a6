"""permanent-redirect and its code."""

import pytest

from minikube_py.ingress.options import Answer

from ..support import World, asked, call, draft, echo


@pytest.mark.parametrize(
    ("annotations", "status", "location"),
    [
        pytest.param({"permanent_redirect": "https://x.test"}, 301, "https://x.test", id="as it is written"),
        pytest.param({"permanent_redirect": "https://x.test$request_uri"}, 301, "https://x.test/a?b=c", id="variable"),
        pytest.param(
            {"permanent_redirect": "https://x.test", "permanent_redirect_code": "308"}, 308, "https://x.test", id="code"
        ),
        pytest.param(
            {"permanent_redirect": "https://x.test", "permanent_redirect_code": "200"},
            301,
            "https://x.test",
            id="no redirect's code",
        ),
        pytest.param({"permanent_redirect": "/new"}, 301, "http://shop.test/new", id="a path becomes absolute"),
    ],
)
def test_every_request_goes_elsewhere(annotations: dict[str, str], status: int, location: str) -> None:
    """301 unless another code is given."""
    outcome = asked(draft(**annotations), call("/a?b=c"))
    assert isinstance(outcome, Answer)
    assert (outcome.status, dict(outcome.headers)["Location"]) == (status, location)


@pytest.mark.usefixtures("both_ways")
async def test_over_sockets(running: World) -> None:
    """The pod is not asked."""
    running.serve("web", await running.pod(echo), permanent_redirect="https://x.test")
    status, headers, _ = await running.get()
    assert (status, headers["location"]) == (301, "https://x.test")
