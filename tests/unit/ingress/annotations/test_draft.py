"""Readers of values: what can't be read is a problem, and as if the annotation were not there."""

import pytest

from minikube_py.ingress.annotations.draft import PREFIX
from minikube_py.ingress.options import DEFAULTS

from ..support import draft


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param({"use_regex": "maybe"}, id="flag"),
        pytest.param({"limit_rps": "many"}, id="number"),
        pytest.param({"proxy_body_size": "8 elephants"}, id="size"),
        pytest.param({"proxy_read_timeout": "1h"}, id="seconds"),
        pytest.param({"whitelist_source_range": "10.0.0.0/99"}, id="networks"),
        pytest.param({"affinity": "address"}, id="choice"),
    ],
)
def test_unreadable_values_are_problems(annotations: dict[str, str]) -> None:
    """The problem names annotation and value, and the settings are the defaults."""
    made = draft(**annotations)
    ((name, value),) = annotations.items()
    assert PREFIX + name.replace("_", "-") in made.problems[0]
    assert f'"{value}"' in made.problems[0]
    assert made.options() == DEFAULTS


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("512", 512), ("4k", 4096), ("8m", 8 << 20), ("8M", 8 << 20), ("1g", 1 << 30)]
)
def test_sizes(text: str, size: int) -> None:
    """Bytes, or nginx's units in either case."""
    assert draft(proxy_body_size=text).size("proxy-body-size") == size


def test_a_missing_object_is_a_problem_and_remembered() -> None:
    """Once it exists the rules are compiled anew: the reference is kept."""
    made = draft(custom_headers="default/none")
    assert made.problems == [f"{PREFIX}custom-headers: configmap default/none does not exist"]
    assert [(resource, str(key)) for resource, key in made.references] == [("configmaps", "default/none")]
