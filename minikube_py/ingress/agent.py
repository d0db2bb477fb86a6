"""What the controller writes back: the address in `status.loadBalancer`, and Events about each Ingress.

Stands for ingress-nginx's status syncer and its event recorder. One `Agent` per controller, however many pods it has
(the real one elects a leader). `reconcile` is pure; `client.Agent` runs it.
"""

from collections.abc import Callable, Iterable, Sequence

from minikube_py.aiokit.clock import Clock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import API, Action, Change, Emit, Event, UpdateStatus, View
from minikube_py.client import Agent as ReconcilerAgent
from minikube_py.ingress.flavors.flavor import Flavor
from minikube_py.ingress.flavors.nginx import FLAVOR as NGINX
from minikube_py.ingress.router import BackendKey
from minikube_py.ingress.rules.backends import service_port
from minikube_py.ingress.rules.classes import claim
from minikube_py.ingress.rules.compile import compile_rules, tls_hosts
from minikube_py.ingress.rules.incremental import Incremental
from minikube_py.ingress.rules.rules import Rules
from minikube_py.ingress.rules.sources import (
    CONFIG_MAPS,
    INGRESS_CLASSES,
    INGRESSES,
    SECRETS,
    SERVICES,
    SLICES,
    Sources,
)
from minikube_py.ingress.tls.certificates import pair_of

__all__ = ["Agent", "IngressReconciler", "ResourceReconciler"]

DEPLOYMENTS = "deployments.apps"


