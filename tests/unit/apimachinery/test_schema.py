"""The official schemas: what pruning drops, how lists merge."""

from minikube_py.apimachinery import schema
from minikube_py.apimachinery.meta import GVK

POD_SPEC = "io.k8s.api.core.v1.PodSpec"


def test_pruning_drops_unknown_fields_and_nulls_everywhere() -> None:
    """What remains is what Go's types hold."""
    metadata = {"name": "web", "creationTimestamp": None}
    spec = {"containers": [{"name": "c", "bar": 2}], "foo": 1}
    clean = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c"}]}}
    pod = {"apiVersion": "v1", "kind": "Pod"}
    assert schema.prune({**pod, "metadata": metadata, "spec": spec}) == {**pod, **clean}


def test_list_semantics_of_patches() -> None:
    """Merge keys and apply keys come from the definitions."""
    containers = schema.field(POD_SPEC, "containers")
    assert containers is not None
    assert (containers.merge_key, containers.strategy, containers.list_map_keys) == ("name", ("merge",), ("name",))
    ports = schema.field("io.k8s.api.core.v1.ServiceSpec", "ports")
    assert ports is not None
    assert (ports.merge_key, ports.list_map_keys) == ("port", ("port", "protocol"))
    definition = schema.definition_of(GVK("apps", "v1", "Deployment"))
    assert schema.merge_key(definition, ("spec", "template", "spec", "containers", "env")) == "name"
    assert schema.merge_key(definition, ("spec", "template", "spec", "tolerations")) is None
    assert schema.merge_key(None, ("spec",)) is None


def test_definitions_carry_descriptions() -> None:
    """`kubectl explain` prints them."""
    assert "containers" in schema.definitions()[POD_SPEC]["properties"]
    assert schema.definitions()[POD_SPEC]["properties"]["nodeName"]["description"]
