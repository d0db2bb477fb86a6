"""ReferenceGrant: which objects of other namespaces may refer to objects of this one."""

from collections.abc import Iterator

from minikube_py.apimachinery.errors import FieldError
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.gateway.schema import NAME, NAMESPACE, array, group, kind_, kinds, struct

__all__ = ["KINDS"]

_SPEC = struct(
    "Who may refer to what.",
    ("from", "to"),
    None,
    **{
        "from": array(
            "The referrers.",
            struct("", ("group", "kind", "namespace"), None, group=group(), kind=kind_(), namespace=NAMESPACE),
            least=1,
            most=16,
        ),
        "to": array(
            "What they may refer to, in this namespace.",
            struct("", ("group", "kind"), None, group=group(), kind=kind_(), name=NAME),
            least=1,
            most=16,
        ),
    },
)


def _check(grant: Object, old: Object | None) -> Iterator[FieldError]:
    return iter(())


KINDS = kinds(
    "ReferenceGrant",
    "referencegrants",
    _SPEC,
    about="ReferenceGrant lets objects of other namespaces refer to objects of its own.",
    status=None,
    check=_check,
    short=("refgrant",),
    versions=("v1beta1", "v1"),
)
