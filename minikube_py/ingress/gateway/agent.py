"""Gateways become pods, Services and statuses.

Stands for the control plane of a Gateway API implementation that provisions automatically: each Gateway of a class of
ours gets a Deployment and a LoadBalancer Service in its namespace, owned by it. `reconcile` is pure.
Source: https://gateway-api.sigs.k8s.io/geps/gep-1762/ and the conditions of .../reference/spec/
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Change, Create, Delete, Event, Update, UpdateStatus, View
from minikube_py.ingress.gateway import provision
from minikube_py.ingress.rules.sources import (
    GATEWAY_CLASSES,
    GATEWAY_RESOURCES,
    GATEWAY_ROUTES,
    GATEWAYS,
    SLICES,
    Sources,
)

if TYPE_CHECKING:
    from minikube_py.ingress.gateway.compile import Compiled
    from minikube_py.ingress.gateway.references import Condition

__all__ = ["CONTROLLERS", "FEATURES", "GatewayReconciler"]

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

FEATURES = (
    "GRPCRoute",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayHTTPListenerIsolation",
    "GatewayInfrastructurePropagation",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteCORS",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
)
"""Conformance features, by the suite's names, in order."""

_GROUP = "gateway.networking.k8s.io"
_OWNED = ("services", "deployments.apps")

Conditions = Iterable["Condition | tuple[str, bool, str, str]"]


