"""Admission: what kube-apiserver's built-in plugins change or refuse before a write is stored.

NamespaceLifecycle, LimitRanger (`limitranger.py`), ServiceAccount, Priority, DefaultTolerationSeconds,
DefaultIngressClass, and the labels and finalizer every namespace has; ResourceQuota, the last, is `resourcequota.py`.
Left out: webhooks, Pod Security (nothing here runs privileged).
Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.limitranger import limit_claim, limit_pod
from minikube_py.client.api import View
from minikube_py.kinds.ingress import CLASS_ANNOTATION
from minikube_py.kinds.ingressclass import DEFAULT_CLASS
from minikube_py.kinds.kind import Kind

__all__ = ["SYSTEM_NAMESPACES", "TOLERATION_SECONDS", "admit", "check_deletion", "check_namespace", "system_namespaces"]

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")

_IMMORTAL = frozenset(("default", "kube-system", "kube-public"))

_SYSTEM_PRIORITIES = {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}

TOLERATION_SECONDS = 300
"""kube-apiserver's --default-not-ready-toleration-seconds and --default-unreachable-toleration-seconds."""


def system_namespaces() -> list[Object]:
    """Return the namespaces that kube-apiserver itself creates."""
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in SYSTEM_NAMESPACES]


def check_namespace(kind: Kind, obj: Object, view: View) -> None:
    """Refuse to create in a namespace that is missing (404) or going away (403)."""
    if not kind.namespaced:
        return
    name = obj["metadata"]["namespace"]
    namespace = view.get("namespaces", name)
    if namespace is None:
        raise errors.not_found("namespaces", name)
    if meta.terminating(namespace):
        why = f"unable to create new content in namespace {name} because it is being terminated"
        refusal = errors.forbidden(kind.plural, obj["metadata"]["name"], why, kind.group)
        refusal.details = {
            **(refusal.details or {}),
            "causes": [
                {
                    "reason": "NamespaceTerminating",
                    "message": f"namespace {name} is being terminated",
                    "field": "metadata.namespace",
                }
            ],
        }
        raise refusal


def check_deletion(kind: Kind, name: str) -> None:
    """Refuse to delete a namespace that the cluster can't live without."""
    if kind.resource == "namespaces" and name in _IMMORTAL:
        raise errors.forbidden("namespaces", name, "this namespace may not be deleted")


def admit(
    kind: Kind, obj: Object, old: Object | None, view: View, *, toleration_seconds: int = TOLERATION_SECONDS
) -> None:
    """Complete `obj` in place as the real server's plugins do."""
    match kind.resource:
        case "pods" if old is None:
            _pod(obj, view, toleration_seconds)
        case "namespaces":
            _namespace(obj, old)
        case "persistentvolumeclaims":
            limit_claim(obj, view)
        case "ingresses.networking.k8s.io" if old is None:
            _ingress(obj, view)


def _namespace(obj: Object, old: Object | None) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    if old is None:
        obj["spec"] = {**(obj.get("spec") or {})}
        finalizers = obj["spec"].setdefault("finalizers", [])
        if "kubernetes" not in finalizers:
            finalizers.append("kubernetes")
        obj["status"] = {"phase": "Active"}
    elif meta.spec(old):
        obj["spec"] = old["spec"]  # only the finalize sub-resource takes finalizers away


def _pod(pod: Object, view: View, toleration_seconds: int) -> None:
    spec = pod.get("spec")
    if not isinstance(spec, dict):
        return
    limit_pod(pod, view)
    _service_account(pod, spec, view)
    _priority(pod, spec, view)
    _runtime_class(pod, spec, view)
    _tolerations(spec, toleration_seconds)


def _service_account(pod: Object, spec: Object, view: View) -> None:
    if "kubernetes.io/config.mirror" in meta.annotations(pod):
        return
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    namespace = meta.namespace(pod)
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    account = view.get("serviceaccounts", name, namespace)
    if account is None:
        if name != "default":  # that one comes a moment after its namespace; real pods are only created later
            why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
            raise errors.forbidden("pods", pod["metadata"]["name"], why)
    elif not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = meta.copy(account["imagePullSecrets"])


def _priority(pod: Object, spec: Object, view: View) -> None:
    name = spec.get("priorityClassName")
    policy = "PreemptLowerPriority"
    if not name:
        default = next((c for c in view.list("priorityclasses.scheduling.k8s.io") if c.get("globalDefault")), None)
        if default is not None:
            spec["priorityClassName"] = meta.name(default)
        value, policy = (default.get("value", 0), default.get("preemptionPolicy", policy)) if default else (0, policy)
    elif name in _SYSTEM_PRIORITIES:
        value = _SYSTEM_PRIORITIES[name]
    else:
        found = view.get("priorityclasses.scheduling.k8s.io", name)
        if found is None:
            raise errors.forbidden("pods", pod["metadata"]["name"], f"no PriorityClass with name {name} was found")
        value, policy = found.get("value", 0), found.get("preemptionPolicy", policy)
    spec["priority"] = value
    spec.setdefault("preemptionPolicy", policy)


def _runtime_class(pod: Object, spec: Object, view: View) -> None:
    name = spec.get("runtimeClassName")
    if name and view.get("runtimeclasses.node.k8s.io", name) is None:
        raise errors.forbidden("pods", pod["metadata"]["name"], f'pod rejected: RuntimeClass "{name}" not found')


def _tolerations(spec: Object, seconds: int) -> None:
    tolerations = spec.get("tolerations") or []
    missing = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
        if not any(
            t.get("key", key) in (key, "") and t.get("effect", "NoExecute") in ("NoExecute", "") for t in tolerations
        )
    ]
    if missing:
        spec["tolerations"] = [*tolerations, *missing]


def _ingress(obj: Object, view: View) -> None:
    if meta.spec(obj).get("ingressClassName") or CLASS_ANNOTATION in meta.annotations(obj):
        return
    classes = [
        found
        for found in view.list("ingressclasses.networking.k8s.io")
        if meta.annotations(found).get(DEFAULT_CLASS) == "true"
    ]
    if classes:
        newest = max(classes, key=lambda found: (found["metadata"].get("creationTimestamp", ""), meta.name(found)))
        obj.setdefault("spec", {})["ingressClassName"] = meta.name(newest)
