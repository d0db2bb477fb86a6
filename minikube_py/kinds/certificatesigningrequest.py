"""CertificateSigningRequest: stored, approved and denied with `kubectl certificate`; no certificate is issued."""

from typing import Any

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind, Subresource
from minikube_py.kinds.tables import AGE, NAME, age, human_duration

__all__ = ["KIND"]


@rules.collected
def validate(request: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(request, old, names.path_segment_errors)


def condition(request: Object) -> str:
    """Return what `kubectl get csr` says: Pending, or Approved, Denied, Failed, and Issued with a certificate."""
    status = meta.status(request)
    types = {each.get("type") for each in status.get("conditions") or ()}
    words = ["Approved" if "Approved" in types else "Denied" if "Denied" in types else "Pending"]
    if "Failed" in types:
        words.append("Failed")
    if status.get("certificate"):
        words.append("Issued")
    return ",".join(words)


def row(request: Object, now: float) -> list[Any]:
    spec = meta.spec(request)
    seconds = spec.get("expirationSeconds")
    return [
        meta.name(request),
        age(request, now),
        spec.get("signerName") or "<none>",
        spec.get("username") or "",
        "<none>" if seconds is None else human_duration(seconds),
        condition(request),
    ]


KIND = Kind(
    group="certificates.k8s.io",
    version="v1",
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    singular="certificatesigningrequest",
    namespaced=False,
    short_names=("csr",),
    subresources=tuple(
        Subresource(name, "CertificateSigningRequest", "certificates.k8s.io", "v1") for name in ("approval", "status")
    ),
    columns=(
        NAME,
        AGE,
        Column("SignerName"),
        Column("Requestor"),
        Column("RequestedDuration"),
        Column("Condition"),
    ),
    row=row,
    validate=validate,
    emulated=False,
)
