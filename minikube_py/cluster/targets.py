"""Reading what people call things: `deployment/api`, `deploy/api`, `svc/api`, `pod/x`, `production/web`."""

from collections.abc import Iterable

from msgspec import Struct

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import View
from minikube_py.kinds.kind import Kind

__all__ = ["Target", "UnknownTarget", "home_of", "is_ready", "kind_named", "parse", "pod_of", "pods_of"]


class UnknownTarget(LookupError):
    """No such object; the message says what comes nearest."""

    def __str__(self) -> str:
        return str(self.args[0])


class Target(Struct, frozen=True):
    """One object, by resource and key."""

    resource: str
    name: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.resource.partition('.')[0]}/{self.name}"


def kind_named(word: str, kinds: Iterable[Kind]) -> Kind:
    """Return the kind that kubectl would understand by `deploy`, `Deployment`, `deployments.apps`, …

    Error handling: UnknownTarget with the nearest name.
    """
    known: dict[str, Kind] = {}
    for kind in kinds:
        for alias in (kind.plural, kind.singular or kind.kind.lower(), kind.kind.lower(), *kind.short_names):
            known.setdefault(alias, kind)
        known[kind.resource] = kind
    if found := known.get(word.lower()):
        return found
    nearest = names.nearest(word, known)
    raise UnknownTarget(
        f'the server doesn\'t have a resource type "{word}"' + (f'; did you mean "{nearest}"?' if nearest else "")
    )


def parse(text: str, kinds: Iterable[Kind], namespace: str = "default") -> Target:
    """Read `kind/name`; cluster-scoped kinds get no namespace."""
    word, slash, name = text.partition("/")
    if not slash or not name:
        raise UnknownTarget(f'"{text}" must be written as kind/name, such as deployment/{text}')
    kind = kind_named(word, kinds)
    return Target(kind.resource, name, namespace if kind.namespaced else "")


_WORKLOADS = (
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "replicasets.apps",
    "replicationcontrollers",
    "jobs.batch",
)


def pods_of(view: View, target: Target) -> list[Object]:
    """Return the pods of a pod, workload or Service, in creation order."""
    if target.resource == "pods":
        pod = view.get("pods", target.name, target.namespace)
        return [pod] if pod else []
    obj = view.get(target.resource, target.name, target.namespace)
    if obj is None:
        return []
    selector = meta.spec(obj).get("selector")
    if target.resource in ("services", "replicationcontrollers"):
        return list(view.list("pods", target.namespace, Selector.from_map(selector or None)))
    return list(view.list("pods", target.namespace, Selector.from_object(selector)))


def is_ready(pod: Object) -> bool:
    """Tell whether a pod's Ready condition is True and it isn't going away."""
    return not meta.terminating(pod) and any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in meta.status(pod).get("conditions") or ()
    )


def home_of(view: View, text: str) -> str:
    """Return where to look without a namespace: the only one that has a pod or workload of this name, or default."""
    bare = text.split("/")[-1]
    homes = {
        meta.namespace(obj)
        for resource in ("pods", "deployments.apps", "statefulsets.apps", "daemonsets.apps")
        for obj in view.list(resource)
        if meta.name(obj) == bare
    }
    return homes.pop() if len(homes) == 1 else "default"


def pod_of(view: View, text: str, namespace: str = "default") -> Object:
    """Return the pod that `text` means: a pod's name, `pod/x`, `deployment/x`, a workload's or Service's name,
    `namespace/x` or `namespace/kind/x`; of several pods a ready one.

    Error handling: UnknownTarget naming the nearest pod or workload, and other namespaces that have the name.
    """
    parts = text.split("/")
    if len(parts) == 3 or (len(parts) == 2 and view.get("namespaces", parts[0]) and not _names_a_kind(view, parts[0])):
        namespace, parts = parts[0], parts[1:]
    if len(parts) == 2:
        kind = _resource(view, parts[0])
        candidates = pods_of(view, Target(kind, parts[1], namespace))
    else:
        candidates = []
        for resource in ("pods", *_WORKLOADS, "services"):
            if candidates := pods_of(view, Target(resource, parts[0], namespace)):
                break
    if candidates:
        return max(candidates, key=lambda pod: (is_ready(pod), bool(meta.status(pod).get("podIP"))))
    name = parts[-1]
    elsewhere = sorted(
        {
            meta.namespace(obj)
            for resource in ("pods", *_WORKLOADS)
            for obj in view.list(resource)
            if meta.name(obj) == name and meta.namespace(obj) != namespace
        }
    )
    if elsewhere:
        raise UnknownTarget(
            f'no pod or workload "{name}" in namespace {namespace}, but there is one in {elsewhere[0]}: '
            f"say {elsewhere[0]}/{name}"
        )
    known = [meta.name(obj) for resource in ("pods", *_WORKLOADS) for obj in view.list(resource, namespace)]
    nearest = names.nearest(name, known)
    raise UnknownTarget(
        f'no pod or workload "{name}" in namespace {namespace}'
        + (f'; did you mean "{nearest}"?' if nearest else "; see: mkpy get pods -A")
    )


def _resource(view: View, word: str) -> str:
    for resource in ("pods", *_WORKLOADS, "services"):
        plural = resource.partition(".")[0]
        if word.lower() in (plural, plural.removesuffix("s"), *_SHORT.get(plural, ())):
            return resource
    raise UnknownTarget(f'"{word}" is not something that has pods; use pod/, deployment/, statefulset/, service/ …')


_SHORT = {
    "pods": ("po",),
    "deployments": ("deploy",),
    "statefulsets": ("sts",),
    "daemonsets": ("ds",),
    "replicasets": ("rs",),
    "replicationcontrollers": ("rc",),
    "services": ("svc",),
}


def _names_a_kind(view: View, word: str) -> bool:
    try:
        _resource(view, word)
    except (UnknownTarget, StatusError):
        return False
    return True
