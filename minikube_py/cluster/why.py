"""Why A reaches B or not: the walk from the name to the listener, and a real probe beside it that must agree.

    DNS ─► egress ─► service ─► ingress ─► listen          the model: what the components say would happen
    probe                                                   what did happen

The model asks the components themselves (zone, proxy, policies, listeners) and sends nothing. A probe that comes out
otherwise is a bug of ours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, Any, NamedTuple

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.cluster.probing import Outcome, Probe, probe
from minikube_py.cluster.targets import UnknownTarget, is_ready, pod_of
from minikube_py.cni import drop
from minikube_py.cni.namespace import NetworkNamespace
from minikube_py.cni.resolvconf import ResolvConf, candidates
from minikube_py.cni.types import Flow
from minikube_py.coredns.answer import Options, answer
from minikube_py.coredns.message import Question
from minikube_py.coredns.zone import Zone

if TYPE_CHECKING:
    from minikube_py.cluster.local import LocalCluster
    from minikube_py.networkpolicy.explain import Walk

__all__ = ["Hop", "Why", "hops_from", "why"]

_TRIES = 3

OUTSIDE = ("outside", "host", "127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of the walk."""

    name: str
    text: str
    state: str
    """`ok`, `DENIED`, `FAILED`, `SOME` (some endpoints are denied) or `-` (not reached)."""
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Why:
    """The answer to `why FROM TO[:PORT]`; `str()` gives the lines."""

    source: str
    destination: str
    port: int
    protocol: str
    hops: tuple[Hop, ...]
    probe: Probe | None = None
    fix: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    """Those that deny it, `namespace/name`."""

    @property
    def broken(self) -> Hop | None:
        """The first hop that fails."""
        return next((hop for hop in self.hops if hop.state not in ("ok", "-")), None)

    @property
    def reachable(self) -> bool:
        return self.broken is None

    def __bool__(self) -> bool:
        raise TypeError("ask why.reachable: an answer has reasons, a bool has none")

    @property
    def because(self) -> str:
        """One sentence: what stops it."""
        broken = self.broken
        return "every hop is ok" if broken is None else f"{broken.name}: {broken.text}"

    @property
    def agrees(self) -> bool | None:
        """Whether the probe came out as the model says; None where that can't be told (no probe, or it's a toss-up)."""
        broken = self.broken
        if self.probe is None or (broken is not None and broken.state == "SOME"):
            return None
        outcome = self.probe.outcome
        if broken is None:
            return outcome is Outcome.CONNECTED
        if broken.name == "DNS":
            return outcome in ((Outcome.NO_DNS,) if broken.state == "DENIED" else (Outcome.NO_NAME, Outcome.NO_DNS))
        if broken.state == "DENIED":
            return outcome is Outcome.SILENT or outcome is Outcome.REFUSED
        return outcome is not Outcome.CONNECTED

    @property
    def exit_code(self) -> int:
        """0 reachable, 1 not, 4 if model and probe disagree."""
        return 4 if self.agrees is False else 0 if self.reachable else 1

    def lines(self) -> list[str]:
        head = f"{self.source} -> {self.destination} :{self.port}" + ("/UDP" if self.protocol == "UDP" else "")
        broken = self.broken
        verdict = "reachable" if broken is None else "SOMETIMES" if broken.state == "SOME" else "NOT REACHABLE"
        width = max(64, *(len(hop.text) + 1 for hop in self.hops), len(self.probe.text) + 1 if self.probe else 0)
        found = [f"{head:<{width + 12}} {verdict}"]
        for number, hop in enumerate(self.hops, 1):
            found.append(f"{number:2} {hop.name:8} {hop.text:<{width}} {hop.state}")
            found += (f"              {detail}" for detail in hop.details)
        if self.probe is not None:
            word = {True: "agrees", False: "DISAGREES", None: ""}[self.agrees]
            found.append(f"{'probe':11} {self.probe.text:<{width}} {word}".rstrip())
        found += (f"{'fix':11} {line}" for line in self.fix)
        if self.agrees is False:
            found.append("The model and the probe disagree: this is a bug in minikube_py; please report these lines.")
        return found

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def as_json(self) -> dict[str, Any]:
        return {
            "from": self.source,
            "to": self.destination,
            "port": self.port,
            "protocol": self.protocol,
            "reachable": self.reachable,
            "because": self.because,
            "policies": list(self.policies),
            "hops": [
                {"hop": hop.name, "text": hop.text, "state": hop.state, "details": list(hop.details)}
                for hop in self.hops
            ],
            "probe": self.probe and {"outcome": self.probe.outcome.value, "text": self.probe.text},
            "agrees": self.agrees,
            "fix": list(self.fix),
            "text": str(self),
            "exitCode": self.exit_code,
        }


