"""What whoever applies an Ingress is told of its annotations."""

from collections.abc import Sequence

import pytest

from minikube_py.apimachinery.manifests import parse
from minikube_py.ingress.advice import advise
from minikube_py.ingress.flavors import NAMES
from minikube_py.kinds.check import check
from minikube_py.kinds.registry import Registry

NGINX = "nginx.ingress.kubernetes.io/"


@pytest.mark.parametrize(
    ("annotations", "spec", "controllers", "words"),
    [
        pytest.param(f'{NGINX}rewrite-target: "/"', "", NAMES, (), id="known"),
        pytest.param(f'{NGINX}rewrite-targte: "/"', "", NAMES, ("did you mean", "rewrite-target?"), id="misspelt"),
        pytest.param(f"{NGINX}proxy-buffer-size: 8k", "", NAMES, ("has no effect here",), id="without effect"),
        pytest.param("example.org/owner: me", "", NAMES, (), id="nobody's"),
        pytest.param(f"{NGINX}auth-secret: missing", "", NAMES, (), id="what only the controller can know"),
        pytest.param(f"{NGINX}x: abc", "ingressClassName: traefik, ", NAMES, (), id="another controller's class"),
        pytest.param(
            f"{NGINX}x: abc", "ingressClassName: internal, ", NAMES, ("not known",), id="a class of one's own"
        ),
        pytest.param("konghq.com/x: abc", "ingressClassName: kong, ", NAMES, ("konghq.com/x",), id="kong's"),
        pytest.param("konghq.com/x: abc", "", ("kong",), ("konghq.com/x",), id="kong has the default class"),
        pytest.param(f"{NGINX}x: abc", "", (), (), id="no controller"),
    ],
)
def test_unknown_annotations_are_told_when_applied(
    annotations: str, spec: str, controllers: Sequence[str], words: tuple[str, ...]
) -> None:
    """A warning with file and line for each annotation that the controller of the class doesn't know."""
    registry = Registry()
    advise(registry, controllers)
    text = (
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: i\n  annotations:\n"
        f"    {annotations}\nspec: {{{spec}defaultBackend: {{service: {{name: web, port: {{number: 80}}}}}}}}\n"
    )
    report = check(parse(text, "i.yaml"), registry)
    assert not report.errors
    warnings = " ".join(map(str, report.warnings))
    assert bool(warnings) == bool(words)
    assert all(word in warnings for word in words)
    assert not warnings or warnings.startswith("i.yaml:6")
