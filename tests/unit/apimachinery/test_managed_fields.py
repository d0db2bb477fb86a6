"""Sets of fields: which paths an object has, and how FieldsV1 writes them."""

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.apimachinery import managed_fields

PATHS = st.lists(
    st.lists(st.sampled_from(["f:a", "f:b", 'k:{"x":1}', 'v:"s"']), min_size=1, max_size=4).map(tuple), max_size=6
)


@given(PATHS)
def test_fields_survive_writing_and_reading(paths: list[tuple[str, ...]]) -> None:
    """FieldsV1 says exactly the set it was made from."""
    assert managed_fields.decode(managed_fields.encode(paths)) == set(paths)


def test_nobody_owns_identity() -> None:
    """Name, uid, resourceVersion and the like never appear in a set."""
    identity = {"name": "c", "namespace": "default", "uid": "u", "resourceVersion": "7"}
    metadata = {**identity, "labels": {"x": "y"}}
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}
    assert set(managed_fields.leaves(obj)) == {("f:metadata", "f:labels", "f:x"), ("f:data", "f:a")}
