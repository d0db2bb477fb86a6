"""Annotations that change nothing here."""

import pytest

from minikube_py.ingress.annotations.without_effect import NAMES
from minikube_py.ingress.options import DEFAULTS

from ..support import draft


@pytest.mark.parametrize("name", NAMES)
def test_each_draws_one_warning_that_names_it(name: str) -> None:
    """And leaves the settings as they are."""
    made = draft(**{name: "on"})
    (message,) = made.unknown
    assert message.startswith(f"nginx.ingress.kubernetes.io/{name} has no effect here: ")
    assert not made.problems
    assert made.options() is DEFAULTS
