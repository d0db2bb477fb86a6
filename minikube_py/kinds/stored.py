"""The rest of the official API: stored as it is given, without effect.

Their structure is checked like any other kind's (`apimachinery.schema`); their meaning is not. To give one of them an
effect, give it a file of its own and take its line out here.
"""

from typing import Any

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind, Subresource
from minikube_py.kinds.tables import NAME

__all__ = ["KINDS"]


@rules.collected
def _validate(obj: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(obj, old, names.path_segment_errors)


def _row(obj: Object, now: float) -> list[Any]:
    return [meta.name(obj), obj["metadata"].get("creationTimestamp") or "<unknown>"]


_STORED: tuple[tuple[str, str, str, str, bool, tuple[str, ...], bool], ...] = (
    # group, version, kind, plural, namespaced, short names, has a status sub-resource
    ("", "v1", "PodTemplate", "podtemplates", True, (), False),
    (
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        False,
        (),
        False,
    ),
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", False, (), True),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        False,
        (),
        False,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        False,
        (),
        False,
    ),
    ("apiregistration.k8s.io", "v1", "APIService", "apiservices", False, (), True),
    ("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", False, (), True),
    (
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        False,
        (),
        True,
    ),
    ("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", False, (), False),
    ("storage.k8s.io", "v1", "CSIDriver", "csidrivers", False, (), False),
    ("storage.k8s.io", "v1", "CSINode", "csinodes", False, (), False),
    ("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities", True, (), False),
    ("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", False, (), True),
)

KINDS = tuple(
    Kind(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=namespaced,
        short_names=short_names,
        subresources=(Subresource("status", kind, group, version),) if has_status else (),
        columns=(NAME, Column("Created At")),
        row=_row,
        validate=_validate,
        emulated=False,
    )
    for group, version, kind, plural, namespaced, short_names, has_status in _STORED
)
