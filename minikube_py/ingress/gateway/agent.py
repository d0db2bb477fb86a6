"""Gateways become pods, Services and statuses.

Stands for the control plane of a Gateway API implementation that provisions automatically: each Gateway of a class of
ours gets a Deployment and a LoadBalancer Service in its namespace, owned by it. `reconcile` is pure.
Source: https://gateway-api.sigs.k8s.io/geps/gep-1762/
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Create, Delete, Event, Update, UpdateStatus, View
from minikube_py.ingress.sources import GATEWAY_CLASSES, GATEWAY_RESOURCES, GATEWAYS, ROUTES, SLICES, Sources

if TYPE_CHECKING:
    from minikube_py.ingress.gateway import Compiled

__all__ = ["CONTROLLERS", "IMAGE", "GatewayReconciler"]

IMAGE = "minikube-py/gateway"
CONTROLLERS = frozenset(
    {
        "minikube-py.dev/gateway-controller",
        "gateway.envoyproxy.io/gatewayclass-controller",
        "gateway.nginx.org/nginx-gateway-controller",
        "istio.io/gateway-controller",
        "io.cilium/gateway-controller",
        "traefik.io/gateway-controller",
        "konghq.com/kic-gateway-controller",
        "konghq.com/gateway-operator",
        "projectcontour.io/gateway-controller",
        "networking.gke.io/gateway",
    }
)
"""Whose classes are served: what manifests for these implementations say keeps its meaning."""

Conditions = Iterable[tuple[str, bool, str, str]]


class GatewayReconciler:
    """Reconciles one Gateway (or, with no namespace, one GatewayClass)."""

    name = "gateway-controller"

    @property
    def watches(self) -> Mapping[str, Any]:
        resources = [each for each in GATEWAY_RESOURCES if each != SLICES]
        return {**dict.fromkeys(resources, self._all), "deployments.apps": self._owned}

    def _all(self, event: Event, view: View) -> Iterable[Key]:
        old = event.old
        if old is not None and {**old, "metadata": 0, "status": 0} == {**event.object, "metadata": 0, "status": 0}:
            same = all(
                old["metadata"].get(k) == event.object["metadata"].get(k) for k in ("labels", "deletionTimestamp")
            )
            if same and event.resource != "services":
                return []  # a status, ours most likely
        classes = [meta.key(each) for each in view.list(GATEWAY_CLASSES)]
        return classes + [meta.key(each) for each in view.list(GATEWAYS)]

    def _owned(self, event: Event, view: View) -> Iterable[Key]:
        owners = event.object["metadata"].get("ownerReferences") or ()
        return [Key(event.key.namespace, each["name"]) for each in owners if each.get("kind") == "Gateway"]

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        if not key.namespace:
            return self._class(view.get(GATEWAY_CLASSES, key.name), now)
        gateway = view.get(GATEWAYS, key.name, key.namespace)
        if gateway is None or meta.terminating(gateway):
            return ()
        class_ = view.get(GATEWAY_CLASSES, meta.spec(gateway).get("gatewayClassName") or "")
        if class_ is None or (controller := meta.spec(class_).get("controllerName")) not in CONTROLLERS:
            return ()
        from minikube_py.ingress.gateway import compile_gateway  # 10 ms that only a cluster with a Gateway pays

        sources = Sources((resource, obj) for resource in GATEWAY_RESOURCES for obj in view.list(resource))
        compiled = compile_gateway(sources, key)
        return [
            *self._provision(gateway, compiled, view),
            *self._status(gateway, compiled, view, now),
            *self._routes(key, compiled, view, now, str(controller)),
        ]

    def _class(self, class_: Object | None, now: float) -> Sequence[Action]:
        if class_ is None or meta.spec(class_).get("controllerName") not in CONTROLLERS:
            return ()
        return _with_status(class_, {"conditions": _conditions(class_, meta.status(class_), [
            ("Accepted", True, "Accepted", "the class is served"),
        ], now)})  # fmt: skip

    # Pods and Service

    def _provision(self, gateway: Object, compiled: "Compiled", view: View) -> Iterable[Action]:
        namespace, name = meta.namespace(gateway), f"{meta.name(gateway)}-gateway"
        wanted = [_service(gateway, name, compiled), _deployment(gateway, name, compiled)] if compiled.ports else []
        for obj in wanted:
            resource = "services" if obj["kind"] == "Service" else "deployments.apps"
            found = view.get(resource, name, namespace)
            if found is None:
                yield Create(obj)
            elif meta.annotations(found).get("gateway.minikube-py/ports") != _ports(compiled):
                changed = meta.copy(found)
                changed["metadata"].setdefault("annotations", {})["gateway.minikube-py/ports"] = _ports(compiled)
                if resource == "services":
                    changed["spec"]["ports"] = obj["spec"]["ports"]
                else:
                    changed["spec"]["template"] = obj["spec"]["template"]
                yield Update(changed)
        if not wanted:
            for resource in ("services", "deployments.apps"):
                if view.get(resource, name, namespace) is not None:
                    yield Delete(resource, Key(namespace, name))

    # Statuses

    def _status(self, gateway: Object, compiled: "Compiled", view: View, now: float) -> Iterable[Action]:
        name = f"{meta.name(gateway)}-gateway"
        service = view.get("services", name, meta.namespace(gateway))
        deployment = view.get("deployments.apps", name, meta.namespace(gateway))
        entries = (meta.status(service).get("loadBalancer") or {}).get("ingress") if service else None
        addresses = [{"type": "IPAddress", "value": each["ip"]} for each in entries or () if each.get("ip")]
        up = bool(deployment and meta.status(deployment).get("availableReplicas"))
        programmed = ("Programmed", True, "Programmed", "the Gateway is reachable")
        if not compiled.conditions[0][1]:
            programmed = ("Programmed", False, "Invalid", compiled.conditions[0][3])
        elif not addresses:
            programmed = ("Programmed", False, "AddressNotAssigned", "its Service has no address yet")
        elif not up:
            programmed = ("Programmed", False, "Pending", "its pod is not ready yet")
        old = meta.status(gateway)
        before = {each.get("name"): each for each in old.get("listeners") or ()}
        group = "gateway.networking.k8s.io"
        listeners = [
            {
                "name": each["name"],
                "supportedKinds": [{"group": group, "kind": kind} for kind in each["kinds"]],
                "attachedRoutes": each["attached"],
                "conditions": _conditions(gateway, before.get(each["name"]) or {}, each["conditions"], now),
            }
            for each in compiled.listeners
        ]
        conditions = _conditions(gateway, old, (*compiled.conditions, programmed), now)
        return _with_status(gateway, {"addresses": addresses, "conditions": conditions, "listeners": listeners})

    def _routes(self, key: Key, compiled: "Compiled", view: View, now: float, controller: str) -> Iterable[Action]:
        for route in view.list(ROUTES):
            parents: Sequence[Mapping[str, Any]] = meta.status(route).get("parents") or ()
            mine = {_ref(each["parentRef"]): each for each in parents if _parent(route, each["parentRef"]) == key}
            others = [each for each in parents if _parent(route, each["parentRef"]) != key]
            found = compiled.routes.get(meta.key(route), ())
            made: list[dict[str, Any]] = [
                {
                    "parentRef": dict[str, Any](group="gateway.networking.k8s.io", kind="Gateway") | dict(ref),
                    "controllerName": controller,
                    "conditions": _conditions(route, _before(mine, ref), conditions, now),
                }
                for ref, conditions in found
            ]
            if made or mine:
                yield from _with_status(route, {"parents": [*others, *made]})


def _ref(ref: Mapping[str, Any]) -> tuple[Any, ...]:
    return ref.get("namespace"), ref.get("name"), ref.get("sectionName"), ref.get("port")


def _before(mine: Mapping[tuple[Any, ...], Mapping[str, Any]], ref: Mapping[str, Any]) -> Mapping[str, Any]:
    return mine.get(_ref(ref)) or {}


def _parent(route: Object, ref: Mapping[str, Any]) -> Key:
    return Key(ref.get("namespace") or meta.namespace(route), str(ref.get("name")))


def _with_status(obj: Object, status: Object) -> list[Action]:
    if meta.status(obj) == status:
        return []
    return [UpdateStatus({**meta.copy(obj), "status": status})]


def _conditions(obj: Object, before: Mapping[str, Any], wanted: Conditions, now: float) -> list[Object]:
    """Return conditions as the API has them; one that stays as it was keeps its lastTransitionTime."""
    old = {each.get("type"): each for each in before.get("conditions") or ()}
    generation = obj["metadata"].get("generation") or 1
    found = []
    for type_, is_true, reason, message in wanted:
        status = "True" if is_true else "False"
        was = old.get(type_) or {}
        since = was["lastTransitionTime"] if was.get("status") == status else rfc3339(now)
        found.append(
            {
                "type": type_,
                "status": status,
                "reason": reason,
                "message": message,
                "observedGeneration": generation,
                "lastTransitionTime": since,
            }
        )
    return found


def _ports(compiled: "Compiled") -> str:
    return ",".join(f"{port}/{'HTTPS' if secure else 'HTTP'}" for port, secure in compiled.ports)


def _metadata(gateway: Object, name: str, compiled: "Compiled") -> Object:
    return {
        "name": name,
        "namespace": meta.namespace(gateway),
        "labels": {"gateway.networking.k8s.io/gateway-name": meta.name(gateway)},
        "annotations": {"gateway.minikube-py/ports": _ports(compiled)},
        "ownerReferences": [
            {
                "apiVersion": gateway["apiVersion"],
                "kind": "Gateway",
                "name": meta.name(gateway),
                "uid": meta.uid(gateway),
                "controller": True,
            }
        ],
    }


def _service(gateway: Object, name: str, compiled: "Compiled") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(gateway, name, compiled),
        "spec": {
            "type": "LoadBalancer",
            "selector": {"gateway.networking.k8s.io/gateway-name": meta.name(gateway)},
            "ports": [
                {"name": f"port-{port}", "port": port, "targetPort": port, "protocol": "TCP"}
                for port, _ in compiled.ports
            ],
        },
    }


def _deployment(gateway: Object, name: str, compiled: "Compiled") -> Object:
    labels = {"gateway.networking.k8s.io/gateway-name": meta.name(gateway)}
    arguments = [f"--gateway={meta.namespace(gateway)}/{meta.name(gateway)}"]
    arguments += (f"--listen={each}" for each in _ports(compiled).split(",") if each)
    container = {
        "name": "gateway",
        "image": f"{IMAGE}:v1",
        "args": arguments,
        "ports": [{"containerPort": port, "protocol": "TCP"} for port, _ in compiled.ports],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(gateway, name, compiled),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