class GatewayReconciler:
    """Reconciles one Gateway (or, with no namespace, one GatewayClass)."""

    name = "gateway-controller"

    @property
    def watches(self) -> Mapping[str, Any]:
        resources = [each for each in GATEWAY_RESOURCES if each != SLICES]
        return {**dict.fromkeys(resources, self._all), "deployments.apps": self._owned}

    def _all(self, event: Event, view: View) -> Iterable[Key]:
        old = event.old
        deleted = event.change is Change.DELETED
        if (
            old is not None
            and not deleted
            and {**old, "metadata": 0, "status": 0} == {**event.object, "metadata": 0, "status": 0}
        ):
            same = all(
                old["metadata"].get(k) == event.object["metadata"].get(k) for k in ("labels", "deletionTimestamp")
            )
            if same and event.resource != "services":
                return []  # a status, ours most likely
        classes = [meta.key(each) for each in view.list(GATEWAY_CLASSES)]
        gone = [event.key] if event.resource == GATEWAYS and deleted else []
        return classes + gone + [meta.key(each) for each in view.list(GATEWAYS)]

    def _owned(self, event: Event, view: View) -> Iterable[Key]:
        owners = event.object["metadata"].get("ownerReferences") or ()
        return [Key(event.key.namespace, each["name"]) for each in owners if each.get("kind") == "Gateway"]

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        if not key.namespace:
            return self._class(view.get(GATEWAY_CLASSES, key.name), now)
        gateway = view.get(GATEWAYS, key.name, key.namespace)
        if gateway is None:
            return [*self._routes(key, {}, view, now, "")]
        class_ = view.get(GATEWAY_CLASSES, meta.spec(gateway).get("gatewayClassName") or "")
        if class_ is None or (controller := meta.spec(class_).get("controllerName")) not in CONTROLLERS:
            return ()
        if meta.terminating(gateway):
            return ()
        from minikube_py.ingress.gateway.compile import compile_gateway  # 10 ms that only a cluster with one pays

        sources = Sources((resource, obj) for resource in GATEWAY_RESOURCES for obj in view.list(resource))
        compiled = compile_gateway(sources, key)
        return [
            *self._provision(gateway, compiled, view),
            *self._status(gateway, compiled, view, now),
            *self._routes(key, compiled.routes, view, now, str(controller)),
        ]

    def _class(self, class_: Object | None, now: float) -> Sequence[Action]:
        if class_ is None or meta.spec(class_).get("controllerName") not in CONTROLLERS:
            return ()
        ignored = "; its parametersRef has no effect here" if meta.spec(class_).get("parametersRef") else ""
        conditions = [
            ("Accepted", True, "Accepted", f"the class is served{ignored}"),
            ("SupportedVersion", True, "SupportedVersion", "the kinds of the Gateway API are built in"),
        ]
        old = meta.status(class_)
        found = {
            **old,
            "conditions": _conditions(class_, old, conditions, now),
            "supportedFeatures": [{"name": each} for each in FEATURES],
        }
        return _with_status(class_, found)

    # Pods and Service

    def _provision(self, gateway: Object, compiled: "Compiled", view: View) -> Iterable[Action]:
        wanted = {each["kind"]: each for each in provision.objects(gateway, compiled)}
        for resource, kind in zip(_OWNED, ("Service", "Deployment"), strict=True):
            obj = wanted.get(kind)
            for found in view.list(resource, meta.namespace(gateway)):
                ours = any(
                    each.get("uid") == meta.uid(gateway) for each in found["metadata"].get("ownerReferences") or ()
                )
                if ours and (obj is None or meta.name(found) != obj["metadata"]["name"]):
                    yield Delete(resource, meta.key(found))  # of another class, or no listener serves any more
            if obj is None:
                continue
            found_ = view.get(resource, obj["metadata"]["name"], meta.namespace(gateway))
            if found_ is None:
                yield Create(obj)
            elif (changed := provision.updated(found_, obj)) is not None:
                yield Update(changed)

    # Statuses

    def _programmed(
        self, gateway: Object, compiled: "Compiled", addresses: Sequence[str], view: View
    ) -> tuple[str, bool, str, str]:
        deployment = view.get("deployments.apps", provision.name_of(gateway), meta.namespace(gateway))
        if not compiled.accepted.true:
            return ("Programmed", False, "Invalid", compiled.accepted.message)
        if missing := [each for each in provision.wanted_addresses(gateway) if each not in addresses]:
            return ("Programmed", False, "AddressNotUsable", f"can't be had: {', '.join(missing)}")
        if not addresses:
            return ("Programmed", False, "AddressNotAssigned", "its Service has no address yet")
        if not (deployment and meta.status(deployment).get("availableReplicas")):
            return ("Programmed", False, "Pending", "its pod is not ready yet")
        return ("Programmed", True, "Programmed", "the Gateway is reachable")

    def _status(self, gateway: Object, compiled: "Compiled", view: View, now: float) -> Iterable[Action]:
        service = view.get("services", provision.name_of(gateway), meta.namespace(gateway))
        entries = (meta.status(service).get("loadBalancer") or {}).get("ingress") if service else None
        addresses = [str(each["ip"]) for each in entries or () if each.get("ip")]
        programmed = self._programmed(gateway, compiled, addresses, view)
        old = meta.status(gateway)
        before = {each.get("name"): each for each in old.get("listeners") or ()}
        listeners = [
            {
                "name": each.name,
                "supportedKinds": [{"group": _GROUP, "kind": kind} for kind in each.kinds],
                "attachedRoutes": compiled.attached.get(each.name, 0),
                "conditions": _conditions(gateway, before.get(each.name) or {}, each.conditions, now),
            }
            for each in compiled.listeners
        ]
        conditions = _conditions(gateway, old, (compiled.accepted, programmed), now)
        shown = [{"type": "IPAddress", "value": each} for each in addresses]
        return _with_status(gateway, {**old, "addresses": shown, "conditions": conditions, "listeners": listeners})

    def _routes(
        self, key: Key, found: Mapping[tuple[str, Key], Any], view: View, now: float, controller: str
    ) -> Iterable[Action]:
        """Write what became of each route's parentRefs; entries of a parent that is left or gone go."""
        for route in (each for resource in GATEWAY_ROUTES for each in view.list(resource)):
            parents: Sequence[Mapping[str, Any]] = meta.status(route).get("parents") or ()
            ours = [
                each
                for each in parents
                if _parent(route, each["parentRef"]) == key and each.get("controllerName") in CONTROLLERS
            ]
            mine = {_ref(each["parentRef"]): each for each in ours}
            made: list[dict[str, Any]] = [
                {
                    "parentRef": {"group": _GROUP, "kind": "Gateway", **ref},
                    "controllerName": controller,
                    "conditions": _conditions(route, mine.get(_ref(ref)) or {}, conditions, now),
                }
                for ref, conditions in found.get((str(route.get("kind")), meta.key(route)), ())
            ]
            if made or mine:
                others = [each for each in parents if each not in ours]
                yield from _with_status(route, {**meta.status(route), "parents": [*others, *made]})


def _ref(ref: Mapping[str, Any]) -> tuple[Any, ...]:
    return ref.get("namespace"), ref.get("name"), ref.get("sectionName"), ref.get("port")


def _parent(route: Object, ref: Mapping[str, Any]) -> Key:
    return Key(ref.get("namespace") or meta.namespace(route), str(ref.get("name")))


def _with_status(obj: Object, status: Object) -> list[Action]:
    if meta.status(obj) == status:
        return []
    return [UpdateStatus({**meta.copy(obj), "status": status})]


def _conditions(obj: Object, before: Mapping[str, Any], wanted: Conditions, now: float) -> list[Object]:
    """Return conditions as the API has them; one that stays as it was keeps its lastTransitionTime.

    Conditions of other types are somebody else's and stay, but for the one that is ours while it is true.
    """
    old = {each.get("type"): each for each in before.get("conditions") or ()}
    generation = obj["metadata"].get("generation") or 1
    found = []
    for type_, is_true, reason, message in wanted:
        status = "True" if is_true else "False"
        was = old.pop(type_, None) or {}
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
    return [*found, *(each for each in old.values() if each.get("type") != "PartiallyInvalid")]