class _Source(NamedTuple):
    label: str
    namespace: str
    ip: str
    network: NetworkNamespace | None
    """None: outside."""


class _Named(NamedTuple):
    """What TO means, before any packet."""

    label: str
    host: str
    """What the caller would write: a name to look up, or an address."""
    ports: tuple[Mapping[str, Any], ...]
    """Those to choose from if none is given, as {port, name}."""


async def why(
    cluster: "LocalCluster", source: str, destination: str, *, namespace: str = "default", measured: bool = True
) -> Why:
    """Walk from `source` (a pod, a workload, `outside`) to `destination` (a Service, pod, name or address, with
    `:port` by number or name, and `/udp`), and probe it.

    Error handling: UnknownTarget with the nearest name.
    """
    for _ in range(_TRIES):
        answer = await _ask(cluster, source, destination, namespace, measured=measured)
        if answer.agrees is not False:
            break  # else something has changed between the walk and the probe, or it is a bug
    return answer


async def _ask(cluster: "LocalCluster", source: str, destination: str, namespace: str, *, measured: bool) -> Why:
    caller = _source(cluster, source, namespace)
    text, port_text, protocol = _split(destination)
    named = _named(cluster, caller, text, caller.namespace if namespace == "default" else namespace)
    port = _port(named, port_text)
    walk = _Walk(cluster, caller, named, port, protocol)
    walk.run()
    result = Why(
        caller.label,
        named.label,
        port,
        protocol,
        tuple(walk.hops),
        None,
        tuple(dict.fromkeys(walk.fix)),
        tuple(dict.fromkeys(walk.policies)),
    )
    if not measured or protocol != "TCP":
        return result
    return replace(result, probe=await probe(cluster.fabric, caller.network, named.host, port))


def hops_from(cluster: "LocalCluster", ip: str, flows: Sequence[Flow]) -> tuple[list[Hop], list[str], tuple[str, ...]]:
    """Return the hops from a pod's address to endpoints that it connects to by itself, hints, and who denies it."""
    first = flows[0]
    named = _Named(first.destination, first.destination, ())
    walk = _Walk(cluster, _Source(ip, "", ip, cluster.fabric.find(ip)), named, first.port, first.protocol)
    walk.follow(flows)
    return walk.hops, list(dict.fromkeys(walk.fix)), tuple(dict.fromkeys(walk.policies))


def _split(text: str) -> tuple[str, str, str]:
    """Split `host:port/udp`."""
    protocol = "TCP"
    bare, slash, last = text.rpartition("/")
    if slash and last.lower() in ("udp", "tcp"):
        text, protocol = bare, last.upper()
    host, colon, port = text.rpartition(":")
    return (host, port, protocol) if colon else (text, "", protocol)


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _label(obj: Object) -> str:
    return f"{meta.name(obj)} ({meta.namespace(obj)})"


def _source(cluster: "LocalCluster", text: str, namespace: str) -> _Source:
    if text.lower() in OUTSIDE:
        return _Source("outside (127.0.0.1)", namespace, "127.0.0.1", None)
    view = cluster.operations
    if _is_address(text):
        found = [pod for pod in view.list("pods") if meta.status(pod).get("podIP") == text]
        if not found:
            raise UnknownTarget(f'no pod has the address {text}; say a pod, a workload, or "outside"')
        pod = found[0]
    else:
        pod = pod_of(view, text, _home(cluster, text, namespace))
    ip = str(meta.status(pod).get("podIP") or "")
    if not ip:
        raise UnknownTarget(f"pod {meta.name(pod)} has no address yet ({meta.status(pod).get('phase', 'Pending')})")
    network = cluster.fabric.find(ip)
    if network is None:
        raise UnknownTarget(f"pod {meta.name(pod)} has no network any more: it has ended")
    return _Source(_label(pod), meta.namespace(pod), ip, network)


