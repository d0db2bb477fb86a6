"""ServiceAccount."""

from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind, Subresource
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = ["KIND"]


@rules.collected
def validate(account: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(account, old)


def row(account: Object, now: float) -> list[Any]:
    return [meta.name(account), len(account.get("secrets") or ()), age(account, now)]


KIND = Kind(
    group="",
    version="v1",
    kind="ServiceAccount",
    plural="serviceaccounts",
    singular="serviceaccount",
    short_names=("sa",),
    subresources=(Subresource("token", "TokenRequest", "authentication.k8s.io", "v1", ("create",)),),
    columns=(NAME, Column("Secrets", "integer"), AGE),
    row=row,
    validate=validate,
)
