"""The kinds that there are."""

import pytest

from minikube_py.apimachinery import schema
from minikube_py.apimachinery.errors import StatusError
from minikube_py.kinds.kind import Kind
from minikube_py.kinds.registry import BUILTIN, Registry


@pytest.mark.parametrize("kind", BUILTIN, ids=lambda kind: kind.kind)
def test_every_kind_is_whole(kind: Kind) -> None:
    """Each has a schema, a singular name, and a row with a cell for each column."""
    assert kind.schema is not None or schema.definition_of(kind.gvk)
    assert kind.singular
    obj = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "x", "creationTimestamp": "2023-11-14T22:13:20Z"},
    }
    kind.prepare(obj, None)
    kind.default(obj)
    once = schema.prune(obj)
    kind.default(obj)
    assert obj == once
    assert kind.row is not None
    assert len(kind.row(obj, 1_700_000_010.0)) == len(kind.columns)


@pytest.mark.parametrize("kind", BUILTIN, ids=lambda kind: kind.kind)
def test_unsupported_fields_exist(kind: Kind) -> None:
    """A pattern that matches no field of the schema would never warn."""
    for pattern in kind.unsupported:
        definition = schema.definition_of(kind.gvk)
        steps = pattern.partition("=")[0].replace("[]", "").split(".")
        for index, step in enumerate(steps):
            assert definition is not None, pattern
            found = schema.field(definition, step)
            assert found is not None, (pattern, step, index)
            definition = found.definition


def test_names_are_unique() -> None:
    """Two kinds under one name would hide each other."""
    assert len({(kind.resource, kind.version) for kind in BUILTIN}) == len(BUILTIN)
    short = [name for name, _ in {(name, kind.resource) for kind in BUILTIN for name in kind.short_names}]
    assert len(set(short)) == len(short)


def test_lookups() -> None:
    """By resource and by apiVersion and kind; 404 in kubectl's words."""
    registry = Registry()
    assert registry.by_resource("deployments.apps") is registry.by_gvk("apps/v1", "Deployment")
    with pytest.raises(StatusError, match='no matches for kind "Pood" in version "v1"'):
        registry.by_gvk("v1", "Pood")
    with pytest.raises(StatusError, match="could not find the requested resource"):
        registry.by_resource("poods")


def test_registries_are_apart() -> None:
    """A custom kind of one cluster doesn't show in another."""
    one, other = Registry(), Registry()
    custom = Kind(group="example.com", version="v1", kind="Thing", plural="things")
    one.add(custom)
    assert one.by_resource("things.example.com") is custom
    with pytest.raises(StatusError):
        other.by_resource("things.example.com")
    one.remove(custom)
    with pytest.raises(StatusError):
        one.by_resource("things.example.com")