def _home(cluster: "LocalCluster", text: str, namespace: str) -> str:
    """Without a namespace: default, or the only one that has a pod or workload of this name."""
    if namespace != "default" or text.count("/") > 1:
        return namespace
    bare = text.split("/")[-1]
    homes = {
        meta.namespace(obj)
        for resource in ("pods", "deployments.apps", "statefulsets.apps", "daemonsets.apps")
        for obj in cluster.operations.list(resource)
        if meta.name(obj) == bare
    }
    return homes.pop() if len(homes) == 1 else namespace


def _named(cluster: "LocalCluster", caller: _Source, text: str, namespace: str) -> _Named:
    """Find what TO means: an address; a Service; a pod or workload; else a name to look up."""
    view = cluster.operations
    if not text:
        raise UnknownTarget("say where to: a Service, a pod, a name or an address, such as db:5432")
    if _is_address(text):
        return _Named(_owner(cluster, text), text, ())
    kind, slash, rest = text.rpartition("/")
    if slash and kind.lower() in ("svc", "service", "services"):
        if (service := view.get("services", rest, namespace)) is None:
            raise UnknownTarget(_no_such(cluster, rest, namespace))
        return _service(cluster, caller, service, rest)
    if not slash:
        first, *others = text.removesuffix(".").split(".")
        if not others and (service := view.get("services", first, namespace)):
            return _service(cluster, caller, service, first)
        if others:
            if service := view.get("services", first, others[0]):
                return _service(cluster, caller, service, text)
            return _Named(text, text, ())
    try:
        pod = pod_of(view, text, namespace)
    except UnknownTarget:
        if slash:
            raise
        raise UnknownTarget(_no_such(cluster, text, namespace)) from None
    ip = str(meta.status(pod).get("podIP") or "")
    if not ip:
        raise UnknownTarget(f"pod {meta.name(pod)} has no address yet ({meta.status(pod).get('phase', 'Pending')})")
    ports = [
        {"port": port["containerPort"], "name": port.get("name")}
        for container in meta.spec(pod)["containers"]
        for port in container.get("ports") or ()
    ]
    return _Named(f"pod/{_label(pod)}", ip, tuple(ports))


def _service(cluster: "LocalCluster", caller: _Source, service: Object, written: str) -> _Named:
    spec = meta.spec(service)
    ports = tuple({"port": port["port"], "name": port.get("name")} for port in spec.get("ports") or ())
    label = f"svc/{_label(service)}"
    if caller.network is None:  # the outside has no cluster DNS: it would use the address
        ip = spec.get("clusterIP")
        if ip in (None, "", "None"):
            raise UnknownTarget(
                f"svc/{meta.name(service)} has no address of its own; from outside, name one of its pods"
            )
        return _Named(label, ip, ports)
    if "." not in written and meta.namespace(service) != caller.namespace:
        written = f"{written}.{meta.namespace(service)}"
    return _Named(label, written, ports)


def _owner(cluster: "LocalCluster", ip: str) -> str:
    for resource, prefix in (("pods", "pod/"), ("services", "svc/")):
        for obj in cluster.operations.list(resource):
            if ip in (meta.status(obj).get("podIP"), meta.spec(obj).get("clusterIP")):
                return f"{prefix}{_label(obj)} {ip}"
    return ip


def _no_such(cluster: "LocalCluster", name: str, namespace: str) -> str:
    view = cluster.operations
    where = [meta.namespace(s) for s in view.list("services") if meta.name(s) == name]
    if where:
        return (
            f'no pod, workload or service "{name}" in namespace {namespace}; it lives in {where[0]}: {name}.{where[0]}'
        )
    known = {meta.name(s): f"svc/{meta.name(s)}" for s in view.list("services", namespace)}
    for resource in ("pods", "deployments.apps", "statefulsets.apps"):
        for obj in view.list(resource, namespace):
            known.setdefault(meta.name(obj), meta.name(obj))
    nearest = names.nearest(name, known)
    return f'no pod, workload or service "{name}" in namespace {namespace}.' + (
        f" Did you mean {known[nearest]}?" if nearest else " See: mkpy get pods,svc -A"
    )