class IngressReconciler:
    """Decides status and Events of one Ingress from all of them.

    `addresses()` are those of the controller's LoadBalancer Service; none yet: the status stays as it is. `absent()`
    says why no pod of the controller runs, nor will soon; "" while one does.
    """

    name = "nginx-ingress-controller"

    def __init__(
        self,
        flavor: Flavor | None,
        addresses: Callable[[], Sequence[str]],
        *,
        reports_orphans: bool = True,
        running: frozenset[str] | None = None,
        absent: Callable[[], str] = str,
    ) -> None:
        self._flavor = flavor or NGINX
        self._absent = absent
        self._controller = flavor.controller if flavor else ""
        self._running = running
        if flavor is not None:
            self.name = f"{flavor.name}-ingress-controller"
        self._addresses = addresses
        self._reports_orphans = reports_orphans
        self._sources = Sources()
        self._rules = Incremental(
            self._sources, controller=self._controller, defaults=self._flavor.options, flavor=self._flavor
        )
        self._told: dict[Key, frozenset[tuple[str, str, str]]] = {}
        inputs = (INGRESSES, INGRESS_CLASSES, SERVICES, SECRETS, CONFIG_MAPS, *self._flavor.resources)
        self.watches = dict.fromkeys(inputs, self._changed)
        if flavor is not None:
            self.watches |= {DEPLOYMENTS: self._workload_changed, SLICES: self._pods_changed}

    # Which Ingresses an event makes dirty

    def _changed(self, event: Event, view: View) -> Iterable[Key]:
        self._sources.apply(event)
        return {*self._rules.changed(event), *self._concerned(event, self._rules.known)}

    def _workload_changed(self, event: Event, view: View) -> Iterable[Key]:
        """Return all Ingresses when the controller is scaled, made or deleted."""
        if event.key != (self._flavor.namespace, self._flavor.workload):
            return ()
        replicas = [meta.spec(each).get("replicas") for each in (event.old, event.object) if each is not None]
        return self._sources.all(INGRESSES) if len(set(replicas)) > 1 or event.change is not Change.MODIFIED else ()

    def _pods_changed(self, event: Event, view: View) -> Iterable[Key]:
        """Return all Ingresses when the pods behind the controller's Service change."""
        service = meta.labels(event.object).get("kubernetes.io/service-name")
        mine = (meta.namespace(event.object), service) == (self._flavor.namespace, self._flavor.service)
        return self._sources.all(INGRESSES) if mine else ()

    def _concerned(self, event: Event, rules: Rules) -> Iterable[Key]:
        """Return the Ingresses that a Service or a certificate matters to, whatever their rules."""
        if event.resource == SERVICES:
            if meta.spec(event.object).get("type") == "LoadBalancer":  # it may be the controller's own
                return self._sources.all(INGRESSES)
            changed = event.change is not Change.MODIFIED or meta.spec(event.old or {}) != meta.spec(event.object)
            if changed and (used := rules.keys.get(event.key)):
                return [key for key, each in rules.uses.items() if not set(used).isdisjoint(each)]
        elif event.resource == SECRETS:
            return [each.ingress for each in rules.tls.values() if each.secret == event.key]
        return ()

    # What to do

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        ingress = view.get(INGRESSES, key.name, key.namespace)
        if ingress is None or meta.terminating(ingress):
            self._told.pop(key, None)
            return ()
        rules = self._rules.rules()
        events: list[tuple[str, str, str]] = []
        actions: list[Action] = []
        status: Object = {"loadBalancer": {}}
        if key in rules.served and (why := self._absent()):
            events.append(("Warning", "NotServed", f"no controller serves this Ingress: {why}"))
        elif key in rules.served:
            if addresses := self._addresses():
                status["loadBalancer"]["ingress"] = [
                    {"ip": each} if each[:1].isdigit() else {"hostname": each} for each in addresses
                ]
                events.append(("Normal", "Sync", "Scheduled for sync"))
            else:
                status = {**meta.status(ingress)}
            events += (("Warning", problem.reason, problem.message) for problem in rules.problems.get(key, ()))
            events += (("Warning", *found) for found in self._backends(rules.uses.get(key, ()), view))
            events += (("Warning", *found) for found in self._secrets(ingress, rules, view))
        else:
            verdict = claim(ingress, view.list(INGRESS_CLASSES), self._controller, (self._flavor.name,))
            if not verdict.orphan and not self._nobodys(ingress, view):
                self._told.pop(key, None)
                return ()  # another controller's
            if self._reports_orphans:
                events.append(("Warning", "NotServed", f"no controller serves this Ingress: {verdict.because}"))
        if (meta.status(ingress) or {"loadBalancer": {}}) != status:
            actions.append(UpdateStatus({**meta.copy(ingress), "status": status}))
        told = self._told.get(key, frozenset())
        actions += (Emit(ingress, *each) for each in events if each not in told)
        self._told[key] = frozenset(events)
        return actions

    def _nobodys(self, ingress: Object, view: View) -> bool:
        """Tell whether the class is of a controller that doesn't run here."""
        if not self._reports_orphans or self._running is None:
            return False
        class_ = view.get(INGRESS_CLASSES, meta.spec(ingress).get("ingressClassName") or "")
        return class_ is not None and meta.spec(class_).get("controller") not in self._running

    def _backends(self, used: Iterable[BackendKey], view: View) -> Iterable[tuple[str, str]]:
        for each in used:
            service = view.get(SERVICES, each.service, each.namespace)
            where = f"{each.namespace}/{each.service}"
            if service is None:
                yield "ServiceNotFound", f'Service "{where}" does not exist: requests for it are answered 503'
            elif service_port(service, each.port) is None and meta.spec(service).get("type") != "ExternalName":
                ports = ", ".join(
                    str(port.get("name") or port.get("port")) for port in meta.spec(service).get("ports") or ()
                )
                yield (
                    "ServicePortNotFound",
                    f'Service "{where}" has no port "{each.port}" (its ports: {ports or "none"}): answered 503',
                )

    def _secrets(self, ingress: Object, rules: Rules, view: View) -> Iterable[tuple[str, str]]:
        for host in dict.fromkeys(host for host, _ in tls_hosts(ingress)):
            each = rules.tls.get(host)
            if each is not None and each.ingress == meta.key(ingress) and each.secret is not None:
                found = pair_of(view.get(SECRETS, each.secret.name, each.secret.namespace))
                if isinstance(found, str):
                    yield (
                        "SecretUnusable",
                        f'TLS Secret "{each.secret}": {found}; host "{each.host}" gets a certificate made here',
                    )


