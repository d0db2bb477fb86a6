"""Entries of `images:`."""

from typing import Any

import pytest

from minikube_py.kinds.imagemapping import mapping_errors


def _app() -> None:
    """Stand for an app."""


@pytest.mark.parametrize(
    "runs",
    [
        {"aiohttp": "pkg:app", "port": 8080, "reload": True},
        {"asgi": "pkg.mod:app", "factory": True, "lifespan": "off"},
        {"wsgi": _app, "threads": 8},
        {"tcp": "pkg:handler", "drain": 0.5},
        {"command": ["redis-server", "--port", "$PORT"], "port": 6379, "cwd": ".", "env": {"A": "b"}},
        {"like": "nginx"},
        {"absent": True},
    ],
    ids=lambda runs: next(iter(runs)),
)
def test_every_kind_and_its_options(runs: dict[str, Any]) -> None:
    """What the module's docstring shows is accepted."""
    assert mapping_errors("images[x]", runs) == []


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({"wsgy": "a:b"}, 'did you mean "wsgi"?'),
        ({"aiohttp": "a:b", "relod": True}, 'images[x].relod: unknown field, did you mean "reload"?'),
        ({"aiohttp": "a:b", "lifespam": "on"}, "beside aiohttp there may be port, reload"),
        ({"absent": True, "port": 1}, "absent stands alone"),
        ({"asgi": "a:b", "lifespan": "maybe"}, 'supported values: "auto", "off", "on"'),
        ({"asgi": "a:b", "port": "8080"}, "must be a whole number"),
        ({"asgi": "a:b", "port": 70000}, "must be between 1 and 65535"),
        ({"wsgi": "a:"}, 'must be "module:attribute"'),
        ({"wsgi": "a:b", "threads": 0}, "must be at least 1"),
        ({"command": ["x"], "env": {"A": 1}}, "must map names to strings"),
        ({"like": 3}, "must be the name of an image"),
        (["asgi"], "must have exactly one of"),
    ],
)
def test_mistakes_are_explained(runs: Any, message: str) -> None:
    """Path, value and what is possible."""
    assert message in "\n".join(map(str, mapping_errors("images[x]", runs)))