def _port(named: _Named, text: str) -> int:
    if text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    if text:
        for port in named.ports:
            if port["name"] == text:
                return int(port["port"])
        known = ", ".join(f"{p['name']} ({p['port']})" for p in named.ports if p["name"]) or "none has a name"
        raise UnknownTarget(f'{named.label} has no port "{text}"; its ports: {known}')
    if named.ports:
        return int(named.ports[0]["port"])
    return 80


class _Walk:
    """The hops of one question, in the order in which a packet meets them; `run` fills them in."""

    def __init__(self, cluster: "LocalCluster", caller: _Source, named: _Named, port: int, protocol: str) -> None:
        self._cluster = cluster
        self._caller = caller
        self._named = named
        self._port = port
        self._protocol = protocol
        self.hops: list[Hop] = []
        self.fix: list[str] = []
        self.policies: list[str] = []

    def run(self) -> None:
        ips = [self._named.host] if _is_address(self._named.host) else self._dns()
        if not ips:
            return
        route = self._cluster.proxy.route(ips[0], self._port, self._caller.ip, self._protocol)
        if route is not None:
            flows = [
                Flow(
                    self._caller.ip,
                    one.ip,
                    one.port,
                    self._protocol,
                    "" if one.ip == self._caller.ip else route.seen_as,
                )
                for one in route.endpoints
            ]
            service = self._routed(route.service, ips[0], flows, silent=route.silent)
        elif self._cluster.fabric.addresses.is_service(ips[0]):
            flows = []
            service = self._unserved(ips[0])
        else:
            flows = [Flow(self._caller.ip, ip, self._port, self._protocol) for ip in ips]
            service = None
            if len(ips) > 1 or not _is_address(self._named.host):
                service = Hop(
                    "service", f"no proxy: the name gives {len(ips)} pod address(es), ports as they are", "ok"
                )
        walks = [self._cluster.gate.explain(flow) for flow in flows]
        if walks:
            self._direction(walks, "egress")
        if service is not None:
            self.hops.append(service)
        if not walks:
            return
        self._direction(walks, "ingress")
        self._listening(flows)

    def follow(self, flows: Sequence[Flow]) -> None:
        """Fill in the hops of connections whose ends are known."""
        walks = [self._cluster.gate.explain(flow) for flow in flows]
        self._direction(walks, "egress")
        self._direction(walks, "ingress")
        self._listening(flows)

    # DNS

    def _dns(self) -> list[str]:
        """Look the name up as the pod would, and see whether its queries get through."""
        network = self._caller.network
        if network is None:
            return []
        conf = getattr(network.resolver, "conf", None) or ResolvConf()
        host = self._named.host
        view = self._cluster.operations
        zone = Zone.compile(
            view.list("services"),
            view.list("endpointslices.discovery.k8s.io"),
            view.list("namespaces"),
            view.list("pods"),
        )
        domain = self._cluster.config.dns.domain
        options = Options(zones=(f"{domain}.",), pods="insecure")
        blocked = self._dns_blocked(conf)
        tried = candidates(host, conf)
        for count, name in enumerate(tried, 1):
            found = answer(Question(name, "A"), zone, options)
            if found is None:
                continue
            ips = [record.rdata for record in found.answer if record.type == "A"]
            alias = next((record.rdata for record in found.answer if record.type == "CNAME"), None)
            if not ips and alias is None:
                continue
            queries = f"{count} quer{'y' if count == 1 else 'ies'}"
            what = f"{host} -> {name.removesuffix('.')} -> {', '.join(ips[:3]) or alias}" + (
                f" and {len(ips) - 3} more" if len(ips) > 3 else ""
            )
            if blocked:
                self.hops.append(
                    Hop("DNS", f"{host}: the query to kube-dns is not let through", blocked[0], blocked[1])
                )
            elif not ips:
                self.hops.append(Hop("DNS", f"{what}   {queries}; a name outside, its address is not modelled", "ok"))
            else:
                self.hops.append(Hop("DNS", f"{what}   {queries}", "ok"))
            return [] if blocked else ips
        if blocked:
            self.hops.append(Hop("DNS", f"{host}: the query to kube-dns is not let through", blocked[0], blocked[1]))
            return []
        text = f"{host}: NXDOMAIN (tried {', '.join(name.removesuffix('.') for name in tried)})"
        self.hops.append(Hop("DNS", text, "FAILED"))
        first = host.split(".")[0]
        nearest = names.nearest(first, [meta.name(s) for s in view.list("services")])
        homes = [meta.namespace(s) for s in view.list("services") if meta.name(s) == nearest]
        if nearest:
            self.fix.append(f"did you mean {nearest}.{homes[0]}?")
        return []

    def _dns_blocked(self, conf: ResolvConf) -> tuple[str, tuple[str, ...]] | None:
        """Tell whether no DNS query gets an answer, and why."""
        server = next(iter(conf.nameservers), "")
        route = self._cluster.proxy.route(server, 53, self._caller.ip, "UDP")
        if route is None:
            if self._cluster.fabric.addresses.is_service(server):
                return "FAILED", (f"CoreDNS ({server}) has no ready pod: mkpy get pods -n kube-system",)
            return None
        walks = [
            self._cluster.gate.explain(Flow(self._caller.ip, one.ip, one.port, "UDP", route.seen_as))
            for one in route.endpoints
        ]
        if not walks:
            return "FAILED", ("CoreDNS has no ready pod: mkpy get pods -n kube-system",)
        if not self._cluster.gate.enforce or any(walk.decision.allowed for walk in walks):
            return None
        self.policies += walks[0].decision.denied_by
        self._hints(walks[0])
        return "DENIED", (walks[0].decision.because,)

    # Service

    def _routed(self, key: Key, ip: str, flows: list[Flow], *, silent: bool) -> Hop:
        name = f"svc/{key.name}"
        if not flows:
            if silent:
                return Hop(
                    "service", f"{name}: its traffic policy leaves no endpoint for this caller: dropped", "FAILED"
                )
            return self._no_endpoints(key)
        targets = ", ".join(dict.fromkeys(f"{flow.destination}:{flow.port}" for flow in flows[:3]))
        more = f" and {len(flows) - 3} more" if len(flows) > 3 else ""
        text = f"{name} {ip}:{self._port} -> {targets}{more}; {len(flows)} endpoint{'s' if len(flows) > 1 else ''}"
        seen = flows[0].seen_as
        details = (f"the pod sees {seen} instead of the caller (externalTrafficPolicy: Cluster)",) if seen else ()
        return Hop("service", text, "ok", details)

    def _no_endpoints(self, key: Key) -> Hop:
        about = f"{key.namespace}/service/{key.name}"
        found = [problem.text for problem in self._cluster.problems() if problem.about == about]
        return Hop("service", f"svc/{key.name} has no ready endpoint: refused", "FAILED", tuple(found))

    def _unserved(self, ip: str) -> Hop:
        """A Service's address where nobody listens: no such port, no endpoints, or no such Service."""
        for service in self._cluster.operations.list("services"):
            if meta.spec(service).get("clusterIP") != ip:
                continue
            ports = list(meta.spec(service).get("ports") or ())
            if any(p["port"] == self._port and p.get("protocol", "TCP") == self._protocol for p in ports):
                return self._no_endpoints(meta.key(service))
            known = ", ".join(f"{p['port']} -> {p.get('targetPort', p['port'])}" for p in ports)
            name = meta.name(service)
            for port in ports:
                if port.get("targetPort", port["port"]) == self._port:
                    self.fix.append(f"call the Service's port: {name}:{port['port']}")
            return Hop("service", f"svc/{name} has no port {self._port} (it has {known}): refused", "FAILED")
        return Hop("service", f"no Service has the address {ip}: refused", "FAILED")

    # Policy

    def _direction(self, walks: "list[Walk]", name: str) -> None:
        index = 0 if name == "egress" else 1
        steps = [walk.steps[index] for walk in walks]
        denied = [walk for walk, step in zip(walks, steps, strict=True) if not step.allowed]
        if not denied:
            self.hops.append(Hop(name, steps[0].headline, "ok"))
            return
        walk = denied[0]
        step = walk.steps[index]
        if not self._cluster.gate.enforce:
            text = f"{step.headline}, but CNI {self._cluster.config.networking.cni} does not enforce policies"
            self.hops.append(Hop(name, text, "ok", step.details))
            return
        whole = len(denied) == len(walks)
        text = step.headline if whole else f"{len(denied)} of {len(walks)} endpoints: {step.headline}"
        reached = self.hops and all(hop.state in ("ok", "-") for hop in self.hops)
        self.hops.append(Hop(name, text, "DENIED" if whole else "SOME", step.details))
        if reached or len(self.hops) == 1:
            self.policies += walk.decision.denied_by
            self._hints(walk)
            self._admit(walk, name)

    def _admit(self, walk: "Walk", name: str) -> None:
        """Suggest the peer that a NetworkPolicy would have to name."""
        ingress = name == "ingress"
        mine, other = walk.flow.destination, walk.flow.seen_as or walk.flow.source
        if not ingress:
            mine, other = other, mine
        known = self._cluster.gate.policy_set.pods
        policy = next((text for text in walk.decision.denied_by if not text.startswith(("Admin", "Baseline"))), None)
        if policy is None or mine not in known:
            return
        if (peer := known.get(other)) is None:
            wanted = f"{{ipBlock: {{cidr: {other}/32}}}}"
        else:
            labels = ", ".join(part.replace("=", ": ") for part in peer.identity.words.split(",") if part)
            wanted = f"podSelector: {{matchLabels: {{{labels}}}}}" if labels else "podSelector: {}"
            if peer.namespace != known[mine].namespace:
                where = f"namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {peer.namespace}}}}}"
                wanted = f"{where}, {wanted}"
            wanted = f"{{{wanted}}}"
        self.fix.append(f"to admit it: {wanted} in {name}[].{'from' if ingress else 'to'} of netpol/{policy}")

    def _hints(self, walk: "Walk") -> None:
        self.fix += (str(hint) for hint in walk.hints)

    # The listener

    def _listening(self, flows: Iterable[Flow]) -> None:
        flows = list(flows)
        fabric = self._cluster.fabric
        silent = [flow for flow in flows if not self._listens(flow)]
        not_reached = any(hop.state not in ("ok", "-") for hop in self.hops)
        suffix = "   (not reached)" if not_reached else ""
        if not silent:
            flow = flows[0]
            who = self._who(flow.destination)
            self.hops.append(Hop("listen", f"{who} listens on {flow.destination}:{flow.port}{suffix}", "ok"))
            return
        flow = silent[0]
        who = self._who(flow.destination)
        network = fabric.find(flow.destination)
        server = None if network is None else network.server(flow.port)
        if server is not None:
            text = f"{who} listens on 127.0.0.1:{flow.port} only, not on its pod address: bind 0.0.0.0"
        else:
            known = [] if network is None else [str(p) for proto, p in network.listeners() if proto == self._protocol]
            text = f"{who} does not listen on {self._protocol} {flow.port} (it has: {', '.join(known) or 'none'})"
        state = "FAILED" if len(silent) == len(flows) else "SOME"
        self.hops.append(Hop("listen", f"{text}{suffix}", state))

    def _listens(self, flow: Flow) -> bool:
        fabric = self._cluster.fabric
        if flow.protocol == "UDP":
            return fabric.endpoint(flow.destination, flow.port) is not None
        if (server := fabric.server(flow.destination, flow.port)) is not None:
            return flow.source == flow.destination or not server.local_only
        return drop.listens(*fabric.real_address(flow.destination, flow.port)) is not False

    def _who(self, ip: str) -> str:
        pods = self._cluster.operations.list("pods")
        found = [pod for pod in pods if meta.status(pod).get("podIP") == ip]
        best = max(found, key=is_ready, default=None)
        return ip if best is None else meta.name(best)
