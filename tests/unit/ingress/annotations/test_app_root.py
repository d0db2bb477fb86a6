"""app-root."""

import pytest

from minikube_py.ingress.options import Answer

from ..support import asked, call, draft


@pytest.mark.parametrize(
    ("target", "location"),
    [("/", "http://shop.test/app"), ("/?a=b", "http://shop.test/app"), ("/app", None), ("/other", None)],
)
def test_only_the_root_is_redirected(target: str, location: str | None) -> None:
    """302 to the root of the application."""
    outcome = asked(draft(app_root="/app"), call(target))
    assert ((outcome.status, dict(outcome.headers)["Location"]) if isinstance(outcome, Answer) else None) == (
        (302, location) if location else None
    )


def test_it_must_be_a_path() -> None:
    """An absolute one."""
    assert draft(app_root="app").problems
