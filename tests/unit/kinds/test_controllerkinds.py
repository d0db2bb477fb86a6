"""Kinds that come with ingress controllers."""

import pytest

from minikube_py.apimachinery.manifests import parse
from minikube_py.cluster.settings import settings
from minikube_py.kinds.check import check
from minikube_py.kinds.clusterconfig import INGRESS_CONTROLLERS
from minikube_py.kinds.controllerkinds import GROUPS, definitions, kinds
from minikube_py.kinds.customresourcedefinition import KIND
from minikube_py.kinds.registry import Registry

ROUTE = """
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: r}
spec: {routes: []}
"""
CONFIG = """
apiVersion: minikube-py/v1alpha1
kind: Cluster
ingress: {controllers: [%s]}
---
"""


@pytest.mark.parametrize("controller", GROUPS.values())
def test_definitions_are_as_the_api_wants_them(controller: str) -> None:
    """Each would be accepted, and says which kinds there are."""
    assert controller in INGRESS_CONTROLLERS
    for made in definitions(controller):
        assert KIND.validate is not None
        assert not list(KIND.validate(made, None))
    assert {kind.group for kind in kinds([controller])} == {g for g, name in GROUPS.items() if name == controller}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(ROUTE, "", id="a kind by itself asks for its controller"),
        pytest.param(CONFIG % "traefik" + ROUTE, "", id="its controller is listed"),
        pytest.param(CONFIG % "nginx" + ROUTE, "comes with the ingress controller traefik; add that", id="another is"),
    ],
)
def test_what_manifests_may_have(text: str, words: str) -> None:
    """Kinds of the controllers that will run."""
    errors = [str(each) for each in check(parse(text, "m.yaml"), Registry()).errors]
    assert len(errors) == bool(words)
    assert all(words in each for each in errors)


@pytest.mark.parametrize(
    ("text", "controllers"),
    [
        (ROUTE, ("nginx", "traefik")),
        (CONFIG % "nginx" + ROUTE, ("nginx",)),
        (
            ROUTE + "---\n{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: x},"
            " spec: {group: traefik.io}}",
            ("nginx",),
        ),
    ],
    ids=["asked for by its kind", "the list holds", "somebody brings the kind along"],
)
def test_which_controllers_run(text: str, controllers: tuple[str, ...]) -> None:
    """People's manifests take theirs for installed."""
    config, _ = settings([each.object for each in parse(text, "m.yaml")])
    assert config.ingress.controllers == controllers
