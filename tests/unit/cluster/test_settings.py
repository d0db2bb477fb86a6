"""What a cluster's documents make of its settings."""

import pytest

from minikube_py.apimachinery.meta import Object
from minikube_py.cluster.settings import InvalidConfig, settings

OWN: Object = {"apiVersion": "minikube-py/v1alpha1", "kind": "Cluster", "name": "c"}


def ingress(*, field: str = "", annotation: str = "") -> Object:
    annotations = {"kubernetes.io/ingress.class": annotation} if annotation else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "door", "annotations": annotations},
        "spec": {"ingressClassName": field} if field else {},
    }


def ingress_class(name: str) -> Object:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": name}}


class TestAskedControllers:
    @pytest.mark.parametrize("asking", [ingress(field="traefik"), ingress(annotation="traefik")], ids=["field", "old"])
    def test_a_class_that_an_ingress_names_switches_its_controller_on(self, asking: Object) -> None:
        """A controller that manifests take for installed runs beside the default one, and is told as asked for."""
        config, _ = settings([asking])
        assert config.ingress.controllers == ("nginx", "traefik")
        assert config.ingress.asked == ("traefik",)

    @pytest.mark.parametrize(
        "objects",
        [
            [ingress()],
            [ingress(field="nginx")],
            [ingress(field="home-made")],
            [ingress(field="kong"), ingress_class("kong")],
            [ingress(field="kong"), {**OWN, "ingress": {"controllers": ["nginx"]}}],
        ],
        ids=["no class", "the default", "unknown class", "class of their own", "listed"],
    )
    def test_nothing_else_does(self, objects: list[Object]) -> None:
        """Unknown classes, classes that a manifest makes, and a list in the cluster file leave it at the default."""
        config, _ = settings(objects)
        assert config.ingress.controllers == ("nginx",)
        assert config.ingress.asked == ()

    def test_strict_switches_nothing_on(self) -> None:
        """With --strict a cluster has what its file lists, and no more."""
        config, _ = settings([ingress(field="kong")], strict=True)
        assert config.ingress.controllers == ("nginx",)

    def test_a_cluster_without_ingress_stays_without(self) -> None:
        """Where the file says `enabled: false`, no manifest brings a controller back."""
        config, _ = settings([ingress(field="kong"), {**OWN, "ingress": {"enabled": False}}])
        assert config.ingress.controllers == ()


class TestDocuments:
    def test_flags_win_over_the_document(self) -> None:
        """--name and --nodes say more than the file."""
        config, remaining = settings([{**OWN, "nodes": 2}, ingress()], name="other", nodes=5)
        assert (config.name, config.nodes) == ("other", 5)
        assert remaining == [ingress()]

    def test_two_documents_are_refused(self) -> None:
        """Two kind: Cluster documents contradict each other."""
        with pytest.raises(InvalidConfig, match="2 documents of kind Cluster"):
            settings([OWN, OWN])