class ResourceReconciler:
    """Tells of one kind of custom resource of a controller: Events for what is wrong or has no effect, its status."""

    def __init__(self, flavor: Flavor, resource: str, addresses: Callable[[], Sequence[str]]) -> None:
        self.name = f"{flavor.name}-{resource.partition('.')[0]}"
        self._flavor = flavor
        self._resource = resource
        self._addresses = addresses
        self._rules: Rules | None = None
        self._told: dict[Key, frozenset[str]] = {}
        inputs = (INGRESS_CLASSES, SERVICES, SECRETS, CONFIG_MAPS, *flavor.resources)
        self.watches = dict.fromkeys(inputs, self._all)

    def _all(self, event: Event, view: View) -> Iterable[Key]:
        objects = view.list(self._resource)
        if event.resource == self._resource and event.old is not None:
            if meta.spec(event.old) == meta.spec(event.object) and not meta.terminating(event.object):
                return ()  # our own status
        elif event.resource == SECRETS and self._rules and (SECRETS, event.key) not in self._rules.references:
            return ()
        self._rules = None
        return [meta.key(each) for each in objects]

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        obj = view.get(self._resource, key.name, key.namespace)
        if obj is None or meta.terminating(obj):
            self._told.pop(key, None)
            return ()
        if self._rules is None:
            resources = (INGRESSES, INGRESS_CLASSES, SERVICES, SECRETS, CONFIG_MAPS, *self._flavor.resources)
            sources = Sources((resource, each) for resource in resources for each in view.list(resource))
            flavor = self._flavor
            self._rules = compile_rules(sources, controller=flavor.controller, defaults=flavor.options, flavor=flavor)
        messages = self._rules.custom.get((self._resource, key), ())
        actions: list[Action] = []
        if (make := self._flavor.statuses.get(self._resource)) is not None:
            status = make(obj, messages, self._addresses(), now)
            if status != meta.status(obj):
                actions.append(UpdateStatus({**meta.copy(obj), "status": status}))
        told = self._told.get(key, frozenset())
        for each in messages:
            if each not in told:
                actions.append(Emit(obj, "Warning", "NotEmulated" if "no effect" in each else "Invalid", each))
        self._told[key] = frozenset(messages)
        return actions


class Agent:
    """Runs the reconciler.

    Resource handling: `start(scope)` subscribes and spawns, `stop()` unsubscribes; the scope ends the task.
    """

    def __init__(
        self,
        api: API,
        clock: Clock,
        addresses: Callable[[], Sequence[str]],
        *,
        flavor: Flavor | None = NGINX,
        reports_orphans: bool = True,
        running: frozenset[str] | None = None,
        absent: Callable[[], str] = str,
    ) -> None:
        """`flavor=None` serves nothing and only tells of Ingresses that nobody serves; `running` are the controllers
        that do (None: not known, an Ingress of another class is left alone).
        """
        self.reconciler = IngressReconciler(
            flavor, addresses, reports_orphans=reports_orphans, running=running, absent=absent
        )
        self._agent = ReconcilerAgent(self.reconciler, api, clock)

    @property
    def name(self) -> str:
        return self._agent.name

    @property
    def settled(self) -> bool:
        return self._agent.settled

    @property
    def idle(self) -> bool:
        return self._agent.idle

    def start(self, scope: TaskScope) -> None:
        self._agent.start(scope)

    def stop(self) -> None:
        self._agent.stop()

    def step(self) -> None:
        """Reconcile one dirty Ingress (tests)."""
        self._agent.step()
